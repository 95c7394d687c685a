"""The stages of a recipe: what one step computes. Each gives a loss and the numbers to log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gancodec.config import CodecConfig
from gancodec.models.compress import (
    BLOCK_CHANNELS,
    GanCodec,
    Reconstruction,
    chroma_scaling,
    intra_boost,
    lagrange_weights,
    level_of_step,
    step_sizes,
    temporal_context,
)
from gancodec.nn.motion import warp
from gancodec.nn.planes import Planes, pack, round_to_8_bit, unpack
from gancodec.nn.prior import PriorOutput
from gancodec.train.data import (
    Picture,
    load_stills,
    mirror,
    planes_from_flat,
    prepare_sequences,
    still_batch,
)
from gancodec.train.losses import psnr_y, weighted_mse
from gancodec.train.perception import Perception

BASIS_STEP = 50.0  # the quantiser step that the fresh priors expect
STEP_SPREAD = 1.6  # levels are trained up to this factor from the step that motion was chosen for


def balance_of_levels(config: CodecConfig) -> Tensor:
    """(levels,) weight of each quality's loss: without it the dear, fine levels drown the rest.

    Bits fall about as the inverse of the step, so that a power of one would weigh a per cent of
    every level's file the same; a little less, as coarse levels' gradients are noisy.
    """
    return (step_sizes(config) / 32) ** 0.8


def level_weights(codec: GanCodec) -> tuple[Tensor, Tensor]:
    """(levels,) weight of the error and of the whole loss of each level, on the nets' device."""
    device = next(codec.parameters()).device
    return lagrange_weights(codec.config).to(device), balance_of_levels(codec.config).to(device)


class Stage(Protocol):
    """One stage: which parameters train, and a step on a random batch.

    ``helpers`` train along, such as a critic, and do not ship.
    """

    helpers: nn.ModuleDict

    def parameters(self) -> list[nn.Parameter]: ...

    def start(self) -> None:
        """Initialise what a fresh run of this stage needs."""

    def loss(
        self, rng: np.random.Generator, progress: float
    ) -> tuple[Tensor, dict[str, float]]: ...


def _random_quality(rng: np.random.Generator, count: int, levels: int) -> Tensor:
    return torch.from_numpy(rng.integers(0, levels, count))


def _basis_level(config: CodecConfig) -> int:
    return round(float(level_of_step(config, BASIS_STEP)))


def principal_basis(blocks: Tensor, latents: int) -> tuple[Tensor, Tensor]:
    """Karhunen-Loeve basis of weighted blocks (N, 384): rows by falling energy, and deviations."""
    covariance = blocks.T @ blocks / len(blocks)
    energy, vectors = torch.linalg.eigh(covariance.double())
    order = energy.argsort(descending=True)[:latents]
    return vectors[:, order].T.float(), energy[order].clamp_min(0).sqrt().float()


def _blocks_of(packed: Tensor) -> Tensor:
    """(B, 96, h, w) -> (N, 384) weighted 16x16 blocks in the order of the linear shortcut."""
    folded = nn.functional.pixel_unshuffle(packed, 2)
    return folded.permute(0, 2, 3, 1).reshape(-1, BLOCK_CHANNELS) * chroma_scaling()


