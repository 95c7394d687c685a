"""Priors to compare with the shipped one: without checkerboard, and without any net."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gancodec.nn.blocks import QualityKnots
from gancodec.nn.prior import (
    INDEX_UNIT,
    SCALE_MAX,
    SCALE_MIN,
    SCALES,
    LatentPrior,
    PriorOutput,
    quantise,
    symbol_bits,
)

REGION = 4  # blocks on a side that share a transmitted scale
SPACING = 4  # table indices between two transmitted scales: a factor of 1.55
WIDEST = 6  # scales are offset by -6 .. 6 times that
SURE = 8.0  # observations that the first guess at the offsets' distribution is worth


class OneStepPrior(LatentPrior):
    """The first group is coded at once, without the checkerboard's two steps."""

    def __init__(self, groups: tuple[int, ...], *numbers: int) -> None:
        super().__init__(groups, *numbers)
        del self.steps[1]

    def _step_channels(self) -> list[slice]:
        return super()._step_channels()[1:]

    def _step_masks(self, size: tuple[int, int], like: Tensor) -> list[Tensor]:
        return [like.new_ones(1, 1, *size) for _ in self.groups]


class TransmittedScales(nn.Module):
    """No nets: the encoder says how wide the distributions are, region by region.

    Each 4x4 blocks and channel group have one number, by which learned scales of the channels at
    this quality are multiplied. It is predicted from its left neighbour (the one above at the left
    edge) and coded with adaptive frequencies. The mean of a latent is a learned share of the
    previous frame's.
    """

    def __init__(self, groups: tuple[int, ...], levels: int) -> None:
        super().__init__()
        self.groups, self.latents = groups, sum(groups)
        self.scale = QualityKnots(self.latents, levels, value=30.0 / INDEX_UNIT)
        self.share = QualityKnots(self.latents, levels)

    def set_initial_scales(self, scale: Tensor) -> None:
        """As `LatentPrior.set_initial_scales`."""
        index = torch.log(scale / SCALE_MIN) / math.log(SCALE_MAX / SCALE_MIN) * (SCALES - 1)
        with torch.no_grad():
            self.scale.knots.copy_(index.clamp(0, SCALES - 1) / INDEX_UNIT)

    def forward(self, y: Tensor, quality: Tensor, temporal: Tensor) -> PriorOutput:
        """As `LatentPrior.forward`; the previous latents are the first channels of ``temporal``."""
        mean = self.share(quality) * temporal[:, : self.latents]
        offset = y - mean
        base = self.scale(quality) * INDEX_UNIT
        with torch.no_grad():
            chosen = self._choose(offset, base)  # (B, groups, regions)
            side_bits = _offset_bits(chosen - _predicted(chosen))
        wide = chosen.repeat_interleave(REGION, 2).repeat_interleave(REGION, 3)
        wide = wide[..., : y.shape[2], : y.shape[3]] * SPACING
        index = base + torch.cat(
            [wide[:, k : k + 1].expand(-1, n, -1, -1) for k, n in enumerate(self.groups)], 1
        )
        symbol = offset + (quantise(offset, index) - offset).detach()
        rated = offset + torch.rand_like(offset) - 0.5 if self.training else symbol
        bits = symbol_bits(rated, index).sum((1, 2, 3))
        return PriorOutput(symbol + mean, bits + side_bits, side_bits)

    def _choose(self, offset: Tensor, base: Tensor) -> Tensor:
        """The scales of least bits, -WIDEST .. WIDEST, (B, groups, ceil(h/4), ceil(w/4))."""
        symbol = offset.round()
        h, w = symbol.shape[-2:]
        costs = []
        for k in range(-WIDEST, WIDEST + 1):
            bits = symbol_bits(symbol, base + k * SPACING)
            bits = F.pad(bits, (0, -w % REGION, 0, -h % REGION))
            parts = torch.split(bits, list(self.groups), 1)
            grouped = [part.sum(1, keepdim=True) for part in parts]
            costs.append(F.avg_pool2d(torch.cat(grouped, 1), REGION) * REGION**2)
        cost = torch.stack(costs)
        alone = cost.argmin(0) - WIDEST
        offsets = torch.arange(-WIDEST, WIDEST + 1).view(-1, 1, 1, 1, 1)
        return (cost + (offsets - _predicted(alone)).abs()).argmin(0) - WIDEST


def _predicted(chosen: Tensor) -> Tensor:
    """What each number is predicted by: the one to the left, else above, else zero."""
    first = F.pad(chosen[:, :, :-1, :1], (0, 0, 1, 0))
    return torch.cat([first, chosen[..., :-1]], -1)


def _offset_bits(difference: Tensor) -> Tensor:
    """(B,) bits of whole numbers (B, groups, h, w) under adaptive frequencies of each group.

    What a coder spends that counts as it goes (Dirichlet-multinomial), from a first guess that
    falls by half with each step from zero.
    """
    values = torch.arange(-2 * WIDEST, 2 * WIDEST + 1)
    guess = 0.5 ** values.abs().double()
    alpha = SURE * guess / guess.sum()
    counts = (difference.flatten(2)[..., None] == values).sum(2).double()  # (B, groups, values)
    seen = torch.lgamma(alpha + counts) - torch.lgamma(alpha)
    total = math.lgamma(SURE) - torch.lgamma(SURE + counts.sum(-1))
    return (-(seen.sum(-1) + total) / math.log(2)).sum(1).float()
