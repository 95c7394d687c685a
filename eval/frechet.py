"""Whether pictures and motion are of the kind that is real: distances between distributions."""

from __future__ import annotations

from gancodec.eval.metric import Metric

FRECHET: tuple[Metric, ...] = ()
