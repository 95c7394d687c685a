"""Shared by the tests of whole files: a small clip with sound, its file, and fresh small weights.

The weights are made here, so that nothing depends on those that ship: what these tests are about
holds for any weights.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import gancodec
from gancodec.bitstream import Gop, Reader
from gancodec.registry import Model
from gancodec.train.export import write_model
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.reader import open_video
from gancodec.video.synth import clip_info, scene_cut, tone, write_test_video
from gancodec.video.writer import open_writer


class Pipe(io.RawIOBase):
    """Bytes that come and go in small pieces and cannot be sought."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(memoryview(buffer)[:5000])

    def write(self, data: Any) -> int:
        return self._data.write(bytes(data)[:3000])

    def result(self) -> io.BytesIO:
        return io.BytesIO(self._data.getvalue())


class Peak:
    """The most memory that this process held while a block ran, and what it held before it."""

    def __enter__(self) -> Peak:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark is now what is held
        self.before = self.kib("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.grown_mib = (self.kib("VmHWM") - self.before) / 1024

    @staticmethod
    def kib(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))


class Kit:
    """What most of the tests need."""

    width, height, frames, gop = 48, 32, 24, 6
    fast: dict[str, Any] = {  # noqa: RUF012
        "quality": 30,
        "gop": 6,
        "preset": "fast",
        "jobs": 1,
        "model": "tiny.v0",
    }
    Pipe = Pipe
    Peak = Peak

    @staticmethod
    def read_all(source: Any) -> FrameBatch:
        with open_video(source) as reader:
            return FrameBatch.concatenate(list(reader.batches(8)))

    @staticmethod
    def sound_of(path: Path) -> list[tuple[Fraction, bytes]]:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            return [(p.pts * stream.time_base, bytes(p)) for p in container.demux(stream) if p.size]

    @staticmethod
    def assert_same(a: FrameBatch, b: FrameBatch, *, times: bool = True) -> None:
        for name in ("y", "u", "v", "pts") if times else ("y", "u", "v"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)

    @staticmethod
    def gops_of(source: Path | io.BytesIO) -> list[Gop]:
        stream = io.BytesIO(source.read_bytes()) if isinstance(source, Path) else source
        return [event for event in Reader(stream).events() if isinstance(event, Gop)]

    @staticmethod
    def y4m(batch: FrameBatch, info: VideoInfo | None = None) -> bytes:
        out = io.BytesIO()
        with open_writer(out, info or clip_info(batch)) as writer:
            writer.write(batch)
        return out.getvalue()


@pytest.fixture(scope="session")
def kit(framing: type[Any]) -> type[Kit]:
    return type("KitAndFraming", (Kit, framing), {})


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory, make_small: Callable[..., Model]) -> Path:
    """A folder with fresh small nets under the name tiny.v0."""
    folder = tmp_path_factory.mktemp("weights")
    write_model(make_small("tiny.v0", spread=0.05, widest=2), folder, {})
    return folder


@contextmanager
def known(weights: Path) -> Iterator[None]:
    """Let this process, and those it starts, find the weights."""
    with pytest.MonkeyPatch.context() as patch:
        others = os.environ.get("GANCODEC_MODELS", "")
        patch.setenv("GANCODEC_MODELS", os.pathsep.join(filter(None, [str(weights), others])))
        yield


@pytest.fixture(scope="module", autouse=True)
def known_weights(weights: Path) -> Iterator[None]:
    with known(weights):
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fileio")


@pytest.fixture(scope="session")
def mp4(folder: Path) -> Path:
    """Two scenes with sound; the cut is not where a GOP would end anyway."""
    batch = scene_cut(Kit.width, Kit.height, Kit.frames, cut_at=10)
    sound = [tone(Kit.frames / 25)]
    return write_test_video(folder / "in.mp4", batch, clip_info(batch), sound, codec="libx264")


@pytest.fixture(scope="session")
def gvc(folder: Path, mp4: Path, weights: Path) -> Path:
    path = folder / "clip.gvc"
    with known(weights):
        stats = gancodec.encode(mp4, path, **Kit.fast)
    assert (stats.frames, stats.bytes) == (Kit.frames, path.stat().st_size)
    return path


@pytest.fixture(scope="session")
def linear(gvc: Path, weights: Path) -> FrameBatch:
    """All frames, decoded front to back."""
    with known(weights), gancodec.open(gvc) as video:
        return video[:]
