"""The choice of vectors: true bits, sums that add up, and fewer bits where a bit is dear."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from gancodec.models.motion_choice import VectorPrices, choose_field, priced_error
from gancodec.models.motion_coding import code_field
from gancodec.nn.motion import QuarterSamples, search_motion
from gancodec.registry import MOTION_TABLES
from gancodec.train.export import parametric_tables

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def prices() -> VectorPrices:
    tables = parametric_tables()
    return VectorPrices(tables.frequencies[MOTION_TABLES:], tables.offsets[MOTION_TABLES:])


def noise(seed: int, size: int = 96) -> Floats:
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, size // 4, size // 4, generator=rng) * 255
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")[0, 0].numpy()


def choose(current: Floats, reference: Floats, prices: VectorPrices, step: float) -> Ints:
    samples = QuarterSamples(torch.from_numpy(reference.copy())[None, None])
    found = search_motion(torch.from_numpy(current.copy())[None, None], samples)
    still = np.zeros(found.shape[1:], np.int32)
    vectors = found[0].numpy().astype(np.int32)
    return choose_field(current, samples, vectors, still, prices, step)


def bits_of(field: Ints, prices: VectorPrices) -> float:
    total = 0.0

    def count(values: Ints | None, index: npt.NDArray[np.uint8]) -> Ints:
        nonlocal total
        assert values is not None
        total += float(prices.bits[index, values + prices.bits.shape[1] // 2].sum())
        return values

    code_field(field, np.zeros_like(field), count)
    return total


def error_of(field: Ints, current: Floats, reference: Floats, step: float) -> float:
    """In bits."""
    samples = QuarterSamples(torch.from_numpy(reference.copy())[None, None])
    dense = torch.from_numpy(field)[None].long()
    offset = dense[:, 1] * samples.stride + dense[:, 0]
    index = samples.base + offset.repeat_interleave(8, 1).repeat_interleave(8, 2)
    predicted = samples.flat[0][index[0]].numpy()
    squared = np.square(predicted - current).reshape(12, 8, 12, 8).sum((1, 3))
    return float(priced_error(squared, step).sum())


def test_prices_are_the_tables_bits(prices: VectorPrices) -> None:
    tables = parametric_tables()
    frequencies, offset = tables.frequencies[MOTION_TABLES], int(tables.offsets[MOTION_TABLES])
    middle = prices.bits.shape[1] // 2
    for value in (0, 1, -3):
        expected = -np.log2(frequencies[value - offset] / 65536)
        assert prices.bits[0, middle + value] == pytest.approx(expected, rel=1e-6)
    assert prices.bits[0, 0] > 12  # what no table holds costs an escape


def test_a_pan_is_one_vector(prices: VectorPrices) -> None:
    big = noise(0, 160)
    reference, current = big[32:128, 32:128], big[32 + 4 : 128 + 4, 32 - 6 : 128 - 6]
    field = choose(current, reference, prices, 60.0)
    inside = field[:, 2:-2, 2:-2].reshape(2, -1)
    assert (inside == np.array([[-24], [16]])).all()


def test_dear_bits_make_smooth_fields(prices: VectorPrices) -> None:
    """The objective falls on both sides: each choice is the better one at its own price."""
    rng = np.random.default_rng(1)
    reference = noise(2)
    current = (noise(2) + noise(3) * 0.3 + rng.normal(0, 8, (96, 96))).astype(np.float32)
    fine, coarse = (choose(current, reference, prices, step) for step in (4.0, 400.0))
    assert bits_of(coarse, prices) < 0.5 * bits_of(fine, prices)

    def objective(field: Ints, step: float) -> float:
        return error_of(field, current, reference, step) + bits_of(field, prices)

    assert objective(fine, 4.0) < objective(coarse, 4.0)
    assert objective(coarse, 400.0) < objective(fine, 400.0)


def test_the_choice_beats_what_the_search_found(prices: VectorPrices) -> None:
    reference, current = noise(4), noise(5)  # nothing in common: vectors are noise
    samples = QuarterSamples(torch.from_numpy(reference.copy())[None, None])
    found = search_motion(torch.from_numpy(current.copy())[None, None], samples)[0]
    vectors = found.numpy().astype(np.int32)
    chosen = choose(current, reference, prices, 400.0)

    def objective(field: Ints) -> float:
        return error_of(field, current, reference, 400.0) + bits_of(field, prices)

    assert objective(chosen) < 0.97 * objective(vectors)
