"""What a metric is: a name, a direction, and something that is fed pairs of frames.

A metric is fed from front to back and never holds a clip, so a film can be measured in bounded
memory. Each says its unit and which way is better: whoever prints or plots needs no table of its
own. The metrics themselves stand in `fidelity`, `perceptual`, `temporal` and `frechet`; the list of
all is in `metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from gancodec.types import FrameBatch, VideoInfo

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Context:
    """What a metric may need to know beside the frames.

    Attributes:
        info: size, rate and colours of the reference, for metrics that look at RGB.
        weights: files of metrics whose nets cannot be shipped, by metric name.
    """

    info: VideoInfo
    weights: Mapping[str, Path] = field(default_factory=dict)


class Meter(Protocol):
    """One measurement under way."""

    def add(self, reference: FrameBatch, distorted: FrameBatch) -> None:
        """The next frames of both clips, equally many and of equal size."""

    def finish(self) -> Values:
        """A value a frame, a value a pair of frames, or one value (see `Metric.per`)."""


FrameFunction = Callable[[FrameBatch, FrameBatch], Values]


class FrameMeter:
    """Meter of a function that judges frames one by one: (N frames, N frames) -> (N,) values."""

    def __init__(self, function: FrameFunction) -> None:
        self._function = function
        self._values: list[Values] = []

    def add(self, reference: FrameBatch, distorted: FrameBatch) -> None:
        self._values.append(self._function(reference, distorted))

    def finish(self) -> Values:
        return np.concatenate(self._values) if self._values else np.empty(0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One way to compare a decoded clip with its source.

    Attributes:
        name: what users type, lower case.
        title: what tables and axes print.
        unit: "dB", or "" for a plain number.
        higher_is_better: the direction.
        start: begins a measurement.
        paper: the publication or standard that defines it.
        per: "frame": a value a frame; "pair": a value for each frame but the first, which tells of
            it and the one before; "clip": one value, and the mean over clips says little.
        samples: whether every n-th frame may stand for all: each is judged on its own.
        least_side: the smallest picture it is defined for, in luma samples.
        check: raises UsageError with the remedy where a package or file that it needs is missing.
        judges: a number that decides; never to be trained on.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool
    start: Callable[[Context], Meter]
    paper: str
    per: Literal["frame", "pair", "clip"] = "frame"
    samples: bool = True
    least_side: int = 1
    check: Callable[[Mapping[str, Path]], None] = lambda weights: None
    judges: bool = False

    def measure(
        self, reference: FrameBatch, distorted: FrameBatch, context: Context | None = None
    ) -> Values:
        """All values of a clip that is in memory."""
        meter = self.start(context or Context(_info_of(reference)))
        meter.add(reference, distorted)
        return meter.finish()

    def worst(self, values: Values) -> int:
        """Where in ``values`` the worst one stands."""
        return int(values.argmin() if self.higher_is_better else values.argmax())


def per_frame(function: FrameFunction) -> Callable[[Context], Meter]:
    """`Metric.start` of a function that needs nothing but the planes."""
    return lambda context: FrameMeter(function)


def _info_of(batch: FrameBatch) -> VideoInfo:
    height, width = batch.y.shape[1:]
    return VideoInfo(width, height, Fraction(25), Fraction(1, 25))
