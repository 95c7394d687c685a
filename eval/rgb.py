"""Metrics that look at RGB pictures: planes are converted frame by frame, as the clip says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gancodec.eval.metric import Context, Meter, Values
from gancodec.types import FrameBatch
from gancodec.video.color import yuv420_to_rgb

Picture = npt.NDArray[np.uint8]  # (H, W, 3) RGB, full range
PictureFunction = Callable[[Picture, Picture], float]


class RgbMeter:
    """Meter of a function that judges pairs of pictures; two of them are in memory at a time."""

    def __init__(self, function: PictureFunction, context: Context) -> None:
        self._function = function
        self._color = context.info.color
        self._values: list[float] = []

    def add(self, reference: FrameBatch, distorted: FrameBatch) -> None:
        """The next frames of both clips."""
        for n in range(len(reference)):
            a, b = (yuv420_to_rgb(c[n : n + 1], self._color)[0] for c in (reference, distorted))
            self._values.append(self._function(a, b))

    def finish(self) -> Values:
        """A value a frame."""
        return np.array(self._values, np.float64)


def per_picture(function: PictureFunction) -> Callable[[Context], Meter]:
    """`Metric.start` of a function (H, W, 3), (H, W, 3) -> number."""
    return lambda context: RgbMeter(function, context)
