"""A plot and where its points come from; kept as SVG, PNG, and a CSV with the records' keys."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gancodec.errors import InputError, UsageError
from gancodec.eval.plot_points import Point
from gancodec.eval.plot_style import FONT_PT, GREY, PALE, Style, drawing
from gancodec.terminal import printable

_PNG_DPI = 150
_NOTE_PT = FONT_PT - 2


@dataclass(frozen=True, slots=True)
class PlottedPoint:
    """One marker: its group's id in the SVG, where it stands, and the keys of its records."""

    gid: str
    panel: str
    codec: str
    clip: str
    quality: float
    decode: str
    x_name: str
    x: float
    y_name: str
    y: float
    keys: str


@dataclass(slots=True)
class Plot:
    """A figure and the points in it."""

    figure: Figure
    points: list[PlottedPoint] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    def mark(
        self,
        axes: Axes,
        names: tuple[str, str],
        at: tuple[float, float],
        point: Point,
        style: Style,
        panel: str = "",
        **changes: Any,
    ) -> None:
        """Draw one marker as a group of its own, and remember it."""
        gid = self.note(names, at, point, panel)
        options = {"linestyle": "none", "zorder": 4, **style.marker_options, **changes}
        axes.add_line(Line2D([at[0]], [at[1]], gid=gid, **options))

    def note(
        self,
        names: tuple[str, str],
        at: tuple[float, float],
        point: Point,
        panel: str = "",
        gid: str = "",
    ) -> str:
        """Remember a point; the id for its group in the SVG.

        That is ``r-`` and 12 digits of the record's key, or ``m-`` and the first record's for a
        mean of several. In more panels than one, ``-2``, ``-3`` ... follow, as ids are unique.
        Points of one group are given its ``gid``.
        """
        first = point.records[0]
        if not gid:
            gid = f"{'r' if len(point.records) == 1 else 'm'}-{first.key[:12]}"
            self._seen[gid] = self._seen.get(gid, 0) + 1
            if self._seen[gid] > 1:
                gid = f"{gid}-{self._seen[gid]}"
        clips = dict.fromkeys(record.clip for record in point.records)
        keys = " ".join(record.key for record in point.records)
        decode = json.dumps(first.decode, sort_keys=True)
        self.points.append(
            PlottedPoint(
                gid, panel, first.codec, " ".join(clips), first.quality, decode,
                names[0], at[0], names[1], at[1], keys,
            )
        )  # fmt: skip
        return gid

    def savefig(self, path: str | Path) -> None:
        """Write a picture; its suffix says which kind. Equal plots give equal bytes.

        Raises:
            InputError: it cannot be written.
            UsageError: a suffix that matplotlib does not know.
        """
        path = Path(path)
        _write(path, self._render(path.suffix.removeprefix(".") or "svg"))

    def to_svg(self) -> str:
        """The text of an SVG file."""
        return self._render("svg").decode("utf-8")

    def save(self, folder: str | Path, name: str) -> list[Path]:
        """Write ``name.svg``, ``name.png`` and ``name.csv``; their paths.

        Raises:
            InputError: one cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
        paths = [folder / f"{name}.{suffix}" for suffix in ("svg", "png", "csv")]
        for path in paths[:2]:
            self.savefig(path)
        _write(paths[2], points_to_csv(self.points).encode())
        return paths

    def _repr_svg_(self) -> str:  # what notebooks show
        return self.to_svg()

    def _render(self, kind: str) -> bytes:
        known = self.figure.canvas.get_supported_filetypes()
        if kind not in known:
            raise UsageError(f"there is no picture of kind {kind!r}; use .svg or .png")
        stream = io.BytesIO()
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        with drawing():
            self.figure.savefig(stream, format=kind, dpi=_PNG_DPI, metadata=dates.get(kind))
        return stream.getvalue()


def points_to_csv(points: Sequence[PlottedPoint]) -> str:
    """A line a point; floats with all their digits, keys separated by spaces."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = list(PlottedPoint.__dataclass_fields__)
    writer.writerow(columns)
    writer.writerows([getattr(point, column) for column in columns] for point in points)
    return stream.getvalue()


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def new_plot(width_in: float, height_in: float) -> Plot:
    """An empty figure. Without pyplot: no window system, no global state."""
    figure = Figure(figsize=(width_in, height_in), facecolor="white")
    FigureCanvasAgg(figure)
    return Plot(figure)


def place_axes(plot: Plot, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the lower left corner, with a pale grid."""
    across, up = plot.figure.get_size_inches()
    axes = plot.figure.add_axes((left / across, bottom / up, width / across, height / up))
    axes.grid(True, color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.tick_params(colors="#333333", length=3, labelsize=FONT_PT - 1)
    return axes


def foot_height_in(notes: Sequence[str], width_in: float) -> float:
    """Height to leave free at the bottom for notes."""
    return 0.1 + len(_wrap(notes, width_in)) * _NOTE_PT * 1.25 / 72


def write_texts(plot: Plot, title: str, notes: Sequence[str]) -> None:
    """Title above, notes in small print below."""
    across, up = plot.figure.get_size_inches()
    plot.figure.text(
        0.1 / across, 1 - 0.08 / up, printable(title),
        ha="left", va="top", fontsize=FONT_PT + 2, fontweight="bold",
    )  # fmt: skip
    if notes:
        plot.figure.text(
            0.1 / across, 0.06 / up, "\n".join(_wrap(notes, across)),
            ha="left", va="bottom", fontsize=_NOTE_PT, color=GREY,
        )  # fmt: skip


def _wrap(notes: Sequence[str], width_in: float) -> list[str]:
    characters = int(width_in * 72 / (_NOTE_PT * 0.6))  # DejaVu Sans has 0.55 of its size each
    return [line for note in notes for line in textwrap.wrap(printable(note), characters)]
