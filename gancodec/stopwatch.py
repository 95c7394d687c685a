"""Where the time of a stretch of work goes, by named parts, without a word in the work itself.

Nets are watched by hooks, functions and methods by standing in for them where they are looked up.
Only one part runs at a time: what begins inside another stops that one's clock until it ends, so
that the parts and the rest add up to the whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import nn

REST = "rest"


class Call(NamedTuple):
    """What ``owner.name(...)`` calls: a function of a module, or a method of a class or object."""

    owner: Any
    name: str


Watched = nn.Module | Call


class Stopwatch:
    """Adds up the seconds of each part of one stretch of work.

    Args:
        device: where nets run; with a GPU, a part ends when all that it asked for is done.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._asynchronous = device.startswith("cuda")
        self._open: list[str] = []  # parts that have begun, the innermost last
        self._closed: frozenset[str] = frozenset()
        self._since = 0.0
        self._seconds: dict[str, float] = {}

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by part in the order they were given, and what no part took at the end."""
        return dict(self._seconds)

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(self._seconds.values())

    @contextmanager
    def watching(
        self, parts: Mapping[str, Sequence[Watched]], closed: Collection[str] = ()
    ) -> Iterator[None]:
        """Time what happens inside, once; afterwards all that was watched is as it was.

        Args:
            parts: what belongs to each.
            closed: parts that take the time of other parts inside them, too.
        """
        self._closed = frozenset(closed)
        self._seconds = dict.fromkeys((*parts, REST), 0.0)
        with ExitStack() as undo:
            for part, watched in parts.items():
                for one in watched:
                    if isinstance(one, Call):
                        undo.enter_context(self._standing_in(part, one))
                    else:
                        undo.enter_context(self._hooked(part, one))
            self._open = [REST]
            self._since = self._now()
            try:
                yield
            finally:
                self._count()

    @contextmanager
    def _hooked(self, part: str, module: nn.Module) -> Iterator[None]:
        before = module.register_forward_pre_hook(lambda *_: self._begin(part))
        after = module.register_forward_hook(lambda *_: self._end(), always_call=True)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    @contextmanager
    def _standing_in(self, part: str, call: Call) -> Iterator[None]:
        own = vars(call.owner)
        is_own, before = call.name in own, own.get(call.name)
        setattr(call.owner, call.name, self._timed(part, getattr(call.owner, call.name)))
        try:
            yield
        finally:
            if is_own:
                setattr(call.owner, call.name, before)
            else:  # an attribute of an object that hid its class's method
                delattr(call.owner, call.name)

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            self._begin(part)
            try:
                return function(*arguments, **named)
            finally:
                self._end()

        return run

    def _begin(self, part: str) -> None:
        self._count()
        outer = self._open[-1]
        self._open.append(outer if outer in self._closed else part)

    def _end(self) -> None:
        self._count()
        self._open.pop()

    def _count(self) -> None:
        now = self._now()
        self._seconds[self._open[-1]] += now - self._since
        self._since = now

    def _now(self) -> float:
        if self._asynchronous:
            torch.cuda.synchronize()
        return time.perf_counter()
