"""What people look at, as a loss: a learned distance of RGB pictures.

ST-LPIPS on AlexNet (Ghildyal, Liu, ECCV 2022; the package stlpips_pytorch). Its VGG sister judges
in `gancodec.eval` and is never trained on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gancodec.eval.stlpips import load_st_lpips
from gancodec.nn.planes import Planes

_SCALES = 3.0, 2.0, 1.5, 1.0  # of random views; they show parts, so that they stay as large
_REACH = 4  # samples from the first place of the fused first layer to its kernel's edge
_WINDOWS = 3  # of the statistics: 2, 4 and 8 places wide
_NEAR_ZERO = 1e-8  # inside the root: features of flat areas would have endless gradients


def rgb_of(planes: Planes) -> Tensor:
    """(B, 3, H, W) in -1 to 1 of limited-range BT.709 planes in [0, 1]; not clamped."""
    y = (planes.y * 255 - 16) / 219
    chroma = (torch.cat([planes.u, planes.v], 1) * 255 - 128) / 224
    wide = F.interpolate(chroma, scale_factor=2.0, mode="bilinear", align_corners=False)
    cb, cr = wide[:, :1], wide[:, 1:]
    red, blue = y + 1.5748 * cr, y + 1.8556 * cb
    green = y - 0.1873 * cb - 0.4681 * cr
    return torch.cat([red, green, blue], 1) * 2 - 1


def random_view(pictures: list[Planes], rng: np.random.Generator) -> list[Planes]:
    """All pictures in the same random way: mirrored, turned, and a part of it enlarged.

    Who learns from a net's opinion finds what pleases that net; what pleases it from every side is
    more likely to please an eye (E-LPIPS; Kettunen, Harkonen, Lehtinen 2019). AlexNet's first
    filters are 11 samples wide: what is finer than that, it sees in an enlarged part only.
    """
    mirrored, flipped, turned = rng.random(3) < 0.5
    scale = float(rng.choice(_SCALES))
    height, width = (side // 2 for side in pictures[0].y.shape[-2:])  # in samples of chroma
    h, w = round(height / scale), round(width / scale)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))

    def one(x: Tensor, unit: int) -> Tensor:
        size = [round(side * scale) * unit for side in (h, w)]
        x = x[..., top * unit : (top + h) * unit, left * unit : (left + w) * unit]
        if scale > 1:
            x = F.interpolate(x, size=size, mode="bilinear")
        x = x.flip(-1) if mirrored else x
        x = x.flip(-2) if flipped else x
        return x.transpose(-1, -2) if turned else x

    return [Planes(one(p.y, 2), one(p.u, 1), one(p.v, 1)) for p in pictures]


class Seen(NamedTuple):
    """How two pictures differ to the eye; (B,) each."""

    distance: Tensor
    statistics: Tensor


class Perception:
    """ST-LPIPS (alex) of planes, differentiable by the first."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.net = load_st_lpips("alex").to(device)
        first, blur = self.net.net.slice1[:2]  # type: ignore[index,union-attr]
        self.kernel = _fuse(first.weight, blur.filt[0, 0])
        self.bias = first.bias

    def distance(self, planes: Planes, source: Planes) -> Tensor:
        """(B,) distance; 0 for equal pictures, about 0.4 for coarse coding."""
        return self.compare(planes, source, statistics=False).distance

    def compare(self, planes: Planes, source: Planes, *, statistics: bool = True) -> Seen:
        """The distance, and how far local means and deviations of its features are apart.

        Statistics forgive texture for lying elsewhere, not for being absent: Wasserstein
        distortion (Qiu et al., CISS 2024) over windows of 2, 4 and 8 places of each layer. Weighed
        by the distance's own weights; 0 unless asked for.
        """
        with torch.no_grad():
            wanted = self._features(source)
        shown = self._features(planes)
        distance = statistic = torch.zeros(len(planes.y), device=planes.y.device)
        for lin, a, b in zip(self.net.lins, shown, wanted, strict=True):  # type: ignore[arg-type]
            distance = distance + lin((a - b).square()).mean((1, 2, 3))
            if statistics:
                statistic = statistic + _statistics(lin, a, b)
        return Seen(distance, statistic)

    def _features(self, planes: Planes) -> list[Tensor]:
        x = rgb_of(planes).contiguous(memory_format=torch.channels_last)
        x = F.pad(self.net.scaling_layer(x), (_REACH,) * 4)  # type: ignore[operator]
        x = F.conv2d(F.pixel_unshuffle(x, 2), self.kernel, self.bias)
        x = F.pad(x[:, :, 1:, 1:], (1, 0, 1, 0), mode="replicate")  # what mirrored blurring gives
        layers = [F.relu(x)]
        for name in ("slice2", "slice3", "slice4", "slice5"):
            layers.append(getattr(self.net.net, name)(layers[-1]))
        return [f * (f.square().sum(1, keepdim=True) + _NEAR_ZERO).rsqrt() for f in layers]


def _fuse(kernel: Tensor, blur: Tensor) -> Tensor:
    """The first layer, 11x11 at full resolution and then blurred and halved, as one convolution.

    7x7 over four phases, a fourth of the time. Beyond the right and the lower edge, where the net
    mirrors what its convolution gave, this sees grey instead: it differs in the last place of 62.
    """
    channels = kernel.shape[0]
    wide = F.conv_transpose2d(kernel.reshape(-1, 1, *kernel.shape[2:]), blur[None, None])
    wide = wide.reshape(channels, 3, *wide.shape[2:])
    phases = F.pixel_unshuffle(F.pad(wide, (0, 1, 0, 1)), 2)
    return phases.contiguous(memory_format=torch.channels_last)


def _statistics(lin: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    total = torch.zeros(len(a), device=a.device)
    means = a, b
    squares = a.square(), b.square()
    for _ in range(_WINDOWS):
        if min(means[0].shape[-2:]) < 2:
            break
        means = F.avg_pool2d(means[0], 2), F.avg_pool2d(means[1], 2)
        squares = F.avg_pool2d(squares[0], 2), F.avg_pool2d(squares[1], 2)
        deviations = [
            ((s - m.square()).clamp_min(0) + _NEAR_ZERO).sqrt()
            for m, s in zip(means, squares, strict=True)
        ]
        apart = (means[0] - means[1]).square() + (deviations[0] - deviations[1]).square()
        total = total + lin(apart).mean((1, 2, 3)) / _WINDOWS
    return total
