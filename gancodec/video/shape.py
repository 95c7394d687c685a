"""The sample aspect ratio of a finished mkv or webm, for codecs that cannot carry it themselves.

FFmpeg's muxer writes it from a field that PyAV does not reach. So the few bytes are put in
afterwards, and taken from the void that FFmpeg leaves behind its table of contents:

    SeekHead, Void, Info, Tracks, ...          SeekHead, Voi, Info, Tracks+, ...
"""

from __future__ import annotations

from gancodec.errors import CorruptError

from .matroska import (
    CLUSTER,
    CRC32,
    SEGMENT,
    TRACK_ENTRY,
    TRACKS,
    Element,
    children,
    encode,
    encode_master,
    read_element,
    unsigned,
)

SEEK_HEAD, SEEK, SEEK_ID, SEEK_POSITION = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
VOID, INFO, VIDEO = 0xEC, 0x1549A966, 0xE0
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2


def with_display_size(head: bytes, width: int, height: int) -> bytes | None:
    """The first bytes of a file with its pictures shown at this size, as long as before.

    None when they are not laid out as FFmpeg does.
    """
    try:
        seek_head, void, info, tracks = _top_level(head)
        new_tracks = _with_size(head, tracks, width, height)
    except CorruptError:
        return None
    grown = len(new_tracks) - len(_bytes(head, tracks))
    spare = (void.end or 0) - void.payload
    if not 0 <= grown <= spare:
        return None
    # same length of its size field: only the payload shrinks
    field = void.payload - void.start - 1
    new_void = bytes([VOID]) + ((spare - grown) | 1 << 7 * field).to_bytes(field, "big")
    return (
        head[: seek_head.start]
        + _moved(head, seek_head, grown)
        + new_void
        + bytes(spare - grown)
        + _bytes(head, info)
        + new_tracks
        + head[tracks.end :]
    )


def _bytes(data: bytes, element: Element) -> bytes:
    return data[element.start : element.end]


def _top_level(head: bytes) -> list[Element]:
    """SeekHead, Void, Info and Tracks, which must follow each other."""
    found: list[Element] = []
    at = 0
    while (element := read_element(head, at)) is not None and element.id != CLUSTER:
        at = element.payload if element.id == SEGMENT else element.end or len(head)
        if element.id in (SEEK_HEAD, VOID, INFO, TRACKS):
            found.append(element)
    if [e.id for e in found[:4]] != [SEEK_HEAD, VOID, INFO, TRACKS]:
        raise CorruptError("not laid out as FFmpeg does")
    return found[:4]


def _with_size(head: bytes, tracks: Element, width: int, height: int) -> bytes:
    size = encode(DISPLAY_WIDTH, width.to_bytes(4, "big"))
    size += encode(DISPLAY_HEIGHT, height.to_bytes(4, "big"))
    inside = list(children(head, tracks.payload, tracks.end or 0))
    parts = []
    for entry in inside:
        if entry.id == TRACK_ENTRY:
            payload = b""
            for element in children(head, entry.payload, entry.end or 0):
                part = _bytes(head, element)
                if element.id == VIDEO:
                    kept = [
                        _bytes(head, e)
                        for e in children(head, element.payload, element.end or 0)
                        if e.id not in (DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT)
                    ]
                    part = encode(VIDEO, b"".join(kept) + size)
                payload += part
            parts.append(encode(TRACK_ENTRY, payload))
        elif entry.id != CRC32:
            parts.append(_bytes(head, entry))
    return encode_master(TRACKS, parts, any(e.id == CRC32 for e in inside))


def _moved(head: bytes, seek_head: Element, by: int) -> bytes:
    """The table of contents after Info and Tracks begin ``by`` bytes earlier."""
    inside = list(children(head, seek_head.payload, seek_head.end or 0))
    parts = []
    for seek in inside:
        if seek.id == SEEK:
            entries = {e.id: e for e in children(head, seek.payload, seek.end or 0)}
            position = entries[SEEK_POSITION]
            target = unsigned(head, position)
            if unsigned(head, entries[SEEK_ID]) in (INFO, TRACKS):
                target -= by
            width = (position.end or 0) - position.payload
            parts.append(
                encode(
                    SEEK,
                    _bytes(head, entries[SEEK_ID])
                    + encode(SEEK_POSITION, target.to_bytes(width, "big")),
                )
            )
        elif seek.id != CRC32:
            parts.append(_bytes(head, seek))
    return encode_master(SEEK_HEAD, parts, any(e.id == CRC32 for e in inside))
