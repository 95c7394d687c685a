"""Two files of the same clip beside one another: how near the second is to the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gancodec.bitstream.chunks import SIGNATURE
from gancodec.errors import InputError, UsageError
from gancodec.eval.anchors import kbps_of
from gancodec.eval.metric import Context, Meter, Metric, Values
from gancodec.eval.metrics import check_length, check_size
from gancodec.fileio import Progress
from gancodec.fileio import open as open_gvc
from gancodec.terminal import table
from gancodec.types import FrameBatch
from gancodec.video.reader import VideoReader, open_video

_READ_FRAMES = 8  # at a time, of either file


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One of the two files. The bit rate is of the whole file, sound included."""

    path: str
    bytes: int
    frames: int
    seconds: float
    kbps: float


@dataclass(frozen=True, slots=True)
class Score:
    """One metric over the clip."""

    metric: str
    title: str
    unit: str
    higher_is_better: bool
    mean: float
    worst: float
    worst_frame: int | None  # its number, from 0; None where one value tells of the whole clip


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found."""

    reference: FileFacts
    distorted: FileFacts
    width: int
    height: int
    frames: int
    scores: tuple[Score, ...]
    notices: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """Two lines for the files and a table of the scores."""
        lines = [
            f"{name}  {facts.path}: {facts.frames} frames, {facts.bytes} bytes, "
            f"{facts.kbps:.1f} kbps"
            for name, facts in (("REF ", self.reference), ("DIST", self.distorted))
        ]
        rows = [("", "mean", "worst", "frame")]
        rows += [
            (
                s.title,
                _with_unit(s.mean, s.unit),
                _with_unit(s.worst, s.unit),
                _number(s.worst_frame),
            )
            for s in self.scores
        ]
        return "\n".join([*lines, "", table(rows)])


def _number(frame: int | None) -> str:
    return "-" if frame is None else str(frame)


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}" if unit else f"{value:.4f}"


class _Side:
    """One of the files being read from front to back, and what is known of it so far."""

    def __init__(self, path: str | Path, device: str, stack: ExitStack) -> None:
        self._path = Path(path)
        self._video: VideoReader | None = None
        self._frames: Iterator[FrameBatch]
        if _is_gvc(self._path):
            coded = stack.enter_context(open_gvc(self._path, device=device))
            self.info, self._frames = coded.info, coded.batches(_READ_FRAMES)
        else:
            self._video = stack.enter_context(open_video(self._path))
            self.info, self._frames = self._video.info, self._video.batches(_READ_FRAMES)
        self._count = 0
        self._first_pts = self._last_pts = 0

    @property
    def notices(self) -> list[str]:
        """What had to be changed to read it."""
        return [] if self._video is None else [f"{self._path}: {n}" for n in self._video.notices]

    def read(self) -> FrameBatch | None:
        """A few more frames, None at the end."""
        batch = next(self._frames, None)
        if batch is not None:
            if self._count == 0:
                self._first_pts = int(batch.pts[0])
            self._count += len(batch)
            self._last_pts = int(batch.pts[-1])
        return batch

    def facts(self) -> FileFacts:
        """What the file is, having read all of it."""
        while self.read() is not None:
            pass
        lasting = (self._last_pts - self._first_pts) * self.info.time_base + 1 / self.info.fps
        size = self._path.stat().st_size if self._path.is_file() else 0
        return FileFacts(
            path=str(self._path),
            bytes=size,
            frames=self._count,
            seconds=float(lasting),
            kbps=kbps_of(size, lasting),
        )


def _is_gvc(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(SIGNATURE)) == SIGNATURE
    except OSError:
        return False  # a folder or a pattern of pictures, or missing: opening it will tell


def compare(
    reference: str | Path,
    distorted: str | Path,
    metrics: Sequence[Metric],
    *,
    weights: Mapping[str, Path] | None = None,
    device: str = "cpu",
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Measure a file against another, the first frame against the first and so on.

    Args:
        reference, distorted: videos or ``.gvc`` files of one picture size.
        metrics: as `gancodec.eval.metrics.select_metrics` gives them.
        weights: files of metrics whose nets cannot be shipped, by metric name.
        device: where a ``.gvc`` file is decoded.
        progress: told after every few frames.

    Raises:
        UsageError: sizes that differ, or pictures or clips that are too small for a metric.
        InputError, BitstreamError, ModelError: a file cannot be read or decoded.
    """
    with ExitStack() as stack:
        sides = [_Side(path, device, stack) for path in (reference, distorted)]
        sizes = [(side.info.width, side.info.height) for side in sides]
        if sizes[0] != sizes[1]:
            raise UsageError(
                f"the pictures are {sizes[0][0]}x{sizes[0][1]} and {sizes[1][0]}x{sizes[1][1]}; "
                "scale one to the size of the other"
            )
        check_size(list(metrics), *sizes[0])
        context = Context(sides[0].info, weights or {})
        meters = [metric.start(context) for metric in metrics]
        shared = _measure(sides, meters, progress)
        if not shared:
            raise InputError("there is no pair of frames to compare: one of the files is empty")
        values = [meter.finish() for meter in meters]
        facts = [side.facts() for side in sides]
    notices = [notice for side in sides for notice in side.notices]
    if facts[0].frames != facts[1].frames:
        notices.append(
            f"{facts[0].path} has {facts[0].frames} frames and {facts[1].path} has "
            f"{facts[1].frames}: the first {shared} were compared"
        )
    return Comparison(
        reference=facts[0],
        distorted=facts[1],
        width=sizes[0][0],
        height=sizes[0][1],
        frames=shared,
        scores=tuple(_score(m, v) for m, v in zip(metrics, values, strict=True)),
        notices=tuple(notices),
    )


def _measure(
    sides: Sequence[_Side],
    meters: Sequence[Meter],
    progress: Callable[[Progress], None] | None,
) -> int:
    """Feed every metric some frames at a time, to the end of the shorter file; how many."""
    done = 0
    a, b = sides
    while True:
        first, second = a.read(), b.read()
        if first is None or second is None:
            return done
        n = min(len(first), len(second))
        pair = first[:n], second[:n]
        for meter in meters:
            meter.add(*pair)
        done += n
        if progress is not None:
            seconds = float(done / a.info.fps)
            progress(Progress(done, a.info.frames, seconds, 0, "compare"))
        if len(first) != len(second):
            return done


def _score(metric: Metric, values: Values) -> Score:
    check_length(metric, values)
    at = metric.worst(values)
    # a pair is known by its second frame
    frame = {"frame": at, "pair": at + 1, "clip": None}[metric.per]
    return Score(
        metric=metric.name,
        title=metric.title,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        mean=float(values.mean()),
        worst=float(values[at]),
        worst_frame=frame,
    )
