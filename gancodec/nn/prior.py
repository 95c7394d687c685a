"""The prior of the latents: what decides how many bits a symbol costs.

    z (1/64) ──► hyper synthesis ──►(+)── features F at 1/16 ──┐
    quality ──► bias table ─────────►│                          │
    temporal (integers already decoded) ► temporal ─►│          ▼
                          decoded so far ──────────► step k ──► mean, scale index
                                                       │
    order of the steps:  A on even positions, A on odd positions, B, C   (A, B, C: channel groups)

Every input is an integer that the decoder already has; every layer is a `FixedConv2d`. The same
walk serves training, encoding and decoding: `walk` asks a callback to code one step at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gancodec.nn.blocks import QualityKnots, full_precision
from gancodec.nn.fixed import ACTIVATION_ONE, CONTEXT_MAX, HIDDEN_MAX, FixedConv2d

SCALES = 64  # table indices; logistic scales spaced evenly in the logarithm
SCALE_MIN, SCALE_MAX = 0.04, 40.0  # in quantiser steps; at the least, a non-zero costs 18 bits
# Nets give scale indices in units of this: optimizers move a parameter by about the learning rate
# a step, and an index has 64 values to cross. A power of two, so exact for integers too.
INDEX_UNIT = 16
_LOG_STEP = math.log(SCALE_MAX / SCALE_MIN) / (SCALES - 1)

# What a squared quantiser step of error weighs beside a bit when a symbol is chosen. By itself
# 1/0.136 (`lagrange_weights`); twice that, as what is coded well serves the frames after, too.
ERROR_WEIGHT = 2 / 0.136
HYPER_ERROR_WEIGHT = 4.0  # of hyper-latents; they only help to guess, so that less is lost


# Asked to code one step: (mean, scale, mask, channels) -> decoded latents of these channels,
# zero outside the mask. Real numbers while training, integers once frozen.
StepCoder = Callable[[Tensor, Tensor, Tensor, slice], Tensor]


def logistic_scale(index: Tensor | float) -> Tensor:
    """Scale, in quantiser steps, of a (possibly fractional) table index."""
    return torch.as_tensor(SCALE_MIN) * torch.exp(torch.as_tensor(index) * _LOG_STEP)


def symbol_bits(symbol: Tensor, scale_index: Tensor) -> Tensor:
    """Bits of integer symbols under a logistic density integrated over each quantiser cell.

    Stable for any scale: sig(a) - sig(b) = sig(a) sig(-b) (1 - e^(b-a)).
    """
    scale = logistic_scale(scale_index.clamp(0, SCALES - 1))
    magnitude = symbol.abs()
    inverse = 1 / scale
    log_p = (
        F.logsigmoid((0.5 - magnitude) * inverse)
        + F.logsigmoid((0.5 + magnitude) * inverse)
        + torch.log(-torch.expm1(-inverse))
    )
    return log_p / -math.log(2)


@lru_cache(maxsize=4)
def _thresholds(weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """Where 1 beats 0, 2 beats 1, and how far beyond n > 1 n+1 does, for each scale index."""
    index = torch.arange(SCALES, dtype=torch.float64)

    def step_up(n: int) -> Tensor:
        at = torch.full_like(index, float(n))
        more = symbol_bits(at + 1, index) - symbol_bits(at, index)
        return n + 0.5 + more / (2 * weight)

    return step_up(0), step_up(1), step_up(8) - 8


def quantise(offset: Tensor, scale_index: Tensor, weight: float = ERROR_WEIGHT) -> Tensor:
    """Offsets from their means, in quantiser steps -> whole numbers that pay for their bits.

    Rate-distortion optimised quantisation for independent symbols: of the whole numbers around,
    the one with the least weight x error^2 + bits. Rare symbols get a wide dead zone.

    Args:
        offset: any shape.
        scale_index: table indices, 0 to SCALES - 1, of a shape that broadcasts to ``offset``'s.
        weight: of a squared step of error beside a bit.
    """
    index = scale_index.detach().round().clamp(0, SCALES - 1).long()
    first, second, later = (t.to(offset)[index] for t in _thresholds(weight))
    size = offset.abs()
    low = (size >= first).to(size) + (size >= second).to(size)
    whole = torch.where(low < 2, low, torch.floor(size + 1 - later).clamp_min(2))
    return torch.copysign(whole, offset)


class PriorOutput(NamedTuple):
    """Rounded latents, in quantiser steps, and the bits of each sample of the batch."""

    y_hat: Tensor
    bits: Tensor
    hyper_bits: Tensor


class HyperAnalysis(nn.Module):
    """Latents (B, M, h, w) -> hyper-latents (B, Z, ceil(h/4), ceil(w/4)); the encoder's side."""

    def __init__(self, latents: int, hyper: int, width: int = 64) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(latents, width, 1)
        self.down1 = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.down2 = nn.Conv2d(width, hyper, 3, stride=2, padding=1)

    def forward(self, y: Tensor) -> Tensor:
        h, w = y.shape[-2:]
        y = F.pad(y, (0, -w % 4, 0, -h % 4), mode="replicate") if (h % 4 or w % 4) else y
        z: Tensor = self.down2(F.relu(self.down1(F.relu(self.reduce(y.abs())))))
        return z


