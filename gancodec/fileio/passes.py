"""Encoding to a bit rate or a file size.

A file can be read more than once: a search over all GOPs of a short clip, or eight spread over a
longer one, finds the quality, which is then the same for the whole file. If the file comes out
more than 3 % off, or larger than a size that was asked for, the next pass knows better; the nearest
of at most three is kept, and one that fits before one that does not. A pipe is read
once: each GOP gets the quality that fits what is left of the rate (`ratecontrol.GopBudget`).
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

from gancodec.bitstream import AudioData, AudioInit, ByteWriter, Gop, Reader
from gancodec.errors import BitstreamError, UsageError
from gancodec.fileio.encoding import EncodeJob, OpenClip, encode_gop, gop_cost, opened
from gancodec.fileio.parallel import Workers, one_thread
from gancodec.fileio.results import EncodeStats, Report
from gancodec.fileio.samples import Samples, container_bytes
from gancodec.fileio.writing import AUDIO_CHUNK_BYTES, write_all, write_file, write_stream
from gancodec.ratecontrol import (
    BEST,
    MAX_PASSES,
    PASS_TOLERANCE,
    WORST,
    GopBudget,
    QualitySearch,
    RateGoal,
)
from gancodec.types import FrameBatch
from gancodec.video.times import parse_time

_COPY_BYTES = 1 << 20
_REPORTED_MISS = 0.05  # what is promised for clips of five seconds and longer


def encode_to_goal(
    job: EncodeJob,
    goal: RateGoal,
    target: Path | ByteWriter,
    workers: Workers,
    *,
    resuming: bool = False,
    report: Report | None = None,
) -> EncodeStats:
    """Encode so that the file weighs what ``goal`` says.

    Raises:
        UsageError: the goal cannot be kept with such an input.
    """
    if job.clip.path is None:
        return _encode_pipe(job, goal, target, resuming, report)
    samples = Samples(job, goal)
    quality = samples.search(workers, report)
    if samples.whole is not None:
        stats = _write(job.at_quality(quality), target, samples.take_whole(quality), report)
        return _with_verdict(stats, goal)
    with tempfile.TemporaryDirectory(prefix="gancodec-") as folder:
        base = target if isinstance(target, Path) else Path(folder) / "stream.gvc"
        stats, path = _encode_passes(job, goal, samples, base, workers, resuming, report)
        if isinstance(target, Path):
            os.replace(path, os.path.realpath(target))
        else:
            _copy(path, target)
    return _with_verdict(stats, goal)


def _write(
    job: EncodeJob,
    target: Path | ByteWriter,
    code: Callable[[OpenClip], Iterable[Gop]],
    report: Report | None,
) -> EncodeStats:
    if isinstance(target, Path):
        return write_file(job, target, code, report=report)
    return write_stream(job, target, code, report=report)


def _with_verdict(stats: EncodeStats, goal: RateGoal) -> EncodeStats:
    return replace(stats, notices=(*stats.notices, *_verdict(stats, goal)))


def _verdict(stats: EncodeStats, goal: RateGoal) -> tuple[str, ...]:
    """What to say where the goal was missed."""
    size = stats.bytes - stats.audio_bytes
    wanted = goal.bytes_without_sound(stats.seconds, stats.audio_bytes)
    if wanted > 0 and abs(size / wanted - 1) <= _REPORTED_MISS:
        return ()
    takes = f"{stats.video_kbps:.4g} kbit/s"
    if stats.quality <= WORST and size > wanted:
        return (
            f"even quality 0 takes {takes}, more than {goal} leaves for the pictures: "
            "make them smaller with --scale, or fewer with --fps",
        )
    if stats.quality >= BEST and size < wanted:
        return (f"even quality 63 takes only {takes}, less than {goal}",)
    return (f"the pictures take {takes}, which misses {goal}: the clip is too short",)


# ── Files: whole passes ──────────────────────────────────────────────────────────────────────


def _encode_passes(
    job: EncodeJob,
    goal: RateGoal,
    samples: Samples,
    base: Path,
    workers: Workers,
    resuming: bool,
    report: Report | None,
) -> tuple[EncodeStats, Path]:
    """Whole files at ``base.pass1`` and so on, until one is near; all but the nearest go."""
    passes = QualitySearch(ceiling=goal.ceiling)
    done: dict[float, tuple[EncodeStats, Path]] = {}
    quality: float | None = samples.trials.best(samples.goal)
    wanted = samples.goal
    while quality is not None and len(done) < MAX_PASSES:
        path = Path(f"{os.path.realpath(base)}.pass{len(done) + 1}")
        trial = job.at_quality(quality)
        written = _finished(trial, path) if resuming else None
        if written is None:
            code = partial(OpenClip.coded, workers=workers)
            written = write_file(trial, path, code, resuming=resuming, report=report)
        done[quality] = written, path
        wanted = goal.bytes_without_sound(written.seconds, written.audio_bytes)
        passes.add(quality, written.bytes - written.audio_bytes)
        if passes.is_found(wanted, PASS_TOLERANCE):
            break
        quality = _next_quality(samples.trials, passes, wanted)
    best, path = done.pop(passes.best(wanted))
    for _, other in done.values():
        other.unlink(missing_ok=True)
    return replace(best, passes=len(done) + 1), path


def _next_quality(samples: QualitySearch, passes: QualitySearch, wanted: float) -> float | None:
    """The quality of the next pass: by the slope of the samples, then by that of the passes."""
    if len(passes.trials) > 1:
        return passes.suggest(wanted)
    quality, size = next(iter(passes.trials.items()))
    below = size / math.exp(samples.slope(quality))
    trials = {quality: size, quality - 1: below}
    return QualitySearch(trials=trials, ceiling=passes.ceiling).suggest(wanted)


def _finished(job: EncodeJob, path: Path) -> EncodeStats | None:
    """What an interrupted encode's complete pass holds, if it is one of this job."""
    try:
        with path.open("rb") as stream, opened(job) as clip:
            reader = Reader(stream)
            if (reader.header, reader.models) != (clip.header, clip.models):
                return None
            gops, sound, last = 0, 0, 0
            for event in reader.events():
                if isinstance(event, Gop):
                    gops, last = gops + 1, event.pts[-1]
                elif isinstance(event, AudioInit | AudioData):
                    sound += len(event.data) + AUDIO_CHUNK_BYTES
            return EncodeStats(
                quality=float(job.options.quality),
                frames=reader.frames,
                gops=gops,
                bytes=reader.position,
                audio_bytes=sound,
                seconds=clip.seconds_until(last),
                pixels=clip.info.width * clip.info.height,
                passes=1,
                notices=tuple(clip.reader.notices),
            )
    except (OSError, BitstreamError):
        return None


