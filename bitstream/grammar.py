"""Which chunk may stand where in a ``.gvc`` stream, and what each of them means."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from gancodec.bitstream.chunks import Chunk, is_critical
from gancodec.bitstream.container_writer import END
from gancodec.bitstream.descriptions import Mastering, ModelRef, unpack_metadata, unpack_models
from gancodec.bitstream.events import AudioData, AudioInit, Damage, End, Event, Metadata
from gancodec.bitstream.gops import (
    INDEX_ENTRY_BYTES,
    Gop,
    pack_index_entry,
    salvage_gop,
    unpack_gop,
)
from gancodec.bitstream.header import Header, Limits
from gancodec.errors import CorruptError, LimitError, UnsupportedError


class Grammar:
    """Turns sound chunks into events and keeps what the stream has told so far.

    ``damaged`` is set once something was lost: totals cannot be checked from then on. ``lost``
    is set between a damaged chunk and the next sound one, whose number may then be any.
    """

    def __init__(self, header: Header, limits: Limits, conceal: bool) -> None:
        self.header = header
        self.models: tuple[ModelRef, ...] = ()
        self.metadata: dict[str, Any] = {}
        self.icc: bytes | None = None
        self.mastering: Mastering | None = None
        self.frames = 0
        self.next_sequence = 1  # GHDR was 0
        self.damaged = False
        self.lost = False
        self.ended = False
        self._limits = limits
        self._conceal = conceal
        self._last_pts: int | None = None
        self._n_gops = 0
        self._entries_crc = 0  # of the index entries that the GOPs met would have
        self._index_offset = 0
        self._tracks: set[int] = set()
        self._met: set[bytes] = set()  # chunk types that occur once

    def accept(self, chunk: Chunk) -> list[Event]:
        """Check that a sound chunk may stand here, and hand it to its method."""
        events: list[Event] = []
        expected = self.next_sequence
        if chunk.sequence != expected:
            reason = f"chunk {chunk.sequence} at byte {chunk.offset} stands where {expected} should"
            if not self._conceal or chunk.sequence < expected:
                raise CorruptError(reason)
            if not self.lost:
                events.append(Damage(chunk.offset, reason))
            self.damaged = True
        if chunk.sequence >= self._limits.chunks:
            raise LimitError(f"the file has more than {self._limits.chunks} chunks")
        self.next_sequence = chunk.sequence + 1
        self.lost = False
        handler = _HANDLERS.get(chunk.kind)
        if handler is not None:
            return events + handler(self, chunk)
        if is_critical(chunk.kind):
            raise UnsupportedError(
                f"the file has a {chunk.kind.decode()} chunk, which this version does not know; "
                "install a newer gancodec"
            )
        return events

    def salvage(self, chunk: Chunk) -> list[Event]:
        """The GOP of a chunk that fails its checksum, if its first frames pass theirs."""
        if chunk.kind != b"GOPS" or chunk.sequence < self.next_sequence:
            return []
        try:
            events = self._deliver(salvage_gop(chunk.payload, self.header, chunk.offset))
        except CorruptError:
            return []
        self.next_sequence = chunk.sequence + 1
        return events

    def _deliver(self, gop: Gop) -> list[Event]:
        """Count a GOP that fits its surroundings."""
        if not self.models or self._index_offset:
            raise CorruptError(f"the GOP at byte {gop.offset} is out of place")
        if self._last_pts is not None and gop.pts[0] <= self._last_pts:
            raise CorruptError(
                f"the GOP at byte {gop.offset} begins at {gop.pts[0]}, "
                f"not after the {self._last_pts} before it"
            )
        if self.frames + len(gop.frames) > self._limits.frames:
            raise LimitError(f"the file has more than {self._limits.frames} frames")
        # Times from a damaged frame on are not to be trusted, and must not condemn what follows.
        proven = gop.pts[: gop.bad_frames[0]] if gop.bad_frames else gop.pts
        self._last_pts = proven[-1] if proven else self._last_pts
        self.frames += len(gop.frames)
        self._n_gops += 1
        entry = pack_index_entry(gop.offset or 0, gop.pts[0], len(gop.frames))
        self._entries_crc = zlib.crc32(entry, self._entries_crc)
        return [gop]

    def _on_gop(self, chunk: Chunk) -> list[Event]:
        gop = unpack_gop(chunk.payload, self.header, chunk.offset)
        if not gop.bad_frames:
            return self._deliver(gop)
        reason = f"frame {gop.bad_frames[0]} of the GOP at byte {chunk.offset} fails its checksum"
        if not self._conceal:
            raise CorruptError(reason)
        return [Damage(chunk.offset, reason), *self._deliver(gop)]

    def _on_header(self, chunk: Chunk) -> list[Event]:
        raise CorruptError(f"a second header stands at byte {chunk.offset}")

    def _on_models(self, chunk: Chunk) -> list[Event]:
        self._once(chunk)
        self.models = unpack_models(chunk.payload)
        return []

    def _on_metadata(self, chunk: Chunk) -> list[Event]:
        self._once(chunk)
        if chunk.kind == b"meta":
            self.metadata = unpack_metadata(chunk.payload)
            return [Metadata("meta", self.metadata)]
        if chunk.kind == b"hdrM":
            self.mastering = Mastering.unpack(chunk.payload)
            return [Metadata("hdrM", self.mastering)]
        self.icc = chunk.payload
        return [Metadata("iccP", self.icc)]

    def _once(self, chunk: Chunk) -> None:
        """Check that a chunk of this type is the only one and stands before the first GOP."""
        if chunk.kind in self._met or self.frames:
            raise CorruptError(
                f"the {chunk.kind.decode()} chunk at byte {chunk.offset} is out of place"
            )
        self._met.add(chunk.kind)

    def _on_audio(self, chunk: Chunk) -> list[Event]:
        if not chunk.payload or self._index_offset:
            raise CorruptError(f"the audio chunk at byte {chunk.offset} is impossible")
        track, data = chunk.payload[0], chunk.payload[1:]
        if track >= self._limits.tracks:
            raise LimitError(f"audio track {track} is beyond the limit of {self._limits.tracks}")
        begins = chunk.kind == b"aINI"
        if begins == (track in self._tracks):
            wrong = "begins twice" if begins else "has no header"
            raise CorruptError(f"audio track {track} {wrong}, at byte {chunk.offset}")
        if begins:
            self._tracks.add(track)
            return [AudioInit(track, data)]
        return [AudioData(track, data)]

    def _on_index(self, chunk: Chunk) -> list[Event]:
        entries = chunk.payload[4:]
        count = len(entries) // INDEX_ENTRY_BYTES
        right = (
            not self._index_offset
            and chunk.payload[:4] == count.to_bytes(4, "little")
            and (self.damaged or (count, zlib.crc32(entries)) == (self._n_gops, self._entries_crc))
        )
        if not right:
            raise CorruptError(f"the index at byte {chunk.offset} does not match the GOPs")
        self._index_offset = chunk.offset
        return []

    def _on_end(self, chunk: Chunk) -> list[Event]:
        self.ended = True
        if len(chunk.payload) != END.size:
            raise CorruptError(f"the end mark at byte {chunk.offset} has a wrong length")
        index_offset, frames = END.unpack(chunk.payload)
        reason = ""
        if not self.damaged and (index_offset, frames) != (self._index_offset, self.frames):
            reason = f"the end mark counts {frames} frames, the file has {self.frames}"
        if not reason:
            return [End(frames)]
        if not self._conceal:
            raise CorruptError(reason)
        return [Damage(chunk.offset, reason), End(frames)]


_HANDLERS: dict[bytes, Callable[[Grammar, Chunk], list[Event]]] = {
    b"GHDR": Grammar._on_header,
    b"MODL": Grammar._on_models,
    b"GOPS": Grammar._on_gop,
    b"GEND": Grammar._on_end,
    b"aINI": Grammar._on_audio,
    b"aDAT": Grammar._on_audio,
    b"hdrM": Grammar._on_metadata,
    b"iccP": Grammar._on_metadata,
    b"meta": Grammar._on_metadata,
    b"gIDX": Grammar._on_index,
}
