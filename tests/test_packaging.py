"""The package as users get it: wheel, sdist, editable, and the bare source tree.

Everything is built from a copy, so nothing is written into the source tree and no leftover of an
older build gets in. Environments are new ones that see the third-party packages installed here,
but not the gancodec that is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PARTS = ["pyproject.toml", "README.md", "LICENSE", "gancodec", "bitstream", "eval"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
WHERE = "import gancodec, gancodec.eval as e, gancodec.bitstream as b; "
PRINT_FILES = WHERE + "print(gancodec.__file__, e.__file__, b.__file__, sep='\\n')"


def run(*command: str | Path, cwd: Path | str = "/") -> str:
    """Run a command; fail the test with all that was printed if it does."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode != 0:
        pytest.fail(f"exit {done.returncode}: {done.args}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(hook: str, source: Path, out: Path) -> Path:
    """Call a hook of the build backend, as pip and build do, with the setuptools installed here."""
    out.mkdir()
    code = f"import sys; from setuptools.build_meta import {hook} as hook; hook(sys.argv[1])"
    run(sys.executable, "-c", code, out, cwd=source)
    (made,) = out.iterdir()
    return made


def copy_source(to: Path) -> Path:
    to.mkdir()
    leftovers = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.part")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, to / part, symlinks=True, ignore=leftovers)
        else:
            shutil.copy(ROOT / part, to / part)
    return to


def make_environment(folder: Path, *pip_arguments: str | Path) -> Path:
    """A new environment with only `pip_arguments` installed; gives its interpreter."""
    venv.create(folder, symlinks=sys.platform != "win32")
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    python = folder / scripts / ("python.exe" if sys.platform == "win32" else "python")
    paths = run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])")
    ours = {sysconfig.get_paths()[key] for key in ("purelib", "platlib")}
    # A folder named in a .pth is searched after the environment's own, and .pth files in it are not
    # read: so what is installed here is seen, but for an editable gancodec.
    Path(paths.strip(), "third_party.pth").write_text("\n".join(sorted(ours)))
    if pip_arguments:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
        # --ignore-installed: pip, too, sees the gancodec installed here, and must leave it alone.
        run(*pip, "install", "--no-deps", "--no-index", "--ignore-installed", *pip_arguments)
    return python


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_source(tmp_path_factory.mktemp("packaging") / "source")


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    return build("build_wheel", source, source.parent / "wheel")


