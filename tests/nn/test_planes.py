"""Padding and cropping, in their one place: any size comes back as it went in."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gancodec.nn.planes import (
    BLOCK,
    HALF_CHANNELS,
    Planes,
    at_half_resolution,
    frame_of,
    from_half_resolution,
    planes_of,
    round_to_8_bit,
)
from gancodec.types import FrameBatch, VideoInfo


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 1))
@pytest.mark.stress
def test_there_and_back(height: int, width: int, frame: int) -> None:
    rng = np.random.default_rng(height * 100 + width)
    y = rng.integers(0, 256, (2, height, width), dtype=np.uint8)
    shape = (2, (height + 1) // 2, (width + 1) // 2)
    u, v = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
    batch = FrameBatch(y, u, v, np.array([3, 5], np.int64))
    planes = planes_of(batch, frame, torch.device("cpu"))
    rows, columns = planes.y.shape[-2:]
    assert rows % BLOCK == columns % BLOCK == 0
    assert max(rows - height, columns - width) < BLOCK
    assert planes.u.shape == planes.v.shape == (1, 1, rows // 2, columns // 2)
    corner = planes.y[0, 0, height - 1 :, width - 1 :] * 255
    assert (corner.round() == float(y[frame, -1, -1])).all()
    info = VideoInfo(width, height, Fraction(25), Fraction(1, 25))
    back = frame_of(planes, info, 7)
    for name in ("y", "u", "v"):
        assert np.array_equal(getattr(back, name)[0], getattr(batch, name)[frame])
    assert back.pts.tolist() == [7]


def test_halves_go_up_whatever_the_last_bit() -> None:
    whole = torch.arange(255.0)
    for noise in (-1e-6, 0.0, 1e-6):
        x = ((whole + 0.5) / 255 + noise).view(1, 1, 5, 51)
        rounded = round_to_8_bit(Planes(x, x, x)).y.flatten() * 255
        assert torch.equal(rounded.round(), whole + 1)
    less = ((whole + 0.49) / 255).view(1, 1, 5, 51)
    assert torch.equal((round_to_8_bit(Planes(less, less, less)).y.flatten() * 255).round(), whole)


def test_rounding_stays_in_range_and_lets_gradients_through() -> None:
    x = torch.tensor([-0.3, 0.2, 1.4]).view(1, 1, 1, 3).requires_grad_()
    for half_up in (True, False):
        y = round_to_8_bit(Planes(x, x, x), half_up=half_up).y
        assert torch.allclose(y.detach().flatten() * 255, torch.tensor([0.0, 51.0, 255.0]))
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert gradient.flatten().tolist() == [0, 1, 0]  # clamping stops it


def test_half_resolution_and_back() -> None:
    """No sample is lost or moved, out of [0, 1] neither, and grey is zero."""
    planes = Planes(
        torch.rand(2, 1, 32, 48) * 3 - 1, torch.rand(2, 1, 16, 24), torch.rand(2, 1, 16, 24)
    )
    half = at_half_resolution(planes)
    assert half.shape == (2, HALF_CHANNELS, 16, 24)
    for a, b in zip(from_half_resolution(half), planes, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        phase = half[:, 2 * row + column] / 4 + 0.5
        assert torch.allclose(phase, planes.y[:, 0, row::2, column::2], atol=1e-6)
    grey = Planes(*(torch.full_like(p, 0.5) for p in planes))
    assert not at_half_resolution(grey).any()
