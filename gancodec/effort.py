"""What each preset spends on a frame: more search finds better motion; the decoder never knows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gancodec.config import Preset
from gancodec.models.motion_choice import VectorPrices, choose_field
from gancodec.nn.motion import QuarterSamples, refine_motion, search_motion
from gancodec.nn.planes import Planes
from gancodec.types import Plane
from gancodec.video.vectors import BorrowedVectors, has_x264

SEARCH_PRICE = 0.02  # of a bit of a candidate, in quantiser steps of absolute difference

Field = npt.NDArray[np.int32]


class Effort(NamedTuple):
    """What a preset does.

    Attributes:
        lender: x264's preset whose vectors are candidates.
        steps: rounds in which those move to the best around them, which are candidates, too; see
            `refine_motion`.
        diagonal: whether those moves include diagonal ones.
        search: whether our own search adds its vectors. It does where there is no x264.
        radius: of our own search; see `search_motion`.
        sweeps: see `choose_field`.
    """

    lender: str
    steps: tuple[int, ...]
    diagonal: bool
    search: bool
    radius: int
    sweeps: int


EFFORTS: dict[Preset, Effort] = {
    "fast": Effort("veryfast", (), diagonal=False, search=False, radius=5, sweeps=1),
    "medium": Effort("medium", (2, 1), diagonal=False, search=False, radius=8, sweeps=2),
    "slow": Effort("slow", (2, 1), diagonal=True, search=True, radius=8, sweeps=2),
}


class MotionFinder:
    """Finds the fields of one GOP after another.

    Args:
        preset: the encoder's.
    """

    def __init__(self, preset: Preset) -> None:
        self._effort = EFFORTS[preset]
        self._lender: BorrowedVectors | None = None

    def begin(self, x: Planes) -> None:
        """A GOP begins with ``x``."""
        self._lender = None
        if has_x264():
            height, width = x.y.shape[-2:]
            self._lender = BorrowedVectors(width, height, self._effort.lender)
            self._lender.push(*_whole(x))

    def find(
        self, x: Planes, reference: Planes, previous: Field, prices: VectorPrices, step: float
    ) -> Field:
        """The field (2, H/8, W/8) to code the GOP's next frame with.

        Args:
            x: the frame.
            reference: the decoded frame before.
            previous: the field of the frame before.
            prices: bits by the tables that the frame is coded with.
            step: quantiser step of the frame, in 8-bit sample values.
        """
        luma = (x.y * 255).cpu()
        samples = QuarterSamples((reference.y * 255).cpu())
        found = self._candidates(x, luma, samples, SEARCH_PRICE * step)
        return choose_field(
            luma[0, 0].numpy(),
            samples,
            found.numpy().astype(np.int32),
            previous,
            prices,
            step,
            sweeps=self._effort.sweeps,
        )

    def _candidates(
        self, x: Planes, luma: Tensor, samples: QuarterSamples, penalty: float
    ) -> Tensor:
        """(K, 2, H/8, W/8): K fields."""
        effort, fields = self._effort, []
        if self._lender is not None:
            lent = torch.from_numpy(self._lender.push(*_whole(x)))[None].long()
            fields.append(lent.clamp(-samples.limit, samples.limit))
            if effort.steps:
                refined = refine_motion(
                    luma,
                    samples,
                    fields[0],
                    penalty=penalty,
                    steps=effort.steps,
                    diagonal=effort.diagonal,
                )
                fields.append(refined)
        if effort.search or not fields:
            fields.append(search_motion(luma, samples, penalty=penalty, radius=effort.radius))
        return torch.cat(fields)


def _whole(x: Planes) -> tuple[Plane, Plane, Plane]:
    """Planes of one frame as 8-bit arrays."""
    y, u, v = ((p[0, 0] * 255).round().to("cpu", torch.uint8).numpy() for p in x)
    return y, u, v
