"""Distortion measures of the training stages."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gancodec.models.compress import CHROMA_WEIGHT
from gancodec.nn.planes import Planes

_SCALES = 0.0448, 0.2856, 0.3001, 0.2363  # of MS-SSIM; the fifth does not fit into a training patch
_WINDOW, _SIGMA = 11, 1.5
_LUMINANCE, _CONTRAST = 0.01**2, 0.03**2


def weighted_mse(
    x: Planes, reference: Planes, *, luma: float = 1.0, chroma: float = CHROMA_WEIGHT
) -> Tensor:
    """(B,) squared error in 8-bit units: ``luma`` of Y, ``chroma`` of U and of V, a mean each."""

    def plane(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean((1, 2, 3)) * 255.0**2

    return luma * plane(x.y, reference.y) + chroma * (
        plane(x.u, reference.u) + plane(x.v, reference.v)
    )


def difference(a: Planes, b: Planes) -> Planes:
    """Plane by plane, a - b."""
    return Planes(*(x - y for x, y in zip(a, b, strict=True)))


def psnr_y(x: Planes, reference: Planes) -> Tensor:
    """(B,) PSNR of luma in dB."""
    return _psnr(x.y, reference.y)


def psnr_uv(x: Planes, reference: Planes) -> Tensor:
    """(B,) PSNR of both chroma planes together in dB."""
    return _psnr(torch.cat([x.u, x.v], 1), torch.cat([reference.u, reference.v], 1))


def _psnr(a: Tensor, b: Tensor) -> Tensor:
    return -10 * (a - b).square().mean((1, 2, 3)).clamp_min(1e-10).log10()


def ms_ssim(x: Tensor, reference: Tensor) -> Tensor:
    """(B,) multi-scale structural similarity of (B, 1, H, W) in [0, 1]; 1 for equal ones.

    Wang, Simoncelli, Bovik (Asilomar 2003) with as many of its scales as fit, four from 88 samples
    on. What it asks for is the local contrast that squared error gives away first.
    """
    at = torch.arange(_WINDOW, device=x.device, dtype=x.dtype) - _WINDOW // 2
    taps = torch.exp(-at.square() / (2 * _SIGMA**2))
    taps = taps / taps.sum()

    def blur(z: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(z, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))

    total = x.new_ones(len(x))
    side = min(x.shape[-2:])
    fit = [weight for k, weight in enumerate(_SCALES) if side >> k >= _WINDOW]
    for scale, weight in enumerate(fit):
        a, b = blur(x), blur(reference)
        spread = blur(x * x) - a * a + blur(reference * reference) - b * b
        similar = (2 * (blur(x * reference) - a * b) + _CONTRAST) / (spread + _CONTRAST)
        if scale == len(fit) - 1:
            similar = similar * (2 * a * b + _LUMINANCE) / (a * a + b * b + _LUMINANCE)
        mean = similar.mean((1, 2, 3)).clamp_min(1e-3)
        total = total * mean ** (weight / sum(fit))
        x, reference = F.avg_pool2d(x, 2), F.avg_pool2d(reference, 2)
    return total
