"""Pictures of a report: which sizes, frames and crops, decoded from the run's own files.

Every choice follows from the records and the frames, so the same run gives the same pictures.
They are WebP: its lossy mode at quality 95 was nearer to real pictures than JPEG's in two thirds of
the bytes. How near it came is measured on every square, for the report to say.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gancodec.errors import InputError
from gancodec.eval.clips import Clip, read_clip
from gancodec.eval.codecs import Factory, build_codec
from gancodec.eval.fidelity import PSNR_OF_EQUAL_DB
from gancodec.eval.records import Record
from gancodec.eval.report_choices import (
    Box,
    choose_crops,
    choose_frames,
    choose_sizes,
    film_range,
    match_sizes,
    value_at,
)
from gancodec.eval.report_images import (
    Picture,
    decode_webp,
    encode_webp,
    luma_psnr,
    thumbnail,
    to_rgb,
)
from gancodec.types import FrameBatch

_STEPS = 3  # sizes to compare at
_CROP = 160  # samples a side
_SOURCE = -1  # where a step stands: the source has none


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of a clip is shown.

    Attributes:
        lossless: crops of the slider are exact; else WebP at quality 95, as the flip-book.
        frames, crops: of the slider, at every size.
        whole: whole frames (WebP at quality 90) at "all" sizes, the "middle" one, or "none".
        film: frames of the flip-book.
    """

    lossless: bool
    frames: int
    crops: int
    whole: str
    film: int


# The first that fits is taken, so a small run shows much and a large one less.
PLANS: tuple[Plan, ...] = (
    Plan(True, 2, 2, "all", 16),
    Plan(False, 2, 2, "all", 16),
    Plan(False, 2, 2, "middle", 12),
    Plan(False, 1, 2, "middle", 12),
    Plan(False, 1, 2, "none", 12),
    Plan(False, 1, 1, "none", 8),
)


@dataclass(slots=True)
class Album:
    """What the page shows: ``images`` in base64, and ``clips`` that name them by their number.

    ``worst_db`` is the least luma PSNR of a crop after the report's own compression.
    """

    clips: list[dict[str, Any]] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    worst_db: float = PSNR_OF_EQUAL_DB

    @property
    def bytes(self) -> int:
        """Of all images as they stand in the page."""
        return sum(map(len, self.images))


@dataclass(frozen=True, slots=True)
class _Shot:
    """Pictures of one file: ``squares`` by square, then frame; ``whole`` by frame; ``film``."""

    squares: list[list[Picture]]
    whole: list[Picture]
    film: list[Picture]


def make_album(
    run: Path,
    clips: Mapping[str, Mapping[str, Any]],
    records: Sequence[Record],
    lead: str,
    *,
    extra: Mapping[str, Factory] | None = None,
    max_bytes: int = 10_000_000,
    plans: Sequence[Plan] = PLANS,
) -> Album:
    """Pictures of all clips that can be read and decoded; ``notes`` say what could not.

    Args:
        run: folder with the files that the records name.
        clips: path, frames and scale by clip name, as in ``run.json``.
        lead: label of the codec whose sizes the others are matched to.
        extra: codecs of your own, by kind.
        max_bytes: of all pictures in the page.
        plans: from the most to the least.
    """
    album = Album()
    names = list(dict.fromkeys(r.clip for r in records))
    for done, name in enumerate(names):
        share = max(max_bytes - album.bytes, 0) // (len(names) - done)
        try:
            clip = _read_source(run, name, clips)
        except (InputError, OSError) as error:
            album.notes.append(f"no pictures of the clip {name}: {error}")
            continue
        mine = [r for r in records if r.clip == name]
        _ClipAlbum(run, clip, mine, lead, extra or {}, album).add(share, plans)
    return album


def _read_source(run: Path, name: str, clips: Mapping[str, Mapping[str, Any]]) -> Clip:
    about = clips.get(name)
    if not about or not about.get("path"):
        raise InputError("run.json does not say where it is")
    path = run / about["path"]  # an absolute path stays what it is
    if not path.is_file():
        raise InputError(f"there is no file {path.name} where the run found it")
    scale = about.get("scale")
    return read_clip(path, frames=about.get("frames"), scale=tuple(scale) if scale else None)


