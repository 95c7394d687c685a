"""Motion of the bake-off: search, choice and the bits of fields, by the codec's own tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from bakeoff_nets import Choice, Motion, State, choose_references

from gancodec.effort import SEARCH_PRICE
from gancodec.models.compress import step_sizes
from gancodec.models.motion_choice import VectorPrices, choose_field
from gancodec.models.motion_coding import (
    SPLIT_TABLE,
    SUB_X_TABLE,
    SUB_Y_TABLE,
    X_TABLE,
    Ints,
    predict_blocks,
    split_contexts,
    y_table_of,
)
from gancodec.nn.motion import QuarterSamples, search_motion
from gancodec.nn.planes import Planes
from gancodec.registry import MOTION_TABLES
from gancodec.train.export import parametric_tables

Flags = npt.NDArray[np.bool_]


def parametric_prices() -> VectorPrices:
    """Prices under the tables that training's motion was chosen with, the same for all variants."""
    tables = parametric_tables()
    return VectorPrices(tables.frequencies[MOTION_TABLES:], tables.offsets[MOTION_TABLES:])


def code_vectors(
    wanted: Ints, previous: Ints, known: Flags, prices: VectorPrices, *, split: bool
) -> tuple[Ints, float]:
    """Code a field as `motion_coding.code_field` does, but only the vectors of ``known`` blocks.

    Args:
        wanted: (2, H/8, W/8).
        previous: the field of the frame before.
        known: (H/16, W/16); the other blocks take their predicted vectors, at no cost.
        split: whether there are split flags to pay for.

    Returns:
        The field that a decoder gets, and its bits.
    """
    block = np.zeros_like(wanted[:, ::2, ::2])
    bits = 0.0
    for at, predicted, context in predict_blocks(block, previous[:, ::2, ::2]):
        here = known[at]
        vectors = np.where(here[:, None], wanted[:, ::2, ::2][:, at[0], at[1]].T, predicted)
        cost = prices.vector(vectors - predicted, X_TABLE + context, y_table_of(context))
        bits += float(cost[here].sum())
        block[:, at[0], at[1]] = vectors.T
    coded = block.repeat(2, 1).repeat(2, 2)
    if split:
        parts = np.where(known.repeat(2, 0).repeat(2, 1), wanted, coded)
        rows, columns = known.shape
        flags = (parts != coded).any(0).reshape(rows, 2, columns, 2).any((1, 3))
        table = SPLIT_TABLE + split_contexts(block).reshape(rows, columns)
        zero = prices.bits.shape[1] // 2
        bits += float(prices.bits[table, zero + flags][known].sum())
        for dy, dx in ((0, 1), (1, 0), (1, 1)):
            residual = (parts - coded)[:, dy::2, dx::2][:, flags].T
            bits += float(prices.vector(residual, SUB_X_TABLE, SUB_Y_TABLE).sum())
        coded = parts
    return coded, bits


def flag_bits(flags: Flags) -> float:
    """Bits of binary flags (H/16, W/16), counted as a coder would that learns as it goes.

    Krichevsky-Trofimov frequencies, for each number of flags set to the left and above.
    """
    wide = np.pad(flags, ((1, 0), (1, 0))).astype(np.int64)
    context = wide[1:, :-1] + wide[:-1, 1:]
    total = 0.0
    for k in range(3):
        ones = int(flags[context == k].sum())
        zeros = int((context == k).sum()) - ones
        total -= math.lgamma(ones + 0.5) + math.lgamma(zeros + 0.5) - math.lgamma(ones + zeros + 1)
        total += 2 * math.lgamma(0.5)
    return total / math.log(2)


@dataclass
class VectorCoder:
    """Motion of the frames of one GOP: what the encoder finds, and what it costs."""

    choice: Choice
    prices: VectorPrices = field(default_factory=parametric_prices)
    previous: Ints | None = None
    previous_first: Ints | None = None

    def find(self, x: Planes, state: State, level: int) -> tuple[Motion, float]:
        """Motion of the next frame and its bits."""
        rows, columns = x.y.shape[2] // 16, x.y.shape[3] // 16
        zeros = np.zeros((2, 2 * rows, 2 * columns), np.int32)
        if not self.choice.motion:
            return Motion(torch.from_numpy(zeros)[None].float()), 0.0
        previous = zeros if self.previous is None else self.previous
        step = float(step_sizes(self.choice.config)[level])
        split = self.choice.split
        wanted = self._search(x, state.picture, previous, step)
        flags = np.zeros((rows, columns), np.bool_)
        bits = 0.0
        second: Ints | None = None
        if self.choice.first_frame and self.previous is not None:
            assert self.previous_first is not None
            second = self._search(x, state.first, self.previous_first, step)
            chosen = choose_references(
                x,
                state,
                _batched(wanted),
                _batched(second),
                torch.tensor([level]),
                self.choice.config,
            )
            flags = chosen[0, 0].numpy() > 0
            second, spent = code_vectors(
                second, self.previous_first, flags, self.prices, split=split
            )
            bits += spent + flag_bits(flags)
        coded, spent = code_vectors(wanted, previous, ~flags, self.prices, split=split)
        bits += spent
        self.previous = coded
        # of the GOP's second frame both references are the same picture
        self.previous_first = coded if second is None else second
        if second is None:
            return Motion(_batched(coded)), bits
        share = torch.from_numpy(flags.astype(np.float32))[None, None]
        return Motion(_batched(coded), _batched(second), share), bits

    def _search(self, x: Planes, reference: Planes, previous: Ints, step: float) -> Ints:
        luma, samples = x.y * 255, QuarterSamples(reference.y * 255)
        found = search_motion(luma, samples, penalty=SEARCH_PRICE * step)
        return choose_field(
            luma[0, 0].numpy(),
            samples,
            found[0].numpy().astype(np.int32),
            previous,
            self.prices,
            step,
            split=self.choice.split,
        )


def _batched(vectors: Ints) -> torch.Tensor:
    return torch.from_numpy(vectors)[None].float()
