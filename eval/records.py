"""Records: one JSON object a line for every codec, clip, quality and way of decoding.

A record says everything its numbers depend on, so a plotted point can be traced to a file and made
again. A failure is a record, too: ``error`` tells why, and there are no metrics.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gancodec.errors import InputError

RECORDS = "records.jsonl"  # names of the files in a run's folder
RUN = "run.json"


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one record.

    ``values`` holds a value for every ``every``-th frame (or pair of frames, or just one a clip).
    ``weights`` is the start of the SHA-256 of the user's file that the metric's net came from.
    """

    mean: float
    values: tuple[float, ...]
    every: int = 1
    weights: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One file, decoded one way, measured.

    Attributes:
        key: hash of everything that was asked for; equal keys are the same work.
        codec: label of the codec in the suite; with it, curves are made of records.
        kind: the codec's kind, or ``module:name``.
        quality: the codec's own number (crf, qp, 0..63 ...).
        settings, decode: what else the codec was told, for encoding and for decoding.
        clip, clip_sha256: name and hash of the pictures; width, height, fps, frames: of them.
        bytes: size of the file; bpp, kbps: the same a luma sample, and 1000 bits a second.
        file: where the file is stored, relative to the run's folder; empty if it is not kept.
        scores: by metric name. errors: why a metric has no score, by its name.
        unscored: why there are no scores on purpose: a codec that is only timed.
        error: why there is no file or no picture; empty when all is well.
        versions, machine: what computed it, on what.
    """

    key: str
    codec: str
    kind: str
    quality: float
    settings: dict[str, Any]
    decode: dict[str, Any]
    clip: str
    clip_sha256: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    frames: int = 0
    bytes: int = 0
    bpp: float = 0.0
    kbps: float = 0.0
    file: str = ""
    file_sha256: str = ""
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    scores: dict[str, Score] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    unscored: str = ""
    error: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    time: str = ""  # ISO 8601, UTC, when it was about to be decoded

    @property
    def lacks(self) -> dict[str, str]:
        """Why something is missing, by what it is: everything, scores, or a metric's name."""
        if self.error:
            return {"everything": self.error}
        return {"scores": self.unscored} if self.unscored else self.errors

    @property
    def is_complete(self) -> bool:
        """Whether everything that was asked for was measured."""
        return not self.error and not self.errors

    def value(self, name: str) -> float | None:
        """Mean of a metric, or ``bpp``, ``kbps``, ``bytes``, ``encode_fps``, ``decode_fps``."""
        if name in ("bpp", "kbps", "bytes"):  # no file has 0: published points lack what they lack
            return None if self.error else float(getattr(self, name)) or None
        if name in ("encode_fps", "decode_fps"):
            seconds = self.encode_seconds if name == "encode_fps" else self.decode_seconds
            return self.frames / seconds if seconds > 0 else None
        score = self.scores.get(name)
        return None if score is None else score.mean

    def to_json(self) -> str:
        """One line."""
        return json.dumps(
            asdict(self), separators=(",", ":"), sort_keys=True, allow_nan=False, default=str
        )

    @classmethod
    def from_json(cls, line: str) -> Record:
        """The reverse of `to_json`.

        Raises:
            ValueError: it is not a record.
        """
        raw = json.loads(line)
        try:
            scores = {
                name: Score(**{**s, "values": tuple(s["values"])})
                for name, s in raw.pop("scores", {}).items()
            }
            return cls(**raw, scores=scores)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a record: {error}") from error


def append_record(path: Path, record: Record) -> None:
    """Add a line to a file of records; what a kill left of a line before it is cut off."""
    with path.open("a+b") as file:  # what is written goes behind what others wrote meanwhile
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        file.write(f"{record.to_json()}\n".encode())


def read_records(path: Path) -> list[Record]:
    """All records of a file or a run's folder; of equal keys the last one counts.

    A last line that was cut off by a kill is left out: its work is simply done again. A file whose
    name ends in .csv is a table as `to_csv` writes it: means, and no values of single frames.

    Raises:
        InputError: there is no such file, or a line in the middle of it is no record.
    """
    if path.is_dir():
        path = path / RECORDS
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read records from {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} holds no records: it is no text; name a run's folder") from error
    if path.suffix == ".csv":
        return _from_csv(text, path)
    found: dict[str, Record] = {}
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = Record.from_json(line)
        except ValueError as error:
            if number == len(lines):  # nothing behind it, not even its end of line
                break
            raise InputError(f"{path}, line {number}: {error}") from error
        found.pop(record.key, None)  # keep the order of the last ones
        found[record.key] = record
    return list(found.values())


def read_about(path: Path) -> dict[str, Any]:
    """What ``run.json`` says of a run, whose folder or file of records this is; {} without one.

    Raises:
        InputError: it cannot be read.
    """
    path = (path if path.is_dir() else path.parent) / RUN
    try:
        about = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not isinstance(about, dict):
        raise InputError(f"{path} is not a run's description; run the suite again")
    return about


def asked_records(path: Path) -> tuple[list[Record], int]:
    """Records of a run's folder that its last suite asked for, and how many others there are.

    Those of an earlier suite, of other settings or of older versions would mix with them. A file
    of records is taken as it is.

    Raises:
        InputError: as `read_records` and `read_about`.
    """
    records = read_records(path)
    keys = read_about(path).get("keys") if path.is_dir() else None
    asked = records if keys is None else [r for r in records if r.key in set(keys)]
    return asked, len(records) - len(asked)


def curves(
    records: Iterable[Record], rate: str, metric: str
) -> dict[tuple[str, str], list[tuple[float, float, Record]]]:
    """Points (rate, value, record) by (codec, clip), by rising rate; failures are left out."""
    found: dict[tuple[str, str], list[tuple[float, float, Record]]] = {}
    for record in records:
        x, y = record.value(rate), record.value(metric)
        if x is not None and y is not None:
            found.setdefault((record.codec, record.clip), []).append((x, y, record))
    for points in found.values():
        points.sort(key=lambda p: p[0])
    return found


_COLUMNS = ("codec", "clip", "quality", "frames", "bytes", "bpp", "kbps", "error")
_ENDS = ("encode_seconds", "decode_seconds", "key")


def to_csv(records: Iterable[Record]) -> str:
    """A table with a line a record: what it is, its rates, every metric's mean, seconds, key."""
    kept = list(records)
    metrics = list(dict.fromkeys(name for r in kept for name in r.scores))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_COLUMNS, *metrics, *_ENDS])
    for r in kept:
        means = [r.value(name) for name in metrics]
        shown = ["" if mean is None else f"{mean:g}" for mean in means]
        about = [getattr(r, name) for name in _COLUMNS]
        writer.writerow([*about, *shown, r.encode_seconds, r.decode_seconds, r.key])
    return stream.getvalue()


def _from_csv(text: str, path: Path) -> list[Record]:
    found: list[Record] = []
    for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        try:
            about = {name: row.pop(name) for name in (*_COLUMNS, *_ENDS)}
            found.append(
                Record(
                    key=about["key"],
                    codec=about["codec"],
                    kind="exported",
                    quality=float(about["quality"]),
                    settings={},
                    decode={},
                    clip=about["clip"],
                    frames=int(about["frames"]),
                    bytes=int(about["bytes"]),
                    bpp=float(about["bpp"]),
                    kbps=float(about["kbps"]),
                    encode_seconds=float(about["encode_seconds"]),
                    decode_seconds=float(about["decode_seconds"]),
                    scores={n: Score(float(v), (float(v),)) for n, v in row.items() if v},
                    error=about["error"],
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}, line {number}: not an exported record: {error}") from error
    return found
