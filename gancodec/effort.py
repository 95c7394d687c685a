"""What each preset spends on a frame: more search finds better motion; the decoder never knows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gancodec.config import Preset
from gancodec.models.motion_choice import VectorPrices, choose_field
from gancodec.nn.motion import QuarterSamples, search_motion
from gancodec.nn.planes import Planes

SEARCH_PRICE = 0.02  # of a bit of a candidate, in quantiser steps of absolute difference


class Effort(NamedTuple):
    """Attributes of a preset: see `search_motion` and `choose_field`."""

    radius: int
    sweeps: int
    fine: bool  # quarter samples and 8x8 blocks


EFFORTS: dict[Preset, Effort] = {
    "fast": Effort(radius=5, sweeps=1, fine=False),
    "medium": Effort(radius=8, sweeps=2, fine=True),
    "slow": Effort(radius=14, sweeps=3, fine=True),
}


def find_motion(
    x: Planes,
    reference: Planes,
    previous: npt.NDArray[np.int32],
    prices: VectorPrices,
    step: float,
    preset: Preset,
) -> npt.NDArray[np.int32]:
    """The field (2, H/8, W/8) to code ``x`` with, given the reference and the field before.

    ``step`` is the quantiser step of the frame, in 8-bit sample values.
    """
    effort = EFFORTS[preset]
    luma = (x.y * 255).cpu()
    samples = QuarterSamples((reference.y * 255).cpu())
    found = search_motion(
        luma,
        samples,
        penalty=SEARCH_PRICE * step,
        radius=effort.radius,
        split=effort.fine,
        quarter=effort.fine,
    )
    return choose_field(
        luma[0, 0].numpy(),
        samples,
        found[0].numpy().astype(np.int32),
        previous,
        prices,
        step,
        sweeps=effort.sweeps,
        split=effort.fine,
    )
