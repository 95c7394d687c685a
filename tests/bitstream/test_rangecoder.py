"""The entropy coder: exact round trips, one second decoder, and no way to fail but one."""

from __future__ import annotations

import bisect
import functools
import hashlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gancodec.bitstream
from gancodec.bitstream import (
    SymbolDecoder,
    SymbolEncoder,
    SymbolHasher,
    TableSet,
    gaussian_tables,
)
from gancodec.bitstream.rangecoder import ESCAPE_FREQUENCIES, _corruption
from gancodec.errors import CorruptError

Ints = npt.NDArray[np.int32]
Index = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Stages = list[tuple[Ints, Index]]

NARROW = TableSet([[40000, 25536], [65534, 1, 1]], [5, -1])  # one value, and two
GAUSS = gaussian_tables([0.11, 0.3, 0.8, 2.0, 5.0, 12.0, 40.0])


def encode(tables: TableSet, stages: Stages) -> bytes:
    encoder = SymbolEncoder(tables)
    for values, index in stages:
        encoder.encode(values, index)
    return encoder.finish()


def assert_roundtrip(tables: TableSet, stages: Stages) -> bytes:
    """Code and decode stages, short ones also with the second coder; gives the bytes."""
    data = encode(tables, stages)
    decoder = SymbolDecoder(tables, data)
    for values, index in stages:
        decoded = decoder.decode(index)
        assert decoded.dtype == np.int32
        assert np.array_equal(decoded, values)
    decoder.finish()
    if sum(len(values) for values, _ in stages) < 3000:
        reader, writer = ReferenceDecoder(tables, data), ReferenceEncoder(tables)
        for values, index in stages:
            assert reader.code(index.tolist()) == values.tolist()
            writer.code(index.tolist(), values.tolist())
        assert writer.finish() == data
        reader.finish()
    return data


@functools.cache
def bounds_of(frequencies: tuple[int, ...]) -> list[int]:
    n, total, bounds = len(frequencies), 0, []
    for k, f in enumerate(frequencies):
        bounds.append((total * (2**24 - n) >> 16) + k)
        total += f
    return [*bounds, 2**24]


@functools.cache
def uniform_bounds(r: int) -> list[int]:
    return [k << (24 - r) for k in range(2**r + 1)]


class ReferenceCoder:
    """Section 6 of FORMAT.md in plain integers: a second implementation of the entropy layer."""

    def __init__(self, tables: TableSet) -> None:
        self.tables = tables
        self.lower, self.range = 0, 2**64 - 1

    def interval(self, bounds: list[int], symbol: int) -> int:
        """Code one symbol; a decoder finds it itself."""
        raise AssertionError("a coder reads or writes")

    def symbol(self, frequencies: tuple[int, ...], symbol: int = 0) -> int:
        return self.interval(bounds_of(frequencies), symbol)

    def narrow(self, scale: int, bounds: list[int], symbol: int) -> None:
        self.lower += scale * bounds[symbol]
        self.range = scale * (bounds[symbol + 1] - bounds[symbol])

    def code(self, index: list[int], values: list[int] | None = None) -> list[int]:
        """Write the values of a stage, or read them where none are given."""
        given, found = values or [0] * len(index), [0] * len(index)
        order = sorted(range(len(index)), key=lambda i: (index[i], i))
        escaped = []
        for i in order:
            frequencies = tuple(self.tables.frequencies[index[i]].tolist())
            offset, escape = int(self.tables.offsets[index[i]]), len(frequencies) - 1
            wanted = given[i] - offset if 0 <= given[i] - offset < escape else escape
            k = self.symbol(frequencies, wanted)
            found[i] = k + offset
            if k == escape:
                a, b = offset, offset + escape - 1
                e = 2 * (given[i] - b - 1) if given[i] > b else 2 * (a - 1 - given[i]) + 1
                escaped.append((i, a, b, e))
        lengths = [
            self.symbol(ESCAPE_FREQUENCIES, (e + 1).bit_length() - 1 if values else 0)
            for _, _, _, e in escaped
        ]
        for (i, a, b, e), r in zip(escaped, lengths, strict=True):
            bounds = uniform_bounds(r)
            rest = self.interval(bounds, e + 1 - 2**r if values else 0) if r else 0
            e = 2**r + rest - 1
            found[i] = a - 1 - e // 2 if e % 2 else b + 1 + e // 2
        return found


