"""Probability tables: exact sums, nothing impossible, near the distributions they stand for."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gancodec.bitstream import (
    TableSet,
    gaussian_tables,
    laplace_tables,
    logistic_tables,
    quantise_pmf,
    tables_from_histograms,
)
from gancodec.errors import CorruptError

Weights = npt.NDArray[np.float64]


@given(
    hnp.arrays(
        np.float64,
        st.integers(2, 300),
        elements=st.floats(0, 1e300, allow_subnormal=True) | st.floats(0, 1),
    ).filter(lambda w: w.any())
)
def test_quantised_distributions_are_tables(weights: Weights) -> None:
    frequencies = quantise_pmf(weights)
    assert frequencies.dtype == np.int32
    assert frequencies.sum() == 65536
    assert frequencies.min() >= 1
    assert (quantise_pmf(weights) == frequencies).all()
    # A likelier symbol never gets less.
    order = np.argsort(weights, kind="stable")
    assert (np.diff(frequencies[order][np.diff(weights[order], prepend=-1) > 0]) >= -1).all()


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1, 1], [32768, 32768]),
        ([1, 0], [65535, 1]),
        ([0, 0, 5], [1, 1, 65534]),
        ([1, 1, 1], [21846, 21845, 21845]),
        ([0.25, 0.5, 0.25], [16384, 32768, 16384]),
        ([1e-320, 1e-320], [32768, 32768]),
        ([1e308, 1e308, 1e308, 1e308], [16384] * 4),
        ([1, 2.0**-17, 2.0**-15], [65532, 1, 3]),
    ],
)
def test_quantised_examples(weights: list[float], expected: list[int]) -> None:
    frequencies = quantise_pmf(weights).tolist()
    assert sum(abs(a - b) for a, b in zip(frequencies, expected, strict=True)) <= 2
    if weights != [1, 2.0**-17, 2.0**-15]:
        assert frequencies == expected


def test_the_longest_table_of_rare_symbols() -> None:
    weights = np.full(4096, 1e-9)
    weights[0] = 1
    assert quantise_pmf(weights).tolist() == [65536 - 4095] + [1] * 4095


def test_quantising_costs_next_to_nothing() -> None:
    for scale in (0.1, 0.3, 1.0, 5.0, 50.0):
        table = gaussian_tables([scale])
        values = np.arange(table.lengths[0] - 1) + table.offsets[0]
        cdf = [
            0.5 * math.erfc(-(v + d) / scale / math.sqrt(2)) for d in (-0.5, 0.5) for v in values
        ]
        p = np.subtract(*np.array(cdf).reshape(2, -1)[::-1])
        p = np.append(p, 1 - p.sum()).clip(1e-300)
        excess = float((p * np.log2(p / (table.frequencies[0] / 65536))).sum())
        assert excess < 1e-4, f"scale {scale} costs {excess} bits a symbol more than it must"


@pytest.mark.parametrize(
    "weights",
    [[], [1], [1, -1], [1, math.nan], [1, math.inf], [0, 0], [[1, 2]], np.ones(4097)],
    ids=lambda w: str(w)[:20],
)
def test_no_distribution(weights: Any) -> None:
    with pytest.raises(ValueError, match=r"table|probabilities"):
        quantise_pmf(weights)


@pytest.mark.parametrize("make", [gaussian_tables, laplace_tables, logistic_tables])
def test_parametric_tables(make: Any) -> None:
    scales = [0.05, 0.11, 0.5, 1, 3, 20, 256, 1e6]
    tables = make(scales, tail=2.0**-10)
    assert len(tables) == len(scales)
    previous = 0
    for frequencies, offset in zip(tables.frequencies, tables.offsets, strict=True):
        inner = frequencies[:-1]
        assert len(inner) == 1 - 2 * offset, "as many values below 0 as above"
        assert np.abs(inner - inner[::-1]).max() <= 1
        assert inner[-offset] >= inner.max() - 1
        assert len(inner) >= previous, "wider scales have longer tables"
        previous = len(inner)
    middle = tables.frequencies[4][-1] / 65536
    assert middle < 2.0**-10
    assert tables.lengths[-1] <= 4096
    for wrong in ([0.0], [-1.0], [math.nan], [math.inf]):
        with pytest.raises(ValueError, match="scale"):
            make(wrong)
    with pytest.raises(ValueError, match="tail"):
        make([1.0], tail=0.0)


def test_fitting_to_counts() -> None:
    prior = gaussian_tables([1.0, 3.0])
    rng = np.random.default_rng(0)
    index = rng.integers(0, 2, 20000).astype(np.uint8)
    values = np.rint(rng.laplace(0, 1.5, 20000)).astype(np.int32)
    counts = prior.histograms(values, index)
    assert [c.shape for c in counts] == [f.shape for f in prior.frequencies]
    assert sum(int(c.sum()) for c in counts) == 20000
    outside = (values < prior.offsets[1]) | (values > -prior.offsets[1])
    assert counts[1][-1] == (outside & (index == 1)).sum()
    assert counts[0][-prior.offsets[0]] == ((values == 0) & (index == 0)).sum()
    in_use = dict(prior.count(values[index == 1], index[index == 1]))
    assert list(in_use) == [1]
    assert np.array_equal(in_use[1], counts[1])

    fitted = tables_from_histograms(counts, prior)
    for table in range(2):
        empirical = counts[table] / counts[table].sum()

        def bits(f: npt.NDArray[np.int32], p: Weights = empirical) -> float:
            return float(-(p * np.log2(f / 65536)).sum())

        assert bits(fitted.frequencies[table]) < bits(prior.frequencies[table])
    nothing = tables_from_histograms([np.zeros(len(f)) for f in prior.frequencies], prior)
    for a, b in zip(nothing.frequencies, prior.frequencies, strict=True):
        assert (a == b).all()
    with pytest.raises(ValueError, match="does not fit"):
        tables_from_histograms([np.zeros(3)] * 2, prior)
    with pytest.raises(ValueError, match="counts"):
        tables_from_histograms([-c for c in counts], prior)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        tables_from_histograms(counts[:1], prior)


def same(a: TableSet, b: TableSet) -> bool:
    return len(a) == len(b) and all(
        np.array_equal(a.to_arrays()[key], b.to_arrays()[key]) for key in a.to_arrays()
    )


def test_arrays_and_copies_keep_a_set() -> None:
    tables = gaussian_tables([0.2, 1.0, 7.0])
    arrays = tables.to_arrays()
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.int32)}
    assert all(a.ndim == 1 for a in arrays.values())
    assert same(TableSet.from_arrays(arrays), tables)
    assert same(TableSet.from_arrays({k: a.astype(np.int64) for k, a in arrays.items()}), tables)
    tables.model(1)  # cannot be copied, nor sent to a worker process
    assert same(copy.deepcopy(tables), tables)
    assert "3 tables" in repr(tables)


GOOD = {
    "frequencies": np.array([32768, 32768, 65534, 1, 1]),
    "lengths": np.array([2, 3]),
    "offsets": np.array([0, -1]),
}


@pytest.mark.parametrize(
    "change",
    [
        {"frequencies": np.array([32768, 32767, 65534, 1, 1])},
        {"frequencies": np.array([32768, 32768, 65535, 0, 1])},
        {"frequencies": np.array([65537, -1, 65534, 1, 1])},
        {"frequencies": np.array([32768.0, 32768, 65534, 1, 1])},
        {"frequencies": np.array([[32768, 32768, 65534, 1, 1]])},
        {"frequencies": np.array([2**40, 32768, 65534, 1, 1])},
        {"frequencies": np.array([], dtype=np.int32)},
        {"frequencies": None},
        {"lengths": np.array([3, 2])},
        {"lengths": np.array([2, 2])},
        {"lengths": np.array([1, 4])},
        {"lengths": np.array([-2, 7])},
        {"lengths": np.array([5])},
        {"lengths": np.array([], dtype=np.int32)},
        {"lengths": np.array([2] * 2000)},
        {"lengths": np.array(2)},
        {"offsets": np.array([0])},
        {"offsets": np.array([0, -32768])},
        {"offsets": np.array([32768, 0])},
        {"offsets": np.array([0, 32767])},
        {"offsets": np.array([0, 2**31 - 1])},
        {"offsets": np.array([0.0, 0.0])},
    ],
    ids=str,
)
def test_arrays_that_are_no_tables(change: dict[str, Any]) -> None:
    TableSet.from_arrays(GOOD)
    with pytest.raises(CorruptError, match="probability tables"):
        TableSet.from_arrays({**GOOD, **change})


@pytest.mark.parametrize("name", GOOD)
def test_missing_arrays(name: str) -> None:
    with pytest.raises(CorruptError, match=name):
        TableSet.from_arrays({k: a for k, a in GOOD.items() if k != name})


def test_too_many_tables() -> None:
    half = np.array([32768, 32768])
    assert len(TableSet([half] * 1024, np.zeros(1024, dtype=int))) == 1024
    with pytest.raises(ValueError, match="1 to 1024"):
        TableSet([half] * 1025, np.zeros(1025, dtype=int))
    with pytest.raises(ValueError, match="1 to 1024"):
        TableSet([], np.zeros(0, dtype=int))
