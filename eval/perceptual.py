"""How a picture looks beside its source, by models of human judgement."""

from __future__ import annotations

from gancodec.eval.metric import Metric

PERCEPTUAL: tuple[Metric, ...] = ()
