"""BD-rate: against a second implementation, by hand, by its symmetries, and where there is none."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gancodec.errors import UsageError
from gancodec.eval import metrics
from gancodec.eval.bdrate import (
    at_equal_rate,
    bd_quality_of_points,
    bd_rate,
    bd_rate_of_points,
    summarize,
)
from gancodec.eval.fidelity import PSNR_OF_EQUAL_DB
from gancodec.eval.metric import FrameMeter, Metric
from gancodec.eval.records import Record, Score

Curve = list[tuple[float, float]]


def halved(points: Curve) -> Curve:
    return [(rate / 2, value) for rate, value in points]


def negated(points: Curve) -> Curve:
    return [(rate, -value) for rate, value in points]


def random_curve(rng: np.random.Generator, count: int) -> Curve:
    rates = np.cumsum(rng.uniform(50, 900, count)) + 100
    values = 28 + rng.uniform(0, 1) + np.cumsum(rng.uniform(0.3, 2.5, count))
    return list(zip(rates.tolist(), values.tolist(), strict=True))


@st.composite
def drawn_curves(draw: st.DrawFn) -> Curve:
    """Rising in both, with points far enough apart to be different after any arithmetic."""
    count = draw(st.integers(4, 7))
    steps = st.lists(st.floats(0.05, 2), min_size=count, max_size=count)
    rates = np.exp(np.cumsum(draw(steps)) + draw(st.floats(-3, 9)))
    values = np.cumsum(draw(steps)) + 30
    return list(zip(rates.tolist(), values.tolist(), strict=True))


ANCHOR: Curve = [(1000, 30.0), (2000, 33.0), (4000, 35.5), (8000, 37.0), (16000, 38.0)]


# ---------------------------------------------------------------- one clip


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("higher", [True, False])
def test_equals_the_package_bjontegaard(seed: int, higher: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports, and of overlaps below 75 %
        import bjontegaard

        rng = np.random.default_rng(seed)
        anchor, test = random_curve(rng, 5), random_curve(rng, 4 + seed % 3)
        columns = [np.array(c).T for c in (anchor, test)]
        (ra, va), (rt, vt) = columns
        arguments = (ra, va, rt, vt, "pchip")
        percent = bjontegaard.bd_rate(*arguments, require_matching_points=False)
        decibels = bjontegaard.bd_psnr(*arguments, require_matching_points=False)
    if not higher:  # the package takes rising curves only
        anchor, test, decibels = negated(anchor), negated(test), -decibels
    assert bd_rate_of_points(anchor, test, higher).percent == pytest.approx(percent, rel=1e-9)
    found = bd_quality_of_points(anchor, test, higher)
    assert found.difference == pytest.approx(decibels, rel=1e-9)


@pytest.mark.parametrize("higher", [True, False])
def test_half_the_bytes_are_minus_fifty_percent(higher: bool) -> None:
    anchor = ANCHOR if higher else negated(ANCHOR)
    found = bd_rate_of_points(anchor, halved(anchor), higher)
    assert found.percent == pytest.approx(-50, abs=1e-9)
    assert found.overlap is not None
    assert (found.overlap.low, found.overlap.high) == ((30, 38) if higher else (-38, -30))
    assert (found.overlap.anchor_share, found.overlap.test_share) == (1, 1)
    assert (found.anchor_dropped, found.test_dropped, found.reason) == (0, 0, "")


@pytest.mark.parametrize(("higher", "better"), [(True, 1.5), (False, -1.5)])
def test_quality_difference_is_in_the_metrics_own_direction(higher: bool, better: float) -> None:
    anchor = ANCHOR if higher else negated(ANCHOR)
    test = [(rate, value + better) for rate, value in anchor]
    assert bd_quality_of_points(anchor, test, higher).difference == pytest.approx(better)
    percent = bd_rate_of_points(anchor, test, higher).percent
    assert percent is not None
    assert percent < 0


def test_overlap_covers_a_share_of_either_curve() -> None:
    test = [(rate, value + 4) for rate, value in ANCHOR]  # 34 to 42 beside 30 to 38
    overlap = bd_rate_of_points(ANCHOR, test, True).overlap
    assert overlap is not None
    assert (overlap.low, overlap.high) == (34, 38)
    assert (overlap.anchor_share, overlap.test_share) == (0.5, 0.5)
    narrow = [(1000.0 + i, 35 + i / 10) for i in range(4)]
    overlap = bd_rate_of_points(ANCHOR, narrow, True).overlap
    assert overlap is not None
    assert (overlap.anchor_share, overlap.test_share) == pytest.approx((0.3 / 8, 1))


@given(drawn_curves(), drawn_curves())
def test_antisymmetry(a: Curve, b: Curve) -> None:
    there, back = bd_rate_of_points(a, b, True), bd_rate_of_points(b, a, True)
    assert (there.percent is None) == (back.percent is None)
    if there.percent is not None and back.percent is not None:
        assert (1 + there.percent / 100) * (1 + back.percent / 100) == pytest.approx(1)


@given(drawn_curves(), drawn_curves(), st.floats(1e-6, 1e6))
def test_unit_of_rate_does_not_matter(a: Curve, b: Curve, factor: float) -> None:
    scaled = [[(rate * factor, value) for rate, value in c] for c in (a, b)]
    expected = bd_rate_of_points(a, b, True).percent
    found = bd_rate_of_points(*scaled, True).percent
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-6, abs=1e-6))


@given(drawn_curves(), drawn_curves())
def test_direction_is_a_matter_of_sign(a: Curve, b: Curve) -> None:
    up, down = bd_rate_of_points(a, b, True), bd_rate_of_points(negated(a), negated(b), False)
    assert up.percent == down.percent


@given(st.permutations(ANCHOR))
def test_order_of_points_does_not_matter(shuffled: Curve) -> None:
    assert bd_rate_of_points(shuffled, halved(ANCHOR), True) == bd_rate_of_points(
        ANCHOR, halved(ANCHOR), True
    )


def test_points_that_cost_more_and_show_less_are_dropped_and_counted() -> None:
    worse = [*ANCHOR, (5000.0, 35.0), (9000.0, 37.0), (8000.0, 36.0), (1000.0, 30.0)]
    found = bd_rate_of_points(worse, halved(ANCHOR), True)
    assert found.percent == pytest.approx(-50)
    assert (found.anchor_dropped, found.test_dropped) == (4, 0)


def test_infinite_psnr_is_no_point() -> None:
    lossless = [*ANCHOR, (90000.0, PSNR_OF_EQUAL_DB)]
    found = bd_rate_of_points(lossless, lossless, True, saturated=PSNR_OF_EQUAL_DB)
    assert found.overlap is not None
    assert found.overlap.high == 38
    assert (found.anchor_dropped, found.test_dropped) == (1, 1)


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("shift", [8.0, 20.0])  # 8: they touch in one value
def test_no_overlap(higher: bool, shift: float) -> None:
    anchor = ANCHOR if higher else negated(ANCHOR)
    test = [(rate, value + (shift if higher else -shift)) for rate, value in anchor]
    found = bd_rate_of_points(anchor, test, higher)
    assert found.percent is None
    assert found.overlap is None
    assert found.reason.startswith("no overlap: anchor ")
    assert f"{30 + shift:.4g}" in found.reason
    assert bd_quality_of_points(anchor, test, higher).difference is not None


def test_no_overlap_in_rate() -> None:
    test = [(rate * 100, value) for rate, value in ANCHOR]
    found = bd_quality_of_points(ANCHOR, test, True)
    assert found.difference is None
    assert found.reason == "no overlap: anchor 1000 to 1.6e+04, test 1e+05 to 1.6e+06"


def test_three_points_are_too_few() -> None:
    found = bd_rate_of_points(ANCHOR, ANCHOR[:3], True)
    assert (found.percent, found.reason) == (None, "test has 3 usable points, 4 are needed")
    flat = [(rate, 30.0) for rate, _ in ANCHOR]
    found = bd_rate_of_points(flat, ANCHOR, True)
    assert (found.reason, found.anchor_dropped) == ("anchor has 1 usable points, 4 are needed", 4)
    assert bd_rate_of_points([], ANCHOR, True).percent is None


@pytest.mark.parametrize("bad", [(0.0, 30.0), (-1.0, 30.0), (1.0, np.nan), (np.inf, 30.0)])
def test_impossible_points_are_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="rates above 0"):
        bd_rate_of_points([*ANCHOR, bad], ANCHOR, True)


def test_value_at_a_rate() -> None:
    line = [(float(np.exp(i)), 10.0 * i) for i in range(5)]  # straight over log rate
    assert at_equal_rate(line, float(np.exp(2.5)), True) == pytest.approx(25)
    assert at_equal_rate(negated(line), float(np.exp(2.5)), False) == pytest.approx(-25)
    assert at_equal_rate(line, line[0][0], True) == pytest.approx(0)
    assert at_equal_rate(line, line[-1][0] * 1.01, True) is None
    assert at_equal_rate(line[:1], line[0][0], True) == 0
    assert at_equal_rate([], 1.0, True) is None


# ---------------------------------------------------------------- over clips


def make_records(codec: str, clip: str, points: Curve, metric: str = "psnr-y") -> list[Record]:
    return [
        Record(
            key=f"{codec} {clip} {i}", codec=codec, kind="x", quality=i, settings={}, decode={},
            clip=clip, clip_sha256=clip, bytes=int(rate), bpp=rate / 1e5, kbps=rate / 1e3,
            scores={metric: Score(value, (value,))},
        )
        for i, (rate, value) in enumerate(points)
    ]  # fmt: skip


def suite(factors: Iterable[float], shift: float = 0) -> list[Record]:
    """Clips "clip 0", "clip 1" ...: the test needs so many times the anchor's bytes."""
    found = []
    for i, factor in enumerate(factors):
        found += make_records("x265 medium", f"clip {i}", ANCHOR)
        test = [(rate * factor, value + shift) for rate, value in ANCHOR]
        found += make_records("gancodec", f"clip {i}", test)
    return found


