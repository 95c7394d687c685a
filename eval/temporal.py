"""Whether motion looks right: what still pictures cannot tell."""

from __future__ import annotations

from gancodec.eval.metric import Metric

TEMPORAL: tuple[Metric, ...] = ()