def _copy(path: Path, stream: ByteWriter) -> None:
    with path.open("rb") as source:
        while data := source.read(_COPY_BYTES):
            write_all(stream, data)
    path.unlink()


# ── Pipes: GOP by GOP ────────────────────────────────────────────────────────────────────────


def _encode_pipe(
    job: EncodeJob,
    goal: RateGoal,
    target: Path | ByteWriter,
    resuming: bool,
    report: Report | None,
) -> EncodeStats:
    if resuming:
        raise UsageError(
            "an encode of a pipe to a bit rate cannot be resumed, for its input has gone by: "
            "encode from a file, or with --quality"
        )
    rate = _rate_of_pipe(job, goal)
    qualities: list[tuple[float, int]] = []

    def code(clip: OpenClip) -> Iterator[Gop]:
        if clip.audio_headers and goal.file_bytes is not None:
            raise UsageError(
                "--size of a pipe with sound cannot be kept, for nobody knows how much sound will "
                "come: give --bitrate, --audio none, or a file"
            )
        budget = GopBudget(rate, container_bytes(clip))
        for frames in clip.gops():
            span = (int(frames.pts[-1] - frames.pts[0])) * clip.info.time_base + 1 / clip.info.fps
            gop, quality = budget.code(span, partial(_try, clip, frames), partial(_cost, clip))
            qualities.append((quality, len(frames)))
            yield gop

    stats = _write(job, target, code, report)
    mean = sum(q * n for q, n in qualities) / sum(n for _, n in qualities)
    return _with_verdict(replace(stats, quality=round(mean, 2)), goal)


def _rate_of_pipe(job: EncodeJob, goal: RateGoal) -> Fraction:
    """Bytes a second."""
    if goal.bits_per_second is not None:
        return goal.bits_per_second / 8
    if job.clip.duration is None or goal.file_bytes is None:
        raise UsageError(
            "--size of a pipe needs its length: give it with -t, or --bitrate, or a file"
        )
    return goal.file_bytes / parse_time(job.clip.duration)


def _try(clip: OpenClip, frames: FrameBatch, quality: float) -> Gop:
    with one_thread():
        return encode_gop(clip.task(frames, replace(clip.job.options, quality=quality)))


def _cost(clip: OpenClip, gop: Gop) -> int:
    return gop_cost(gop, clip.header)
