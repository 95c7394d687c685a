"""Sound out of a video: each track as one live Matroska stream, cut into a header and clusters.

    packets -> (copy | transcode) -> Matroska muxer -> header, cluster, cluster, ...

Copied packets are bit-exact. The bytes depend on the input alone, not on how they are pulled, and
a header with the clusters from any point on is a valid stream (see ``sound.py`` for the way back).
Times are those of the clip; what starts before zero is told by the stream's codec delay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any, Literal

import av
from av.audio.stream import AudioStream
from av.packet import Packet

from gancodec.errors import InputError

from .demux import MAX_TRACKS, Demuxer
from .livemux import NANOSECOND, CopyMuxer, TranscodeMuxer, choose_muxer
from .matroska import cluster_time_ms, codec_delay_ns
from .notices import Notices
from .timeline import START_OVER_SECONDS
from .times import exact

AudioMode = Literal["none", "copy", "opus"]

REMEDY = "use --audio none to leave the sound out"

# Where a sound file was cut, start a little earlier and drop: interleaving puts some sound before.
_SEEK_MARGIN_SECONDS = 2


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A piece of one track's stream: its header (``time`` is None) or one cluster.

    ``time`` is when the cluster's first sound is heard, in seconds on the clip's clock.
    """

    track: int
    data: bytes
    time: Fraction | None


class AudioSource:
    """All sound tracks of a clip. Made by ``open_video(..., audio="copy").audio``.

    ``headers`` are there at once; clusters come from ``until`` or by iterating.

    Raises:
        InputError: when a track can be neither copied nor decoded.
    """

    def __init__(
        self,
        demuxer: Demuxer,
        mode: AudioMode,
        *,
        origin: Fraction,
        trimmed: bool,
        end: Fraction | None,
        notices: Notices,
    ) -> None:
        self._own: Demuxer | None = None
        streams = demuxer.audio_streams()
        if demuxer.seekable:
            demuxer = self._own = _open_again(demuxer, origin if trimmed else None)
            streams = demuxer.audio_streams()
        declared = len(demuxer.container.streams.audio)
        if declared > MAX_TRACKS:
            notices.add(f"only the first {MAX_TRACKS} of {declared} sound tracks are kept")
        span = _Span(origin, Fraction(0) if trimmed else None, end)
        self._tracks: list[_Track] = []
        for stream in streams:
            track = _Track(len(self._tracks), demuxer, stream, mode, span, notices)
            if track.header is not None:
                self._tracks.append(track)

    @property
    def headers(self) -> list[AudioChunk]:
        """One header chunk a track, track numbers from 0 on."""
        return [AudioChunk(t.number, t.header, None) for t in self._tracks if t.header is not None]

    def until(self, time: Fraction | None) -> Iterator[AudioChunk]:
        """The clusters that begin before ``time``, by time and track; None: all that are left."""
        while True:
            heads = [c for track in self._tracks if (c := track.peek()) is not None]
            if not heads:
                return
            first = min(heads, key=lambda chunk: (chunk.time, chunk.track))
            if time is not None and first.time is not None and first.time >= time:
                return
            self._tracks[first.track].take()
            yield first

    def __iter__(self) -> Iterator[AudioChunk]:
        """All headers, then all clusters."""
        yield from self.headers
        yield from self.until(None)

    def close(self) -> None:
        """Release the input."""
        for track in self._tracks:
            track.close()
        if self._own is not None:
            self._own.close()


def _open_again(demuxer: Demuxer, origin: Fraction | None) -> Demuxer:
    """A second reading position in the same file, near ``origin`` where that is quick."""
    again = demuxer.duplicate()
    again.want([*again.audio_streams()])
    if origin is not None and again.indexed and again.container.streams.video:
        video = again.container.streams.video[0]
        base = exact(video.time_base) or Fraction(1)
        ticks = floor((origin - _SEEK_MARGIN_SECONDS) / base)
        if ticks > 0 and not again.seek(ticks, video):
            again.reopen()
            again.want([*again.audio_streams()])
    return again


@dataclass(frozen=True, slots=True)
class _Span:
    """Clip time = container time - origin; only begin <= clip time < end is kept."""

    origin: Fraction
    begin: Fraction | None
    end: Fraction | None


class _Track:
    """Pulls one track's packets through a muxer, a cluster at a time."""

    def __init__(
        self,
        number: int,
        demuxer: Demuxer,
        stream: AudioStream,
        mode: AudioMode,
        span: _Span,
        notices: Notices,
    ) -> None:
        self.number = number
        self._name = demuxer.name
        self._notices = notices
        self._clusters: deque[AudioChunk] = deque()
        self._muxer: CopyMuxer | TranscodeMuxer | None = None
        self.header: bytes | None = None
        if stream.codec_context is None:
            raise InputError(
                f"{demuxer.name} has sound in a codec this FFmpeg does not know: {REMEDY}"
            )
        self._packets = _timed(demuxer.packets(stream), stream, span)
        first = next(self._packets, None)
        try:
            self._muxer = choose_muxer(
                stream, mode == "opus", first, span.origin, span.end, notices
            )
        except (av.FFmpegError, ValueError, OSError) as error:
            raise InputError(
                f"{demuxer.name} has {stream.codec_context.name} sound that cannot be read "
                f"({error}): {REMEDY}"
            ) from error
        if self._muxer is None:
            notices.add(f"sound track {number + 1} is empty and was left out")
            return
        self.header = self._muxer.header
        self._delay = codec_delay_ns(self.header) * NANOSECOND
        if first is not None:
            self._collect(self._muxer.feed(*first))

    def peek(self) -> AudioChunk | None:
        """The next cluster, None at the end."""
        while not self._clusters and self._muxer is not None:
            timed = next(self._packets, None)
            try:
                if timed is not None:
                    self._collect(self._muxer.feed(*timed))
                    continue
                muxer, self._muxer = self._muxer, None
                self._collect(muxer.finish())
            except av.error.InvalidDataError:
                self._notices.add("{n} damaged pieces of sound were skipped")
            except (av.FFmpegError, ValueError, OSError) as error:
                raise InputError(
                    f"the sound of {self._name} cannot be read on ({error}): {REMEDY}"
                ) from error
        return self._clusters[0] if self._clusters else None

    def take(self) -> None:
        """Forget the cluster that ``peek`` gave."""
        self._clusters.popleft()

    def _collect(self, clusters: list[bytes]) -> None:
        for data in clusters:
            time = Fraction(cluster_time_ms(data), 1000) - self._delay
            self._clusters.append(AudioChunk(self.number, data, time))

    def close(self) -> None:
        """Drop what was not pulled."""
        self._muxer = None
        self._clusters.clear()


def _timed(
    packets: Iterator[Packet[Any]], stream: AudioStream, span: _Span
) -> Iterator[tuple[Packet[Any], Fraction]]:
    """Packets of the span with their clip times, which never go backwards."""
    base = exact(stream.time_base) or Fraction(1, stream.codec_context.sample_rate)
    expected = joined = Fraction(0)
    last: Fraction | None = None
    for packet in packets:
        if not packet.size:
            continue
        ticks = packet.pts if packet.pts is not None else packet.dts
        time = expected if ticks is None else ticks * base - span.origin + joined
        if last is not None and last - time > START_OVER_SECONDS:  # as the pictures are joined
            joined += expected - time
            time = expected
        time = time if last is None else max(time, last)
        last, expected = time, time + (packet.duration or 0) * base
        if span.end is not None and time >= span.end:
            return
        if span.begin is None or time >= span.begin:
            yield packet, time
