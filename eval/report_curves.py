"""Curves of a report: the plots of `gancodec.eval.curves` as SVG inside the page.

Every marker becomes something that can be pointed at and focused, and says in words what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from matplotlib.artist import Artist

from gancodec.errors import UsageError
from gancodec.eval.curves import (
    plot_distortion_perception,
    plot_over_time,
    plot_rate,
    plot_rdp,
    plot_speed,
)
from gancodec.eval.fidelity import FIDELITY
from gancodec.eval.metric import Metric
from gancodec.eval.metrics import find_metric
from gancodec.eval.plot_files import Plot, PlottedPoint
from gancodec.eval.plot_points import MEAN
from gancodec.eval.plot_style import styles_of
from gancodec.eval.records import Record
from gancodec.eval.report_tables import escape, metrics_of, number, size

_PERCEPTIONS = ("st-lpips-vgg", "lpips", "dists", "st-lpips-alex", "ssimulacra2", "vmaf")
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)  # XML declaration, document type
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>|<style[^>]*>.*?</style>", re.DOTALL)
_NAMESPACES = re.compile(r'\s+xmlns(:\w+)?="[^"]*"')  # HTML knows them by itself
_FONTS = re.compile(r"font-family: [^;]*; ")  # a list of ten names at every text
_INDENT = re.compile(r"\n\s*")
_PLACES = re.compile(r' (?:x|y|d|transform)="[^"]*"')
_DIGITS = re.compile(r"(\.\d\d)\d+")  # of a point, 1/72 inch
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
        yield (
            f"Rate, {title}",
            [
                lambda: plot_rdp(records, *pair),
                lambda: plot_distortion_perception(records, *pair),
            ],
        )
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
    """The first metric of samples, and the best one for perception, that were measured."""
    measured = [metric.name for metric in metrics]
    distortion = [metric.name for metric in FIDELITY if metric.name in measured]
    perception = [name for name in _PERCEPTIONS if name in measured]
    return (distortion[0], perception[0]) if distortion and perception else None


def inline(plot: Plot, prefix: str, records: Sequence[Record]) -> str:
    """A plot as part of a page that holds others: ids begin with ``prefix``, no namespace, no link.

    Groups of points get the class ``point`` and a text; all that belongs to one codec says so.
    """
    labels = list(styles_of(records))
    _tag_series(plot, records)
    svg = _NAMESPACES.sub("", _METADATA.sub("", _PROLOGUE.sub("", plot.to_svg())))
    svg = _INDENT.sub("\n", _FONTS.sub("", svg))
    svg = _PLACES.sub(lambda match: _DIGITS.sub(r"\1", match[0]), svg)
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
    """Give lines and names of codecs ids that say which codec's they are.

    A line is of the codec whose points it joins, or whose marker it shows beside the name.
    """
    styles = styles_of(records)
    places: dict[str, set[tuple[float, float]]] = {label: set() for label in styles}
    for point in plot.points:
        places[point.codec].add((point.x, point.y))
    looks = {f"{style.colour} {style.marker}": label for label, style in styles.items()}
    labels = list(styles)
    count = 0
    for axes in plot.figure.axes:
        owners: list[tuple[Artist, str | None]] = [(text, text.get_text()) for text in axes.texts]
        for line in axes.lines:
            ends = {(x, y) for x, y in np.asarray(line.get_xydata()).tolist()}
            joined = [label for label, known in places.items() if ends and ends <= known]
            look = looks.get(f"{line.get_color()} {line.get_marker()}")
            owners.append((line, joined[0] if len(joined) == 1 else look))
        for artist, label in owners:
            if label in styles and artist.get_gid() is None:
                artist.set_gid(f"series-{labels.index(label)}-{count}")
                count += 1


def describe(points: Sequence[PlottedPoint], by_key: dict[str, Record]) -> str:
    """What a marker stands for, a line a fact, as an attribute's value."""
    point = points[0]
    keys = point.keys.split()
    record = by_key[keys[0]]
    lines, told = [point.codec], [""]
    if len(keys) == 1:
        told = ["bpp", "kbps", "bytes"]
        lines += [
            f"{point.clip}, quality {point.quality:g}",
            f"{size(record.bytes)} bytes, {record.bpp:.4f} bits a pixel, {record.kbps:.1f} kbit/s",
        ]
    else:
        lines.append(f"mean of {len(keys)} records: {point.clip}")
        if point.quality == point.quality:
            lines.append(f"quality {point.quality:g}")
    names = [(point.x_name, point.x), (point.y_name, point.y)]
    lines += [_quantity(name, value, points) for name, value in names if name not in told]
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
