"""Motion fields <-> small whole numbers with the index of the table that codes each.

Blocks are visited from a coarse grid to a fine one, each pass at once: a corner of every 8x8
blocks first, then the centres of the squares, then the middles of their sides, and so on. A vector
is predicted by the median of the vectors around it that are known by then and of the vector of the
frame before; how much these disagree picks the table. Whole numbers only: the walk is the same
everywhere. Encoder and decoder share it and differ in the callback that codes one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
# (residuals to code, or None when decoding; table of each) -> residuals
Coder = Callable[[Ints | None, npt.NDArray[np.uint8]], Ints]

_COARSEST = 8  # blocks; the spacing of the first pass
_SPREADS = np.array([0, 2, 8, 24])  # disagreement in quarter samples -> five contexts
CONTEXTS = len(_SPREADS) + 2  # the last one: first pass, nothing known yet
_ACTIVITIES = 3  # of the x residual beside which y is coded: none, small, large
X_TABLE = 0
Y_TABLE = X_TABLE + CONTEXTS
SPLIT_TABLE = Y_TABLE + CONTEXTS * _ACTIVITIES
SUB_X_TABLE = SPLIT_TABLE + CONTEXTS
SUB_Y_TABLE = SUB_X_TABLE + 1
TABLES = SUB_Y_TABLE + _ACTIVITIES


class _Pass(NamedTuple):
    rows: Ints
    cols: Ints
    around: list[tuple[Ints, Ints]]  # rows and columns of the known neighbours, clamped inside


@lru_cache(maxsize=8)
def _passes(height: int, width: int) -> tuple[_Pass, ...]:
    """All passes over a field of height x width blocks, in coding order."""
    rows, cols = (a.astype(np.int32) for a in np.mgrid[:height, :width])
    at_start = (rows % _COARSEST == 0) & (cols % _COARSEST == 0)
    passes = [_Pass(rows[at_start], cols[at_start], [])]
    spacing = _COARSEST
    while spacing > 1:
        half = spacing // 2
        odd_row, odd_col = rows % spacing == half, cols % spacing == half
        on_row, on_col = rows % spacing == 0, cols % spacing == 0
        diagonal = ((-half, -half), (-half, half), (half, -half), (half, half))
        straight = ((-half, 0), (half, 0), (0, -half), (0, half))
        for chosen, offsets in (
            (odd_row & odd_col, diagonal),
            ((odd_row & on_col) | (on_row & odd_col), straight),
        ):
            r, c = rows[chosen], cols[chosen]
            around = [_inside(r, c, dy, dx, height, width) for dy, dx in offsets]
            passes.append(_Pass(r, c, around))
        spacing = half
    return tuple(p for p in passes if p.rows.size)


def _inside(r: Ints, c: Ints, dy: int, dx: int, height: int, width: int) -> tuple[Ints, Ints]:
    """The neighbour (dy, dx) away, or, where that is outside, the one opposite."""
    y, x = r + dy, c + dx
    y = np.where((y < 0) | (y >= height), r - dy, y)
    x = np.where((x < 0) | (x >= width), c - dx, x)
    return np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)


def _spread_context(vectors: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """(K, n, 2) neighbouring vectors -> (n,) context 0..4 by how far they lie apart."""
    spread = (vectors.max(0) - vectors.min(0)).sum(-1)
    context: npt.NDArray[np.int64] = np.searchsorted(_SPREADS, spread, side="left")
    return context.clip(0, len(_SPREADS))


def activity_of(residual: Ints) -> npt.NDArray[np.int64]:
    """Which of a context's y tables, by the x residual: none, small, large."""
    magnitude = np.abs(residual)
    return (magnitude > 0).astype(np.int64) + (magnitude > 4)


