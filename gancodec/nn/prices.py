"""What symbols really cost: bits by the tables that the coder uses, and rounding by them.

Tables are counted (`gancodec.train.export`) and differ from the logistic density that nets are
trained on, most where symbols are rare. An optimiser that is told the density's bits finds
symbols that only seem cheap: in inter frames, up to a tenth of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gancodec.nn.prior import SCALES, quantise

Ints = npt.NDArray[np.int32]
# (offsets from their means, scale indices, first table of the kind, weight of a squared step of
# error beside a bit) -> whole numbers
Rounding = Callable[[Tensor, Tensor, int, float], Tensor]

_SPAN = 256  # symbols beyond cost what this one costs: they are too rare to tell apart
_TABLE_BITS = 16.0  # frequencies sum to 2 to the power of this


def round_by_density(offset: Tensor, scale: Tensor, first: int, weight: float) -> Tensor:
    """A `Rounding` by the density that nets are trained on, whatever the tables."""
    return quantise(offset, scale, weight)


def table_bits(frequencies: Sequence[Ints], offsets: Ints, span: int) -> npt.NDArray[np.float32]:
    """(tables, 2 span + 1) bits of the values -span .. span; what no table holds is escaped.

    Args:
        frequencies: integer tables, each summing to 65536; the last symbol is the escape symbol.
        offsets: the lowest value of each table.
    """
    values = np.arange(-span, span + 1)
    bits = np.empty((len(frequencies), len(values)), np.float32)
    for row, frequency, low in zip(bits, frequencies, offsets, strict=True):
        cost = _TABLE_BITS - np.log2(frequency)
        symbols = len(cost) - 1
        place = values - low
        beyond = np.where(place < 0, -place, place - symbols + 1).clip(1)
        inside = (place >= 0) & (place < symbols)
        escaped = cost[-1] + 2 * np.log2(beyond) + 1  # an Exp-Golomb code follows the escape
        row[:] = np.where(inside, cost[place.clip(0, symbols - 1)], escaped)
    return bits


class SymbolPrices:
    """Bits of every symbol under every table of latents and hyper-latents.

    Args:
        frequencies, offsets: the tables, see `table_bits`.
        device: where prices are asked for.
    """

    def __init__(
        self, frequencies: Sequence[Ints], offsets: Ints, device: torch.device | None = None
    ) -> None:
        self._bits = torch.from_numpy(table_bits(frequencies, offsets, _SPAN)).to(device)

    def of(self, symbol: Tensor, scale: Tensor, first: int) -> Tensor:
        """Bits of whole numbers under table ``first`` + ``scale``; shapes broadcast."""
        return self._bits[_level(scale) + first, _column(symbol)]

    def round(self, offset: Tensor, scale: Tensor, first: int, weight: float) -> Tensor:
        """A `Rounding`: of zero and the whole numbers around, the one of the least cost."""
        level = _level(scale)
        inner = offset.trunc()
        best = torch.zeros_like(offset)
        least = weight * offset.square() + self.of(best, level, first)
        for trial in (inner - offset.sign(), inner, inner + offset.sign()):
            cost = weight * (offset - trial).square() + self.of(trial, level, first)
            better = cost < least
            best, least = torch.where(better, trial, best), torch.where(better, cost, least)
        return best

    def sloped(self, symbol: Tensor, mean: Tensor, scale: Tensor, first: int) -> Tensor:
        """Bits as `of` gives, with gradients by ``mean`` and ``scale``: central differences.

        A mean that moves towards the symbol does what a smaller symbol would do.
        """
        level = _level(scale)
        up, down = (level + 1).clamp(max=SCALES - 1), (level - 1).clamp(min=0)
        column = _column(symbol.clamp(1 - _SPAN, _SPAN - 1))
        by_scale = (self._bits[up + first, column] - self._bits[down + first, column]) / (up - down)
        table = level + first
        by_mean = (self._bits[table, column - 1] - self._bits[table, column + 1]) / 2
        moves = by_scale * (scale - scale.detach()) + by_mean * (mean - mean.detach())
        return self._bits[table, column] + moves


def _level(scale: Tensor) -> Tensor:
    return torch.floor(scale.detach() + 0.5).clamp(0, SCALES - 1).long()


def _column(symbol: Tensor) -> Tensor:
    return symbol.detach().clamp(-_SPAN, _SPAN).long() + _SPAN
