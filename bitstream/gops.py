"""GOPS and gIDX payloads: a closed group of frames, and where each of them lies in the file."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from itertools import pairwise

from gancodec.bitstream.chunks import pack_varint, unpack_varint
from gancodec.bitstream.header import I64_MAX, I64_MIN, Header
from gancodec.errors import CorruptError, LimitError

SYMBOL_HASH_BYTES = 8
_PTS = struct.Struct("<q")
_FRAME_TAIL = struct.Struct("<BH")  # kind, checksum
_FRAME_KEY = struct.Struct("<qB")  # pts and kind, covered by the frame's checksum
_INDEX_COUNT = struct.Struct("<I")
_INDEX_ENTRY = struct.Struct("<QqI")  # offset, pts, frames
INDEX_ENTRY_BYTES = _INDEX_ENTRY.size
INDEX_HEAD_BYTES = _INDEX_COUNT.size


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """One coded frame: its kind (0 intra, 1 inter) and the frame payload of FORMAT.md."""

    kind: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Gop:
    """A closed group of frames, decodable alone.

    Attributes:
        pts: time of each frame in ticks of the time base, strictly increasing.
        frames: the coded frames, as many.
        symbol_hash: 8 bytes, `SymbolHasher` over all symbols of the GOP.
        bad_frames: numbers within the GOP of the frames that are damaged or follow a damaged
            one; only a concealing reader gives any, and then ``symbol_hash`` is not to be trusted.
        offset: where the chunk lies in the file it was read from.
    """

    pts: tuple[int, ...]
    frames: tuple[CodedFrame, ...]
    symbol_hash: bytes
    bad_frames: tuple[int, ...] = ()
    offset: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.frames or len(self.pts) != len(self.frames):
            raise ValueError(f"{len(self.frames)} frames and {len(self.pts)} times make no GOP")
        if len(self.symbol_hash) != SYMBOL_HASH_BYTES:
            raise ValueError(f"a symbol hash has 8 bytes, got {len(self.symbol_hash)}")
        if any(not 0 <= f.kind <= 255 for f in self.frames):
            raise ValueError("a frame's kind is 0 to 255")
        if any(b <= a for a, b in pairwise(self.pts)):
            raise ValueError(f"the times of a GOP increase, got {self.pts}")
        if self.pts[0] < I64_MIN or self.pts[-1] > I64_MAX:
            raise ValueError(f"times {self.pts[0]} to {self.pts[-1]} do not fit 64 bits")


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """Where a GOP is: file offset, time of its first frame, frames, number of its first frame."""

    offset: int
    pts: int
    frames: int
    first_frame: int = 0


def _frame_crc(pts: int, frame: CodedFrame) -> int:
    """The 16 bits that tie a frame's bytes to its time and kind."""
    return zlib.crc32(frame.data, zlib.crc32(_FRAME_KEY.pack(pts, frame.kind))) & 0xFFFF


def pack_gop(gop: Gop, header: Header) -> bytes:
    """The GOPS payload.

    Raises:
        ValueError: more frames than the header promises, or times it says cannot be.
        LimitError: more bytes than the header promises.
    """
    if len(gop.frames) > header.max_gop_frames:
        raise ValueError(
            f"the header promises GOPs of at most {header.max_gop_frames} frames, "
            f"got {len(gop.frames)}"
        )
    deltas = [b - a for a, b in pairwise(gop.pts)]
    if header.deltas_omitted and set(deltas) - {header.frame_ticks}:
        raise ValueError(f"the header promises {header.frame_ticks} ticks a frame, got {deltas}")
    parts = [pack_varint(len(gop.frames)), _PTS.pack(gop.pts[0])]
    for i, (pts, frame) in enumerate(zip(gop.pts, gop.frames, strict=True)):
        parts.append(pack_varint(len(frame.data)))
        if i and not header.deltas_omitted:
            parts.append(pack_varint(deltas[i - 1]))
        parts.append(_FRAME_TAIL.pack(frame.kind, _frame_crc(pts, frame)))
    parts += [frame.data for frame in gop.frames]
    parts.append(gop.symbol_hash)
    payload = b"".join(parts)
    if len(payload) > header.max_gop_bytes:
        raise LimitError(
            f"a GOP of {len(payload)} bytes is beyond the {header.max_gop_bytes} of the header; "
            "use shorter GOPs or a lower quality"
        )
    return payload


