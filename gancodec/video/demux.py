"""Opening what FFmpeg can read, and handing out its packets stream by stream.

Everything libav raises becomes one InputError sentence here.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from gancodec.errors import InputError

from .notices import Notices

# Packets of one stream that wait while another is read from the same pipe. Ordinary files
# interleave within a second; beyond this it is better to ask for a file than to hold the clip.
MAX_WAITING_BYTES = 256 << 20

MAX_FAILURES = 100  # damaged places in a row, with no packet between

MAX_TRACKS = 8  # of sound; as the .gvc container's limit

# Text that FFmpeg would draw as an ANSI terminal picture, and other things nobody means by "video".
_NOT_VIDEO = frozenset({"tty", "bin", "xbin", "adf", "idf", "lavfi"})

# Formats whose index leads straight to the key frame before a time.
INDEXED_FORMATS = frozenset({"mov", "matroska"})


def describe_failure(name: str, error: Exception) -> InputError:
    """One sentence for what libav could not do with ``name``."""
    if isinstance(error, FileNotFoundError):
        return InputError(f"{name} does not exist: check the path")
    if isinstance(error, PermissionError):
        return InputError(f"{name} may not be read: check its permissions")
    if isinstance(error, av.error.DecoderNotFoundError):
        return InputError(f"{name} needs a decoder this FFmpeg does not have: convert it first")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return InputError(
        f"{name} is not a video FFmpeg can read ({reason.lower()}): "
        "check that the file is complete, or convert it to mp4 or mkv"
    )


def check_path(path: Path) -> None:
    """Raise an InputError when ``path`` cannot be a readable, non-empty file."""
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes): copy it again")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read: check its permissions")


class Demuxer:
    """One opened container; packets are pulled per stream, in file order, in bounded memory.

    Raises:
        InputError: when the source cannot be opened or holds no picture track.
    """

    def __init__(self, source: Path | BinaryIO, name: str, notices: Notices | None = None) -> None:
        self.name = name
        self._notices = notices if notices is not None else Notices()
        self._failures = 0
        self._source = source
        self._waiting: dict[int, deque[Packet[Any]]] = {}
        self._waiting_bytes = 0
        self._packets: Iterator[Packet[Any]] | None = None
        self.container = self._open()

    @property
    def seekable(self) -> bool:
        """Whether it is a file that can be opened again and read from the middle."""
        return isinstance(self._source, Path)

    @property
    def indexed(self) -> bool:
        """Whether a seek ends at the key frame before the time asked for."""
        return self.seekable and bool(INDEXED_FORMATS & set(self.container.format.name.split(",")))

    def _open(self) -> InputContainer:
        # "file:" keeps a name such as "a:b.mp4" from being read as a protocol
        target = f"file:{self._source}" if isinstance(self._source, Path) else self._source
        # a playlist must not make us open anything on the network
        options = {"protocol_whitelist": "file,pipe"}
        try:
            container = av.open(target, "r", options=options, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise describe_failure(self.name, error) from error
        if container.format.name in _NOT_VIDEO:
            container.close()
            raise InputError(f"{self.name} is text, not a video: check the path")
        return container

    def duplicate(self) -> Demuxer:
        """A second reading position in the same file."""
        assert self.seekable, "a pipe has one reading position"
        return Demuxer(self._source, self.name, self._notices)

    def reopen(self) -> None:
        """Start again from the first packet; only for files."""
        self.container.close()
        self.container = self._open()
        self._forget()

    def _forget(self) -> None:
        self._waiting = {index: deque() for index in self._waiting}
        self._waiting_bytes = 0
        self._packets = None

    def video_stream(self) -> VideoStream:
        """The first picture track that is not a cover image."""
        streams = self.container.streams.video
        for stream in streams:
            if not stream.disposition & Disposition.attached_pic:
                if stream.codec_context is None:
                    raise InputError(
                        f"{self.name} has a picture track in a codec this FFmpeg cannot decode: "
                        "convert it first"
                    )
                return stream
        kind = "only a cover picture" if streams else "no picture track"
        raise InputError(f"{self.name} has {kind}: a video is needed")

    def audio_streams(self) -> list[AudioStream]:
        """The sound tracks that can be kept, in file order."""
        return list(self.container.streams.audio[:MAX_TRACKS])

    def want(self, streams: list[Stream]) -> None:
        """Say which streams will be pulled: packets of all others are dropped while demuxing."""
        self._waiting = {stream.index: deque() for stream in streams}
        for stream in self.container.streams:
            stream.discard = Discard.default if stream.index in self._waiting else Discard.all

    def seek(self, ticks: int, stream: Stream) -> bool:
        """Move near a time of ``stream``; False when the file cannot."""
        try:
            self.container.seek(ticks, stream=stream, backward=True)
        except (av.FFmpegError, OSError):
            return False
        self._forget()
        return True

    def packets(self, stream: Stream) -> Iterator[Packet[Any]]:
        """The packets of one stream, ending with the empty one that flushes its decoder."""
        while True:
            packet = self._next(stream.index)
            if packet is None:
                return
            yield packet

    def _next(self, index: int) -> Packet[Any] | None:
        queue = self._waiting[index]
        if queue:
            packet = queue.popleft()
            self._waiting_bytes -= packet.size
            return packet
        while True:
            if self._packets is None:
                self._packets = iter(self.container.demux(*self._wanted()))
            try:
                for packet in self._packets:
                    self._failures = 0
                    # a flushing packet's own stream_index is always 0, so its stream is asked
                    if packet.stream.index == index:
                        return packet
                    self._hold(packet)
            except (av.FFmpegError, OSError) as error:
                self._skip_damage(error)
            else:
                return None

    def _skip_damage(self, error: av.FFmpegError | OSError) -> None:
        """Let the demuxer find its way behind a damaged place, within reason."""
        self._failures += 1
        if not isinstance(error, av.error.InvalidDataError) or self._failures > MAX_FAILURES:
            raise InputError(
                f"{self.name} breaks off in the middle ({error.strerror}): "
                "get an undamaged copy, or encode the part before with -t"
            ) from error
        self._notices.add("{n} damaged places of the input were skipped")
        self._packets = None

    def _wanted(self) -> list[Stream]:
        return [s for s in self.container.streams if s.index in self._waiting]

    def _hold(self, packet: Packet[Any]) -> None:
        self._waiting[packet.stream.index].append(packet)
        self._waiting_bytes += packet.size
        if self._waiting_bytes > MAX_WAITING_BYTES:
            raise InputError(
                f"{self.name} keeps sound and pictures more than {MAX_WAITING_BYTES >> 20} MiB "
                "apart: save it to a file first, or use --audio none"
            )

    def close(self) -> None:
        """Close the container; a caller's own stream stays open."""
        self._packets = None
        self._waiting.clear()
        self.container.close()
