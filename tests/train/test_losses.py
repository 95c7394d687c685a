"""Distortions of the stages, against the evaluation's and by what they must prefer."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from gancodec.nn.planes import Planes
from gancodec.train.losses import ms_ssim, psnr_uv, psnr_y, weighted_mse


def texture() -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 1, 24, 24, generator=rng)
    fine = torch.rand(2, 1, 192, 192, generator=rng)
    return 0.7 * F.interpolate(coarse, scale_factor=8, mode="bicubic").clamp(0, 1) + 0.3 * fine


def test_ms_ssim_is_the_library_s() -> None:
    """Five scales need 161 samples there: both with the weights of the four that training has."""
    library = pytest.importorskip("pytorch_msssim")
    a = texture()
    b = (a + 0.05 * torch.randn(a.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    weights = [w / 0.8668 for w in (0.0448, 0.2856, 0.3001, 0.2363)]
    for other in (b, F.avg_pool2d(a, 3, 1, 1)):
        expected = library.ms_ssim(other, a, data_range=1, size_average=False, weights=weights)
        assert torch.allclose(ms_ssim(other, a), expected, atol=2e-3)
    assert torch.allclose(ms_ssim(a, a), torch.ones(2))


def test_ms_ssim_minds_blur_more_than_a_shift_of_grey() -> None:
    a = texture()
    blurred = F.avg_pool2d(a, 5, 1, 2)
    error = (blurred - a).square().mean().sqrt()
    assert (ms_ssim(blurred, a) < ms_ssim(a + error, a) - 0.02).all()


def test_ms_ssim_of_small_patches_and_flat_ones_has_a_gradient() -> None:
    flat = torch.full((1, 1, 64, 64), 0.5, requires_grad=True)
    ms_ssim(flat, texture()[:1, :, :64, :64]).sum().backward()  # type: ignore[no-untyped-call]
    assert flat.grad is not None
    assert flat.grad.isfinite().all()
    assert flat.grad.any()


def test_luma_and_chroma_are_weighed_apart() -> None:
    grey = Planes(*(torch.full((1, 1, n, n), 0.5) for n in (8, 4, 4)))
    off = Planes(grey.y + 1 / 255, grey.u + 2 / 255, grey.v - 3 / 255)
    assert weighted_mse(off, grey, luma=1, chroma=0).item() == pytest.approx(1, rel=1e-3)
    assert weighted_mse(off, grey, luma=0, chroma=1).item() == pytest.approx(4 + 9, rel=1e-3)
    assert weighted_mse(off, grey, luma=2, chroma=0.5).item() == pytest.approx(8.5, rel=1e-3)
    assert psnr_y(off, grey).item() == pytest.approx(48.13, abs=0.01)
    assert psnr_uv(off, grey).item() == pytest.approx(48.13 - 8.13, abs=0.01)  # 6.5 squared levels
