"""A small run with a report, made once: hostile names, a codec that wins, one that fails."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from gancodec.eval.clips import Clip
from gancodec.eval.report import write_report
from gancodec.eval.runner import run
from gancodec.eval.suite import ClipSpec, CodecSpec, Suite
from gancodec.types import FrameBatch
from gancodec.video.synth import clip_info, moving_texture, write_test_video

FRAMES, SIZE = 10, (336, 176)
HOSTILE_CLIP = "<img src=x onerror=\"document.title='broken in'\">"
HOSTILE_CODEC = "</script><script>document.title='broken in'</script>&lt;"


class Coarse:
    """Drops bits of every sample and deflates; ``waste`` is padding that makes files larger."""

    suffix = ".coarse"
    waste = 1.0

    def __init__(self, quality: float, level: int = 6) -> None:
        self._bits, self._level = int(quality), level
        self.versions = {"coarse": "1"}

    def encode(self, clip: Clip) -> bytes:
        planes = (clip.frames.y, clip.frames.u, clip.frames.v)
        raw = b"".join((plane >> self._bits).tobytes() for plane in planes)
        packed = zlib.compress(raw, self._level)
        head = np.array([self._bits, *clip.frames.y.shape, len(packed)], "<i4").tobytes()
        return head + packed + bytes(int(len(packed) * (self.waste - 1)))

    def decode(self, data: bytes) -> FrameBatch:
        bits, n, h, w, size = (int(x) for x in np.frombuffer(data[:20], "<i4"))
        flat = np.frombuffer(zlib.decompress(data[20 : 20 + size]), np.uint8)
        flat = (flat << bits) | (1 << bits >> 1)  # the middle of what was dropped
        rows, columns = (h + 1) // 2, (w + 1) // 2
        luma, chroma = n * h * w, n * rows * columns
        y, u, v = np.split(flat[: luma + 2 * chroma], [luma, luma + chroma])
        low = (n, rows, columns)
        pts = np.arange(n, dtype=np.int64)
        return FrameBatch(y.reshape(n, h, w), u.reshape(low), v.reshape(low), pts)


class Wasteful(Coarse):
    """The same pictures in 1.5 times the bytes."""

    waste = 1.5


class Thrifty(Coarse):
    """The same pictures in half the bytes: what it leaves out stands in the class."""

    kept: dict[bytes, bytes] = {}  # noqa: RUF012 - shared on purpose

    def encode(self, clip: Clip) -> bytes:
        data = super().encode(clip)
        short = data[: len(data) // 2]
        self.kept[short] = data
        return short

    def decode(self, data: bytes) -> FrameBatch:
        return super().decode(self.kept[data])


class Raising(Coarse):
    def encode(self, clip: Clip) -> bytes:
        raise RuntimeError("the <b>encoder</b> is out of order")


CODECS: dict[str, Any] = {
    "gvc": Coarse,
    "wasteful": Wasteful,
    "thrifty": Thrifty,
    "raising": Raising,
}


class Reported(NamedTuple):
    """A run's folder, its report, what `write_report` gave back, and what went in."""

    run: Path
    path: Path
    notes: list[str]
    codecs: dict[str, Any] = CODECS
    hostile_clip: str = HOSTILE_CLIP
    hostile_codec: str = HOSTILE_CODEC

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8")


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """Two clips, three codecs that work and one that does not. Ours ("gvc") needs two thirds of
    the bytes of one and twice those of the other, at equal pictures."""
    folder = tmp_path_factory.mktemp("reported")
    (folder / "clips").mkdir()
    for name, seed in (("pan", 1), (HOSTILE_CLIP, 2)):
        batch = moving_texture(*SIZE, FRAMES, seed=seed)
        write_test_video(folder / "clips" / f"{name}.mkv", batch, clip_info(batch))
    qualities = (1, 2, 3, 4, 5)
    suite = Suite(
        name="trial & error",
        clips=(ClipSpec(str(folder / "clips")),),
        codecs=(
            CodecSpec("ours", "gvc", qualities, {"level": 6}),
            CodecSpec(HOSTILE_CODEC, "wasteful", qualities),
            CodecSpec("thrifty", "thrifty", qualities),
            CodecSpec("raising", "raising", (3,)),
        ),
        metrics=("psnr-y", "ssim"),
        anchor="thrifty",
        every={"ssim": 2},
    )
    run(suite, folder / "run", jobs=1, codecs=CODECS)
    path = folder / "report.html"
    notes = write_report(folder / "run", path, codecs=CODECS)
    return Reported(folder / "run", path, notes)
