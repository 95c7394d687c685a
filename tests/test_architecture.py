"""Who may import whom, read from the source of every file; docs/architecture.md draws the same.

Imports inside functions and under TYPE_CHECKING count: they are dependencies all the same. The
checks are functions of (module name, source), so the last tests can show that each one does bite.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]

# For each part of the package, the parts it may import besides itself. "eval.metrics" allows that
# one module of eval. Who adds an edge says what for, and keeps the graph free of cycles.
LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "types": {"errors"},
    "config": {"errors", "types"},
    "bitstream": {"errors"},  # a second reader of the format could be made of this folder alone
    "video": {"types", "errors"},
    "nn": {"config", "types", "errors"},
    "scene": {"types"},
    "weights": set(),  # data, with an empty __init__
    "models": {"nn", "config", "types", "errors"},
    "engine": {"models", "nn", "config", "errors"},  # onnxruntime for the models' float nets
    "registry": {  # from a name to a model that is ready to code
        "engine",
        "models",
        "nn",
        "bitstream",  # the probability tables that come with the weights
        "config",
        "types",
        "errors",
    },
    "effort": {  # the encoder's choices that presets scale
        "models",
        "nn",
        "video.vectors",  # x264's motion, for those who have no time
        "config",
        "types",
        "errors",
    },
    "refine": {  # the patient encoder's latents, through a model's decoder and by its tables
        "models",
        "nn",
        "registry",
    },
    "enhancer": {  # frames through the nets that make more of them
        "models",
        "nn",
        "scene",  # no window and no memory crosses a cut
        "types",
        "errors",
    },
    "codec": {
        "effort",
        "refine",
        "models",
        "nn",  # the steps of a frame that are not learned: packing of planes, motion, warp
        "scene",
        "registry",
        "bitstream",
        "config",
        "types",
        "errors",
    },
    "ratecontrol": {"config", "errors"},  # arithmetic that the command line reads amounts with
    "fileio": {
        "ratecontrol",
        "codec",
        "enhancer",
        "models.restore",  # the names of tasks
        "video",
        "bitstream",
        "engine",  # whether it can be had, and what it is good for
        "registry",
        "config",
        "types",
        "errors",
    },
    "onnx_files": {"models", "nn", "registry", "config", "errors"},
    "probe": {"bitstream", "errors"},
    "train": {
        "codec",  # the table in a weights card is measured with the real codec
        "models",
        "nn",
        "video",
        "bitstream",  # the probability tables that come with the weights
        "registry",
        "enhancer",  # the names of what its weights file holds
        "eval.metrics",
        "eval.stlpips",  # the distance that perception is trained by
        "eval.clips",
        "eval.codecs",  # what enhancers learn to mend
        "eval.restored",  # how a clip is made smaller
        "__init__",  # the version, for the card
        "config",
        "types",
        "errors",
    },
    "eval": {
        "fileio",
        "codec",
        "enhancer",  # behind any codec's decoder
        "models.restore",  # how clips are made smaller for it
        "nn.planes",
        "video",
        "bitstream",
        "train.compressai_bridge",  # published codecs to compare with
        "terminal",  # tables
        "registry",
        "__init__",  # the version, for the records
        "config",
        "types",
        "errors",
    },
    "terminal": set(),  # text that is safe to print
    "progress": {"terminal"},
    "selftest": {
        "codec",
        "nn.fixed",  # to lay the integer nets out differently in memory
        "registry",
        "bitstream",
        "video.synth",  # a clip from nothing
        "config",
        "types",
        "errors",
    },
    "stopwatch": set(),  # seconds by part, of modules and functions that know nothing of it
    "bench_report": {"terminal"},
    "bench_peers": {"eval", "fileio.parallel", "errors"},
    "bench": {
        "bench_peers",
        "bench_report",
        "stopwatch",
        "codec",
        "models",  # what the nets cost, and a class whose calls are timed
        "nn.planes",
        "bitstream",  # classes whose calls are timed
        "fileio",
        "registry",
        "eval",
        "train.compressai_bridge",  # whether it is there, before anything runs
        "video",
        "config",
        "types",
        "errors",
    },
    "demo": {
        "fileio",
        "eval",
        "terminal",
        "video",
        "types",
        "errors",
    },
    # cli: what went wrong; cli_options, cli_values: what may be typed; cli_commands: what is done
    "cli": {"cli_options", "cli_commands", "terminal", "errors", "__init__"},
    "cli_options": {"cli_values", "video.scale", "video.times", "errors"},
    "cli_values": {"ratecontrol", "video.scale", "errors"},
    "cli_probe": {"terminal"},
    "cli_eval": {"eval", "progress", "terminal", "errors"},
    "cli_commands": {
        "bench",
        "cli_eval",
        "cli_options",
        "cli_probe",
        "config",
        "demo",
        "enhancer",
        "eval",
        "fileio",
        "onnx_files",
        "probe",
        "progress",
        "registry",
        "selftest",
        "terminal",
        "train",
        "errors",
    },
    "__main__": {"cli"},
    # all lazily
    "__init__": {"fileio", "codec", "enhancer", "registry", "config", "types", "errors"},
}

# Third-party packages that only these parts may import.
HOMES: dict[str, set[str]] = {
    # Neither loads everywhere (docs/decisions.md), so nothing that decodes may meet them.
    "compressai": {"train.compressai_bridge"},
    "torchvision": {"train.compressai_bridge"},
    "torch_geometric": {"train.compressai_bridge"},
    "constriction": {"bitstream"},
    "onnxruntime": {"engine"},  # optional, and never what picks a table
    "skimage": {"eval"},
    "scipy": {"eval"},
    "matplotlib": {"eval", "train"},
    "dask": {"fileio.cluster"},  # loaded only where a cluster is asked for
    "distributed": {"fileio.cluster"},
    # What is absent here answers `--help` and `probe` before torch could have loaded.
    "torch": {
        *("nn", "models", "registry", "effort", "refine", "codec", "fileio", "train", "eval"),
        *(
            "enhancer",
            "engine",
            "selftest",
            "bench",
            "stopwatch",
        ),  # they set and measure torch itself
    },
}

PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
MAX_LINES = 600
MAX_LINES_OF = {"gancodec.codec": 400}  # the main path is read top to bottom

# ---------------------------------------------------------------- the files


def module_name(path: PurePosixPath) -> str:
    """Dotted import name of a file given relative to the repository root."""
    parts = list(path.with_suffix("").parts)
    if parts[0] in ("bitstream", "eval"):
        parts.insert(0, "gancodec")
    if parts[-1] == "__init__" and len(parts) > 2:
        parts.pop()
    return ".".join(parts)  # the root package itself is "gancodec.__init__"


def read_sources() -> dict[str, str]:
    """Source of every Python file of the project by module name; linked folders once."""
    folders = ("gancodec", "bitstream", "eval", "tests", "benchmarks", "docs", "examples")
    found = {path.resolve() for folder in folders for path in (ROOT / folder).rglob("*.py")}
    return {
        module_name(PurePosixPath(path.relative_to(ROOT).as_posix())): path.read_text("utf-8")
        for path in sorted(found)
    }


SOURCES = read_sources()
KNOWN = frozenset(SOURCES)

# ---------------------------------------------------------------- the checks


def imports_of(module: str, source: str, known: frozenset[str]) -> Iterator[tuple[int, str]]:
    """(line, imported module) of every import statement and literal `import_module` in a source.

    `from package import name` gives `package.name` where that is one of our modules. Imports of the
    root package itself come out as "gancodec.__init__".
    """
    # An __init__ is its own package; `known` tells one by what lies below it.
    is_package = module == "gancodec.__init__" or any(m.startswith(f"{module}.") for m in known)
    package = module.removesuffix(".__init__") if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            targets = []
            for alias in node.names:
                full = f"{base}.{alias.name}"
                submodule = full in known or any(m.startswith(f"{full}.") for m in known)
                targets.append(full if submodule else base)
        elif (
            isinstance(node, ast.Call)
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
            and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__")
        ):
            targets = [node.args[0].value]
        else:
            continue
        for target in targets:
            yield node.lineno, "gancodec.__init__" if target == "gancodec" else target


def within(name: str, prefixes: set[str]) -> bool:
    """Whether a dotted name is one of the prefixes or lies below one."""
    return any(name == p or name.startswith(f"{p}.") for p in prefixes)


def check_layers(module: str, source: str, known: frozenset[str] = KNOWN) -> Iterator[str]:
    if not module.startswith("gancodec."):
        return  # tests, benchmarks and examples may use anything
    inner = module.removeprefix("gancodec.")
    part = inner.split(".")[0]
    if part not in LAYERS:
        yield f"{module}: {part} has no place in LAYERS"
        return
    for line, target in imports_of(module, source, known):
        if target.startswith("gancodec."):
            goal = target.removeprefix("gancodec.")
            if goal.split(".")[0] != part and not within(goal, LAYERS[part]):
                yield f"{module}:{line}: {part} may not import {goal}"


def check_homes(module: str, source: str, known: frozenset[str] = KNOWN) -> Iterator[str]:
    if not module.startswith("gancodec."):
        return
    inner = module.removeprefix("gancodec.")
    for line, target in imports_of(module, source, known):
        homes = HOMES.get(target.split(".")[0])
        if homes is not None and not within(inner, homes):
            yield f"{module}:{line}: {target} belongs in {', '.join(sorted(homes))} only"


def check_bare_names(module: str, source: str, known: frozenset[str] = KNOWN) -> Iterator[str]:
    for line, target in imports_of(module, source, known):
        if within(target, {"bitstream", "eval"}):
            yield f"{module}:{line}: {target} is imported as gancodec.{target}"


def check_pickles(module: str, source: str, known: frozenset[str] = KNOWN) -> Iterator[str]:
    """Files that run code when they are opened. Weights and checkpoints are safetensors."""
    for line, target in imports_of(module, source, known):
        if target.split(".")[0] in PICKLES:
            yield f"{module}:{line}: {target} can run code from a file"
    tree = ast.parse(source)
    torches = {"torch"} | {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "torch" and alias.asname
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("load", "save"):
            if isinstance(node.value, ast.Name) and node.value.id in torches:
                yield f"{module}:{node.lineno}: torch.{node.attr} pickles"
        elif isinstance(node, ast.ImportFrom) and node.module in ("torch", "torch.serialization"):
            for alias in node.names:
                if alias.name in ("load", "save"):
                    yield f"{module}:{node.lineno}: torch.{alias.name} pickles"
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            value = node.value
            if not (isinstance(value, ast.Constant) and value.value is False):
                yield f"{module}:{value.lineno}: allow_pickle"


def check_names_and_length(module: str, source: str) -> Iterator[str]:
    for part in module.split("."):
        if part.strip("_") in VAGUE_NAMES:
            yield f"{module}: a module is named after what it contains, not {part}"
    lines, limit = source.count("\n"), MAX_LINES_OF.get(module, MAX_LINES)
    if lines > limit:
        yield f"{module}: {lines} lines, at most {limit}"


CHECKS: list[Callable[[str, str], Iterator[str]]] = [
    check_layers,
    check_homes,
    check_bare_names,
    check_pickles,
    check_names_and_length,
]


def reachable(start: str, sources: dict[str, str]) -> dict[str, set[str]]:
    """Every module of ours that `start` can come to import, with what each of them imports."""
    known, seen, queue = frozenset(sources), {}, [start]
    while queue:
        module = queue.pop()
        if module in seen or module not in sources:
            continue
        seen[module] = {target for _, target in imports_of(module, sources[module], known)}
        for target in seen[module]:
            queue += [target, target.rpartition(".")[0]]  # importing a.b.c runs a.b as well
    return seen


# ---------------------------------------------------------------- the project keeps the rules


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_project(check: Callable[[str, str], Iterator[str]]) -> None:
    found = [line for module, source in SOURCES.items() for line in check(module, source)]
    assert not found, "\n".join(dict.fromkeys(found))


def test_all_folders_are_read() -> None:
    assert {"gancodec.types", "gancodec.bitstream", "gancodec.eval", "tests.conftest"} <= KNOWN


def test_layers_have_no_cycle() -> None:
    graphlib.TopologicalSorter(LAYERS).prepare()  # raises CycleError and names the cycle


@pytest.mark.parametrize("start", ["gancodec.codec", "gancodec.fileio"])
def test_decoding_never_meets_training_or_compressai(start: str) -> None:
    modules = reachable(start, SOURCES)
    assert start in modules
    assert not [
        m for m in modules if within(m, {"gancodec.train", "gancodec.eval", "gancodec.cli"})
    ]
    foreign = {target.split(".")[0] for targets in modules.values() for target in targets}
    assert not foreign & {"compressai", "torchvision", "torch_geometric", "skimage", "matplotlib"}


# ---------------------------------------------------------------- the checks do bite

TOY_PARTS = """
    __init__ cli codec errors types bitstream bitstream.cdf bitstream.container nn nn.blocks models
    models.compress video video.reader train train.loop train.compressai_bridge eval eval.metrics
    eval.curves
