"""One track's packets into a live Matroska stream, as they are or by way of another codec."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.packet import Packet

from .matroska import LiveSplitter, codec_delay_ns, with_codec_delay
from .notices import Notices
from .times import exact
from .transcode import TargetCodec, Transcoder

NANOSECOND = Fraction(1, 1_000_000_000)
# A cluster is the unit of interleaving, seeking and loss: two seconds, and never very large.
_MUXER_OPTIONS = {
    "live": "1",
    "cluster_time_limit": "2000",
    "cluster_size_limit": str(1 << 20),
    "flush_packets": "1",
    "fflags": "+bitexact",  # no random ids, no dates, no library version: same bytes every run
}


def choose_muxer(
    stream: AudioStream,
    to_opus: bool,
    first: tuple[Packet[Any], Fraction] | None,
    origin: Fraction,
    end: Fraction | None,
    notices: Notices,
) -> CopyMuxer | TranscodeMuxer | None:
    """A muxer that copies where it may and can; None when an empty track cannot be described."""
    if to_opus:
        return TranscodeMuxer(stream, "opus", origin, end, notices)
    try:
        return CopyMuxer(stream, first)
    except (av.FFmpegError, ValueError):
        if first is None:
            return None
    codec = stream.codec_context.name
    # what is stored without loss stays without loss
    target: TargetCodec = "flac" if codec.startswith("pcm_") else "opus"
    notices.add(f"{codec} sound cannot be copied and was converted to {target}")
    return TranscodeMuxer(stream, target, origin, end, notices)


class CopyMuxer:
    """Packets into Matroska as they are."""

    def __init__(self, stream: AudioStream, first: tuple[Packet[Any], Fraction] | None) -> None:
        self._splitter = LiveSplitter()
        self._output = _open_muxer(self._splitter)
        self._stream = self._output.add_stream_from_template(stream)
        _copy_names(stream, self._stream)
        self._to_raw_aac: BitStreamFilterContext | None = None
        if stream.codec_context.name == "aac" and not stream.codec_context.extradata:
            self._strip_adts(stream, first)
        self._output.start_encoding()
        header = self._splitter.header()
        delay = codec_delay_ns(header) * NANOSECOND
        before_zero = max(-first[1] - delay, Fraction(0)) if first else Fraction(0)
        self._shift = before_zero
        if before_zero:
            header = with_codec_delay(header, round((delay + before_zero) / NANOSECOND))
        self.header = header

    def _strip_adts(self, stream: AudioStream, first: tuple[Packet[Any], Fraction] | None) -> None:
        """AAC of broadcast streams carries its setup in every packet; Matroska wants it once."""
        if first is None:
            raise ValueError("no packet to take the setup from")
        self._to_raw_aac = BitStreamFilterContext("aac_adtstoasc", stream)
        probe = BitStreamFilterContext("aac_adtstoasc", stream).filter(av.Packet(bytes(first[0])))
        self._stream.codec_context.extradata = bytes(probe[0].get_sidedata("new_extradata"))

    def feed(self, packet: Packet[Any], time: Fraction) -> list[bytes]:
        """Mux one packet; gives the clusters that are complete by now."""
        duration = packet.duration or 0
        duration_ns = round(duration * (exact(packet.time_base) or 0) / NANOSECOND)
        packets = [packet] if self._to_raw_aac is None else self._to_raw_aac.filter(packet)
        for out in packets:
            out.stream = self._stream
            out.time_base = NANOSECOND
            out.pts = out.dts = round((time + self._shift) / NANOSECOND)
            out.duration = duration_ns
            self._output.mux_one(out)
        return list(self._splitter.clusters())

    def finish(self) -> list[bytes]:
        """The last clusters."""
        self._output.close()
        return list(self._splitter.clusters())


class TranscodeMuxer:
    """Packets into Matroska by way of another codec."""

    def __init__(
        self,
        stream: AudioStream,
        target: TargetCodec,
        origin: Fraction,
        end: Fraction | None,
        notices: Notices,
    ) -> None:
        self._splitter = LiveSplitter()
        self._output = _open_muxer(self._splitter)
        self._origin, self._end = origin, end
        self._transcoder = Transcoder(self._output, stream.codec_context, target, notices)
        _copy_names(stream, self._transcoder.stream)
        self._output.start_encoding()
        self.header = self._splitter.header()

    def feed(self, packet: Packet[Any], time: Fraction) -> list[bytes]:
        """Decode, encode and mux one packet; gives the clusters that are complete by now."""
        self._output.mux(self._transcoder.feed(packet, self._origin, self._end))
        return list(self._splitter.clusters())

    def finish(self) -> list[bytes]:
        """The last clusters."""
        flush = av.Packet()
        self._output.mux(self._transcoder.feed(flush, self._origin, self._end))
        self._output.mux(self._transcoder.flush())
        self._output.close()
        return list(self._splitter.clusters())


def _open_muxer(splitter: LiveSplitter) -> av.container.OutputContainer:
    return av.open(splitter, "w", format="matroska", container_options=_MUXER_OPTIONS)


def _copy_names(source: AudioStream, target: AudioStream) -> None:
    """Keep the language and the title that players show in their menus."""
    target.metadata.update(
        {key: source.metadata[key] for key in ("language", "title") if key in source.metadata}
    )
