"""Just enough EBML to cut a live Matroska stream into header and clusters, and to check one.

FFmpeg writes and reads the streams; this file only finds the seams, so that they are found by
element sizes and never by searching payload bytes for a pattern.

    EBML header, Segment (unknown size), SeekHead, Void, Info, Tracks, Cluster, Cluster, ...
    '--------------------------- header ---------------------------'
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from gancodec.errors import CorruptError

EBML, SEGMENT, TRACKS, TRACK_ENTRY, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0xAE, 0x1F43B675
CODEC_ID, CODEC_DELAY, CRC32, TIMESTAMP = 0x86, 0x56AA, 0xBF, 0xE7
SIMPLE_BLOCK, BLOCK_GROUP, BLOCK = 0xA3, 0xA0, 0xA1

# A demuxer wants to see a cluster before it calls a header complete: this one holds no packet.
EMPTY_CLUSTER = bytes.fromhex("1f43b67583e78100")
MAX_ELEMENT_BYTES = 1 << 26  # as the largest chunk of the .gvc container


@dataclass(frozen=True, slots=True)
class Element:
    """Where one element lies in a byte string; ``end`` is None for an unknown size."""

    id: int
    start: int
    payload: int
    end: int | None


def _number(data: bytes | bytearray, at: int, keep_marker: bool) -> tuple[int, int] | None:
    """Value and length of the variable-length number at ``at``, None when bytes are missing."""
    if at >= len(data):
        return None
    length = 9 - data[at].bit_length()
    if length > (4 if keep_marker else 8):
        raise CorruptError(f"no EBML number at byte {at}: the audio is damaged")
    if at + length > len(data):
        return None
    value = int.from_bytes(data[at : at + length], "big")
    return (value if keep_marker else value & ((1 << 7 * length) - 1)), length


def read_element(data: bytes | bytearray, at: int) -> Element | None:
    """The element that starts at ``at``, None when its head is not complete yet.

    Raises:
        CorruptError: when no element can start there.
    """
    identifier = _number(data, at, keep_marker=True)
    size = _number(data, at + identifier[1], keep_marker=False) if identifier else None
    if identifier is None or size is None:
        return None
    payload = at + identifier[1] + size[1]
    if size[0] == (1 << 7 * size[1]) - 1:
        return Element(identifier[0], at, payload, None)
    if size[0] > MAX_ELEMENT_BYTES:
        raise CorruptError(f"an audio element claims {size[0]} bytes: the audio is damaged")
    return Element(identifier[0], at, payload, payload + size[0])


def children(data: bytes, start: int, end: int) -> Iterator[Element]:
    """The elements between two offsets.

    Raises:
        CorruptError: when they do not fill the span exactly.
    """
    at = start
    while at < end:
        element = read_element(data, at)
        if element is None or element.end is None or element.end > end:
            raise CorruptError(f"an audio element runs past byte {end}: the audio is damaged")
        yield element
        at = element.end


def unsigned(data: bytes, element: Element) -> int:
    """The value of an element that holds an unsigned integer."""
    return int.from_bytes(data[element.payload : element.end], "big")


class LiveSplitter:
    """Cuts what a live Matroska muxer writes into one header and whole clusters."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: bytes | None = None

    def write(self, data: bytes) -> int:
        """File interface for the muxer."""
        self._buffer += data
        return len(data)

    def header(self) -> bytes:
        """Everything before the first cluster: call it once, before the first packet is muxed."""
        if self._header is None:
            self._header = bytes(self._buffer)
            self._buffer.clear()
        return self._header

    def clusters(self) -> Iterator[bytes]:
        """The clusters that are complete by now, each once."""
        while True:
            element = read_element(self._buffer, 0)
            if element is None or element.end is None or element.end > len(self._buffer):
                return
            whole = bytes(self._buffer[: element.end])
            del self._buffer[: element.end]
            if element.id == CLUSTER:
                yield whole


def split_clusters(data: bytes) -> list[bytes]:
    """The clusters in a byte string that holds nothing else, checked one by one.

    Raises:
        CorruptError: when something else is in it, or a checksum does not hold.
    """
    found = []
    for element in children(data, 0, len(data)):
        if element.id != CLUSTER:
            raise CorruptError(f"expected audio clusters, got element {element.id:X}")
        _check_crc(data, element)
        found.append(data[element.start : element.end])
    return found


