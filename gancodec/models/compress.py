"""The nets of the codec: intra frames and inter frames (the synthesis head is in `synthesis`).

                   ┌──────────── linear shortcut (starts as the KLT) ───────────┐
    x (1/8, 96 ch) ┴► 3x3 ► blocks ► 3x3 stride 2 ─────────────────────────────(+)► x gain(q) ► y
    y_hat ► / gain(q) ┬► linear shortcut (KLT transposed) ───────────────────────────(+)► x_hat
                      └► 1x1, PixelShuffle ► (+ context of the warped reference) ► blocks ► 3x3 ┘

The shortcut makes a fresh net a working transform codec on 16x16 blocks, so training only has to
improve on it (the idea of AuxT, ICLR 2025, with the Karhunen-Loeve basis of the training data).
Inter frames code x minus the warped reference the same way; the nets see both. Everything is
channels_last at 1/8 resolution; latents live at 1/16, hyper-latents at 1/64.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gancodec.config import CodecConfig
from gancodec.models.synthesis import DetailSynthesis
from gancodec.nn.blocks import Double, Halve, QualityKnots, depthwise_stack, full_precision
from gancodec.nn.planes import PACKED_CHANNELS
from gancodec.nn.prior import LatentPrior

CHROMA_WEIGHT = 0.75  # of U and V mean squared error beside Y's, in every loss and basis
BLOCK_CHANNELS = 4 * PACKED_CHANNELS  # a 16x16 block: 256 of Y, 64 each of U and V
INTRA_FINER = 2.55  # times finer quantiser steps for intra frames than for their GOP
MOTION_CHANNELS = 3  # of the temporal context, beside the previous latents


class Reconstruction(NamedTuple):
    """Packed picture (B, 96, h, w), not clamped, and the decoder features behind it."""

    packed: Tensor
    features: Tensor


class LatentGain(nn.Module):
    """Quantiser step as a gain of each latent: a log-spaced ladder, bent by learning."""

    def __init__(self, channels: int, config: CodecConfig) -> None:
        super().__init__()
        self.register_buffer("ladder", -torch.log(step_sizes(config) / 255), persistent=False)
        self.bend = QualityKnots(channels, config.levels)
        self.unbend = QualityKnots(channels, config.levels)

    def to_steps(self, y: Tensor, quality: Tensor) -> Tensor:
        return y * torch.exp(self._base(quality) + self.bend(quality))

    def from_steps(self, y_hat: Tensor, quality: Tensor) -> Tensor:
        return y_hat * torch.exp(self.unbend(quality) - self._base(quality))

    def _base(self, quality: Tensor) -> Tensor:
        ladder = self.get_buffer("ladder")
        return ladder[quality][:, None, None, None]


def step_sizes(config: CodecConfig) -> Tensor:
    """(levels,) quantiser steps in 8-bit sample values."""
    share = torch.linspace(0, 1, config.levels, dtype=torch.float64)
    ratio = config.step_finest / config.step_coarsest
    return (config.step_coarsest * ratio**share).float()


def level_of_step(config: CodecConfig, step: float | npt.NDArray[np.float64]) -> Any:
    """Levels, not rounded and not clamped, whose quantiser steps these are."""
    span = math.log(config.step_coarsest / config.step_finest)
    return np.log(config.step_coarsest / np.asarray(step)) / span * (config.levels - 1)


def intra_boost(config: CodecConfig) -> int:
    """How many levels better an intra frame is: every frame of its GOP leans on it."""
    return round(float(level_of_step(config, config.step_coarsest / INTRA_FINER)))


def lagrange_weights(config: CodecConfig) -> Tensor:
    """(levels,) weight of the mean squared error (8-bit units) beside bits a pixel.

    The slope dD/dR of a uniform quantiser with a little dead zone, 0.136 step^2: what H.264
    encoders use. Tying it to the step keeps 64 levels consistent with one another.
    """
    return 1 / (0.136 * step_sizes(config) ** 2)


class Analysis(nn.Module):
    """Packed input at 1/8 -> latents at 1/16 in signal units."""

    def __init__(self, inputs: int, width: int, depth: int, latents: int, levels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, width, 3 if inputs == PACKED_CHANNELS else 1, padding="same")
        self.tune = QualityKnots(width, levels, value=1.0)
        self.blocks = depthwise_stack(width, depth)
        self.leave = Halve(width, latents)
        self.linear = nn.Conv2d(BLOCK_CHANNELS, latents, 1, bias=False)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, signal: Tensor, inputs: Tensor, quality: Tensor) -> Tensor:
        """``signal`` (B, 96, h, w) goes through the shortcut, ``inputs`` through the net."""
        x = self.blocks(self.enter(inputs) * self.tune(quality))
        with full_precision():
            out: Tensor = self.leave(x.float()) + self.linear(F.pixel_unshuffle(signal, 2))
        return out


class Synthesis(nn.Module):
    """Latents at 1/16 in signal units (+ context at 1/8) -> packed picture or residual."""

    def __init__(
        self, latents: int, width: int, depth: int, context: int, levels: int, leave: int = 3
    ) -> None:
        super().__init__()
        self.linear = nn.Conv2d(latents, BLOCK_CHANNELS, 1, bias=False)
        self.enter = Double(latents, width)
        self.context = nn.Conv2d(context, width, 1) if context else None
        self.tune = QualityKnots(width, levels, value=1.0)
        self.blocks = depthwise_stack(width, depth)
        self.leave = nn.Conv2d(width, PACKED_CHANNELS, leave, padding=leave // 2)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, y: Tensor, context: Tensor | None, quality: Tensor) -> Reconstruction:
        x = self.enter(y)
        if self.context is not None:
            assert context is not None
            x = x + self.context(context)
        features = self.blocks(x * self.tune(quality))
        with full_precision():
            linear = F.pixel_shuffle(self.linear(y), 2)
            return Reconstruction(linear + self.leave(features.float()), features)


class FrameCodec(nn.Module):
    """What intra and inter frames share: analysis, gain, prior, synthesis."""

    def __init__(
        self, analysis: Analysis, synthesis: Synthesis, prior: LatentPrior, config: CodecConfig
    ) -> None:
        super().__init__()
        self.analysis = analysis
        self.synthesis = synthesis
        self.prior = prior
        self.gain = LatentGain(prior.latents, config)

    def start_from_basis(self, basis: Tensor, deviation: Tensor, quality: int) -> None:
        """Become the transform codec of an orthonormal ``basis``.

        Args:
            basis: (M, 384) rows over [256 Y, 64 U, 64 V] of a block in packed order at 1/16,
                chroma samples scaled by the square root of four times CHROMA_WEIGHT.
            deviation: (M,) standard deviation of each coefficient, signals in [0, 1].
            quality: the level whose step the prior's scales start from.
        """
        weight = chroma_scaling()
        with torch.no_grad():
            self.analysis.linear.weight.copy_((basis * weight)[:, :, None, None])
            self.synthesis.linear.weight.copy_((basis / weight).T[:, :, None, None])
            gain = math.exp(float(self.gain.get_buffer("ladder")[quality]))
            self.prior.set_initial_scales(deviation * gain * math.sqrt(3) / math.pi * 0.5)


def chroma_scaling() -> Tensor:
    """(384,) scale of each sample of a packed 16x16 block in the weighted signal space."""
    plane = torch.ones(PACKED_CHANNELS)
    plane[64:] = math.sqrt(4 * CHROMA_WEIGHT)
    return plane.repeat_interleave(4)


class IntraCodec(FrameCodec):
    """Codes a picture on its own; 1 in ``gop`` frames, so it may be heavier."""

    def __init__(self, config: CodecConfig) -> None:
        latents = sum(config.intra_groups)
        width, depth, levels = config.intra_width, config.intra_depth, config.levels
        super().__init__(
            Analysis(PACKED_CHANNELS, width, depth, latents, levels),
            Synthesis(latents, width, depth, 0, levels),
            LatentPrior(
                config.intra_groups,
                config.intra_hyper,
                config.intra_prior_features,
                0,
                levels,
                config.prior_kernel,
            ),
            config,
        )

    def analyse(self, x: Tensor, quality: Tensor) -> Tensor:
        """Packed picture -> latents in quantiser steps."""
        return self.gain.to_steps(self.analysis(x, x, quality), quality)

    def synthesise(self, y_hat: Tensor, quality: Tensor) -> Reconstruction:
        """Decoded latents in quantiser steps -> packed picture."""
        out: Reconstruction = self.synthesis(self.gain.from_steps(y_hat, quality), None, quality)
        return out


class InterCodec(FrameCodec):
    """Codes a picture given its motion-compensated prediction."""

    def __init__(self, config: CodecConfig) -> None:
        latents, levels = sum(config.inter_groups), config.levels
        super().__init__(
            Analysis(
                2 * PACKED_CHANNELS,
                config.inter_encoder_width,
                config.inter_encoder_depth,
                latents,
                levels,
            ),
            Synthesis(
                latents,
                config.inter_decoder_width,
                config.inter_decoder_depth,
                PACKED_CHANNELS,
                levels,
                config.inter_leave,
            ),
            LatentPrior(
                config.inter_groups,
                config.inter_hyper,
                config.prior_features,
                latents + MOTION_CHANNELS,
                levels,
                config.prior_kernel,
            ),
            config,
        )
        self.coring = config.residual_coring / 255

    def analyse(self, x: Tensor, predicted: Tensor, quality: Tensor) -> Tensor:
        """Packed picture and prediction -> latents in quantiser steps."""
        y = self.analysis(x - predicted, torch.cat([x, predicted], 1), quality)
        return self.gain.to_steps(y, quality)

    def synthesise(self, y_hat: Tensor, predicted: Tensor, quality: Tensor) -> Reconstruction:
        """Decoded latents and packed prediction -> packed picture."""
        out = self.synthesis(self.gain.from_steps(y_hat, quality), predicted, quality)
        return Reconstruction(predicted + core(out.packed, self.coring), out.features)


def core(residual: Tensor, threshold: float) -> Tensor:
    """Nothing below the threshold, all of it from twice the threshold on, a line between.

    Firm shrinkage (Gao, Bruce 1997). Where nothing is coded the net still gives a fraction of a
    level, always of the same sign at the same place of a block; under moving pictures, where 8-bit
    rounding does not swallow it, that adds up over a GOP to a grid of dots.
    """
    if not threshold:
        return residual
    size = residual.abs()
    return (2 * F.softshrink(residual, threshold)).clamp(-size, size)


def temporal_context(latents: Tensor, field: Tensor, *, moving: bool) -> Tensor:
    """What the prior of an inter frame knows beforehand, whole numbers on the latents' grid.

    Args:
        latents: of the frame before, (B, M, H/16, W/16).
        field: motion, (B, 2, H/8, W/8).
        moving: take the latents from where each block came from, else from its own place.

    Returns:
        (B, M + 3, H/16, W/16).
    """
    if moving:
        latents = move_blocks(latents, field)
    return torch.cat([latents, motion_context(field).to(latents)], 1)


def move_blocks(latents: Tensor, field: Tensor) -> Tensor:
    """Latents (B, M, h, w) of the block that most of each block is predicted from."""
    h, w = latents.shape[-2:]
    # 64 quarter samples a block; floor, as halves round differently elsewhere
    shift = torch.floor((field[:, :, ::2, ::2] + 32) / 64).long()
    rows = (torch.arange(h, device=field.device)[:, None] + shift[:, 1]).clamp(0, h - 1)
    cols = (torch.arange(w, device=field.device) + shift[:, 0]).clamp(0, w - 1)
    index = (rows * w + cols).flatten(1)[:, None].expand(-1, latents.shape[1], -1)
    return latents.flatten(2).gather(2, index).view_as(latents)


def motion_context(field: Tensor) -> Tensor:
    """Motion field (B, 2, H/8, W/8) -> (B, 3, H/16, W/16) whole numbers for the prior.

    Size of the vector, disagreement with the neighbours and splitting: where motion is busy the
    prediction fails and the residual is dear. Small whole numbers, the same on every machine.
    """
    field = field.double()
    block = field[:, :, ::2, ::2]
    size = block.abs().sum(1, keepdim=True)
    wide = F.pad(block, (1, 1, 1, 1), mode="replicate")
    centre = wide[:, :, 1:-1, 1:-1]
    spread = torch.zeros_like(size)
    for other in (
        wide[..., :-2, 1:-1],
        wide[..., 2:, 1:-1],
        wide[..., 1:-1, :-2],
        wide[..., 1:-1, 2:],
    ):
        spread = spread + (other - centre).abs().sum(1, keepdim=True)
    split = (field[:, :, 1::2, ::2] - block).abs().sum(1, keepdim=True)
    split = split + (field[:, :, ::2, 1::2] - block).abs().sum(1, keepdim=True)
    split = split + (field[:, :, 1::2, 1::2] - block).abs().sum(1, keepdim=True)
    out = torch.cat([size, spread, split], 1)
    return torch.floor(out / 8).clamp_(0, 31)


class GanCodec(nn.Module):
    """All nets of one model. ``config`` travels with the weights."""

    def __init__(self, config: CodecConfig | None = None) -> None:
        super().__init__()
        self.config = config or CodecConfig()
        self.intra = IntraCodec(self.config)
        self.inter = InterCodec(self.config)
        self.detail = DetailSynthesis(self.config)
