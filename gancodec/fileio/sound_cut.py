"""Part of a sound track, on the clock of the part, its packets untouched."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, TypeAlias

from av.packet import Packet

from gancodec.video.livemux import CopyMuxer
from gancodec.video.sound import SoundTrack

_Timed: TypeAlias = "tuple[Packet[Any], Fraction]"  # a string: only the stubs are generic


class SoundCut:
    """Cuts one track: only packets with begin <= time < end stay, at their time minus ``origin``.

    Feed clusters, call `open` once when those before the first picture have been fed, and go on.
    All times are in seconds; without ``begin`` nothing is cut at the front.

    Raises:
        CorruptError: the header, or a cluster, is damaged.
    """

    def __init__(self, header: bytes, begin: Fraction | None, end: Fraction | None) -> None:
        self._track = SoundTrack(header)
        self._begin = begin
        self._end = end
        self._origin = Fraction(0)
        self._early: list[_Timed] = []
        self._muxer: CopyMuxer | None = None

    def open(self, origin: Fraction) -> bytes:
        """The part's header, when it is known which time becomes zero."""
        self._origin = origin
        early = [self._moved(timed) for timed in self._early if self._is_inside(timed)]
        self._muxer = CopyMuxer(self._track.stream, early[0] if early else None)
        self._early = early
        return self._muxer.header

    def feed(self, clusters: bytes) -> bytes:
        """The clusters of the part that are complete by now; none before `open`."""
        packets = self._packets(clusters)
        if self._muxer is None:
            self._early += packets
            return b""
        early, self._early = self._early, []
        done = [c for timed in early for c in self._muxer.feed(*timed)]
        for timed in packets:
            if self._is_inside(timed):
                done += self._muxer.feed(*self._moved(timed))
        return b"".join(done)

    def finish(self) -> bytes:
        """The last clusters."""
        if self._muxer is None:
            return b""
        rest = self.feed(b"") + b"".join(self._muxer.finish())
        self._track.close()
        return rest

    def _packets(self, clusters: bytes) -> Iterator[_Timed]:
        for packet in self._track.packets(clusters):
            assert packet.pts is not None
            yield packet, packet.pts * Fraction(1, self._track.rate)

    def _is_inside(self, timed: _Timed) -> bool:
        # A cut part begins with its first picture; sound from before has no place in it.
        begin = None if self._begin is None else max(self._begin, self._origin)
        return (begin is None or timed[1] >= begin) and (self._end is None or timed[1] < self._end)

    def _moved(self, timed: _Timed) -> _Timed:
        return timed[0], timed[1] - self._origin
