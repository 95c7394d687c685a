"""What an import costs and what it must leave alone, each looked at in a fresh process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
Run = Callable[..., "subprocess.CompletedProcess[str]"]

# Seconds of import time, or known not to load everywhere.
HEAVY = {"torch", "torchvision", "compressai", "matplotlib", "skimage", "scipy", "pandas"}
REPORT = f"; import sys; print('loaded', sorted({HEAVY!r} & set(sys.modules)))"
HELP = """
import sys
from gancodec.cli import main
sys.argv = ["gancodec", *sys.argv[1:]]
try:
    code = main()
except SystemExit as stop:
    code = stop.code
assert not code, code
"""


@pytest.mark.parametrize(
    "module",
    [
        "gancodec",
        "gancodec.types",
        "gancodec.config",
        "gancodec.errors",
        "gancodec.cli",
        "gancodec.eval",
        *(f"gancodec.bitstream.{p.stem}" for p in sorted((ROOT / "bitstream").glob("[a-z]*.py"))),
    ],
)
def test_light_import(fresh_python: Run, module: str) -> None:
    assert fresh_python(f"import {module}{REPORT}").stdout == "loaded []\n"


def test_help_is_light(fresh_python: Run) -> None:
    printed = fresh_python(HELP + REPORT.removeprefix("; "), "--help").stdout
    assert printed.endswith("loaded []\n")
    for command in ("encode", "decode", "probe", "verify", "selftest", "train"):
        assert command in printed


def test_probe_is_light(fresh_python: Run) -> None:
    streams = sorted((ROOT / "tests" / "streams").glob("*.gvc"))
    assert streams, "there is no golden stream"
    printed = fresh_python(HELP + REPORT.removeprefix("; "), "probe", str(streams[0])).stdout
    assert printed.endswith("loaded []\n")


def test_public_names(fresh_python: Run) -> None:
    fresh_python(
        "import gancodec\n"
        "assert {'encode', 'decode', 'open', 'Encoder', 'Decoder'} <= set(gancodec.__all__)\n"
        "assert set(gancodec.__all__) <= set(dir(gancodec))\n"
        "for name in gancodec.__all__: getattr(gancodec, name)"
    )


def test_unknown_name_is_an_attribute_error(fresh_python: Run) -> None:
    wrong = fresh_python("import gancodec; gancodec.encoed", check=False).stderr
    assert "AttributeError" in wrong
    assert "encoed" in wrong


def test_bare_names_stay_free(fresh_python: Run) -> None:
    fresh_python(
        "import sys, gancodec, gancodec.eval, gancodec.bitstream\n"
        "assert not {'eval', 'bitstream'} & set(sys.modules)",
        cwd=ROOT,
    )


def test_folders_of_the_user_do_not_shadow_ours(fresh_python: Run, tmp_path: Path) -> None:
    for name in ("eval", "bitstream"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not ours')")
    fresh_python("import gancodec.eval, gancodec.bitstream", cwd=tmp_path)


def test_package_list_matches_the_folders() -> None:
    folders = {p.parent for p in (ROOT / "gancodec").rglob("__init__.py")}
    found = {".".join(p.relative_to(ROOT).parts) for p in folders}
    # Listed by hand, since Python versions differ in whether rglob follows the links.
    found |= {"gancodec.bitstream", "gancodec.eval"}
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == sorted(found)
    below = [p for name in ("bitstream", "eval") for p in (ROOT / name).glob("*/**/*.py")]
    assert not below, "bitstream/ and eval/ are flat: the package list names no folders below them"


@pytest.mark.parametrize("name", ["bitstream", "eval"])
def test_links(name: str) -> None:
    link = ROOT / "gancodec" / name
    assert os.readlink(link) == f"../{name}", "relative, or it breaks where the tree is moved"
    assert (link / "__init__.py").is_file()


def test_version_is_a_literal() -> None:
    """setuptools reads it from the source; were it computed, a build would have to import torch."""
    source = (ROOT / "gancodec" / "__init__.py").read_text("utf-8")
    assert re.search(r'^__version__ = "\d+\.\d+\.\d+[a-z0-9.+]*"$', source, re.MULTILINE)


def cpu_seconds(code: str) -> float:
    """Least CPU time of a process out of five: what others run here does not count in it."""
    import resource  # not on Windows

    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


@pytest.mark.skipif(sys.platform == "win32", reason="no CPU times of child processes there")
@pytest.mark.parametrize(
    ("code", "baseline"),
    [
        ("import gancodec", "pass"),  # lazy: next to nothing
        ("import gancodec.cli", "import argparse, numpy"),
        ("import gancodec.bitstream", "import numpy"),
    ],
)
def test_import_time(code: str, baseline: str) -> None:
    ours, least = cpu_seconds(code), cpu_seconds(baseline)
    assert ours < 3 * least, f"{ours:.3f} s against {least:.3f} s for {baseline!r}"  # torch: > 10
    assert ours < 2  # seconds, on a slow machine
