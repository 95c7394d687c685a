"""Frames re-encoded into mkv, mp4, webm or mov, with the sound copied beside them.

Kept: frame times (exactly in mp4 and mov, to the millisecond in mkv and webm), colour tags and
range, sample aspect ratio (not in webm), rotation, sound packets and their times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import lcm

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from gancodec.errors import UsageError
from gancodec.types import FrameBatch, VideoInfo

from .notices import Notices
from .partial import PartialFile
from .probe import CHROMA_LOCATIONS, FULL_RANGE
from .shape import with_display_size
from .sound import SoundTrack
from .soundout import SoundOutput
from .targets import PipeTarget, VideoWriter
from .transcode import TargetCodec

_LIMITED_RANGE = 1
_MIN_TIMESCALE = 10_000  # below it FFmpeg doubles the time scale of an mp4 track
_MAX_TIMESCALE = (1 << 31) - 1
_HEADER_BYTES = 1 << 16  # FFmpeg's Matroska headers are a few hundred bytes


@dataclass(frozen=True, slots=True)
class Container:
    """How one kind of file is written."""

    muxer: str
    codec: str
    lossless_codec: str
    odd_codec: str | None  # for sizes that 4:2:0 H.264 cannot say
    odd_lossless_codec: str | None
    sound_fallback: TargetCodec
    exact_times: bool


CONTAINERS = {
    "mkv": Container("matroska", "libx264", "ffv1", "libvpx-vp9", "ffv1", "opus", False),
    "mp4": Container("mp4", "libx264", "libx264", "libvpx-vp9", "libvpx-vp9", "opus", True),
    "mov": Container("mov", "libx264", "libx264", None, None, "aac", True),
    "webm": Container(
        "webm", "libvpx-vp9", "libvpx-vp9", "libvpx-vp9", "libvpx-vp9", "opus", False
    ),
}

# Visually lossless: well below what can be seen at normal distance, and quick.
_ENCODER_OPTIONS = {
    ("libx264", False): {"crf": "12", "preset": "veryfast"},
    ("libx264", True): {"qp": "0", "preset": "veryfast"},
    ("libvpx-vp9", False): {"crf": "14", "b": "0", "cpu-used": "4", "row-mt": "1"},
    ("libvpx-vp9", True): {"lossless": "1", "cpu-used": "4", "row-mt": "1"},
    ("ffv1", False): {"level": "3", "slicecrc": "1"},
    ("ffv1", True): {"level": "3", "slicecrc": "1"},
}


class MuxWriter(VideoWriter):
    """Writes a container file, or a container stream into a pipe.

    Raises:
        CorruptError: when a sound header is damaged.
    """

    def __init__(
        self,
        target: PartialFile | PipeTarget,
        info: VideoInfo,
        kind: str,
        *,
        lossless: bool,
        audio: Mapping[int, bytes],
    ) -> None:
        super().__init__(info, Notices())
        self._target = target
        self._kind = kind
        self._container = CONTAINERS[kind]
        self._sound: dict[int, SoundOutput] = {}
        tracks = {number: SoundTrack(header) for number, header in sorted(audio.items())}
        try:
            self._output = self._open_output([track.rate for track in tracks.values()])
            self._video = self._add_video(lossless)
            for number, track in tracks.items():
                self._sound[number] = SoundOutput(
                    self._output,
                    track,
                    kind,
                    self._container.muxer,
                    self._container.sound_fallback,
                    self._notices,
                )
            with self._errors():
                self._output.start_encoding()
        except BaseException:
            self.abort()
            raise
        self._last_ms: int | None = None

    def _open_output(self, audio_rates: list[int]) -> OutputContainer:
        options = {"fflags": "+bitexact"}  # the same packets give the same file
        file: str | PipeTarget
        if isinstance(self._target, PipeTarget):
            file = self._target
            if self._container.exact_times:
                options["movflags"] = "frag_keyframe+empty_moov+default_base_moof"
        else:
            file = f"file:{self._target.path}"
            if self._container.exact_times:
                options["movflags"] = "faststart"
        if self._container.exact_times:
            scale = self.info.time_base.denominator
            while scale < _MIN_TIMESCALE:
                scale *= 2
            common = lcm(scale, *audio_rates)
            # edit lists, which hold the start times, count in the movie's own scale
            options["video_track_timescale"] = str(min(scale, _MAX_TIMESCALE))
            options["movie_timescale"] = str(common if common <= _MAX_TIMESCALE else scale)
        with self._errors():
            return av.open(file, "w", format=self._container.muxer, container_options=options)

    def _choose_codec(self, lossless: bool) -> str:
        info, container = self.info, self._container
        codec = container.lossless_codec if lossless else container.codec
        if codec != "libx264" or (info.width % 2 == 0 and info.height % 2 == 0):
            return codec
        odd_codec = container.odd_lossless_codec if lossless else container.odd_codec
        if odd_codec is None:
            raise UsageError(
                f"{self._kind} cannot hold {info.width}x{info.height}, only even sizes: "
                "write to mkv or mp4"
            )
        self._notices.add(
            f"H.264 has no odd sizes: {info.width}x{info.height} was written with {odd_codec}"
        )
        return odd_codec

    def _add_video(self, lossless: bool) -> VideoStream:
        info, container = self.info, self._container
        codec = self._choose_codec(lossless)
        options = dict(_ENCODER_OPTIONS[codec, lossless])
        if location := info.color.chroma_location:
            options["chroma_sample_location"] = CHROMA_LOCATIONS[location]
        stream = self._output.add_stream(
            codec,
            rate=info.fps,
            options=options,
            width=info.width,
            height=info.height,
            pix_fmt="yuv420p",
            time_base=info.time_base,
        )
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.color_primaries = info.color.primaries
        context.color_trc = info.color.transfer
        context.colorspace = info.color.matrix
        context.color_range = FULL_RANGE if info.color.full_range else _LIMITED_RANGE
        stream.sample_aspect_ratio = info.sample_aspect_ratio
        self._shape_in_header = not container.exact_times and codec != "libx264"
        if info.rotation:
            stream.set_display_rotation(-info.rotation)  # FFmpeg turns counter-clockwise
        return stream

    def _write_frames(self, batch: FrameBatch) -> None:
        for n in range(len(batch)):
            pts = int(batch.pts[n])
            if not self._container.exact_times:
                self._watch_milliseconds(pts)
            frame = to_frame(batch, n, self.info)
            frame.pts, frame.time_base = pts, self.info.time_base
            self._output.mux(self._video.encode(frame))

    def _watch_milliseconds(self, pts: int) -> None:
        milliseconds = round(pts * self.info.time_base * 1000)
        if milliseconds == self._last_ms:
            self._notices.add(
                f"{{n}} frames are less than a millisecond apart, which {self._kind} cannot tell"
            )
        self._last_ms = milliseconds

    def _write_clusters(self, track: int, clusters: bytes) -> None:
        if track not in self._sound:
            raise UsageError(f"sound for track {track}, which was not announced to the writer")
        self._sound[track].write(clusters)

    def _finish(self) -> None:
        self._output.mux(self._video.encode(None))
        for sound in self._sound.values():
            sound.finish()
        self._output.close()
        self._release()
        if self._shape_in_header and self.info.sample_aspect_ratio != 1:
            self._write_shape()
        if isinstance(self._target, PartialFile):
            self._target.commit()
        else:
            self._target.flush()

    def _write_shape(self) -> None:
        """Put the aspect ratio into a finished mkv or webm whose codec cannot carry it."""
        width, height = display_size(self.info)
        changed = None
        if isinstance(self._target, PartialFile):
            with self._target.path.open("r+b") as file:
                head = file.read(_HEADER_BYTES)
                changed = with_display_size(head, width, height)
                if changed is not None:
                    file.seek(0)
                    file.write(changed)
        if changed is None:
            self._notices.add(
                f"the sample aspect ratio {self.info.sample_aspect_ratio} was lost: write to a "
                "file instead of a pipe, or to mp4"
            )

    def _release(self) -> None:
        for sound in self._sound.values():
            sound.track.close()

    def _cancel(self) -> None:
        try:
            if hasattr(self, "_output"):
                self._output.close()
        finally:
            self._release()
            if isinstance(self._target, PartialFile):
                self._target.discard()


def display_size(info: VideoInfo) -> tuple[int, int]:
    """Square-sample size of about the stored height and exactly the right shape."""
    shape = info.width * info.sample_aspect_ratio / info.height
    times = -(-info.height // shape.denominator)
    return shape.numerator * times, shape.denominator * times


def to_frame(batch: FrameBatch, n: int, info: VideoInfo) -> VideoFrame:
    """Frame ``n`` of a batch as libav's, with the clip's colour tags."""
    frame = VideoFrame(info.width, info.height, "yuv420p")
    for plane, source in zip(frame.planes, (batch.y[n], batch.u[n], batch.v[n]), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        rows[:, : plane.width] = source
    frame.color_primaries = info.color.primaries
    frame.color_trc = info.color.transfer
    frame.colorspace = info.color.matrix
    frame.color_range = FULL_RANGE if info.color.full_range else _LIMITED_RANGE
    return frame
