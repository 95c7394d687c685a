"""Integers to bytes and back: a range coder fed with symbols grouped by table.

One stream per frame. Both ends call `encode` and `decode` for the same stages in the same order;
FORMAT.md says which. Grouping lets the coder run over whole arrays, without a Python loop a symbol.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from gancodec.bitstream.cdf import MAX_VALUE, IndexArray, IntArray, TableSet, build_model
from gancodec.errors import CorruptError

# How many bits follow the leading one of an escaped number, 0 to 16: weights falling by 0.65.
ESCAPE_FREQUENCIES = (
    22953, 14919, 9698, 6304, 4097, 2663, 1731, 1125, 731, 475, 309, 201, 131, 85, 55, 36, 23,
)  # fmt: skip
_ESCAPE_MODEL = build_model(np.array(ESCAPE_FREQUENCIES, dtype=np.int32))
_UNIFORM = constriction.stream.model.Uniform()  # takes the size of the alphabet per symbol


class _Grouping:
    """The order in which positions are coded: by table, and within a table as they came."""

    def __init__(self, tables: TableSet, index: IndexArray) -> None:
        if index.ndim != 1 or index.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"an index is (N,) uint8 or uint16, got {index.shape} {index.dtype}")
        if len(index) and index.max() >= len(tables):
            raise ValueError(f"there are {len(tables)} tables, the index asks for {index.max()}")
        self.order = np.argsort(index, kind="stable")
        self.table = index[self.order]
        self.offsets = tables.offsets[self.table]
        self.escapes = tables.lengths[self.table] - 1  # the escape symbol at each place

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """Each table in use with the slice it covers."""
        if not len(self.table):
            return
        starts = np.flatnonzero(np.diff(self.table)) + 1
        bounds = [0, *starts.tolist(), len(self.table)]
        for low, high in pairwise(bounds):
            yield int(self.table[low]), low, high


class SymbolEncoder:
    """Codes integers with the tables of a `TableSet`."""

    def __init__(self, tables: TableSet) -> None:
        self._tables = tables
        self._coder = constriction.stream.queue.RangeEncoder()

    def encode(self, values: npt.NDArray[np.int32], index: IndexArray) -> None:
        """Append one stage.

        Args:
            values: (N,) int32, each within -32767 to 32767.
            index: (N,) uint8 or uint16, the table of each value.

        Raises:
            ValueError: other shapes, dtypes or ranges.
        """
        if values.shape != index.shape or values.dtype != np.int32:
            raise ValueError(
                f"values are int32 of shape {index.shape}, got {values.dtype} {values.shape}"
            )
        groups = _Grouping(self._tables, index)
        if not len(values):
            return
        if values.min() < -MAX_VALUE or values.max() > MAX_VALUE:
            raise ValueError(
                f"values are -{MAX_VALUE} to {MAX_VALUE}, got {values.min()} to {values.max()}"
            )
        symbols = values[groups.order] - groups.offsets
        outside = (symbols < 0) | (symbols >= groups.escapes)
        coded = np.where(outside, groups.escapes, symbols)
        for table, low, high in groups.runs():
            self._coder.encode(coded[low:high], self._tables.model(table))
        if outside.any():
            self._encode_escapes(symbols[outside], groups.escapes[outside])

    def _encode_escapes(self, symbols: IntArray, escapes: IntArray) -> None:
        """Append symbols that are negative or ``>= escapes``, in Exp-Golomb fashion."""
        above = symbols >= escapes
        # Distance from the nearest end of the table, 0 for its neighbour, with the side in bit 0.
        folded = np.where(above, 2 * (symbols - escapes), 2 * (-1 - symbols) + 1)
        number = (folded + 1).astype(np.int32)
        bits = (np.frexp(number)[1] - 1).astype(np.int32)  # exact: numbers are below 2^24
        self._coder.encode(bits, _ESCAPE_MODEL)
        rest = bits > 0
        if rest.any():
            size = np.left_shift(1, bits[rest], dtype=np.int32)
            self._coder.encode(number[rest] - size, _UNIFORM, size)

    def finish(self) -> bytes:
        """Everything coded so far as little-endian 32-bit words; nothing for no symbols."""
        words: npt.NDArray[np.uint32] = self._coder.get_compressed()
        return words.astype("<u4").tobytes()


class SymbolDecoder:
    """Reads what `SymbolEncoder` wrote. It never fails otherwise than by `CorruptError`.

    A range coder notices little of what is wrong with its input; the checksums of the container
    come first and the symbol hash last.
    """

    def __init__(self, tables: TableSet, data: bytes) -> None:
        if len(data) % 4:
            raise CorruptError(f"a range coder stream is 32-bit words, got {len(data)} bytes")
        self._tables = tables
        self._empty = not data
        self._started = False
        words = np.frombuffer(data, dtype="<u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def decode(self, index: IndexArray) -> npt.NDArray[np.int32]:
        """The values of one stage.

        Args:
            index: (N,) uint8 or uint16, the table of each value, as in the encoder.

        Returns:
            (N,) int32.

        Raises:
            CorruptError: the data cannot come from an encoder.
            ValueError: another shape or dtype, or a table that does not exist.
        """
        groups = _Grouping(self._tables, index)
        values = np.empty(len(index), dtype=np.int32)
        if not len(index):
            return values
        self._started = True
        symbols = np.empty(len(index), dtype=np.int32)
        with _corruption():
            for table, low, high in groups.runs():
                symbols[low:high] = self._coder.decode(self._tables.model(table), high - low)
            outside = symbols == groups.escapes
            if outside.any():
                symbols[outside] = self._decode_escapes(groups.escapes[outside])
        found = symbols + groups.offsets
        if found.min() < -MAX_VALUE or found.max() > MAX_VALUE:
            raise CorruptError(f"a symbol decodes to more than {MAX_VALUE}; fetch the file again")
        values[groups.order] = found
        return values

    def _decode_escapes(self, escapes: IntArray) -> IntArray:
        """The symbols outside their tables."""
        bits: IntArray = self._coder.decode(_ESCAPE_MODEL, len(escapes))
        number = np.left_shift(1, bits, dtype=np.int32)
        rest = bits > 0
        if rest.any():
            number[rest] += self._coder.decode(_UNIFORM, number[rest])
        folded = number - 1
        distance = folded >> 1
        return np.where(folded & 1, -1 - distance, escapes + distance).astype(np.int32)

    def finish(self) -> None:
        """Check that all data was used.

        Raises:
            CorruptError: there is more, or no symbol was wanted from data.
        """
        if not self._coder.maybe_exhausted() or (not self._started and not self._empty):
            raise CorruptError("a frame has more data than symbols; fetch the file again")


@contextmanager
def _corruption() -> Iterator[None]:
    """Turn whatever the range coder raises about its data into a `CorruptError`."""
    try:
        yield
    except Exception as error:
        raise CorruptError(f"a frame cannot be decoded ({error}); fetch the file again") from error
    except BaseException as error:
        # A panic of the Rust library is no Exception and its class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise CorruptError(f"a frame cannot be decoded ({error}); fetch the file again") from error


class SymbolHasher:
    """A running 64-bit BLAKE2b of decoded symbols: proof that a GOP was decoded right."""

    def __init__(self) -> None:
        self._hash: Any = hashlib.blake2b(digest_size=8)

    def update(self, values: npt.NDArray[np.integer[Any]]) -> None:
        """Append the values of a stage, each as four little-endian bytes."""
        self._hash.update(values.astype("<i4").tobytes())

    def digest(self) -> bytes:
        """The 8 bytes for everything so far; more may follow."""
        return bytes(self._hash.digest())