def test_mean_over_clips_is_of_percentages() -> None:
    table = bd_rate(suite([0.5, 0.8, 2.0]))
    assert [c.clip for c in table.clips] == ["clip 0", "clip 1", "clip 2"]
    assert [c.rate.percent for c in table.clips] == pytest.approx([-50, -20, 100])
    assert table.rate_summary.mean == pytest.approx(10)
    assert (table.rate_summary.clips, table.rate_summary.of_clips) == (3, 3)
    assert json.loads(json.dumps(table.to_dict()))["rate_summary"]["mean"] == pytest.approx(10)


@pytest.mark.parametrize("rate", ["bpp", "kbps"])
def test_every_unit_of_rate_gives_the_same(rate: str) -> None:
    records = suite([0.5, 0.8])
    a, b = bd_rate(records, rate=rate).rate_summary, bd_rate(records).rate_summary
    assert a.mean == pytest.approx(b.mean)


def test_clip_without_overlap_is_listed_and_not_averaged() -> None:
    far = make_records("x265 medium", "zoo", ANCHOR)
    far += make_records("gancodec", "zoo", [(rate, value - 20) for rate, value in ANCHOR])
    only = make_records("x265 medium", "alone", ANCHOR)
    table = bd_rate([*suite([0.5, 0.8]), *far, *only])
    assert table.rate_summary.mean == pytest.approx(-35)
    text = table.to_text()
    assert "BD-rate: mean over 2 of 4 clips" in text
    assert "no BD-rate for zoo: no overlap: anchor 30 to 38, test 10 to 18" in text
    assert "no BD-rate for alone: test has 0 usable points, 4 are needed" in text
    assert "30 to 38 dB" in text  # the overlap, where there is one
    assert "-50.0 %" in text


