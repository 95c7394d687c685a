"""Lines of equal rate in the plane of distortion and perception.

The contours of the rate-distortion-perception function (Blau, Michaeli, ICML 2019) as far as some
codecs reach it: at a rate, those that no other beats on both axes. Codecs do not meet in their
rates, so that the points are interpolated over log rate, within each codec's own points.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gancodec.eval.bdrate import at_equal_rate
from gancodec.eval.plot_points import CurveSet
from gancodec.eval.plot_style import FONT_PT, GREY, rises

_ISO_RATES = 3  # low, middle, high


def draw_iso_rates(axes: Axes, found: CurveSet, distortion: str, perception: str) -> list[float]:
    """Draw dotted lines through the best at a few rates; the rates that have such a line."""
    drawn = []
    for rate in _iso_rates(found):
        front = _front_at(found, rate, (rises(distortion), rises(perception)))
        if len(front) < 2:
            continue
        drawn.append(rate)
        xs, ys = zip(*front, strict=True)
        axes.annotate(
            f"{rate:.2g}", front[-1], (4, -3), textcoords="offset points",
            fontsize=FONT_PT - 2, color=GREY, va="top", zorder=5,
        )  # fmt: skip
        axes.add_line(
            Line2D(
                xs, ys, color=GREY, linewidth=1.2, linestyle=(0, (1, 1.5)), zorder=2,
                marker="x", markersize=3.5, markeredgewidth=0.8,
            )
        )  # fmt: skip
    return drawn


def _iso_rates(found: CurveSet) -> list[float]:
    """Low, middle and high among our rates (all rates, where none is ours) that others reach."""
    everyone = [point for curve in found.curves for point in curve.points]
    own = [point for point in everyone if point.records[0].kind == "gvc"]
    rates = sorted({point.values[0] for point in own or everyone})
    known = [rate for rate in rates if len(_kinds_at(found, rate)) > 1]
    if len(known) <= _ISO_RATES:
        return known
    return [known[0], known[len(known) // 2], known[-1]]


def _kinds_at(found: CurveSet, rate: float) -> set[str]:
    return {
        curve.points[0].records[0].kind
        for curve in found.curves
        if curve.points[0].values[0] <= rate <= curve.points[-1].values[0]
    }


def _front_at(found: CurveSet, rate: float, rising: tuple[bool, bool]) -> list[tuple[float, float]]:
    """(distortion, perception) at a rate of the codecs that no other beats on both, in order."""
    places = []
    for curve in found.curves:
        pair = [
            at_equal_rate([(p.values[0], p.values[i + 1]) for p in curve.points], rate, rising[i])
            for i in (0, 1)
        ]
        if pair[0] is not None and pair[1] is not None:
            places.append((pair[0], pair[1]))
    signs = [1 if up else -1 for up in rising]
    gains = [(x * signs[0], y * signs[1]) for x, y in places]
    kept = [
        place
        for place, (x, y) in zip(places, gains, strict=True)
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in gains)
    ]
    return sorted(set(kept))
