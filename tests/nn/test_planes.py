"""Padding and cropping, in their one place: any size comes back as it went in."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gancodec.nn.planes import BLOCK, frame_of, planes_of
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
