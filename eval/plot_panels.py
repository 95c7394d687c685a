"""Panels with a curve for every codec: one, or small ones on a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gancodec.eval.plot_files import Plot, foot_height_in, new_plot, place_axes, write_texts
from gancodec.eval.plot_labels import Ending, label_ends, label_width_in
from gancodec.eval.plot_points import CurveSet
from gancodec.eval.plot_style import FONT_PT, Style, dress_axis
from gancodec.terminal import printable

_SMALL_PT = FONT_PT - 1.5
_LEFT_IN, _BELOW_IN, _ABOVE_IN, _TITLE_IN = 0.75, 0.62, 0.3, 0.32


def draw_curves(
    plot: Plot,
    axes: Axes,
    found: CurveSet,
    names: tuple[str, str],
    styles: Mapping[str, Style],
    panel: str = "",
) -> None:
    """Lines with a marker for every point, ours on top."""
    for i, curve in enumerate(found.curves):
        style, above = styles[curve.codec], 0.01 * (len(found.curves) - i)
        places = [found.place(point, names) for point in curve.points]
        xs, ys = zip(*places, strict=True)
        axes.add_line(Line2D(xs, ys, zorder=3 + above, **style.line_options))
        for point, place in zip(curve.points, places, strict=True):
            plot.mark(axes, names, place, point, style, panel, zorder=4 + above)


def endings_of(
    axes: Axes, found: CurveSet, names: tuple[str, str], styles: Mapping[str, Style]
) -> list[Ending]:
    """The rightmost point of every curve, once the limits of the axes are final."""
    endings = []
    for curve in found.curves:
        places = [found.place(point, names) for point in curve.points]
        x, y = max(places, key=lambda place: float(axes.transData.transform(place)[0]))
        endings.append(Ending(curve.codec, styles[curve.codec], x, y))
    return endings


def draw_page(
    sets: Sequence[CurveSet],
    names: tuple[str, str],
    styles: Mapping[str, Style],
    title: str,
) -> Plot:
    """A large panel of one set of curves, or a small one for each of several, in rows."""
    single = len(sets) == 1
    columns = 1 if single else 2 if len(sets) <= 4 else 3
    rows = math.ceil(len(sets) / columns)
    across, up, size = (5.4, 3.9, FONT_PT) if single else (3.1, 2.3, _SMALL_PT)
    right = label_width_in([curve.codec for s in sets for curve in s.curves], size)
    width, height = _LEFT_IN + across + right, _BELOW_IN + up + (0 if single else _ABOVE_IN)
    notes = list(dict.fromkeys(note for found in sets for note in found.notes))
    foot = foot_height_in(notes, columns * width)
    plot = new_plot(columns * width, rows * height + _TITLE_IN + foot)
    top = plot.figure.get_size_inches()[1] - _TITLE_IN
    for i, found in enumerate(sets):
        row, column = divmod(i, columns)
        left, bottom = column * width + _LEFT_IN, top - (row + 1) * height + _BELOW_IN
        axes = place_axes(plot, left, bottom, across, up)
        if not single:
            axes.set_title(printable(found.title), fontsize=FONT_PT, loc="left")
        draw_curves(plot, axes, found, names, styles, "" if single else found.title)
        dress_axis(axes, "x", names[0], label=i + columns >= len(sets))
        dress_axis(axes, "y", names[1], label=column == 0)
        label_ends(axes, endings_of(axes, found, names, styles), size)
    write_texts(plot, f"{title}, {sets[0].title if single else 'by clip'}", notes)
    return plot
