"""Work on many cores: in order, and never too much of it at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from gancodec.config import EncodeOptions
from gancodec.fileio import parallel
from gancodec.fileio.input_clip import split_gops
from gancodec.fileio.parallel import Work, Workers
from gancodec.video.synth import moving_texture


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


def test_gops_are_let_go() -> None:
    """Whoever reads a long film must not come to hold it."""
    batch = moving_texture(16, 16, 24)
    batches = (batch[n : n + 4] for n in range(0, 24, 4))
    alive: list[weakref.ref[Any]] = []
    for gop in split_gops(batches, EncodeOptions(gop=3, scene_cuts=False), None):
        assert sum(ref() is not None for ref in alive) <= 1
        alive.append(weakref.ref(gop.y))
    assert len(alive) == 8


def test_small_tasks_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Workers) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(Workers, "start", refuse)
    work = [Work(n, n) for n in (-1, -2, -3)]
    monkeypatch.setattr(parallel, "usable_cores", lambda: 4)
    assert [r for r, _ in Workers().run(abs, work, 1 << 20)] == [1, 2, 3]
    with pytest.raises(AssertionError):
        list(Workers().run(abs, work, 1 << 22))
    assert [r for r, _ in Workers().run(abs, work[:1], 1 << 22)] == [1]
    with pytest.raises(AssertionError):
        list(Workers(2).run(abs, work, 0))
    assert Workers(device="cuda").jobs == 1
