"""Video in: any file, pipe or set of pictures as batches of 8-bit 4:2:0 planes with exact times.

    source -> frames (decode) -> repair times -> cut -> zero -> constant rate -> convert -> batches

The clip's zero is the earliest start of its pictures and sound, as in ffmpeg, so both keep their
distance. A cut clip (``start``) begins at zero with its first frame.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, dropwhile, islice
from math import floor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from av.video.frame import VideoFrame

from gancodec.errors import InputError, UsageError
from gancodec.types import FrameBatch, VideoInfo

from .audio import AudioMode, AudioSource
from .convert import Converter
from .demux import check_path
from .frames import ContainerFrames, FrameSource
from .notices import Notices
from .pictures import PictureFrames, find_pictures
from .probe import color_of, rotation_of, sample_aspect_ratio_of
from .scale import MAX_PIXELS, MAX_SIDE, check_limits, scaled_size
from .timeline import Frames, Span, at_constant_rate, cut, repaired
from .times import Time, parse_rate, parse_time

Source = str | Path | BinaryIO


def open_video(
    source: Source,
    *,
    start: Time | None = None,
    duration: Time | None = None,
    scale: tuple[int, int] | None = None,
    fps: Time | None = None,
    audio: AudioMode = "none",
    max_side: int = MAX_SIDE,
    max_pixels: int = MAX_PIXELS,
) -> VideoReader:
    """Open a video for reading, with its first frame already decoded.

    Args:
        source: a file, a folder of pictures, a pattern such as ``frame_%04d.png``, one picture,
            ``-`` for standard input, or a binary stream that is open for reading.
        start: where to begin (seconds or ``h:mm:ss``), accurate to the frame.
        duration: how much to read, from ``start``.
        scale: width and height as the picture is shown; one may be -1 (keep the shape) or -2
            (keep it and round to even).
        fps: resample to this constant rate; for pictures, the rate they have.
        audio: what ``VideoReader.audio`` gives: "copy", "opus" or "none".
        max_side: largest width or height in samples.
        max_pixels: largest picture in samples.

    Raises:
        InputError: missing, unreadable, not a video, or without a single frame.
        LimitError: larger than the limits.
        UsageError: for arguments that make no sense.
    """
    rate = None if fps is None else parse_rate(fps)
    begin = None if start is None else parse_time(start)
    length = None if duration is None else parse_time(duration)
    if length == 0:
        raise UsageError("a duration of 0 seconds leaves no frame: give a longer one")
    if audio not in ("none", "copy", "opus"):
        raise UsageError(f"sound can be none, copy or opus, not '{audio}'")
    notices = Notices()
    path, name = _name_of(source)
    frames: FrameSource
    if path is None:
        stream = sys.stdin.buffer if isinstance(source, str) else source
        assert not isinstance(stream, str | Path)
        frames = ContainerFrames(stream, name, notices, audio != "none")
    elif (pictures := find_pictures(path)) is not None:
        frames, rate = PictureFrames(pictures, rate, notices), None
    else:
        check_path(path)
        frames = ContainerFrames(path, name, notices, audio != "none")
    try:
        cutting = Span.of(frames.start_time(), begin, length)
        reader = VideoReader(frames, name, notices, cutting, rate, audio)
        reader._prepare(scale, max_side, max_pixels)
    except BaseException:
        frames.close()
        raise
    return reader


def _name_of(source: Source) -> tuple[Path | None, str]:
    """The path (None for a stream) and what to call the source in sentences."""
    if isinstance(source, str) and source == "-":
        return None, "standard input"
    if isinstance(source, str | Path):
        return Path(source), str(source)
    return None, str(getattr(source, "name", "the stream"))


class VideoReader:
    """A clip being read from front to back. Made by :func:`open_video`; close it or use ``with``.

    ``info`` describes the frames that come out (after scaling and resampling); its ``frames`` is
    what the container declares, None where unknown. ``duration`` is in seconds, for progress.
    """

    info: VideoInfo

    def __init__(
        self,
        frames: FrameSource,
        name: str,
        notices: Notices,
        cutting: Span,
        fps: Fraction | None,
        audio: AudioMode,
    ) -> None:
        self.name = name
        self._source = frames
        self._notices = notices
        self._cut = cutting
        self._fps = fps
        self._audio_mode = audio
        self._audio: AudioSource | None = None
        self._origin_ticks = floor(cutting.zero / frames.time_base)
        self._output: Frames = iter(())
        self._closed = False

    @property
    def notices(self) -> list[str]:
        """What was changed, one sentence each."""
        return self._notices.sentences()

    @property
    def duration(self) -> Fraction | None:
        """Seconds of the clip as its container declares them, None where unknown."""
        whole = self._source.duration
        start = self._cut.start - self._cut.zero if self._cut.start is not None else Fraction(0)
        left = None if whole is None else max(whole - start, Fraction(0))
        if self._cut.end is None:
            return left
        wanted = self._cut.end - self._cut.zero - start
        return wanted if left is None else min(left, wanted)

    @property
    def declared_bit_rate(self) -> int | None:
        """Bits a second of the pictures as the container declares them.

        None where it does not, and where their codec loses nothing.
        """
        context = self._source.stream().codec_context
        return context.bit_rate or None if context.codec.lossy else None

    @property
    def audio(self) -> AudioSource | None:
        """The sound of the same span on the same clock, None where there is none to give."""
        if self._audio is None and self._audio_mode != "none":
            self._audio = self._open_audio()
        return self._audio

    def _open_audio(self) -> AudioSource | None:
        if not isinstance(self._source, ContainerFrames):
            return None
        if not self._source.demuxer.audio_streams():
            return None
        origin = self._origin_ticks * self._source.time_base
        end = None if self._cut.end is None else self._cut.end - origin
        return AudioSource(
            self._source.demuxer,
            self._audio_mode,
            origin=origin,
            trimmed=self._cut.start is not None,
            end=end,
            notices=self._notices,
        )

    def _prepare(self, scale: tuple[int, int] | None, max_side: int, max_pixels: int) -> None:
        """Decode the first frame and settle everything that depends on it."""
        source = self._source
        at = None
        if isinstance(source, ContainerFrames):  # before a decoder reserves memory for it
            context = source.stream().codec_context
            check_limits(self.name, (context.width, context.height), max_side, max_pixels)
        if self._cut.start is not None:
            at = floor(self._cut.start / source.time_base)
        frames = self._on_source_clock(at)
        first = next(frames, None)
        if first is None:
            raise InputError(self._no_frames())
        pts, frame = first
        if self._cut.start is not None:
            self._origin_ticks = pts
        check_limits(self.name, (frame.width, frame.height), max_side, max_pixels)
        rotation = rotation_of(frame)
        size = scaled_size((frame.width, frame.height), scale, turned=rotation in (90, 270))
        stream = source.stream()
        color = color_of(frame, stream, source.chroma_location)
        if frame.interlaced_frame:
            self._notices.add("the input is interlaced and was left so: deinterlace it before")
        self._converter = Converter(frame, color, size, self._notices)
        shape_change = Fraction(frame.width * size[1], frame.height * size[0])
        whole = self._cut.start is None and self._cut.end is None and self._fps is None
        self.info = VideoInfo(
            width=size[0],
            height=size[1],
            fps=self._fps or source.fps,
            time_base=1 / self._fps if self._fps else source.time_base,
            color=self._converter.output_color,
            sample_aspect_ratio=sample_aspect_ratio_of(stream) * shape_change,
            rotation=rotation,
            frames=source.frame_count if whole else None,
        )
        self._output = self._on_clip_clock(chain([first], frames))

    def _no_frames(self) -> str:
        if self._cut.start is not None:
            seconds = float(self._cut.start - self._cut.zero)
            return f"{self.name} has no frame at {seconds:g} s or later: start earlier"
        return f"{self.name} holds no frame that can be decoded: check that the file is complete"

    def _on_source_clock(self, at: int | None) -> Frames:
        """Repaired and cut frames with times of the container, from a key frame before ``at``."""
        source = self._source
        frames = repaired(source.frames(at), source.time_base, source.fps, self._notices)
        return cut(frames, source.time_base, self._cut.start, self._cut.end)

    def _on_clip_clock(self, frames: Frames) -> Frames:
        """The same frames with the clip's own times and rate."""
        origin = self._origin_ticks
        zeroed = ((pts - origin, frame) for pts, frame in frames)
        if self._fps is None:
            return zeroed
        return at_constant_rate(zeroed, self._source.time_base, self._fps)

    def batches(self, n: int) -> Iterator[FrameBatch]:
        """The frames that are left, ``n`` at a time; the last batch may be shorter.

        Raises:
            InputError: when the input turns out to be damaged beyond skipping.
        """
        if n < 1:
            raise UsageError(f"a batch has at least one frame, got {n}")
        while True:
            taken = [(pts, self._converter.planes(f)) for pts, f in islice(self._output, n)]
            if not taken:
                return
            y, u, v = (np.stack([planes[k] for _, planes in taken]) for k in range(3))
            yield FrameBatch(y, u, v, np.array([pts for pts, _ in taken], np.int64))

    def skip_to(self, pts: int) -> None:
        """Continue from the frame that has exactly this time, as if all before had been read.

        Files jump to a key frame before it; pipes are read up to it.

        Raises:
            InputError: when no frame has that time, because the input is another one.
        """
        source = self._source
        if isinstance(source, ContainerFrames) and not source.demuxer.seekable:
            self._drop_until(pts)
            return
        seconds = pts * self.info.time_base
        if self._fps is not None:  # the frame shown at a tick may be up to half a tick later
            seconds += 1 / (2 * self._fps)
        at = floor(seconds / source.time_base) + self._origin_ticks
        for goal in (at, -(1 << 62)):  # should the jump miss it, read everything from the start
            self._output = self._on_clip_clock(self._on_source_clock(goal))
            try:
                self._drop_until(pts)
                return
            except InputError:
                continue
        raise InputError(f"{self.name} has no frame at tick {pts}: it is not the same input")

    def _drop_until(self, pts: int) -> None:
        rest = dropwhile(lambda timed: timed[0] < pts, self._output)
        found: tuple[int, VideoFrame] | None = next(rest, None)
        if found is None or found[0] != pts:
            raise InputError(f"{self.name} has no frame at tick {pts}: it is not the same input")
        self._output = chain([found], rest)

    def close(self) -> None:
        """Release the input; a caller's own stream stays open."""
        if not self._closed:
            self._closed = True
            if self._audio is not None:
                self._audio.close()
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
