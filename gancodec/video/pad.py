"""Padding to whole blocks and cropping back: the one place for both."""

from __future__ import annotations

import numpy as np

from gancodec.types import Plane


def padded_size(height: int, width: int, multiple: int) -> tuple[int, int]:
    """Height and width rounded up to whole blocks of ``multiple`` luma samples.

    Raises:
        ValueError: when ``multiple`` is odd or below 2: chroma has half of it.
    """
    if multiple < 2 or multiple % 2:
        raise ValueError(f"a block is an even number of samples, got {multiple}")
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def _extend(plane: Plane, height: int, width: int) -> Plane:
    """Repeat the last row and column; the plane itself when nothing is missing."""
    rows, columns = height - plane.shape[-2], width - plane.shape[-1]
    if rows == 0 and columns == 0:
        return plane
    still = [(0, 0)] * (plane.ndim - 2)
    return np.pad(plane, [*still, (0, rows), (0, columns)], mode="edge")


def pad_planes(y: Plane, u: Plane, v: Plane, multiple: int) -> tuple[Plane, Plane, Plane]:
    """Planes (..., H, W) and twice (..., ceil(H/2), ceil(W/2)) grown at the right and bottom.

    Luma becomes a multiple of ``multiple`` each way and chroma exactly half of that, by repeating
    the edge. Planes that fit already are returned as they are, not copied.
    """
    height, width = padded_size(y.shape[-2], y.shape[-1], multiple)
    return (
        _extend(y, height, width),
        _extend(u, height // 2, width // 2),
        _extend(v, height // 2, width // 2),
    )


def crop_planes(
    y: Plane, u: Plane, v: Plane, height: int, width: int
) -> tuple[Plane, Plane, Plane]:
    """The top left ``height`` x ``width`` of padded planes, as views; undoes ``pad_planes``.

    Raises:
        ValueError: when the planes are smaller than that.
    """
    rows, columns = (height + 1) // 2, (width + 1) // 2
    for name, plane, least in (
        ("y", y, (height, width)),
        ("u", u, (rows, columns)),
        ("v", v, (rows, columns)),
    ):
        if plane.shape[-2] < least[0] or plane.shape[-1] < least[1]:
            raise ValueError(f"cannot crop {name} of {plane.shape[-2:]} to {least}")
    return y[..., :height, :width], u[..., :rows, :columns], v[..., :rows, :columns]
