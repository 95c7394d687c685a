"""YUV4MPEG2: frames as they are, for pipes and for tools that compare."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from gancodec.types import FrameBatch, VideoInfo

from .notices import Notices
from .partial import PartialFile
from .targets import PipeTarget, VideoWriter

# By AVChromaLocation; FFmpeg writes and reads the unspecified one as "jpeg" (centred) as well.
_CHROMA_TAGS = {1: "420mpeg2", 3: "420paldv"}


def y4m_header(info: VideoInfo) -> bytes:
    """The stream header line for clips of this kind."""
    sar = info.sample_aspect_ratio
    chroma = _CHROMA_TAGS.get(info.color.chroma_location, "420jpeg")
    level = "FULL" if info.color.full_range else "LIMITED"
    return (
        f"YUV4MPEG2 W{info.width} H{info.height} F{info.fps.numerator}:{info.fps.denominator} "
        f"Ip A{sar.numerator}:{sar.denominator} C{chroma} XCOLORRANGE={level}\n"
    ).encode("ascii")


class Y4mWriter(VideoWriter):
    """Writes exact frames; sound, rotation and variable frame times have no place in the format."""

    def __init__(self, target: PartialFile | PipeTarget, info: VideoInfo, sound: bool) -> None:
        super().__init__(info, Notices())
        self._target = target
        self._file: BinaryIO | PipeTarget = (
            target if isinstance(target, PipeTarget) else target.path.open("wb")
        )
        self._step: int | None = None
        self._last: int | None = None
        if sound:
            self._notices.add("y4m holds no sound: it was left out")
        if info.rotation:
            self._notices.add(
                f"y4m cannot say that the picture is shown turned by {info.rotation} degrees"
            )
        with self._errors():
            self._put(y4m_header(info))

    def _write_frames(self, batch: FrameBatch) -> None:
        for pts in batch.pts.tolist():
            self._watch_rate(pts)
        for index in range(len(batch)):
            self._put(b"FRAME\n")
            for plane in (batch.y, batch.u, batch.v):
                self._put(np.ascontiguousarray(plane[index]).data)

    def _watch_rate(self, pts: int) -> None:
        """Say so once when the times are not those of the constant rate in the header."""
        if self._last is not None:
            step = (pts - self._last) * self.info.time_base
            # millisecond containers round a constant rate
            if abs(step - 1 / self.info.fps) > max(self.info.time_base, 1 / (10 * self.info.fps)):
                self._notices.add("y4m has a constant rate: varying frame times were lost")
        self._last = pts

    def _put(self, data: bytes | memoryview) -> None:
        self._file.write(data)

    def _finish(self) -> None:
        if isinstance(self._target, PipeTarget):
            self._target.flush()
        else:
            self._file.close()
            self._target.commit()

    def _cancel(self) -> None:
        if isinstance(self._target, PartialFile):
            try:
                self._file.close()  # writes what is left, for which there may be no room
            finally:
                self._target.discard()
