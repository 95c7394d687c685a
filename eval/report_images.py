"""Frames as the images of a report: RGB of a frame or of a box of it, in WebP."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from gancodec.eval.fidelity import PSNR_OF_EQUAL_DB
from gancodec.eval.report_choices import Box
from gancodec.types import Color, FrameBatch
from gancodec.video.color import yuv420_to_rgb

Picture = npt.NDArray[np.uint8]  # (H, W, 3) RGB

_MARGIN = 8  # samples around a box that chroma's upsampling looks at, and more; even
_CROP_QUALITY, _WHOLE_QUALITY = 95, 90  # of lossy WebP
_THUMBNAIL = 240  # samples of the longer side
_LUMA = np.array([0.299, 0.587, 0.114])


def to_rgb(frame: FrameBatch, color: Color, box: Box | None = None) -> Picture:
    """One frame, or a box of it, as RGB: the same samples as of the whole frame."""
    if box is None:
        whole: Picture = yuv420_to_rgb(frame, color)[0]
        return whole
    x, y, width, height = box
    left, top = max(x - _MARGIN, 0), max(y - _MARGIN, 0)
    right, bottom = x + width + _MARGIN, y + height + _MARGIN
    chroma = np.s_[:, top // 2 : (bottom + 1) // 2, left // 2 : (right + 1) // 2]
    luma = np.ascontiguousarray(frame.y[:, top:bottom, left:right])
    part = FrameBatch(luma, frame.u[chroma], frame.v[chroma], frame.pts)
    rgb: Picture = yuv420_to_rgb(part, color)[0]
    return rgb[y - top : y - top + height, x - left : x - left + width].copy()


def encode_webp(picture: Picture, kind: str) -> bytes:
    """A WebP file: "lossless", or lossy as a "crop" or a "whole" frame is."""
    from PIL import Image

    how: dict[str, Any] = {
        "lossless": {"lossless": True, "quality": 70},  # effort, not loss
        "crop": {"quality": _CROP_QUALITY},
        "whole": {"quality": _WHOLE_QUALITY},
    }[kind]
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="WEBP", **how)
    return out.getvalue()


def decode_webp(data: bytes) -> Picture:
    """The reverse of `encode_webp`."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def thumbnail(picture: Picture) -> Picture:
    """The picture at a width of 240 samples or less."""
    from PIL import Image

    small = Image.fromarray(picture)
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.asarray(small)


def luma_psnr(a: Picture, b: Picture) -> float:
    """PSNR in dB of the luma of two RGB pictures."""
    error = (a.astype(np.float64) - b) @ _LUMA
    mean_square = float(np.mean(error * error))
    return PSNR_OF_EQUAL_DB if mean_square == 0 else 10 * math.log10(255**2 / mean_square)
