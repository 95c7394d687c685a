"""Whether motion looks right: what still pictures cannot tell.

All of it is of luma planes, of each pair of consecutive frames. A pair with too little to judge by
(a scene cut, or nothing that is still) takes the mean of those that can be judged, so that it does
not move the clip's mean.

Blur makes any of these values better, since there is less left to be unsteady: read them beside a
metric that sees blur.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gancodec.errors import UsageError
from gancodec.eval.metric import Context, Meter, Metric, Values
from gancodec.types import FrameBatch, Plane

if TYPE_CHECKING:
    from gancodec.eval.flow import Motion

# Mean square of the difference of two pictures, in levels^2, if rounding to 8 bits were all that
# changed from one to the other (1/12 for each). Added to both sides of a ratio: a still source has
# no energy to divide by.
_ROUNDING = 1 / 6
_LEAST_VISIBLE = 0.05  # of the picture, for a warping error
_PER_MILLE = 1000 / 255**2  # from levels^2 to thousandths of the square of the range of luma
_WARP_SIDE = 16  # samples: the flow of a texture is right from there on, not at 8
_BLOCK = 8  # samples a side: enough of them that noise does not decide what is still
_STILL_LEVELS = 1.0  # mean absolute difference in a block: rounding and the finest grain
_LEAST_STILL = 1 / 256  # of the blocks

# Energies of the change from one frame to the next: the decoded clip's, the source's, in levels^2;
# NaN where there is too little to judge by.
Energies = tuple[float, float]
PairFunction = Callable[[Plane, Plane, Plane, Plane], Energies]  # source, source, decoded, decoded


class PairMeter:
    """Meter of a function that judges pairs of consecutive frames.

    Args:
        name: of the metric, for the message.
        function: energies of a pair.
        summarise: (pairs, 2) energies of all pairs that could be judged -> a value each.
    """

    def __init__(
        self, name: str, function: PairFunction, summarise: Callable[[Values], Values]
    ) -> None:
        self._name = name
        self._function = function
        self._summarise = summarise
        self._last: tuple[Plane, Plane] | None = None
        self._energies: list[Energies] = []

    def add(self, reference: FrameBatch, distorted: FrameBatch) -> None:
        last = self._last
        for source, decoded in zip(reference.y, distorted.y, strict=True):
            if last is not None:
                self._energies.append(self._function(last[0], source, last[1], decoded))
            last = (source, decoded)
        if last is not None:  # copies, or the whole batch would stay in memory
            self._last = (last[0].copy(), last[1].copy())

    def finish(self) -> Values:
        """A value a pair.

        Raises:
            UsageError: there are pairs, and none can be judged.
        """
        energies = np.array(self._energies, np.float64).reshape(-1, 2)
        judged = ~np.isnan(energies[:, 0])
        if len(energies) == 0:
            return np.empty(0)
        if not judged.any():
            raise UsageError(
                f"{self._name} finds nothing to judge by in any of {len(energies)} pairs of frames "
                "of this clip (all are scene cuts, or all of it moves); leave it out with -m"
            )
        found = self._summarise(energies[judged])
        values = np.full(len(energies), found.mean())
        values[judged] = found
        return values


def _warping(before: Plane, after: Plane, decoded_before: Plane, decoded_after: Plane) -> Energies:
    from gancodec.eval.flow import find_motion

    motion = find_motion(before, after)
    if motion.visible.mean() < _LEAST_VISIBLE:
        return np.nan, np.nan
    return (
        _warped_square(decoded_before, decoded_after, motion),
        _warped_square(before, after, motion),
    )


def _warped_square(before: Plane, after: Plane, motion: Motion) -> float:
    from gancodec.eval.flow import warp

    difference = (warp(before, motion) - after)[motion.visible].astype(np.float64)
    return float(np.square(difference).mean())


def _flickering(
    before: Plane, after: Plane, decoded_before: Plane, decoded_after: Plane
) -> Energies:
    change = after.astype(np.float32) - before
    still = _block_means(np.abs(change)) < _STILL_LEVELS
    if still.mean() < _LEAST_STILL:
        return np.nan, np.nan
    decoded_change = decoded_after.astype(np.float32) - decoded_before
    return (
        float(_block_means(np.square(decoded_change))[still].mean()),
        float(_block_means(np.square(change))[still].mean()),
    )


def _block_means(plane: npt.NDArray[np.float32]) -> Values:
    """Means of whole blocks of (H, W): (H // 8, W // 8)."""
    rows, columns = (side // _BLOCK for side in plane.shape)
    blocks = plane[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    means: Values = blocks.mean((1, 3), dtype=np.float64)
    return means


def _decoded_per_mille(energies: Values) -> Values:
    return energies[:, 0] * _PER_MILLE


def _ratio_to_source(energies: Values) -> Values:
    """Each pair's energy over the source's mean of all pairs.

    The mean of these is the ratio of the means; a mean of ratios would belong to the pairs in which
    the source has next to no energy.
    """
    mean_of_source = float(energies[:, 1].mean())
    return (energies[:, 0] + _ROUNDING) / (mean_of_source + _ROUNDING)


def _start(
    name: str, function: PairFunction, summarise: Callable[[Values], Values]
) -> Callable[[Context], Meter]:
    return lambda context: PairMeter(name, function, summarise)


_LAI = "Lai et al.: Learning Blind Video Temporal Consistency (ECCV 2018), E_warp"

TEMPORAL: tuple[Metric, ...] = (
    # Mean square of the difference between a decoded frame and the decoded frame before it, which
    # is moved along the flow of the source; in luma of 0 to 1, times 1000; of what is visible in
    # both. As in the paper, but for luma in place of RGB and the flow of `flow` in place of
    # FlowNet 2. The source has an error of its own: noise, and what a flow cannot follow.
    Metric(
        "warp-error",
        "Warping error ×1000",
        "",
        False,
        _start("warp-error", _warping, _decoded_per_mille),
        _LAI,
        per="pair",
        samples=False,
        least_side=_WARP_SIDE,
    ),
    # The same over the source's own error: 1 is as steady as the source, below it is blur or noise
    # that is gone.
    Metric(
        "warp-error-ratio",
        "Warping error / source's",
        "",
        False,
        _start("warp-error-ratio", _warping, _ratio_to_source),
        _LAI,
        per="pair",
        samples=False,
        least_side=_WARP_SIDE,
    ),
    # Mean square of the change from frame to frame, decoded over source, in those 8x8 blocks where
    # the source changes by less than one level in the mean. 1 flickers as the source does; less is
    # steadier. Where the source moves, the ratio would measure blur, and lower would be worse.
    Metric(
        "flicker",
        "Flicker where the source is still",
        "",
        False,
        _start("flicker", _flickering, _ratio_to_source),
        "ratio of the energies of frame differences where the source is still; of this project",
        per="pair",
        samples=False,
        least_side=_BLOCK,
    ),
)
