"""Files that are whole or not there, and encodes that go on where they were killed."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self, cast

from gancodec.bitstream.container_reader import Reader
from gancodec.bitstream.container_writer import AudioProgress, Writer, WriterState
from gancodec.bitstream.descriptions import ModelRef
from gancodec.bitstream.events import AudioData, AudioInit
from gancodec.bitstream.gops import Gop, IndexEntry, pack_index_entry
from gancodec.bitstream.header import DEFAULT_LIMITS, Header, Limits
from gancodec.errors import (
    BitstreamError,
    CorruptError,
    InputError,
    LimitError,
    TruncatedError,
    UnsupportedError,
)


def part_path(path: str | os.PathLike[str]) -> str:
    """Where the unfinished file of an encode to ``path`` lies."""
    return os.path.realpath(path) + ".part"


class AtomicFile:
    """A file that appears under its name only when it is complete.

    Bytes go to ``PATH.part``, unbuffered, and at the end of a ``with`` block to disk and under the
    final name. If the block fails, the part is kept when `resume` can use it, that is when it
    holds a sound GOP. Devices and named pipes are written directly.

    Raises:
        InputError: the file cannot be created, written or renamed.
    """

    def __init__(self, path: str | os.PathLike[str], keep: bool = False) -> None:
        """Open the part, empty or, with ``keep``, with what an earlier encode left there."""
        self.path = os.path.realpath(path)
        try:
            direct = not stat.S_ISREG(os.stat(self.path).st_mode)
        except OSError:
            direct = False  # nothing there yet, or opening will tell
        self.part = self.path if direct else part_path(path)
        self._direct = direct
        mode = "r+b" if keep and os.path.exists(self.part) else "wb"
        try:
            # Unbuffered, so that a killed process leaves every chunk it has written.
            self._file = cast(BinaryIO, open(self.part, mode, buffering=0))  # noqa: SIM115
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()

    def write(self, data: bytes, /) -> int:
        """Append bytes; gives how many were taken."""
        try:
            return self._file.write(data)
        except OSError as error:
            raise self._failure(error) from error

    def rewind(self, size: int) -> None:
        """Cut the part to its first ``size`` bytes and go on behind them."""
        try:
            self._file.seek(size)
            self._file.truncate()
        except OSError as error:
            raise self._failure(error) from error

    def commit(self) -> None:
        """Give the file its final name, once its bytes are on the disk."""
        if self._file.closed:
            return
        try:
            if self._direct:
                self._file.close()
                return
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self.part, self.path)
            _sync_folder(os.path.dirname(self.path))
        except OSError as error:
            self.abort()
            raise self._failure(error) from error

    def abort(self) -> None:
        """Leave the final name alone; keep the part only if it is of use."""
        with suppress(OSError):
            self._file.close()
        if self._direct or _holds_gop(self.part):
            return
        with suppress(OSError):
            os.unlink(self.part)

    def _failure(self, error: OSError) -> InputError:
        return InputError(f"cannot write {self.path}: {error.strerror or error}")


def _sync_folder(folder: str) -> None:
    """Make a rename last through a power cut, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return  # Windows has no such thing
    with suppress(OSError):  # some network file systems refuse; the file itself is safe
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _holds_gop(path: str) -> bool:
    """Whether a part has anything to resume from."""
    try:
        with open(path, "rb") as stream:
            return any(isinstance(event, Gop) for event in Reader(stream).events())
    except (LimitError, UnsupportedError):
        return True  # readable by someone with other limits or a newer version
    except (OSError, InputError, BitstreamError):
        return False


@dataclass(frozen=True, slots=True)
class Resumed:
    """An encode taken up again, at the moment right behind its last sound GOP.

    The caller goes on as if it had just called ``writer.write_gop`` for the last time: with the
    audio that follows that GOP, then the next one. Descriptions and audio headers are there
    already unless ``gops`` is empty: then only GHDR and MODL are, as in a new `Writer`. If the
    calls are the same as in an uninterrupted encode, so are the bytes.

    Attributes:
        file: to use as the ``with`` block in place of a new `AtomicFile`.
        writer: goes on behind the last GOP.
        gops: what is there: offset, first time and number of frames of each GOP.
        frames, last_pts: how many frames that makes, and the time of the last one.
        audio: for each track begun, the chunks and bytes of its data that are there.
    """

    file: AtomicFile
    writer: Writer
    gops: tuple[IndexEntry, ...]
    frames: int
    last_pts: int | None
    audio: dict[int, AudioProgress]


def resume(
    path: str | os.PathLike[str],
    header: Header,
    models: Sequence[ModelRef],
    limits: Limits = DEFAULT_LIMITS,
) -> Resumed:
    """Take up the encode to ``path`` that left ``path.part``, or begin it if there is none.

    Raises:
        CorruptError: the part was encoded from another input, with other settings or weights.
        InputError: it cannot be read or written.
    """
    state = WriterState()
    gops: list[IndexEntry] = []
    part = part_path(path)
    if os.path.exists(part):
        try:
            with open(part, "rb") as stream:
                state, gops = _scan(stream, part, header, models, limits)
        except OSError as error:
            raise InputError(f"cannot read {part}: {error.strerror or error}") from error
    file = AtomicFile(path, keep=bool(gops))
    try:
        if gops:
            file.rewind(state.position)
        # The caller's counts must not move with the writer's.
        audio = _copy_audio(state.audio)
        writer = Writer(file, header, models, state if gops else None)
    except BaseException:
        file.abort()
        raise
    return Resumed(file, writer, tuple(gops), state.frames, state.last_pts, audio)


def _scan(
    stream: BinaryIO, part: str, header: Header, models: Sequence[ModelRef], limits: Limits
) -> tuple[WriterState, list[IndexEntry]]:
    """The state of a writer right behind the last sound GOP of a part."""
    state = WriterState()
    gops: list[IndexEntry] = []
    audio: dict[int, AudioProgress] = {}
    try:
        reader = Reader(stream, limits)
    except (TruncatedError, CorruptError):
        return state, gops  # killed before anything of use was written
    same = reader.header == header and reader.models == tuple(models)
    if not same:
        raise CorruptError(
            f"{part} is of another input, other settings or other weights; "
            "delete it or encode without --resume"
        )
    with suppress(TruncatedError, CorruptError):  # the tail that the kill left behind
        for event in reader.events():
            if isinstance(event, AudioInit):
                audio[event.track] = AudioProgress()
            elif isinstance(event, AudioData):
                audio[event.track].chunks += 1
                audio[event.track].bytes += len(event.data)
            elif isinstance(event, Gop):
                n, offset = len(event.frames), event.offset or 0
                gops.append(IndexEntry(offset, event.pts[0], n, state.frames))
                state.index += pack_index_entry(offset, event.pts[0], n)
                state.position, state.sequence = reader.position, reader.next_sequence
                state.frames, state.last_pts = state.frames + n, event.pts[-1]
                state.audio = _copy_audio(audio)
    return state, gops


def _copy_audio(audio: dict[int, AudioProgress]) -> dict[int, AudioProgress]:
    return {track: AudioProgress(a.chunks, a.bytes) for track, a in audio.items()}
