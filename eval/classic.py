"""x264, x265, SVT-AV1 and VP9, in this process (PyAV), on one thread unless told otherwise.

A file is the smallest that holds the pictures and all that decoding needs, and no note of the
encoder about itself:

    x264, x265     byte stream (Annex B), parameter sets once at the front as in an mp4
    svtav1         open bitstream units, without a container
    vp9            IVF: 32 bytes, and 12 a frame, as VP9 frames do not tell their own length

All code 8 bits with the defaults of their preset: B-frames and look-ahead on, one pass at a
constant rate factor, key frames as far apart as each one likes. ``gop`` limits that distance.
"""

from __future__ import annotations

import io
import os
from typing import ClassVar

import av
from av.bitstream import BitStreamFilterContext

from gancodec.errors import UsageError
from gancodec.eval.clips import Clip
from gancodec.eval.libav import decode_frames, encode_file, encode_packets, libav_versions
from gancodec.types import FrameBatch, VideoInfo

_DROP_SETTINGS_NOTE = "filter_units=remove_types=6"  # NAL type 6: supplemental information


class _LibavCodec:
    """An encoder of libavcodec at one constant rate factor."""

    encoder: ClassVar[str]
    format: ClassVar[str]  # libavformat's name of the file
    suffix: ClassVar[str]
    qualities: ClassVar[tuple[int, int]]  # from best to worst
    whole: ClassVar[bool] = False  # whether fractions of a rate factor would be rounded silently
    global_header: ClassVar[bool] = False

    def __init__(
        self, quality: float, options: dict[str, str], *, gop: int | None, threads: int
    ) -> None:
        best, worst = self.qualities
        name = type(self).__name__
        if not best <= quality <= worst or (self.whole and quality != int(quality)):
            kind = "a whole number " if self.whole else ""
            raise UsageError(f"the crf of {name} is {kind}from {best} to {worst}, got {quality:g}")
        if gop is not None and gop < 1:
            raise UsageError(f"gop is the distance between key frames, at least 1, got {gop}")
        if threads < 0:
            raise UsageError(f"threads is a number, or 0 for the encoder's choice, got {threads}")
        crf = f"{int(quality)}" if self.whole else f"{quality:.4f}"
        self._options = {"crf": crf, **options, **({} if gop is None else {"g": f"{gop}"})}
        self._threads = threads
        self.versions = {**libav_versions(), "encoder": self.encoder}

    def encode(self, clip: Clip) -> bytes:
        """The whole file of a clip.

        Raises:
            UsageError: pictures or options that the encoder does not take.
        """
        self.check_size(clip.info)
        header, packets = encode_packets(
            self.encoder,
            clip.frames,
            clip.info,
            self._options,
            threads=self._threads,
            global_header=self.global_header,
        )
        return self.finish(header + b"".join(packets))

    def decode(self, data: bytes) -> FrameBatch:
        """The frames of a file."""
        return decode_frames(data, self.format, threads=self._threads)

    def check_size(self, info: VideoInfo) -> None:
        """Check what the encoder itself would not say plainly."""

    def finish(self, stream: bytes) -> bytes:
        """The file of all that was coded."""
        return stream


def check_even(info: VideoInfo, name: str) -> None:
    """Check that a codec which knows 4:2:0 pictures of even size only can code this.

    Raises:
        UsageError: an odd width or height.
    """
    if info.width % 2 or info.height % 2:
        raise UsageError(
            f"{name} codes 4:2:0 pictures of even size only, these are {info.width}x{info.height}"
        )


class X264(_LibavCodec):
    """H.264 by x264, crf 0 (best) to 51.

    Args:
        quality: the constant rate factor.
        preset, tune: x264's own, such as "medium" and "zerolatency".
        gop: longest distance between key frames; x264's default is 250.
        params: more of x264's parameters, ``name=value:name=value``.
        threads: 0 lets x264 choose by the number of cores.

    Raises:
        UsageError: a quality out of range.
    """

    encoder = "libx264"
    format = "h264"
    suffix = ".264"
    qualities = (0, 51)
    global_header = True

    def __init__(
        self,
        quality: float,
        *,
        preset: str = "medium",
        tune: str | None = None,
        gop: int | None = None,
        params: str = "",
        threads: int = 1,
    ) -> None:
        options = {"preset": preset}
        if tune is not None:
            options["tune"] = tune
        if params:
            options["x264-params"] = params
        super().__init__(quality, options, gop=gop, threads=threads)

    def check_size(self, info: VideoInfo) -> None:
        """H.264 crops in steps of two samples, and x264 takes no others."""
        check_even(info, "x264")

    def finish(self, stream: bytes) -> bytes:
        """The stream without x264's 600 bytes about its own settings."""
        with av.open(io.BytesIO(stream), "r", format=self.format) as container:
            video = container.streams.video[0]
            keep = BitStreamFilterContext(_DROP_SETTINGS_NOTE, video)
            kept = (out for packet in container.demux(video) for out in keep.filter(packet))
            return b"".join(map(bytes, kept))


