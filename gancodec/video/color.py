"""RGB and YCbCr: the one place where they meet (ITU-T H.273 code points, 8 bits, 4:2:0).

Full-resolution planes are joined by the matrix of the colour space; chroma is interpolated and
filtered linearly with respect to where its samples lie:

    left (default)      centre             top-left
    Y   Y   Y   Y       Y   Y   Y   Y      YC  Y   YC  Y
    C       C             C       C
    Y   Y   Y   Y       Y   Y   Y   Y      Y   Y   Y   Y
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gancodec.types import Color, FrameBatch, Plane

Floats = npt.NDArray[np.float32]

# Weights of red and blue in luma by matrix code point (H.273 table 4).
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601 625 lines
    6: (0.299, 0.114),  # BT.601 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020 non-constant luminance
    10: (0.2627, 0.0593),  # BT.2020 constant luminance, as everyone decodes it
}
_BT709 = 1

# Whether chroma lies on a luma column (row), by AVChromaLocation.
_ON_COLUMN = {0: True, 1: True, 2: False, 3: True, 4: False, 5: True, 6: False}
_ON_ROW = {0: False, 1: False, 2: False, 3: True, 4: True, 5: True, 6: True}
_BOTTOM = frozenset({5, 6})


def luma_weights(color: Color) -> tuple[float, float]:
    """Weights of red and blue in luma; BT.709 where the matrix is unspecified or not YCbCr."""
    return _LUMA_WEIGHTS.get(color.matrix, _LUMA_WEIGHTS[_BT709])


def _levels(color: Color) -> tuple[float, float, float]:
    """Black level, and the spans of luma and of chroma, in 8-bit steps."""
    return (0.0, 255.0, 255.0) if color.full_range else (16.0, 219.0, 224.0)


def _double(plane: Floats, axis: int, size: int, co_sited: bool) -> Floats:
    """Linear interpolation to twice as many samples along one axis, cut to ``size``."""
    plane = np.moveaxis(plane, axis, -1)
    padded = np.concatenate([plane[..., :1], plane, plane[..., -1:]], axis=-1)
    before, here, after = padded[..., :-2], padded[..., 1:-1], padded[..., 2:]
    if co_sited:
        even, odd = here, (here + after) * np.float32(0.5)
    else:
        even = here * np.float32(0.75) + before * np.float32(0.25)
        odd = here * np.float32(0.75) + after * np.float32(0.25)
    doubled = np.stack([even, odd], axis=-1).reshape(*plane.shape[:-1], -1)[..., :size]
    return np.moveaxis(doubled, -1, axis)


def _halve(plane: Floats, axis: int, co_sited: bool) -> Floats:
    """Filter and keep every second sample along one axis, rounding the count up."""
    plane = np.moveaxis(plane, axis, -1)
    size = plane.shape[-1]
    pad_end = size % 2 + 1
    padded = np.concatenate([plane[..., :1], plane, *[plane[..., -1:]] * pad_end], axis=-1)
    count = (size + 1) // 2
    before = padded[..., 0 : 2 * count : 2]
    here = padded[..., 1 : 2 * count + 1 : 2]
    after = padded[..., 2 : 2 * count + 2 : 2]
    if co_sited:
        halved = (before + here * 2 + after) * np.float32(0.25)
    else:
        halved = (here + after) * np.float32(0.5)
    return np.moveaxis(halved, -1, axis)


def _flip_if_bottom(plane: Floats, location: int) -> Floats:
    """Bottom sites are top sites of the picture turned upside down."""
    return plane[..., ::-1, :] if location in _BOTTOM else plane


def upsample_chroma(plane: Plane, height: int, width: int, location: int = 0) -> Floats:
    """One chroma plane (..., H/2, W/2) at luma resolution (..., H, W), values unchanged.

    Bottom sites are mirrored, which is exact for even heights.
    """
    floats = _flip_if_bottom(plane.astype(np.float32), location)
    floats = _double(floats, -1, width, _ON_COLUMN.get(location, True))
    floats = _double(floats, -2, height, _ON_ROW.get(location, False))
    return _flip_if_bottom(floats, location)


def _downsample_chroma(plane: Floats, location: int) -> Floats:
    floats = _flip_if_bottom(plane, location)
    floats = _halve(floats, -1, _ON_COLUMN.get(location, True))
    floats = _halve(floats, -2, _ON_ROW.get(location, False))
    return _flip_if_bottom(floats, location)


def yuv420_to_rgb(batch: FrameBatch, color: Color) -> npt.NDArray[np.uint8]:
    """Frames as (N, H, W, 3) RGB, full range, with the matrix and range of ``color``.

    Primaries and transfer are left alone: the numbers are those of the same colour space.
    """
    count, height, width = batch.y.shape
    rgb = np.empty((count, height, width, 3), np.uint8)
    black, luma_span, chroma_span = _levels(color)
    kr, kb = luma_weights(color)
    for n in range(count):  # frame by frame, so that floats of one frame are in memory
        luma = (batch.y[n].astype(np.float32) - np.float32(black)) * np.float32(255 / luma_span)
        blue, red = (
            (upsample_chroma(plane, height, width, color.chroma_location) - np.float32(128))
            * np.float32(255 / chroma_span)
            for plane in (batch.u[n], batch.v[n])
        )
        r = luma + np.float32(2 * (1 - kr)) * red
        b = luma + np.float32(2 * (1 - kb)) * blue
        g = (luma - np.float32(kr) * r - np.float32(kb) * b) / np.float32(1 - kr - kb)
        for channel, values in enumerate((r, g, b)):
            rgb[n, ..., channel] = np.clip(np.rint(values), 0, 255)
    return rgb


def rgb_to_yuv420(
    rgb: npt.NDArray[np.uint8], color: Color | None = None
) -> tuple[Plane, Plane, Plane]:
    """Planes y (N, H, W), u and v (N, ceil(H/2), ceil(W/2)) of (N, H, W, 3) RGB.

    Without ``color``: BT.709, limited range, chroma sited left.

    Raises:
        ValueError: for another shape or dtype.
    """
    if rgb.ndim != 4 or rgb.shape[3] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"rgb is (N, H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    color = color or Color(matrix=_BT709)
    count, height, width, _ = rgb.shape
    y = np.empty((count, height, width), np.uint8)
    u = np.empty((count, (height + 1) // 2, (width + 1) // 2), np.uint8)
    v = np.empty_like(u)
    black, luma_span, chroma_span = _levels(color)
    kr, kb = luma_weights(color)
    for n in range(count):
        r, g, b = (rgb[n, ..., k].astype(np.float32) for k in range(3))
        luma = np.float32(kr) * r + np.float32(1 - kr - kb) * g + np.float32(kb) * b
        y[n] = np.clip(np.rint(luma * np.float32(luma_span / 255) + np.float32(black)), 0, 255)
        for plane, source, weight in ((u, b, kb), (v, r, kr)):
            difference = (source - luma) * np.float32(chroma_span / (255 * 2 * (1 - weight)))
            low = _downsample_chroma(difference, color.chroma_location)
            plane[n] = np.clip(np.rint(low + np.float32(128)), 0, 255)
    return y, u, v
