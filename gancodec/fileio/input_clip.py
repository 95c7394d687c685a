"""A clip on its way into a file: opened, recognised, and cut into GOPs.

Whatever is decided here depends on the clip and the options alone, so that every pass, a resumed
encode and any number of jobs see the same GOPs.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from gancodec.codec import opens_gop
from gancodec.config import EncodeOptions
from gancodec.errors import InputError
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.audio import AudioMode
from gancodec.video.demux import Demuxer
from gancodec.video.pictures import find_pictures
from gancodec.video.reader import VideoReader, open_video
from gancodec.video.times import Time, parse_time

Source = str | os.PathLike[str] | BinaryIO

READ_FRAMES = 8  # at a time; a GOP is put together from such batches
_FINGERPRINT_BYTES = 1 << 16  # at either end of a file
_Y4M_MAGIC = b"YUV4MPEG2"


@dataclass(frozen=True, slots=True)
class InputClip:
    """What is to be encoded: a source and which part of it, at which size and rate."""

    source: Source
    start: Time | None = None
    duration: Time | None = None
    scale: tuple[int, int] | None = None
    fps: Time | None = None
    audio: AudioMode = "copy"

    @property
    def path(self) -> Path | None:
        """A file, folder or pattern that can be read more than once; None for pipes."""
        if not isinstance(self.source, str | os.PathLike) or self.source == "-":
            return None
        path = Path(self.source)
        try:
            mode = path.stat().st_mode
        except OSError:
            return path  # a pattern, or missing: opening it will tell
        return path if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else None

    @contextmanager
    def open(self, *, audio: AudioMode | None = None) -> Iterator[VideoReader]:
        """Open it for reading from the beginning."""
        with _readable(self) as source:
            reader = open_video(
                source,
                start=self.start,
                duration=self.duration,
                scale=self.scale,
                fps=self.fps,
                audio=self.audio if audio is None else audio,
            )
            with reader:
                yield reader

    def excerpt(self, begin: Fraction) -> InputClip:
        """The silent rest of it from ``begin`` seconds on, for samples."""
        start = parse_time(self.start or 0)
        left = None if self.duration is None else parse_time(self.duration) - begin
        return replace(self, start=start + begin, duration=left, audio="none")

    def fingerprint(self) -> bytes:
        """A hash of the input itself, whatever its name; empty for pipes.

        Size and both ends of a file; sizes of all pictures and the first one's beginning.
        """
        path = self.path
        if path is None:
            return b""
        files = find_pictures(path) or [path]
        digest = hashlib.blake2b(digest_size=16)
        try:
            for file in files:
                digest.update(file.stat().st_size.to_bytes(8, "little"))
            with files[0].open("rb") as stream:
                digest.update(stream.read(_FINGERPRINT_BYTES))
                stream.seek(max(files[0].stat().st_size - _FINGERPRINT_BYTES, 0))
                digest.update(stream.read(_FINGERPRINT_BYTES))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
        return digest.digest()


@contextmanager
def _readable(clip: InputClip) -> Iterator[str | Path | BinaryIO]:
    """The source as `open_video` wants it: named pipes and devices as streams."""
    source = clip.source
    if not isinstance(source, str | os.PathLike):
        yield source
    elif source == "-":
        yield "-"
    elif clip.path is not None:
        yield clip.path
    else:
        try:
            stream = open(source, "rb")  # noqa: SIM115 - closed below, apart from other errors
        except OSError as error:
            raise InputError(f"{source} cannot be read: {error.strerror or error}") from error
        with stream:
            yield stream


# ── The rhythm of the frames ─────────────────────────────────────────────────────────────────


def paced(clip: InputClip, info: VideoInfo) -> tuple[VideoInfo, bool]:
    """The clip's description, and whether its frames are evenly spaced beyond doubt.

    That is so for pictures, for a rate that was asked for, for YUV4MPEG2, and for files whose
    packets all have the same distance, which are looked through for it. The description then has
    exactly that rate. Other pipes tell too late, and keep the time of every frame.
    """
    path = clip.path
    one_tick_a_frame = info.fps * info.time_base == 1
    if path is None or clip.fps is not None or find_pictures(path) is not None or _is_y4m(path):
        return info, one_tick_a_frame
    state = path.stat()
    step = _constant_step(path, state.st_size, state.st_mtime_ns)
    if step is None:
        return info, False
    return replace(info, fps=1 / (step * info.time_base)), True


def _is_y4m(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_Y4M_MAGIC)) == _Y4M_MAGIC
    except OSError:
        return False


@lru_cache(maxsize=64)  # looking through a film takes a while, and passes open it many times
def _constant_step(path: Path, size: int, changed: int) -> int | None:
    """The distance in ticks of all pictures of a file, None if it varies or is unknown."""
    demuxer = Demuxer(path, str(path))
    try:
        stream = demuxer.video_stream()
        demuxer.want([stream])
        times: list[int] = []
        for packet in demuxer.packets(stream):
            if packet.size and not packet.is_discard:
                if packet.pts is None:
                    return None
                times.append(packet.pts)
    except InputError:
        return None  # a broken end: reading the frames will tell
    finally:
        demuxer.close()
    steps = {b - a for a, b in pairwise(sorted(times))}
    return steps.pop() if len(steps) == 1 and min(steps) > 0 else None


def expected_frames(reader: VideoReader, info: VideoInfo) -> int | None:
    """How many frames there will be, as far as the input tells; ``info`` has their rate."""
    if reader.info.frames is not None:
        return reader.info.frames
    seconds = reader.duration
    return None if seconds is None else max(round(seconds * info.fps), 1)


# ── GOPs ─────────────────────────────────────────────────────────────────────────────────────


def split_gops(
    batches: Iterable[FrameBatch], options: EncodeOptions, step: int | None
) -> Iterator[FrameBatch]:
    """The frames in the GOPs that `codec.Encoder` makes of them.

    With ``step``, the file stores no distances within a GOP: should a frame be lost in an evenly
    spaced input, the next one opens a GOP, whose time is stored, so that no time is ever wrong.
    """
    held: list[FrameBatch] = []
    for batch in batches:
        for n in range(len(batch)):
            frame = batch[n : n + 1]
            if held:
                last = held[-1]
                apart = step is not None and int(frame.pts[0] - last.pts[0]) != step
                if apart or opens_gop(options, len(held), last.y[0], frame.y[0]):
                    yield _release(held)
            held.append(frame)
    if held:
        yield _release(held)


def _release(held: list[FrameBatch]) -> FrameBatch:
    """The frames as one batch, kept by nobody here: a GOP of planes is most of our memory."""
    gop = FrameBatch.concatenate(held)
    held.clear()
    return gop


def read_gops(
    reader: VideoReader, options: EncodeOptions, step: int | None
) -> Iterator[FrameBatch]:
    """The GOPs that are left in a reader."""
    return split_gops(reader.batches(min(READ_FRAMES, options.gop)), options, step)


def gop_bytes(info: VideoInfo, frames: int) -> int:
    """What the planes of so many frames weigh."""
    return frames * (info.width * info.height + 2 * info.chroma_width * info.chroma_height)