def test_text_names_codecs_direction_and_units() -> None:
    first = bd_rate(suite([0.5])).to_text().split("\n")[0]
    assert first == (
        "gancodec against x265 medium by PSNR-Y, dB (higher is better): bytes at equal PSNR-Y, "
        "PSNR-Y at equal bytes"
    )
    assert "no interval: it takes two clips at least" in bd_rate(suite([0.5])).to_text()


def test_thin_overlap_is_said() -> None:
    table = bd_rate(suite([0.5], shift=7))  # 37 to 38 of 8 dB
    assert table.rate_summary.mean is not None
    assert "the BD-rate of clip 0 is of less than 50 % of either curve" in table.to_text()
    assert "little" not in bd_rate(suite([0.5])).to_text()


def test_lower_is_better_through_records(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Metric("toy", "Toy", "", False, lambda _: FrameMeter(lambda a, b: np.zeros(1)), "none")
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, toy))
    records = make_records("x265 medium", "c", negated(ANCHOR), "toy")
    records += make_records("gancodec", "c", halved(negated(ANCHOR)), "toy")
    table = bd_rate(records, metric="toy")
    assert table.rate_summary.mean == pytest.approx(-50)
    assert table.quality_summary.mean is not None
    assert table.quality_summary.mean < 0  # lower, so better
    assert "(lower is better)" in table.to_text()


def test_records_that_know_no_bytes_are_compared_by_bits_a_pixel() -> None:
    published = [dataclasses.replace(r, bytes=0) for r in suite([0.5])]
    assert bd_rate(published).rate_summary.mean == pytest.approx(-50)


def test_failed_records_leave_gaps() -> None:
    records = suite([0.5])
    records[0] = dataclasses.replace(records[0], error="killed", bytes=0, scores={})
    found = bd_rate(records)
    assert found.rate_summary.mean == pytest.approx(-50, abs=1)
    assert found.clips[0].rate.overlap is not None
    assert found.clips[0].rate.overlap.low == 33


def test_wrong_questions() -> None:
    with pytest.raises(UsageError, match=r"no codec 'x266'.*'gancodec', 'x265 medium'"):
        bd_rate(suite([0.5]), anchor="x266")
    with pytest.raises(UsageError, match="no metric 'beauty'"):
        bd_rate(suite([0.5]), metric="beauty")
    records = suite([0.5])
    records[0] = dataclasses.replace(records[0], clip_sha256="other")
    with pytest.raises(UsageError, match="two different clips are called 'clip 0'"):
        bd_rate(records)


def test_bootstrap_interval() -> None:
    values = list(np.random.default_rng(1).normal(-20, 10, 40))
    found = summarize(values)
    assert summarize(values) == found
    half = 1.96 * np.std(values) / np.sqrt(40)  # what the normal approximation gives
    assert found.low == pytest.approx(np.mean(values) - half, abs=0.15 * half)
    assert found.high == pytest.approx(np.mean(values) + half, abs=0.15 * half)
    assert (summarize([3.0, 3.0]).low, summarize([3.0, 3.0]).high) == (3, 3)
    assert (summarize([3.0, None]).low, summarize([3.0, None]).clips) == (None, 1)
    assert summarize([None]).mean is None
