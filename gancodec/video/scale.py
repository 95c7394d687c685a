"""Picture sizes from what a user asks for."""

from __future__ import annotations

import re
from fractions import Fraction

from gancodec.errors import LimitError, UsageError

MAX_SIDE = 16384  # as the .gvc container's default limits
MAX_PIXELS = 1 << 26
_SIZE = re.compile(r"(-?\d+)[xX:](-?\d+)")


def parse_size(text: str) -> tuple[int, int]:
    """Width and height: ``640x360``; one may be -1 or -2 to keep the shape.

    Raises:
        ValueError: for anything else.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no picture size: write 640x360, or 640x-2 to keep the shape")
    return int(match[1]), int(match[2])


def check_limits(name: str, size: tuple[int, int], max_side: int, max_pixels: int) -> None:
    """Raise a LimitError for a picture that is larger than allowed."""
    width, height = size
    if max(width, height) > max_side or width * height > max_pixels:
        raise LimitError(
            f"{name} has {width}x{height} pictures, the limit is {max_side} a side and "
            f"{max_pixels} samples: raise it if you trust the file"
        )


def scaled_size(
    size: tuple[int, int], scale: tuple[int, int] | None, turned: bool
) -> tuple[int, int]:
    """The stored size for a wanted shown size; ``turned`` when the picture is shown on its side."""
    if scale is None:
        return size
    shown = size[::-1] if turned else size
    width, height = scale
    if (width < 1 and height < 1) or min(width, height) < -2 or 0 in scale:
        raise UsageError(f"cannot scale to {width}x{height}: give at least one positive side")
    if width < 1:
        width = _follow(height, shown[0], shown[1], even=width == -2)
    elif height < 1:
        height = _follow(width, shown[1], shown[0], even=height == -2)
    if max(width, height) > MAX_SIDE:
        raise UsageError(f"cannot scale to {width}x{height}: a side has at most {MAX_SIDE} samples")
    return (height, width) if turned else (width, height)


def _follow(given: int, of: int, to: int, *, even: bool) -> int:
    """The side that keeps the shape ``of``:``to`` for a ``given`` other side, at least 1 or 2."""
    exact_side = Fraction(given * of, to)
    return max(2 * round(exact_side / 2), 2) if even else max(round(exact_side), 1)
