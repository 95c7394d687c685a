"""Curves of a report: the plots of `gancodec.eval.curves` as SVG inside the page.

Every marker becomes something that can be pointed at and focused, and says in words what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from gancodec.errors import UsageError
from gancodec.eval.curves import plot_over_time, plot_rate, plot_rdp, plot_speed
from gancodec.eval.metric import Metric
from gancodec.eval.metrics import find_metric
from gancodec.eval.plot_files import Plot, PlottedPoint
from gancodec.eval.plot_points import MEAN
from gancodec.eval.plot_style import styles_of
from gancodec.eval.records import Record
from gancodec.eval.report_tables import escape, metrics_of, number, size

_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)  # XML declaration, document type
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>|<style[^>]*>.*?</style>", re.DOTALL)
_NAMESPACES = re.compile(r'\s+xmlns(:\w+)?="[^"]*"')  # HTML knows them by itself
_EMPTY = re.compile(r"<(\w+)([^<>]*)/>")
_OPENING = re.compile(r'<g id="([^"]+)">')


def curves_html(records: Sequence[Record], anchor: str, notes: list[str]) -> str:
    """All plots, a fold a metric, the first one open; ``notes`` are told what cannot be drawn."""
    complete = [r for r in records if not r.error]
    if not any(r.scores for r in complete):
        return "<p>No record has a metric, so there is nothing to draw.</p>"
    styles = styles_of(complete)
    boxes = "".join(
        f'<label><input type="checkbox" value="{escape(label)}" checked> {escape(label)}</label> '
        for label in styles
    )
    parts = [f'<form class="controls series" aria-label="Codecs to show">{boxes}</form>']
    count = 0
    for title, makers in _wanted(complete, anchor):
        drawn = []
        for make in makers:
            try:
                plot = make()
            except UsageError as error:
                notes.append(f"a plot of {title} is left out: {error}")
                continue
            count += 1
            drawn.append(inline(plot, f"p{count}", complete))
        if drawn:
            is_open = "" if len(parts) > 1 else " open"
            parts.append(
                f"<details{is_open}><summary>{escape(title)}</summary>\n{''.join(drawn)}</details>"
            )
    return "\n".join(parts)


def _wanted(
    records: Sequence[Record], anchor: str
) -> Iterator[tuple[str, list[Callable[[], Plot]]]]:
    """Titles, and what draws the plots below each."""
    metrics = metrics_of(records)
    clips = sorted({r.clip for r in records})
    for metric in metrics:
        makers: list[Callable[[], Plot]] = []
        if len(clips) > 1:
            makers.append(lambda name=metric.name: plot_rate(records, name, MEAN))  # type: ignore[misc]
        makers.append(lambda name=metric.name: plot_rate(records, name))  # type: ignore[misc]
        yield f"{metric.title} over rate", makers
    pair = _distortion_and_perception(metrics)
    if pair is not None:
        title = " and ".join(find_metric(name).title for name in pair)
        yield f"Rate, {title}", [lambda: plot_rdp(records, *pair)]
    chosen = list(pair or (metrics[0].name,))
    if anchor in {r.codec for r in records}:
        makers = [lambda name=name: plot_speed(records, anchor, name) for name in chosen]  # type: ignore[misc]
        yield f"Bytes beside {anchor}, and speed", makers
    framed = [name for name in chosen if find_metric(name).per != "clip"]
    if framed and any(len(s.values) > 1 for r in records for s in r.scores.values()):
        yield (
            "Frame by frame",
            [
                lambda name=name, clip=clip: plot_over_time(records, name, clip)  # type: ignore[misc]
                for name in framed
                for clip in clips
            ],
        )


def _distortion_and_perception(metrics: Sequence[Metric]) -> tuple[str, str] | None:
    """The first metric of samples, and the one for perception that is to decide, else the first."""
    from gancodec.eval.fidelity import FIDELITY

    known = {metric.name for metric in FIDELITY}
    distortion = [m for m in metrics if m.name in known]
    perception = [m for m in metrics if m.name not in known]
    perception.sort(key=lambda m: not m.judges)
    if not distortion or not perception:
        return None
    return distortion[0].name, perception[0].name


def inline(plot: Plot, prefix: str, records: Sequence[Record]) -> str:
    """A plot as part of a page that holds others: ids begin with ``prefix``, no namespace, no link.

    Groups of points get the class ``point`` and a text; all that belongs to one codec says so.
    """
    labels = list(styles_of(records))
    _tag_series(plot, records)
    svg = _NAMESPACES.sub("", _METADATA.sub("", _PROLOGUE.sub("", plot.to_svg())))
    svg = _EMPTY.sub(r"<\1\2></\1>", svg)  # as HTML would read it
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    by_key = {record.key: record for record in records}
    points: dict[str, list[PlottedPoint]] = {}
    for point in plot.points:
        points.setdefault(f"{prefix}-{point.gid}", []).append(point)
    first = True

    def dress(match: re.Match[str]) -> str:
        nonlocal first
        gid = match[1]
        if gid in points:
            point = points[gid][0]
            text = describe(points[gid], by_key)
            tab = 0 if first else -1
            first = False
            kind = "point" if len(points[gid]) == 1 else "point curve"
            return (
                f'<g id="{gid}" class="{kind}" role="img" tabindex="{tab}" '
                f'data-codec="{escape(point.codec)}" aria-label="{text}">'
            )
        series = re.fullmatch(rf"{prefix}-series-(\d+)-\d+", gid)
        if series:
            return f'<g id="{gid}" data-codec="{escape(labels[int(series[1])])}">'
        return match[0]

    return f'<div class="plot">{_OPENING.sub(dress, svg)}</div>\n'


def _tag_series(plot: Plot, records: Sequence[Record]) -> None:
    """Give lines and names of codecs ids that say which codec's they are, by colour and text."""
    styles = styles_of(records)
    colours = [style.colour for style in styles.values()]
    count = 0
    for axes in plot.figure.axes:
        for i, (label, style) in enumerate(styles.items()):
            known = colours.count(style.colour) == 1
            lines = [x for x in axes.lines if known and x.get_color() == style.colour]
            for artist in (*lines, *(x for x in axes.texts if x.get_text() == label)):
                if artist.get_gid() is None:
                    artist.set_gid(f"series-{i}-{count}")
                    count += 1