class IntraStage:
    """Pictures: rate plus weighted squared error, one random quality a sample.

    With ``perception``, so much of a learned distance is added to the squared error (8-bit units).
    433 makes it 150 to 1 of errors in [0, 1], as HiFiC and MS-ILLM weigh them.
    """

    def __init__(
        self,
        codec: GanCodec,
        folders: list[Path],
        cache: Path,
        *,
        batch: int,
        patch: int,
        perception: float = 0.0,
    ) -> None:
        self.codec, self.batch, self.patch = codec, batch, patch
        self.helpers = nn.ModuleDict()
        self.perception, self.eye = perception, Perception() if perception else None
        self.weights, self.balance = level_weights(codec)
        self.stills: list[Picture] = load_stills(folders, patch)

    def parameters(self) -> list[nn.Parameter]:
        return list(self.codec.intra.parameters())

    def start(self) -> None:
        rng = np.random.default_rng(0)
        packed = pack(planes_from_flat(still_batch(self.stills, rng, 2048, self.patch), self.patch))
        latents = sum(self.codec.config.intra_groups)
        basis, deviation = principal_basis(_blocks_of(packed), latents)
        self.codec.intra.start_from_basis(basis, deviation, _basis_level(self.codec.config))

    def loss(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        device = self.weights.device
        x = planes_from_flat(still_batch(self.stills, rng, self.batch, self.patch), self.patch)
        quality = _random_quality(rng, self.batch, self.codec.config.levels).to(device)
        x = Planes(*(p.to(device) for p in x))
        packed = pack(x)
        intra = self.codec.intra
        coded = intra.prior(intra.analyse(packed, quality), quality, None)
        out = unpack(intra.synthesise(coded.y_hat, quality).packed)
        bpp = coded.bits / self.patch**2
        error = weighted_mse(out, x)
        seen = self.eye.distance(out, x) if self.eye else torch.zeros_like(error)
        cost = self.weights[quality] * (error + self.perception * seen) + bpp
        loss = (self.balance[quality] * cost).mean()
        return loss, {
            "st_lpips": float(seen.detach().mean()),
            "bpp": float(bpp.detach().mean()),
            "hyper_bpp": float(coded.hyper_bits.detach().mean()) / self.patch**2,
            "psnr_y": float(psnr_y(out, x).detach().mean()),
        }


class RollOut:
    """A random run of sequence patches: what the stages of moving pictures share.

    Args:
        frames: inter frames of a roll-out, fewest and, at the end of the stage, most.
        window: frames that gradients flow through.
        length, crops: of the sequences, see `prepare_patches`.
    """

    def __init__(
        self,
        codec: GanCodec,
        folders: list[Path],
        cache: Path,
        *,
        batch: int,
        patch: int,
        frames: tuple[int, int] = (3, 8),
        window: int = 3,
        length: int = 12,
        crops: int = 6,
    ) -> None:
        self.codec, self.batch, self.frames, self.window = codec, batch, frames, window
        self.helpers = nn.ModuleDict()
        self.weights, self.balance = level_weights(codec)
        self.data = prepare_sequences(folders, cache, size=patch, length=length, crops=crops)

    def draw(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, Tensor, Tensor]:
        """Patches (B, n+1, flat), motion (B, n, 2, h, w) and a quality each; n grows with time.

        Half of all batches are mirrored.
        """
        longest = self.frames[0] + round((self.frames[1] - self.frames[0]) * progress)
        count = int(rng.integers(self.frames[0], longest + 1))
        rows = rng.choice(len(self.data.patches), self.batch, replace=False)
        start = int(rng.integers(self.data.patches.shape[1] - count))
        flats = torch.from_numpy(self.data.patches[rows, start : start + count + 1])
        motion = torch.from_numpy(self.data.motion[rows, start : start + count]).float()
        if rng.random() < 0.5:
            flats, motion = mirror(flats, motion, self.data.size)
        config = self.codec.config
        steps = self.data.steps[rows] * STEP_SPREAD ** rng.uniform(-1, 1, self.batch)
        levels = level_of_step(config, steps).round().clip(0, config.levels - 1)
        quality = torch.from_numpy(levels).long()
        device = self.weights.device
        return flats.to(device), motion.to(device), quality.to(device)

    def intra_level(self, quality: Tensor) -> Tensor:
        """The first frame is some levels better than the rest."""
        config = self.codec.config
        return (quality + intra_boost(config)).clamp(max=config.levels - 1)

    def intra(self, x: Planes, level: Tensor) -> tuple[Planes, Reconstruction, PriorOutput]:
        """Code a frame on its own."""
        intra = self.codec.intra
        coded = intra.prior(intra.analyse(pack(x), level), level, None)
        out = intra.synthesise(coded.y_hat, level)
        return self.rounded(out), out, coded

    def inter(
        self, x: Planes, reference: Planes, field: Tensor, previous: Tensor, quality: Tensor
    ) -> tuple[Planes, Reconstruction, PriorOutput]:
        """Code one frame from its reference."""
        predicted = pack(warp(reference, field, overlap=self.codec.config.overlap))
        moving = self.codec.config.moving_latents
        temporal = temporal_context(previous, field, moving=moving)
        y = self.codec.inter.analyse(pack(x), predicted, quality)
        coded = self.codec.inter.prior(y, quality, temporal)
        out = self.codec.inter.synthesise(coded.y_hat, predicted, quality)
        return self.rounded(out), out, coded

    def rounded(self, out: Reconstruction) -> Planes:
        """The picture that a decoder would have."""
        return round_to_8_bit(unpack(out.packed), half_up=self.codec.config.round_half_up)

    def no_latents(self, like: Planes) -> Tensor:
        """Latents before the first inter frame."""
        h, w = like.y.shape[-2:]
        channels = self.codec.inter.prior.latents
        return like.y.new_zeros(like.y.shape[0], channels, h // 16, w // 16)

    def shifted(self, quality: Tensor, rng: np.random.Generator) -> Tensor:
        """Levels of one frame: the encoder lets them vary from frame to frame."""
        shift = torch.from_numpy(rng.integers(-3, 4, self.batch)).to(quality)
        return (quality + shift).clamp(0, self.codec.config.levels - 1)


class InterStage(RollOut):
    """Roll-outs of inter frames from an intra frame; gradients flow through ``window`` frames.

    ``perception`` is that of `IntraStage`.
    """

    def __init__(
        self,
        codec: GanCodec,
        folders: list[Path],
        cache: Path,
        *,
        perception: float = 0.0,
        **roll: Any,
    ) -> None:
        super().__init__(codec, folders, cache, **roll)
        self.perception, self.eye = perception, Perception() if perception else None

    def parameters(self) -> list[nn.Parameter]:
        return list(self.codec.inter.parameters())

    def start(self) -> None:
        """The basis of what block motion leaves over."""
        rng = np.random.default_rng(0)
        pick = rng.choice(len(self.data.patches), min(512, len(self.data.patches)), replace=False)
        flats = torch.from_numpy(self.data.patches[np.sort(pick)][:, :2])
        motion = torch.from_numpy(self.data.motion[np.sort(pick)][:, 0]).float()
        first = planes_from_flat(flats[:, 0], self.data.size)
        second = planes_from_flat(flats[:, 1], self.data.size)
        predicted = warp(first, motion, overlap=self.codec.config.overlap)
        residual = pack(second) - pack(predicted)
        latents = sum(self.codec.config.inter_groups)
        basis, deviation = principal_basis(_blocks_of(residual), latents)
        # the reference will be a decoded picture: its error adds to the residual
        deviation = (deviation.square() + (20 / 255) ** 2).sqrt()
        self.codec.inter.start_from_basis(basis, deviation, _basis_level(self.codec.config))

    def loss(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        flats, motion, quality = self.draw(rng, progress)
        count, size = motion.shape[1], self.data.size
        with torch.no_grad():
            first = planes_from_flat(flats[:, 0], size)
            reference, _, _ = self.intra(first, self.intra_level(quality))
        y_hat = self.no_latents(reference)
        total = torch.zeros((), device=quality.device)
        logs = {"bpp": 0.0, "hyper_bpp": 0.0, "psnr_y": 0.0, "psnr_y_last": 0.0, "st_lpips": 0.0}
        looked_at = int(rng.integers(count))  # one frame stands for all: the distance is dear
        for t in range(count):
            if t and t % self.window == 0:
                reference = Planes(*(p.detach() for p in reference))
                y_hat = y_hat.detach()
            x = planes_from_flat(flats[:, t + 1], size)
            level = self.shifted(quality, rng)
            reference, _, coded = self.inter(x, reference, motion[:, t], y_hat, level)
            y_hat = coded.y_hat
            bpp = coded.bits / size**2
            error = weighted_mse(reference, x)
            if self.eye and t == looked_at:
                seen = self.eye.distance(reference, x)
                error = error + count * self.perception * seen
                logs["st_lpips"] = float(seen.detach().mean())
            cost = self.weights[level] * error + bpp
            total = total + (self.balance[level] * cost).mean()
            shown = float(psnr_y(reference, x).detach().mean())
            logs["bpp"] += float(bpp.detach().mean()) / count
            logs["hyper_bpp"] += float(coded.hyper_bits.detach().mean()) / size**2 / count
            logs["psnr_y"] += shown / count
            logs["psnr_y_last"] = shown
        return total / count, {**logs, "frames": float(count)}
