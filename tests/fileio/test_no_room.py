"""Disks that fill up, folders that take nothing, Ctrl-C: a sentence, and no file under its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gancodec

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits and signals differ there")

ROOT = str(Path(gancodec.__file__).parents[1])

# A file may have so many bytes, as on a disk that is nearly full; the signal is turned into EFBIG.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from gancodec import cli
sys.exit(cli.main(sys.argv[2:]))
"""


def run(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["gvc", "mkv", "y4m"])
def test_a_disk_that_fills_up_on_the_way(mp4: Path, gvc: Path, tmp_path: Path, kind: str) -> None:
    target = tmp_path / f"out.{kind}"
    room = 3000
    words: list[object] = ["decode", gvc, target]
    if kind == "gvc":
        words = ["encode", mp4, target, "-q", 30, "--gop", 6, "--model", "tiny.v0"]
    done = run(LIMITED, room, *words, "--jobs", 1)
    assert done.returncode == 2, done.stderr
    assert "file too large" in done.stderr.splitlines()[-1].lower()
    assert "Traceback" not in done.stderr
    left = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    # What an encode has so far is kept, for --resume; nothing stands under the final name.
    assert set(left) <= ({"out.gvc.part"} if kind == "gvc" else set())
    assert all(size <= room for size in left.values())


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="a folder where not even root writes"
)
def test_a_folder_that_takes_nothing(mp4: Path, gvc: Path, kit: Any) -> None:
    target = "/proc/self/fd/out"
    with pytest.raises(gancodec.InputError, match=r"cannot write /proc.*"):
        gancodec.encode(mp4, f"{target}.gvc", **kit.fast)
    for kind in ("mkv", "y4m", "png"):
        with pytest.raises(gancodec.InputError, match=r"cannot write"):
            gancodec.decode(gvc, f"{target}.{kind}", jobs=1)


INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have told us to ignore it
from gancodec import cli, cli_commands
class Line:
    elapsed_seconds = 0.0
    def __init__(self, quiet=False): pass
    def clear(self): pass
    def __call__(self, step):
        if step.frames >= 6:
            os.kill(os.getpid(), signal.SIGINT)
cli_commands.ProgressLine = Line
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_ctrl_c_in_the_middle(mp4: Path, gvc: Path, tmp_path: Path, command: str) -> None:
    target = tmp_path / ("out.gvc" if command == "encode" else "out.mkv")
    words: list[object] = ["encode", mp4, target, "-q", 30, "--gop", 6, "--model", "tiny.v0"]
    if command == "decode":
        words = ["decode", gvc, target]
    done = run(INTERRUPTED, *words, "--jobs", 1)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    left = [path.name for path in tmp_path.iterdir()]
    assert left == (["out.gvc.part"] if command == "encode" else [])