"""
TOY = frozenset(f"gancodec.{part}" for part in TOY_PARTS.split())


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("gancodec.nn.blocks", "import gancodec.models.compress", "nn may not import models"),
        ("gancodec.nn.blocks", "from gancodec import models", "nn may not import models"),
        ("gancodec.nn.blocks", "from ..models import compress", "nn may not import models"),
        ("gancodec.nn", "from ..models import compress", "nn may not import models"),
        ("gancodec.nn.blocks", "def f():\n import gancodec.models", ":2: nn may not import models"),
        (
            "gancodec.models.compress",
            "from gancodec.train import loop",
            "may not import train.loop",
        ),
        ("gancodec.models.compress", "from gancodec import eval", "models may not import eval"),
        ("gancodec.models.compress", "from gancodec.video import reader", "may not import video"),
        (
            "gancodec.models.compress",
            "from gancodec.bitstream import container",
            "models may not import bitstream.container",
        ),
        ("gancodec.train.loop", "from gancodec.eval import curves", "train may not import eval"),
        ("gancodec.eval.curves", "import gancodec.train.loop", "eval may not import train.loop"),
        ("gancodec.train.loop", "from gancodec.cli import main", "train may not import cli"),
        ("gancodec.video.reader", "import gancodec.codec", "video may not import codec"),
        (
            "gancodec.bitstream.container",
            "from gancodec.types import Packet",
            "may not import types",
        ),
        ("gancodec.bitstream.container", "import gancodec", "may not import __init__"),
        ("gancodec.bitstream.container", "from gancodec import __version__", "import __init__"),
        ("gancodec.nn.blocks", "import importlib as i; i.import_module('gancodec.cli')", "cli"),
        (
            "gancodec.types",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n import gancodec.nn",
            "types may not import nn",
        ),
        ("gancodec.novelty", "", "novelty has no place in LAYERS"),
        ("gancodec.codec", "import compressai.models", "belongs in train.compressai_bridge only"),
        ("gancodec.train.loop", "def f():\n from torchvision import ops", "belongs in train.compr"),
        ("gancodec.bitstream.container", "import torch", "torch belongs in"),
        ("gancodec.video.reader", "from torch import nn", "torch belongs in"),
        ("gancodec.cli", "def main():\n import torch.nn as nn", "torch.nn belongs in"),
        ("gancodec.video.reader", "import skimage.io", "skimage.io belongs in eval"),
        ("gancodec.codec", "import constriction", "constriction belongs in bitstream"),
        ("tests.test_toy", "import bitstream", "imported as gancodec.bitstream"),
        ("gancodec.cli", "from eval.metrics import psnr", "imported as gancodec.eval.metrics"),
        ("tests.test_toy", "import pickle", "pickle can run code"),
        ("gancodec.codec", "import torch as t\nt.load('x')", ":2: torch.load pickles"),
        ("gancodec.train.loop", "import torch\ntorch.save({}, 'x')", "torch.save pickles"),
        ("gancodec.train.loop", "from torch import load", "torch.load pickles"),
        ("gancodec.train.loop", "import numpy\nnumpy.load('x', allow_pickle=True)", "allow_pickle"),
        ("gancodec.nn.utils", "", "named after what it contains, not utils"),
        ("tests._helpers", "", "named after what it contains, not _helpers"),
        ("gancodec.nn.blocks", "\n" * 601, "601 lines, at most 600"),
        ("gancodec.codec", "\n" * 401, "401 lines, at most 400"),
    ],
)
def test_violation_is_found(module: str, source: str, complaint: str) -> None:
    assert complaint in "\n".join(complaints(module, source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gancodec.nn.blocks", "import torch\nfrom .norm import Norm\nimport gancodec.types"),
        ("gancodec.models.compress", "from gancodec.nn import blocks\nfrom ..types import Plane"),
        ("gancodec.train.loop", "from gancodec.eval.metrics import psnr"),
        ("gancodec.train.compressai_bridge", "def f():\n import torchvision, compressai"),
        (
            "gancodec.eval.curves",
            "import matplotlib.pyplot\nimport gancodec.train.compressai_bridge",
        ),
        ("gancodec.bitstream.container", "import numpy, zlib\nfrom .cdf import Table"),
        ("gancodec.fileio", "def f():\n from gancodec.bitstream import container"),
        ("gancodec.codec", "state.load(x)\neval('1')\nnumpy.load('x', allow_pickle=False)"),
        ("tests.test_toy", "import torch, gancodec.cli, skimage"),
    ],
)
def test_honest_source_passes(module: str, source: str) -> None:
    assert complaints(module, source) == []


def complaints(module: str, source: str) -> list[str]:
    """What all checks say about one file of the toy project."""
    known = TOY | {module}
    return [
        *check_layers(module, source, known),
        *check_homes(module, source, known),
        *check_bare_names(module, source, known),
        *check_pickles(module, source, known),
        *check_names_and_length(module, source),
    ]


def test_reachable_follows_imports_inside_functions() -> None:
    sources = {
        "gancodec.codec": "import gancodec.models.compress",
        "gancodec.models": "def f():\n from gancodec.train import loop",
        "gancodec.models.compress": "",
        "gancodec.train": "",
        "gancodec.train.loop": "import compressai",
    }
    found = reachable("gancodec.codec", sources)
    assert found.keys() == sources.keys()
    assert found["gancodec.train.loop"] == {"compressai"}


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("gancodec/__init__.py", "gancodec.__init__"),
        ("gancodec/nn/__init__.py", "gancodec.nn"),
        ("bitstream/__init__.py", "gancodec.bitstream"),
        ("bitstream/cdf.py", "gancodec.bitstream.cdf"),
        ("tests/video/test_reader.py", "tests.video.test_reader"),
    ],
)
def test_module_name(path: str, module: str) -> None:
    assert module_name(PurePosixPath(path)) == module
