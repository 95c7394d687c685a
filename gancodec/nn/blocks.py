"""Convolutional blocks that work at one low resolution (1/8), after DCVC-RT (CVPR 2025)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DepthwiseBlock(nn.Module):
    """Residual block of 1x1 and depthwise 3x3 convolutions: 5 C^2 + 9 C MAC a position.

    (B, C, H, W) -> (B, C, H, W). The last layer of each half starts at zero, so that a fresh
    block is the identity and a deep stack trains from the first step.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix_in = nn.Conv2d(channels, channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mix_out = nn.Conv2d(channels, channels, 1)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.reduce = nn.Conv2d(channels, channels, 1)
        for last in (self.mix_out, self.reduce):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        # In place where no gradient needs what was there: a seventh of the time.
        x = self.mix_out(self.depthwise(F.leaky_relu_(self.mix_in(x), 0.125))).add_(x)
        gate, value = self.expand(x).chunk(2, 1)
        gate = F.relu(gate)  # gated, at ReLU's cost
        gated = gate * value if torch.is_grad_enabled() else gate.mul_(value)
        out: Tensor = self.reduce(gated).add_(x)
        return out


def depthwise_stack(channels: int, depth: int) -> nn.Sequential:
    """``depth`` blocks in a row, (B, C, H, W) -> (B, C, H, W)."""
    return nn.Sequential(*(DepthwiseBlock(channels) for _ in range(depth)))


class Halve(nn.Conv2d):
    """3x3 convolution of stride 2: (B, C, 2H, 2W) -> (B, D, H, W)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 3, stride=2, padding=1)


class Double(nn.Conv2d):
    """1x1 convolution, then PixelShuffle: (B, C, H, W) -> (B, D, 2H, 2W).

    The four phases share a start, as in ICNR (Aitken et al. 2017), so that a fresh net draws no
    checkerboard.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, 4 * out, 1)
        with torch.no_grad():
            for p in (self.weight, self.bias):
                assert p is not None
                p.copy_(p[::4].repeat_interleave(4, 0))

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(super().forward(x), 2)


class QualityKnots(nn.Module):
    """A per-channel vector for each of ``levels`` qualities, interpolated between a few knots.

    Few knots instead of one vector a level: neighbouring levels stay neighbours, so rate and
    distortion move smoothly and monotonically with the quality. Output is (B, C, 1, 1).
    """

    def __init__(self, channels: int, levels: int, knots: int = 8, value: float = 0.0) -> None:
        super().__init__()
        self.levels = levels
        self.knots = nn.Parameter(torch.full((knots, channels), value))

    def table(self) -> Tensor:
        """(levels, C): the vector of every integer quality."""
        return self.at(torch.arange(self.levels, device=self.knots.device))

    def set_table(self, table: Tensor) -> None:
        """Take the knots from the nearest levels of a (levels, C) table."""
        count = self.knots.shape[0]
        levels = torch.linspace(0, self.levels - 1, count).round().long()
        with torch.no_grad():
            self.knots.copy_(table[levels])

    def at(self, quality: Tensor) -> Tensor:
        """(B,) qualities, 0 .. levels-1, -> (B, C)."""
        count = self.knots.shape[0]
        position = quality.to(self.knots) * ((count - 1) / (self.levels - 1))
        low = position.floor().clamp(0, count - 2)
        share = (position - low).unsqueeze(1)
        index = low.long()
        return self.knots[index] * (1 - share) + self.knots[index + 1] * share

    def forward(self, quality: Tensor) -> Tensor:
        return self.at(quality)[:, :, None, None]


def full_precision() -> torch.autocast:
    """A context that autocast stays out of: quantised signals need more than bf16's 8 bits."""
    return torch.autocast("cuda", enabled=False)
