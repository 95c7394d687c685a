"""Plots of training: what a stage logged is what is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "training_curves.py"


@pytest.fixture(scope="module")
def curves(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(SCRIPT)


def test_every_logged_number_is_drawn(curves: ModuleType, tmp_path: Path) -> None:
    journal, plot = tmp_path / "joint.jsonl", tmp_path / "joint.svg"
    lines = [
        {"step": 20 * k, "loss": 1 / (k + 1), "psnr_y": 30 + k / 10, "norm": 1.0} for k in range(40)
    ]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert curves.main([str(journal), str(plot)]) == 0
    drawn = plot.read_text()
    assert "loss" in drawn
    assert "psnr y" in drawn
    assert "norm" not in drawn
    again = tmp_path / "again.svg"
    assert curves.main([str(journal), str(again)]) == 0
    assert again.read_bytes() == plot.read_bytes()


def test_a_single_outlier_does_not_move_the_line(curves: ModuleType) -> None:
    values = np.ones(60)
    values[30] = 1000
    assert curves.smooth(values).max() == 1


def test_an_empty_journal_is_said(
    curves: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.jsonl").write_text("")
    assert curves.main([str(tmp_path / "x.jsonl"), str(tmp_path / "x.svg")]) == 2
    assert "empty" in capsys.readouterr().err
    assert not (tmp_path / "x.svg").exists()
