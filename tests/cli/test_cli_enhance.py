"""`gancodec enhance`, `decode --enhance`, `prepare`, and the enhancers that `models` lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gancodec.cli_options import build_parser
from gancodec.cli_values import parse_sigma
from gancodec.enhancer import DEFAULTS
from gancodec.models.degradation import MAX_SIGMA
from gancodec.types import FrameBatch
from gancodec.video.reader import open_video
from gancodec.video.synth import clip_info, moving_texture, noisy_pan, write_test_video

Run = Callable[..., Any]
FRAMES = 6


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, make_enhancer: Callable[..., str]) -> Path:
    """A folder that lists four small enhancers, and folders below it of one each."""
    folder = tmp_path_factory.mktemp("enhancers")
    for task, scale, frames in (("sr", 2, 1), ("sr", 4, 1), ("denoise", 1, 5), ("detail", 1, 3)):
        for place in (folder, folder / f"{task}{scale}"):
            make_enhancer(place, task, scale, frames=frames)
    return folder


def pictures(path: Path) -> FrameBatch:
    with open_video(path) as reader:
        return FrameBatch.concatenate(list(reader.batches(8)))


def test_enhance_sums_up_on_stderr(call: Run, clip: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "large.mkv"
    result = call("enhance", "sr", clip, out, "--model", tiny / "sr2", "--jobs", 1)
    assert (result.code, result.out) == (0, "")
    (line,) = result.err.splitlines()
    assert line.startswith(f"gancodec: enhanced {FRAMES} frames (0.2 s) in ")
    assert line.endswith(", 96x64 by tiny-sr2")
    assert pictures(out).y.shape == (FRAMES, 64, 96)


def test_options_of_enhance_arrive(call: Run, clip: Path, tiny: Path, tmp_path: Path) -> None:
    words = ["-ss", "0.08", "-t", "0.08", "--audio", "none", "--quiet", "--jobs", 1, "-y"]
    result = call("enhance", "sr", clip, tmp_path / "o.mkv", "--scale", 4,
                  "--model", tiny / "sr4", "--strength", 0.5, "--lossless", *words)  # fmt: skip
    assert (result.code, result.out, result.err) == (0, "", "")
    assert pictures(tmp_path / "o.mkv").y.shape == (2, 128, 192)
    strengths = []
    for strength in (0, 0.5, 1):
        out = tmp_path / f"{strength}.y4m"
        words = ["--strength", strength, "--sigma", 20, "--quiet", "--jobs", 1]
        words = ["--model", tiny / "denoise1", *words]
        assert call("enhance", "denoise", "-i", clip, out, *words).code == 0
        strengths.append(out.read_bytes())
    assert len(set(strengths)) == 3


def test_sigma_goes_as_far_as_the_level() -> None:
    assert parse_sigma(f"{MAX_SIGMA:g}") == MAX_SIGMA
    chosen = build_parser().parse_args(["enhance", "denoise", "--sigma", "auto", "a", "b"])
    assert (chosen.task, chosen.sigma, chosen.files) == ("denoise", "auto", ["a", "b"])


def test_decode_and_enhance(call: Run, coded: Path, tiny: Path, tmp_path: Path) -> None:
    plain, detail, large = (tmp_path / f"{name}.y4m" for name in ("plain", "detail", "large"))
    once = ["--quiet", "--jobs", 1]
    assert call("decode", coded, plain, *once).code == 0
    words = ["--enhance", "detail", "--enhancer", tiny / "detail1"]
    assert call("decode", coded, detail, *words, *once).code == 0
    words = ["--enhance", "sr", "--enhancer", tiny / "sr2", "--strength", 0]
    result = call("decode", coded, large, *words, *once)
    assert (result.code, result.err) == (0, "")
    assert pictures(detail).y.shape == pictures(plain).y.shape
    assert (pictures(detail).y != pictures(plain).y).any()
    np.testing.assert_array_equal(pictures(large).pts, pictures(plain).pts)
    assert pictures(large).y.shape == (FRAMES, 64, 96)  # twice unless told
    # the other command takes the same file
    again = tmp_path / "again.y4m"
    assert call("enhance", "detail", coded, again, "--model", tiny / "detail1", *once).code == 0
    assert again.read_bytes() == detail.read_bytes()


@pytest.mark.parametrize("name", ["strength", "scale", "enhancer"])
def test_what_goes_with_enhance_alone(call: Run, coded: Path, tmp_path: Path, name: str) -> None:
    result = call("decode", coded, tmp_path / "o.y4m", f"--{name}", 2 if name == "scale" else 1)
    assert (result.code, list(tmp_path.iterdir())) == (1, [])
    assert f"--{name} is for --enhance" in result.sentence


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["detail", "--scale", 2], 1, "detail keeps the size of pictures"),
        (["detail", "--sigma", 3], 1, "sigma is for denoise"),
        (["sr", "--model", "none-such"], 5, "there is no enhancer 'none-such'"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_what_cannot_be(
    call: Run, clip: Path, tmp_path: Path, words: list[Any], code: int, complaint: str
) -> None:
    result = call("enhance", *words, clip, tmp_path / "o.mkv", "--jobs", 1)
    assert (result.code, list(tmp_path.iterdir())) == (code, [])
    assert complaint in result.sentence


def test_sources_that_cannot_be(call: Run, clip: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mkv"
    options = ["--model", tiny / "sr2", "--jobs", 1]
    small = moving_texture(12, 32, 2)
    path = write_test_video(tmp_path / "small.mkv", small, clip_info(small))
    result = call("enhance", "sr", path, out, *options)
    assert (result.code, "12x32 are too small" in result.sentence) == (1, True)
    result = call("enhance", "sr", tmp_path / "none.mp4", out, *options)
    assert (result.code, "does not exist" in result.sentence) == (2, True)
    result = call("enhance", "sr", clip, out, "--model", tiny / "detail1", "--jobs", 1)
    assert (result.code, "is for detail x1" in result.sentence) == (5, True)
    out.write_bytes(b"before")
    result = call("enhance", "sr", clip, out, *options)
    assert (result.code, "replace it with -y" in result.sentence) == (1, True)
    assert out.read_bytes() == b"before"


def test_models_lists_enhancers(call: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = json.loads((tiny / "manifest.json").read_text())
    manifest["tiny-sr2"]["card"] |= {
        "config": {"task": "sr", "scale": 2},
        "parameters": {"enter": 1_000_000, "leave": 250_000},
        "summary": "large\x1b[2J",
    }
    folder = tiny / "listed"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("GANCODEC_ENHANCERS", str(folder))
    result = call("models")
    assert result.code == 0
    (line,) = [line for line in result.out.splitlines() if line.startswith("tiny-sr2")]
    assert line.split() == ["tiny-sr2", "sr", "2", "1.25", "M", "large\\x1b[2J"]
    assert any(line.startswith("tiny-detail1") for line in result.out.splitlines())
    listed = json.loads(call("models", "--json").out)
    assert listed["tiny-sr2"]["card"]["config"]["scale"] == 2
    assert listed["tiny-sr2"]["default"] is False
    assert {name for name, entry in listed.items() if entry["default"]} - {*DEFAULTS.values()}


def test_prepare(call: Run, tmp_path: Path) -> None:
    from gancodec.train.pairs import Pairs

    batch = noisy_pan(64, 64, 8)
    source = tmp_path / "clips"
    source.mkdir()
    write_test_video(source / "a.mkv", batch, clip_info(batch))
    out = tmp_path / "pairs"
    words = ["prepare", "denoise", source, out, "--size", 32, "--takes", 1, "--jobs", 1]
    result = call(*words)
    assert (result.code, result.out) == (0, ""), result.err
    made = len(Pairs(out))
    assert made > 0
    assert result.err == f"gancodec: prepared {made} pairs in {out}\n"
    info = Pairs(out).info
    assert (info.task, info.scale, info.size) == ("denoise", 1, 32)
    result = call(*words)
    assert (result.code, "holds pairs already" in result.sentence) == (1, True)


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["denoise", "none", "out"], 2, "no videos or pictures"),
        (["sr", "none", "nowhere/out"], 2, "does not exist"),
        (["sr", "none", "out", "--size", 40], 1, "a multiple of 16"),
        (["detail", "none", "out", "--scale", 2], 1, "scale is 2 or 4 for sr"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_what_cannot_be_prepared(
    call: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[Any],
    code: int,
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("prepare", *words)
    assert (result.code, list(tmp_path.iterdir())) == (code, [])
    assert complaint in result.sentence
