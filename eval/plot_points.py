"""From records to the points of a plot: of one clip, or means over clips at equal settings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gancodec.errors import UsageError
from gancodec.eval.bdrate import check_same_pictures
from gancodec.eval.records import Record

MEAN = "mean"  # in place of a clip's name


@dataclass(frozen=True, slots=True)
class Point:
    """Values of the quantities that were asked for, and the records they are of.

    More than one record: a mean over clips, at equal quality and settings.
    """

    values: tuple[float, ...]
    records: tuple[Record, ...]

    @property
    def realism(self) -> float | None:
        """What the decoder was told, if anything."""
        found = self.records[0].decode.get("realism")
        return None if found is None else float(found)

    @property
    def file(self) -> str:
        """Equal for points that are one file, or the same set of files, decoded in other ways."""
        first = self.records[0]
        if all(r.file_sha256 for r in self.records):
            return " ".join(sorted(r.file_sha256 for r in self.records))
        about = (first.kind, first.quality, first.settings, sorted(r.clip for r in self.records))
        return json.dumps(about, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one codec by their first value, which is the rate."""

    codec: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class CurveSet:
    """Curves of one clip, or of the mean over some.

    Attributes:
        names: the quantities that the values of points are of.
        clips: one, or those that were averaged.
        notes: what is missing, and why.
    """

    names: tuple[str, ...]
    clips: tuple[str, ...]
    curves: tuple[Curve, ...]
    notes: tuple[str, ...] = ()

    def place(self, point: Point, axes: tuple[str, str]) -> tuple[float, float]:
        """Where a point stands in the plane of two of the quantities."""
        x, y = (point.values[self.names.index(name)] for name in axes)
        return x, y

    @property
    def title(self) -> str:
        """What the values are of."""
        if len(self.clips) == 1:
            return self.clips[0]
        return f"mean over {len(self.clips)} clips"


def clip_names(records: Iterable[Record]) -> list[str]:
    """All clips, sorted."""
    return sorted({record.clip for record in records})


def own_first(records: Iterable[Record]) -> list[str]:
    """Labels of codecs in the one order that all plots use: ours, then the others by name."""
    kinds = {record.codec: record.kind for record in records}
    return sorted(kinds, key=lambda label: (kinds[label] != "gvc", label.casefold(), label))


def collect(records: Iterable[Record], names: Sequence[str], clip: str = MEAN) -> CurveSet:
    """Points that have all quantities ``names`` (see `Record.value`), rate first.

    Means are over the same clips for all codecs. A codec that has few of the clips that most have
    is left out, as published curves are; a setting that lacks one of the clips gives no point.

    Raises:
        UsageError: no record has all of these quantities, there is no such clip, or clips of one
            name are different pictures.
    """
    records = list(records)
    check_same_pictures(records)
    if clip != MEAN and records and clip not in clip_names(records):
        known = ", ".join(clip_names(records))
        raise UsageError(f"there is no clip {clip!r} in the records; there are: {known}")
    found: dict[str, dict[str, list[Point]]] = {}  # by codec and clip
    missing = 0
    for record in records:
        if clip not in (MEAN, record.clip):
            continue
        values = [record.value(name) for name in names]
        if None in values or values[0] == 0:
            missing += 1
            continue
        point = Point(tuple(v for v in values if v is not None), (record,))
        found.setdefault(record.codec, {}).setdefault(record.clip, []).append(point)
    if not found:
        raise UsageError(
            f"there is nothing to plot: no record has {' and '.join(names)}; "
            "measure these, or choose others with -m"
        )
    notes = [f"{missing} records without {' or '.join(names)} are left out"] if missing else []
    order = [label for label in own_first(records) if label in found]
    if clip != MEAN:
        curves = [Curve(label, _by_rate(found[label][clip])) for label in order]
        return CurveSet(tuple(names), (clip,), tuple(curves), tuple(notes))
    clips = _shared_clips({label: set(by_clip) for label, by_clip in found.items()})
    curves = []
    for label in order:
        points, gaps = _means(found[label], clips)
        if points:
            curves.append(Curve(label, _by_rate(points)))
            if gaps:
                notes.append(f"{label}: points that lack one of these clips are left out ({gaps})")
        else:
            notes.append(f"{label} lacks some of these clips and is left out")
    strange = sorted({c for by_clip in found.values() for c in by_clip} - set(clips))
    if strange:
        notes.append(f"not in the mean, because not all have them: {', '.join(strange)}")
    return CurveSet(tuple(names), tuple(clips), tuple(curves), tuple(notes))


def _by_rate(points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple(sorted(points, key=lambda p: p.values))


def _shared_clips(clips_of: dict[str, set[str]]) -> list[str]:
    """Clips to average over: many codecs with many clips in common, and rather codecs than clips.

    Codecs are ranked by how common their clips are; of the first k, for the k that gives most
    (k squared times clips), the clips that all of these have.
    """
    common = Counter(clip for clips in clips_of.values() for clip in clips)
    ranked = sorted(clips_of, key=lambda label: -sum(common[clip] for clip in clips_of[label]))
    best: set[str] = set()
    most = 0
    shared = clips_of[ranked[0]]
    for k, label in enumerate(ranked, 1):
        shared = shared & clips_of[label]
        if k**2 * len(shared) > most:
            most, best = k**2 * len(shared), shared
    return sorted(best)


def _means(by_clip: dict[str, list[Point]], clips: Sequence[str]) -> tuple[list[Point], int]:
    """Means over all of ``clips``, and how many settings had to be left out."""
    settings: dict[str, dict[str, Point]] = {}
    for clip in clips:
        for point in by_clip.get(clip, ()):
            record = point.records[0]
            about = json.dumps((record.quality, record.settings, record.decode), sort_keys=True)
            settings.setdefault(about, {})[clip] = point
    means, gaps = [], 0
    for members in settings.values():
        if len(members) < len(clips):
            gaps += 1
            continue
        columns = zip(*(point.values for point in members.values()), strict=True)
        values = tuple(sum(column) / len(clips) for column in columns)
        means.append(Point(values, tuple(point.records[0] for point in members.values())))
    return means, gaps
