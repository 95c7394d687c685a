"""One task of a run: a clip through a codec at one quality, decoded and measured.

Runs in whatever process an executor has; what it needs travels in the `Task`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import gancodec
from gancodec.errors import GancodecError
from gancodec.eval.clips import Clip, read_clip
from gancodec.eval.codecs import Codec, Factory, build_codec
from gancodec.eval.metric import Context, Values
from gancodec.eval.metrics import check_length, check_size, find_metric
from gancodec.eval.records import Record, Score
from gancodec.fileio.parallel import one_thread
from gancodec.types import FrameBatch

_FEED = 8  # frames at a time
_DIGITS = 6  # of a stored value: more are noise, fewer would show in differences

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Task:
    """A clip, a codec at one quality, and all ways of decoding; picklable."""

    codec: str
    kind: str
    quality: float
    settings: dict[str, Any]
    labels: tuple[str, ...]  # of the curves, one for each of `decode`
    decode: tuple[dict[str, Any], ...]
    clip: str
    path: Path
    frames: int | None
    scale: tuple[int, int] | None
    clip_sha256: str
    metrics: tuple[str, ...]
    every: dict[str, int]
    weights: dict[str, str]
    folder: Path
    weights_sha256: dict[str, str] = field(default_factory=dict)  # see `hash_weights`
    force: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    known: tuple[Record, ...] = ()  # earlier records, whose scores are kept

    def records(self) -> list[Record]:
        """Empty records, one for each way of decoding."""
        return [
            Record(
                key=key,
                codec=label,
                kind=self.kind,
                quality=self.quality,
                settings=self.settings,
                decode=decode,
                clip=self.clip,
                clip_sha256=self.clip_sha256,
                versions={"gancodec": gancodec.__version__, **self.versions},
                machine=_machine(),
                time=_now(),
            )
            for key, label, decode in zip(task_keys(self), self.labels, self.decode, strict=True)
        ]

    def failures(self, why: str) -> list[Record]:
        """The same records, saying why there is nothing in them."""
        return [replace(record, error=why) for record in self.records()]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _hash(*parts: object) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _encode_key(task: Task) -> str:
    clip = task.clip_sha256 or str(task.path)
    return _hash(clip, task.kind, task.quality, task.settings, task.versions)


def hash_weights(weights: Mapping[str, str]) -> dict[str, str]:
    """Hashes of the files of metrics' weights. Of one that cannot be read, the metric tells."""
    found = {}
    for name, path in weights.items():
        with suppress(OSError), open(path, "rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    return found


def task_keys(task: Task) -> list[str]:
    """Keys of a task's records: of all that picks the pixels, and of the label."""
    encoded = _encode_key(task)
    pairs = zip(task.labels, task.decode, strict=True)
    return [_hash(encoded, label, decode) for label, decode in pairs]


def has_score(scores: Mapping[str, Score], metric: str, task: Task) -> bool:
    """Whether there is a value of a metric as the task asks for it."""
    every, weights = task.every.get(metric, 1), task.weights_sha256.get(metric, "")
    return metric in scores and (scores[metric].every, scores[metric].weights) == (every, weights)


def measure(task: Task, extra: Mapping[str, Factory] | None = None) -> list[Record]:
    """Do a task. Whatever goes wrong in codecs and metrics becomes part of the records."""
    with one_thread():
        try:
            clip = _clip(task.path, task.frames, task.scale, task.clip_sha256)
            codec = build_codec(task.kind, task.quality, {**task.settings, **task.decode[0]}, extra)
            data, seconds, name = _encoded(task, codec, clip)
        except Exception as error:
            return task.failures(told(error))
        return [
            _complete(task, record, clip, data, seconds, name, extra) for record in task.records()
        ]


@functools.lru_cache(maxsize=1)
def _clip(path: Path, frames: int | None, scale: tuple[int, int] | None, sha256: str) -> Clip:
    """The clip of the task before is kept: tasks come clip by clip.

    Raises:
        ValueError: it is no longer what the run began with.
    """
    clip = read_clip(path, frames=frames, scale=scale)
    if clip.sha256 != sha256:
        raise ValueError(f"{path} has changed since the run began")
    return clip


def _encoded(task: Task, codec: Codec, clip: Clip) -> tuple[bytes, float, str]:
    """The file, how long it took, and where it is kept; made only where it is not there yet."""
    suffix = getattr(codec, "suffix", ".bin")
    name = f"files/{_encode_key(task)}{suffix}"
    path, note = task.folder / name, task.folder / f"{name}.json"
    if not task.force and path.exists() and note.exists():
        about = json.loads(note.read_text("utf-8"))
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == about["sha256"]:
            return data, about["encode_seconds"], name
    data, seconds = _timed(lambda: codec.encode(clip))
    if not data:
        raise ValueError("the encoder gave an empty file")
    for target, content in (
        (path, data),
        (
            note,
            json.dumps(
                {
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "encode_seconds": seconds,
                    "clip": clip.name,
                    "codec": task.codec,
                    "quality": task.quality,
                }
            ).encode(),
        ),
    ):
        part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")  # others may make it, too
        part.write_bytes(content)
        part.replace(target)
    return data, seconds, name


def _timed(work: Callable[[], _Result]) -> tuple[_Result, float]:
    begun = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begun


def _complete(
    task: Task,
    record: Record,
    clip: Clip,
    data: bytes,
    encode_seconds: float,
    name: str,
    extra: Mapping[str, Factory] | None,
) -> Record:
    """A record with everything that can be measured."""
    record = replace(
        record,
        width=clip.info.width,
        height=clip.info.height,
        fps=float(clip.info.fps),
        frames=len(clip),
        bytes=len(data),
        bpp=round(8 * len(data) / clip.pixels, _DIGITS),
        kbps=round(8 * len(data) / clip.seconds / 1000, 3),
        file=name,
        file_sha256=hashlib.sha256(data).hexdigest(),
        encode_seconds=round(encode_seconds, 4),
    )
    try:
        codec = build_codec(task.kind, task.quality, {**task.settings, **record.decode}, extra)
        decoded, seconds = _timed(lambda: codec.decode(data))
        _check(clip, decoded)
    except Exception as error:
        return replace(record, error=told(error))
    record = replace(record, decode_seconds=round(seconds, 4))
    if not getattr(codec, "scores_quality", True):
        return replace(record, unscored="random weights: it is here for its speed", time=_now())
    old = next((r for r in task.known if r.key == record.key), None)
    kept = old.scores if old and old.file_sha256 == record.file_sha256 else {}
    scores = {name: score for name, score in kept.items() if name not in task.metrics}
    errors: dict[str, str] = {}
    context = Context(clip.info, {k: Path(v) for k, v in task.weights.items()})
    for metric in task.metrics:
        if has_score(kept, metric, task):
            scores[metric] = kept[metric]
            continue
        try:
            score = _score(metric, task.every.get(metric, 1), context, clip.frames, decoded)
            scores[metric] = replace(score, weights=task.weights_sha256.get(metric, ""))
        except Exception as error:
            errors[metric] = told(error)
    return replace(record, scores=scores, errors=errors, time=_now())


def _check(clip: Clip, decoded: FrameBatch) -> None:
    if len(decoded) != len(clip):
        raise ValueError(f"{len(decoded)} of {len(clip)} frames came back")
    if decoded.y.shape != clip.frames.y.shape:
        raise ValueError(
            f"pictures of {decoded.y.shape[2]}x{decoded.y.shape[1]} came back, "
            f"{clip.info.width}x{clip.info.height} went in"
        )


def _score(
    name: str, every: int, context: Context, reference: FrameBatch, decoded: FrameBatch
) -> Score:
    metric = find_metric(name)
    metric.check(context.weights)
    check_size([metric], context.info.width, context.info.height)
    meter = metric.start(context)
    for start in range(0, len(reference), _FEED * every):
        part = slice(start, start + _FEED * every, every)
        meter.add(reference[part], decoded[part])
    values: Values = meter.finish()
    check_length(metric, values)
    if not np.isfinite(values).all():
        raise ValueError("gave a value that is not finite")
    return Score(_rounded(float(values.mean())), tuple(map(_rounded, values.tolist())), every)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def told(error: Exception) -> str:
    """An error as one line; our own are sentences already."""
    text = " ".join(str(error).split())
    if isinstance(error, GancodecError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@functools.lru_cache(maxsize=1)
def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()
