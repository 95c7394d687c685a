"""The examples do what they say, from the command line, on a real clip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_evaluate(bikes_path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "evaluate.py", bikes_path, tmp_path],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert "x264 medium" in done.stdout
    assert "deflated" in done.stdout
    assert "<svg" in (tmp_path / "rdp.svg").read_text("utf-8")
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 14
