"""What the enhancers are told of noise, blur and rates: near the truth, in order and in range."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from gancodec.models.degradation import (
    MAX_SIGMA,
    blur_level,
    estimate_blur,
    estimate_noise,
    noise_level,
    rate_level,
    sigma_of,
)
from gancodec.models.restore import LEVELS
from gancodec.video.synth import moving_texture

SIGMAS = (5, 10, 20, 30, 40, 50)
Floats = npt.NDArray[np.float64]


def clean_clip(name: str) -> Floats:
    """(T, H, W) luma of three frames, 16 to 235."""
    if name == "synthetic":
        return moving_texture(192, 128, 3, seed=4).y.astype(np.float64)
    picture = np.asarray(getattr(skimage.data, name)(), np.float64)
    luma = picture.mean(-1) if picture.ndim == 3 else picture
    return np.stack([16 + luma[k : k + 128, 40 : 40 + 192] * 219 / 255 for k in (30, 32, 34)])


def noise_of(clip: Floats) -> float:
    return float(estimate_noise(torch.from_numpy(clip)[None])[0])


def with_noise(clip: Floats, sigma: float, seed: int = 1) -> Floats:
    return clip + sigma * np.random.default_rng(seed).standard_normal(clip.shape)


@pytest.mark.parametrize("name", ["synthetic", "camera", "brick", "astronaut", "chelsea"])
def test_noise_is_estimated(name: str) -> None:
    clip = clean_clip(name)
    for sigma in SIGMAS:
        assert noise_of(with_noise(clip, sigma)) == pytest.approx(sigma, rel=0.12), sigma


@pytest.mark.parametrize("name", ["synthetic", "chelsea"])
def test_noise_of_8_bit_files_is_estimated(name: str) -> None:
    """Rounded, and clipped where there was no room for it: a little of heavy noise is lost."""
    clip = clean_clip(name)
    found = []
    for sigma in SIGMAS:
        taken = np.clip(np.round(with_noise(clip, sigma)), 0, 255)
        found.append(noise_of(taken))
        assert found[-1] == pytest.approx(sigma, rel=0.15)
    batch = np.clip(np.round(with_noise(clip, 20)), 0, 255).astype(np.uint8)
    as_bytes = estimate_noise(torch.from_numpy(batch)[None])
    assert float(as_bytes) == found[SIGMAS.index(20)]


@pytest.mark.parametrize("name", ["synthetic", "camera", "grass", "coffee"])
def test_more_noise_is_a_higher_estimate(name: str) -> None:
    """On dense texture, too, where little noise cannot be told from it."""
    clip = clean_clip(name)
    found = [noise_of(with_noise(clip, sigma)) for sigma in range(0, 60, 4)]
    assert all(a < b for a, b in pairwise(found))


def test_smooth_pictures_have_no_noise() -> None:
    """Planes and what changes slowly are not noise; and samples of a batch are estimated alone."""
    rows, columns = np.mgrid[0:64, 0:96].astype(np.float64)
    ramp = (40 + rows * 1.5 + columns * 0.7)[None]
    assert noise_of(ramp) < 1e-3
    wave = (128 + 40 * np.sin(rows / 20))[None]
    assert noise_of(wave) < 0.3
    both = torch.from_numpy(np.stack([ramp, with_noise(ramp, 25)]))
    found = estimate_noise(both)
    assert found.shape == (2,)
    assert float(found[0]) < 1e-3
    assert float(found[1]) == pytest.approx(25, rel=0.12)


def test_the_smallest_pictures_have_an_estimate() -> None:
    clip = with_noise(np.full((1, 16, 16), 100.0), 20)
    assert noise_of(clip) == pytest.approx(20, rel=0.3)


def box(luma: Tensor, width: int) -> Tensor:
    return F.avg_pool2d(F.pad(luma[:, None], (width // 2,) * 4, "replicate"), width, 1)[:, 0]


@pytest.mark.parametrize("name", ["synthetic", "camera", "chelsea", "grass"])
def test_more_blur_is_a_higher_estimate(name: str) -> None:
    luma = torch.from_numpy(clean_clip(name)[:1]).float()
    found = [float(estimate_blur(box(luma, width))[0]) for width in (1, 3, 5, 7, 9, 13)]
    assert all(a < b for a, b in pairwise(found))
    assert 0 <= found[0] < found[-1] <= 1
    assert found[-1] - found[0] > 0.15


def test_blur_of_either_direction_counts() -> None:
    luma = torch.from_numpy(clean_clip("camera")[:1]).float()
    across = F.avg_pool2d(F.pad(luma[:, None], (4, 4, 0, 0), "replicate"), (1, 9), 1)[:, 0]
    sharp, blurred = float(estimate_blur(luma)), float(estimate_blur(across))
    turned = float(estimate_blur(across.transpose(-1, -2)))
    assert blurred > sharp + 0.1
    assert turned == pytest.approx(blurred, abs=1e-5)
    both = estimate_blur(torch.cat([luma, across]))
    assert both.tolist() == pytest.approx([sharp, blurred], abs=1e-6)


def test_nothing_at_all_has_a_finite_level() -> None:
    flat = torch.full((1, 32, 32), 128.0)
    assert 0 <= float(blur_level(estimate_blur(flat))) <= LEVELS - 1
    assert float(noise_level(estimate_noise(flat[None]))) == 0


@pytest.mark.parametrize("level_of", [noise_level, rate_level, blur_level])
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20))
def test_levels_are_in_range_and_in_order(
    level_of: Callable[[Tensor], Tensor], values: list[float]
) -> None:
    levels = level_of(torch.tensor(sorted(values)))
    assert levels.isfinite().all()
    assert ((levels >= 0) & (levels <= LEVELS - 1)).all()
    assert (levels.diff() >= 0).all()


def test_levels_at_both_ends() -> None:
    assert noise_level(torch.tensor([0.0, MAX_SIGMA / 4, MAX_SIGMA, 99.0])).tolist() == [
        *(0, 31.5, 63, 63)
    ]
    assert rate_level(torch.tensor([0.0, 1 / 128, 1 / 64, 2.0])).tolist() == [0, 0, 8, 63]
    assert blur_level(torch.tensor([0.0, 0.5, 1.0])).tolist() == [0, 31.5, 63]
    sigma = torch.linspace(0, MAX_SIGMA, 13)
    assert torch.allclose(sigma_of(noise_level(sigma)), sigma, atol=1e-3)