def _check_crc(data: bytes, element: Element) -> None:
    """Compare the CRC-32 that FFmpeg puts first in every master element, where there is one."""
    end = element.end if element.end is not None else len(data)
    first = next(children(data, element.payload, end), None)
    if first is None or first.id != CRC32 or first.end is None:
        return
    expected = int.from_bytes(data[first.payload : first.end], "little")
    actual = zlib.crc32(data[first.end : end])
    if actual != expected:
        raise CorruptError(
            f"audio cluster has CRC {actual:08x} where {expected:08x} is expected: it is damaged"
        )


def cluster_time_ms(cluster: bytes) -> int:
    """Milliseconds of the first block of one cluster, before the codec delay is taken off.

    Raises:
        CorruptError: when it holds no timestamp.
    """
    outer = read_element(cluster, 0)
    if outer is None or outer.id != CLUSTER or outer.end is None or outer.end > len(cluster):
        raise CorruptError("expected one whole audio cluster")
    base: int | None = None
    for element in children(cluster, outer.payload, outer.end):
        if element.id == TIMESTAMP:
            base = unsigned(cluster, element)
        elif element.id in (SIMPLE_BLOCK, BLOCK_GROUP) and base is not None:
            block = element
            if element.id == BLOCK_GROUP and element.end is not None:
                inner = children(cluster, element.payload, element.end)
                block = next((e for e in inner if e.id == BLOCK), element)
            track = _number(cluster, block.payload, keep_marker=False)
            at = block.payload + (track[1] if track else 0)
            return base + int.from_bytes(cluster[at : at + 2], "big", signed=True)
    if base is None:
        raise CorruptError("an audio cluster without a timestamp: it is damaged")
    return base


def find_tracks(header: bytes) -> Element:
    """The Tracks element of a stream's first bytes."""
    at, end = 0, len(header)
    while at < end:
        element = read_element(header, at)
        if element is None:
            break
        if element.id == SEGMENT:
            at = element.payload
            continue
        if element.end is None or element.end > end:
            break
        if element.id == TRACKS:
            return element
        at = element.end
    raise CorruptError("a Matroska header without tracks: it is damaged")


def _find_track(header: bytes) -> tuple[Element, Element]:
    """The Tracks element of a header and the only TrackEntry in it."""
    tracks = find_tracks(header)
    inside = children(header, tracks.payload, tracks.end or 0)
    entries = [element for element in inside if element.id == TRACK_ENTRY]
    if len(entries) != 1:
        raise CorruptError(f"an audio header with {len(entries)} tracks, expected one")
    return tracks, entries[0]


def codec_delay_ns(header: bytes) -> int:
    """Nanoseconds by which every timestamp of this stream is later than its sound."""
    _, entry = _find_track(header)
    for element in children(header, entry.payload, entry.end or 0):
        if element.id == CODEC_DELAY:
            return unsigned(header, element)
    return 0


def encode(identifier: int, payload: bytes) -> bytes:
    """An element of this id and payload, with the shortest size field."""
    head = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    length = next(n for n in range(1, 9) if len(payload) < (1 << 7 * n) - 1)
    return head + (len(payload) | 1 << 7 * length).to_bytes(length, "big") + payload


def encode_master(identifier: int, parts: list[bytes], with_crc: bool) -> bytes:
    """A master element of these children, with their CRC-32 first as FFmpeg writes it."""
    body = b"".join(parts)
    if with_crc:
        body = encode(CRC32, zlib.crc32(body).to_bytes(4, "little")) + body
    return encode(identifier, body)


def with_codec_delay(header: bytes, delay_ns: int) -> bytes:
    """The header with its CodecDelay set.

    Sound that starts before the first picture (an encoder's priming) has negative times, which
    Matroska can only say as later timestamps plus this delay. FFmpeg's muxer writes the element
    when the codec parameters hold a delay, and PyAV gives no way to set that.
    """
    tracks, entry = _find_track(header)
    payload = b""
    for element in children(header, entry.payload, entry.end or 0):
        if element.id != CODEC_DELAY:
            payload += header[element.start : element.end]
        if element.id == CODEC_ID:
            payload += encode(CODEC_DELAY, delay_ns.to_bytes(8, "big"))
    parts = [
        encode(TRACK_ENTRY, payload) if e.id == TRACK_ENTRY else header[e.start : e.end]
        for e in children(header, tracks.payload, tracks.end or 0)
        if e.id != CRC32
    ]
    return header[: tracks.start] + encode_master(TRACKS, parts, True) + header[tracks.end :]
