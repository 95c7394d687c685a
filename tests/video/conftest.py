"""Shared by the video tests: reading a whole clip, and comparing what came out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest

from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.reader import open_video


class Clip(NamedTuple):
    """All that a reader gives for one source."""

    info: VideoInfo
    frames: FrameBatch
    notices: list[str]

    @property
    def seconds(self) -> list[Any]:
        return [int(p) * self.info.time_base for p in self.frames.pts]


@pytest.fixture
def read() -> Callable[..., Clip]:
    """``read(source, **options)`` opens, reads all frames in batches of three and closes."""

    def read_all(source: Any, **options: Any) -> Clip:
        with open_video(source, **options) as reader:
            batches = list(reader.batches(3))
            return Clip(reader.info, FrameBatch.concatenate(batches), reader.notices)

    return read_all


@pytest.fixture
def same_planes() -> Callable[[FrameBatch, FrameBatch], None]:
    def check(a: FrameBatch, b: FrameBatch) -> None:
        for name in ("y", "u", "v"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)

    return check


@pytest.fixture
def sound_of() -> Callable[..., list[tuple[Any, str]]]:
    """``sound_of(path, track=0)``: time in seconds and hash of every sound packet of a file."""

    def packets(path: Path, track: int = 0) -> list[tuple[Any, str]]:
        with av.open(str(path)) as container:
            stream = container.streams.audio[track]
            return [
                (packet.pts * stream.time_base, hashlib.md5(bytes(packet)).hexdigest())
                for packet in container.demux(stream)
                if packet.size
            ]

    return packets


@pytest.fixture
def with_pts():
    """The same pictures at other times."""

    def set_pts(batch: FrameBatch, pts: list[int]) -> FrameBatch:
        return FrameBatch(batch.y, batch.u, batch.v, np.array(pts, np.int64))

    return set_pts
