"""Reading ``.gvc`` from files and pipes: every byte is distrusted, every outcome is defined.

`Reader.events` walks the stream once, front to back. A strict reader raises at the first thing
that is wrong; a concealing one reports `Damage`, finds the next sync word and goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gancodec.bitstream.chunks import (
    HEAD_BYTES,
    SIGNATURE,
    SYNC,
    ByteReader,
    Chunk,
    Source,
    parse_head,
    read_chunk,
)
from gancodec.bitstream.descriptions import Mastering, ModelRef
from gancodec.bitstream.events import Damage, Event
from gancodec.bitstream.gops import Gop, IndexEntry
from gancodec.bitstream.grammar import Grammar
from gancodec.bitstream.header import DEFAULT_LIMITS, Header, Limits
from gancodec.bitstream.seeking import at_frame, at_time, gop_at, index_gops, read_index
from gancodec.errors import BitstreamError, CorruptError, TruncatedError, UsageError

# Chunks that end the preamble, which the constructor reads.
_BODY = frozenset((b"GOPS", b"aDAT", b"gIDX", b"GEND"))

# After a damaged chunk its bytes are read again, in search of the next one. More than this in
# all is an attack on our time (chunk heads nested in payloads), not an accident.
_REREAD_BYTES = 128 << 20


class Reader:
    """Reads one ``.gvc`` stream.

    The constructor reads the header, the models and what else stands before the first GOP.

    Raises:
        TruncatedError, CorruptError: the file is damaged. Concealing readers raise them only
            where nothing can be decoded: without a header or models.
        UnsupportedError: the file needs a newer reader.
        LimitError: it declares more than ``limits`` allow.
    """

    def __init__(
        self, stream: ByteReader, limits: Limits = DEFAULT_LIMITS, conceal: bool = False
    ) -> None:
        self._source = Source(stream)
        self._limits = limits
        self._conceal = conceal
        self._reread = 0
        self._queue: deque[Event] = deque()
        self._index: list[IndexEntry] | None = None
        self._grammar = Grammar(self._read_header(), limits, conceal)
        self._read_preamble()

    @property
    def header(self) -> Header:
        """What the file is."""
        return self._grammar.header

    @property
    def models(self) -> tuple[ModelRef, ...]:
        """Which weights it needs."""
        return self._grammar.models

    @property
    def metadata(self) -> dict[str, Any]:
        """The JSON metadata, empty if there are none. Escape before printing."""
        return self._grammar.metadata

    @property
    def icc(self) -> bytes | None:
        """The ICC colour profile."""
        return self._grammar.icc

    @property
    def mastering(self) -> Mastering | None:
        """Mastering display and light levels."""
        return self._grammar.mastering

    @property
    def frames(self) -> int:
        """How many frames were met so far."""
        return self._grammar.frames

    @property
    def position(self) -> int:
        """File offset behind the chunk of the last event."""
        return self._source.position

    @property
    def next_sequence(self) -> int:
        """Sequence number of the chunk at `position`."""
        return self._grammar.next_sequence

    def events(self) -> Iterator[Event]:
        """Everything in the stream, in file order; iterate once."""
        while self._queue:
            yield self._queue.popleft()
        while not self._grammar.ended:
            yield from self._step()

    def index(self) -> list[IndexEntry]:
        """Where the GOPs are, from gIDX or, failing that, from reading through the file.

        Raises:
            UsageError: the stream cannot seek.
        """
        if self._index is None:
            with self._excursion():
                self._index = read_index(self._source, self._limits)
                if self._index is None:
                    self._source.seek(0)
                    scan = Reader(self._source.stream, self._limits, conceal=True)
                    self._index = index_gops(scan.events(), damaged_too=self._conceal)
        return self._index

    def seek_frame(self, frame: int) -> IndexEntry:
        """The GOP that holds a frame, counted from 0."""
        return at_frame(self.index(), frame)

    def seek_time(self, pts: int) -> IndexEntry:
        """The last GOP that begins at or before a time; the first one for earlier times."""
        return at_time(self.index(), pts)

    def read_gop_at(self, where: int | IndexEntry) -> Gop:
        """The GOP whose chunk is at a file offset, without disturbing `events`.

        Raises:
            UsageError: the stream cannot seek.
            CorruptError, TruncatedError: there is no sound GOP; a concealing reader gives one
                whose first frames are sound.
        """
        with self._excursion():
            return gop_at(self._source, where, self.header, self._limits, self._conceal)

    @contextmanager
    def _excursion(self) -> Iterator[None]:
        """Come back to the present position after reading elsewhere."""
        if not self._source.seekable:
            raise UsageError("a pipe cannot be searched; save it to a file first")
        here = self._source.position
        try:
            yield
        finally:
            self._source.seek(here)

    def _read_header(self) -> Header:
        signature = self._source.read(len(SIGNATURE))
        if signature != SIGNATURE:
            if SIGNATURE.startswith(signature):
                raise TruncatedError(f"the file has only {len(signature)} bytes")
            raise CorruptError("this is not a .gvc file: its first bytes are not the signature")
        chunk = read_chunk(self._source, self._limits)
        if not chunk.intact or chunk.kind != b"GHDR" or chunk.sequence != 0:
            raise CorruptError("the file does not begin with a sound header; fetch it again")
        return Header.unpack(chunk.payload, self._limits)

    def _read_preamble(self) -> None:
        """Read on to the first chunk of the body; what is wrong behind MODL waits for events."""
        while not self._grammar.ended:
            kind = self._peek_kind()
            if self.models and (kind is None or kind in _BODY):
                break
            if kind in _BODY:
                raise CorruptError(f"a {kind!r} chunk comes before the list of models")
            self._queue.extend(self._step())
        if not self.models:
            raise CorruptError("the file has no sound list of models; fetch it again")

    def _peek_kind(self) -> bytes | None:
        """Type of the next chunk, None if its head is damaged or missing."""
        try:
            return parse_head(self._source.peek(HEAD_BYTES), self._source.position).kind
        except (CorruptError, TruncatedError):
            return None

    def _step(self) -> list[Event]:
        """Read one chunk, or in concealing mode step over damage."""
        start = self._source.position
        chunk: Chunk | None = None
        try:
            chunk = read_chunk(self._source, self._limits)
            if not chunk.intact:
                raise CorruptError(
                    f"the {chunk.kind.decode()} chunk at byte {start} fails its checksum; "
                    "fetch the file again, or decode the rest with --conceal"
                )
            events = self._grammar.accept(chunk)
        except (CorruptError, TruncatedError) as error:
            if not self._conceal:
                raise
            return self._recover(start, chunk, error)
        if self._grammar.ended and self._source.peek(1):
            reason = f"data follow the end mark at byte {start}"
            if not self._conceal:
                raise CorruptError(reason)
            events.insert(0, Damage(self._source.position, reason))
        return events

    def _recover(self, start: int, chunk: Chunk | None, error: BitstreamError) -> list[Event]:
        """Report damage and move to where the next chunk may begin."""
        state = self._grammar
        events: list[Event] = [] if state.lost else [Damage(start, str(error))]
        state.damaged = True
        if chunk is not None and chunk.intact:
            return events  # the framing holds: only this chunk is useless
        state.lost = True
        if chunk is not None:
            events += state.salvage(chunk)
        # A false length or a hole swallows what follows, so look behind the sync word itself.
        self._reread += self._source.position - start
        if self._reread > _REREAD_BYTES + 2 * self._source.reached:
            raise CorruptError("the file is damaged in too many places to be read")
        self._source.rewind(start + 1)
        state.ended = not self._source.find(SYNC)
        return events
