"""A ``.gvc`` file as a sequence of frames: any of them, by number or by time."""

from __future__ import annotations

import math
import os
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO, Self, overload

import numpy as np
import numpy.typing as npt

from gancodec.bitstream import Gop, IndexEntry, ModelRef, Reader
from gancodec.config import REALISM, Engine
from gancodec.engine import check_engine, nets_in_onnx
from gancodec.errors import UsageError
from gancodec.fileio.decoding import DecodeTask, decode_frames, no_frames
from gancodec.fileio.ends import check_device, is_seekable, open_file
from gancodec.fileio.headers import info_of
from gancodec.fileio.parallel import one_thread
from gancodec.registry import find_model
from gancodec.types import FrameBatch, VideoInfo

_Source = str | os.PathLike[str] | BinaryIO


def open(
    source: _Source, *, realism: float = REALISM, device: str = "cpu", engine: Engine = "torch"
) -> Video:
    """Open a ``.gvc`` file to take frames from it by number or by time.

    Args:
        source: a file name, or a binary stream that can seek.
        realism: 0 shows the faithful picture, 1 all of the synthesis head.
        device: where the float nets run.
        engine: what runs them, as for `gancodec.decode`.

    Raises:
        InputError: it cannot be read.
        UsageError: it is a pipe, or the options make no sense.
        BitstreamError: it is damaged, or needs a newer version.
    """
    return Video(source, realism=realism, device=device, engine=engine)