class ReferenceDecoder(ReferenceCoder):
    def __init__(self, tables: TableSet, data: bytes) -> None:
        super().__init__(tables)
        self.words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
        self.started = False
        self.point = (self.next_word() << 32) | self.next_word()

    def next_word(self) -> int:
        return self.words.pop(0) if self.words else 0

    def interval(self, bounds: list[int], symbol: int) -> int:
        self.started = True
        scale = self.range >> 24
        quantile = ((self.point - self.lower) % 2**64) // scale
        assert quantile < 2**24
        k = bisect.bisect_right(bounds, quantile) - 1
        self.narrow(scale, bounds, k)
        if self.range < 2**32:
            self.range <<= 32
            self.lower <<= 32
            self.point = (self.point << 32) | self.next_word()
        self.lower, self.point = self.lower % 2**64, self.point % 2**64
        return k

    def finish(self) -> None:
        assert not self.words
        if self.started:
            assert (self.point - self.lower) % 2**64 < 2**33 - 1


class ReferenceEncoder(ReferenceCoder):
    def __init__(self, tables: TableSet) -> None:
        super().__init__(tables)
        self.code_number, self.n_words = 0, 0  # all words so far as one number takes any carry

    def interval(self, bounds: list[int], symbol: int) -> int:
        self.narrow(self.range >> 24, bounds, symbol)
        if self.range < 2**32:
            self.range <<= 32
            self.put(self.lower >> 32)
            self.lower = self.lower % 2**32 << 32
        return symbol

    def put(self, word: int) -> None:
        """Append a word; a carry in bit 32 or above runs into the words before."""
        self.code_number = (self.code_number << 32) + word
        self.n_words += 1

    def finish(self) -> bytes:
        if self.range != 2**64 - 1:
            point = self.lower + 2**32 - 1 >> 32
            upper = (self.lower + self.range) >> 32
            self.put(point)
            if point % 2**32 == upper % 2**32:
                self.put(0)
        words = [self.code_number >> 32 * i & 0xFFFFFFFF for i in range(self.n_words)]
        return b"".join(word.to_bytes(4, "little") for word in reversed(words))


def stage(values: Any, index: Any, dtype: Any = np.uint8) -> tuple[Ints, Index]:
    return np.array(values, dtype=np.int32), np.array(index, dtype=dtype)


@st.composite
def table_sets(draw: st.DrawFn) -> TableSet:
    frequencies, offsets = [], []
    for _ in range(draw(st.integers(1, 6))):
        n = draw(st.integers(2, 40))
        cuts = draw(st.lists(st.integers(1, 65535), min_size=n - 1, max_size=n - 1, unique=True))
        frequencies.append(np.diff([0, *sorted(cuts), 65536]))
        offsets.append(draw(st.integers(-100, 100)))
    return TableSet(frequencies, offsets)


@st.composite
def messages(draw: st.DrawFn) -> tuple[TableSet, Stages]:
    tables = draw(table_sets())
    stages = []
    number = st.integers(-130, 130) | st.integers(-32767, 32767)
    for _ in range(draw(st.integers(0, 3))):
        index = draw(st.lists(st.integers(0, len(tables) - 1), max_size=40))
        values = draw(st.lists(number, min_size=len(index), max_size=len(index)))
        stages.append(stage(values, index, draw(st.sampled_from([np.uint8, np.uint16]))))
    return tables, stages


@given(messages())
def test_roundtrip(message: tuple[TableSet, Stages]) -> None:
    assert_roundtrip(*message)


def test_no_symbols_take_no_bytes() -> None:
    assert assert_roundtrip(GAUSS, []) == b""
    assert assert_roundtrip(GAUSS, [stage([], []), stage([], [], np.uint16)]) == b""


@pytest.mark.parametrize("value", [0, 1, -1, 5, 6, -32767, 32767])
@pytest.mark.parametrize("table", range(2))
def test_one_symbol(value: int, table: int) -> None:
    assert len(assert_roundtrip(NARROW, [stage([value], [table])])) in (4, 8)


@pytest.mark.parametrize("n", [1, 2, 3, 100, 5000])
def test_all_the_same(n: int) -> None:
    for table in range(len(GAUSS)):
        for value in (0, 1, 10_000):
            assert_roundtrip(GAUSS, [stage([value] * n, [table] * n)])
    zeros = assert_roundtrip(GAUSS, [stage([0] * n, [0] * n)])
    assert len(zeros) <= 8, "a sure symbol costs next to nothing"


