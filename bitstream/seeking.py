"""Finding GOPs in a seekable ``.gvc`` file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from gancodec.bitstream.chunks import Source, read_chunk
from gancodec.bitstream.container_writer import END, END_CHUNK_BYTES
from gancodec.bitstream.events import Event
from gancodec.bitstream.gops import Gop, IndexEntry, salvage_gop, unpack_gop, unpack_index
from gancodec.bitstream.header import Header, Limits
from gancodec.errors import BitstreamError, CorruptError, UsageError


def read_index(source: Source, limits: Limits) -> list[IndexEntry] | None:
    """The index that the end mark points to, None if either is missing or damaged."""
    end_offset = source.size() - END_CHUNK_BYTES
    try:
        end = _sound_payload(source, end_offset, b"GEND", limits)
        if len(end) != END.size:
            return None
        index_offset, frames = END.unpack(end)
        if not 0 < index_offset < end_offset:
            return None
        entries = unpack_index(_sound_payload(source, index_offset, b"gIDX", limits))
    except BitstreamError:
        return None
    last = entries[-1] if entries else IndexEntry(0, 0, 0)
    if last.offset >= index_offset or last.first_frame + last.frames != frames:
        return None
    return entries


def index_gops(events: Iterable[Event], damaged_too: bool) -> list[IndexEntry]:
    """The index that the GOPs among ``events`` make."""
    entries: list[IndexEntry] = []
    first_frame = 0
    for event in events:
        if isinstance(event, Gop) and (damaged_too or not event.bad_frames):
            n = len(event.frames)
            entries.append(IndexEntry(event.offset or 0, event.pts[0], n, first_frame))
            first_frame += n
    return entries


def at_frame(entries: list[IndexEntry], frame: int) -> IndexEntry:
    """The GOP that holds a frame.

    Raises:
        UsageError: there is no such frame.
    """
    total = entries[-1].first_frame + entries[-1].frames if entries else 0
    if not 0 <= frame < total:
        raise UsageError(f"frame {frame} was asked for, the file has frames 0 to {total - 1}")
    return entries[bisect_right(entries, frame, key=lambda e: e.first_frame) - 1]


def at_time(entries: list[IndexEntry], pts: int) -> IndexEntry:
    """The last GOP that begins at or before a time; the first one for earlier times.

    Raises:
        UsageError: the file has no frames at all.
    """
    if not entries:
        raise UsageError(f"time {pts} was asked for, the file has no frames")
    return entries[max(bisect_right(entries, pts, key=lambda e: e.pts) - 1, 0)]


def gop_at(
    source: Source, where: int | IndexEntry, header: Header, limits: Limits, conceal: bool
) -> Gop:
    """The GOP at a file offset; with ``conceal`` also one whose first frames only are sound.

    Raises:
        CorruptError, TruncatedError: there is none, or not the one the index promises.
    """
    offset = where.offset if isinstance(where, IndexEntry) else where
    chunk = None
    if 0 <= offset < source.size():
        source.seek(offset)
        chunk = read_chunk(source, limits)
    if chunk is None or chunk.kind != b"GOPS" or not (chunk.intact or conceal):
        raise CorruptError(f"there is no sound GOP at byte {offset}; the file is damaged")
    unpack = unpack_gop if chunk.intact else salvage_gop
    gop = unpack(chunk.payload, header, offset)
    if gop.bad_frames and not conceal:
        raise CorruptError(f"frame {gop.bad_frames[0]} of the GOP at byte {offset} is damaged")
    if isinstance(where, IndexEntry) and (gop.pts[0], len(gop.frames)) != (where.pts, where.frames):
        raise CorruptError(f"the GOP at byte {offset} is not the one in the index")
    return gop


def _sound_payload(source: Source, offset: int, kind: bytes, limits: Limits) -> bytes:
    """The payload of the chunk of a certain type at an offset."""
    if offset < 0:
        raise CorruptError("the file is shorter than an end mark")
    source.seek(offset)
    chunk = read_chunk(source, limits)
    if chunk.kind != kind or not chunk.intact:
        raise CorruptError(f"there is no sound {kind.decode()} at byte {offset}")
    return chunk.payload
