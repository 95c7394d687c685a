"""Bits by counted tables, and rounding by them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from gancodec.nn.prices import SymbolPrices, round_by_density
from gancodec.nn.prior import ERROR_WEIGHT, SCALES, quantise

FIRST = 3  # tables of another kind lie before


def tables() -> tuple[list[npt.NDArray[np.int32]], npt.NDArray[np.int32]]:
    """SCALES tables over -2..3 and escape, by and by less peaked, lopsided; odd ones before."""
    out = [np.array([65535, 1], np.int32)] * FIRST
    for k in range(SCALES):
        weights = np.array([1, 8, 400 - 5 * k, 16, 2, 1, 1], float)
        frequency = np.floor(weights / weights.sum() * 65536).astype(np.int32)
        frequency[2] += 65536 - frequency.sum()
        out.append(frequency)
    return out, np.array([0] * FIRST + [-2] * SCALES, np.int32)


def test_prices_are_those_of_the_tables() -> None:
    frequencies, offsets = tables()
    prices = SymbolPrices(frequencies, offsets)
    symbol = torch.arange(-2, 4).float()
    for level in (0, 17, SCALES - 1):
        found = prices.of(symbol, torch.tensor(level + 0.4), FIRST)
        expected = 16 - np.log2(frequencies[FIRST + level][:-1])
        assert np.allclose(found, expected, atol=1e-5)
    escape = 16 - np.log2(frequencies[FIRST][-1])
    outside = prices.of(torch.tensor([-3.0, 4.0, 9.0, 300.0, 1e6]), torch.tensor(0), FIRST)
    assert outside[0] == outside[1]
    assert outside[0] > escape
    assert (outside.diff() >= 0).all()


def test_rounding_is_the_cheapest_of_all_symbols() -> None:
    prices = SymbolPrices(*tables())
    offset = torch.linspace(-3.4, 4.4, 997)
    symbols = torch.arange(-6, 8).float()[:, None]
    for level, weight in ((0, 1.0), (30, ERROR_WEIGHT), (63, 4.0)):
        scale = torch.tensor(level)
        cost = weight * (offset - symbols).square() + prices.of(symbols, scale, FIRST)
        chosen = prices.round(offset, scale, FIRST, weight)
        mine = weight * (offset - chosen).square() + prices.of(chosen, scale, FIRST)
        # Symbols that are further away than one can be cheaper still, but hardly ever.
        assert (mine <= cost.min(0).values + 1e-4).float().mean() > 0.95
        assert not torch.equal(chosen, offset.round())


def test_slopes_are_differences_of_prices() -> None:
    prices = SymbolPrices(*tables())
    scale = torch.tensor([20.3], requires_grad=True)
    mean = torch.tensor([0.2], requires_grad=True)
    symbol = torch.tensor([1.0])
    bits = prices.sloped(symbol, mean, scale, FIRST)
    assert torch.equal(bits.detach(), prices.of(symbol, scale, FIRST))
    by_mean, by_scale = torch.autograd.grad(bits.sum(), (mean, scale))

    def at(s: float, level: int) -> torch.Tensor:
        return prices.of(torch.tensor([s]), torch.tensor(level), FIRST)

    assert torch.allclose(by_scale, (at(1, 21) - at(1, 19)) / 2)
    assert torch.allclose(by_mean, (at(0, 20) - at(2, 20)) / 2)
    assert by_mean < 0  # a mean nearer the symbol makes it cheaper


def test_round_by_density_is_the_quantiser_of_the_nets() -> None:
    offset, scale = torch.randn(100) * 3, torch.randint(0, SCALES, (100,))
    assert torch.equal(round_by_density(offset, scale, 5, 2.0), quantise(offset, scale, 2.0))