@pytest.fixture(scope="module")
def sdist(source: Path) -> Path:
    return build("build_sdist", source, source.parent / "sdist")


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The interpreter of an environment with the wheel."""
    return make_environment(wheel.parents[1] / "installed", wheel)


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_wheel_holds_all_code_and_nothing_else_but_data(wheel: Path) -> None:
    code = {name for name in names_in(wheel) if name.endswith(".py")}
    folders = {
        name: PYPROJECT["tool"]["setuptools"]["package-dir"].get(name, name.replace(".", "/"))
        for name in PYPROJECT["tool"]["setuptools"]["packages"]
    }
    assert code == {
        f"{name.replace('.', '/')}/{path.name}"
        for name, folder in folders.items()
        for path in (ROOT / folder).glob("*.py")
    }
    assert all(name.startswith("gancodec/") for name in names_in(wheel))


def test_wheel_holds_the_data(wheel: Path) -> None:
    names = names_in(wheel)
    assert {"gancodec/py.typed", "gancodec/bitstream/FORMAT.md"} <= names
    weights = {name for name in names if name.endswith(".safetensors")}
    assert weights
    with zipfile.ZipFile(wheel) as archive:
        models = json.loads(archive.read("gancodec/weights/manifest.json"))
        enhancers = json.loads(archive.read("gancodec/weights/enhance/manifest.json"))
    listed = {f"gancodec/weights/enhance/{entry['file']}" for entry in enhancers.values()}
    listed |= {
        f"gancodec/weights/{part['file']}"
        for model in models.values()
        for part in model.values()
        if isinstance(part, dict) and "file" in part
    }
    assert weights == listed
    every = [*models.values(), *enhancers.values()]
    assert all(entry["card"] for entry in every), "weights without a card"
    assert any(name.startswith("gancodec/train/recipes/") for name in names)


def test_every_data_file_beside_code_ships(wheel: Path) -> None:
    """A file that package-data does not name would work in the tree and be missing for users."""
    kept_out = {"eval/results"}  # published measurements, to read in the repository
    found = set()
    for top in ("gancodec", "bitstream", "eval"):
        for path in (ROOT / top).rglob("*"):
            inner = path.relative_to(ROOT).as_posix()
            linked = inner.startswith(("gancodec/bitstream", "gancodec/eval"))
            made = "__pycache__" in path.parts or path.suffix in (".pyc", ".part")
            left = any(inner.startswith(f"{folder}/") for folder in kept_out)
            if path.is_file() and not linked and not made and not left:
                found.add(inner if top == "gancodec" else f"gancodec/{inner}")
    assert not found - names_in(wheel)


def test_wheel_is_small(wheel: Path) -> None:
    # weights for squared error, for eyes, and those before these until the first release; and code
    assert wheel.stat().st_size < 40_000_000


def test_sdist_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    """The sdist has no links in gancodec/, as a clone on Windows has none: the mapping must do."""
    with tarfile.open(sdist) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    assert not (unpacked / "gancodec" / "bitstream").exists()
    rebuilt = build("build_wheel", unpacked, tmp_path / "wheel")
    assert rebuilt.name == wheel.name
    with zipfile.ZipFile(rebuilt) as again, zipfile.ZipFile(wheel) as first:
        assert names_in(rebuilt) == names_in(wheel)
        assert all(again.read(name) == first.read(name) for name in names_in(wheel))


def test_wheel_metadata(installed: Path, fresh_python: Run) -> None:
    fresh_python(
        "import gancodec\n"
        "from importlib.metadata import metadata\n"
        "about = metadata('gancodec')\n"
        "assert about['Version'] == gancodec.__version__, about['Version']\n"
        "assert about['License-Expression'] == 'Apache-2.0'\n"
        "assert about.get_all('License-File') == ['LICENSE']",
        python=installed,
        path=None,
    )


def test_installed_wheel_is_what_runs(installed: Path, fresh_python: Run) -> None:
    files = fresh_python(PRINT_FILES, python=installed, path=None).stdout.split()
    assert len(files) == 3
    assert all(file.startswith(str(installed.parents[1])) for file in files), files


def test_selftest_of_the_installed_wheel(installed: Path) -> None:
    """What a user runs first: real weights, encode, decode, known answers, far from the tree."""
    run(installed.parent / "gancodec", "selftest", cwd="/")


def test_editable_install(source: Path, tmp_path: Path, fresh_python: Run) -> None:
    copy = shutil.copytree(source, tmp_path / "source", symlinks=True)
    python = make_environment(tmp_path / "editable", "--no-build-isolation", "--editable", copy)
    for cwd in ("/", copy):  # from the root of the tree the current directory comes first
        files = fresh_python(PRINT_FILES, python=python, path=None, cwd=cwd).stdout.split()
        assert len(files) == 3
        assert all(file.startswith(str(copy)) for file in files), files


def test_source_tree_runs_without_installation(tmp_path: Path, fresh_python: Run) -> None:
    python = make_environment(tmp_path / "bare")
    absent = fresh_python("import gancodec", python=python, path=None, check=False)
    assert "No module named 'gancodec'" in absent.stderr, "the environment is not a clean one"
    files = fresh_python(PRINT_FILES, python=python, path=".", cwd=ROOT).stdout.split()
    assert [Path(file).resolve().parent for file in files] == [
        ROOT / "gancodec",
        ROOT / "eval",
        ROOT / "bitstream",
    ]
