"""The gates of the GAN decoder: what passes, what does not, and that an untrained head does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from gancodec.config import EncodeOptions
from gancodec.eval.records import Record, Score, to_csv
from gancodec.eval.runner import run
from gancodec.registry import load_model
from gancodec.train.export import freeze, thaw, write_model

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "gates.py"
ANCHORS = ("x264 medium", "x265 medium", "SVT-AV1 preset 6")
SHOWN, FAITHFUL = "gancodec realism 1", "gancodec realism 0"


@pytest.fixture(scope="module")
def gates(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(FILE)


def record(
    codec: str, clip: str, bpp: float, distance: float, quality: int, **scores: float
) -> Record:
    values = {
        "st-lpips-vgg": distance,
        "ssimulacra2": 60 * (1 - distance),
        "fd-patch": 100 * distance,
        "warp-error-ratio": 1.1,
        "flicker": 1 + distance,
        **scores,
    }
    found = {name: Score(value, (value,)) for name, value in values.items()}
    key = f"{codec} {clip} {bpp}"
    return Record(
        key, codec, "test", quality, {}, {}, clip, frames=1, bytes=1, bpp=bpp, scores=found
    )


def records(share: float, **scores: float) -> list[Record]:
    """Two clips; ours takes ``share`` of the bytes that everybody else takes."""
    found = []
    for clip in ("a", "b"):
        for step in range(6):
            bpp = 0.01 * 2**step
            distance = 0.6 - 0.1 * step
            found += [record(codec, clip, bpp, distance, step) for codec in (*ANCHORS, FAITHFUL)]
            own = {**scores} if clip == "b" else {}
            found.append(record(SHOWN, clip, bpp * share, distance, step, **own))
    return found


def failed(module: ModuleType, found: list[Record]) -> list[str]:
    return [gate.name for gate in module.judge(found) if not gate.passed]


def test_a_codec_of_half_the_bytes_and_patches_passes(gates: ModuleType) -> None:
    found = records(0.5)
    for k, r in enumerate(found):
        if r.codec == SHOWN:
            scores = {**r.scores, "fd-patch": Score(50 * r.scores["st-lpips-vgg"].mean, ())}
            found[k] = dataclasses.replace(r, scores=scores)
    assert failed(gates, found) == []
    distances = [g for g in gates.judge(found) if "BD-rate" in g.name]
    assert [round(g.found) for g in distances] == [-50] * 4


def test_each_gate_bites(gates: ModuleType) -> None:
    """A clip out of two is enough, and so is a metric that nobody measured."""
    assert len(failed(gates, records(1.0))) >= 4  # the same as everybody: no BD-rate gate passes
    slow = failed(gates, records(0.5, **{"warp-error-ratio": 9.0}))
    assert "warping error, times the source's" in slow
    assert "flicker, times the faithful output's" in failed(gates, records(0.5, flicker=3.0))
    found = records(0.5)
    cheats = []
    for r in found:
        worse = Score(r.scores["ssimulacra2"].mean - 40, ())
        scores = {**r.scores, "ssimulacra2": worse} if r.codec == SHOWN else r.scores
        cheats.append(dataclasses.replace(r, scores=scores))
    assert "BD-rate % ssimulacra2 / x265 medium" in failed(gates, cheats)
    blind = [
        dataclasses.replace(r, scores={k: v for k, v in r.scores.items() if k != "st-lpips-vgg"})
        if r.clip == "b"
        else r
        for r in found
    ]
    assert sum("st-lpips-vgg" in name for name in failed(gates, blind)) == 6


def test_exported_tables_are_judged_alike(
    gates: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.csv"
    path.write_text(to_csv(records(0.5)))
    assert gates.main([str(path)]) == 1  # patches as everybody's
    table = capsys.readouterr().out
    assert "-50.00" in table
    assert "NO" in next(line for line in table.splitlines() if line.startswith("fd-patch"))
    path.write_text("codec,clip\nx,y\n")
    assert gates.main([str(path)]) != 0
    assert "line 2" in capsys.readouterr().err


SUITE = """
name = "gates"
metrics = ["ssimulacra2", "st-lpips-vgg", "fd-patch", "warp-error-ratio", "flicker"]
anchor = "x265 medium"
[every]
ssimulacra2 = 4
st-lpips-vgg = 4
fd-patch = 2
[[clip]]
path = "{clip}"
frames = 9
scale = "256x-2"
[[codec]]
name = "gancodec"
kind = "gvc"
model = "{model}"
qualities = [0, 15, 30, 45]
decode = [{{ realism = 0 }}, {{ realism = 1 }}]
[[codec]]
name = "x264 medium"
kind = "x264"
qualities = [24, 32, 40, 48]
[[codec]]
name = "x265 medium"
kind = "x265"
qualities = [24, 32, 40, 48]
[[codec]]
name = "SVT-AV1 preset 6"
kind = "svtav1"
qualities = [30, 42, 54, 63]
preset = 6
"""


def test_an_untrained_head_does_not_pass(
    gates: ModuleType, bunny_path: Path, tmp_path: Path
) -> None:
    """The shipped loop under a head that no step has touched but its random start."""
    shipped = load_model(EncodeOptions().model)
    nets = thaw(shipped)
    torch.manual_seed(0)
    for parameter in nets.detail.parameters():
        if parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=0.05)
    model = freeze(nets, "untrained.v1", shipped.tables)
    write_model(model, tmp_path / "model", {})
    suite = tmp_path / "gates.toml"
    suite.write_text(SUITE.format(clip=bunny_path, model=tmp_path / "model"))
    found = run(suite, tmp_path / "run", jobs=1).records
    assert all(record.is_complete for record in found)
    names = failed(gates, found)
    assert "BD-rate % st-lpips-vgg / x265 medium" in names
    assert "BD-rate % ssimulacra2 / x265 medium" in names
    assert len(names) >= 6
    assert gates.main([str(tmp_path / "run")]) == 1
