"""Distortion measures of the training stages."""

from __future__ import annotations

from torch import Tensor

from gancodec.models.compress import CHROMA_WEIGHT
from gancodec.nn.planes import Planes


def weighted_mse(x: Planes, reference: Planes) -> Tensor:
    """(B,) squared error in 8-bit units: Y plus CHROMA_WEIGHT of U and of V, a mean each."""

    def plane(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean((1, 2, 3)) * 255.0**2

    return plane(x.y, reference.y) + CHROMA_WEIGHT * (
        plane(x.u, reference.u) + plane(x.v, reference.v)
    )


def psnr_y(x: Planes, reference: Planes) -> Tensor:
    """(B,) PSNR of luma in dB."""
    mse = (x.y - reference.y).square().mean((1, 2, 3)).clamp_min(1e-10)
    return -10 * mse.log10()