class Video:
    """Frames of a ``.gvc`` file, decoded when they are asked for. Made by ``gancodec.open``.

        with gancodec.open("clip.gvc") as video:
            clip = video[120:150]           # a FrameBatch of 30 frames
            shown = video.at(2.5)           # what is on the screen after 2.5 seconds

    The GOP that was decoded last is kept, so frames asked for in order are decoded once. Threads
    may share a `Video`: they wait for each other; for more speed, open one each.
    """

    def __init__(
        self,
        source: _Source,
        *,
        realism: float = REALISM,
        device: str = "cpu",
        engine: Engine = "torch",
    ) -> None:
        if not 0 <= realism <= 1:
            raise UsageError(f"realism is 0 to 1, got {realism}")
        self._lock = threading.RLock()
        self._realism = realism
        self._engine = check_engine(engine, device)
        self._device = check_device(device)
        self._onnx_nets: tuple[str, ...] | None = None  # chosen when the first GOP is decoded
        with ExitStack() as stack:
            if isinstance(source, str | os.PathLike):
                stream = stack.enter_context(open_file(source))
            else:
                stream = source
            if not is_seekable(stream):
                raise UsageError("a pipe cannot be searched: save it to a file, or decode it")
            self._reader = Reader(stream)
            self._entries: list[IndexEntry] = self._reader.index()
            self._closing = stack.pop_all()
        last = self._entries[-1] if self._entries else IndexEntry(0, 0, 0)
        self._length = last.first_frame + last.frames
        self._header = self._reader.header
        self._pts: npt.NDArray[np.int64] | None = None
        self._gop: _DecodedGop | None = None
        self._closed = False

    # ── What it is ──

    def __len__(self) -> int:
        """How many frames it has."""
        return self._length

    @property
    def info(self) -> VideoInfo:
        """Size, rate, colours and shape."""
        return info_of(self._header, self._length)

    @property
    def metadata(self) -> dict[str, Any]:
        """The JSON stored with it. It comes from a stranger: escape it before printing."""
        return self._reader.metadata

    @property
    def models(self) -> tuple[ModelRef, ...]:
        """The weights it was made with."""
        return self._reader.models

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame to the end of the last one."""
        if not self._length:
            return Fraction(0)
        return self._end_seconds() - int(self.pts[0]) * self._header.time_base

    @property
    def pts(self) -> npt.NDArray[np.int64]:
        """(N,) times of all frames in ticks of ``info.time_base``."""
        with self._lock:
            if self._pts is None:
                times = [self._times_of(entry) for entry in self._entries]
                self._pts = np.concatenate([np.zeros(0, np.int64), *times])
                self._pts.flags.writeable = False
            return self._pts

    @property
    def times(self) -> npt.NDArray[np.float64]:
        """(N,) times of all frames in seconds."""
        base = self._header.time_base
        return np.array([float(pts * base) for pts in self.pts.tolist()], np.float64)

    def _times_of(self, entry: IndexEntry) -> npt.NDArray[np.int64]:
        step = self._header.frame_ticks
        if self._header.deltas_omitted and step is not None:
            return entry.pts + step * np.arange(entry.frames, dtype=np.int64)
        return np.array(self._read(entry).pts, np.int64)

    def _end_seconds(self) -> Fraction:
        return int(self.pts[-1]) * self._header.time_base + 1 / self._header.fps

    def __repr__(self) -> str:
        h = self._header
        return f"Video({self._length} frames of {h.width}x{h.height} at {float(h.fps):g} fps)"

    # ── Frames ──

    @overload
    def __getitem__(self, key: int) -> FrameBatch: ...
    @overload
    def __getitem__(self, key: slice) -> FrameBatch: ...
    def __getitem__(self, key: int | slice) -> FrameBatch:
        """Frames by number, as from a list; one frame is a batch of one.

        Raises:
            IndexError: there is no such frame.
            BitstreamError: the file is damaged there.
        """
        if isinstance(key, slice):
            return self._take(range(*key.indices(self._length)))
        number = key.__index__()
        if not -self._length <= number < self._length:
            raise IndexError(f"frame {number} was asked for, the video has {self._length}")
        return self._take(range(number % self._length, number % self._length + 1))

    def at(self, seconds: float | Fraction) -> FrameBatch:
        """The frame on the screen at a time, as a batch of one.

        Raises:
            UsageError: the time is before the first frame or behind the last.
        """
        return self.played_at([seconds])

    def played_at(self, seconds: Iterable[float | Fraction]) -> FrameBatch:
        """The frames on the screen at these times, in their order.

        Raises:
            UsageError: a time is before the first frame or behind the last.
        """
        return self._take([self._number_at(time) for time in seconds])

    def _number_at(self, seconds: float | Fraction) -> int:
        """The frame whose time is at or before this one; a float may be a rounded frame time."""
        if not math.isfinite(seconds):
            raise UsageError(f"{seconds} is not a time: give seconds")
        base = self._header.time_base
        exact = Fraction(seconds) / base
        if isinstance(seconds, float):
            nearest = round(exact)
            if float(nearest * base) == seconds:
                exact = Fraction(nearest)
        number = bisect_right(self.pts, exact) - 1
        if number < 0 or exact * base >= self._end_seconds():
            first = float(self.pts[0] * base) if self._length else 0.0
            end = float(self._end_seconds()) if self._length else 0.0
            raise UsageError(
                f"{float(seconds):g} s was asked for, the video goes from {first:g} to {end:g} s"
            )
        return number

    def __iter__(self) -> Iterator[FrameBatch]:
        """All frames, one at a time, as batches of one."""
        return self.batches(1)

    def batches(self, frames: int = 16) -> Iterator[FrameBatch]:
        """All frames, so many at a time; the last batch may be shorter."""
        if frames < 1:
            raise UsageError(f"a batch has at least one frame, got {frames}")
        for first in range(0, self._length, frames):
            yield self[first : first + frames]

    # ── Decoding ──

    def _take(self, numbers: range | list[int]) -> FrameBatch:
        """Frames in any order, each decoded once."""
        with self._lock:
            if self._closed:
                raise UsageError("the video is closed: open it again")
            info = self.info
            if not len(numbers):
                return no_frames(info)
            order = np.argsort(numbers, kind="stable").tolist()
            frames: list[FrameBatch] = [self._frame(numbers[n]) for n in order]
        batch = FrameBatch.concatenate(frames)
        if order == list(range(len(order))):
            return batch
        back = np.argsort(order)
        return FrameBatch(batch.y[back], batch.u[back], batch.v[back], batch.pts[back])

    def _frame(self, number: int) -> FrameBatch:
        at = bisect_right(self._entries, number, key=lambda e: e.first_frame) - 1
        entry = self._entries[at]
        if self._gop is None or self._gop.entry != entry:
            self._gop = _DecodedGop(entry, self._task(at, self._read(entry)))
        try:
            with one_thread():
                return self._gop.frame(number - entry.first_frame)
        except BaseException:
            self._gop = None  # its decoder has stopped somewhere
            raise

    def _task(self, number: int, gop: Gop) -> DecodeTask:
        seconds = float(gop.pts[0] * self._header.time_base)
        return DecodeTask(
            info=self.info,
            references=self.models,
            realism=self._realism,
            device=self._device,
            gop=gop,
            first=0,
            stop=len(gop.frames),
            name=f"GOP {number} at byte {gop.offset} ({seconds:.3f} s)",
            onnx_nets=self._nets_in_onnx(),
        )

    def _nets_in_onnx(self) -> tuple[str, ...]:
        if self._onnx_nets is None and self._engine == "torch":
            self._onnx_nets = ()
        elif self._onnx_nets is None:
            with one_thread():  # as GOPs are decoded
                self._onnx_nets = nets_in_onnx(
                    self._engine,
                    find_model(self.models, self._device).nets,
                    (self._header.height, self._header.width),
                    frames=len(self),
                    realism=self._realism,
                    device=self._device,
                )
        return self._onnx_nets

    def _read(self, entry: IndexEntry) -> Gop:
        with self._lock:
            return self._reader.read_gop_at(entry)

    def close(self) -> None:
        """Release the file; a caller's own stream stays open."""
        with self._lock:
            self._closed = True
            self._gop = None
            self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _DecodedGop:
    """A GOP as far as it is decoded."""

    def __init__(self, entry: IndexEntry, task: DecodeTask) -> None:
        self.entry = entry
        self._coming = decode_frames(task)
        self._frames: list[FrameBatch] = []

    def frame(self, number: int) -> FrameBatch:
        """One frame, decoding those before it where that was not done yet."""
        while len(self._frames) <= number:
            self._frames.append(next(self._coming))
        if len(self._frames) == self.entry.frames:
            next(self._coming, None)  # compares the symbols
        return self._frames[number]
