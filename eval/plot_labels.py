"""Names at the ends of curves, in place of a legend, none over another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from gancodec.eval.plot_style import FONT_PT, Style
from gancodec.terminal import printable

_SAMPLE_PT = 16.0  # of the line before a label
_GAP_PT = 9.0  # from the axes to it: leaders cross it


@dataclass(frozen=True, slots=True)
class Ending:
    """Where a curve ends, in data coordinates, and what it is called."""

    text: str
    style: Style
    x: float
    y: float
    with_marker: bool = True


def label_width_in(texts: Iterable[str], size_pt: float = FONT_PT) -> float:
    """Width that labels need to the right of the axes."""
    bold = FontProperties(weight="bold")  # the widest that a label may be
    known = [printable(text) for text in texts]
    paths = [TextPath((0, 0), text, size=size_pt, prop=bold) for text in known]
    widths = [path.get_extents().width for path in paths]
    return float(max(widths, default=0) + _GAP_PT + _SAMPLE_PT + 12) / 72


def label_ends(axes: Axes, endings: Sequence[Ending], size_pt: float = FONT_PT) -> None:
    """Name curves to the right of the axes, each as near the height of its end as others allow.

    The limits of the axes must be final. A leader joins end and label.
    """
    box = axes.get_window_extent()
    scale = 72 / axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    width_pt, height_pt = box.width * scale, box.height * scale
    ends = []
    for ending in endings:
        x, y = axes.transAxes.inverted().transform(axes.transData.transform((ending.x, ending.y)))
        ends.append((float(y) * height_pt, float(x) * width_pt, ending))
    ends.sort(key=lambda end: end[0])
    step = min(size_pt * 1.35, height_pt / max(len(ends), 1))
    heights = spread([end[0] for end in ends], step, height_pt)
    for (y, x, ending), height in zip(ends, heights, strict=True):
        left = width_pt + _GAP_PT
        right = left + _SAMPLE_PT
        place: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
        leader = [(x, y), (width_pt, height), (left - 2, height)]
        xs, ys = ([p[i] / (width_pt, height_pt)[i] for p in leader] for i in (0, 1))
        axes.add_line(Line2D(xs, ys, color="#BBBBBB", linewidth=0.6, zorder=1, **place))
        at = height / height_pt
        sample = [left / width_pt, (left + right) / 2 / width_pt, right / width_pt]
        options = ending.style.line_options
        if ending.with_marker:
            options |= {**ending.style.marker_options, "markevery": [1]}
        axes.add_line(Line2D(sample, [at] * 3, **options, **place))
        axes.text(
            (right + 4) / width_pt, at, printable(ending.text),
            transform=axes.transAxes, va="center_baseline", ha="left", fontsize=size_pt,
            fontweight="bold" if ending.style.width_pt > 2 else "normal",
        )  # fmt: skip


def spread(wanted: Sequence[float], step: float, top: float) -> list[float]:
    """Rising positions within 0..top, at least ``step`` apart, near rising ``wanted`` ones.

    Least squares (pool adjacent violators): labels that would collide share their mean place.
    """
    groups: list[list[float]] = []  # [sum of wanted minus offset, count]
    for i, place in enumerate(wanted):
        groups.append([place - i * step, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] >= groups[-1][0] / groups[-1][1]:
            total, count = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += count
    free = [total / count for total, count in groups for _ in range(int(count))]
    highest = max(0.0, top - (len(wanted) - 1) * step)
    return [min(max(base, 0.0), highest) + i * step for i, base in enumerate(free)]
