"""Decoded frames and their sound, into a video file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import BinaryIO

from gancodec.bitstream import AudioData, AudioInit
from gancodec.errors import CorruptError, InputError
from gancodec.fileio.enhancing import Enhancing
from gancodec.fileio.footage import Footage, Item
from gancodec.fileio.results import DecodeStats, Progress, Report
from gancodec.fileio.sound_cut import SoundCut
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.sound import SoundTrack
from gancodec.video.targets import VideoWriter
from gancodec.video.writer import open_writer


def decode_to(
    footage: Footage,
    target: str | BinaryIO,
    report: Report | None = None,
    *,
    format: str | None = None,
    enhancing: Enhancing | None = None,
) -> DecodeStats:
    """Write all that is wanted of a file to a video.

    Args:
        footage: what to write.
        target: a file name, or a stream, which gets y4m unless ``format`` names a container.
        report: called as frames are written.
        format: y4m, mkv, mp4, mov or webm.
        enhancing: what the footage goes through first.

    Raises:
        InputError: there is no frame to write, or the target cannot be written.
        BitstreamError: the file is damaged, unless concealing.
    """
    info = footage.info if enhancing is None else enhancing.info
    output = _Output(footage, info, target, report, format)
    if enhancing is not None:
        output.stage = "enhance"
    try:
        for item in footage.output() if enhancing is None else enhancing.output():
            output.put(item)
        return output.finish()
    except BaseException:
        output.abort()
        raise


class _Output:
    """A writer that is opened with the first frame, when all sound tracks are known."""

    def __init__(
        self,
        footage: Footage,
        info: VideoInfo,
        target: str | BinaryIO,
        report: Report | None,
        format: str | None,
    ) -> None:
        self.stage = "decode"
        self._footage = footage
        self._info = info
        self._target = target
        self._format = format
        self._report = report
        self._writer: VideoWriter | None = None
        self._headers: dict[int, bytes] = {}
        self._cuts: dict[int, SoundCut] = {}
        self._early: list[AudioData] = []
        self._notices: dict[str, None] = {}
        self._origin = 0
        self._frames = 0
        self._last_pts = 0

    def put(self, item: Item) -> None:
        """Take what `Footage.output` gives."""
        if isinstance(item, FrameBatch):
            self._put_frames(item)
        elif isinstance(item, AudioInit):
            self._begin_track(item)
        else:
            self._put_sound(item)

    def _begin_track(self, item: AudioInit) -> None:
        job = self._footage.job
        if self._writer is not None:
            self._notices[f"sound track {item.track + 1} begins late and was left out"] = None
            return
        try:
            if job.start is not None or job.end is not None:
                self._cuts[item.track] = SoundCut(item.data, job.start, job.end)
            else:
                SoundTrack(item.data).close()  # raises now what the writer would raise later
            self._headers[item.track] = item.data
        except CorruptError as error:
            self._give_up_sound(item.track, error)

    def _give_up_sound(self, track: int, error: CorruptError) -> None:
        if not self._footage.job.conceal:
            raise error
        self._footage.damage.append(f"sound track {track + 1}: {error}")

    def _put_sound(self, item: AudioData) -> None:
        if item.track not in self._headers:
            return  # said before
        try:
            if item.track in self._cuts:
                data = self._cuts[item.track].feed(item.data)
                item = AudioData(item.track, data)
            if self._writer is None:
                self._early.append(item)
            elif item.data:
                self._writer.write_audio(item.track, item.data)
        except CorruptError as error:
            self._give_up_sound(item.track, error)

    def _put_frames(self, batch: FrameBatch) -> None:
        if self._writer is None:
            self._open(int(batch.pts[0]))
        assert self._writer is not None
        shifted = replace(batch, pts=batch.pts - self._origin)
        self._writer.write(shifted)
        self._frames += len(batch)
        self._last_pts = int(shifted.pts[-1])
        if self._report is not None:
            self._report(
                Progress(
                    self._frames,
                    self._footage.total_frames,
                    float(self._seconds()),
                    self._footage.position,
                    self.stage,
                )
            )

    def _open(self, first_pts: int) -> None:
        """A part begins at zero, with its first picture; a whole clip keeps its times."""
        job = self._footage.job
        if job.start is not None:
            self._origin = first_pts
        origin = self._origin * self._info.time_base
        headers = {**self._headers, **{t: cut.open(origin) for t, cut in self._cuts.items()}}
        self._writer = open_writer(
            self._target,
            self._info,
            lossless=job.lossless,
            audio=headers,
            format=self._format,
        )
        early, self._early = self._early, []
        for item in early:
            self._put_sound_now(item)

    def _put_sound_now(self, item: AudioData) -> None:
        assert self._writer is not None
        if item.data:
            try:
                self._writer.write_audio(item.track, item.data)
            except CorruptError as error:
                self._give_up_sound(item.track, error)

    def _seconds(self) -> Fraction:
        info = self._info
        first = 0 if self._origin else self._footage.start_pts
        return (self._last_pts - first) * info.time_base + 1 / info.fps

    def finish(self) -> DecodeStats:
        """Close the writer: the file is there."""
        footage = self._footage
        if self._writer is None:
            raise self._nothing()
        for track, cut in self._cuts.items():
            self._put_sound_now(AudioData(track, cut.finish()))
        self._writer.close()
        return DecodeStats(
            frames=self._frames,
            seconds=self._seconds(),
            lost=tuple(footage.lost),
            damage=tuple(footage.damage),
            notices=(*footage.notices, *self._notices, *self._writer.notices),
        )

    def _nothing(self) -> InputError | CorruptError:
        footage = self._footage
        if footage.damage:
            return CorruptError("no frame of the file can be decoded; fetch it again")
        if footage.job.start is not None:
            return InputError(
                f"the file has no frame at {float(footage.job.start):g} s or later: start earlier"
            )
        return InputError("the file holds no frame; it was encoded from nothing")

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.abort()