class PriorStep(nn.Module):
    """Features and what is decoded so far -> mean and scale index of one group of channels."""

    def __init__(self, features: int, context: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.features = FixedConv2d(features, features, hidden=False)
        self.context = (
            FixedConv2d(context, features, hidden=False, input_max=CONTEXT_MAX) if context else None
        )
        self.spread = FixedConv2d(features, features, kernel, groups=features, hidden=True)
        self.mix = FixedConv2d(features, features, hidden=True)
        self.out = FixedConv2d(features, 2 * outputs, hidden=False)
        if self.context is not None:
            nn.init.normal_(self.context.weight, std=0.02)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        x = self.features(features)
        if self.context is not None:
            x = x + self.context(context)
        top = HIDDEN_MAX if self.spread.frozen is None else HIDDEN_MAX * ACTIVATION_ONE - 1
        mean, scale = self.out(self.mix(self.spread(x.clamp(0, top)))).chunk(2, 1)
        return mean, scale * INDEX_UNIT


class LatentPrior(nn.Module):
    """Hyper-latents, temporal context and decoded groups -> means and scales of the latents.

    Args:
        groups: sizes of the channel groups; the first is coded in two checkerboard steps.
        hyper: channels of z.
        features: width of the integer nets.
        temporal: channels of the temporal context at 1/16 (0 for intra frames).
        levels: number of qualities.
        kernel: of the depthwise convolution that spreads what a step knows to its neighbours.
    """

    def __init__(
        self,
        groups: tuple[int, ...],
        hyper: int,
        features: int,
        temporal: int,
        levels: int,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        self.groups = groups
        self.latents = sum(groups)
        self.hyper = hyper
        self.temporal_channels = temporal
        self.analysis = HyperAnalysis(self.latents, hyper)
        self.z_scale = QualityKnots(hyper, levels, value=30.0 / INDEX_UNIT)
        self.z_in = FixedConv2d(hyper, features, hidden=True, input_max=CONTEXT_MAX)
        self.z_up1 = FixedConv2d(features, features, 3, groups=features, hidden=True)
        self.z_mix1 = FixedConv2d(features, features, hidden=True)
        self.z_up2 = FixedConv2d(features, features, 3, groups=features, hidden=True)
        self.z_mix2 = FixedConv2d(features, features, hidden=True)
        self.bias = QualityKnots(features, levels, value=0.5)
        self.temporal = (
            nn.Sequential(
                FixedConv2d(temporal, features, hidden=True, input_max=CONTEXT_MAX),
                FixedConv2d(features, features, 3, groups=features, hidden=True),
                FixedConv2d(features, features, hidden=True),
            )
            if temporal
            else None
        )
        known = [0, groups[0], *(sum(groups[:k]) for k in range(1, len(groups)))]
        sizes = [groups[0], groups[0], *groups[1:]]
        self.steps = nn.ModuleList(
            PriorStep(features, c, n, kernel) for c, n in zip(known, sizes, strict=True)
        )
        self.frozen_tables: tuple[Tensor, Tensor] | None = None

    def set_initial_scales(self, scale: Tensor) -> None:
        """Start from known logistic scales, (M,) in quantiser steps."""
        index = (torch.log(scale / SCALE_MIN) / _LOG_STEP).clamp(0, SCALES - 1)
        for step, part in zip(self.steps, self._step_channels(), strict=True):
            assert isinstance(step, PriorStep)
            with torch.no_grad():
                n = part.stop - part.start
                step.out.bias[n:] = index[part] / INDEX_UNIT  # type: ignore[index]

    def integers(self) -> dict[str, Tensor]:
        """Every number that the decoder's choice of tables depends on, as int32 by name."""
        out = {}
        for name, module in self.named_modules():
            if isinstance(module, FixedConv2d):
                out[f"{name}.weight"], out[f"{name}.bias"] = module.integer_weights()
        if self.frozen_tables is not None:
            bias, z_index = self.frozen_tables
            return {**out, "bias": bias.to(torch.int32), "z_index": z_index.to(torch.int32)}
        bias = torch.round(self.bias.table().detach().double() * ACTIVATION_ONE)
        z_index = torch.round(self.z_scale.table().detach() * INDEX_UNIT).clamp(0, SCALES - 1)
        return {**out, "bias": bias.to(torch.int32), "z_index": z_index.to(torch.int32)}

    def freeze(self, integers: dict[str, Tensor] | None = None, *, wide: bool = False) -> None:
        """Go over to integer arithmetic, on stored integers or on one's own.

        ``wide`` holds them in float64 even where float32 is proven to be enough.
        """
        stored = self.integers() if integers is None else integers
        for name, module in self.named_modules():
            if isinstance(module, FixedConv2d):
                module.freeze(stored[f"{name}.weight"], stored[f"{name}.bias"], wide=wide)
        self.frozen_tables = (stored["bias"].double(), stored["z_index"].to(torch.int64))

    def thaw(self) -> None:
        """Back to floats that can be trained on, from the integers of frozen weights."""
        if self.frozen_tables is None:
            return
        for module in self.modules():
            if isinstance(module, FixedConv2d):
                module.thaw()
        bias, z_index = self.frozen_tables
        self.bias.set_table(bias / ACTIVATION_ONE)
        self.z_scale.set_table(z_index.double() / INDEX_UNIT)
        self.frozen_tables = None

    def z_index(self, quality: Tensor) -> Tensor:
        """Scale index of the hyper-latents, (B, Z, 1, 1)."""
        if self.frozen_tables is not None:
            return self.frozen_tables[1][quality][:, :, None, None]
        index: Tensor = self.z_scale(quality) * INDEX_UNIT
        return index

    def _step_channels(self) -> list[slice]:
        """The channels that each step codes."""
        edges = [0]
        for size in self.groups:
            edges.append(edges[-1] + size)
        spans = [slice(a, b) for a, b in pairwise(edges)]
        return [spans[0], *spans]

    def _step_masks(self, size: tuple[int, int], like: Tensor) -> list[Tensor]:
        """(1, 1, h, w) each: the places that each step codes."""
        even = checkerboard(size, like)
        whole = torch.ones_like(even)
        return [even, 1 - even, *(whole for _ in self.groups[1:])]

    def _features(
        self, z_hat: Tensor, quality: Tensor, temporal: Tensor | None, size: tuple[int, int]
    ) -> Tensor:
        x = self.z_in(z_hat)  # (B, F, h/4, w/4)
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.z_mix1(self.z_up1(x))
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = self.z_mix2(self.z_up2(x))[..., : size[0], : size[1]]  # (B, F, h, w)
        if self.frozen_tables is not None:
            x = x + self.frozen_tables[0][quality][:, :, None, None].to(x)
        else:
            x = x + self.bias(quality)
        if self.temporal is not None:
            assert temporal is not None
            x = x + self.temporal(temporal)
        top = HIDDEN_MAX if self.frozen_tables is None else HIDDEN_MAX * ACTIVATION_ONE - 1
        features: Tensor = x.clamp(0, top)
        return features

    def walk(
        self,
        z_hat: Tensor,
        quality: Tensor,
        temporal: Tensor | None,
        size: tuple[int, int],
        code: StepCoder,
    ) -> Tensor:
        """Run all steps; ``code`` turns predictions into decoded latents. Gives y_hat (B, M, h, w).

        ``z_hat`` and ``temporal`` are integers times ``ACTIVATION_ONE`` once frozen.
        """
        z_hat = z_hat.contiguous(memory_format=torch.channels_last)
        if temporal is not None:
            temporal = temporal.contiguous(memory_format=torch.channels_last)
        features = self._features(z_hat, quality, temporal, size)
        limit = CONTEXT_MAX * (1 if self.frozen_tables is None else ACTIVATION_ONE)
        y_hat = features.new_zeros(features.shape[0], 0, *size)
        masks = self._step_masks(size, features)
        for step, part, mask in zip(self.steps, self._step_channels(), masks, strict=True):
            mean, scale = step(features, y_hat.clamp(-limit, limit))
            decoded = code(mean, scale, mask, part)
            begun = part.start < y_hat.shape[1]  # its other places are there already
            y_hat = y_hat + decoded if begun else torch.cat([y_hat, decoded], 1)
        return y_hat

    def forward(self, y: Tensor, quality: Tensor, temporal: Tensor | None) -> PriorOutput:
        """Training: latents in quantiser steps -> rounded latents and their bits."""
        with full_precision():
            return self._coded(y.float(), quality, temporal)

    def _coded(self, y: Tensor, quality: Tensor, temporal: Tensor | None) -> PriorOutput:
        z = self.analysis(y)
        z_index = self.z_index(quality)
        z_hat = z + (quantise(z, z_index, HYPER_ERROR_WEIGHT) - z).detach()
        hyper_bits = symbol_bits(self._rated(z, z_hat), z_index).sum((1, 2, 3))
        bits: list[Tensor] = []

        def code(mean: Tensor, scale: Tensor, mask: Tensor, part: slice) -> Tensor:
            offset = y[:, part] - mean
            symbol = offset + (quantise(offset, scale) - offset).detach()  # as the encoder does
            bits.append((symbol_bits(self._rated(offset, symbol), scale) * mask).sum((1, 2, 3)))
            return (symbol + mean) * mask

        limit = CONTEXT_MAX
        y_hat = self.walk(z_hat.clamp(-limit, limit), quality, temporal, _size(y), code)
        return PriorOutput(y_hat, torch.stack(bits).sum(0) + hyper_bits, hyper_bits)

    def _rated(self, value: Tensor, rounded: Tensor) -> Tensor:
        """What the rate is counted on: while training, uniform noise in place of rounding.

        Rounding has no gradient worth the name; the synthesis sees rounded latents all the same
        (mixed quantisation; Minnen, Singh, ICIP 2020). Evaluation counts what is coded.
        """
        return value + torch.rand_like(value) - 0.5 if self.training else rounded


def _size(x: Tensor) -> tuple[int, int]:
    return int(x.shape[-2]), int(x.shape[-1])


def checkerboard(size: tuple[int, int], like: Tensor) -> Tensor:
    """(1, 1, h, w): one where row + column is even."""
    rows = torch.arange(size[0], device=like.device)[:, None]
    columns = torch.arange(size[1], device=like.device)
    return ((rows + columns + 1) % 2).to(like.dtype)[None, None]
