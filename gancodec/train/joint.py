"""The stage in which the whole loop learns what people look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gancodec.models.compress import CHROMA_WEIGHT, GanCodec
from gancodec.nn.planes import Planes
from gancodec.train.data import planes_from_flat
from gancodec.train.losses import ms_ssim, psnr_uv, psnr_y, weighted_mse
from gancodec.train.perception import Perception, random_view
from gancodec.train.stages import RollOut


class JointStage(RollOut):
    """Intra and inter frames at once, encoders and priors too, for squared error and perception.

    The loss of a frame is ``balance x (weight x (faithful x MSE of Y + chroma x MSE of U and V
    + structure x (1 - MS-SSIM) + perception x (learned distance + statistics x that of local
    statistics)) + bits a pixel)``. Structure is of luma and the distance all but blind to colour:
    with less ``chroma`` than a codec of squared error has, colours pay for what luma gains.
    Bits go where eyes are: a decoder alone, on bits that were spent for squared error, gains little
    (PNVC and MS-ILLM gain most from this stage, before any GAN). Everything but squared error is
    dear, so that one frame of each sample's roll-out stands for all.
    """

    def __init__(
        self,
        codec: GanCodec,
        folders: list[Path],
        cache: Path,
        *,
        faithful: float = 1.0,
        chroma: float = CHROMA_WEIGHT,
        structure: float = 0.0,
        perception: float = 433.0,
        statistics: float = 0.0,
        **roll: Any,
    ) -> None:
        super().__init__(codec, folders, cache, **roll)
        self.faithful, self.chroma, self.structure = faithful, chroma, structure
        self.perception, self.statistics = perception, statistics
        self.eye = Perception(next(codec.parameters()).device)

    def parameters(self) -> list[nn.Parameter]:
        return [*self.codec.intra.parameters(), *self.codec.inter.parameters()]

    def start(self) -> None:
        """Nets that know nothing learn from the stages before."""

    def loss(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        flats, motion, quality = self.draw(rng, progress)
        count, size = motion.shape[1] + 1, self.data.size
        total = torch.zeros((), device=quality.device)
        sources: list[Planes] = []
        pictures: list[Planes] = []
        levels: list[Tensor] = []
        logs = {"bpp": 0.0, "psnr_y": 0.0, "psnr_uv": 0.0}
        picture = latents = None
        for t in range(count):
            x = planes_from_flat(flats[:, t], size)
            if picture is None or latents is None:
                level = self.intra_level(quality)
                picture, _, coded = self.intra(x, level)
                latents = self.no_latents(picture)
            else:
                if t % self.window == 0:
                    picture = Planes(*(p.detach() for p in picture))
                    latents = latents.detach()
                level = self.shifted(quality, rng)
                picture, _, coded = self.inter(x, picture, motion[:, t - 1], latents, level)
                latents = coded.y_hat
            sources.append(x)
            pictures.append(picture)
            levels.append(level)
            bpp = coded.bits / size**2
            error = weighted_mse(picture, x, luma=self.faithful, chroma=self.chroma)
            cost = self.weights[level] * error + bpp
            total = total + (self.balance[level] * cost).mean()
            logs["bpp"] += float(bpp.detach().mean()) / count
            logs["psnr_y"] += float(psnr_y(picture, x).detach().mean()) / count
            logs["psnr_uv"] += float(psnr_uv(picture, x).detach().mean()) / count
        index = torch.from_numpy(rng.integers(0, count, self.batch)).to(quality)
        level = torch.stack(levels)[index, torch.arange(self.batch, device=index.device)]
        shown, source = pick(pictures, index), pick(sources, index)
        seen = self.eye.compare(*random_view([shown, source], rng), statistics=self.statistics > 0)
        similar = ms_ssim(shown.y, source.y)
        look = self.structure * (1 - similar)
        look = look + self.perception * (seen.distance + self.statistics * seen.statistics)
        total = total + count * (self.balance[level] * self.weights[level] * look).mean()
        logs |= {
            "ms_ssim": float(similar.detach().mean()),
            "st_lpips": float(seen.distance.detach().mean()),
            "statistics": float(seen.statistics.detach().mean()),
        }
        return total / count, {**logs, "frames": float(count)}


def pick(frames: list[Planes], index: Tensor) -> Planes:
    """One frame for each sample of the batch: (B,) ``index`` says which."""
    rows = torch.arange(len(index), device=index.device)
    return Planes(*(torch.stack(plane)[index, rows] for plane in zip(*frames, strict=True)))
