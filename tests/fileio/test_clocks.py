"""Times and headers: exact, and stored in no more bytes than they need."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from gancodec.bitstream import Header
from gancodec.config import EncodeOptions
from gancodec.fileio.headers import header_of, info_of
from gancodec.fileio.input_clip import split_gops
from gancodec.types import Color, FrameBatch, VideoInfo
from gancodec.video.synth import moving_texture


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_header_and_info_are_inverse(rotation: int) -> None:
    color = Color(9, 16, 9, True, 2)
    info = VideoInfo(
        1920, 800, Fraction(24000, 1001), Fraction(1, 24000), color, Fraction(4, 3), rotation, 77
    )
    header = header_of(
        info,
        start_pts=-5,
        constant_rate=True,
        max_gop_frames=9,
        has_audio=False,
        n_frames=77,
        stream_id=1,
        settings_hash=2,
    )
    assert info_of(Header.unpack(header.pack())) == info
    assert header.frame_ticks == 1001


def test_unwieldy_aspect_ratios_fit() -> None:
    ratio = Fraction(123456789123, 98765432109)
    info = VideoInfo(8, 8, Fraction(25), Fraction(1, 25), sample_aspect_ratio=ratio)
    known: dict[str, Any] = {"has_audio": False, "n_frames": None, "stream_id": 0}
    for wide in (info, dataclasses.replace(info, sample_aspect_ratio=1 / ratio)):
        header = header_of(
            wide, start_pts=0, constant_rate=True, max_gop_frames=1, settings_hash=0, **known
        )
        assert abs(header.sample_aspect_ratio - wide.sample_aspect_ratio) < Fraction(1, 1 << 30)
        header.pack()


def test_a_lost_frame_of_a_constant_rate_opens_a_gop() -> None:
    """Such files store the time of a GOP's first frame only; no time may be wrong for that."""
    batch = moving_texture(16, 16, 8)
    batch = FrameBatch(batch.y, batch.u, batch.v, np.array([0, 2, 4, 8, 10, 12, 13, 15], np.int64))
    options = EncodeOptions(gop=3, scene_cuts=False)
    found = [g.pts.tolist() for g in split_gops([batch[:5], batch[5:]], options, step=2)]
    assert found == [[0, 2, 4], [8, 10, 12], [13, 15]]
    free = [g.pts.tolist() for g in split_gops([batch], options, step=None)]
    assert free == [[0, 2, 4], [8, 10, 12], [13, 15]]
    shifted = [g.pts.tolist() for g in split_gops([batch[1:]], options, step=2)]
    assert shifted == [[2, 4], [8, 10, 12], [13, 15]]
