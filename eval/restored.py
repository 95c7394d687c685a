"""Any codec with one of our enhancers after its decoder.

    [[codec]]
    name = "x264 + detail"
    kind = "restored"
    base = "x264"
    base_settings = { preset = "medium" }
    task = "detail"
    qualities = [26, 32, 38, 44]
    decode = [{ strength = 0 }, { strength = 1 }]

The enhancer is told the rate, which whoever holds the file knows. With ``task = "sr"`` the codec
beneath codes the clip made ``scale`` times smaller, and a file begins with four bytes more: the
width and height to come back to, where sides do not divide.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gancodec.enhancer import Enhancement, Enhancer
from gancodec.errors import InputError, UsageError
from gancodec.eval.clips import Clip
from gancodec.eval.codecs import build_codec
from gancodec.models.restore import Task, reduce
from gancodec.nn.planes import Planes
from gancodec.types import FrameBatch, Plane

_SIZE = struct.Struct("<2H")  # width and height, of what was made smaller
_FRAMES = 8  # made smaller at a time


class RestoredCodec:
    """A codec, and an enhancer that mends what it decodes.

    Args:
        quality: of the codec beneath.
        base: its kind, or ``module:Class``.
        base_settings: what it is told.
        task: of the enhancer: "detail", "sr", "denoise" or "deblur".
        scale: 2 or 4 for "sr", else 1.
        strength, sigma, model, recurrent: as for `gancodec.enhancer.Enhancement`.

    Raises:
        UsageError: there is no such codec or task, or a value out of range.
        ModelError: there is no such enhancer, or it is for something else.
    """

    def __init__(
        self,
        quality: float,
        *,
        base: str,
        task: Task,
        base_settings: Mapping[str, Any] | None = None,
        scale: int = 1,
        strength: float | None = None,
        sigma: float | None = None,
        model: str | None = None,
        recurrent: bool = True,
    ) -> None:
        self._base = build_codec(base, quality, base_settings)
        self._enhancement = Enhancement(
            task, scale, strength=strength, sigma=sigma, model=model, recurrent=recurrent
        )
        weights = self._enhancement.load()
        suffix = getattr(self._base, "suffix", ".bin")
        self.suffix = suffix if scale == 1 else f".sr{scale}{suffix}"
        self.scores_quality = getattr(self._base, "scores_quality", True)
        self.versions = {
            **getattr(self._base, "versions", {}),
            "gancodec": sys.modules["gancodec"].__version__,
            "torch": torch.__version__,
            "enhancer": weights.name,
            "enhancer weights": weights.sha256[:12],
        }

    def encode(self, clip: Clip) -> bytes:
        """The file of the codec beneath; for "sr", of the smaller clip, after its full size.

        Raises:
            UsageError: pictures of more than 65535 samples a side, for "sr".
        """
        scale = self._enhancement.scale
        if scale == 1:
            return self._base.encode(clip)
        width, height = clip.info.width, clip.info.height
        if max(width, height) > 0xFFFF:
            raise UsageError(f"sr keeps sides of up to 65535 samples, these are {width}x{height}")
        return _SIZE.pack(width, height) + self._base.encode(smaller_clip(clip, scale))

    def decode(self, data: bytes) -> FrameBatch:
        """Its frames, enhanced.

        Raises:
            InputError: a file for "sr" that does not hold the size that it says.
        """
        scale = self._enhancement.scale
        size: tuple[int, int] | None = None
        if scale > 1:
            if len(data) <= _SIZE.size:
                raise InputError(f"a file of {len(data)} bytes holds no picture to enlarge")
            size, data = _SIZE.unpack_from(data), data[_SIZE.size :]
        frames = self._base.decode(data)
        rate = 8 * len(data) / frames.y.size if self._enhancement.minds_rate else None
        shown = Enhancer(replace(self._enhancement, bits_per_pixel=rate)).enhance(frames)
        return shown if size is None else _cropped(shown, *size)


def smaller_clip(clip: Clip, scale: int) -> Clip:
    """A clip with sides ``scale`` times smaller, even, the border repeated where that is needed."""
    frames = reduced(clip.frames, scale)
    height, width = frames.y.shape[1:]
    return Clip(clip.name, replace(clip.info, width=width, height=height), frames)


def reduced(frames: FrameBatch, scale: int) -> FrameBatch:
    """Frames ``scale`` times smaller: bicubic without aliasing, rounded to 8 bits.

    Sides that are no multiples of twice the scale are first padded at the right and at the bottom,
    the border repeated, so that what comes out is even.
    """
    parts = [
        _reduced(frames[start : start + _FRAMES], scale)
        for start in range(0, max(len(frames), 1), _FRAMES)
    ]
    return FrameBatch.concatenate(parts)


def _reduced(frames: FrameBatch, scale: int) -> FrameBatch:
    height, width = (-(-side // (2 * scale)) * scale for side in frames.y.shape[1:])  # of chroma

    def padded(plane: Plane, rows: int, columns: int) -> torch.Tensor:
        more = (0, 0), (0, rows - plane.shape[1]), (0, columns - plane.shape[2])
        return torch.from_numpy(np.pad(plane, more, mode="edge"))[:, None].float() / 255

    with torch.inference_mode():
        small = reduce(
            Planes(
                padded(frames.y, 2 * height, 2 * width),
                padded(frames.u, height, width),
                padded(frames.v, height, width),
            ),
            scale,
        )
        y, u, v = ((p[:, 0] * 255).round().clamp(0, 255).to(torch.uint8).numpy() for p in small)
    return FrameBatch(y, u, v, frames.pts)


def _cropped(frames: FrameBatch, width: int, height: int) -> FrameBatch:
    rows, columns = frames.y.shape[1:]
    if not 0 < width <= columns or not 0 < height <= rows:
        raise InputError(f"a file says {width}x{height}, and holds {columns}x{rows}; it is damaged")
    half = (slice(None), slice(0, (height + 1) // 2), slice(0, (width + 1) // 2))
    luma = np.ascontiguousarray(frames.y[:, :height, :width])
    u, v = (np.ascontiguousarray(p[half]) for p in (frames.u, frames.v))
    return FrameBatch(luma, u, v, frames.pts)
