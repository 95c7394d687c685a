"""What rate costs in time: BD-rate against the speed of encoding and of decoding."""

from __future__ import annotations

from collections.abc import Iterable

from gancodec.errors import UsageError
from gancodec.eval.bdrate import bd_rate
from gancodec.eval.metrics import find_metric
from gancodec.eval.plot_files import Plot, foot_height_in, new_plot, place_axes, write_texts
from gancodec.eval.plot_labels import Ending, label_ends, label_width_in
from gancodec.eval.plot_points import Point, own_first
from gancodec.eval.plot_style import FONT_PT, drawing, dress_axis, set_limits, styles_of
from gancodec.eval.records import Record

_SECONDS = {"encode_fps": "encode_seconds", "decode_fps": "decode_seconds"}


@drawing()
def plot_speed(records: Iterable[Record], anchor: str, metric: str) -> Plot:
    """BD-rate of every codec over its frames a second: encoding left, decoding right.

    Speeds are all frames of a codec's records divided by all their seconds.

    Raises:
        UsageError: no such codec or metric.
    """
    records = list(records)
    title = find_metric(metric).title
    styles, labels = styles_of(records), own_first(records)
    if anchor not in styles:
        raise UsageError(f"there is no codec {anchor!r} in the records; there are: {labels}")
    percents: dict[str, float] = {}
    notes = []
    for label in labels:
        mean = bd_rate(records, anchor=anchor, test=label, metric=metric).rate_summary
        if mean.mean is None:
            notes.append(f"{label} has no BD-rate")
            continue
        percents[label] = mean.mean
        if mean.clips < mean.of_clips:
            notes.append(f"{label}: mean over {mean.clips} of {mean.of_clips} clips")
    across, up, left = 3.6, 3.6, 0.75
    width = left + across + label_width_in(labels)
    machines = {str(sorted(r.machine.items())) for r in records if r.codec in percents}
    if len(machines) > 1:
        notes.append(f"times are of {len(machines)} machines, which may not be compared")
    foot = foot_height_in(notes, 2 * width)
    plot = new_plot(2 * width, foot + 0.55 + up + 0.4)
    for i, (speed, seconds) in enumerate(_SECONDS.items()):
        axes = place_axes(plot, i * width + left, foot + 0.55, across, up)
        axes.axhline(0, color="#888888", linewidth=0.8, zorder=2)
        endings = []
        for label, percent in percents.items():
            timed = tuple(r for r in records if r.codec == label and r.value(speed) is not None)
            if not timed:
                continue
            fps = sum(r.frames for r in timed) / sum(getattr(r, seconds) for r in timed)
            place = (fps, percent)
            names = (speed, f"bd-rate {metric}")
            plot.mark(axes, names, place, Point(place, timed), styles[label], speed)
            endings.append(Ending(label, styles[label], *place))
        dress_axis(axes, "x", speed)
        set_limits(axes, "y", flipped=True)
        if i == 0:
            text = f"BD-rate at equal {title} (%), lower is better →"
            axes.set_ylabel(text, fontsize=FONT_PT)
        label_ends(axes, endings)
    write_texts(plot, f"BD-rate against {anchor}, and speed", notes)
    return plot
