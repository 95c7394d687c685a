"""Roll-outs of what people see: the synthesis head on a frozen loop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gancodec.models.synthesis import move_detail
from gancodec.nn.motion import Displacement
from gancodec.nn.planes import Planes, pack, unpack
from gancodec.train.data import planes_from_flat
from gancodec.train.stages import RollOut


class Shown(NamedTuple):
    """A frame of a roll-out: source, picture of the loop, what is shown, and what came with it.

    The level is (B,), latents (B, M, H/16, W/16), the motion field None for intra frames.
    """

    source: Planes
    picture: Planes
    planes: Planes
    level: Tensor
    latents: Tensor
    field: Tensor | None


class ShownRollOut(RollOut):
    """Roll-outs of which every frame is also shown by the head, with its memory and noise."""

    def roll(self, rng: np.random.Generator) -> list[Shown]:
        """Code and show a random run of frames; gradients flow through the last ``window``."""
        flats, motion, quality = self.draw(rng, progress=1.0)  # a frozen loop has no need to grow
        count = motion.shape[1] + 1
        seed = torch.from_numpy(rng.integers(0, 2**31, self.batch)).to(quality)
        frames: list[Shown] = []
        picture = latents = detail = field = None
        for t in range(count):
            x = planes_from_flat(flats[:, t], self.data.size)
            with torch.no_grad():
                if picture is None or latents is None:
                    level = self.intra_level(quality)
                    picture, out, coded = self.intra(x, level)
                    latents = self.no_latents(picture)
                else:
                    field = motion[:, t - 1]
                    level = self.shifted(quality, rng)
                    picture, out, coded = self.inter(x, picture, field, latents, level)
                    latents = coded.y_hat
            with torch.set_grad_enabled(t >= count - self.window):
                if detail is not None and field is not None:
                    detail = move_detail(
                        detail, Displacement(field, overlap=self.codec.config.overlap)
                    )
                detail = self.codec.detail(
                    pack(picture),
                    out.features,
                    level,
                    intra=field is None,
                    before=detail,
                    seed=seed,
                    time=torch.full_like(seed, t),
                )
                planes = unpack(pack(picture) + detail)
            frames.append(Shown(x, picture, planes, level, coded.y_hat, field))
            picture = self.reference(picture, planes)
        return frames

    def reference(self, picture: Planes, shown: Planes) -> Planes:
        """What the next frame is predicted from: the loop's picture, never what is shown."""
        return picture
