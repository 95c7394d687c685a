"""Published points of other codecs, read from files that users have, and ours in a known format.

    CompressAI     results/**/*.json          {"name", "results": {"bpp" or "bitrate": [...], ...}}
    HiFiC          models/hific/data.csv      a row a point: dataset, bpp, FID, LPIPS, PSNR ...
    MS-ILLM        projects/illm/results.csv  the same, with a column "model"
    DCVC           anchors/*.json             {dataset: {sequence: {qp: {"ave_all_frame_bpp" ...}}}}

A value keeps a name of its own wherever it is not what our metric of that name measures: PSNR and
MS-SSIM of RGB are ``psnr-rgb`` and ``ms-ssim-rgb``, and CompressAI's PSNR-YUV is the mean with
weights 4:1:1 (``psnr-yuv-411``), ours that with 6:1:1.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from gancodec.errors import InputError
from gancodec.eval.records import Record, Score

RateUnit = Literal["bpp", "kbps"]

_RATES: dict[str, RateUnit] = {"bpp": "bpp", "bitrate": "kbps"}
_QUALITIES = ("qp", "q", "quality")
_NO_METRICS = {*_RATES, *_QUALITIES, "model", "dataset", "", "encoding_time", "decoding_time"}
_RGB = {"psnr": "psnr-rgb", "ms-ssim": "ms-ssim-rgb"}
_COMPRESSAI_NAMES = {**_RGB, "psnr-yuv": "psnr-yuv-411"}
_EXPORTED_NAMES = {"psnr-yuv": "psnr-yuv-611", "ms-ssim": "ms-ssim-y"}

_DCVC_PREFIX = "ave_all_frame_"
_DCVC_NAMES = {
    **{f"psnr_{plane}": f"psnr-{plane}" for plane in "yuv"},
    "msssim_y": "ms-ssim",
    "psnr": "psnr-yuv",
    "msssim": "ms-ssim-yuv",
}
_DCVC_RGB_NAMES = {"psnr": "psnr-rgb", "msssim": "ms-ssim-rgb"}


@dataclass(frozen=True, slots=True)
class PublishedPoint:
    """One setting of a codec: its rate in the curve's unit, its own number, its metrics."""

    rate: float
    quality: float
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class PublishedCurve:
    """What somebody published of one codec on one data set, or on one sequence of it.

    Attributes:
        name: of the codec.
        dataset: of the pictures; ``dataset/sequence`` where there are numbers of single sequences.
        source: the file it was read from.
        rate_unit: "bpp" (bits a luma sample) or "kbps" (1000 bits a second).
        points: by rising rate.
    """

    name: str
    dataset: str
    source: str
    rate_unit: RateUnit
    points: tuple[PublishedPoint, ...]

    def to_records(self) -> list[Record]:
        """The same for plots beside ours; what was not published (bytes, times) is zero."""
        records = []
        for point in self.points:
            identity = repr((self.name, self.dataset, self.rate_unit, point.quality, point.rate))
            records.append(
                Record(
                    key=hashlib.sha256(identity.encode()).hexdigest(),
                    codec=self.name,
                    kind="published",
                    quality=point.quality,
                    settings={"source": Path(self.source).name},
                    decode={},
                    clip=self.dataset,
                    bpp=point.rate if self.rate_unit == "bpp" else 0.0,
                    kbps=point.rate if self.rate_unit == "kbps" else 0.0,
                    scores={m: Score(value, (value,)) for m, value in point.metrics.items()},
                )
            )
        return records


def read_published(path: Path) -> list[PublishedCurve]:
    """All curves of a file in one of the formats above, which is told by its content.

    Raises:
        InputError: it cannot be read, is in no known format, or holds no point.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read published results from {path}: {error}") from error
    try:
        curves = list(_curves_of(path, text))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not as its format says: {error}") from error
    if not any(curve.points for curve in curves):
        raise InputError(f"{path} holds no published point")
    return curves


def _curves_of(path: Path, text: str) -> Iterator[PublishedCurve]:
    if text.lstrip()[:1] != "{":
        return _read_csv(path, text)
    tree = json.loads(text)
    results = tree.get("results", tree)
    if any(isinstance(results.get(rate), list) for rate in _RATES):
        return _read_compressai(path, tree.get("name", path.stem), results)
    if any(_DCVC_PREFIX + "bpp" in point for _, _, _, point in _walk_dcvc(tree)):
        return _read_dcvc(path, tree)
    raise InputError(
        f"{path} is in no format that is known here: JSON of CompressAI or DCVC, CSV of HiFiC or "
        "MS-ILLM"
    )


def _curve(
    path: Path, name: str, dataset: str, unit: RateUnit, points: Iterable[PublishedPoint]
) -> PublishedCurve:
    rising = tuple(sorted(points, key=lambda point: point.rate))
    return PublishedCurve(name, dataset, str(path), unit, rising)


# ── CompressAI ───────────────────────────────────────────────────────────────────────────────


def _read_compressai(path: Path, name: str, results: dict[str, Any]) -> Iterator[PublishedCurve]:
    """The data set is the file's folder, as in their repository."""
    key = next(rate for rate in _RATES if isinstance(results.get(rate), list))
    rates = results[key]
    lists = {k: v for k, v in results.items() if isinstance(v, list)}
    if odd := [k for k, v in lists.items() if len(v) != len(rates)]:
        raise ValueError(f"{', '.join(odd)} and {key} are not equally many")
    metrics = {k: v for k, v in lists.items() if k not in _NO_METRICS}
    points = []
    for n, rate in enumerate(rates):
        values = {_COMPRESSAI_NAMES.get(k, k): v[n] for k, v in metrics.items()}
        numbers = (lists[q][n] for q in _QUALITIES if q in lists)
        quality = next((q for q in numbers if isinstance(q, int | float)), n + 1)
        points.append(PublishedPoint(float(rate), float(quality), _numbers(values)))
    yield _curve(path, name, path.resolve().parent.name, _RATES[key], points)


