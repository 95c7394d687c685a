"""Motion fields survive the walk that codes them, whatever their size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gancodec.models.motion_coding import TABLES, code_field, decode_field

Ints = npt.NDArray[np.int32]


def random_field(height: int, width: int, rng: np.random.Generator, spread: int) -> Ints:
    whole = rng.integers(-spread, spread + 1, (2, height, width)).repeat(2, 1).repeat(2, 2)
    split = rng.random((height, width)).repeat(2, 0).repeat(2, 1) < 0.2
    return np.where(split, whole + rng.integers(-6, 7, whole.shape), whole).astype(np.int32)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 3), (9, 16), (23, 40)])
@pytest.mark.parametrize("spread", [0, 3, 255])
def test_round_trip(size: tuple[int, int], spread: int) -> None:
    rng = np.random.default_rng(size[0] * 100 + spread)
    field, previous = (random_field(*size, rng, spread) for _ in range(2))
    coded: list[tuple[Ints, npt.NDArray[np.uint8]]] = []

    def write(values: Ints | None, index: npt.NDArray[np.uint8]) -> Ints:
        assert values is not None
        assert values.shape == index.shape
        assert index.max(initial=0) < TABLES
        coded.append((values.copy(), index.copy()))
        return values

    assert np.array_equal(code_field(field, previous, write), field)
    stages = iter(coded)

    def read(values: Ints | None, index: npt.NDArray[np.uint8]) -> Ints:
        assert values is None
        expected, tables = next(stages)
        assert np.array_equal(index, tables)  # the decoder finds the same contexts
        return expected

    assert np.array_equal(decode_field(*size, previous, read), field)
    assert next(stages, None) is None


def test_a_steady_field_costs_nothing() -> None:
    """Uniform motion that goes on as before leaves only zeros."""
    field = np.full((2, 18, 32), -7, np.int32)

    def write(values: Ints | None, index: npt.NDArray[np.uint8]) -> Ints:
        assert values is not None
        assert not values.any()
        return values

    code_field(field, field, write)
