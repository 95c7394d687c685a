"""The rate-distortion-perception picture: three views of one space, drawn in line.

Blau, Michaeli: Rethinking Lossy Compression: The Rate-Distortion-Perception Tradeoff (ICML 2019).
A codec is a curve in the space of rate, distortion and perception. As in a technical drawing, it
is seen from three sides, and views beside one another share an axis: rate over distortion above,
perception over distortion below it, perception over rate to the right of that. A decoder with a
realism knob shows one file in many ways: these are joined by arrows, from faithful to realistic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gancodec.eval.iso_rates import draw_iso_rates
from gancodec.eval.plot_files import Plot, foot_height_in, new_plot, place_axes, write_texts
from gancodec.eval.plot_labels import label_ends, label_width_in
from gancodec.eval.plot_panels import draw_curves, endings_of
from gancodec.eval.plot_points import MEAN, CurveSet, Point, clip_names, collect
from gancodec.eval.plot_style import (
    FONT_PT,
    GREY,
    Style,
    drawing,
    dress_axis,
    styles_of,
    title_of,
)
from gancodec.eval.records import Record


@drawing()
def plot_rdp(
    records: Iterable[Record],
    distortion: str = "psnr-y",
    perception: str = "st-lpips-vgg",
    rate: str = "bpp",
    clip: str | None = None,
) -> Plot:
    """Three views of rate, distortion and perception; see the module.

    Curves whose realism lies between 0 and 1 are steps of the arrows and not drawn as curves.
    Dotted lines in the lower left view join, for a few rates, the best that these codecs reach at
    that rate, interpolated between their points: what no other codec beats on both axes.

    Args:
        distortion, perception: two metrics of the records.
        rate: ``bpp``, ``kbps`` or ``bytes``.
        clip: a clip's name; the mean over clips unless given (with one clip, that one).

    Raises:
        UsageError: no record has all three, or there is no such clip or metric.
    """
    records = list(records)
    names = clip_names(records)
    everything = collect(
        records, (rate, distortion, perception), clip or (names[0] if len(names) == 1 else MEAN)
    )
    paths = realism_paths(everything)
    inner = {id(point) for path in paths for point in path[1:-1]}
    shown = replace(
        everything,
        curves=tuple(c for c in everything.curves if not all(id(p) in inner for p in c.points)),
    )
    steps = [p for c in everything.curves if c not in shown.curves for p in c.points]
    styles = styles_of(records)
    across, up, side, left, gap = 4.3, 3.3, 2.5, 0.8, 0.35
    width = left + across + gap + across * 0.75 + label_width_in(c.codec for c in shown.curves)
    below = 0.6 + foot_height_in(everything.notes, width)
    plot = new_plot(width, below + up + gap + side + 0.45)
    views = {
        (distortion, rate): place_axes(plot, left, below + up + gap, across, side),
        (distortion, perception): place_axes(plot, left, below, across, up),
        (rate, perception): place_axes(plot, left + across + gap, below, across * 0.75, up),
    }
    top, middle, last = views.values()
    for axes, view in zip(views.values(), views, strict=True):
        panel = f"{view[1]} over {view[0]}"
        draw_curves(plot, axes, shown, view, styles, panel)
        for point in steps:
            plot.mark(
                axes, view, everything.place(point, view), point, styles[point.records[0].codec],
                panel, marker=".", markersize=3.5, zorder=3,
            )  # fmt: skip
        for path in paths:
            _draw_path(axes, [everything.place(point, view) for point in path], styles, path)
    rates = draw_iso_rates(middle, everything, distortion, perception)
    dress_axis(middle, "x", distortion)
    dress_axis(middle, "y", perception)
    dress_axis(last, "x", rate)
    dress_axis(top, "y", rate)
    for axes, which in ((top, "x"), (last, "y")):
        _share_axis(axes, middle, which)
    for draw in (top.axhline, last.axvline):
        for value in rates:
            draw(value, color=GREY, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1.5)
    label_ends(last, endings_of(last, shown, (rate, perception), styles))
    _write_key(
        plot, bool(paths), rates, rate, (left + across + gap + 0.35, below + up + gap + side)
    )
    title = f"Rate, distortion, perception: {everything.title}"
    write_texts(plot, title, everything.notes)
    return plot


def realism_paths(found: CurveSet) -> list[tuple[Point, ...]]:
    """Points that are one file decoded with rising realism, for every file with two or more."""
    files: dict[str, dict[float, Point]] = {}
    for curve in found.curves:
        for point in curve.points:
            if point.realism is not None:
                files.setdefault(point.file, {}).setdefault(point.realism, point)
    return [
        tuple(point for _, point in sorted(steps.items()))
        for steps in files.values()
        if len(steps) > 1
    ]


def _draw_path(
    axes: Axes,
    places: Sequence[tuple[float, float]],
    styles: Mapping[str, Style],
    path: Sequence[Point],
) -> None:
    colour = styles[path[0].records[0].codec].colour
    axes.add_line(Line2D(*zip(*places, strict=True), color=colour, linewidth=1.0, zorder=3.5))
    axes.annotate(
        "", places[-1], places[-2], zorder=3.5,
        arrowprops={
            "arrowstyle": "-|>", "color": colour, "linewidth": 1.0,
            "shrinkA": 0, "shrinkB": 4, "mutation_scale": 9,
        },
    )  # fmt: skip


def _share_axis(axes: Axes, source: Axes, which: str) -> None:
    """The same limits and ticks as a neighbour's, whose numbers stand for both."""
    if which == "x":
        axes.set_xlim(source.get_xlim())
        axes.set_xticks(source.get_xticks(), labels=[])
        axes.set_xlim(source.get_xlim())
    else:
        axes.set_ylim(source.get_ylim())
        axes.set_yticks(source.get_yticks(), labels=[])
        axes.set_ylim(source.get_ylim())


def _write_key(
    plot: Plot, arrows: bool, rates: Sequence[float], rate: str, corner: tuple[float, float]
) -> None:
    """What arrows and dotted lines mean, in the corner that no view needs."""
    across, up = plot.figure.get_size_inches()
    lines = ["Three views of one space: neighbours share an axis."]
    if arrows:
        lines.append("Arrows: one file, decoded with realism 0 to 1.")
    if rates:
        shown = ", ".join(f"{value:.2g}" for value in rates)
        lines.append(
            f"Dotted: the best of these codecs at equal rate,\n{shown} {title_of(rate)};\n"
            "crosses are interpolated between files."
        )
    plot.figure.text(
        corner[0] / across, corner[1] / up, "\n".join(lines),
        ha="left", va="top", fontsize=FONT_PT - 1, color="#333333", linespacing=1.5,
    )  # fmt: skip