class _ClipAlbum:
    """Choosing, decoding and packing for one clip."""

    def __init__(
        self,
        run: Path,
        clip: Clip,
        records: Sequence[Record],
        lead: str,
        extra: Mapping[str, Factory],
        album: Album,
    ) -> None:
        self._run, self._clip, self._extra, self._album = run, clip, extra, album
        sha256 = clip.sha256
        self._name = records[0].clip
        usable = [r for r in records if not r.error and r.scores]
        self._records = [r for r in usable if r.file and r.clip_sha256 in ("", sha256)]
        if len(self._records) < len(usable):
            count = len(usable) - len(self._records)
            self._note(f"{count} records have no file, or are of other pictures by that name")
        self._sizes = choose_sizes(self._records, lead, _STEPS)
        self._matched = [match_sizes(self._records, size) for size in self._sizes]
        self._middle = len(self._sizes) // 2

    def _note(self, text: str) -> None:
        self._album.notes.append(f"clip {self._name}: {text}")

    def add(self, share: int, plans: Sequence[Plan]) -> None:
        """Decode what is needed, and add the richest plan that fits into ``share`` bytes."""
        if not self._sizes:
            self._note("nothing was coded that could be shown")
            return
        self._prepare(plans[0])
        for plan in plans:
            pages = _Pages(len(self._album.images), share)
            entry = self._lay_out(plan, pages)
            if pages.fits:
                self._album.images.extend(pages.new)
                self._album.clips.append(entry)
                self._album.worst_db = min(self._album.worst_db, pages.worst_db)
                return
        self._note(f"no pictures: the least of them would take more than {share} bytes")

    def _prepare(self, most: Plan) -> None:
        """Choose frames and squares, and cut out all that any plan may show.

        Only the chosen frames of the middle size are in memory whole, and squares of the others.
        """
        every = max((s.every for r in self._records for s in r.scores.values()), default=1)
        self._shown = choose_frames(len(self._clip), most.frames, every)
        self._film = film_range(len(self._clip), self._shown[0], most.film)
        self._numbers = sorted({*self._shown, *self._film})
        central = {label: self._decode(r) for label, r in self._matched[self._middle].items()}
        kept = {label: frames for label, frames in central.items() if frames is not None}
        self._labels = list(kept)
        source = self._keep(self._clip.frames)
        planes = [frames.y for frames in kept.values()]
        self._boxes = choose_crops(source.y, planes, _CROP, most.crops)
        self._shots = {(_SOURCE, ""): self._cut(source, with_film=True)}
        for step, matched in enumerate(self._matched):
            for label, middle in kept.items():
                again = matched[label].key == self._matched[self._middle][label].key
                frames = middle if again else self._decode(matched[label])
                if frames is not None:
                    self._shots[step, label] = self._cut(frames, with_film=step == self._middle)

    def _keep(self, frames: FrameBatch) -> FrameBatch:
        return FrameBatch.concatenate([frames[n : n + 1] for n in self._numbers])

    def _decode(self, record: Record) -> FrameBatch | None:
        try:
            data = (self._run / record.file).read_bytes()
            settings = {**record.settings, **record.decode}
            frames = build_codec(record.kind, record.quality, settings, self._extra).decode(data)
            if frames.y.shape != self._clip.frames.y.shape:
                raise InputError(f"pictures of {frames.y.shape} came back")
        except Exception as error:  # codecs are anybody's; the report says what happened
            self._note(f"no pictures of {record.codec}, quality {record.quality:g}: {error}")
            return None
        return self._keep(frames)

    def _cut(self, frames: FrameBatch, with_film: bool) -> _Shot:
        def show(number: int, box: Box | None) -> Picture:
            at = self._numbers.index(number)
            return to_rgb(frames[at : at + 1], self._clip.info.color, box)

        boxes = [*self._boxes, None]
        views = [[show(number, box) for number in self._shown] for box in boxes]
        film = [show(number, self._boxes[0]) for number in self._film] if with_film else []
        return _Shot(views[:-1], views[-1], film)

    def _lay_out(self, plan: Plan, pages: _Pages) -> dict[str, Any]:
        """The page's description of the clip; its pictures go to ``pages``."""
        steps = range(len(self._sizes))
        whole = {"all": list(steps), "middle": [self._middle], "none": []}[plan.whole]
        shown = self._shown[: plan.frames]
        crop = "lossless" if plan.lossless else "crop"

        def views(step: int, label: str) -> list[list[int]]:
            """By view, then by frame; the whole frame stands last, empty where there is none."""
            shot = self._shots[step, label]
            squares = [pages.put(frames[: plan.frames], crop) for frames in shot.squares]
            has_whole = step in whole or (step == _SOURCE and bool(whole))
            return [
                *squares[: plan.crops],
                pages.put(shot.whole[: plan.frames], "whole") if has_whole else [],
            ]

        def coded(step: int, label: str) -> dict[str, Any] | None:
            if (step, label) not in self._shots:
                return None
            record = self._matched[step][label]
            scores = [{m: value_at(record, m, n) for m in record.scores} for n in shown]
            return {"key": record.key, "views": views(step, label), "scores": scores}

        def film(step: int, label: str) -> list[int]:
            return pages.put(self._shots[step, label].film[: plan.film], "crop")

        return {
            "name": self._name,
            "fps": float(self._clip.info.fps),
            "size": [self._clip.info.width, self._clip.info.height],
            "length": len(self._clip),
            "frames": shown,
            "boxes": self._boxes[: plan.crops],
            "exact": plan.lossless,
            "bytes": self._sizes,
            "whole": whole,
            "map": pages.put([thumbnail(self._shots[_SOURCE, ""].whole[0])], "whole")[0],
            "source": views(_SOURCE, ""),
            "codecs": {label: [coded(step, label) for step in steps] for label in self._labels},
            "film": {
                "first": self._film[0],
                "count": min(plan.film, len(self._film)),
                "step": self._middle,
                "source": film(_SOURCE, ""),
                "codecs": {label: film(self._middle, label) for label in self._labels},
            },
        }


class _Pages:
    """Images of one plan; it stops compressing when they no longer fit."""

    def __init__(self, first: int, limit: int) -> None:
        self.new: list[str] = []
        self.fits = True
        self.worst_db = PSNR_OF_EQUAL_DB
        self._first, self._left = first, limit
        self._known: dict[tuple[bytes, str], int] = {}

    def put(self, pictures: Sequence[Picture], kind: str) -> list[int]:
        """Numbers of the images; equal pictures are kept once."""
        return [self._put(picture, kind) for picture in pictures]

    def _put(self, picture: Picture, kind: str) -> int:
        if not self.fits:
            return -1
        key = (picture.tobytes(), kind)
        if key not in self._known:
            data = encode_webp(picture, kind)
            if kind == "crop":
                self.worst_db = min(self.worst_db, luma_psnr(picture, decode_webp(data)))
            text = base64.b64encode(data).decode("ascii")
            self._left -= len(text)
            self.fits = self._left >= 0
            self._known[key] = self._first + len(self.new)
            self.new.append(text)
        return self._known[key]