def describe(points: Sequence[PlottedPoint], by_key: dict[str, Record]) -> str:
    """What a marker stands for, a line a fact, as an attribute's value."""
    point = points[0]
    keys = point.keys.split()
    record = by_key[keys[0]]
    lines = [point.codec]
    if len(keys) == 1:
        lines += [
            f"{point.clip}, quality {point.quality:g}",
            f"{size(record.bytes)} bytes, {record.bpp:.4f} bits a pixel, {record.kbps:.1f} kbit/s",
        ]
    else:
        lines.append(f"mean of {len(keys)} records: {point.clip}")
        if point.quality == point.quality:
            lines.append(f"quality {point.quality:g}")
    names = [(point.x_name, point.x), (point.y_name, point.y)]
    lines += [text for name, value in names if (text := _quantity(name, value, points))]
    shown = ", ".join(key[:12] for key in keys[:4]) + (" …" if len(keys) > 4 else "")
    lines.append(f"record {shown}" if len(keys) == 1 else f"records {shown}")
    return "&#10;".join(escape(line) for line in lines)


def _quantity(name: str, value: float, points: Sequence[PlottedPoint]) -> str:
    if name == "frame":
        return f"{len(points)} values"
    if len(points) > 1:
        return f"{find_metric(name).title} of every frame"
    if name in ("bpp", "kbps", "bytes"):
        units = {"bpp": "bits a pixel", "kbps": "kbit/s", "bytes": "bytes"}
        return f"{value:.4g} {units[name]}"
    speeds = {"encode_fps": "frames/s encoded", "decode_fps": "frames/s decoded"}
    if name in speeds:
        return f"{value:.3g} {speeds[name]}"
    try:
        metric = find_metric(name)
    except UsageError:
        return f"{name} {number(value)}"
    return f"{metric.title} {number(value, metric)}{' ' if metric.unit else ''}{metric.unit}"
