"""Where bytes come from and go to: files, standard input and output, and a caller's streams."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

import torch

from gancodec.bitstream import ByteReader, ByteWriter
from gancodec.bitstream.chunks import SIGNATURE
from gancodec.errors import InputError, UsageError
from gancodec.fileio.input_clip import Source
from gancodec.video.mux import CONTAINERS
from gancodec.video.stills import FOLDER_PATTERN, is_pattern
from gancodec.video.targets import PipeTarget

Target = str | os.PathLike[str] | BinaryIO


def check_paths(source: Source, target: Target, overwrite: bool) -> None:
    """Refuse a target that is the source, exists already, or lies nowhere."""
    if not isinstance(target, str | os.PathLike) or target == "-":
        return
    path = Path(target)
    if isinstance(source, str | os.PathLike) and source != "-" and _is_same(source, path):
        raise UsageError(f"{path} is the input as well: name another output")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist: make it first")
    first = _first_file(path)
    if first.is_file() and not overwrite:
        raise UsageError(f"{first} exists already: replace it with -y (overwrite=True)")


def _first_file(path: Path) -> Path:
    """The file that a target writes first."""
    if path.is_dir():
        return path / (FOLDER_PATTERN % 1)
    if is_pattern(path.name):
        with suppress(TypeError, ValueError):  # other % signs in the name
            return path.with_name(path.name % 1)
    return path


def _is_same(source: str | os.PathLike[str], target: Path) -> bool:
    try:
        return os.path.samefile(source, target) and stat.S_ISREG(target.stat().st_mode)
    except OSError:
        return False


@contextmanager
def sink_of(target: Target) -> Iterator[Path | ByteWriter]:
    """A path for a file that is to appear when it is complete, else a stream, flushed at the end.

    Raises:
        InputError: it cannot be opened, or takes no more; in few words where a pipe's reader left.
    """
    opened: BinaryIO | None = None
    sink: Path | ByteWriter
    if isinstance(target, str) and target == "-":
        sink = sys.stdout.buffer
    elif not isinstance(target, str | os.PathLike):
        sink = target
    elif _is_special(Path(target)):
        sink = opened = _open_special(target)
    else:
        sink = Path(target)
    try:
        yield sink
        flush = getattr(sink, "flush", None)
        if flush is not None:
            flush()
    except (InputError, OSError) as error:
        if isinstance(error, BrokenPipeError) or isinstance(error.__cause__, BrokenPipeError):
            PipeTarget(cast(BinaryIO, sink)).silence()
            raise InputError("the reader of the pipe has closed it") from error
        if isinstance(error, OSError):
            raise InputError(f"cannot write the output: {error.strerror or error}") from error
        raise
    finally:
        if opened is not None:
            opened.close()


def _is_special(path: Path) -> bool:
    """A device or a named pipe, which cannot appear under its name."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def format_of(target: Target) -> str | None:
    """Which kind of video the name of a device or named pipe asks for; None if it does not say."""
    if not isinstance(target, str | os.PathLike):
        return None
    kind = Path(target).suffix.lower().removeprefix(".")
    return kind if kind in CONTAINERS else None


def _open_special(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        return cast(BinaryIO, open(path, "wb", buffering=0))
    except OSError as error:
        raise InputError(f"cannot write {os.fspath(path)}: {error.strerror or error}") from error


@contextmanager
def readable(source: Source) -> Iterator[BinaryIO]:
    """A binary stream of a source; what was opened here is closed.

    Raises:
        InputError: it cannot be opened.
    """
    if not isinstance(source, str | os.PathLike):
        yield source
    elif source == "-":
        yield sys.stdin.buffer
    else:
        with open_file(source) as stream:
            yield stream


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading.

    Raises:
        InputError: it cannot be opened.
    """
    try:
        return open(path, "rb")
    except FileNotFoundError as error:
        raise InputError(f"{os.fspath(path)} does not exist: check the path") from error
    except OSError as error:
        raise InputError(f"{os.fspath(path)} cannot be read: {error.strerror or error}") from error


@contextmanager
def recognised(source: Source) -> Iterator[tuple[Source, bool]]:
    """A source to read from, and whether it is a ``.gvc`` file; a pipe begins with what it said.

    Raises:
        InputError: it cannot be read. That nothing has its name, opening it will tell.
    """
    if not isinstance(source, str | os.PathLike):
        yield _recognise(source, source, "the stream")
    elif source == "-":
        yield _recognise(sys.stdin.buffer, source, "standard input")
    elif _is_special(Path(source)):
        with open_file(source) as stream:
            yield _recognise(stream, stream, os.fspath(source))
    elif Path(source).is_file():
        with open_file(source) as stream:
            yield source, stream.read(len(SIGNATURE)) == SIGNATURE
    else:  # a folder or a pattern of pictures, or missing
        yield source, False


def _recognise(stream: BinaryIO, source: Source, name: str) -> tuple[Source, bool]:
    try:
        if is_seekable(stream):
            head = stream.read(len(SIGNATURE))
            stream.seek(-len(head), os.SEEK_CUR)
            return source, head == SIGNATURE
        head = b""
        while len(head) < len(SIGNATURE) and (more := stream.read(len(SIGNATURE) - len(head))):
            head += more
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error
    name = str(getattr(source, "name", name))
    return cast(BinaryIO, _Rejoined(head, stream, name)), head == SIGNATURE


class _Rejoined:
    """A pipe from its beginning, though some bytes of it were read."""

    def __init__(self, head: bytes, rest: BinaryIO, name: str) -> None:
        self.name = name
        self._head = head
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; nothing at the end."""
        if self._head:
            given, self._head = self._head[:size], self._head[size:]
            return given
        return self._rest.read(size)


def is_seekable(stream: ByteReader) -> bool:
    """Whether one can move about in it."""
    test = getattr(stream, "seekable", None)
    return test is not None and bool(test())


def check_device(device: str) -> str:
    """A device that is here.

    Raises:
        UsageError: there is no such device.
    """
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"device {device!r} is not to be had here ({str(error).splitlines()[0]}): use cpu"
        ) from error
    return device
