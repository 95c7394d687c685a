"""Borrowed vectors point where the picture came from, the same in every run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gancodec.types import FrameBatch
from gancodec.video.synth import moving_texture
from gancodec.video.vectors import BorrowedVectors, has_x264

pytestmark = pytest.mark.skipif(not has_x264(), reason="this PyAV cannot encode H.264")


def shifted(y: npt.NDArray[np.uint8], dy: int, dx: int) -> npt.NDArray[np.uint8]:
    return np.roll(y, (dy, dx), (0, 1))


def fields_of(batch: FrameBatch, preset: str = "veryfast") -> list[npt.NDArray[np.int32]]:
    height, width = batch.y.shape[1:]
    lender = BorrowedVectors(width, height, preset)
    return [lender.push(batch.y[k], batch.u[k], batch.v[k]) for k in range(len(batch))]


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (2, -4), (-6, 10)])
def test_a_pan_is_found(dy: int, dx: int) -> None:
    still = moving_texture(192, 128, 1, seed=4)
    lender = BorrowedVectors(192, 128, "medium")
    first = lender.push(still.y[0], still.u[0], still.v[0])
    assert first.shape == (2, 16, 24)
    assert not first.any()
    moved = lender.push(
        shifted(still.y[0], dy, dx),
        shifted(still.u[0], dy // 2, dx // 2),
        shifted(still.v[0], dy // 2, dx // 2),
    )
    inside = moved[:, 2:-2, 2:-2]
    wanted = np.array([-4 * dx, -4 * dy])[:, None, None]
    assert (np.abs(inside - wanted).max(0) <= 1).mean() > 0.9


def test_every_run_gives_the_same() -> None:
    batch = moving_texture(160, 96, 4, seed=1)
    for a, b in zip(fields_of(batch), fields_of(batch), strict=True):
        assert np.array_equal(a, b)
    assert any(f.any() for f in fields_of(batch))


@pytest.mark.parametrize("size", [(16, 16), (16, 64), (272, 16)])
def test_small_pictures(size: tuple[int, int]) -> None:
    for field in fields_of(moving_texture(*size, 3, seed=2)):
        assert field.shape == (2, size[1] // 8, size[0] // 8)
