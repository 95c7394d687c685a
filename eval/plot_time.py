"""How a metric goes from frame to frame, for codecs at about the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from matplotlib.lines import Line2D

from gancodec.errors import UsageError
from gancodec.eval.metrics import find_metric
from gancodec.eval.plot_files import Plot, foot_height_in, new_plot, place_axes, write_texts
from gancodec.eval.plot_labels import Ending, label_ends, label_width_in
from gancodec.eval.plot_points import MEAN, Point, collect
from gancodec.eval.plot_style import FONT_PT, drawing, dress_axis, set_limits, styles_of, title_of
from gancodec.eval.records import Record
from gancodec.terminal import in_bytes

_MARKERS = 9  # a line: as many as tell it from others


@drawing()
def plot_over_time(
    records: Iterable[Record], metric: str, clip: str, bpp: float | None = None
) -> Plot:
    """Values of every frame; of each codec the file nearest to a rate, its size in the label.

    Args:
        bpp: the rate; unless given, the middle one of our files, or of all where none is ours.

    Raises:
        UsageError: no such clip or metric, or no record of it with values of frames.
    """
    records = list(records)
    if clip == MEAN:
        raise UsageError("frames belong to a clip: name one")
    if find_metric(metric).per == "clip":
        raise UsageError(f"{metric} has one value a clip and none a frame; choose another metric")
    framed = [r for r in records if metric in r.scores and len(r.scores[metric].values) > 1]
    if records and not framed:
        raise UsageError(f"no record has values of {metric} for frames; measure it")
    found = collect(framed, ("bpp", metric), clip)
    styles = styles_of(records)
    if bpp is None:
        everyone = [p for curve in found.curves for p in curve.points]
        own = [p for p in everyone if p.records[0].kind == "gvc"]
        bpp = median(point.values[0] for point in own or everyone)
    nearest = [min(c.points, key=lambda p: _distance(p, bpp)) for c in found.curves]
    labels = [f"{p.records[0].codec}, {_size_of(p.records[0])}" for p in nearest]
    across, up = 7.0, 3.4
    width = 0.75 + across + label_width_in(labels)
    foot = foot_height_in(found.notes, width)
    plot = new_plot(width, foot + 0.55 + up + 0.4)
    axes = place_axes(plot, 0.75, foot + 0.55, across, up)
    first = 1 if find_metric(metric).per == "pair" else 0
    endings = []
    for point, label in reversed(list(zip(nearest, labels, strict=True))):  # ours on top
        record = point.records[0]
        score, style = record.scores[metric], styles[record.codec]
        frames = [first + i * score.every for i in range(len(score.values))]
        gid = ""  # one line is one record and has one id; the CSV has every value
        for place in zip(frames, score.values, strict=True):
            gid = plot.note(("frame", metric), place, point, gid=gid)
        step = max(1, len(frames) // _MARKERS)
        options = {**style.line_options, **style.marker_options, "markevery": step}
        axes.add_line(Line2D(frames, score.values, gid=gid, zorder=3, **options))
        endings.append(Ending(label, style, frames[-1], score.values[-1]))
    set_limits(axes, "x")
    axes.set_xlabel("frame", fontsize=FONT_PT)
    dress_axis(axes, "y", metric)
    label_ends(axes, endings)
    title = f"{title_of(metric)} over time, {clip}: files nearest to {bpp:.3g} bits per luma sample"
    write_texts(plot, title, found.notes)
    return plot


def _distance(point: Point, bpp: float) -> float:
    return abs(point.values[0] / bpp - bpp / point.values[0])  # the same for half and for twice


def _size_of(record: Record) -> str:
    return in_bytes(record.bytes) if record.bytes else f"{record.bpp:.3g} bpp"
