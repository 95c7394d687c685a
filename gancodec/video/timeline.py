"""Frame times: repaired where they are broken, cut, and resampled to a constant rate.

Each step is a generator over ``(ticks, frame)``, so a clip of any length passes in the memory of
two frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from av.video.frame import VideoFrame

from .frames import Timed
from .notices import Notices

Frames = Iterator[tuple[int, VideoFrame]]

# -ss 0.0333667 means the NTSC frame at 0.03336666...: typed times are rounded, ticks are not
TYPING_TOLERANCE = Fraction(1, 2000)

# Times that fall back by more than this are another clock, not a muxer's slip.
START_OVER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of the container's clock is read, in seconds; ``zero`` is the clip's start."""

    zero: Fraction
    start: Fraction | None
    end: Fraction | None

    @classmethod
    def of(cls, zero: Fraction, start: Fraction | None, length: Fraction | None) -> Span:
        """``length`` seconds from ``start`` seconds after the clip's start; None for no cut."""
        end = None if length is None else zero + (start or 0) + length
        return cls(zero, zero + start if start else None, end)


def repaired(
    frames: Iterator[Timed], time_base: Fraction, fps: Fraction, notices: Notices
) -> Frames:
    """Strictly increasing times, changed as little as that takes.

    Missing times are counted on, repeated ones moved by one tick; where times start over, as in
    recordings that were joined, what follows is joined too.
    """
    step = max(round(1 / (fps * time_base)), 1)
    last: int | None = None
    offset = 0
    for raw, frame in frames:
        if raw is None:
            notices.add("{n} frames had no time and were given one from the frame rate")
            pts = 0 if last is None else last + step
        else:
            pts = raw + offset
            if last is not None and (last - pts) * time_base > START_OVER_SECONDS:
                notices.add("times started over {n} times and were joined")
                offset += last + step - pts
                pts = last + step
            elif last is not None and pts <= last:
                notices.add(
                    "{n} frames repeated the time of the one before and were moved by one tick"
                )
                pts = last + 1
        last = pts
        yield pts, frame


def cut(
    frames: Frames, time_base: Fraction, start: Fraction | None, end: Fraction | None
) -> Frames:
    """Only frames with start <= time < end, in seconds on the container's clock."""
    tolerance = min(time_base / 2, TYPING_TOLERANCE)
    first = None if start is None else start - tolerance
    stop = None if end is None else end - tolerance
    for pts, frame in frames:
        time = pts * time_base
        if stop is not None and time >= stop:
            return
        if first is None or time >= first:
            yield pts, frame


def at_constant_rate(frames: Frames, time_base: Fraction, fps: Fraction) -> Frames:
    """Frames at ticks of 1/fps, each the last source frame whose rounded tick is not later.

    Gaps are filled by repeating a frame; of several frames on one tick the last one is kept.
    """
    held: tuple[int, VideoFrame] | None = None
    for pts, frame in frames:
        tick = nearest_tick(pts * time_base, fps)
        if held is not None:
            for number in range(held[0], tick):
                yield number, held[1]
            tick = max(tick, held[0])
        held = (tick, frame)
    if held is not None:
        yield held


def nearest_tick(seconds: Fraction, fps: Fraction) -> int:
    """The frame number nearest to a time, halves up."""
    return floor(seconds * fps + Fraction(1, 2))
