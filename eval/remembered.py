"""What was computed of a source, kept within a budget of memory: all codecs are measured on it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

_Value = TypeVar("_Value")


class Remembered(Generic[_Value]):
    """The values used last, by a hash of the pictures that they are of.

    Args:
        limit_bytes: of all values together; the last one stays, however large.
        size_of: bytes of a value.
    """

    def __init__(self, limit_bytes: int, size_of: Callable[[_Value], int]) -> None:
        self._limit = limit_bytes
        self._size_of = size_of
        self._held = 0
        self._values: OrderedDict[bytes, _Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: bytes, compute: Callable[[], _Value]) -> _Value:
        """The value of a key, computed unless it is remembered."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = compute()  # without the lock: two threads may do the same, and lose only time
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._held += self._size_of(value)
                while self._held > self._limit and len(self._values) > 1:
                    self._held -= self._size_of(self._values.popitem(last=False)[1])
        return value


def key_of(*pictures: npt.NDArray[np.uint8], about: str = "") -> bytes:
    """A hash of pictures, and of whatever else a value depends on."""
    digest = blake2b(about.encode(), digest_size=16)
    for picture in pictures:
        digest.update(repr(picture.shape).encode())
        digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()
