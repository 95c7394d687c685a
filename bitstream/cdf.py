"""Probability tables as integers: what both ends of the range coder must agree on to the bit.

Tables are made once, at training, stored with the weights as int32 and never computed again:
another machine's ``exp`` or ``erf`` may round differently, and one wrong entry turns everything
after it into noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from gancodec.errors import CorruptError

TOTAL = 1 << 16  # every table sums to this
MIN_LENGTH, MAX_LENGTH = 2, 4096  # symbols of one table, the escape symbol included
MAX_TABLES = 1024
START_COUNTS = 32  # symbols that the start of an adaptive table is worth
MEMORY = 1024  # symbols above which counts are halved after a frame
MAX_VALUE = 32767  # what can be coded at all, by table or by escape

IntArray = npt.NDArray[np.int32]
IndexArray = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
# (values, or None where they are decoded; the table of each) -> values
Coder = Callable[[IntArray | None, npt.NDArray[np.uint8]], IntArray]


def quantise_pmf(p: npt.ArrayLike) -> IntArray:
    """Integer frequencies of a distribution: sum 65536, none below 1, nearest otherwise.

    Args:
        p: (N,) non-negative weights, N of 2 to 4096; they need not sum to 1.

    Raises:
        ValueError: weights that are negative, not finite, or all zero.
    """
    weights = np.asarray(p, dtype=np.float64)
    if weights.ndim != 1 or not MIN_LENGTH <= len(weights) <= MAX_LENGTH:
        raise ValueError(f"a table has {MIN_LENGTH} to {MAX_LENGTH} symbols, got {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError("probabilities are finite, not negative and not all zero")
    weights = weights / weights.max()  # the sum of large finite weights may not be finite
    # Symbols that deserve less than 1 get 1; the others share what is left in proportion, which
    # may push further ones below 1.
    rare = np.zeros(len(weights), dtype=bool)
    while True:
        free = TOTAL - int(rare.sum())
        share = weights * (free / math.fsum(weights[~rare]))
        newly = ~rare & (share < 1)
        if not newly.any():
            break
        rare |= newly
    frequencies = np.where(rare, 1, np.floor(share)).astype(np.int32)
    # What rounding down left over goes to the largest remainders, lower symbols first.
    remainders = np.where(rare, -1.0, share - np.floor(share))
    left = TOTAL - int(frequencies.sum())
    frequencies[np.argsort(-remainders, kind="stable")[:left]] += 1
    return frequencies


class TableSet:
    """The tables of one model, validated, ready for `SymbolEncoder` and `SymbolDecoder`.

    Symbol k of a table with offset o stands for the value k + o; its last symbol is the escape
    symbol, which announces a value outside.

    Attributes:
        frequencies: one int32 array a table, summing to 65536.
        offsets: (N,) int32, the lowest value of each table.
        lengths: (N,) int32, symbols of each table, the escape symbol included.

    Raises:
        ValueError: the arrays are not tables.
    """

    def __init__(self, frequencies: Sequence[npt.ArrayLike], offsets: npt.ArrayLike) -> None:
        self.frequencies = tuple(_integers(f, "a table") for f in frequencies)
        self.offsets = _integers(offsets, "the offsets")
        count = len(self.frequencies)
        if not 1 <= count <= MAX_TABLES or self.offsets.shape != (count,):
            raise ValueError(
                f"a set has 1 to {MAX_TABLES} tables and as many offsets, "
                f"got {count} and {self.offsets.shape}"
            )
        for i, f in enumerate(self.frequencies):
            if f.ndim != 1 or not MIN_LENGTH <= len(f) <= MAX_LENGTH:
                raise ValueError(
                    f"table {i} has shape {f.shape}, not {MIN_LENGTH} to {MAX_LENGTH} symbols"
                )
            if f.min() < 1 or int(f.sum(dtype=np.int64)) != TOTAL:
                raise ValueError(f"table {i} does not sum to {TOTAL} with all entries 1 or more")
        self.lengths = np.array([len(f) for f in self.frequencies], dtype=np.int32)
        highest = self.offsets.astype(np.int64) + self.lengths - 2
        if (self.offsets < -MAX_VALUE).any() or (highest > MAX_VALUE).any():
            raise ValueError(f"tables hold values of -{MAX_VALUE} to {MAX_VALUE} only")
        self._models: list[Any] = [None] * count

    def __len__(self) -> int:
        return len(self.frequencies)

    def __repr__(self) -> str:
        return f"TableSet({len(self)} tables of {self.lengths.min()} to {self.lengths.max()})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Range coder models cannot be pickled; worker processes build their own.
        return TableSet, (self.frequencies, self.offsets)

    def model(self, table: int) -> Any:
        """The range coder's model of a table, built when first asked for."""
        if self._models[table] is None:
            self._models[table] = build_model(self.frequencies[table])
        return self._models[table]

    def renewed(self, frequencies: Sequence[IntArray], changed: Iterable[int]) -> TableSet:
        """A set with other frequencies, of the same lengths, in some tables."""
        new = object.__new__(TableSet)  # validation is for what comes from files
        vars(new).update(vars(self), frequencies=tuple(frequencies), _models=list(self._models))
        for table in changed:
            new._models[table] = None
        return new

    def to_arrays(self) -> dict[str, IntArray]:
        """Three flat int32 arrays to store with the weights."""
        return {
            "frequencies": np.concatenate(self.frequencies),
            "lengths": self.lengths.copy(),
            "offsets": self.offsets.copy(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> TableSet:
        """The set that `to_arrays` described.

        Raises:
            CorruptError: the arrays describe no valid set.
        """
        try:
            flat = _integers(arrays["frequencies"], "frequencies")
            lengths = _integers(arrays["lengths"], "lengths")
            if flat.ndim != 1 or lengths.ndim != 1 or len(lengths) > MAX_TABLES:
                raise ValueError(f"shapes {flat.shape} and {lengths.shape} are no tables")
            if (lengths < MIN_LENGTH).any() or int(lengths.sum(dtype=np.int64)) != len(flat):
                raise ValueError(f"lengths do not add up to the {len(flat)} frequencies")
            return cls(np.split(flat, np.cumsum(lengths)[:-1]), arrays["offsets"])
        except KeyError as error:
            raise CorruptError(f"the probability tables lack their {error}") from error
        except ValueError as error:
            raise CorruptError(f"the probability tables are impossible: {error}") from error

    def histograms(
        self, values: npt.NDArray[np.integer[Any]], index: IndexArray
    ) -> list[npt.NDArray[np.int64]]:
        """How often each symbol of each table would be coded; values outside count as escapes."""
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        places = starts[index] + self._symbols(values, index)
        counts = np.bincount(places, minlength=int(starts[-1])).astype(np.int64)
        return [counts[low:high] for low, high in pairwise(starts.tolist())]

    def count(
        self, values: npt.NDArray[np.integer[Any]], index: IndexArray
    ) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """The tables in use, each with its row of `histograms`."""
        symbols = self._symbols(values, index)
        for table in np.unique(index).tolist():
            yield table, np.bincount(symbols[index == table], minlength=self.lengths[table])

    def _symbols(
        self, values: npt.NDArray[np.integer[Any]], index: IndexArray
    ) -> npt.NDArray[np.int64]:
        symbols = values.astype(np.int64) - self.offsets[index]
        escape = self.lengths[index] - 1
        return np.where((symbols < 0) | (symbols >= escape), escape, symbols)


class AdaptiveTables:
    """Tables of which the last learn from what was coded with them; both ends learn the same.

    Attributes:
        tables: the set to code the next frame with.

    Args:
        start: what to believe before anything was coded.
        first: the first table that learns.
        learning: otherwise all stay as they are.
    """

    def __init__(self, start: TableSet, first: int, *, learning: bool = True) -> None:
        self._start, self._first, self._learning = start, first, learning
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.tables = self._start
        self._counts = [np.zeros(n, np.int64) for n in self._start.lengths[self._first :]]
        self._touched: set[int] = set()

    def coder(self, code: Coder) -> Coder:
        """``code`` for the tables that learn, which are counted from 0; what it codes is noted."""

        def coded(values: IntArray | None, index: npt.NDArray[np.uint8]) -> IntArray:
            own = index + np.uint8(self._first)
            values = code(values, own)
            if self._learning and len(index):
                for table, counts in self._start.count(values, own):
                    self._counts[table - self._first] += counts
                    self._touched.add(table - self._first)
            return values

        return coded

    def learn(self) -> None:
        """Renew `tables`, between frames."""
        frequencies = list(self.tables.frequencies)
        for table in self._touched:
            counts, place = self._counts[table], self._first + table
            frequencies[place] = learned(self._start.frequencies[place], counts)
            if counts.sum() > MEMORY:
                counts >>= 1
        if self._touched:
            changed = [self._first + table for table in self._touched]
            self.tables = self.tables.renewed(frequencies, changed)
        self._touched = set()


def learned(start: IntArray, counts: npt.NDArray[np.int64]) -> IntArray:
    """A table for what was counted, on the way from ``start``: sums to 65536, none below 1.

    Each symbol gets 1 and its share, rounded down, of the rest by START_COUNTS times ``start`` plus
    65536 times its count; what is left over goes to the largest, the lowest of several.
    """
    weight = START_COUNTS * start.astype(np.int64) + TOTAL * counts
    free = TOTAL - len(start)
    frequency = 1 + weight * free // int(weight.sum())
    frequency[weight.argmax()] += TOTAL - int(frequency.sum())
    return frequency.astype(np.int32)


def build_model(frequencies: IntArray) -> Any:
    """A categorical model of the range coder whose integers follow exactly from the table's."""
    # Dyadic fractions that sum to exactly 1: no rounding anywhere (FORMAT.md, range coder).
    return constriction.stream.model.Categorical(frequencies / float(TOTAL), perfect=False)


def gaussian_tables(scales: Sequence[float], tail: float = 2.0**-12) -> TableSet:
    """One table a standard deviation, for integers rounded from a zero-mean Gaussian.

    Args:
        scales: standard deviations, positive.
        tail: mass at both ends together that is left to the escape symbol.
    """
    return _symmetric_tables(scales, tail, lambda x: 0.5 * math.erfc(x / math.sqrt(2)))


def laplace_tables(scales: Sequence[float], tail: float = 2.0**-12) -> TableSet:
    """One table a scale b, for integers rounded from a zero-mean Laplacian exp(-|x|/b)/2b."""
    return _symmetric_tables(scales, tail, lambda x: 0.5 * math.exp(-x))


def tables_from_histograms(
    histograms: Sequence[npt.ArrayLike], prior: TableSet, strength: float = 256.0
) -> TableSet:
    """Tables fitted to counts, smoothed with parametric ones of the same shapes.

    Args:
        histograms: counts a table, in the order of its symbols, the escape symbol last.
        prior: what to believe where there are few counts.
        strength: how many counts the prior is worth.

    Raises:
        ValueError: shapes that differ from the prior's, or negative counts.
    """
    fitted = []
    for counts, frequencies in zip(histograms, prior.frequencies, strict=True):
        seen = np.asarray(counts, dtype=np.float64)
        if seen.shape != frequencies.shape:
            raise ValueError(f"a histogram of {seen.shape} does not fit {frequencies.shape}")
        if (seen < 0).any() or strength <= 0:
            raise ValueError("counts are not negative and the strength is positive")
        fitted.append(quantise_pmf(seen + strength / TOTAL * frequencies))
    return TableSet(fitted, prior.offsets)


def _symmetric_tables(
    scales: Sequence[float], tail: float, upper_mass: Callable[[float], float]
) -> TableSet:
    """Tables of a unit distribution with mass ``upper_mass(x)`` above x, stretched by scales."""
    if not 0 < tail < 1:
        raise ValueError(f"the tail is between 0 and 1, got {tail}")
    frequencies, offsets = [], []
    for scale in scales:
        if not (scale > 0 and math.isfinite(scale)):
            raise ValueError(f"a scale is positive, got {scale}")
        reach = 0
        while 2 * upper_mass((reach + 0.5) / scale) > tail and 2 * (reach + 2) < MAX_LENGTH:
            reach += 1
        above = np.array([upper_mass((k + 0.5) / scale) for k in range(reach + 1)])
        side = above[:-1] - above[1:]  # mass of the values 1 to reach
        escape = 2 * above[-1]
        pmf = np.concatenate([side[::-1], [1 - 2 * above[0]], side, [escape]])
        frequencies.append(quantise_pmf(pmf))
        offsets.append(-reach)
    return TableSet(frequencies, offsets)


def _integers(array: npt.ArrayLike, name: str) -> IntArray:
    """An own int32 copy of an array of integers."""
    given = np.asarray(array)
    if given.dtype.kind not in "iu":
        raise ValueError(f"{name} are integers, got {given.dtype}")
    if given.size and (given.min() < -(1 << 31) or given.max() >= 1 << 31):
        raise ValueError(f"{name} do not fit 32 bits")
    return given.astype(np.int32)


def logistic_tables(scales: Sequence[float], tail: float = 2.0**-12) -> TableSet:
    """One table a scale s, for integers rounded from a logistic 1/(1 + exp(-x/s))."""
    return _symmetric_tables(scales, tail, lambda x: 1 / (1 + math.exp(x)) if x < 700 else 0.0)
