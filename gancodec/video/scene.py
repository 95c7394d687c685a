"""Hard cuts between two pictures, by integers on a thumbnail: cheap, and the same everywhere.

A pan moves a picture and a cut replaces it. So the two thumbnails are compared at every small
shift, and the best match is measured against how much there is to match at all; a histogram says
whether the tones were replaced too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gancodec.types import Plane

_COLUMNS, _ROWS = 32, 18  # about 16:9; a pan of a fifth of the picture per frame is still followed
_MAX_SHIFT = 6
_BINS = 32
_FLAT = 3  # levels of texture below which a thumbnail is noise, not something to match

# Calibrated on 25 000 frame pairs: see tests/video/test_scene.py for what must and must not fire.
MATCH_PERCENT = 60  # left over after the best shift, of what was there to match
HISTOGRAM_PERCENT = 25  # tones that changed
CERTAIN_MATCH_PERCENT = 95  # nothing of the old picture is left, whatever the tones
CERTAIN_HISTOGRAM_PERCENT = 10

_Thumbnail = npt.NDArray[np.int64]


def is_scene_cut(previous_y: Plane, y: Plane) -> bool:
    """Whether a new scene begins with the luma plane ``y`` (H, W) after ``previous_y``.

    Raises:
        ValueError: when the planes are not of one size.
    """
    left_percent, tones_percent = scene_change(previous_y, y)
    return (left_percent >= MATCH_PERCENT and tones_percent >= HISTOGRAM_PERCENT) or (
        left_percent >= CERTAIN_MATCH_PERCENT and tones_percent >= CERTAIN_HISTOGRAM_PERCENT
    )


def scene_change(previous_y: Plane, y: Plane) -> tuple[int, int]:
    """How much is left unexplained by the best shift, and how many tones changed, in percent."""
    if previous_y.shape != y.shape or y.ndim != 2:
        raise ValueError(f"two planes of one size are compared, got {previous_y.shape} {y.shape}")
    before, after = _thumbnail(previous_y), _thumbnail(y)
    texture = max(_texture(before), _texture(after), _FLAT * before.size)
    left = _best_match(before, after)
    counts = [np.bincount(t.ravel() * _BINS // 256, minlength=_BINS) for t in (before, after)]
    moved = int(np.abs(counts[0] - counts[1]).sum()) // 2
    return left * 100 // texture, moved * 100 // before.size


def _thumbnail(plane: Plane) -> _Thumbnail:
    """Block means, at most 18 rows by 32 columns; a picture on its side gets its own shape."""
    height, width = plane.shape
    rows, columns = (_ROWS, _COLUMNS) if width >= height else (_COLUMNS, _ROWS)
    rows, columns = min(rows, height), min(columns, width)
    row_edges = np.arange(rows) * height // rows
    column_edges = np.arange(columns) * width // columns
    sums = np.add.reduceat(plane.astype(np.int64), row_edges, axis=0)
    sums = np.add.reduceat(sums, column_edges, axis=1)
    areas = np.outer(np.diff(row_edges, append=height), np.diff(column_edges, append=width))
    return sums // areas


def _texture(thumbnail: _Thumbnail) -> int:
    """Sum of absolute differences from the mean."""
    return int(np.abs(thumbnail - int(thumbnail.sum()) // thumbnail.size).sum())


def _best_match(before: _Thumbnail, after: _Thumbnail) -> int:
    """The least sum of absolute differences over all shifts, scaled to the whole thumbnail."""
    rows, columns = before.shape
    best = int(np.abs(before - after).sum())
    down, across = min(_MAX_SHIFT, rows // 3), min(_MAX_SHIFT, columns // 3)
    for dy in range(-down, down + 1):
        for dx in range(-across, across + 1):
            a = before[max(dy, 0) : rows + min(dy, 0), max(dx, 0) : columns + min(dx, 0)]
            b = after[max(-dy, 0) : rows + min(-dy, 0), max(-dx, 0) : columns + min(-dx, 0)]
            best = min(best, int(np.abs(a - b).sum()) * before.size // a.size)
    return best