def unpack_gop(payload: bytes, header: Header, offset: int) -> Gop:
    """Read a GOPS payload; frames whose checksum fails, and those behind, are ``bad_frames``.

    Raises:
        CorruptError: the table of frames is not what FORMAT.md says.
    """
    if len(payload) > header.max_gop_bytes:
        raise CorruptError(
            f"the GOP at byte {offset} has {len(payload)} bytes, the header promises at most "
            f"{header.max_gop_bytes}"
        )
    n_frames, at = unpack_varint(payload, 0)
    # A table entry takes 4 bytes at least, so a lying count is found before the loop.
    least = at + _PTS.size + 4 * n_frames + SYMBOL_HASH_BYTES
    if not 1 <= n_frames <= header.max_gop_frames or least > len(payload):
        raise CorruptError(f"the GOP at byte {offset} has an impossible {n_frames} frames")
    (time,) = _PTS.unpack_from(payload, at)
    at += _PTS.size
    ticks = header.frame_ticks or 1 if header.deltas_omitted else 0
    pts: list[int] = []
    table: list[tuple[int, int, int]] = []
    for i in range(n_frames):
        size, at = unpack_varint(payload, at)
        if i:
            delta, at = (ticks, at) if ticks else unpack_varint(payload, at)
            time += delta
        if at + _FRAME_TAIL.size > len(payload):
            raise CorruptError(f"the frame table of the GOP at byte {offset} ends early")
        table.append((size, *_FRAME_TAIL.unpack_from(payload, at)))
        pts.append(time)
        at += _FRAME_TAIL.size
    if at + sum(size for size, _, _ in table) + SYMBOL_HASH_BYTES != len(payload):
        raise CorruptError(f"the frame sizes of the GOP at byte {offset} do not add up")
    if pts[-1] > I64_MAX:
        raise CorruptError(f"the times of the GOP at byte {offset} do not fit 64 bits")
    frames: list[CodedFrame] = []
    first_bad = n_frames
    for i, (size, kind, crc) in enumerate(table):
        frames.append(CodedFrame(kind, payload[at : at + size]))
        at += size
        if first_bad == n_frames and _frame_crc(pts[i], frames[i]) != crc:
            first_bad = i
    bad = tuple(range(first_bad, n_frames))
    try:
        return Gop(tuple(pts), tuple(frames), payload[at:], bad, offset)
    except ValueError as error:
        raise CorruptError(f"the GOP at byte {offset} is impossible: {error}") from error


def salvage_gop(payload: bytes, header: Header, offset: int) -> Gop:
    """Read the payload of a chunk that failed its checksum, if a damaged frame explains that.

    Frames in front of the damaged one are then proved by their own checksums; a payload whose
    frames all look sound is damaged elsewhere and cannot be trusted.

    Raises:
        CorruptError: nothing can be trusted.
    """
    gop = unpack_gop(payload, header, offset)
    if not gop.bad_frames or gop.bad_frames[0] == 0:
        raise CorruptError(f"no frame of the GOP at byte {offset} can be trusted")
    return gop


def pack_index_entry(offset: int, pts: int, frames: int) -> bytes:
    """The 20 bytes of one GOP in gIDX."""
    return _INDEX_ENTRY.pack(offset, pts, frames)


def pack_index(entries: bytes | bytearray) -> bytes:
    """The gIDX payload from concatenated entries."""
    return _INDEX_COUNT.pack(len(entries) // INDEX_ENTRY_BYTES) + entries


def unpack_index(payload: bytes) -> list[IndexEntry]:
    """Read a gIDX payload.

    Raises:
        CorruptError: a wrong length, or entries that do not move forward.
    """
    if len(payload) < _INDEX_COUNT.size:
        raise CorruptError("the index is empty; fetch the file again")
    (count,) = _INDEX_COUNT.unpack_from(payload)
    if len(payload) != _INDEX_COUNT.size + count * INDEX_ENTRY_BYTES:
        raise CorruptError(f"the index of {count} GOPs has {len(payload)} bytes")
    entries: list[IndexEntry] = []
    first_frame = 0
    for offset, pts, frames in _INDEX_ENTRY.iter_unpack(payload[_INDEX_COUNT.size :]):
        last = entries[-1] if entries else None
        if not frames or (last and (offset <= last.offset or pts <= last.pts)):
            raise CorruptError(f"entry {len(entries)} of the index is impossible")
        entries.append(IndexEntry(offset, pts, frames, first_frame))
        first_frame += frames
    return entries
