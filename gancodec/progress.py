"""The one line that says how far an encode or decode is, and the one that sums it up."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from gancodec.terminal import in_bytes, printable

_REDRAW_SECONDS = 0.2  # the eye is no faster, and a slow terminal is not kept busy
_CLEAR_TO_END = "\x1b[K"


class Step(Protocol):
    """How far something is; what `gancodec.encode` and `decode` report."""

    @property
    def frames(self) -> int: ...
    @property
    def total_frames(self) -> int | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def bytes(self) -> int: ...
    @property
    def stage(self) -> str: ...


class ProgressLine:
    """Frames, rate, speed, bit rate and time left, redrawn in place where stderr is a terminal.

    Args:
        quiet: show nothing, not even where there is a terminal.
        stream: where to, stderr unless given.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._shown = not quiet and _is_terminal(self._stream)
        self._begun = self._stage_begun = clock()
        self._stage = ""
        self._drawn: float | None = None

    @property
    def elapsed_seconds(self) -> float:
        """Since the line was made."""
        return self._clock() - self._begun

    def __call__(self, step: Step) -> None:
        """Redraw, if the last time is long enough ago or something else is going on now."""
        now = self._clock()
        if not self._shown:
            return
        changed = step.stage != self._stage
        if not changed and self._drawn is not None and now - self._drawn < _REDRAW_SECONDS:
            return
        if changed:  # a search goes through the frames as well, at another speed
            self._stage, self._stage_begun = step.stage, self._begun if self._stage == "" else now
        self._drawn = now
        line = progress_text(step, now - self._stage_begun)
        width = shutil.get_terminal_size().columns - 1  # a full line would wrap and pile up
        self._stream.write(f"\r{line[:width]}{_CLEAR_TO_END}")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line away, so that something else can be printed."""
        if self._drawn is not None:
            self._drawn = None
            self._stream.write(f"\r{_CLEAR_TO_END}")
            self._stream.flush()


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


class TaskLine:
    """The same for work that is counted in tasks: how many are done, what failed, time left."""

    def __init__(
        self,
        what: str,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._clock = clock
        self._shown = _is_terminal(self._stream)
        self._begun = clock()
        self._drawn = False

    def __call__(self, done: int, total: int, failed: int, label: str) -> None:
        """Redraw: ``done`` of ``total`` tasks, the last of which was ``label``."""
        if not self._shown:
            return
        text = task_text(self._what, done, total, failed, label, self._clock() - self._begun)
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r{printable(text)[:width]}{_CLEAR_TO_END}")
        self._stream.flush()
        self._drawn = True

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            self._drawn = False
            self._stream.write(f"\r{_CLEAR_TO_END}")
            self._stream.flush()


def task_text(
    what: str, done: int, total: int, failed: int, label: str, elapsed_seconds: float
) -> str:
    """The line: ``eval  12/40  2 failed  x265 medium 27 city  0:03:20 left``."""
    parts = [f"{what}  {done}/{total}"]
    if failed:
        parts.append(f"{failed} failed")
    parts.append(label)
    if 0 < done < total:
        parts.append(f"{_clock_time(elapsed_seconds * (total - done) / done)} left")
    return "  ".join(parts)


def progress_text(step: Step, elapsed: float) -> str:
    """The line while the work goes on; what is not known yet is left out."""
    frames, total = step.frames, step.total_frames
    parts = [f"{step.stage}  frame {frames}" + (f"/{total}" if total else "")]
    if elapsed > 0 and frames:
        parts.append(f"{frames / elapsed:.1f} fps")
        if step.seconds > 0:
            parts.append(f"{step.seconds / elapsed:.2f}x")
    if step.bytes and step.seconds > 0:
        parts.append(f"{step.bytes * 8 / step.seconds / 1000:.1f} kbps")
    if total and 0 < frames < total and elapsed > 0:
        parts.append(f"{_clock_time(elapsed * (total - frames) / frames)} left")
    return "  ".join(parts)


def summary_text(
    verb: str, frames: int, seconds: float, size_bytes: int | None, elapsed: float
) -> str:
    """The sentence at the end, such as ``encoded 250 frames (10.0 s) in 8.1 s: ...``."""
    parts = []
    if elapsed > 0:
        parts += [f"{frames / elapsed:.1f} fps", f"{seconds / elapsed:.2f}x"]
    if size_bytes is not None:
        parts.append(in_bytes(size_bytes))
        if seconds > 0:
            parts.append(f"{size_bytes * 8 / seconds / 1000:.1f} kbps")
    noun = "frame" if frames == 1 else "frames"
    done = f"{verb} {frames} {noun} ({seconds:.1f} s) in {elapsed:.1f} s"
    return f"{done}: {', '.join(parts)}" if parts else done


def _clock_time(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
