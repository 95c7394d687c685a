"""JPEG, WebP and AVIF, for clips of one frame.

All three code the 4:2:0 planes of the clip as they are, and give planes back, so none of them is
charged for a conversion. By way of RGB, as a picture program would, a file that were lossless
otherwise would be left with 51 dB in the chroma planes of a photograph (skimage's astronaut), and
JPEG and WebP of their highest quality with 46 dB.

JPEG and WebP have no place for the matrix and range of a clip: another viewer would take the
planes for BT.601, of full range in a JPEG.
"""

from __future__ import annotations

import io
from typing import ClassVar

from gancodec.errors import UsageError
from gancodec.eval.classic import SvtAv1
from gancodec.eval.clips import Clip
from gancodec.eval.libav import decode_frames, encode_file, encode_packets, libav_versions
from gancodec.types import FrameBatch


class Jpeg:
    """JPEG by libjpeg-turbo (Pillow): progressive, best Huffman tables, no metadata.

    Args:
        quality: libjpeg's, 1 (worst) to 100, whole numbers.

    Raises:
        UsageError: a quality out of range.
    """

    suffix: ClassVar[str] = ".jpg"

    def __init__(self, quality: float) -> None:
        from PIL import __version__, features

        if not 1 <= quality <= 100 or quality != int(quality):
            raise UsageError(
                f"the quality of a JPEG is a whole number from 1 to 100, got {quality:g}"
            )
        self._quality = int(quality)
        turbo = features.version("libjpeg_turbo")
        self.versions = {
            **libav_versions(),
            "pillow": __version__,
            "encoder": f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}",
        }

    def encode(self, clip: Clip) -> bytes:
        """The whole file of a picture.

        Raises:
            UsageError: more than one frame.
        """
        from PIL import Image

        check_single(clip, "JPEG")
        _, height, width = clip.frames.y.shape
        # libjpeg wants all planes of full size, and makes the chroma planes by the mean of two by
        # two: of equal samples that is the sample itself.
        chroma = (
            plane[0].repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
            for plane in (clip.frames.u, clip.frames.v)
        )
        planes = [Image.fromarray(plane) for plane in (clip.frames.y[0], *chroma)]
        file = io.BytesIO()
        Image.merge("YCbCr", planes).save(
            file,
            "JPEG",
            quality=self._quality,
            subsampling="4:2:0",
            optimize=True,
            progressive=True,
        )
        return file.getvalue()

    def decode(self, data: bytes) -> FrameBatch:
        """The picture of a file."""
        return decode_frames(data, "jpeg_pipe")


class WebP:
    """Lossy WebP by libwebp (PyAV).

    Args:
        quality: libwebp's, 0 (worst) to 100.
        method: libwebp's effort, 0 to 6.

    Raises:
        UsageError: a quality or method out of range.
    """

    suffix: ClassVar[str] = ".webp"

    def __init__(self, quality: float, *, method: int = 6) -> None:
        if not 0 <= quality <= 100:
            raise UsageError(f"the quality of a WebP is 0 to 100, got {quality:g}")
        if method not in range(7):  # libavcodec would take the nearest silently
            raise UsageError(f"the method of a WebP is 0 to 6, got {method}")
        self._options = {"quality": f"{quality:.4f}", "compression_level": f"{method}"}
        self.versions = {**libav_versions(), "encoder": "libwebp"}

    def encode(self, clip: Clip) -> bytes:
        """The whole file of a picture.

        Raises:
            UsageError: more than one frame.
        """
        check_single(clip, "WebP")
        _, packets = encode_packets("libwebp", clip.frames, clip.info, self._options)
        return b"".join(packets)  # one, and it is a file

    def decode(self, data: bytes) -> FrameBatch:
        """The picture of a file."""
        return decode_frames(data, "webp_pipe")


class Avif(SvtAv1):
    """AVIF by SVT-AV1 in its mode for stills (PyAV), crf 1 (best) to 63, whole numbers.

    On skimage's astronaut it takes fewer bytes at equal PSNR than libaom at Pillow's speed 6.

    Args:
        quality: the constant rate factor.
        preset: 0 (slow) to 13.
        params: more of SVT-AV1's parameters, ``name=value:name=value``.

    Raises:
        UsageError: a quality out of range.
    """

    format = "avif"
    suffix = ".avif"

    def __init__(self, quality: float, *, preset: int = 4, params: str = "") -> None:
        joined = f"avif=1:{params}" if params else "avif=1"
        super().__init__(quality, preset=preset, params=joined)

    def encode(self, clip: Clip) -> bytes:
        """The whole file of a picture.

        Raises:
            UsageError: more than one frame, or options that SVT-AV1 does not take.
        """
        check_single(clip, "AVIF")
        return encode_file(self.format, self.encoder, clip.frames, clip.info, self._options)


def check_single(clip: Clip, name: str) -> None:
    """Check that a clip is a picture.

    Raises:
        UsageError: it has more frames than one.
    """
    if len(clip) != 1:
        raise UsageError(
            f"{name} is for pictures, and {clip.name or 'the clip'} has {len(clip)} frames; "
            "take one with frames = 1"
        )
