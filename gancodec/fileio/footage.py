"""What there is to write into a video: frames and sound in order, and what is known about them.

`decoding.Playback` gives those of a ``.gvc`` file, `ClipPlayback` those of any other video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Protocol

from gancodec.bitstream import AudioData, AudioInit
from gancodec.fileio.decoding import DecodeJob
from gancodec.fileio.input_clip import READ_FRAMES, InputClip, expected_frames
from gancodec.fileio.results import LostSpan
from gancodec.fileio.source_rate import rate_of_video
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.reader import VideoReader

Item = AudioInit | AudioData | FrameBatch


class Footage(Protocol):
    """A clip that is given out once, from front to back.

    Attributes:
        job: which part of it, and how it is to be written.
        info: of the frames.
        damage: what was stepped over, one sentence each.
    """

    job: DecodeJob
    info: VideoInfo
    damage: list[str]

    @property
    def total_frames(self) -> int | None:
        """How many frames will come, None if unknown."""
        ...

    @property
    def position(self) -> int:
        """Bytes of a ``.gvc`` file that were read; 0 of others."""
        ...

    @property
    def start_pts(self) -> int:
        """Time of the clip's first frame in ticks, known when that was given out."""
        ...

    @property
    def lost(self) -> Sequence[LostSpan]:
        """What was filled with a still picture."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """What was changed on the way in, one sentence each."""
        ...

    def bits_per_pixel(self) -> float | None:
        """Bits that the source spends on a luma sample, None where no codec has left a mark.

        Called when the first frames were given out.
        """
        ...

    def output(self) -> Iterator[Item]:
        """Headers of all sound tracks, then frames, with the sound that begins before them."""
        ...


class ClipPlayback:
    """A video that FFmpeg reads, as footage."""

    def __init__(self, clip: InputClip, reader: VideoReader, job: DecodeJob) -> None:
        self.job = job
        self.info = reader.info
        self.damage: list[str] = []
        self.position = 0
        self.start_pts = 0
        self.lost: tuple[LostSpan, ...] = ()
        self._clip = clip
        self._reader = reader

    @property
    def total_frames(self) -> int | None:
        """How many frames there will be, as far as the input tells."""
        return expected_frames(self._reader, self.info)

    @property
    def notices(self) -> Sequence[str]:
        """What was changed on the way in, one sentence each."""
        return self._reader.notices

    def bits_per_pixel(self) -> float | None:
        """Bits a luma sample of the whole file's pictures."""
        return rate_of_video(self._clip.path, self._reader)

    def output(self) -> Iterator[Item]:
        """Headers of all sound tracks, then frames, with the sound that begins before them."""
        audio = self._reader.audio
        for chunk in () if audio is None else audio.headers:
            yield AudioInit(chunk.track, chunk.data)
        first = True
        for batch in self._reader.batches(READ_FRAMES):
            if first:
                self.start_pts, first = int(batch.pts[0]), False
            yield from self._sound_until(int(batch.pts[0]) * self.info.time_base)
            yield batch
        yield from self._sound_until(None)

    def _sound_until(self, time: Fraction | None) -> Iterator[AudioData]:
        audio = self._reader.audio
        for chunk in () if audio is None else audio.until(time):
            yield AudioData(chunk.track, chunk.data)


@contextmanager
def opened_clip(clip: InputClip, job: DecodeJob) -> Iterator[ClipPlayback]:
    """Open a video as footage.

    Raises:
        InputError: it cannot be read, or has no frame.
    """
    with clip.open() as reader:
        yield ClipPlayback(clip, reader, job)
