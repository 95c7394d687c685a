"""Hitting a bit rate or a file size with one quality: the arithmetic, without any coding.

The logarithm of the size is close to a straight line over quality, so a secant finds the quality
in a few trials. Where the input is a pipe and cannot be tried twice, `GopBudget` spends the rate
GOP by GOP instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

from gancodec.config import QUALITY_LEVELS
from gancodec.errors import UsageError

WORST, BEST = 0.0, float(QUALITY_LEVELS - 1)
SEARCH_TOLERANCE = 0.015  # of the size: closer than this is not worth another trial
PASS_TOLERANCE = 0.03  # a whole file that is further off is encoded again
MAX_TRIALS = 6
MAX_PASSES = 3

_START = 32.0
_SLOPE = 0.05  # of log size over quality, until two trials have measured it
_FLATTEST = 0.008
_FINEST = 0.02  # quality; two files closer than this hardly differ in a frame

_AMOUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([kKmMgG]?)(i?)")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3}

_Coded = TypeVar("_Coded")


def parse_amount(value: str | float | Fraction, what: str) -> Fraction:
    """A positive number, such as ``150_000``, ``"150k"``, ``"5M"`` or, by 1024s, ``"5Mi"``.

    Raises:
        UsageError: when it is none; ``what`` says of what.
    """
    amount: Fraction | None = None
    if isinstance(value, str):
        if match := _AMOUNT.fullmatch(value.strip()):
            amount = Fraction(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].lower()]
    elif math.isfinite(value):
        amount = Fraction(value)
    if amount is None or amount <= 0:
        raise UsageError(f"{what} is a positive number such as 150k or 5M, got {value!r}")
    return amount


@dataclass(frozen=True, slots=True)
class RateGoal:
    """What a file should weigh: pictures and container a second, or everything."""

    bits_per_second: Fraction | None = None
    file_bytes: Fraction | None = None

    def bytes_without_sound(self, seconds: Fraction, audio_bytes: int) -> float:
        """What is left for a clip of this length beside its sound."""
        if self.bits_per_second is not None:
            return float(self.bits_per_second * seconds / 8)
        assert self.file_bytes is not None
        return float(self.file_bytes - audio_bytes)

    @property
    def ceiling(self) -> bool:
        """Whether more is a failure: a rate is met on average, a size is what there is room for."""
        return self.file_bytes is not None

    def __str__(self) -> str:
        if self.bits_per_second is not None:
            return f"{float(self.bits_per_second) / 1000:.6g} kbit/s"
        assert self.file_bytes is not None
        return f"{float(self.file_bytes):.10g} bytes"


@dataclass(slots=True)
class QualitySearch:
    """Finds the quality whose size is nearest to a goal, from one trial to the next.

    ``trials`` are the sizes measured so far, by quality. With ``ceiling``, the goal must not be
    passed: the search aims so far below it as it may miss.
    """

    start: float = _START
    trials: dict[float, float] = field(default_factory=dict)
    ceiling: bool = False

    def add(self, quality: float, size: float) -> None:
        """Note what a quality costs."""
        self.trials[quality] = max(size, 1.0)

    def best(self, goal: float) -> float:
        """The quality tried whose size is nearest, below a ceiling if one is."""

        def rank(q: float) -> tuple[bool, float, float]:
            return self.ceiling and self.trials[q] > goal, abs(self._distance(q, goal)), q

        return min(self.trials, key=rank)

    def is_found(self, goal: float, tolerance: float = SEARCH_TOLERANCE) -> bool:
        """Whether a trial came close enough."""
        best = self.best(goal)
        near = abs(math.expm1(self._distance(best, goal))) <= tolerance
        return near and not (self.ceiling and self.trials[best] > goal)

    def suggest(self, goal: float) -> float | None:
        """The quality to try next; None when no quality could come closer."""
        if not self.trials:
            return self.start
        if goal <= 0:
            return None if WORST in self.trials else WORST
        below = [q for q in self.trials if self._distance(q, goal) <= 0]
        above = [q for q in self.trials if self._distance(q, goal) > 0]
        low = max(below, default=None)
        high = min(above, default=None)
        if low is None or high is None:
            near = high if low is None else low
            assert near is not None
            wanted = near - self._distance(near, goal) / self.slope(near)
        elif low < high:
            share = self._distance(low, goal) / (
                self._distance(low, goal) - self._distance(high, goal)
            )
            margin = min(share, 1 - share, 0.1) if high - low > 1 else 0.0
            wanted = low + (high - low) * min(max(share, margin), 1 - margin)
        else:
            return None  # sizes that do not rise with quality: this is the noise
        wanted = round(min(max(wanted, WORST), BEST), 2)
        return None if any(abs(wanted - q) < _FINEST for q in self.trials) else wanted

    def slope(self, at: float) -> float:
        """Rise of the size's logarithm a level, between ``at`` and the trial nearest to it."""
        others = [q for q in self.trials if q != at]
        if not others:
            return _SLOPE
        other = min(others, key=lambda q: abs(q - at))
        rise = math.log(self.trials[at] / self.trials[other]) / (at - other)
        return max(rise, _FLATTEST)

    def _distance(self, quality: float, goal: float) -> float:
        aim = goal * (1 - SEARCH_TOLERANCE) if self.ceiling else goal
        return math.log(self.trials[quality] / max(aim, 1e-9))


@dataclass(slots=True)
class GopBudget:
    """A constant rate, spent GOP by GOP in order; what was saved or overspent is carried on.

    The quality of a GOP depends on the GOPs before it, and on nothing else.

    Attributes:
        bytes_per_second: the rate.
        spent: bytes written so far, and those that the end of the file will take.
    """

    bytes_per_second: Fraction
    spent: int = 0
    _seconds: Fraction = Fraction(0)
    _quality: float = _START

    def code(
        self, seconds: Fraction, encode: Callable[[float], _Coded], size_of: Callable[[_Coded], int]
    ) -> tuple[_Coded, float]:
        """The GOP of this length at the quality that fits the budget, after a few trials."""
        share = float(self.bytes_per_second * seconds)
        self._seconds += seconds
        left = float(self.bytes_per_second * self._seconds) - self.spent
        goal = max(left, share / 8)  # what was overspent must not black out the next GOP
        search = QualitySearch(self._quality)
        results: dict[float, _Coded] = {}
        while len(results) < MAX_TRIALS:
            quality = search.suggest(goal)
            if quality is None:
                break
            results[quality] = encode(quality)
            search.add(quality, size_of(results[quality]))
            if search.is_found(goal, 2 * SEARCH_TOLERANCE):
                break
        self._quality = search.best(goal)
        coded = results[self._quality]
        self.spent += size_of(coded)
        return coded, self._quality
