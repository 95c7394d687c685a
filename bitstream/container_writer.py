"""Writing ``.gvc``: one chunk at a time, front to back, on anything with ``write``."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gancodec.bitstream.chunks import FRAMING_BYTES, SIGNATURE, pack_chunk
from gancodec.bitstream.descriptions import Mastering, ModelRef, pack_metadata, pack_models
from gancodec.bitstream.gops import INDEX_ENTRY_BYTES, Gop, pack_gop, pack_index, pack_index_entry
from gancodec.bitstream.header import DEFAULT_LIMITS, Header
from gancodec.errors import InputError, LimitError

END = struct.Struct("<QQ")  # offset of gIDX (0: none), frames in the file
END_CHUNK_BYTES = FRAMING_BYTES + END.size  # 40: GEND is found from the end of a file


_RETRY_BYTES = 1 << 20  # what is copied at a time after a partial write


class ByteWriter(Protocol):
    """Anything with ``write``: a file, a pipe, a socket's file, ``BytesIO``."""

    def write(self, data: bytes, /) -> int | None:
        """Take bytes; raw streams may take fewer than given and say how many."""
        ...


@dataclass(slots=True)
class AudioProgress:
    """How much of one audio track is in the file, without the track number of each chunk."""

    chunks: int = 0
    bytes: int = 0


@dataclass(slots=True)
class WriterState:
    """Everything a writer remembers: what `resume` restores after a killed encode."""

    position: int = 0
    sequence: int = 0
    frames: int = 0
    last_pts: int | None = None
    index: bytearray = field(default_factory=bytearray)  # packed gIDX entries
    audio: dict[int, AudioProgress] = field(default_factory=dict)


class Writer:
    """Writes one ``.gvc`` stream; nothing is ever patched afterwards, so pipes will do.

    Signature, header and models are written at once. Then: metadata, mastering and ICC, each
    once and before the first GOP; GOPs in time order with audio between them; `close`.

    Raises:
        ValueError: calls in an order, or with values, that FORMAT.md forbids.
        LimitError: a chunk would be longer than readers accept.
    """

    def __init__(
        self,
        stream: ByteWriter,
        header: Header,
        models: Sequence[ModelRef],
        state: WriterState | None = None,
    ) -> None:
        """Begin a stream, or continue one whose ``state`` `resume` has found."""
        self.header = header
        self._stream = stream
        self._written: set[bytes] = set()
        self._closed = False
        self.state = state or WriterState()
        if state is None:
            self._write(SIGNATURE)
            self._chunk(b"GHDR", header.pack())
            self._chunk(b"MODL", pack_models(models))

    def write_gop(self, gop: Gop) -> int:
        """Write a closed GOP, later than all before it; gives the file offset of its chunk."""
        state = self.state
        if gop.bad_frames:
            raise ValueError("a damaged GOP is not written again")
        if state.last_pts is not None and gop.pts[0] <= state.last_pts:
            raise ValueError(f"GOPs come in time order, got {gop.pts[0]} after {state.last_pts}")
        if state.frames + len(gop.frames) > DEFAULT_LIMITS.frames:
            raise LimitError(f"a file has at most {DEFAULT_LIMITS.frames} frames; split the video")
        offset = state.position
        self._chunk(b"GOPS", pack_gop(gop, self.header))
        state.index += pack_index_entry(offset, gop.pts[0], len(gop.frames))
        state.frames += len(gop.frames)
        state.last_pts = gop.pts[-1]
        return offset

    def write_audio_init(self, track: int, data: bytes) -> None:
        """Write the Matroska header of an audio track, once and before its data."""
        if not 0 <= track < DEFAULT_LIMITS.tracks:
            raise ValueError(f"a track is 0 to {DEFAULT_LIMITS.tracks - 1}, got {track}")
        if track in self.state.audio or not self.header.has_audio:
            raise ValueError(f"track {track} was begun already, or the header has no audio")
        self._chunk(b"aINI", bytes([track]) + data)
        self.state.audio[track] = AudioProgress()

    def write_audio_data(self, track: int, data: bytes) -> None:
        """Write a piece of an audio track's Matroska clusters."""
        if track not in self.state.audio:
            raise ValueError(f"track {track} has no header yet")
        self._chunk(b"aDAT", bytes([track]) + data)
        self.state.audio[track].chunks += 1
        self.state.audio[track].bytes += len(data)

    def write_metadata(self, metadata: dict[str, Any]) -> None:
        """Write title, source and the like; anything JSON can say, up to 64 KiB."""
        self._chunk_once(b"meta", pack_metadata(metadata))

    def write_icc(self, profile: bytes) -> None:
        """Write an ICC colour profile, up to 4 MiB."""
        self._chunk_once(b"iccP", profile)

    def write_mastering(self, mastering: Mastering) -> None:
        """Write the mastering display and light levels."""
        self._chunk_once(b"hdrM", mastering.pack())

    def close(self) -> None:
        """Write the index, unless reading through is as good, and the end mark.

        The stream itself stays open.
        """
        if self._closed:
            return
        index_offset = 0
        index = pack_index(self.state.index)
        # one GOP is found at once; an index would be 6 % of a small picture. Three million are
        # more than a chunk holds
        if len(self.state.index) > INDEX_ENTRY_BYTES and len(index) <= DEFAULT_LIMITS.chunk_bytes:
            index_offset = self.state.position
            self._chunk(b"gIDX", index)
        self._chunk(b"GEND", END.pack(index_offset, self.state.frames))
        self._closed = True

    def _chunk_once(self, kind: bytes, payload: bytes) -> None:
        if kind in self._written or self.state.index:
            raise ValueError(f"{kind.decode()} is written once, before the first GOP")
        self._chunk(kind, payload)
        self._written.add(kind)

    def _chunk(self, kind: bytes, payload: bytes) -> None:
        if self._closed:
            raise ValueError("the stream is closed; nothing may follow its end mark")
        most = DEFAULT_LIMITS.payload_bytes(kind)
        if len(payload) > most:
            raise LimitError(
                f"a {kind.decode()} chunk has at most {most} bytes, got {len(payload)}"
            )
        self._write(pack_chunk(kind, self.state.sequence, payload))
        self.state.sequence += 1

    def _write(self, data: bytes) -> None:
        """Write all of it: raw pipes take what fits."""
        done = 0
        while done < len(data):
            rest = data[done : done + _RETRY_BYTES] if done else data
            try:
                taken = self._stream.write(rest)
            except OSError as error:
                raise InputError(f"cannot write the output: {error.strerror or error}") from error
            if taken == 0:
                raise InputError("cannot write the output: it takes no more bytes")
            # Objects that are not raw streams may return None, having taken everything.
            done += len(rest) if taken is None else taken
        self.state.position += len(data)
