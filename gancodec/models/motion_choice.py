"""Which vectors pay for their bits: the encoder's last word on a motion field.

The search (`gancodec.nn.motion`) finds vectors that predict well. Here every 16x16 block chooses
between those, its neighbours', the frame before's, none at all and the vector that would cost
nothing, by squared error plus the true bits of the coder's tables, in the coder's own order, so
that each block knows the prediction it will be coded with. Blocks split into 8x8 where that pays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gancodec.models.motion_coding import (
    SPLIT_TABLE,
    SUB_X_TABLE,
    SUB_Y_TABLE,
    X_TABLE,
    Ints,
    activity_of,
    predict_blocks,
    split_contexts,
    y_table_of,
)
from gancodec.nn.motion import QuarterSamples
from gancodec.nn.prices import table_bits

Floats = npt.NDArray[np.float32]
Tables = int | npt.NDArray[np.int64]
_SPAN = 1024  # residuals beyond are not worth telling apart
# An error that is less than the residual's coder will mend stays in this and all later frames: it
# costs five times the rate-distortion slope of its quantiser step, 0.136 squared steps a bit.
# A larger one is mended, for bits that grow with its logarithm.
ERROR_PRICE = 0.136 / 5
MENDED = 0.02  # squared quantiser steps a sample, about where that begins


class VectorPrices:
    """Bits of every residual under every table of `motion_coding`.

    Args:
        frequencies, offsets: the tables, in the order of `motion_coding`; see `table_bits`.
    """

    def __init__(self, frequencies: Sequence[Ints], offsets: Ints) -> None:
        self.bits = table_bits(frequencies, offsets, _SPAN)

    def vector(self, residual: Ints, x_table: Tables, y_table: Tables) -> Floats:
        """(..., 2) residuals -> (...) bits; ``y_table`` is that of an x residual of zero."""
        x = np.clip(residual[..., 0], -_SPAN, _SPAN)
        y = np.clip(residual[..., 1], -_SPAN, _SPAN)
        second = y_table + activity_of(x)
        out: Floats = self.bits[x_table, x + _SPAN] + self.bits[second, y + _SPAN]
        return out

    def split(self, context: npt.NDArray[np.int64]) -> Floats:
        """(n,) extra bits of saying that a block is split."""
        flag: Floats = self.bits[SPLIT_TABLE + context]
        return flag[:, _SPAN + 1] - flag[:, _SPAN]


def priced_error(squared: Floats, step: float) -> Floats:
    """Bits that squared errors of 8x8 blocks of samples are worth at a quantiser step."""
    mended = 64 * MENDED * step**2
    out: Floats = np.float32(64 * MENDED / ERROR_PRICE) * np.log1p(squared / np.float32(mended))
    return out


class _Errors:
    """Squared errors of displaced blocks, priced in bits."""

    def __init__(self, current: Floats, samples: QuarterSamples, step: float) -> None:
        h, w = current.shape
        rows, cols = h // 16, w // 16
        blocks = current.reshape(rows, 2, 8, cols, 2, 8).transpose(0, 3, 1, 4, 2, 5)
        self.blocks = np.ascontiguousarray(blocks.reshape(rows * cols, 4, 64))
        self.flat: Floats = samples.flat[0].numpy()
        self.stride = samples.stride
        self.origin = samples.base[0, ::16, ::16].numpy().ravel()
        y, x = np.mgrid[:8, :8]
        inner = (y * 4 * self.stride + x * 4).ravel()
        corners = np.array([0, 32, 32 * self.stride, 32 * self.stride + 32])
        self.inner = corners[:, None] + inner[None]  # (4, 64)
        self.step = step
        self.span = 2 * len(self.flat)  # displacements are less than half of it

    def of(self, index: npt.NDArray[np.intp], vectors: Ints) -> Floats:
        """Blocks (n,) by vectors (n, K, 2) -> (n, K, 4), a number for each 8x8."""
        # neighbours mostly agree: each displacement of a block is looked at once
        offset = vectors[..., 1] * self.stride + vectors[..., 0]
        keys = index.astype(np.int64)[:, None] * self.span + (offset + self.span // 2)
        wanted, where = np.unique(keys, return_inverse=True)
        block, offset = wanted // self.span, wanted % self.span - self.span // 2
        place = (self.origin[block] + offset)[:, None, None] + self.inner
        error = self.flat[place] - self.blocks[block]
        cost = priced_error(np.einsum("nbs,nbs->nb", error, error), self.step)
        priced: Floats = cost[where.reshape(vectors.shape[:-1])]
        return priced


def _neighbours(block: Ints) -> Ints:
    """(2, R, C) -> (R C, 9, 2): the vectors of a block and of those around it."""
    rows, cols = block.shape[1:]
    wide = np.pad(block, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = [wide[:, dy : dy + rows, dx : dx + cols] for dy in range(3) for dx in range(3)]
    return _listed(np.stack(around))


def _listed(fields: Ints) -> Ints:
    """(K, 2, R, C) -> (R C, K, 2)."""
    return fields.reshape(len(fields), 2, -1).transpose(2, 0, 1)


def choose_field(
    current: Floats,
    samples: QuarterSamples,
    found: Ints,
    previous: Ints,
    prices: VectorPrices,
    step: float,
    *,
    sweeps: int = 2,
    split: bool = True,
) -> Ints:
    """Choose the field to code.

    Args:
        current: luma (H, W) in 0..255, sides multiples of 16.
        samples: the reference, one picture.
        found: vectors of 8x8 blocks from the search, (2, H/8, W/8), or several such fields.
        previous: the field of the frame before, which vectors are predicted from, too.
        prices: bits of the model's tables.
        step: quantiser step of the frame, in sample values: what a bit is worth.
        sweeps: rounds in which vectors spread to neighbours.
        split: allow four 8x8 vectors in a block.

    Returns:
        (2, H/8, W/8) int32, at most the search's limit.
    """
    errors = _Errors(current, samples, step)
    rows, cols = current.shape[0] // 16, current.shape[1] // 16
    everywhere = np.arange(rows * cols)
    before = previous[:, ::2, ::2]
    found = found.reshape(-1, *found.shape[-3:])
    quarters = np.stack([f[:, dy::2, dx::2] for f in found for dy in (0, 1) for dx in (0, 1)])
    block = quarters[0]
    kinds, counts = np.unique(block.reshape(2, -1), axis=1, return_counts=True)
    commonest = np.broadcast_to(kinds[:, counts.argmax()][:, None, None], block.shape)
    fixed = _listed(np.stack([*quarters, np.zeros_like(block), before, commonest]))
    fixed_cost = errors.of(everywhere, fixed)
    for _ in range(sweeps):
        around = _neighbours(block)
        vectors = np.concatenate([fixed, around], 1)
        costs = np.concatenate([fixed_cost, errors.of(everywhere, around)], 1)
        total = costs.sum(-1)
        chosen = np.zeros_like(block)
        for at, predicted, context in predict_blocks(chosen, before):
            index = at[0] * cols + at[1]
            free = predicted[:, None]
            trials = np.concatenate([vectors[index], free], 1)
            cost = np.concatenate([total[index], errors.of(index, free).sum(-1)], 1)
            cost += prices.vector(
                trials - free, (X_TABLE + context)[:, None], y_table_of(context)[:, None]
            )
            best = trials[np.arange(len(index)), cost.argmin(1)]
            chosen[:, at[0], at[1]] = best.T
        block = chosen
    field: Ints = block.repeat(2, 1).repeat(2, 2)
    if not split:
        return field
    whole = _listed(block[None])
    whole_cost = errors.of(everywhere, whole)[:, 0]  # (n, 4)
    bits = prices.vector(vectors - whole, SUB_X_TABLE, SUB_Y_TABLE)
    gain = -prices.split(split_contexts(block))
    parts = whole.repeat(4, 1)
    for k in (1, 2, 3):  # the first quarter keeps the block's own vector
        cost = costs[:, :, k] + bits
        best_index = cost.argmin(1)
        gain += whole_cost[:, k] - cost[everywhere, best_index]
        parts[:, k] = vectors[everywhere, best_index]
    pays = (gain > 0).reshape(rows, cols)
    for k, (dy, dx) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        quarter = field[:, dy::2, dx::2]
        quarter[:] = np.where(pays, parts[:, k].T.reshape(2, rows, cols), quarter)
    return field
