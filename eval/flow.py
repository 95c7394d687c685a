"""Motion between two pictures, and where it can be trusted: the ground of `temporal`.

Dense flow by iterative Lucas-Kanade, coarse to fine, from scikit-image (Le Besnerais, Champagnat:
Dense Optical Flow by Iterative Local Window Registration, ICIP 2005). It is found on pictures that
are scaled down by a whole factor to a shorter side of 240 samples or so, where it takes about the
same time for every size of picture. What is wrong with it is wrong for every codec alike, since
only the source is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from skimage.registration import optical_flow_ilk
from torch.nn import functional as F

from gancodec.eval.remembered import Remembered, key_of
from gancodec.types import Plane

_FLOW_SIDE = 240  # samples of the shorter side where the flow is found, about
_WINDOW_RADIUS = 7  # samples: of 3, 5 and 7 the one with the least error on moving textures
_WARPS = 3  # a level: 5 and 10 were no better inside the picture, and worse near its border
# Flows there and back agree: Sundaram, Brox, Keutzer (ECCV 2010), as Lai et al. use it.
_ROUND_TRIP_SHARE, _ROUND_TRIP_SQUARE = 0.01, 0.5
_RESIDUAL_LEVELS = 10.0  # of the source against its own warp, mean of 5x5: beyond it, a wrong flow
_CACHE_BYTES = 64 << 20  # some 150 pairs of 720x480


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """From where each sample of a picture came.

    Attributes:
        flow: (2, h, w), rows and columns to add to a place in the later picture to get to the same
            thing in the earlier one, in luma samples; on a coarser grid than the picture's.
        visible: (H, W), where that holds as far as the source tells: not uncovered, not from
            outside, and alike.
    """

    flow: npt.NDArray[np.float16]
    visible: npt.NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.flow.nbytes + self.visible.nbytes


_motions = Remembered[Motion](_CACHE_BYTES, lambda motion: motion.nbytes)


def find_motion(before: Plane, after: Plane) -> Motion:
    """Motion from ``before`` to ``after``, luma planes (H, W) of at least 16 x 16."""
    return _motions.get(key_of(before, after), lambda: _estimate(before, after))


def warp(plane: Plane, motion: Motion) -> npt.NDArray[np.float32]:
    """The earlier picture (H, W) moved to where the later one has things; bilinear, 0 to 255."""
    moved = _sample(_to_tensor(plane)[None], _origins(motion.flow, plane.shape))[0]
    return np.asarray(moved.numpy(), np.float32)


def _estimate(before: Plane, after: Plane) -> Motion:
    find_flow: Callable[..., npt.NDArray[np.float32]] = optical_flow_ilk
    height, width = before.shape
    factor = max(1, round(min(height, width) / _FLOW_SIDE))
    size = (-(-height // factor), -(-width // factor))
    planes = [_to_tensor(plane)[None] for plane in (before, after)]
    small = [
        F.interpolate(plane[None] / 255, size=size, mode="area")[0, 0].numpy() for plane in planes
    ]
    stretch = np.array([height / size[0], width / size[1]], np.float32).reshape(2, 1, 1)
    reach = max(height, width)  # a flow beyond it leads outside from everywhere

    def flow(here: int, there: int) -> npt.NDArray[np.float16]:
        found = find_flow(
            small[here], small[there], radius=_WINDOW_RADIUS, num_warp=_WARPS, dtype=np.float32
        )
        inside: npt.NDArray[np.float32] = np.clip(found * stretch, -reach, reach)
        return inside.astype(np.float16)

    to_before = flow(1, 0)
    origins = _origins(to_before, before.shape)
    forth = _enlarge(to_before, before.shape)
    back = _sample(_enlarge(flow(0, 1), before.shape), origins)
    gap = (forth + back).square().sum(0)
    length = forth.square().sum(0) + back.square().sum(0)
    rows, columns = origins
    visible = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    visible &= gap < _ROUND_TRIP_SHARE * length + _ROUND_TRIP_SQUARE
    residual = (_sample(planes[0], origins) - planes[1]).abs()
    residual = F.avg_pool2d(residual[None], 5, stride=1, padding=2, count_include_pad=False)[0, 0]
    visible &= residual < _RESIDUAL_LEVELS
    return Motion(to_before, visible.numpy())


def _to_tensor(plane: Plane) -> torch.Tensor:
    return torch.from_numpy(plane.astype(np.float32))


def _enlarge(flow: npt.NDArray[np.float16], shape: tuple[int, ...]) -> torch.Tensor:
    """A flow on the picture's grid, (2, H, W)."""
    coarse = torch.from_numpy(flow.astype(np.float32))[None]
    return F.interpolate(coarse, size=shape, mode="bilinear", align_corners=False)[0]


def _origins(flow: npt.NDArray[np.float16], shape: tuple[int, ...]) -> torch.Tensor:
    """Row and column in the earlier picture for each sample of the later one, (2, H, W)."""
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in shape)
    return _enlarge(flow, shape) + torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def _sample(planes: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Planes (C, H, W) at rows and columns (2, H, W), the border repeated: (C, H, W)."""
    height, width = planes.shape[1:]
    grid = torch.stack([places[1] * (2 / (width - 1)) - 1, places[0] * (2 / (height - 1)) - 1], -1)
    return F.grid_sample(planes[None], grid[None], padding_mode="border", align_corners=True)[0]
