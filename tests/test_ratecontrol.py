"""The search for a quality, on made-up codecs: quick, near, and never out of bounds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction

import pytest

from gancodec.errors import UsageError
from gancodec.ratecontrol import (
    MAX_TRIALS,
    GopBudget,
    QualitySearch,
    RateGoal,
    parse_amount,
)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("150k", 150_000),
        ("1.5M", 1_500_000),
        ("2G", 2_000_000_000),
        ("5Mi", 5 << 20),
        ("0.5ki", 512),
        (" 42 ", 42),
        (7, 7),
        (2.5, Fraction(5, 2)),
        (Fraction(1, 3), Fraction(1, 3)),
    ],
)
def test_amounts(text: str | float, amount: Fraction) -> None:
    assert parse_amount(text, "size") == amount


@pytest.mark.parametrize("text", ["", "k", "-5", "0", "5T", "1e6", "nan", "ten", float("nan"), -1])
def test_no_amounts(text: str | float) -> None:
    with pytest.raises(UsageError, match="bitrate is a positive number"):
        parse_amount(text, "bitrate")


def codec(rng: random.Random) -> Callable[[float], float]:
    """Sizes as a codec has them: nearly exponential, bent, wavy, intra frames in steps."""
    base, slope, bend = rng.uniform(5, 15), rng.uniform(0.015, 0.1), rng.uniform(-5e-4, 5e-4)
    slope = max(slope, 130 * abs(bend) + 0.01)

    def size(quality: float) -> float:
        smooth = math.exp(base + slope * quality + bend * quality**2)
        step = math.floor(quality + 0.5)
        intra = math.exp(base + slope * step + bend * step**2)
        return 0.7 * smooth * (1 + 0.003 * math.sin(9 * quality)) + 0.3 * intra

    return size


def search_for(
    size: Callable[[float], float], goal: float, *, ceiling: bool = False
) -> QualitySearch:
    search = QualitySearch(ceiling=ceiling)
    while len(search.trials) < MAX_TRIALS:
        quality = search.suggest(goal)
        if quality is None:
            break
        assert 0 <= quality <= 63
        assert quality not in search.trials
        search.add(quality, size(quality))
        if search.is_found(goal):
            break
    return search


@pytest.mark.stress
def test_a_search_ends_near(stress_rounds: int) -> None:
    rng = random.Random(2)
    trials = 0
    for _ in range(300 * stress_rounds):
        size = codec(rng)
        goal = size(rng.uniform(0.5, 62.5))
        search = search_for(size, goal)
        trials += len(search.trials)
        # Half a level of 30 % intra frames is the widest step there is.
        assert abs(search.trials[search.best(goal)] / goal - 1) < 0.035
    assert trials < 4.5 * 300 * stress_rounds


@pytest.mark.stress
def test_a_ceiling_is_kept_and_nearly_filled(stress_rounds: int) -> None:
    rng = random.Random(5)
    for _ in range(300 * stress_rounds):
        size = codec(rng)
        goal = size(rng.uniform(2, 62.5))
        search = search_for(size, goal, ceiling=True)
        assert 0.94 * goal < search.trials[search.best(goal)] <= goal


def test_goals_out_of_reach_end_at_the_bounds() -> None:
    size = codec(random.Random(3))
    assert search_for(size, size(0) / 3).best(size(0) / 3) == 0
    assert search_for(size, size(63) * 3).best(size(63) * 3) == 63
    assert search_for(size, -100.0).best(-100.0) == 0


def test_flat_and_falling_sizes_end_too() -> None:
    for size in (lambda q: 1000.0, lambda q: 2000 - 10 * q, lambda q: 0.0):
        for goal in (500.0, 1700.0, 1e6):
            assert 0 <= search_for(size, goal).best(goal) <= 63


@pytest.mark.stress
def test_a_budget_is_kept_gop_by_gop(stress_rounds: int) -> None:
    rng = random.Random(4)
    for _ in range(40 * stress_rounds):
        rate = Fraction(10_000)
        budget = GopBudget(rate, spent=300)
        total = 300
        seconds = Fraction(0)
        hardness = rng.uniform(0.3, 3)
        for number in range(6):
            length = Fraction(64 if number < 5 else 13, 25)
            scene = hardness * rng.uniform(0.5, 2)

            def size(quality: float, length: Fraction = length, scene: float = scene) -> float:
                return 2000 * float(length) * scene * math.exp(0.05 * quality)

            coded, quality = budget.code(length, size, int)
            assert coded == size(quality)
            total += int(coded)
            seconds += length
        assert budget.spent == total
        assert abs(total / float(rate * seconds) - 1) < 0.03


def test_a_budget_does_not_black_out_after_an_overspend() -> None:
    budget = GopBudget(Fraction(1000), spent=50_000)
    sizes = [budget.code(Fraction(1), lambda q: 100 * math.exp(0.05 * q), int)[0] for _ in range(3)]
    assert min(sizes) > 110


def test_goals_say_what_they_are() -> None:
    rate = RateGoal(bits_per_second=Fraction(150_000))
    assert rate.bytes_without_sound(Fraction(4), 10_000) == 75_000
    assert str(rate) == "150 kbit/s"
    size = RateGoal(file_bytes=Fraction(5_000_000))
    assert size.bytes_without_sound(Fraction(4), 1_000_000) == 4_000_000
    assert str(size) == "5000000 bytes"
