"""Parts of a stretch of work are told apart, add up, and leave nothing behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gancodec.stopwatch import REST, Call, Stopwatch

TICK = 0.02


class Worker:
    def outer(self) -> str:
        time.sleep(TICK)
        return self.inner()

    def inner(self) -> str:
        time.sleep(2 * TICK)
        return "done"


def at_least(ticks: int) -> float:
    return ticks * TICK * 0.99


def test_what_runs_inside_another_part_is_counted_once() -> None:
    stopwatch, worker = Stopwatch(), Worker()
    with stopwatch.watching({"b": [Call(worker, "inner")], "a": [Call(worker, "outer")]}):
        assert worker.outer() == "done"
        time.sleep(TICK)
    parts = stopwatch.parts
    assert list(parts) == ["b", "a", REST]  # in the order they were given
    assert parts["b"] >= at_least(2)
    assert at_least(1) <= parts["a"] < parts["b"]
    assert parts[REST] >= at_least(1)
    assert stopwatch.seconds == pytest.approx(sum(parts.values()))


def test_a_closed_part_keeps_what_runs_inside_it() -> None:
    stopwatch, worker = Stopwatch(), Worker()
    parts = {"a": [Call(worker, "outer")], "b": [Call(worker, "inner")]}
    with stopwatch.watching(parts, closed=["a"]):
        worker.outer()
        worker.inner()
    assert stopwatch.parts["a"] >= at_least(3)
    assert at_least(2) <= stopwatch.parts["b"] < stopwatch.parts["a"]


def test_a_class_is_watched_through_all_its_objects() -> None:
    stopwatch = Stopwatch()
    with stopwatch.watching({"a": [Call(Worker, "inner")]}):
        assert Worker().inner() == Worker().inner() == "done"
    assert stopwatch.parts["a"] >= at_least(4)


def test_parts_that_never_ran_took_nothing() -> None:
    stopwatch = Stopwatch()
    with stopwatch.watching({"a": [nn.Identity()]}):
        pass
    assert stopwatch.parts["a"] == 0


class Broken(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError


def _fail(_: object) -> None:
    raise ArithmeticError


@pytest.mark.parametrize("broken", [Broken(), _fail], ids=["module", "function"])
def test_an_error_passes_and_everything_is_put_back(broken: Callable[..., object]) -> None:
    module, worker, library = nn.Identity(), Worker(), SimpleNamespace(run=broken)
    method = Worker.outer
    modules: list[nn.Module] = [module, *([broken] if isinstance(broken, nn.Module) else [])]
    calls = [Call(worker, "inner"), Call(Worker, "outer"), Call(library, "run")]
    stopwatch = Stopwatch()

    def work() -> None:
        with stopwatch.watching({"nets": modules, "calls": calls}):
            module(torch.zeros(1))
            library.run(torch.zeros(1))

    with pytest.raises(ArithmeticError):
        work()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in modules)
    assert "inner" not in vars(worker)
    assert Worker.outer is method
    assert library.run is broken
