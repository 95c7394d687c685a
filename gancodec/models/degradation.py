"""How much is wrong with frames: the level that an enhancer is told, and estimates of it.

Every level is 0 to 63, as the codec's qualities are, so that the same knots serve.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gancodec.models.restore import LEVELS

MAX_SIGMA = 60.0  # of 8-bit samples; the level of noise ends there
_BLOCK = 16  # luma samples, of the noise estimate
_CALM = 0.2  # the share of blocks that are calmer than the one that is believed
_CALM_BIAS = 0.94  # what that share of pure noise gives, of its deviation
_LAPLACIAN = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
_REBLUR = 9  # samples
_RATES = 8.0, 7.0  # levels an octave of bits a pixel; octaves below one bit where they begin


def noise_level(sigma: Tensor) -> Tensor:
    """Deviation of noise in 8-bit luma samples -> level, finer where there is little of it."""
    return (LEVELS - 1) * (sigma / MAX_SIGMA).clamp(0, 1).sqrt()


def sigma_of(level: Tensor) -> Tensor:
    """The deviation that `noise_level` turns into this level."""
    return MAX_SIGMA * (level / (LEVELS - 1)).square()


def rate_level(bits_per_pixel: Tensor) -> Tensor:
    """Rate of a file -> level: 0 up to 1/128 bit a luma sample, 63 from two bits on."""
    per_octave, below = _RATES
    return (per_octave * (bits_per_pixel.log2() + below)).clamp(0, LEVELS - 1)


def blur_level(blur: Tensor) -> Tensor:
    """`estimate_blur` -> level."""
    return (LEVELS - 1) * blur.clamp(0, 1)


def estimate_noise(luma: Tensor) -> Tensor:
    """Deviation of white noise in (B, T, H, W) luma, 0 to 255: (B,).

    The mean size of a Laplacian that ignores planes (Immerkaer 1996), of blocks of 16x16 samples,
    and of these one of the calmest, which hold little texture.
    """
    b, t, h, w = luma.shape
    return noise_of(busyness(luma.reshape(b * t, h, w)).view(b, -1))


def busyness(luma: Tensor) -> Tensor:
    """(B, H, W) luma -> (B, N): deviation of the noise that each block would hold as it is."""
    x = luma[:, None].float()
    kernel = _LAPLACIAN.to(x).view(1, 1, 3, 3)
    size = F.conv2d(x, kernel).abs()
    side = min(_BLOCK, *size.shape[-2:])
    return F.avg_pool2d(size, side).flatten(1) * (math.sqrt(math.pi / 2) / 6)


def noise_of(blocks: Tensor) -> Tensor:
    """(B, N) `busyness` of blocks -> (B,), what `estimate_noise` makes of them."""
    return torch.quantile(blocks, _CALM, dim=1) / _CALM_BIAS


def estimate_blur(luma: Tensor) -> Tensor:
    """How little blurring changes (B, H, W) luma: (B,), 0 sharp to 1 (Crete et al. 2007)."""
    x = luma[:, None].float()
    found = []
    for dim in (-1, -2):
        taps = (1, _REBLUR) if dim == -1 else (_REBLUR, 1)
        around = (_REBLUR // 2,) * 2
        pad = (*around, 0, 0) if dim == -1 else (0, 0, *around)
        again = F.avg_pool2d(F.pad(x, pad, mode="replicate"), taps, stride=1)
        edges, softer = x.diff(dim=dim).abs(), again.diff(dim=dim).abs()
        whole = edges.sum((1, 2, 3)).clamp_min(1e-6)
        found.append(1 - (edges - softer).clamp_min(0).sum((1, 2, 3)) / whole)
    return torch.maximum(*found)
