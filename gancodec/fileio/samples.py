"""The quality a clip needs for a bit rate or size, from encoding some of its GOPs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice

from gancodec.bitstream import Gop, Writer
from gancodec.bitstream.chunks import FRAMING_BYTES
from gancodec.bitstream.gops import INDEX_HEAD_BYTES
from gancodec.errors import InputError
from gancodec.fileio.encoding import EncodeJob, GopTask, OpenClip, encode_gop, gop_cost, opened
from gancodec.fileio.input_clip import gop_bytes
from gancodec.fileio.parallel import Work, Workers
from gancodec.fileio.results import Progress, Report
from gancodec.fileio.writing import AUDIO_CHUNK_BYTES
from gancodec.ratecontrol import MAX_TRIALS, QualitySearch, RateGoal
from gancodec.types import FrameBatch

SAMPLE_GOPS = 8


class Samples:
    """GOPs that stand for a clip: all of a short one, some spread over a longer one.

    Attributes:
        whole: what each quality tried has made of a short clip, None for longer ones.
        trials: the search, in bytes of GOPs scaled to the clip.
    """

    def __init__(self, job: EncodeJob, goal: RateGoal) -> None:
        self.job = job
        self.trials = QualitySearch(ceiling=goal.ceiling)
        self._spots: list[Fraction] = []
        sounding = goal.file_bytes is not None
        with opened(job if sounding else _silent(job)) as clip:
            self.info, self.header = clip.info, clip.header
            container = container_bytes(clip)
            spans = [_span(g) for g in islice(clip.gops(), SAMPLE_GOPS + 1)]
            short = len(spans) <= SAMPLE_GOPS
            self.whole: dict[float, list[Gop]] | None = {} if short else None
            if short:
                self.seconds = clip.seconds_until(spans[-1][1])
            else:
                self.seconds = clip.reader.duration or self._measure_length(clip, spans[-1][1])
                self._spots = self._choose_spots(clip)
            audio = _audio_bytes_of(clip) if sounding else 0
        self.goal = goal.bytes_without_sound(self.seconds, audio) - container

    def _measure_length(self, clip: OpenClip, last: int) -> Fraction:
        """Read to the end, where the container does not say how long it is."""
        for gop in clip.gops():
            last = int(gop.pts[-1])
        return clip.seconds_until(last)

    def _choose_spots(self, clip: OpenClip) -> list[Fraction]:
        longest = self.job.options.gop / self.info.fps
        room = max(self.seconds - longest, Fraction(0))
        return [room * n / (SAMPLE_GOPS - 1) for n in range(SAMPLE_GOPS)]

    def search(self, workers: Workers, report: Report | None) -> float:
        """The quality at which the clip should weigh what is wanted."""
        while len(self.trials.trials) < MAX_TRIALS:
            quality = self.trials.suggest(self.goal)
            if quality is None:
                break
            self.trials.add(quality, self._measure(quality, workers, report))
            if self.trials.is_found(self.goal):
                break
        return self.trials.best(self.goal)

    def _measure(self, quality: float, workers: Workers, report: Report | None) -> float:
        """Bytes of all GOPs of the clip at a quality: counted, or estimated from the samples."""
        work: Iterator[Work[GopTask, None]] = (Work(t, None) for t in self._tasks(quality))
        weight = gop_bytes(self.info, self.job.options.gop)
        gops: list[Gop] = []
        size, seconds = 0, Fraction(0)
        for gop, _ in workers.run(encode_gop, work, weight):
            assert gop is not None
            size += gop_cost(gop, self.header)
            seconds += (gop.pts[-1] - gop.pts[0]) * self.info.time_base + 1 / self.info.fps
            if self.whole is not None:
                gops.append(gop)
            if report is not None:
                frames = round(seconds * self.info.fps)
                report(Progress(frames, None, float(seconds), size, f"quality {quality:g}"))
        if self.whole is not None:
            self.whole[quality] = gops
            return size
        return float(size * self.seconds / seconds)

    def _tasks(self, quality: float) -> Iterator[GopTask]:
        job = _silent(self.job).at_quality(quality)
        if self.whole is not None:
            with opened(job) as clip:
                yield from clip.tasks()
            return
        for spot in self._spots:
            with suppress(InputError):  # nothing there, behind the last frame
                with opened(replace(job, clip=job.clip.excerpt(spot))) as clip:
                    first = next(clip.gops())
                    task = replace(clip.task(first, job.options), info=self.info)
                yield task

    def take_whole(self, quality: float) -> Callable[[OpenClip], Iterable[Gop]]:
        """The GOPs of a trial, as what a pass would code."""
        assert self.whole is not None
        gops = self.whole[quality]
        return lambda clip: gops


def _silent(job: EncodeJob) -> EncodeJob:
    return replace(job, clip=replace(job.clip, audio="none"))


def _span(gop: FrameBatch) -> tuple[int, int]:
    return int(gop.pts[0]), int(gop.pts[-1])


def _audio_bytes_of(clip: OpenClip) -> int:
    if clip.audio is None:
        return 0
    return sum(len(chunk.data) + AUDIO_CHUNK_BYTES for chunk in clip.audio)


class _Count:
    """A stream that only counts."""

    def write(self, data: bytes, /) -> int:
        return len(data)


def container_bytes(clip: OpenClip) -> int:
    """What a file of this clip weighs without GOPs and sound; with an index, if need be empty."""
    writer = Writer(_Count(), clip.header, clip.models)
    if clip.job.metadata:
        writer.write_metadata(dict(clip.job.metadata))
    writer.close()
    return writer.state.position + FRAMING_BYTES + INDEX_HEAD_BYTES
