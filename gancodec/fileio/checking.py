"""Is a ``.gvc`` file as its encoder wrote it?"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from fractions import Fraction

from gancodec.bitstream import Damage, End, Event, Gop, Reader
from gancodec.fileio.decoding import DecodeTask, decode_gop, stored_index
from gancodec.fileio.ends import check_device, readable
from gancodec.fileio.headers import info_of
from gancodec.fileio.input_clip import Source, gop_bytes
from gancodec.fileio.parallel import Work, Workers
from gancodec.fileio.results import Progress, Report, VerifyReport
from gancodec.registry import find_model


def verify(
    source: Source,
    *,
    deep: bool = True,
    jobs: int | None = None,
    executor: Executor | None = None,
    device: str = "cpu",
    progress: Report | None = None,
) -> VerifyReport:
    """Read all of a file, or of a pipe, and report everything that is wrong with it.

    Checksums, order, counts and index are always checked; ``deep`` decodes every frame as well,
    and compares the symbols of every GOP with the hash of those that were encoded.

    Raises:
        InputError: it cannot be read.
        BitstreamError: it is not even the beginning of such a file, or needs a newer version.
        ModelError: the weights it was made with are not here (only where ``deep``).
    """
    check = _Check(deep, check_device(device))
    with readable(source) as stream, Workers(jobs, executor, device=device) as workers:
        reader = Reader(stream, conceal=True)
        check.begin(reader, sum(entry.frames for entry in stored_index(stream)) or None)
        weight = gop_bytes(check.info, reader.header.max_gop_frames)
        for decoded, event in workers.run(decode_gop, check.work(reader.events()), weight):
            check.note(event, decoded.failure if decoded is not None else "")
            if progress is not None:
                progress(check.progress())
    return check.report()


class _Check:
    """What was met so far."""

    def __init__(self, deep: bool, device: str) -> None:
        self._deep = deep
        self._device = device
        self._problems: list[str] = []
        self._frames = self._gops = 0
        self._last_pts: int | None = None
        self._ended = False

    def begin(self, reader: Reader, total_frames: int | None) -> None:
        self._reader = reader
        self._total_frames = total_frames or reader.header.n_frames
        self._header = reader.header
        self.info = info_of(reader.header)
        if self._deep:
            find_model(reader.models, self._device)

    def work(self, events: Iterator[Event]) -> Iterator[Work[DecodeTask, Event]]:
        """GOPs to decode among the events."""
        for event in events:
            sound = isinstance(event, Gop) and not event.bad_frames
            yield Work(self._task(event) if sound and self._deep else None, event)

    def _task(self, event: Event) -> DecodeTask:
        assert isinstance(event, Gop)
        seconds = float(event.pts[0] * self.info.time_base)
        return DecodeTask(
            info=self.info,
            references=self._reader.models,
            realism=0.0,  # what the head would show has no part in the symbols
            device=self._device,
            gop=event,
            first=len(event.frames),
            stop=len(event.frames),
            name=f"the GOP at byte {event.offset} ({seconds:.3f} s)",
            conceal=True,
        )

    def note(self, event: Event, failure: str) -> None:
        """Count an event whose GOP was decoded with this result."""
        if failure:
            self._problems.append(failure)
        if isinstance(event, Damage):
            self._problems.append(event.reason)
        elif isinstance(event, End):
            self._ended = True
        elif isinstance(event, Gop) and not event.bad_frames and not failure:
            self._frames += len(event.frames)
            self._gops += 1
            self._last_pts = event.pts[-1]

    def _seconds(self) -> Fraction:
        if self._last_pts is None:
            return Fraction(0)
        length = (self._last_pts - self._header.start_pts) * self.info.time_base
        return length + 1 / self.info.fps

    def progress(self) -> Progress:
        return Progress(
            self._frames,
            self._total_frames,
            float(self._seconds()),
            self._reader.position,
            "verify",
        )

    def report(self) -> VerifyReport:
        """What there is to say at the end."""
        if not self._ended and not self._problems:
            self._problems.append("the file ends without an end mark; fetch the rest of it")
        return VerifyReport(
            frames=self._frames,
            gops=self._gops,
            bytes=self._reader.position,
            seconds=self._seconds(),
            deep=self._deep,
            problems=tuple(self._problems),
        )
