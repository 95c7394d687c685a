"""The number in the card of the shipped weights, computed again from the weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from gancodec.config import EncodeOptions
from gancodec.eval.bdrate import bd_rate
from gancodec.eval.runner import run
from gancodec.registry import load_model

SUITE = """
name = "headline"
metrics = ["psnr"]
anchor = "x264 medium"

[[clip]]
path = "{clip}"
frames = 12
scale = "320x-2"

[[codec]]
name = "gancodec"
kind = "gvc"
model = "{model}"
qualities = [10, 25, 40, 55]
gop = 32
decode = [{{ realism = 0 }}]

[[codec]]
name = "x264 medium"
kind = "x264"
qualities = [24, 30, 36, 42, 48]
"""


def headline(clip: Path, folder: Path, model: str) -> float:
    """BD-rate by PSNR-Y against x264 medium, in per cent, from files of a dozen frames."""
    suite = folder / "headline.toml"
    suite.write_text(SUITE.format(clip=clip, model=model))
    summary = run(suite, folder / "run", jobs=1)
    table = bd_rate(summary.records, anchor="x264 medium", test="gancodec", metric="psnr-y")
    mean = table.rate_summary.mean
    assert mean is not None
    return mean


def test_the_card_tells_the_truth(bunny_path: Path, tmp_path: Path) -> None:
    """Other builds of x264 and torch move it by a point at the most."""
    model = load_model(EncodeOptions().model)
    assert headline(bunny_path, tmp_path, model.name) == pytest.approx(
        model.card["headline"]["bd_rate_psnr_y_against_x264_medium"], abs=1.0
    )
