"""GOPs on many machines: the workers of a Dask cluster as one executor.

The frames of a task travel with it, from here over the scheduler to a worker, since workers need
not see the film; the scheduler keeps them until the result is there, and gives them to another
worker when one dies. How many are under way at once is for `parallel.Workers` to say.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from gancodec.errors import InputError, ModelError, UsageError
from gancodec.registry import list_models

PROCESSES = "processes"

_VERSION: str = sys.modules["gancodec"].__version__  # as in entry
_SCHEMES = ("tcp://", "tls://")
_CONNECT_SECONDS = 5
_WORKER_SECONDS = 5  # so long a cluster without workers may take to get its first


class Identity(NamedTuple):
    """What must be the same wherever a GOP of one file is coded."""

    version: str
    weights: tuple[str, ...]  # SHA-256 of codec and synthesis head; empty where there are none


def identity_of(model: str) -> Identity:
    """That of this process, with the weights of this name."""
    listed = list_models().get(model)
    weights = () if listed is None else tuple(listed[r]["sha256"] for r in ("codec", "detail"))
    return Identity(_VERSION, weights)


class Cluster(Executor):
    """Runs tasks on a Dask cluster; ``threads`` is how many it can run at once."""

    def __init__(self, client: Any, model: str) -> None:
        """Raises ModelError where a worker would not write our bytes."""
        self._client = client
        self._model = model
        self._identity = identity_of(model)
        answers = client.run(identity_of, model, on_error="return")
        for address, theirs in answers.items():
            _compare(f"the worker {address}", theirs, self._identity, model)
        self.threads = sum(client.nthreads().values())
        self._tasks: Executor = client.get_executor(pure=False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As executors do; each task is checked again, for workers that came later."""
        import dask

        # A task is large since it is a GOP: Dask's advice to load the data elsewhere is no help.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            return self._tasks.submit(_run, self._identity, self._model, fn, *args, **kwargs)


def _run(ours: Identity, model: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """On a worker: the task, if this is the same gancodec."""
    _compare("a worker", identity_of(model), ours, model)
    return fn(*args, **kwargs)


def _compare(where: str, theirs: Identity | BaseException, ours: Identity, model: str) -> None:
    remedy = "install the same gancodec everywhere"
    if isinstance(theirs, BaseException):
        raise ModelError(
            f"{where} has no gancodec that works ({type(theirs).__name__}: {theirs}); {remedy}"
        )
    if theirs.version != ours.version:
        raise ModelError(
            f"{where} has gancodec {theirs.version} and this is {ours.version}, which may code "
            f"differently; {remedy}"
        )
    if theirs.weights != ours.weights:
        which = "other weights" if theirs.weights else "no weights"
        raise ModelError(
            f"{where} has {which} under the name {model!r}; {remedy}, or name a folder with the "
            "same weights in its GANCODEC_MODELS"
        )


@contextmanager
def on_cluster(address: str, model: str) -> Iterator[Cluster]:
    """Connect to a Dask scheduler; what is outstanding at the end is cancelled.

    Raises:
        UsageError: it is no such address, or distributed is not installed.
        InputError: it cannot be reached, has no worker, or was lost on the way.
        ModelError: a worker has another gancodec or other weights.
    """
    if not address.startswith(_SCHEMES):
        raise UsageError(
            f"executor is {PROCESSES} or the address of a Dask scheduler such as tcp://host:8786, "
            f"got {address!r}"
        )
    try:
        from distributed import KilledWorker
    except ImportError as error:
        raise UsageError(
            f"an executor {address} needs the package distributed ({error}); install it with "
            "`pip install gancodec[dask]`"
        ) from error
    client = _connect(address)
    try:
        try:
            client.wait_for_workers(1, timeout=_WORKER_SECONDS)
        except TimeoutError as error:
            raise InputError(
                f"the Dask scheduler at {address} has no worker: start some with "
                f"`dask worker {address} --nthreads 1`"
            ) from error
        yield Cluster(client, model)
    except KilledWorker as error:
        raise InputError(
            "several workers died of the same GOP, most likely for lack of memory: "
            "use a shorter --gop"
        ) from error
    except (CancelledError, OSError) as error:
        if client.status == "running" and isinstance(error, OSError):
            raise  # of the file, not of the network
        raise InputError(
            f"the connection to the Dask scheduler at {address} was lost: look whether it runs and "
            "encode again, with --resume if this one had it"
        ) from error
    finally:
        _close(client)


def _close(client: Any) -> None:
    """The scheduler forgets what nobody waits for: the client's tasks go with it."""
    log = logging.getLogger("distributed.client")
    before = log.disabled
    log.disabled = True  # a reconnect that is broken off here would tell so in fifty lines
    try:
        client.close(timeout=_CONNECT_SECONDS)
    finally:
        log.disabled = before


def _connect(address: str) -> Any:
    """A client, within seconds or not at all."""
    from distributed import Client

    found: list[Any] = []
    problems: list[BaseException] = []

    def connect() -> None:
        try:
            client: Any = Client
            found.append(client(address, timeout=_CONNECT_SECONDS, set_as_default=False))
        except BaseException as error:
            problems.append(error)

    # Its own timeout does not cover a port where somebody listens and says nothing.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_CONNECT_SECONDS + 2)
    if not found:
        cause = problems[0] if problems else None
        raise InputError(
            f"no Dask scheduler answers at {address}: check the address, or start one with "
            "`dask scheduler`"
        ) from cause
    return found[0]
