"""Bjøntegaard differences: how many bytes one codec needs for the quality of another, and back.

G. Bjøntegaard: Calculation of average PSNR differences between RD-curves (ITU-T VCEG-M33, 2001),
with the piecewise cubic Hermite interpolation (PCHIP) of the JCT-VC and JVET test conditions in
place of its one polynomial. The mean difference of log rate is taken over the interval of quality
that both curves reach; nothing is extrapolated, and every number comes with that interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gancodec.errors import UsageError
from gancodec.eval.bdtable import BdQuality, BdRate, BdTable, ClipDelta, Overlap, Summary
from gancodec.eval.fidelity import PSNR_OF_EQUAL_DB
from gancodec.eval.metric import Metric
from gancodec.eval.metrics import find_metric
from gancodec.eval.records import Record, curves

Points = Sequence[tuple[float, float]]  # (rate, value of the metric)
_Values = npt.NDArray[np.float64]

# VCEG-M33 fits a cubic through four points, and the test conditions of HEVC and VVC code at four:
# with fewer, the curve is mostly the interpolation's own.
LEAST_POINTS = 4
_RESAMPLES = 10_000
_SEED = 20010404  # any will do, always the same one: an interval must not change from run to run
_LIKE_ZERO = 1e-12  # of a curve's range: an overlap that is only rounding


def bd_rate_of_points(
    anchor: Points, test: Points, higher_is_better: bool, saturated: float | None = None
) -> BdRate:
    """BD-rate of one clip from (rate, value) pairs in any order.

    Args:
        anchor, test: rates above 0, in one unit; values in the metric's own numbers.
        higher_is_better: the metric's direction.
        saturated: values from here on stand for "no difference" and are left out.

    Raises:
        UsageError: a rate that is not above 0, or a number that is not finite.
    """
    sign = 1.0 if higher_is_better else -1.0
    (ra, qa), (rt, qt) = (_envelope(points, sign, saturated) for points in (anchor, test))
    dropped = len(anchor) - len(ra), len(test) - len(rt)
    overlap, reason, mean = _mean_difference(
        (qa, np.log(ra)), (qt, np.log(rt)), lambda low, high: sorted((sign * low, sign * high))
    )
    percent = None if mean is None else 100 * float(np.expm1(mean))
    return BdRate(overlap, *dropped, reason, percent)


def bd_quality_of_points(
    anchor: Points, test: Points, higher_is_better: bool, saturated: float | None = None
) -> BdQuality:
    """Mean difference of the metric at equal rate (BD-PSNR, for PSNR); as `bd_rate_of_points`."""
    sign = 1.0 if higher_is_better else -1.0
    (ra, qa), (rt, qt) = (_envelope(points, sign, saturated) for points in (anchor, test))
    dropped = len(anchor) - len(ra), len(test) - len(rt)
    overlap, reason, mean = _mean_difference(
        (np.log(ra), sign * qa),
        (np.log(rt), sign * qt),
        lambda low, high: [float(np.exp(low)), float(np.exp(high))],
    )
    return BdQuality(overlap, *dropped, reason, mean)


def at_equal_rate(points: Points, rate: float, higher_is_better: bool) -> float | None:
    """The metric at a rate, by PCHIP over log rate; None beyond the curve: nothing is extrapolated.

    Raises:
        UsageError: as `bd_rate_of_points`.
    """
    sign = 1.0 if higher_is_better else -1.0
    rates, quality = _envelope(points, sign, None)
    if not len(rates) or not rates[0] <= rate <= rates[-1]:
        return None
    if len(rates) == 1:
        return float(sign * quality[0])
    return float(sign * _interpolate(np.log(rates), quality)(np.log(rate)))


def _envelope(points: Points, sign: float, saturated: float | None) -> tuple[_Values, _Values]:
    """Rates and qualities (higher is better) that rise together: the upper envelope.

    A point stays if no other has at most its rate and at least its quality. Encoders do fall back
    now and then; nobody would use such a setting, and a curve that turns back has no rate for a
    quality. Of equal points the first counts.
    """
    array = np.array(points, np.float64).reshape(-1, 2)
    if not np.isfinite(array).all() or not (array[:, 0] > 0).all():
        raise UsageError("a curve needs finite values and rates above 0; check the records")
    if saturated is not None:
        array = array[array[:, 1] < saturated]
    rates, quality = array[:, 0], sign * array[:, 1]
    order = np.lexsort((-quality, rates))
    best = -np.inf
    kept = []
    for index in order:
        if quality[index] > best:
            best = quality[index]
            kept.append(index)
    return rates[kept], quality[kept]


def _interpolate(x: _Values, y: _Values) -> Any:
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(x, y)


def _mean_difference(
    anchor: tuple[_Values, _Values],
    test: tuple[_Values, _Values],
    show: Callable[[float, float], Sequence[float]],
) -> tuple[Overlap | None, str, float | None]:
    """Mean of test minus anchor where both have values, or the reason why there is none.

    ``show`` turns the ends of an interval into the numbers that a reader knows.
    """
    (a, _), (t, _) = anchor, test
    for name, x in (("anchor", a), ("test", t)):
        if len(x) < LEAST_POINTS:
            return None, f"{name} has {len(x)} usable points, {LEAST_POINTS} are needed", None
    low, high = float(max(a[0], t[0])), float(min(a[-1], t[-1]))
    spans = [float(x[-1] - x[0]) for x in (a, t)]
    if high - low <= _LIKE_ZERO * min(spans):
        ranges = ["{:.4g} to {:.4g}".format(*show(float(x[0]), float(x[-1]))) for x in (a, t)]
        return None, f"no overlap: anchor {ranges[0]}, test {ranges[1]}", None
    below, above = (float(_interpolate(*line).integrate(low, high)) for line in (anchor, test))
    shares = [(high - low) / span for span in spans]
    return Overlap(*show(low, high), *shares), "", (above - below) / (high - low)


def bd_rate(
    records: Iterable[Record],
    anchor: str = "x265 medium",
    test: str = "gancodec",
    metric: str = "psnr-y",
    rate: str = "bytes",
) -> BdTable:
    """Compare two codecs of a run, clip by clip and on average.

    Per clip, ``bytes``, ``bpp`` and ``kbps`` differ by a factor and give the same percentage, so
    another stands in where records of a clip do not know theirs, as published ones do not know
    bytes. A clip that one of the codecs has no point for is listed, and not averaged.

    Args:
        anchor, test: labels of the codecs; negative percentages say that ``test`` needs less.
        metric: name of the metric that is held equal.

    Raises:
        UsageError: no such codec or metric, or clips of one name that are different pictures.
    """
    chosen = find_metric(metric)
    records = list(records)
    labels = sorted({record.codec for record in records})
    for label in (anchor, test):
        if label not in labels:
            raise UsageError(f"there is no codec {label!r} in the records; there are: {labels}")
    ours = [record for record in records if record.codec in (anchor, test)]
    check_same_pictures(ours)
    saturated = PSNR_OF_EQUAL_DB if chosen.unit == "dB" else None
    deltas = []
    for name in sorted({record.clip for record in ours}):
        clip = [record for record in ours if record.clip == name]
        found = curves(clip, _known_rate(clip, rate), metric)
        a, t = ([(x, y) for x, y, _ in found.get((c, name), []) if x] for c in (anchor, test))
        deltas.append(
            ClipDelta(
                name,
                bd_rate_of_points(a, t, chosen.higher_is_better, saturated),
                bd_quality_of_points(a, t, chosen.higher_is_better, saturated),
            )
        )
    return _table_of(chosen, anchor, test, rate, deltas)


def _known_rate(records: Sequence[Record], wanted: str) -> str:
    for rate in (wanted, "bpp", "kbps"):
        if all(record.value(rate) for record in records if not record.error):
            return rate
    return wanted


def check_same_pictures(records: Iterable[Record]) -> None:
    """Check that clips of one name have one hash, where they have any.

    Raises:
        UsageError: naming the first clip that is two.
    """
    hashes: dict[str, str] = {}
    for record in records:
        if record.clip_sha256 and hashes.setdefault(record.clip, record.clip_sha256) != (
            record.clip_sha256
        ):
            raise UsageError(
                f"two different clips are called {record.clip!r} in the records; compare records "
                "of the same frames and size only"
            )


def _table_of(
    metric: Metric, anchor: str, test: str, rate: str, deltas: Sequence[ClipDelta]
) -> BdTable:
    return BdTable(
        anchor=anchor,
        test=test,
        metric=metric.name,
        title=metric.title,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        rate=rate,
        clips=tuple(deltas),
        rate_summary=summarize([delta.rate.percent for delta in deltas]),
        quality_summary=summarize([delta.quality.difference for delta in deltas]),
    )


def summarize(values: Sequence[float | None]) -> Summary:
    """Mean and bootstrap interval of the numbers among ``values``."""
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return Summary(None, None, None, 0, len(values))
    low = high = None
    if len(known) >= 2:
        rng = np.random.default_rng(_SEED)
        means = known[rng.integers(0, len(known), (_RESAMPLES, len(known)))].mean(axis=1)
        low, high = (float(edge) for edge in np.percentile(means, (2.5, 97.5)))
    return Summary(float(known.mean()), low, high, len(known), len(values))
