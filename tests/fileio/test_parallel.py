"""Work on many cores: in order, and never too much of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from gancodec.fileio.parallel import Work, Workers


class _Lazy(Executor):
    """Runs nothing until its result is asked for, and counts what waits."""

    def __init__(self) -> None:
        self.waiting = self.most = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        executor = self
        self.waiting += 1
        self.most = max(self.most, self.waiting)

        class Lazy(Future[Any]):
            def result(self, timeout: float | None = None) -> Any:
                executor.waiting -= 1
                return fn(*args, **kwargs)

        return Lazy()


@pytest.mark.parametrize(("weight", "most"), [(0, 4), (1 << 30, 2), (1 << 40, 1)])
def test_work_in_flight_is_bounded_and_in_order(weight: int, most: int) -> None:
    executor = _Lazy()
    taken = 0

    def work() -> Iterator[Work[int, int]]:
        nonlocal taken
        for n in range(50):
            taken += 1
            yield Work(None if n % 5 == 4 else n, n)

    given = 0
    for result, tag in Workers(3, executor).run(abs, work(), weight):
        assert (result, tag) == (None if given % 5 == 4 else given, given)
        given += 1
        assert taken - given <= most + most // 4 + 1
    assert (given, executor.most) == (50, most)
