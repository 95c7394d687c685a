"""Tables that learn: what FORMAT.md says, the same at both ends, and worth it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gancodec.bitstream import (
    AdaptiveTables,
    SymbolDecoder,
    SymbolEncoder,
    TableSet,
    laplace_tables,
)
from gancodec.bitstream.cdf import MEMORY, START_COUNTS, TOTAL, learned

FIRST = 2  # of four tables


def tables() -> TableSet:
    return laplace_tables([0.5, 4.0, 6.0, 20.0])


Stages = list[tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]]


def frames(count: int, seed: int = 0, size: int = 200) -> list[Stages]:
    """Stages of values that are narrower than their tables believe, and some escapes."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        values = np.round(rng.laplace(0, 0.7, size)).astype(np.int32)
        values[:2] = 300, -500
        index = rng.integers(0, 2, size).astype(np.uint8)
        out.append([(values[:50], index[:50]), (values[50:], index[50:]), (values[:0], index[:0])])
    return out


def encoded(work: list[Stages], learner: AdaptiveTables) -> list[bytes]:
    out = []
    for stages in work:
        encoder = SymbolEncoder(learner.tables)

        def code(
            values: npt.NDArray[np.int32] | None,
            index: npt.NDArray[np.uint8],
            encoder: SymbolEncoder = encoder,
        ) -> npt.NDArray[np.int32]:
            assert values is not None
            assert (index >= FIRST).all()
            encoder.encode(values, index)
            return values

        for values, index in stages:
            learner.coder(code)(values, index)
        learner.learn()
        out.append(encoder.finish())
    return out


def test_both_ends_learn_the_same() -> None:
    work = frames(12)
    coded = encoded(work, AdaptiveTables(tables(), FIRST))
    learner = AdaptiveTables(tables(), FIRST)
    for stages, data in zip(work, coded, strict=True):
        decoder = SymbolDecoder(learner.tables, data)
        code = learner.coder(lambda _, index, decoder=decoder: decoder.decode(index))
        for values, index in stages:
            assert np.array_equal(code(None, index), values)
        decoder.finish()
        learner.learn()
    fixed = encoded(work, AdaptiveTables(tables(), FIRST, learning=False))
    assert len(coded[0]) == len(fixed[0])  # nothing is known yet
    assert sum(map(len, coded)) < 0.7 * sum(map(len, fixed))


def test_the_set_keeps_what_does_not_learn() -> None:
    start = tables()
    learner = AdaptiveTables(start, FIRST)
    models = [start.model(k) for k in range(4)]
    encoded(frames(1), learner)
    for k in range(4):
        changed = not np.array_equal(learner.tables.frequencies[k], start.frequencies[k])
        assert changed == (k >= FIRST)
        assert (learner.tables.model(k) is models[k]) == (k < FIRST)
    learner.reset()
    assert learner.tables is start


def test_counts_are_halved() -> None:
    learner = AdaptiveTables(tables(), FIRST)
    encoded(frames(1, size=4 * MEMORY), learner)
    assert all(0.9 * MEMORY < c.sum() < 1.1 * MEMORY for c in learner._counts)


@given(
    st.lists(st.integers(0, 10**9), min_size=2, max_size=40),
    st.integers(0, 39),
)
def test_learned_tables_are_tables(counts: list[int], heavy: int) -> None:
    """By the specification, in Python's integers."""
    n = len(counts)
    start = np.ones(n, np.int32)
    start[heavy % n] += TOTAL - n
    found = learned(start, np.array(counts, np.int64) // 2**8)
    assert int(found.sum()) == TOTAL
    assert found.min() >= 1
    small = [c // 2**8 for c in counts]
    w = [START_COUNTS * int(f) + TOTAL * c for f, c in zip(start, small, strict=True)]
    expected = [1 + x * (TOTAL - n) // sum(w) for x in w]
    expected[w.index(max(w))] += TOTAL - sum(expected)
    assert found.tolist() == expected


def test_a_table_that_saw_nothing_is_nearly_the_start() -> None:
    start = tables().frequencies[3]
    found = learned(start, np.zeros(len(start), np.int64))
    assert np.abs(found - start).max() <= len(start)
    with pytest.raises(ValueError, match="sum"):
        TableSet([found + 1], [0])
