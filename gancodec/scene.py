"""Scene cuts: where a picture has nothing to do with the one before."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gancodec.types import Plane

_CELL = 8  # luma samples; coarse enough that motion and noise average out
_DIFFERENCE = 18.0  # mean absolute difference of cells, in 8-bit levels
_HISTOGRAM = 0.5  # of the two histograms' mass that does not overlap


def is_scene_cut(previous: Plane, current: Plane) -> bool:
    """Whether ``current`` opens a new shot. Whole-number statistics, the same everywhere.

    Two (H, W) luma planes. A fast pan changes the cells but hardly the histogram, a flash or a
    fade the histogram but less the cells; a cut changes both.
    """
    before, now = _cells(previous), _cells(current)
    if np.abs(before - now).mean() < _DIFFERENCE:
        return False
    bins = [np.bincount((c // 16).astype(np.int64).ravel(), minlength=16) for c in (before, now)]
    overlap = np.minimum(bins[0], bins[1]).sum() / max(before.size, 1)
    return bool(1 - overlap > _HISTOGRAM * 0.6)


def _cells(plane: Plane) -> npt.NDArray[np.int32]:
    h, w = plane.shape
    if h < _CELL or w < _CELL:
        return plane.astype(np.int32)
    whole = plane[: h // _CELL * _CELL, : w // _CELL * _CELL].astype(np.int32)
    cells: npt.NDArray[np.int32] = whole.reshape(h // _CELL, _CELL, w // _CELL, _CELL).sum((1, 3)) // _CELL**2
    return cells