def y_table_of(context: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """First of a context's tables for y residuals."""
    return Y_TABLE + context * _ACTIVITIES


def predict_blocks(
    block: Ints, before: Ints
) -> Iterator[tuple[tuple[Ints, Ints], Ints, npt.NDArray[np.int64]]]:
    """The passes over ``block`` (2, R, C): places, predicted vectors (n, 2) and contexts (n,).

    Whoever iterates fills ``block`` at each pass's places before asking for the next.
    """
    for step in _passes(*block.shape[1:]):
        temporal = before[:, step.rows, step.cols].T  # (n, 2)
        if step.around:
            known = np.stack([block[:, r, c].T for r, c in step.around])  # (4, n, 2)
            context = _spread_context(known)
            predicted = np.median(np.concatenate([known, temporal[None]]), 0).astype(np.int32)
        else:
            context = np.full(step.rows.size, CONTEXTS - 1)
            predicted = temporal.astype(np.int32)
        yield (step.rows, step.cols), predicted, context


def split_contexts(block: Ints) -> npt.NDArray[np.int64]:
    """(2, R, C) vectors of 16x16 blocks -> (R C,) context of each block's split flag."""
    height, width = block.shape[1:]
    padded = np.pad(block, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = np.stack(
        [
            padded[:, dy : dy + height, dx : dx + width].reshape(2, -1).T
            for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2), (1, 1))
        ]
    )
    return _spread_context(around)


def _walk(height: int, width: int, previous: Ints, actual: Ints | None, code: Coder) -> Ints:
    """Code or decode a field (2, 2 height, 2 width) of 8x8 blocks; ``actual`` only to code."""
    field = np.zeros((2, 2 * height, 2 * width), np.int32)
    block = field[:, ::2, ::2]  # the first 8x8 of each 16x16 stands for it
    truth = None if actual is None else actual[:, ::2, ::2]
    before = previous[:, ::2, ::2]

    def vector(
        at: tuple[Ints, Ints],
        predicted: Ints,
        table: npt.NDArray[np.int64],
        y_table: int,
        x_table: int,
    ) -> Ints:
        wanted = None if truth is None else truth[:, at[0], at[1]].T - predicted
        dx = code(None if wanted is None else wanted[:, 0], (x_table + table).astype(np.uint8))
        index = (y_table + table * _ACTIVITIES + activity_of(dx)).astype(np.uint8)
        dy = code(None if wanted is None else wanted[:, 1], index)
        return predicted + np.stack([dx, dy], 1)

    for at, predicted, context in predict_blocks(block, before):
        block[:, at[0], at[1]] = vector(at, predicted, context, Y_TABLE, X_TABLE).T
    _walk_splits(field, actual, code)
    return field


def _walk_splits(field: Ints, actual: Ints | None, code: Coder) -> None:
    """Which blocks have four vectors, and the other three of those; fills ``field``."""
    block = field[:, ::2, ::2].copy()
    field[:] = block.repeat(2, 1).repeat(2, 2)
    height, width = block.shape[1:]
    index = (SPLIT_TABLE + split_contexts(block)).astype(np.uint8)
    flags = None
    if actual is not None:
        flags = (actual != field).any(0).reshape(height, 2, width, 2).any((1, 3))
        flags = flags.astype(np.int32).ravel()
    rows, cols = np.nonzero(code(flags, index).reshape(height, width))
    for dy, dx in ((0, 1), (1, 0), (1, 1)):
        r, c = 2 * rows + dy, 2 * cols + dx
        wanted = None if actual is None else (actual[:, r, c] - field[:, r, c])
        table = np.full(rows.size, SUB_X_TABLE, np.uint8)
        x = code(None if wanted is None else wanted[0], table)
        y = code(
            None if wanted is None else wanted[1], (SUB_Y_TABLE + activity_of(x)).astype(np.uint8)
        )
        field[:, r, c] += np.stack([x, y])


def code_field(field: Ints, previous: Ints, code: Coder) -> Ints:
    """Hand the residuals of a field (2, h, w), h and w even, to ``code``, pass by pass."""
    return _walk(field.shape[1] // 2, field.shape[2] // 2, previous, field, code)


def decode_field(height: int, width: int, previous: Ints, code: Coder) -> Ints:
    """Rebuild a field of 2 height x 2 width 8x8 blocks from the residuals that ``code`` gives."""
    return _walk(height, width, previous, None, code)
