"""Frames through an enhancer, on any number of cores, with the sound beside them.

    frames ─► segments, each with the frames around it ─► enhanced, anywhere ─► in order ─► frames
       └──► sound, in its place between the segments ─────────────────────────────┘

Where segments begin depends on the size of the pictures alone, and every segment is enhanced on
its own, so the frames are the same for any number of jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from gancodec.enhancer import Enhancement, Enhancer, check_size
from gancodec.fileio.footage import Footage, Item
from gancodec.fileio.input_clip import gop_bytes
from gancodec.fileio.parallel import Work, Workers
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.scale import MAX_PIXELS, MAX_SIDE, check_limits

_SEGMENT_SAMPLES = 48_000_000  # luma samples of the output: 72 MB of planes
_SEGMENT_FRAMES = 8, 32  # at least, lest most of the work be context; at most, to share it out


# ── One segment, wherever it runs ────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Segment:
    """``count`` frames from ``first`` on, and those around them that they are seen with."""

    frames: FrameBatch
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class SegmentTask:
    """One segment, and what to do."""

    enhancement: Enhancement
    segment: Segment


def enhance_segment(task: SegmentTask) -> FrameBatch:
    """The wanted frames of a segment.

    Raises:
        ModelError: the weights are not here.
    """
    s = task.segment
    return enhancer_of(task.enhancement).enhance(s.frames, s.first, s.count)


@lru_cache(maxsize=1)  # a process works on one clip at a time
def enhancer_of(enhancement: Enhancement) -> Enhancer:
    """The net that does it, kept for the next segment."""
    return Enhancer(enhancement)


# ── Segments ─────────────────────────────────────────────────────────────────────────────────


def segment_frames(info: VideoInfo) -> int:
    """How many frames of this size, which is that of the output, make a segment."""
    least, most = _SEGMENT_FRAMES
    return max(least, min(most, _SEGMENT_SAMPLES // (info.width * info.height)))


def split_segments(
    items: Iterable[Item], length: int, before: int, after: int
) -> Iterator[Segment | Item]:
    """The frames in segments, sound as it comes.

    Every frame counts in one segment, of ``length``, or of up to ``after`` more at the end, and is
    seen with ``before`` frames before and ``after`` behind the segment, as far as there are any.
    """
    held: list[FrameBatch] = []
    first = 0
    for item in items:
        if not isinstance(item, FrameBatch):
            yield item
            continue
        for n in range(len(item)):
            held.append(item[n : n + 1])
            if len(held) == first + length + after:
                yield Segment(FrameBatch.concatenate(held), first, length)
                done = first + length
                first = min(before, done)
                del held[: done - first]
    if len(held) > first:
        yield Segment(FrameBatch.concatenate(held), first, len(held) - first)


# ── A clip ───────────────────────────────────────────────────────────────────────────────────


class Enhancing:
    """What happens to footage on its way to the writer.

    Attributes:
        info: of the frames that come out.
        enhancement: with the rate of the footage, which is known when the first frames are there.

    Raises:
        ModelError: the weights are not there, or not whole, or for something else.
        UsageError: the pictures are too small.
        LimitError: what comes out would be too large.
    """

    def __init__(self, enhancement: Enhancement, footage: Footage, workers: Workers) -> None:
        info, scale = footage.info, enhancement.scale
        enhancer = enhancer_of(enhancement)
        check_size(info.width, info.height)
        self.info = replace(info, width=info.width * scale, height=info.height * scale)
        size = self.info.width, self.info.height
        check_limits(f"the input enlarged {scale} times", size, MAX_SIDE, MAX_PIXELS)
        self.enhancement = enhancement
        self._footage = footage
        self._workers = workers
        self._context = enhancer.before, enhancer.after

    def output(self) -> Iterator[Item]:
        """What the footage gives, its frames enhanced."""
        weight = gop_bytes(self.info, segment_frames(self.info))
        for frames, item in self._workers.run(enhance_segment, self._work(), weight):
            if frames is not None:
                yield frames
            elif item is not None:
                yield item

    def _work(self) -> Iterator[Work[SegmentTask, Item | None]]:
        length, told = segment_frames(self.info), False
        for piece in split_segments(self._footage.output(), length, *self._context):
            if not isinstance(piece, Segment):
                yield Work(None, piece)
                continue
            if not told:
                self._tell_rate()
                told = True
            yield Work(SegmentTask(self.enhancement, piece), None)

    def _tell_rate(self) -> None:
        if self.enhancement.minds_rate and self.enhancement.bits_per_pixel is None:
            rate = self._footage.bits_per_pixel()
            self.enhancement = replace(self.enhancement, bits_per_pixel=rate)
