"""GOPs on many cores: ordered results, bounded memory, the same bytes whatever the number.

Every task runs with one torch thread, in this process too: sums of floats depend on how they are
split over threads, and a frame decided by them must not depend on the machine's core count.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import chain
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from types import ModuleType, TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

import torch

from gancodec.errors import InputError, UsageError

MAX_AUTOMATIC_JOBS = 8  # beyond, decoding the input and memory are the limits

# Planes of GOPs that may wait at once. Below a budget the number of jobs is the bound.
BUDGET_BYTES = 2 << 30

# A GOP of less than this is coded before a process has even started.
_WORTHWHILE_BYTES = 2 << 20

_Task = TypeVar("_Task")
_Tag = TypeVar("_Tag")
_Result = TypeVar("_Result")


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread for the calling thread: OpenMP keeps the number for each on its own."""
    before = torch.get_num_threads()
    if before != 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before != 1:
            torch.set_num_threads(before)


class Work(NamedTuple, Generic[_Task, _Tag]):
    """A task and what belongs to it on this side; without a task it only keeps its place."""

    task: _Task | None
    tag: _Tag


class Workers:
    """Where tasks run: here, in processes of its own, or on a caller's executor.

    Processes start when a second task shows that they are worth it, and serve until ``close``;
    for small tasks only where their number was asked for.
    """

    def __init__(
        self, jobs: int | None = None, executor: Executor | None = None, *, device: str = "cpu"
    ) -> None:
        """``jobs`` None: one a usable core, at most eight; one where a GPU does the work.

        Raises:
            UsageError: fewer than one job.
        """
        if jobs is not None and jobs < 1:
            raise UsageError(f"jobs is 1 or more, got {jobs}")
        self._automatic = jobs is None
        if jobs is None:
            alone = device != "cpu" or multiprocessing.current_process().daemon
            jobs = 1 if alone else min(usable_cores(), MAX_AUTOMATIC_JOBS)
        self.jobs = jobs
        self._foreign = executor
        self._own: ProcessPoolExecutor | None = None

    def run(
        self,
        function: Callable[[_Task], _Result],
        work: Iterable[Work[_Task, _Tag]],
        task_bytes: int = 0,
    ) -> Iterator[tuple[_Result | None, _Tag]]:
        """Results with their tags, in the order of ``work``.

        Little more than a job's worth of tasks is taken from ``work`` ahead of what was given
        out: fewer where ``task_bytes``, what one task or its result weighs, would add up to more
        than 2 GiB.

        Raises:
            InputError: a worker process died.
        """
        work = iter(work)
        executor = self._foreign
        trifle = self._automatic and task_bytes < _WORTHWHILE_BYTES
        if executor is None and self.jobs > 1 and not trifle:
            head = _up_to_two_tasks(work)
            work = chain(head, work)
            if sum(w.task is not None for w in head) > 1:
                executor = self.start()
        if executor is None:
            for w in work:
                yield None if w.task is None else _alone(function, w.task), w.tag
            return
        limit = max(1, min(self.jobs + 1, BUDGET_BYTES // max(task_bytes, 1)))
        yield from _InOrder[_Task, _Tag, _Result](executor, function).run(work, limit)

    def start(self) -> ProcessPoolExecutor:
        """The processes themselves: one torch thread each, ended with this process, and none runs
        its main script again."""
        if self._own is None:
            self._own = ProcessPoolExecutor(
                self.jobs, mp_context=_Context(), initializer=_begin_worker
            )
        return self._own

    def close(self, *, abandon: bool = False) -> None:
        """End the processes; with ``abandon`` at once, in the middle of what they do."""
        if self._own is None:
            return
        if abandon:
            for process in list((getattr(self._own, "_processes", None) or {}).values()):
                process.terminate()
        self._own.shutdown(wait=True, cancel_futures=True)
        self._own = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(abandon=kind is not None)


def _up_to_two_tasks(work: Iterator[Work[_Task, _Tag]]) -> list[Work[_Task, _Tag]]:
    head: list[Work[_Task, _Tag]] = []
    for w in work:
        head.append(w)
        if sum(one.task is not None for one in head) == 2:
            break
    return head


def _alone(function: Callable[[_Task], _Result], task: _Task) -> _Result:
    with one_thread():
        return function(task)


class _InOrder(Generic[_Task, _Tag, _Result]):
    """Work handed to an executor, and its results in the order it came."""

    def __init__(self, executor: Executor, function: Callable[[_Task], _Result]) -> None:
        self._executor = executor
        self._function = function
        self._waiting: deque[tuple[Future[_Result] | None, _Tag]] = deque()
        self._running = 0

    def run(
        self, work: Iterator[Work[_Task, _Tag]], limit: int
    ) -> Iterator[tuple[_Result | None, _Tag]]:
        try:
            while True:
                w = next(work, None) if self._running < limit else None
                if w is not None:
                    self._put(w)
                elif self._waiting:
                    yield self._take()
                else:
                    return
                while self._waiting and self._is_ready():
                    yield self._take()
        except BrokenExecutor as error:
            raise InputError(
                "a worker process died, most likely for lack of memory: "
                "use fewer --jobs or a shorter --gop"
            ) from error
        finally:
            for future, _ in self._waiting:
                if future is not None:
                    future.cancel()

    def _put(self, w: Work[_Task, _Tag]) -> None:
        future = None
        if w.task is not None:
            future = self._executor.submit(_alone, self._function, w.task)
            self._running += 1
        self._waiting.append((future, w.tag))

    def _is_ready(self) -> bool:
        future, _ = self._waiting[0]
        return future is None or future.done()

    def _take(self) -> tuple[_Result | None, _Tag]:
        future, tag = self._waiting.popleft()
        if future is None:
            return None, tag
        self._running -= 1
        return future.result(), tag


# ── Processes of our own ─────────────────────────────────────────────────────────────────────


def _begin_worker() -> None:
    """In a new worker: one thread, no word on Ctrl-C, and no life without the parent."""
    torch.set_num_threads(1)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A pool's worker waits for tasks for ever when its parent is killed.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


_main_lock = threading.Lock()


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the user's script while a process is spawned, so that the child does not run it again.

    Our tasks need nothing of it, and a script that calls ``gancodec.encode`` at its top level
    would otherwise start encodes in the workers of its encode.
    """
    with _main_lock:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


class _Process(SpawnProcess):
    """A spawned process that does not import the script of its parent."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        with _without_main():
            return SpawnProcess._Popen(process_obj)


class _Context(SpawnContext):
    Process = _Process


# ── All at once, to measure what a machine does with several ────────────────────────────────

_PATIENCE_SECONDS = 3600.0  # for the slowest of those that are to meet
_barrier: Barrier | None = None  # of this process, where it is one of several

Meet = Callable[[], object]


def run_together(
    function: Callable[[_Task, Meet], _Result], tasks: Sequence[_Task]
) -> list[_Result]:
    """Results of tasks that run at once, each in a process of its own.

    ``function`` gets a task and a call that returns when all the others have made it, too.

    Raises:
        InputError: a process died.
        GancodecError: whatever a task raised; the others are stopped at their next meeting.
    """
    context = _Context()
    meeting = (context.Barrier(len(tasks), timeout=_PATIENCE_SECONDS),)
    with ProcessPoolExecutor(
        len(tasks), mp_context=context, initializer=_begin_together, initargs=meeting
    ) as pool:
        futures = [pool.submit(_one_of_all, function, task) for task in tasks]
        errors = [error for f in futures if (error := f.exception()) is not None]
    for error in sorted(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        if isinstance(error, BrokenExecutor):
            raise InputError("a process died, most likely for lack of memory") from error
        raise error
    return [f.result() for f in futures]


def _begin_together(barrier: Barrier) -> None:
    global _barrier  # a barrier reaches a process when it starts, not with a task
    _begin_worker()
    _barrier = barrier


def _one_of_all(function: Callable[[_Task, Meet], _Result], task: _Task) -> _Result:
    assert _barrier is not None
    try:
        return function(task, _barrier.wait)
    except BaseException:
        _barrier.abort()
        raise
