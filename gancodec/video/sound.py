"""Sound back in: packets from a live Matroska header and its clusters.

Every cluster is opened on its own together with the header, always as Matroska and never by
probing, so untrusted bytes reach one demuxer only, memory stays at one cluster, and a damaged or
missing cluster costs its own two seconds.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from gancodec.errors import CorruptError

from .matroska import EMPTY_CLUSTER, codec_delay_ns, split_clusters

# Matroska keeps milliseconds: times are trusted to one rounding of the time and one of the delay.
_ROUNDING = Fraction(3, 2000)
_AC3_SAMPLES = 1536
_EAC3_BLOCKS = (1, 2, 3, 6)
_FLAC_BLOCKS = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608}


class SoundTrack:
    """One track as its header describes it; ``stream`` serves as template for a muxer.

    Raises:
        CorruptError: when the header is not that of a Matroska stream with one sound track.
    """

    def __init__(self, header: bytes) -> None:
        delay = codec_delay_ns(header)
        self._header = header
        self._container = _open(header + EMPTY_CLUSTER)
        self.stream = _only_stream(self._container)
        self.context: AudioCodecContext = self.stream.codec_context
        self.rate = self.context.sample_rate
        if self.rate < 1:
            raise CorruptError("the audio header has no sample rate: it is damaged")
        # in whole samples, which is what encoders delay by
        self._clock = _SampleClock(self.rate, -round(Fraction(delay * self.rate, 1_000_000_000)))

    def packets(self, data: bytes) -> Iterator[Packet[Any]]:
        """The packets of one or more whole clusters, with times in samples since the clip's zero.

        Raises:
            CorruptError: when the bytes are no clusters of this track.
        """
        for cluster in split_clusters(data):
            container = _open(self._header + cluster)
            stream = _only_stream(container)
            try:
                for packet in container.demux(stream):
                    if packet.size:
                        yield self._exact(packet, stream.codec_context)
            except (av.FFmpegError, OSError) as error:
                raise CorruptError(f"an audio cluster cannot be parsed: {error}") from error
            finally:
                container.close()

    def _exact(self, packet: Packet[Any], context: AudioCodecContext) -> Packet[Any]:
        """A copy with exact times and without the demuxer's own side data."""
        data = bytes(packet)
        samples = samples_in(data, self.context, context.frame_size)
        milliseconds = packet.pts if packet.pts is not None else packet.dts
        out: Packet[Any] = Packet(data)
        out.time_base = Fraction(1, self.rate)
        out.pts = out.dts = self._clock.place(milliseconds, samples)
        duration = samples or round(Fraction((packet.duration or 0) * self.rate, 1000))
        if packet.has_sidedata("skip_samples"):
            skip = packet.get_sidedata("skip_samples")
            trimmed = int.from_bytes(bytes(skip)[4:8], "little")
            if trimmed:  # padding at the very end; priming is told by the codec delay
                out.set_sidedata(skip)
                duration = max(duration - trimmed, 0)
        out.duration = duration
        out.is_keyframe = True
        return out

    def close(self) -> None:
        """Release the template."""
        self._container.close()


class _SampleClock:
    """Sample-exact times from millisecond ones, by counting the samples in between."""

    def __init__(self, rate: int, start: int) -> None:
        self._rate = rate
        self._next: int | None = start

    def place(self, milliseconds: int | None, samples: int | None) -> int:
        """The time in samples of a packet at about this time that holds this many samples."""
        if milliseconds is None:
            at = self._next or 0
        else:
            at = round(Fraction(milliseconds * self._rate, 1000))
            if self._next is not None:
                drift = Fraction(self._next, self._rate) - Fraction(milliseconds, 1000)
                if abs(drift) <= _ROUNDING:
                    at = self._next
        self._next = None if samples is None else at + samples
        return at


def packets_from_matroska(header: bytes, clusters: Iterable[bytes]) -> Iterator[Packet[Any]]:
    """All packets of a stream that ``AudioSource`` made, or of its tail from any cluster on.

    Raises:
        CorruptError: when the bytes are damaged.
    """
    track = SoundTrack(header)
    try:
        for data in clusters:
            yield from track.packets(data)
    finally:
        track.close()


def _open(data: bytes) -> InputContainer:
    try:
        return av.open(
            io.BytesIO(data), "r", format="matroska", options={"protocol_whitelist": "pipe"}
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise CorruptError(f"the audio is not a Matroska stream: {error}") from error


def _only_stream(container: InputContainer) -> AudioStream:
    streams = container.streams
    if len(streams) != 1 or len(streams.audio) != 1 or streams.audio[0].codec_context is None:
        container.close()
        raise CorruptError("the audio header does not describe exactly one known sound track")
    return streams.audio[0]


def samples_in(data: bytes, context: AudioCodecContext, frame_size: int) -> int | None:
    """Samples per channel of one packet, None where only decoding it would tell."""
    codec = context.name
    if codec == "opus":
        return _opus_samples(data)
    if codec == "flac":
        return _flac_samples(data)
    if codec == "ac3":
        return _AC3_SAMPLES
    if codec == "eac3" and len(data) > 4:
        return 256 * _EAC3_BLOCKS[3 if data[4] >> 6 == 3 else data[4] >> 4 & 3]
    if codec == "alac" and context.extradata and len(context.extradata) >= 16:
        return int.from_bytes(context.extradata[12:16], "big")
    if codec.startswith("pcm_"):
        bits = re.search(r"\d+", codec)
        bytes_per_sample = int(bits[0]) // 8 if bits else 1  # without a number: mu-law and A-law
        return len(data) // max(bytes_per_sample * context.layout.nb_channels, 1)
    return frame_size or None


def _opus_samples(data: bytes) -> int | None:
    """Samples at 48 kHz by the table-of-contents byte (RFC 6716, section 3.1)."""
    configuration, code = data[0] >> 3, data[0] & 3
    if configuration < 12:
        frame = (480, 960, 1920, 2880)[configuration & 3]
    elif configuration < 16:
        frame = (480, 960)[configuration & 1]
    else:
        frame = (120, 240, 480, 960)[configuration & 3]
    if code == 3:
        return frame * (data[1] & 63) if len(data) > 1 else None
    return frame * (1 if code == 0 else 2)


def _flac_samples(data: bytes) -> int | None:
    """Block size in a FLAC frame header (RFC 9639, section 9.1)."""
    if len(data) < 8 or data[0] != 0xFF or data[1] >> 1 != 0b1111100:
        return None
    code = data[2] >> 4
    if code in _FLAC_BLOCKS:
        return _FLAC_BLOCKS[code]
    if code >= 8:
        return 256 << (code - 8)
    number_bytes = max(8 - (data[4] ^ 0xFF).bit_length(), 1)  # coded like UTF-8
    at = 4 + number_bytes
    return int.from_bytes(data[at : at + (1 if code == 6 else 2)], "big") + 1
