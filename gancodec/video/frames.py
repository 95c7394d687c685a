"""Decoded frames of a file, a pipe or a set of pictures, in presentation order.

Both sources give ``(ticks, frame)`` pairs on the container's own clock. Nothing is repaired or
converted here; damaged packets are skipped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from gancodec.errors import InputError

from .demux import Demuxer, describe_failure
from .notices import Notices
from .probe import DEFAULT_FPS, chroma_location_of, nominal_fps
from .times import exact

# A file that gives this many damaged packets in a row holds nothing that can still be shown.
MAX_DAMAGED_IN_A_ROW = 100

# How far before a wanted time to look for a key frame (seconds). Index formats land on it at once,
# except that mp4 looks up decoding times, which run ahead; others land anywhere nearby.
_MARGINS_INDEXED = (Fraction(0), Fraction(2), Fraction(15))
_MARGINS_OTHER = (Fraction(15), Fraction(60))

Timed = tuple[int | None, VideoFrame]


class FrameSource(Protocol):
    """Where frames come from, and what their container declares."""

    time_base: Fraction
    fps: Fraction
    frame_count: int | None
    duration: Fraction | None
    chroma_location: int

    def frames(self, at: int | None = None) -> Iterator[Timed]:
        """Frames from the present position, or from a key frame at or before tick ``at``."""
        ...

    def stream(self) -> VideoStream:
        """The picture track that the latest frame came from."""
        ...

    def start_time(self) -> Fraction:
        """Seconds on the container's clock that are the clip's zero."""
        ...

    def close(self) -> None: ...


class ContainerFrames:
    """Frames of a video container.

    Raises:
        InputError: when it cannot be opened or has no picture track.
    """

    def __init__(self, source: Path | BinaryIO, name: str, notices: Notices, sound: bool) -> None:
        self.demuxer = Demuxer(source, name, notices)
        self._notices = notices
        self._name = name
        self._started = False
        self._stream = self._choose(sound)
        stream = self._stream
        self.chroma_location = chroma_location_of(self.demuxer.container, stream)
        self.time_base = exact(stream.time_base) or 1 / DEFAULT_FPS
        self.fps = nominal_fps(stream)
        self.frame_count = self._declared_frames(stream)
        self.duration = self._declared_duration(stream)

    def _choose(self, sound: bool) -> VideoStream:
        stream = self.demuxer.video_stream()
        # a pipe has one reading position, so sound waits in the demuxer; files are opened twice
        shared = self.demuxer.audio_streams() if sound and not self.demuxer.seekable else []
        self.demuxer.want([stream, *shared])
        stream.thread_type = "AUTO"
        return stream

    def _declared_frames(self, stream: VideoStream) -> int | None:
        if stream.frames > 0:
            return int(stream.frames)
        if self.demuxer.container.format.name == "yuv4mpegpipe" and self.demuxer.seekable:
            return stream.duration  # one tick a frame
        return None

    def _declared_duration(self, stream: VideoStream) -> Fraction | None:
        if stream.duration:
            return stream.duration * self.time_base
        if self.demuxer.seekable and self.demuxer.container.duration:
            return Fraction(self.demuxer.container.duration, av.time_base)
        return None

    def stream(self) -> VideoStream:
        return self._stream

    def start_time(self) -> Fraction:
        """The earliest start of pictures and sound.

        Sound that begins before zero is an encoder's priming and moves nothing.
        """
        video = (self._stream.start_time or 0) * self.time_base
        earliest = min(
            [video]
            + [
                stream.start_time * (exact(stream.time_base) or Fraction(1))
                for stream in self.demuxer.audio_streams()
                if stream.start_time is not None
            ]
        )
        return earliest if earliest >= 0 else min(Fraction(0), video)

    def frames(self, at: int | None = None) -> Iterator[Timed]:
        moved, self._started = self._started, True
        if at is not None:
            yield from self._decode(self._packets_from(at, moved))
        else:
            yield from self._decode(self.demuxer.packets(self._stream))

    def _packets_from(self, at: int, moved: bool) -> Iterator[Packet[Any]]:
        """Packets from a key frame whose time is at or before ``at``."""
        first = (self._stream.start_time or 0) * self.time_base
        margins = _MARGINS_INDEXED if self.demuxer.indexed else _MARGINS_OTHER
        for margin in margins if self.demuxer.seekable else ():
            goal = at * self.time_base - margin
            if goal <= first:
                break
            if not self.demuxer.seek(int(goal / self.time_base), self._stream):
                break
            moved = True
            packets = self.demuxer.packets(self._stream)
            for packet in packets:
                if packet.is_keyframe and packet.size:
                    time = packet.pts if packet.pts is not None else packet.dts
                    if time is not None and time <= at:
                        yield packet
                        yield from packets
                        return
                    break
        if moved:
            self._rewind()
        yield from self.demuxer.packets(self._stream)

    def _rewind(self) -> None:
        if not self.demuxer.seekable:
            raise InputError(f"{self._name} is a pipe that was read already: give it again")
        self.demuxer.reopen()
        self._stream = self._choose(sound=False)

    def _decode(self, packets: Iterator[Packet[Any]]) -> Iterator[Timed]:
        damaged_in_a_row = 0
        for packet in packets:
            try:
                decoded: list[VideoFrame] = packet.decode()
            except EOFError:  # nothing more to flush
                return
            except (av.error.InvalidDataError, av.error.PatchWelcomeError) as error:
                self._notices.add("{n} damaged pictures of the input were skipped")
                damaged_in_a_row += 1
                if damaged_in_a_row >= MAX_DAMAGED_IN_A_ROW:
                    raise InputError(
                        f"{self._name} has {damaged_in_a_row} damaged pictures in a row: "
                        "get an undamaged copy, or encode the part before with -t"
                    ) from error
                continue
            except (av.FFmpegError, OSError) as error:
                raise describe_failure(self._name, error) from error
            if decoded:
                damaged_in_a_row = 0
            for frame in decoded:
                yield frame.pts, frame

    def close(self) -> None:
        self.demuxer.close()
