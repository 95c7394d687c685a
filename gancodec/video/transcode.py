"""Sound from one codec to another, for containers that cannot hold the first."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any, Literal

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from gancodec.errors import InputError

from .notices import Notices
from .times import exact

TargetCodec = Literal["opus", "flac", "aac"]

_OPUS_RATE = 48000
_BIT_RATES = {1: 64_000, 2: 96_000}  # transparent for most listeners at these
# Decoded times wander by a packet's rounding; only more than this is a real gap (seconds).
_GAP_SECONDS = Fraction(1, 20)


class Transcoder:
    """Decodes packets of one track and encodes them into a new stream of ``container``.

    Gaps in the times become silence, so that sound stays with the pictures.
    """

    def __init__(
        self,
        container: OutputContainer,
        decoder: AudioCodecContext,
        target: TargetCodec,
        notices: Notices,
    ) -> None:
        self._decoder = decoder
        self._notices = notices
        self._expected: int | None = None
        channels = 1 if decoder.layout.nb_channels == 1 else 2
        layout = "mono" if channels == 1 else "stereo"
        if target == "flac":
            self.stream = container.add_stream("flac", rate=decoder.sample_rate)
            self.stream.layout = decoder.layout.name if decoder.layout.nb_channels <= 8 else layout
            bytes_per_sample = decoder.format.bytes if decoder.format else 2
            self.stream.format = "s16" if bytes_per_sample <= 2 else "s32"
        elif target == "opus":
            self.stream = container.add_stream("libopus", rate=_OPUS_RATE)
            self.stream.layout, self.stream.format = layout, "flt"
            self.stream.bit_rate = _BIT_RATES[channels]
        else:
            self.stream = container.add_stream("aac", rate=decoder.sample_rate)
            self.stream.layout = layout
            self.stream.bit_rate = 2 * _BIT_RATES[channels]  # FFmpeg's own encoder needs more

    def feed(
        self, packet: Packet[Any], origin: Fraction = Fraction(0), end: Fraction | None = None
    ) -> list[Packet[AudioStream]]:
        """Encoded packets for one packet; its sound before ``end`` seconds after ``origin``."""
        try:
            frames = self._decoder.decode(packet)
        except (av.error.InvalidDataError, EOFError):
            if packet.size:
                self._notices.add("{n} damaged pieces of sound were skipped")
            return []
        encoded = []
        for frame in frames:
            for piece in self._in_time(frame, origin, end):
                encoded += self.stream.encode(piece)
        return encoded

    def flush(self) -> list[Packet[AudioStream]]:
        """What the encoder still holds; call it once."""
        if self._expected is None:  # an encoder that never saw a frame has nothing to flush
            return []
        return list(self.stream.encode(None))

    def _in_time(
        self, frame: AudioFrame, origin: Fraction, end: Fraction | None
    ) -> list[AudioFrame]:
        """The frame on a clock of whole samples, with silence before it where there was a gap."""
        rate = frame.sample_rate
        base = exact(frame.time_base)
        if frame.pts is None or base is None:
            at = self._expected or 0
        else:
            time = frame.pts * base - origin
            if end is not None and time >= end:
                return []
            at = floor(time * rate + Fraction(1, 2))
        if at < 0:  # an encoder's priming, or what the clip leaves out
            if at + frame.samples <= 0:
                return []
            frame, at = _without_start(frame, -at), 0
        expected = at if self._expected is None else self._expected
        gap = at - expected
        pieces = []
        if gap < -_GAP_SECONDS * rate and at + frame.samples <= expected:
            return []  # told twice
        if gap > _GAP_SECONDS * rate:
            pieces.append(_silence(frame, gap, expected))
            expected += gap
        frame.pts, frame.time_base = expected, Fraction(1, rate)
        pieces.append(frame)
        self._expected = expected + frame.samples
        return pieces


def _without_start(frame: AudioFrame, samples: int) -> AudioFrame:
    """The frame without its first ``samples`` samples."""
    array = frame.to_ndarray()  # (channels, samples) when planar, else (1, samples * channels)
    skip = samples if frame.format.is_planar else samples * frame.layout.nb_channels
    kept: Any = np.ascontiguousarray(array[:, skip:])
    rest = AudioFrame.from_ndarray(kept, frame.format.name, frame.layout.name)
    rest.sample_rate = frame.sample_rate
    return rest


def _silence(like: AudioFrame, samples: int, pts: int) -> AudioFrame:
    """A frame of zeros in the format of another one."""
    if samples > 600 * like.sample_rate:
        raise InputError(
            f"the sound pauses for {samples // like.sample_rate} seconds: use --audio copy or none"
        )
    quiet = AudioFrame(format=like.format.name, layout=like.layout.name, samples=samples)
    middle = 0x80 if like.format.name.startswith("u8") else 0
    for plane in quiet.planes:
        np.frombuffer(memoryview(plane), np.uint8)[:] = middle
    quiet.sample_rate, quiet.pts = like.sample_rate, pts
    quiet.time_base = Fraction(1, like.sample_rate)
    return quiet
