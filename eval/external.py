"""VVenC and libaom, which PyAV has not: encoded by an ffmpeg program, decoded in this process.

The program is the setting ``ffmpeg``, else what GANCODEC_FFMPEG names, else that of the package
imageio-ffmpeg (in ``gancodec[eval]``), else ``ffmpeg`` on the search path.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from gancodec.errors import UsageError
from gancodec.eval.classic import check_even
from gancodec.eval.clips import Clip
from gancodec.eval.libav import decode_frames, libav_versions
from gancodec.types import FrameBatch

PROGRAM = "GANCODEC_FFMPEG"  # environment variable
_PROBE_SECONDS = 60
_TOLD_LINES = 3  # of an error: the first say why, the rest what could not go on
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")  # of an object in the program


def find_ffmpeg(encoder: str, program: str | None = None) -> str:
    """An ffmpeg program that has an encoder.

    Raises:
        UsageError: there is none, or not with this encoder.
    """
    found = program or os.environ.get(PROGRAM) or _packaged() or shutil.which("ffmpeg")
    remedy = (
        "install one with `pip install imageio-ffmpeg`, or name a program with the setting ffmpeg "
        f"or in {PROGRAM}"
    )
    if found is None:
        raise UsageError(f"{encoder} needs an ffmpeg program, and there is none; {remedy}")
    if encoder not in _probe(found)[1]:
        raise UsageError(f"the ffmpeg program {found} has no {encoder}; {remedy}")
    return found


def _packaged() -> str | None:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        return None
    try:
        return str(get_ffmpeg_exe())
    except RuntimeError:  # the package without its program
        return None


@lru_cache(maxsize=8)
def _probe(program: str) -> tuple[str, frozenset[str]]:
    """Version and encoders of a program."""
    try:
        done = subprocess.run(
            [program, "-encoders"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"the ffmpeg program {program} cannot be run: {error}") from error
    version = re.search(r"^ffmpeg version (\S+)", done.stderr, re.MULTILINE)
    names = re.findall(r"^ [VAS][A-Z.]{5} (\S+)", done.stdout, re.MULTILINE)
    return version[1] if version else "unknown", frozenset(names)


class _FfmpegCodec:
    """An encoder of an ffmpeg program at one quality."""

    encoder: ClassVar[str]
    format: ClassVar[str]  # libavformat's name of the file
    suffix: ClassVar[str]
    extra_bits: ClassVar[int] = 0  # of a sample, beyond eight
    quality_name: ClassVar[str]

    def __init__(
        self,
        quality: float,
        options: list[str],
        *,
        ffmpeg: str | None,
        threads: int,
        timeout_seconds: float,
    ) -> None:
        if not 0 <= quality <= 63 or quality != int(quality):
            raise UsageError(
                f"the {self.quality_name} of {type(self).__name__} is a whole number from 0 to 63, "
                f"got {quality:g}"
            )
        self._program = find_ffmpeg(self.encoder, ffmpeg)
        self._options = [f"-{self.quality_name}", f"{int(quality)}", *options]
        self._options += ["-threads", f"{threads}"]
        self._timeout_seconds = timeout_seconds
        self.versions = {
            **libav_versions(),
            "encoder": self.encoder,
            "ffmpeg": _probe(self._program)[0],
        }

    def encode(self, clip: Clip) -> bytes:
        """The whole file of a clip.

        Raises:
            UsageError: the program fails, or takes longer than it may.
        """
        info, color = clip.info, clip.info.color
        tags = (
            f"setparams=color_primaries={color.primaries}:color_trc={color.transfer}:"
            f"colorspace={color.matrix}:range={'pc' if color.full_range else 'tv'}"
        )
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "coded")
            command = [
                *(self._program, "-hide_banner", "-nostats", "-loglevel", "error"),
                *("-f", "rawvideo", "-video_size", f"{info.width}x{info.height}"),
                *("-pixel_format", "yuv420p10le" if self.extra_bits else "yuv420p"),
                *("-framerate", f"{info.fps}", "-i", "pipe:0", "-vf", tags),
                *("-c:v", self.encoder, *self._options, "-f", self.format, str(target)),
            ]
            try:
                done = subprocess.run(
                    command,
                    input=self._samples_of(clip.frames),
                    capture_output=True,
                    timeout=self._timeout_seconds,
                )
            except OSError as error:
                raise UsageError(f"{self._program} cannot be run: {error}") from error
            except subprocess.TimeoutExpired as error:
                raise UsageError(
                    f"{self.encoder} took longer than {self._timeout_seconds:g} seconds; take "
                    "fewer frames, or allow more with the setting timeout_seconds"
                ) from error
            if done.returncode or not target.is_file():
                told = _ADDRESS.sub("", done.stderr.decode(errors="replace")).strip()
                raise UsageError(
                    f"{self.encoder} of {self._program} failed with exit code {done.returncode}: "
                    f"{'; '.join(told.splitlines()[:_TOLD_LINES]) or 'it said nothing'}"
                )
            return target.read_bytes()

    def decode(self, data: bytes) -> FrameBatch:
        """The frames of a file."""
        return decode_frames(data, self.format)

    def _samples_of(self, frames: FrameBatch) -> bytes:
        """Raw video, frame by frame."""
        kind = np.dtype("<u2" if self.extra_bits else "u1")
        return b"".join(
            (plane[n].astype(kind) << self.extra_bits).tobytes()
            for n in range(len(frames))
            for plane in (frames.y, frames.u, frames.v)
        )


class VvEnc(_FfmpegCodec):
    """H.266 by VVenC at one quantiser, qp 0 (best) to 63; even sizes only.

    Coded as VVenC does, with ten bits a sample: samples go in times four, and come out rounded.
    Its perceptual adaptation of the quantiser is on by default and takes PSNR away by design.

    Args:
        quality: the quantiser.
        preset: "faster", "fast", "medium", "slow" or "slower".
        gop: distance between intra pictures. VVenC's own default is a second, which suits
            broadcasts; the other codecs are given longer, so this is, too (8% fewer bytes on 100
            frames of a clip at 25 fps).
        qpa: the perceptual adaptation.
        params: more of VVenC's parameters, ``name=value:name=value``.
        threads: of VVenC.
        ffmpeg: the program.
        timeout_seconds: of one encode.

    Raises:
        UsageError: a quality out of range, or no program with VVenC.
    """

    encoder = "libvvenc"
    format = "vvc"
    suffix = ".266"
    extra_bits = 2
    quality_name = "qp"

    def __init__(
        self,
        quality: float,
        *,
        preset: str = "fast",
        gop: int = 256,
        qpa: bool = True,
        params: str = "",
        threads: int = 1,
        ffmpeg: str | None = None,
        timeout_seconds: float = 3600,
    ) -> None:
        joined = f"intraperiod={gop}" + (f":{params}" if params else "")
        options = ["-preset", preset, "-qpa", f"{int(qpa)}", "-vvenc-params", joined]
        super().__init__(
            quality, options, ffmpeg=ffmpeg, threads=threads, timeout_seconds=timeout_seconds
        )

    def encode(self, clip: Clip) -> bytes:
        """The whole file of a clip; see `_FfmpegCodec.encode`."""
        check_even(clip.info, "VVenC")
        return super().encode(clip)


class LibAom(_FfmpegCodec):
    """AV1 by libaom at constant quality, crf 0 (lossless) to 63, as bare open bitstream units.

    Args:
        quality: the constant rate factor.
        cpu_used: 0 (slow) to 8.
        gop: longest distance between key frames; libaom's default is without limit.
        params: more of libaom's parameters, ``name=value:name=value``.
        threads: of libaom.
        ffmpeg: the program.
        timeout_seconds: of one encode.

    Raises:
        UsageError: a quality out of range, or no program with libaom.
    """

    encoder = "libaom-av1"
    format = "obu"
    suffix = ".obu"
    quality_name = "crf"

    def __init__(
        self,
        quality: float,
        *,
        cpu_used: int = 4,
        gop: int | None = None,
        params: str = "",
        threads: int = 1,
        ffmpeg: str | None = None,
        timeout_seconds: float = 3600,
    ) -> None:
        options = ["-b:v", "0", "-cpu-used", f"{cpu_used}"]
        if gop is not None:
            options += ["-g", f"{gop}"]
        if params:
            options += ["-aom-params", params]
        super().__init__(
            quality, options, ffmpeg=ffmpeg, threads=threads, timeout_seconds=timeout_seconds
        )