def test_every_escape_around_every_end() -> None:
    distances = [0, 1, 2, 3, 4, 7, 8, 15, 16, 255, 256, 1023, 16383, 30000]
    for tables in (NARROW, GAUSS):
        for table in range(len(tables)):
            low = int(tables.offsets[table])
            high = low + int(tables.lengths[table]) - 2
            values = [v for d in distances for v in (low - 1 - d, low, high, high + 1 + d)]
            values = [v for v in (*values, -32767, 32767) if abs(v) <= 32767]
            assert_roundtrip(tables, [stage(values, [table] * len(values))])


def test_extreme_tables_reach_the_extreme_values() -> None:
    ends = TableSet([[65535, 1], [65535, 1]], [-32767, 32767])
    values = [-32767, 32767, 0, -32766, 32766]
    assert_roundtrip(ends, [stage(values * 2, [0] * 5 + [1] * 5)])


def test_stages_share_one_coder_and_cost_no_padding() -> None:
    rng = np.random.default_rng(0)
    index = rng.integers(0, 7, 2000).astype(np.uint8)
    values = np.rint(rng.normal(0, 1, 2000)).astype(np.int32)
    whole = assert_roundtrip(GAUSS, [(values, index)])
    cuts = np.split(values, 20), np.split(index, 20)
    staged = assert_roundtrip(GAUSS, list(zip(*cuts, strict=True)))
    assert abs(len(staged) - len(whole)) <= 8


def test_size_is_near_the_entropy() -> None:
    rng = np.random.default_rng(1)
    scales = np.array([0.11, 0.3, 0.8, 2.0, 5.0, 12.0, 40.0])
    index = rng.integers(0, 7, 50_000).astype(np.uint8)
    values = np.rint(rng.normal(0, scales[index])).astype(np.int32)
    data = assert_roundtrip(GAUSS, [(values, index)])
    bits = 0.0
    for table, counts in enumerate(GAUSS.histograms(values, index)):
        bits -= float((counts * np.log2(GAUSS.frequencies[table] / 65536)).sum())
    escapes = sum(int(c[-1]) for c in GAUSS.histograms(values, index))
    assert 8 * len(data) < 1.001 * bits + 64 + 8 * escapes


@pytest.mark.parametrize("ending", [[], [0], [2], [0, 0, 2], [2, 2, 0]])
def test_carries_run_through_any_number_of_words(ending: list[int]) -> None:
    """The middle of three equal symbols, for ever: the interval closes in on a word boundary."""
    thirds = TableSet([[21845, 21846, 21844, 1]], [0])
    for n in range(0, 400, 7):
        values = [1] * n + ending
        assert_roundtrip(thirds, [stage(values, [0] * len(values))])


def test_bytes_are_fixed_for_ever() -> None:
    """A stream with two tables, an empty group, escapes and two stages."""
    tables = TableSet([[30000, 30000, 5536], [1, 65535], [16384] * 4], [-1, 0, 3])
    stages = [
        stage([0, 5, -1, 3, 0, 4, -300, 6], [0, 2, 0, 2, 0, 2, 0, 2]),
        stage([32767, 0], [1, 1], np.uint16),
    ]
    data = assert_roundtrip(tables, stages)
    assert data.hex() == GOLDEN_STREAM
    assert data == encode(tables, stages)


GOLDEN_STREAM = "fae253a5a667f5215ab116d1"


def test_the_specification_lists_the_escape_frequencies() -> None:
    text = (Path(gancodec.bitstream.__file__).parent / "FORMAT.md").read_text("utf-8")
    assert ", ".join(map(str, ESCAPE_FREQUENCIES)) in " ".join(text.split())


def test_what_encoders_refuse() -> None:
    encoder = SymbolEncoder(GAUSS)
    ok = np.zeros(3, dtype=np.int32)
    for values, index, message in (
        (ok, np.zeros(3, dtype=np.int64), "uint8"),
        (ok, np.zeros((3, 1), dtype=np.uint8), "shape"),
        (ok, np.zeros(2, dtype=np.uint8), "shape"),
        (ok, np.full(3, 7, dtype=np.uint8), "7 tables"),
        (ok.astype(np.int64), np.zeros(3, dtype=np.uint8), "int32"),
        (ok + 32768, np.zeros(3, dtype=np.uint8), "32767"),
        (ok - 32768, np.zeros(3, dtype=np.uint8), "32767"),
    ):
        with pytest.raises(ValueError, match=message):
            encoder.encode(values, index)  # type: ignore[arg-type]
    assert encoder.finish() == b"", "a refused stage leaves nothing behind"
    with pytest.raises(ValueError, match="7 tables"):
        SymbolDecoder(GAUSS, b"").decode(np.full(3, 7, dtype=np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        SymbolDecoder(GAUSS, b"").decode(np.zeros(3, dtype=np.int32))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1001])
