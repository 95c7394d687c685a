"""Curves of rate, distortion and perception, made of records.

Every function gives a `Plot`: a notebook shows it, ``savefig`` writes it, and its ``points`` say
which record each marker is. `plot_all` draws what a run has to show.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from gancodec.eval.iso_rates import draw_iso_rates
from gancodec.eval.metrics import METRICS
from gancodec.eval.plot_cost import plot_speed
from gancodec.eval.plot_files import Plot
from gancodec.eval.plot_panels import draw_page
from gancodec.eval.plot_points import MEAN, clip_names, collect
from gancodec.eval.plot_style import drawing, styles_of, title_of
from gancodec.eval.plot_time import plot_over_time
from gancodec.eval.rdp import plot_rdp
from gancodec.eval.records import Record

__all__ = [
    "Plot",
    "plot_all",
    "plot_distortion_perception",
    "plot_over_time",
    "plot_rate",
    "plot_rdp",
    "plot_speed",
]
# What the three views and the plots over time are drawn of: the first of these that was measured.
_DISTORTIONS = ("psnr-y", "psnr-yuv", "ssim", "ms-ssim")
_PERCEPTIONS = ("st-lpips-vgg", "lpips", "dists", "st-lpips-alex", "ssimulacra2", "vmaf")


@drawing()
def plot_rate(
    records: Iterable[Record], metric: str, clip: str | None = None, rate: str = "bpp"
) -> Plot:
    """A metric over the rate, a curve a codec: rate-distortion or rate-perception.

    Args:
        clip: a clip's name; ``"mean"`` for the mean over clips; None for a small plot of each.
        rate: ``bpp``, ``kbps`` or ``bytes``.

    Raises:
        UsageError: no record has both, or there is no such clip or metric.
    """
    records = list(records)
    names = (rate, metric)
    whole = [r for r in records if None not in (r.value(rate), r.value(metric))]
    clips = [clip] if clip else clip_names(whole)
    sets = [collect(records, names, name) for name in clips or [MEAN]]
    return draw_page(sets, names, styles_of(records), f"{title_of(metric)} over rate")


@drawing()
def plot_distortion_perception(
    records: Iterable[Record], distortion: str, perception: str, clip: str = MEAN
) -> Plot:
    """Perception over distortion, a curve a codec, along which the rate rises.

    Dotted lines join the best at a few equal rates, as in `plot_rdp`.

    Raises:
        UsageError: no record has both, or there is no such clip or metric.
    """
    records = list(records)
    found = collect(records, ("bpp", distortion, perception), clip)
    about = "dotted: the best of these codecs at so many bits per luma sample, interpolated"
    noted = replace(found, notes=(*found.notes, about))
    title = f"{title_of(perception)} over {title_of(distortion)}"
    plot = draw_page([noted], (distortion, perception), styles_of(records), title)
    draw_iso_rates(plot.figure.axes[0], found, distortion, perception)
    return plot


def plot_all(
    records: Iterable[Record],
    folder: str | Path,
    anchor: str,
    metrics: Sequence[str] | None = None,
) -> list[Path]:
    """Draw what a run has to show into a folder; the files, three for every plot.

    For every metric: its curve over rate, mean and by clip, and BD-rate over speed. For one metric
    of distortion and one of perception: their plane, the three views, and values over time of
    every clip. What a metric has too few records for is left out.

    Args:
        anchor: label of the codec that BD-rates are against.
        metrics: names; all that the records have, unless given.

    Raises:
        UsageError: there is nothing to plot, or no such anchor or metric.
        InputError: a file cannot be written.
    """
    records = list(records)
    measured = dict.fromkeys(name for record in records for name in record.scores)
    known = {metric.name for metric in METRICS}
    names = list(metrics) if metrics is not None else [name for name in measured if name in known]
    for name in names or ["psnr-y"]:
        collect(records, ("bpp", name))  # says what is missing before anything is written
    several = len(clip_names(records)) > 1
    files: list[Path] = []
    used: Counter[str] = Counter()

    def keep(plot: Plot, *about: str) -> None:
        base = re.sub(r"[^\w.]+", "-", "-".join(about))
        used[base] += 1  # names that differ in signs only would share a file
        slug = base if used[base] == 1 else f"{base}-{used[base]}"
        files.extend(plot.save(folder, slug))

    for name in names:
        keep(plot_rate(records, name), "rate", name, "clips")
        if several:
            keep(plot_rate(records, name, MEAN), "rate", name, "mean")
        speed = plot_speed(records, anchor, name)
        if speed.points:
            keep(speed, "speed", name)
    pair = [next((n for n in order if n in names), None) for order in (_DISTORTIONS, _PERCEPTIONS)]
    if pair[0] and pair[1]:
        keep(plot_rdp(records, pair[0], pair[1]), "rdp", pair[0], pair[1])
        keep(plot_distortion_perception(records, pair[0], pair[1]), "plane", pair[0], pair[1])
    for name in filter(None, pair):
        for clip in clip_names(
            r for r in records if name in r.scores and r.scores[name].values[1:]
        ):
            keep(plot_over_time(records, name, clip), "time", name, clip)
    return files
