"""How plots look: a style for every codec, axes that say their direction.

Each codec has a colour of Okabe and Ito's palette, which colour-blind people can tell apart, and a
line and a marker of its own, so that it survives a grey print. Better is up and right on every
axis of a metric; an axis runs backwards where lower is better, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from gancodec.errors import UsageError
from gancodec.eval.metrics import find_metric
from gancodec.eval.plot_points import own_first
from gancodec.eval.records import Record

# Okabe, Ito: Color Universal Design (2008), with a grey for its yellow, too pale for lines.
_OWN_COLOUR = "#D55E00"
_COLOURS = ("#0072B2", "#000000", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#808080")
_LINES: tuple[Any, ...] = (
    "-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (9, 2)), (0, (4, 1, 1, 1, 1, 1)),
)  # fmt: skip
_MARKERS = "osD^vPXphd*"  # 11 and 6 lines have no common factor: 66 different pairs
GREY = "#666666"
PALE = "#E4E4E4"
FONT_PT = 9.0
_MARGIN = 0.06  # of what is drawn, on either side
_SETTINGS: Any = {  # keys are literals to the type checker
    "svg.hashsalt": "gancodec",  # ids would be random otherwise
    "svg.fonttype": "none",  # text stays text: to be found, copied and read aloud
    "font.family": ["sans-serif"],
    "font.size": FONT_PT,
    "text.parse_math": False,  # names may have a $
}


@dataclass(frozen=True, slots=True)
class Style:
    """How one codec is drawn."""

    colour: str
    line: Any
    marker: str
    hollow: bool
    width_pt: float
    marker_pt: float

    @property
    def line_options(self) -> dict[str, Any]:
        """For `matplotlib.lines.Line2D`."""
        return {"color": self.colour, "linestyle": self.line, "linewidth": self.width_pt}

    @property
    def marker_options(self) -> dict[str, Any]:
        """For `matplotlib.lines.Line2D`."""
        return {
            "marker": self.marker,
            "markersize": self.marker_pt,
            "markeredgecolor": self.colour,
            "markeredgewidth": 1.1,
            "markerfacecolor": "white" if self.hollow else self.colour,
        }


def styles_of(records: Iterable[Record]) -> dict[str, Style]:
    """A style for every codec; ours are thick and of one colour.

    Made of all records of a run, it is the same in all of its plots.

    Raises:
        UsageError: more codecs than there are pairs of a line and a marker.
    """
    records = list(records)
    own = {record.codec for record in records if record.kind == "gvc"}
    labels = own_first(records)
    if len(labels) > len(_LINES) * len(_MARKERS):
        raise UsageError(f"{len(labels)} codecs are too many for one plot; leave some out")
    others = [label for label in labels if label not in own]
    return {
        label: Style(
            colour=_OWN_COLOUR if label in own else _COLOURS[others.index(label) % len(_COLOURS)],
            line=_LINES[i % len(_LINES)],
            marker=_MARKERS[i % len(_MARKERS)],
            hollow=i % 2 == 1,
            width_pt=2.6 if label in own else 1.3,
            marker_pt=6.5 if label in own else 5.0,
        )
        for i, label in enumerate(labels)
    }


@contextmanager
def drawing() -> Iterator[None]:
    """Settings that every plot is made and written with, whatever the user's own are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


# ── Axes ─────────────────────────────────────────────────────────────────────────────────────

_RATES = {
    "bpp": "bits per luma sample",
    "kbps": "bit rate (kbit/s)",
    "bytes": "size of the file (bytes)",
}
_SPEEDS = {"encode_fps": "encoding, frames/s", "decode_fps": "decoding, frames/s"}


def title_of(name: str) -> str:
    """A quantity with its unit."""
    if name in _RATES or name in _SPEEDS:
        return (_RATES | _SPEEDS)[name]
    metric = find_metric(name)
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def rises(name: str) -> bool:
    """Whether higher is better."""
    return name in _SPEEDS or (name not in _RATES and find_metric(name).higher_is_better)


def dress_axis(axes: Axes, which: str, name: str, *, label: bool = True) -> None:
    """Title, scale and direction of the x or y axis for a quantity. Call it after drawing.

    The arrow in the title points to where it gets better; on y axes the title is turned, and so
    is the arrow.
    """
    log = name in _RATES or name in _SPEEDS
    low, high = set_limits(axes, which, log=log, flipped=not log and not rises(name))
    axis = axes.xaxis if which == "x" else axes.yaxis
    if log:
        ratio = high / low
        subs = (1.0,) if ratio > 1000 else (1.0, 2.0, 5.0) if ratio > 12 else (1, 1.5, 2, 3, 5, 7)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(6))
    if label:
        better = "higher is better" if rises(name) else "lower is better"
        title = title_of(name)
        text = f"← {title}, {better}" if log and not rises(name) else f"{title}, {better} →"
        (axes.set_xlabel if which == "x" else axes.set_ylabel)(text, fontsize=FONT_PT)


def set_limits(
    axes: Axes, which: str, *, log: bool = False, flipped: bool = False
) -> tuple[float, float]:
    """Set final limits around what is drawn: low and high, though it be nothing or one point."""
    box = axes.dataLim
    low, high = (float(v) for v in (box.intervalx if which == "x" else box.intervaly))
    if not low <= high or (log and low <= 0):  # nothing was drawn
        low, high = (1.0, 10.0) if log else (-1.0, 1.0)
    if log:
        pad = max((high / low) ** _MARGIN, 1.1)
        low, high = low / pad, high * pad
    else:
        pad = (high - low) * _MARGIN or abs(low) * _MARGIN or 1.0
        low, high = low - pad, high + pad
    ends = (high, low) if flipped else (low, high)
    (axes.set_xlim if which == "x" else axes.set_ylim)(ends)
    if log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    return low, high


@drawing()
def save_svg(figure: Figure, path: Path) -> None:
    """As an SVG whose bytes depend on nothing but what is drawn."""
    figure.savefig(path, format="svg", metadata={"Date": None})