def test_streams_are_whole_words(size: int) -> None:
    with pytest.raises(CorruptError, match="words"):
        SymbolDecoder(GAUSS, bytes(size))


def test_data_without_symbols_and_left_over_words() -> None:
    for words in (1, 2, 3):
        decoder = SymbolDecoder(GAUSS, bytes(4 * words))
        decoder.decode(np.zeros(0, dtype=np.uint8))
        with pytest.raises(CorruptError, match="more data"):
            decoder.finish()
    values, index = stage(range(-50, 50), [3] * 100)
    decoder = SymbolDecoder(GAUSS, encode(GAUSS, [(values, index)]) + bytes(8))
    decoder.decode(index)
    with pytest.raises(CorruptError, match="more data"):
        decoder.finish()


@pytest.mark.parametrize("beyond", [1, -1, 32768, -32768])
def test_values_that_no_encoder_may_write(beyond: int) -> None:
    tables = TableSet([[32768, 16384, 16384]], [0])  # 0, 1 and escape
    value = beyond + (32767 if beyond > 0 else -32767)
    encoder = SymbolEncoder(tables)
    encoder._coder.encode(np.array([2], dtype=np.int32), tables.model(0))
    encoder._encode_escapes(np.array([value], dtype=np.int32), np.array([2], dtype=np.int32))
    with pytest.raises(CorruptError, match="32767"):
        SymbolDecoder(tables, encoder.finish()).decode(np.zeros(1, dtype=np.uint8))


@pytest.mark.stress
def test_damaged_data_give_corrupt_or_other_values(stress_rounds: int) -> None:
    rng = random.Random(5)
    source = np.random.default_rng(5)
    index = source.integers(0, 7, 600).astype(np.uint8)
    values = np.rint(source.standard_t(2, 600) * 6).astype(np.int32)
    assert_roundtrip(GAUSS, [(values, index), (values[:50], index[:50])])
    data = encode(GAUSS, [(values, index), (values[:50], index[:50])])
    caught = 0
    for _ in range(1500 * stress_rounds):
        damaged = bytearray(data)
        kind = rng.randrange(5)
        at = rng.randrange(len(data))
        if kind == 0:
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            damaged[at : at + 40] = rng.randbytes(len(damaged[at : at + 40]))
        elif kind == 2:
            del damaged[at - at % 4 :]
        elif kind == 3:
            damaged = bytearray(rng.choice((b"\0", b"\xff")) * len(data))
        else:
            damaged = bytearray(rng.randbytes(4 * rng.randrange(1, 100)))
        try:
            decoder = SymbolDecoder(GAUSS, bytes(damaged))
            found = decoder.decode(index)
            decoder.decode(index[:50])
            decoder.finish()
        except CorruptError:
            caught += 1
            continue
        assert found.shape == values.shape
        assert np.abs(found).max() <= 32767
    assert caught > 500 * stress_rounds


def test_only_panics_and_errors_become_corrupt() -> None:
    panic = type("PanicException", (BaseException,), {})
    for error in (AssertionError("bad"), ValueError("bad"), panic("bad")):
        with pytest.raises(CorruptError, match="bad"), _corruption():
            raise error
    for error in (KeyboardInterrupt(), SystemExit()):
        with pytest.raises(type(error)), _corruption():
            raise error


def test_a_real_panic_of_the_library_is_caught() -> None:
    import constriction

    with pytest.raises(CorruptError), _corruption():
        constriction.stream.model.Uniform(1)


def test_symbol_hash() -> None:
    hasher = SymbolHasher()
    assert hasher.digest() == hashlib.blake2b(digest_size=8).digest()
    hasher.update(np.array([1, -2], dtype=np.int32))
    first = hasher.digest()
    expected = hashlib.blake2b(b"\x01\0\0\0\xfe\xff\xff\xff", digest_size=8)
    assert first == expected.digest() == hasher.digest()
    hasher.update(np.array([[7]], dtype=">i8"))
    expected.update(b"\x07\0\0\0")
    assert hasher.digest() == expected.digest() != first
