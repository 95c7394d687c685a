"""The clock of a damaged file: what is lost is filled with a still picture, so that pictures and
sound stay together and the clip keeps its length.

How many frames are missing is known from the index of a file that has one, else from the time
between the frames around the hole, at the nominal frame rate. At the end of a file that breaks
off it is the number of frames that the header or the end mark promises, if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from gancodec.bitstream import IndexEntry
from gancodec.fileio.headers import ticks_per_frame
from gancodec.fileio.results import LostSpan
from gancodec.types import FrameBatch, VideoInfo

_FILL_FRAMES = 64  # at a time; they share one picture, so this is no memory


class Timeline:
    """Passes good frames through and fills the holes that `damage` announces.

    A hole shows the frame before it, at the beginning of a clip the frame behind it.

    Attributes:
        lost: what was filled, in seconds; the end is None where the file breaks off and nothing
            says how long it was.
    """

    def __init__(self, info: VideoInfo, start_pts: int, index: Sequence[IndexEntry]) -> None:
        self.lost: list[LostSpan] = []
        self._info = info
        self._step = ticks_per_frame(info)
        self._next_pts = start_pts
        self._next_frame = 0  # its number, if none was lost without our knowing
        self._index = {entry.pts: entry for entry in index}
        self._indexed_frames = sum(entry.frames for entry in index)
        self._damaged = False
        self._last: FrameBatch | None = None

    def damage(self) -> None:
        """Something was lost here; whether frames were, what follows will tell."""
        self._damaged = True

    def good(self, batch: FrameBatch) -> Iterator[FrameBatch]:
        """Frames that were decoded, behind what has to be filled before them."""
        if len(batch):
            first = int(batch.pts[0])
            if self._damaged:
                yield from self._fill_before(first, batch[:1])
            yield batch
            self._last = batch[-1:]
            self._advance(int(batch.pts[-1]), len(batch))

    def passed(self, last_pts: int, frames: int) -> None:
        """Good frames that were not decoded, because nobody asked for them."""
        self._damaged = False
        self._advance(last_pts, frames)

    def stop(self, pts: int) -> Iterator[FrameBatch]:
        """What has to be filled before a good frame of this time, which nobody asked for."""
        if self._damaged and self._last is not None:
            yield from self._fill_before(pts, self._last)

    def end(self, promised: int | None) -> Iterator[FrameBatch]:
        """What has to be filled behind the last frame; ``promised`` is how many there were."""
        total = self._indexed_frames or promised
        if not self._damaged or self._last is None:
            return
        if total is None:
            self.lost.append((self._seconds(self._next_pts), None))
        elif (missing := total - self._next_frame) > 0:
            end = self._next_pts + missing * self._step
            yield from self._fill(missing, end, self._last)

    def _advance(self, last_pts: int, frames: int) -> None:
        self._next_pts = last_pts + self._step
        self._next_frame += frames

    def _fill_before(self, pts: int, picture: FrameBatch) -> Iterator[FrameBatch]:
        self._damaged = False
        room = pts - self._next_pts
        entry = self._index.get(pts)
        if entry is not None:
            missing = entry.first_frame - self._next_frame
        else:
            missing = round(Fraction(room, self._step))
        missing = min(missing, room)  # times must increase
        if missing > 0:
            yield from self._fill(missing, pts, self._last or picture)
        if entry is not None:
            self._next_frame = entry.first_frame

    def _fill(self, missing: int, end: int, picture: FrameBatch) -> Iterator[FrameBatch]:
        """Repeat a picture ``missing`` times, evenly from where we are to ``end``."""
        begin = self._next_pts
        self.lost.append((self._seconds(begin), self._seconds(end)))
        for first in range(0, missing, _FILL_FRAMES):
            numbers = range(first, min(first + _FILL_FRAMES, missing))
            pts = [begin + n * (end - begin) // missing for n in numbers]
            y, u, v = (
                np.broadcast_to(plane, (len(pts), *plane.shape[1:]))
                for plane in (picture.y, picture.u, picture.v)
            )
            yield FrameBatch(y, u, v, np.array(pts, np.int64))
        self._next_pts = end
        self._next_frame += missing

    def _seconds(self, pts: int) -> Fraction:
        return pts * self._info.time_base