class X265(_LibavCodec):
    """H.265 by x265, crf 0 (best) to 51.

    On one thread its wavefronts are off, which one thread cannot use and which take half a percent
    of the bits.

    Args:
        quality: the constant rate factor.
        preset, tune: x265's own.
        gop: longest distance between key frames; x265's default is 250.
        params: more of x265's parameters, ``name=value:name=value``.
        threads: 0 lets x265 choose by the number of cores.

    Raises:
        UsageError: a quality out of range.
    """

    encoder = "libx265"
    format = "hevc"
    suffix = ".265"
    qualities = (0, 51)
    global_header = True

    def __init__(
        self,
        quality: float,
        *,
        preset: str = "medium",
        tune: str | None = None,
        gop: int | None = None,
        params: str = "",
        threads: int = 1,
    ) -> None:
        own = ["log-level=none", "info=0"]  # it would print to stderr, and note its settings
        if threads == 1:
            own += ["pools=none", "frame-threads=1"]
        elif threads:
            own += [f"pools={threads}"]
        options = {"preset": preset, "x265-params": ":".join([*own, *([params] if params else [])])}
        if tune is not None:
            options["tune"] = tune
        super().__init__(quality, options, gop=gop, threads=threads)

    def check_size(self, info: VideoInfo) -> None:
        """H.265 crops in steps of two samples, and x265 takes no others."""
        check_even(info, "x265")


class SvtAv1(_LibavCodec):
    """AV1 by SVT-AV1, crf 1 (best) to 63, whole numbers; it takes 0 for "not given".

    Args:
        quality: the constant rate factor.
        preset: 0 (slow) to 13; from 10 on SVT-AV1 itself warns of artefacts.
        gop: longest distance between key frames; SVT-AV1's default is a few seconds.
        params: more of its parameters, ``name=value:name=value``.
        threads: 1 is its lowest level of parallelism; 0 lets it choose by the number of cores.

    Raises:
        UsageError: a quality out of range.
    """

    encoder = "libsvtav1"
    format = "obu"
    suffix = ".obu"
    qualities = (1, 63)
    whole = True

    def __init__(
        self,
        quality: float,
        *,
        preset: int = 6,
        gop: int | None = None,
        params: str = "",
        threads: int = 1,
    ) -> None:
        # It prints a page about itself to stderr, past libav's log; read once, when it first runs.
        os.environ.setdefault("SVT_LOG", "1")  # errors alone
        own = [f"lp={threads}"] if threads else []
        joined = ":".join([*own, *([params] if params else [])])
        options = {"preset": f"{preset}", **({"svtav1-params": joined} if joined else {})}
        super().__init__(quality, options, gop=gop, threads=threads)


class Vp9(_LibavCodec):
    """VP9 by libvpx, crf 0 (best) to 63, whole numbers; constant quality, good deadline.

    Args:
        quality: the constant rate factor.
        cpu_used: 0 (slow) to 8.
        gop: longest distance between key frames; libvpx's default is 128.
        threads: 0 lets libvpx choose.

    Raises:
        UsageError: a quality out of range.
    """

    encoder = "libvpx-vp9"
    format = "ivf"
    suffix = ".ivf"
    qualities = (0, 63)
    whole = True

    def __init__(
        self,
        quality: float,
        *,
        cpu_used: int = 2,
        gop: int | None = None,
        threads: int = 1,
    ) -> None:
        options = {"b": "0", "deadline": "good", "cpu-used": f"{cpu_used}", "row-mt": "1"}
        super().__init__(quality, options, gop=gop, threads=threads)

    def encode(self, clip: Clip) -> bytes:
        """The whole file of a clip; see `_LibavCodec.encode`."""
        return encode_file(
            self.format,
            self.encoder,
            clip.frames,
            clip.info,
            self._options,
            threads=self._threads,
        )
