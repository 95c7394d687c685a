"""What every writer has in common: its life cycle, its errors, and pipes as targets."""

from __future__ import annotations

import contextlib
import os
import sys
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, BinaryIO, Self

import av

from gancodec.errors import InputError, UsageError
from gancodec.types import FrameBatch, VideoInfo

from .notices import Notices


class PipeTarget:
    """Standard output or a caller's stream: written in order, never closed, never sought."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes | memoryview) -> int:
        """Write all of it, also to a raw stream that takes a part at a time."""
        left = memoryview(data).cast("B")
        total = left.nbytes
        while left:
            written: int | None = self._stream.write(left)
            left = left[total if written is None else written :]
        return total

    def flush(self) -> None:
        """Hand everything to the reader of the pipe."""
        self._stream.flush()

    def close(self) -> None:
        """The stream belongs to the caller: nothing to do."""

    def silence(self) -> None:
        """After the reader has gone: keep Python from complaining again at exit."""
        if self._stream is sys.stdout.buffer:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class VideoWriter(ABC):
    """Takes frames and sound in order of time. Made by :func:`open_writer`.

    A file appears under its name when ``close`` returns, and never half. Leaving a ``with`` block
    by an exception aborts. ``notices`` says what the target could not keep.
    """

    def __init__(self, info: VideoInfo, notices: Notices) -> None:
        self.info = info
        self._notices = notices
        self._open = True

    @property
    def notices(self) -> list[str]:
        """What could not be kept, one sentence each."""
        return self._notices.sentences()

    def write(self, batch: FrameBatch) -> None:
        """Append frames; their times are in ``info.time_base`` and increase.

        Raises:
            InputError: when the target cannot take them (full disk, closed pipe).
        """
        self._check_open()
        if len(batch) and batch.y.shape[1:] != (self.info.height, self.info.width):
            height, width = batch.y.shape[1:]
            raise UsageError(
                f"frames of {width}x{height} in a clip of {self.info.width}x{self.info.height}: "
                "open a writer for their size"
            )
        with self._errors():
            self._write_frames(batch)

    def write_audio(self, track: int, clusters: bytes) -> None:
        """Append sound of one track, as the clusters ``AudioSource`` gave.

        Raises:
            CorruptError: when they are damaged.
            InputError: when the target cannot take them.
        """
        self._check_open()
        with self._errors():
            self._write_clusters(track, clusters)

    def close(self) -> None:
        """Finish the target; on failure nothing is left behind. Closing twice does nothing."""
        if not self._open:
            return
        try:
            with self._errors():
                self._finish()
        except BaseException:
            self.abort()
            raise
        self._open = False

    def abort(self) -> None:
        """Give up and remove what was written."""
        if self._open:
            self._open = False
            with contextlib.suppress(OSError, av.FFmpegError, InputError):
                self._cancel()

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError("the writer is closed: open a new one")

    @contextlib.contextmanager
    def _errors(self) -> Any:
        """Everything the system or libav raises, as one sentence."""
        try:
            yield
        except BrokenPipeError as error:
            target = getattr(self, "_target", None)
            if isinstance(target, PipeTarget):
                target.silence()
            raise InputError("the reader of the pipe has closed it") from error
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"cannot write the video: {reason.lower()}") from error

    @abstractmethod
    def _write_frames(self, batch: FrameBatch) -> None: ...

    def _write_clusters(self, track: int, clusters: bytes) -> None:  # noqa: B027
        """Most targets hold no sound, and have said so."""

    @abstractmethod
    def _finish(self) -> None: ...

    @abstractmethod
    def _cancel(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
