"""Chunk framing: sync word, type, length, sequence number and two checksums around a payload.

`Source` reads any stream, pipes included, and keeps the bytes of the current chunk so that a
damaged one can be searched for the next sync word.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple, Protocol

from gancodec.bitstream.header import I64_MAX, Limits
from gancodec.errors import CorruptError, InputError, LimitError, TruncatedError

# Bytes that text mode, 7-bit channels and newline conversion would change, as in PNG.
SIGNATURE = b"\x89GVC\r\n\x1a\n"
SYNC = b"\xf5gVc"

_HEAD = struct.Struct("<4s4sII")  # sync, type, payload length, sequence number
_CRC = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CRC.size
FRAMING_BYTES = HEAD_BYTES + _CRC.size

# A lying length is believed one step at a time: memory grows only with bytes that are there.
_STEP_BYTES = 1 << 20


class ByteReader(Protocol):
    """Anything with ``read``; ``seekable``, ``seek`` and ``tell`` are used where it has them."""

    def read(self, size: int, /) -> bytes | None:
        """Up to ``size`` bytes; nothing at the end."""
        ...


class Chunk(NamedTuple):
    """One framed payload. ``intact`` tells whether its checksum holds."""

    kind: bytes
    payload: bytes
    sequence: int
    offset: int
    intact: bool


def is_critical(kind: bytes) -> bool:
    """Whether a reader that does not know this type must refuse the file (PNG's rule)."""
    return kind[:1].isupper()


def pack_chunk(kind: bytes, sequence: int, payload: bytes) -> bytes:
    """The bytes of one chunk."""
    head = _HEAD.pack(SYNC, kind, len(payload), sequence)
    return b"".join((head, _CRC.pack(zlib.crc32(head)), payload, _CRC.pack(_crc(kind, payload))))


def _crc(kind: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(kind))


class Source:
    """Bytes of a stream with their file offsets, and a way back to the last mark."""

    def __init__(self, stream: ByteReader) -> None:
        self.stream = stream
        self._held = bytearray()  # from `_start` on; nothing before it can be read again
        self._start = 0
        self.position = 0

    @property
    def reached(self) -> int:
        """Offset of the first byte that was not fetched yet."""
        return self._start + len(self._held)

    @property
    def seekable(self) -> bool:
        """Whether `seek` works."""
        test = getattr(self.stream, "seekable", None)
        return bool(test is not None and test())

    def mark(self) -> None:
        """Forget what lies before the current position."""
        del self._held[: self.position - self._start]
        self._start = self.position

    def rewind(self, position: int) -> None:
        """Go back to a position at or after the last mark."""
        self.position = min(max(position, self._start), self.reached)

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end, without consuming them."""
        at = self.position - self._start
        while len(self._held) < at + size and self._fetch(self.position + size):
            pass
        return bytes(memoryview(self._held)[at : at + size])

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end."""
        data = self.peek(size)
        self.position += len(data)
        return data

    def find(self, word: bytes) -> bool:
        """Move to the next occurrence of ``word``, False if there is none."""
        while True:
            at = self._held.find(word, self.position - self._start)
            if at >= 0:
                self.position = self._start + at
                return True
            # The word may straddle what is fetched next.
            self.position = max(self.position, self.reached - len(word) + 1)
            self.mark()
            if not self._fetch(self.reached + _STEP_BYTES):
                self.position = self.reached
                return False

    def seek(self, position: int) -> None:
        """Continue at any offset of a seekable stream."""
        try:
            self.stream.seek(position)  # type: ignore[attr-defined]
        except (OSError, OverflowError) as error:
            raise InputError(f"cannot go to byte {position} of the input: {error}") from error
        self._held.clear()
        self._start = self.position = position

    def size(self) -> int:
        """Length of a seekable stream in bytes."""
        try:
            self.stream.seek(0, 2)  # type: ignore[attr-defined]
            end = int(self.stream.tell())  # type: ignore[attr-defined]
            self.stream.seek(self.reached)  # type: ignore[attr-defined]
        except OSError as error:
            raise InputError(f"cannot find the end of the input: {error}") from error
        return end

    def _fetch(self, until: int) -> bool:
        """Append one step of the stream, not beyond ``until``; False at its end."""
        try:
            data = self.stream.read(min(_STEP_BYTES, until - self.reached))
        except OSError as error:
            raise InputError(f"cannot read the input at byte {self.reached}: {error}") from error
        self._held += data or b""
        return bool(data)


class Head(NamedTuple):
    """The first part of a chunk, its checksum already verified."""

    kind: bytes
    size: int
    sequence: int


def parse_head(data: bytes, offset: int) -> Head:
    """Read a chunk's head.

    Raises:
        TruncatedError: fewer than 20 bytes.
        CorruptError: no sync word, a wrong checksum, or a type that is not four letters.
    """
    if not data:
        raise TruncatedError(
            f"the file ends at byte {offset} without an end mark; "
            "fetch the rest of it, or decode what is there with --conceal"
        )
    if len(data) < HEAD_BYTES:
        raise TruncatedError(
            f"the file ends inside a chunk head at byte {offset}; fetch the rest of it"
        )
    sync, kind, size, sequence = _HEAD.unpack_from(data)
    if sync != SYNC or _CRC.unpack_from(data, _HEAD.size)[0] != zlib.crc32(data[: _HEAD.size]):
        raise CorruptError(f"the chunk head at byte {offset} is damaged; fetch the file again")
    if not kind.isalpha():
        raise CorruptError(f"the chunk type {kind!r} at byte {offset} is not four letters")
    return Head(kind, size, sequence)


def read_chunk(source: Source, limits: Limits) -> Chunk:
    """The chunk at the source's position; at the end of the stream an error.

    Raises:
        TruncatedError: the stream ends before the chunk does.
        CorruptError: the head is damaged. (A damaged payload is returned, not ``intact``.)
        LimitError: the payload is declared longer than ``limits`` allow.
    """
    source.mark()
    offset = source.position
    kind, size, sequence = parse_head(source.read(HEAD_BYTES), offset)
    most = limits.payload_bytes(kind)
    name = kind.decode("ascii")
    if size > most:
        raise LimitError(
            f"the {name} chunk at byte {offset} declares {size} bytes, the limit is {most}; "
            "raise it if you trust the file"
        )
    body = source.read(size + _CRC.size)
    if len(body) < size + _CRC.size:
        raise TruncatedError(
            f"the file ends inside the {name} chunk at byte {offset}; fetch the rest of it"
        )
    payload = body[:size]
    intact = _CRC.unpack_from(body, size)[0] == _crc(kind, payload)
    return Chunk(kind, payload, sequence, offset, intact)


def pack_varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits a byte, lowest first, the top bit says "more"."""
    if not 0 <= value <= I64_MAX:
        raise ValueError(f"a varint is 0 to 2^63-1, got {value}")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def unpack_varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint at ``at`` and the offset behind it.

    Raises:
        CorruptError: it does not end, is longer than 63 bits, or than it need be.
    """
    value = 0
    for i, byte in enumerate(data[at : at + 9]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            if i and not byte:
                break
            return value, at + i + 1
    raise CorruptError("a variable-length number is malformed; fetch the file again")
