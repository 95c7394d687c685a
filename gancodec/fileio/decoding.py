"""From the bytes of a ``.gvc`` file to its frames and its sound.

reader ─► GOPs ─► decoded, each on its own, on any number of cores ─► in order ─► what is wanted
   └──► sound clusters, in their place between the GOPs
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from gancodec.bitstream import (
    AudioData,
    AudioInit,
    ByteReader,
    Damage,
    End,
    Event,
    Gop,
    IndexEntry,
    ModelRef,
    Reader,
)
from gancodec.bitstream.chunks import Source
from gancodec.bitstream.header import DEFAULT_LIMITS
from gancodec.bitstream.seeking import read_index
from gancodec.codec import Decoder
from gancodec.config import REALISM, Engine
from gancodec.engine import nets_in_onnx
from gancodec.errors import CorruptError, GancodecError
from gancodec.fileio.concealment import Timeline
from gancodec.fileio.ends import is_seekable
from gancodec.fileio.headers import info_of
from gancodec.fileio.input_clip import gop_bytes
from gancodec.fileio.parallel import BUDGET_BYTES, Work, Workers, one_thread
from gancodec.fileio.results import LostSpan
from gancodec.fileio.source_rate import rate_of_gops
from gancodec.registry import find_model, running_in_onnx
from gancodec.types import FrameBatch, FrameType, VideoInfo
from gancodec.video.timeline import TYPING_TOLERANCE

# ── One GOP, wherever it runs ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """One GOP, and all that a worker must know to decode it.

    Attributes:
        first, stop: which frames of it are wanted; those before ``first`` are decoded as well.
        name: what to call it in a sentence.
        conceal: give what could be decoded instead of raising.
        onnx_nets: names of the nets that run in onnxruntime.
    """

    info: VideoInfo
    references: tuple[ModelRef, ...]
    realism: float
    device: str
    gop: Gop
    first: int
    stop: int
    name: str
    conceal: bool = False
    onnx_nets: tuple[str, ...] = ()


class DecodedGop(NamedTuple):
    """The frames that were wanted and could be decoded, and what went wrong, if anything."""

    frames: FrameBatch
    failure: str = ""


def decode_frames(task: DecodeTask) -> Iterator[FrameBatch]:
    """The frames of a GOP from its first to the last one wanted, one by one.

    Raises:
        CorruptError: the bytes are no frames, or other symbols than were encoded.
    """
    gop = task.gop
    model = running_in_onnx(find_model(task.references, task.device), task.onnx_nets)
    decoder = Decoder(task.info, model, realism=task.realism, device=task.device)
    for n in range(task.stop):
        frame = gop.frames[n]
        if n == 0 and frame.kind != FrameType.INTRA:
            raise CorruptError(f"{task.name} does not begin with an intra frame; it is damaged")
        if frame.kind not in (FrameType.INTRA, FrameType.INTER):
            raise CorruptError(f"{task.name} has a frame of kind {frame.kind}; it is damaged")
        try:
            yield decoder.decode(FrameType(frame.kind), gop.pts[n], frame.data)
        except CorruptError as error:
            raise CorruptError(f"frame {n} of {task.name} is damaged: {error}") from error
    if task.stop == len(gop.frames) and decoder.symbol_hash != gop.symbol_hash:
        raise WrongSymbols(
            f"{task.name} decodes to other symbols than were encoded; "
            "run `gancodec selftest`, and fetch the file again"
        )


class WrongSymbols(CorruptError):
    """All bytes are sound, yet what they say is not what the encoder said."""


def decode_gop(task: DecodeTask) -> DecodedGop:
    """The wanted frames of a GOP.

    Raises:
        CorruptError: as `decode_frames`, unless ``task.conceal``.
    """
    frames: list[FrameBatch] = []
    failure = ""
    try:
        for n, frame in enumerate(decode_frames(task)):
            if n >= task.first:
                frames.append(frame)
    except CorruptError as error:
        if not task.conceal:
            raise
        failure = str(error)
        if isinstance(error, WrongSymbols):
            frames = []  # any of them may be wrong
    return DecodedGop(FrameBatch.concatenate(frames) if frames else no_frames(task.info), failure)


def no_frames(info: VideoInfo) -> FrameBatch:
    """A batch of none."""
    chroma = (0, info.chroma_height, info.chroma_width)
    return FrameBatch(
        np.zeros((0, info.height, info.width), np.uint8),
        np.zeros(chroma, np.uint8),
        np.zeros(chroma, np.uint8),
        np.zeros(0, np.int64),
    )


# ── Which frames ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """What is wanted of a file.

    Attributes:
        start, end: only frames with start <= time < end, in seconds; None for no cut.
        sound: whether sound tracks are wanted.
    """

    realism: float = REALISM
    start: Fraction | None = None
    end: Fraction | None = None
    device: str = "cpu"
    engine: Engine = "torch"
    conceal: bool = False
    lossless: bool = False
    sound: bool = True


def stored_index(stream: ByteReader) -> Sequence[IndexEntry]:
    """The index at the end of a file, without moving in it; empty for pipes, or if it is gone."""
    if not is_seekable(stream):
        return ()
    seekable: Any = stream
    position = seekable.tell()
    found = read_index(Source(stream), DEFAULT_LIMITS)
    seekable.seek(position)
    return found or ()


class _Cut:
    """The wanted part of a clip in ticks; typed times are rounded, ticks are not."""

    def __init__(self, job: DecodeJob, time_base: Fraction) -> None:
        tolerance = min(time_base / 2, TYPING_TOLERANCE)
        self.begin = None if job.start is None else (job.start - tolerance) / time_base
        self.end = None if job.end is None else (job.end - tolerance) / time_base

    def span(self, pts: tuple[int, ...]) -> tuple[int, int]:
        """Numbers of the first wanted frame and of the one behind the last."""
        first = 0 if self.begin is None else sum(p < self.begin for p in pts)
        stop = len(pts) if self.end is None else sum(p < self.end for p in pts)
        return first, stop

    def take(self, batch: FrameBatch) -> FrameBatch:
        """The wanted frames of a batch."""
        first, stop = self.span(tuple(batch.pts.tolist()))
        return batch[first:stop]

    def is_over(self, pts: int) -> bool:
        """Whether nothing from this time on is wanted."""
        return self.end is not None and pts >= self.end


@dataclass(slots=True)
class _Piece:
    """An event on its way through the workers; ``is_over`` behind the wanted part."""

    event: Event
    number: int = 0  # of the GOP
    is_over: bool = False


class Playback:
    """The events of a file with its GOPs decoded.

    Attributes:
        damage: what was stepped over, one sentence each.
    """

    def __init__(self, stream: ByteReader, job: DecodeJob, workers: Workers) -> None:
        self.job = job
        seekable: Any = stream
        self._stream: Any = stream
        self._begin: int | None = seekable.tell() if is_seekable(stream) else None
        self._first_rate: float | None = None
        self.reader = Reader(stream, conceal=job.conceal)
        self.info = info_of(self.reader.header)
        self.damage: list[str] = []
        self._workers = workers
        self._cut = _Cut(job, self.info.time_base)
        self._index = stored_index(stream)
        self._references = self.reader.models
        model = find_model(self._references, job.device)  # before anything is written
        self.timeline = Timeline(self.info, self.reader.header.start_pts, self._index)
        self._promised = self.reader.header.n_frames
        with one_thread():  # as GOPs are decoded; chosen here for all, lest workers disagree
            self._onnx_nets = nets_in_onnx(
                job.engine,
                model.nets,
                (self.info.height, self.info.width),
                frames=self.total_frames,
                realism=job.realism,
                device=job.device,
            )

    @property
    def total_frames(self) -> int | None:
        """How many frames will come, None if unknown."""
        if self.job.start is not None or self.job.end is not None:
            return None
        return sum(entry.frames for entry in self._index) or self._promised

    @property
    def position(self) -> int:
        """Bytes of the file that were read."""
        return self.reader.position

    @property
    def start_pts(self) -> int:
        """Time of the clip's first frame in ticks."""
        return self.reader.header.start_pts

    @property
    def lost(self) -> Sequence[LostSpan]:
        """What was filled with a still picture."""
        return self.timeline.lost

    @property
    def notices(self) -> Sequence[str]:
        """Nothing is changed on the way in."""
        return ()

    def bits_per_pixel(self) -> float | None:
        """Bits a luma sample of the whole file's pictures; of a pipe, those of its first GOP."""
        if self._begin is None:
            return self._first_rate
        position = self._stream.tell()
        try:
            with suppress(GancodecError):  # playing it will tell
                self._stream.seek(self._begin)
                events = Reader(self._stream, conceal=True).events()
                return rate_of_gops((e for e in events if isinstance(e, Gop)), self.info)
        finally:
            self._stream.seek(position)
        return self._first_rate

    def output(self) -> Iterator[AudioInit | AudioData | FrameBatch]:
        """Sound as it is stored, and the wanted frames, in order; holes filled if concealing."""
        fills: Iterator[FrameBatch] | None = None
        for piece, decoded in self._decoded():
            event = piece.event
            if isinstance(event, AudioInit | AudioData):
                if self.job.sound:
                    yield event
            elif isinstance(event, Damage):
                self.damage.append(event.reason)
                self.timeline.damage()
            elif isinstance(event, End):
                self._promised = event.frames
            elif isinstance(event, Gop) and piece.is_over:
                fills = self.timeline.stop(event.pts[0])
            elif isinstance(event, Gop):
                yield from self._frames(event, decoded)
        for fill in self.timeline.end(self._promised) if fills is None else fills:
            if len(wanted := self._cut.take(fill)):
                yield wanted

    def _frames(self, gop: Gop, decoded: Iterable[DecodedGop] | None) -> Iterator[FrameBatch]:
        times = _sound_times(gop)
        skipped = len(times) if decoded is None else self._cut.span(times)[0]
        if skipped:
            self.timeline.passed(times[skipped - 1], skipped)
        for part in decoded or ():
            for batch in self.timeline.good(part.frames):
                if len(wanted := self._cut.take(batch)):
                    yield wanted
            if part.failure:
                self.damage.append(part.failure)
                self.timeline.damage()
        if gop.bad_frames:
            self.timeline.damage()

    # ── Events and tasks ──

    def _decoded(self) -> Iterator[tuple[_Piece, Iterable[DecodedGop] | None]]:
        """Events, with the parts that each GOP that is wanted was decoded into."""
        heaviest = gop_bytes(self.info, self.reader.header.max_gop_frames)
        if heaviest > BUDGET_BYTES:
            for task, piece in self._work():
                yield piece, None if task is None else self._decode_here(task)
            return
        for result, piece in self._workers.run(decode_gop, self._work(), heaviest):
            yield piece, None if result is None else [result]

    def _decode_here(self, task: DecodeTask) -> Iterator[DecodedGop]:
        """Frame by frame: a GOP of which all planes together would not fit."""
        frames = decode_frames(task)
        n = 0
        while True:
            try:
                with one_thread():
                    frame = next(frames, None)
            except CorruptError as error:
                if not task.conceal:
                    raise
                yield DecodedGop(no_frames(task.info), str(error))
                return
            if frame is None:
                return
            if n >= task.first:
                yield DecodedGop(frame)
            n += 1

    def _work(self) -> Iterator[Work[DecodeTask, _Piece]]:
        for number, event in self._numbered():
            piece = _Piece(event, number)
            if not isinstance(event, Gop):
                yield Work(None, piece)
                continue
            if self._cut.is_over(event.pts[0]):
                yield Work(None, _Piece(event, number, is_over=True))
                return
            yield Work(self._task(event, number), piece)

    def _task(self, gop: Gop, number: int) -> DecodeTask | None:
        if self._first_rate is None:
            self._first_rate = rate_of_gops([gop], self.info)
        first, stop = self._cut.span(_sound_times(gop))
        if first >= stop:
            return None
        seconds = float(gop.pts[0] * self.info.time_base)
        return DecodeTask(
            info=self.info,
            references=self._references,
            realism=self.job.realism,
            device=self.job.device,
            gop=gop,
            first=first,
            stop=stop,
            name=f"GOP {number} at byte {gop.offset} ({seconds:.3f} s)",
            conceal=self.job.conceal,
            onnx_nets=self._onnx_nets,
        )

    def _numbered(self) -> Iterator[tuple[int, Event]]:
        """Events with the number of the GOP; with the index only GOPs, from the wanted one on."""
        jump = bool(self._index) and not self.job.conceal and not self.reader.header.has_audio
        if jump and self._cut.begin is not None:
            begin = self._cut.begin
            first = max(sum(entry.pts <= begin for entry in self._index) - 1, 0)
            for number in range(first, len(self._index)):
                yield number, self.reader.read_gop_at(self._index[number])
            return
        number = 0
        for event in self.reader.events():
            yield number, event
            number += isinstance(event, Gop)


def _sound_times(gop: Gop) -> tuple[int, ...]:
    """Times of the frames before the first damaged one; of others the times are damaged, too."""
    return gop.pts[: gop.bad_frames[0]] if gop.bad_frames else gop.pts