def to_compressai_json(records: Iterable[Record], codec: str) -> dict[str, Any]:
    """Our points of one codec as CompressAI's plotting tools read them, by rising rate.

    Each point is the mean over all clips; a setting that failed on one of them is left out, and so
    is a metric that is not there at every point. Both ``bpp`` and ``bitrate`` (kbps) are given.

    Raises:
        InputError: no setting of this codec was measured on all clips.
    """
    settings: dict[str, list[Record]] = {}
    for record in records:
        if record.codec == codec and not record.error:
            identity = json.dumps([record.quality, record.settings, record.decode], sort_keys=True)
            settings.setdefault(identity, []).append(record)
    clips = sorted({record.clip for group in settings.values() for record in group})
    whole = [group for group in settings.values() if len({r.clip for r in group}) == len(clips)]
    if not whole:
        raise InputError(f"no setting of {codec!r} was measured on all clips")
    whole.sort(key=lambda group: fmean(r.bpp for r in group))
    kept = [m for m in whole[0][0].scores if all(m in r.scores for g in whole for r in g)]
    results: dict[str, list[float]] = {
        "q": [group[0].quality for group in whole],
        "bpp": [fmean(r.bpp for r in group) for group in whole],
        "bitrate": [fmean(r.kbps for r in group) for group in whole],
        "encoding_time": [fmean(r.encode_seconds for r in group) for group in whole],
        "decoding_time": [fmean(r.decode_seconds for r in group) for group in whole],
    }
    for metric in kept:
        name = _EXPORTED_NAMES.get(metric, metric)
        results[name] = [fmean(r.scores[metric].mean for r in group) for group in whole]
    description = f"mean over {len(clips)} clips: {', '.join(clips)}; times in seconds a clip"
    return {"name": codec, "description": description, "results": results}


# ── HiFiC and MS-ILLM ────────────────────────────────────────────────────────────────────────


def _read_csv(path: Path, text: str) -> Iterator[PublishedCurve]:
    """Where no column says which model it is, the file's folder does, as in their repositories."""
    rows = csv.DictReader(text.splitlines())
    columns = {name: name.strip().lower().replace("_", "-") for name in rows.fieldnames or ()}
    if not {"dataset", "bpp"} <= set(columns.values()):
        raise InputError(
            f"{path} is in no format that is known here: JSON of CompressAI or DCVC, CSV with "
            "columns dataset and bpp"
        )
    found: dict[tuple[str, str], list[PublishedPoint]] = {}
    for row in rows:
        if None in row or None in row.values():
            raise ValueError(f"line {rows.line_num} has another number of cells than the first")
        cells = {name: row[column] for column, name in columns.items()}
        name = cells.get("model") or path.resolve().parent.name
        points = found.setdefault((name, cells["dataset"]), [])
        values = {_RGB.get(k, k): v for k, v in cells.items() if k not in _NO_METRICS and v}
        metrics = _numbers({k: float(v) for k, v in values.items()})
        points.append(PublishedPoint(float(cells["bpp"]), len(points) + 1, metrics))
    for (name, dataset), points in found.items():
        yield _curve(path, name, dataset, "bpp", points)


# ── DCVC ─────────────────────────────────────────────────────────────────────────────────────


def _walk_dcvc(tree: Any) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(data set, sequence, setting, its numbers) of everything in it."""
    for dataset, sequences in _items(tree):
        for sequence, settings in _items(sequences):
            for setting, point in _items(settings):
                if isinstance(point, dict):
                    yield dataset, sequence, setting, point


def _items(node: Any) -> Iterable[tuple[str, Any]]:
    return node.items() if isinstance(node, dict) else ()


def _read_dcvc(path: Path, tree: Any) -> Iterator[PublishedCurve]:
    """The codec is the file's name; an MS-SSIM of zero was not measured."""
    found: dict[str, list[PublishedPoint]] = {}
    for dataset, sequence, setting, point in _walk_dcvc(tree):
        names = _DCVC_NAMES if _DCVC_PREFIX + "psnr_y" in point else _DCVC_RGB_NAMES
        values = {name: point.get(_DCVC_PREFIX + key) for key, name in names.items()}
        measured = {k: v for k, v in values.items() if v != 0}
        rate, quality = point[_DCVC_PREFIX + "bpp"], point.get("qp", setting)
        found.setdefault(f"{dataset}/{Path(sequence).stem}", []).append(
            PublishedPoint(float(rate), float(quality), _numbers(measured))
        )
    for clip, points in found.items():
        yield _curve(path, path.stem, clip, "bpp", points)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that are finite numbers: tables have gaps, and lists of names."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
