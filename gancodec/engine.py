"""Float nets in onnxruntime instead of torch, where that is installed and asked for.

What picks a probability table never leaves torch, whose arithmetic there is exact integers: with
either engine a file holds and gives the same symbols, and pictures differ by what floats differ by
between machines. Sessions are made where a net first runs: threads share them, processes cannot.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from gancodec.config import Engine
from gancodec.errors import UsageError
from gancodec.models.compress import GanCodec, Reconstruction
from gancodec.models.onnx_nets import NETS, example_inputs, graph_of, in_torch
from gancodec.nn.planes import BLOCK

MARGIN = 0.95  # of torch's time, which onnxruntime must stay below to be chosen
FEWEST_FRAMES = 150  # that are worth loading onnxruntime and measuring
_MEASURE_SECONDS = 0.06  # for a net, beside what two rounds take
_FEWEST_ROUNDS = 2

_M = TypeVar("_M", bound=nn.Module)


def check_engine(engine: str, device: str = "cpu") -> Engine:
    """An engine that can be had.

    Raises:
        UsageError: there is no such engine, or onnxruntime is asked for and is not installed, or
            asked for on another device than the CPU.
    """
    if engine not in ("torch", "onnx", "auto"):
        raise UsageError(f"engine is torch, onnx or auto, got {engine!r}")
    if engine == "onnx":
        if not _is_cpu(device):
            raise UsageError(f"engine onnx works on the CPU alone: use engine torch on {device}")
        _onnxruntime()
    return engine  # type: ignore[return-value]


def _is_cpu(device: str) -> bool:
    return device.partition(":")[0] == "cpu"


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            f"engine onnx needs the package onnxruntime ({error}); install it with "
            "`pip install 'gancodec[fast]'`"
        ) from error
    return onnxruntime


# ── Nets that run in onnxruntime ─────────────────────────────────────────────────────────────


def with_onnx(nets: GanCodec, names: Collection[str] = NETS) -> GanCodec:
    """The same nets, those of ``names`` (see `NETS`) run by onnxruntime; ``nets`` stays as it is.

    Where gradients are wanted, torch does the work all the same.
    """
    found = _copy_of(nets)
    for part in ("intra", "inter"):
        found._modules[part] = codec = _copy_of(getattr(nets, part))
        for stage in ("analysis", "synthesis"):
            if (name := f"{part}.{stage}") in names:
                net: nn.Module = getattr(codec, stage)
                codec._modules[stage] = exchanged = _copy_of(net)
                # An attribute of this one object hides the method of its class.
                exchanged.forward = _Exchanged(nets, name, net.forward)
    ways: dict[bool, Callable[..., Any]] = {}
    for intra, name in ((True, "detail.intra"), (False, "detail.inter")):
        ways[intra] = partial(nets.detail.paint, intra=intra)
        if name in names:
            ways[intra] = _Exchanged(nets, name, ways[intra])
    found._modules["detail"] = head = _copy_of(nets.detail)
    head.paint = lambda *values, intra: ways[intra](*values)  # type: ignore[method-assign]
    return found


def _copy_of(module: _M) -> _M:
    """The same module, whose parts can be exchanged."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


class _Exchanged:
    """Stands for a method of a net, called with all its inputs by place, None for those absent."""

    def __init__(self, nets: GanCodec, name: str, method: Callable[..., Any]) -> None:
        self._nets = nets
        self._name = name
        self._method = method

    def __call__(self, *values: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            return self._method(*values)
        session = _session_of(self._nets, self._name)
        given = [value for value in values if value is not None]
        if len(given) != len(session.inputs):  # a head that remembers, with nothing to remember
            return self._method(*values)
        outputs = session.run(given)
        return Reconstruction(*outputs) if len(outputs) == 2 else outputs[0]


class _Session:
    """One net, ready to run; threads may share it."""

    def __init__(self, nets: GanCodec, name: str, threads: int) -> None:
        onnxruntime = _onnxruntime()
        graph = graph_of(nets, name)
        self.inputs = graph.inputs
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors, which are raised as well
        # Threads that wait by spinning keep the cores from those that work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            graph.to_bytes(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, values: Iterable[Tensor]) -> list[Tensor]:
        """Outputs in order, for inputs in order."""
        pairs = zip(self.inputs, values, strict=True)
        arrays = {port.name: value.contiguous().numpy() for port, value in pairs}
        return [torch.from_numpy(output) for output in self._session.run(None, arrays)]


_lock = threading.Lock()
_sessions: WeakKeyDictionary[GanCodec, dict[tuple[str, int], _Session]] = WeakKeyDictionary()
_verdicts: WeakKeyDictionary[GanCodec, dict[tuple[object, ...], bool]] = WeakKeyDictionary()


def _session_of(nets: GanCodec, name: str) -> _Session:
    """The session for as many threads as torch uses now; made once in a process."""
    key = name, torch.get_num_threads()
    with _lock:
        made = _sessions.setdefault(nets, {})
        if key not in made:
            made[key] = _Session(nets, *key)
        return made[key]


# ── Which nets ───────────────────────────────────────────────────────────────────────────────


def nets_in_onnx(
    engine: Engine,
    nets: GanCodec,
    size: tuple[int, int],
    *,
    frames: int | None,
    realism: float = 0.0,
    device: str = "cpu",
) -> tuple[str, ...]:
    """Names of the nets that a decoder is to run in onnxruntime.

    With ``auto`` those that are faster there by more than a twentieth, measured once in a process
    on noise of the clip's size: what one process chose must be handed to others, which might
    choose otherwise. An intra frame a GOP is not worth measuring.

    Args:
        size: height and width of the pictures.
        frames: how many there are, None if nobody knows; few are left to torch.
        realism: whether the synthesis head has any work.
    """
    if engine == "torch" or not _is_cpu(device):
        return ()
    if engine == "onnx":
        return NETS
    if frames is not None and frames < FEWEST_FRAMES:
        return ()
    try:
        _onnxruntime()
    except UsageError:
        return ()
    wanted = ("inter.synthesis", "detail.inter") if realism > 0 else ("inter.synthesis",)
    return tuple(name for name in wanted if _is_faster(nets, name, size))


def _is_faster(nets: GanCodec, name: str, size: tuple[int, int]) -> bool:
    key = name, size, torch.get_num_threads()
    with _lock:
        known = _verdicts.setdefault(nets, {})
    if key not in known:
        torch_seconds, onnx_seconds = _seconds_of(nets, name, size)
        known[key] = onnx_seconds < MARGIN * torch_seconds
    return known[key]


@torch.inference_mode()
def _seconds_of(nets: GanCodec, name: str, size: tuple[int, int]) -> tuple[float, float]:
    """The least seconds that a net took in torch, and in onnxruntime, by turns."""
    session = _session_of(nets, name)
    height, width = (-(-side // BLOCK) * BLOCK for side in size)
    given = example_inputs(session.inputs, height, width)
    ways: list[Callable[[], object]] = [
        partial(in_torch, nets, name, given),
        partial(session.run, given.values()),
    ]
    for way in ways:
        way()  # warm
    rounds: list[tuple[float, ...]] = []
    begun = time.perf_counter()
    while len(rounds) < _FEWEST_ROUNDS or time.perf_counter() - begun < _MEASURE_SECONDS:
        rounds.append(tuple(map(_seconds, ways)))
    first, second = (min(column) for column in zip(*rounds, strict=True))
    return first, second


def _seconds(way: Callable[[], object]) -> float:
    begun = time.perf_counter()
    way()
    return time.perf_counter() - begun
