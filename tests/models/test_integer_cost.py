"""What integer arithmetic costs: the bits of the coded symbols beside the float twin's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gancodec.codec import Loop
from gancodec.config import EncodeOptions
from gancodec.models.compress import GanCodec, temporal_context
from gancodec.nn.motion import warp
from gancodec.nn.planes import pack, planes_of
from gancodec.nn.prior import SCALES, symbol_bits
from gancodec.registry import HYPER_TABLES, INTER_TABLES, INTRA_TABLES, load_model
from gancodec.train.export import thaw
from gancodec.video import synth


class Counter:
    """A coder that sums the bits of what passes, under logistic densities of the tables' scales."""

    def __init__(self) -> None:
        self.bits = 0.0

    def __call__(self, values: Any, index: Any) -> Any:
        if len(values) and index.max() < INTER_TABLES + SCALES:  # motion is not the prior's
            scale = torch.from_numpy(index.astype(np.int64) % SCALES)
            symbols = torch.from_numpy(values.astype(np.float64))
            self.bits += float(symbol_bits(symbols, scale).sum())
        return values


def test_integers_cost_next_to_nothing() -> None:
    """At most 0.3 % more bits than floats with the same weights give, over all qualities."""
    ours, twins = (sum(column) for column in zip(*map(bits_of, (12, 30, 50)), strict=True))
    assert 0.9 * twins < ours < 1.003 * twins


def bits_of(quality: int) -> tuple[float, float]:
    """Bits of an intra and an inter frame: by integers, by floats."""
    assert {HYPER_TABLES % SCALES, INTRA_TABLES % SCALES, INTER_TABLES % SCALES} == {0}
    model = load_model(EncodeOptions().model)
    twin: GanCodec = thaw(model).eval()
    batch = synth.noisy_pan(256, 192, 2, seed=3)
    level = torch.tensor([quality])
    first, second = (planes_of(batch, k, torch.device("cpu")) for k in (0, 1))
    size = (12, 16)
    loop, counter = Loop(model, torch.device("cpu")), Counter()
    with torch.inference_mode():
        loop.intra(first, size, level, counter)
        y = twin.intra.analyse(pack(first), level)
        floats = float(twin.intra.prior(y, level, None).bits)
        assert loop.reference is not None
        field = np.zeros((2, 24, 32), np.int32)
        motion = torch.from_numpy(field)[None]
        predicted = pack(warp(loop.reference, motion, overlap=model.nets.config.overlap))
        loop.inter(second, field, size, level, counter)
        none = torch.zeros(1, twin.inter.prior.latents, *size)
        temporal = temporal_context(none, motion, moving=model.nets.config.moving_latents)
        y = twin.inter.analyse(pack(second), predicted, level)
        floats += float(twin.inter.prior(y, level, temporal).bits)
    return counter.bits, floats
