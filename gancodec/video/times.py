"""Times and rates as exact fractions: what users type, and what PyAV returns."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Protocol

from gancodec.errors import UsageError

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?|\.\d+)")
_SUFFIXED = re.compile(r"(\d+(?:\.\d*)?)(ms|us|s)")
_UNITS = {"s": Fraction(1), "ms": Fraction(1, 1000), "us": Fraction(1, 1_000_000)}

Time = Fraction | float | int | str


class _Rational(Protocol):
    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


def parse_time(value: Time) -> Fraction:
    """Seconds, exactly, from ``12.5``, ``"12.5"``, ``"1:02:03.5"``, ``"500ms"`` or a fraction.

    Raises:
        UsageError: for anything else, and for negative times.
    """
    if isinstance(value, str):
        text = value.strip()
        if suffixed := _SUFFIXED.fullmatch(text):
            return Fraction(suffixed[1]) * _UNITS[suffixed[2]]
        clock = _CLOCK.fullmatch(text)
        if clock is None:
            raise UsageError(f"'{value}' is not a time: write seconds (12.5) or h:mm:ss (0:01:30)")
        hours, minutes, seconds = clock[1] or "0", clock[2] or "0", clock[3]
        return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    try:
        # through str, so that 0.04 is the 1/25 that was typed and not its binary neighbour
        seconds_exact = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    except ValueError:
        raise UsageError(f"{value} is not a time: write a finite number of seconds") from None
    if seconds_exact < 0:
        raise UsageError(f"a time is not negative, got {value}: count from the clip's start")
    return seconds_exact


def parse_rate(value: Time) -> Fraction:
    """Frames per second, exactly, from ``30``, ``29.97``, ``"30000/1001"`` or a fraction.

    Raises:
        UsageError: when it is no positive number.
    """
    try:
        rate = Fraction(str(value)) if isinstance(value, float | str) else Fraction(value)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1_000_000:
        raise UsageError(f"'{value}' is not a frame rate: write 25, 29.97 or 30000/1001")
    return rate


def exact(value: _Rational | None) -> Fraction | None:
    """PyAV's rational as a Fraction, None where unset.

    PyAV 18 returns ``Fraction | None``, PyAV 19 an ``AVRational`` that is falsy when unset.
    """
    return Fraction(value.numerator, value.denominator) if value else None
