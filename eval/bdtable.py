"""Bjøntegaard differences as results: of a clip, over clips, and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gancodec.terminal import printable, table

_THIN = 0.5


@dataclass(frozen=True, slots=True)
class Overlap:
    """The interval that both curves reach: of the metric for rates, of the rate for qualities.

    The shares say how much of either curve's own range (of the logarithm, for rates) it covers.
    """

    low: float
    high: float
    anchor_share: float
    test_share: float

    @property
    def is_thin(self) -> bool:
        """Whether it covers less than half of either curve."""
        return max(self.anchor_share, self.test_share) < _THIN


@dataclass(frozen=True, slots=True)
class Delta:
    """What both differences have in common.

    ``overlap`` and the number are None where there is none, and ``reason`` says why. Dropped are
    points that cost more than another one and show no better value, or stand for infinity.
    """

    overlap: Overlap | None
    anchor_dropped: int
    test_dropped: int
    reason: str


@dataclass(frozen=True, slots=True)
class BdRate(Delta):
    """Mean difference in rate at equal quality; -50 means half the bytes."""

    percent: float | None


@dataclass(frozen=True, slots=True)
class BdQuality(Delta):
    """Mean difference of the metric at equal rate, test minus anchor, in the metric's unit."""

    difference: float | None


@dataclass(frozen=True, slots=True)
class ClipDelta:
    """Both differences of one clip."""

    clip: str
    rate: BdRate
    quality: BdQuality


@dataclass(frozen=True, slots=True)
class Summary:
    """Arithmetic mean over the clips that have a number, each counting the same.

    ``low`` and ``high`` bound the central 95 % of means of resampled clips (percentile bootstrap);
    None with fewer than two clips.
    """

    mean: float | None
    low: float | None
    high: float | None
    clips: int
    of_clips: int


@dataclass(frozen=True, slots=True)
class BdTable:
    """What `bd_rate` found. ``rate`` is what was compared: bytes of files, bpp or kbps."""

    anchor: str
    test: str
    metric: str
    title: str
    unit: str
    higher_is_better: bool
    rate: str
    clips: tuple[ClipDelta, ...]
    rate_summary: Summary
    quality_summary: Summary

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """A table of the clips, the means, and the clips that have no number."""
        unit = f" {self.unit}" if self.unit else ""
        direction = "higher" if self.higher_is_better else "lower"
        header = (
            "clip",
            "BD-rate",
            f"BD-{self.title}",
            "overlap",
            "of anchor",
            "of test",
            "dropped",
        )
        rows: list[Sequence[str]] = [header]
        rows += [self._row(clip, unit) for clip in self.clips]
        means = self.rate_summary.mean, self.quality_summary.mean
        rows.append(("mean", _percent(means[0]), _number(means[1], unit), "", "", "", ""))
        lines = [
            f"{printable(self.test)} against {printable(self.anchor)} by {self.title}{unit and ','}"
            f"{unit} ({direction} is better): {self.rate} at equal {self.title}, "
            f"{self.title} at equal {self.rate}",
            table(rows),
            _sentence("BD-rate", self.rate_summary, " %"),
            _sentence(f"BD-{self.title}", self.quality_summary, unit),
        ]
        for clip in self.clips:
            for name, delta in (("BD-rate", clip.rate), (f"BD-{self.title}", clip.quality)):
                if delta.reason:
                    lines.append(f"no {name} for {printable(clip.clip)}: {delta.reason}")
                elif delta.overlap and delta.overlap.is_thin:
                    lines.append(
                        f"little to go by: the {name} of {printable(clip.clip)} is of less than "
                        f"{_share(_THIN)} of either curve"
                    )
        return "\n".join(lines)

    def _row(self, clip: ClipDelta, unit: str) -> Sequence[str]:
        both = clip.rate.overlap
        span = f"{both.low:.4g} to {both.high:.4g}{unit}" if both else "–"
        shares = (_share(both.anchor_share), _share(both.test_share)) if both else ("–", "–")
        dropped = f"{clip.rate.anchor_dropped} + {clip.rate.test_dropped}"
        percent, difference = _percent(clip.rate.percent), _number(clip.quality.difference, unit)
        return (printable(clip.clip), percent, difference, span, *shares, dropped)


def _sentence(name: str, summary: Summary, unit: str) -> str:
    over = f"mean over {summary.clips} of {summary.of_clips} clips"
    if summary.mean is None:
        return f"{name}: no clip has one"
    if summary.low is None or summary.high is None:
        return f"{name}: {over}; no interval: it takes two clips at least"
    return (
        f"{name}: {over}, arithmetic; 95 % interval by bootstrap over the clips: "
        f"{summary.low:+.4g} to {summary.high:+.4g}{unit}"
    )


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f} %"


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:+.4g}{unit}"
