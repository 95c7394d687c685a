"""What a film costs: measured in processes of their own, and drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "scaling.py"


@pytest.fixture(scope="module")
def scaling(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(FILE)


@pytest.fixture
def small_points(scaling: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(scaling, "SIZES", ((64, 48),))
    monkeypatch.setattr(scaling, "SIZE_FRAMES", 2)
    monkeypatch.setattr(scaling, "LENGTHS", ())
    return scaling


def test_memory_is_the_commands_and_not_ours(
    small_points: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A parent of a GiB must not show: the kernel counts it towards what a child was."""
    ballast = bytearray(1 << 30)
    ballast[::4096] = b"x" * len(ballast[::4096])
    plot = tmp_path / "scaling.svg"
    assert small_points.main([str(plot)]) == 0
    assert plot.read_text().rstrip().endswith("</svg>")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["encode", "decode"]
    for row in rows:
        assert 100 < float(row[3]) < 800
        assert float(row[4]) > 0
    assert len(ballast) == 1 << 30


def test_a_command_that_fails_is_told(scaling: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"encode .* fails"):
        scaling.run("encode", str(tmp_path / "none.mkv"), str(tmp_path / "out.gvc"))
