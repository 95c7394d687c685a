"""The numbers in the card of the shipped weights, computed again from the weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from gancodec.config import EncodeOptions
from gancodec.eval.bdrate import bd_rate
from gancodec.eval.runner import run
from gancodec.registry import load_model

SUITE = """
name = "headline"
metrics = ["psnr", "st-lpips-vgg"]
anchor = "x264 medium"

[every]
st-lpips-vgg = 4

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


def headline(clip: Path, folder: Path, model: str) -> dict[str, float]:
    """BD-rates against x264 medium by metric, in per cent, from files of a dozen frames."""
    suite = folder / "headline.toml"
    suite.write_text(SUITE.format(clip=clip, model=model))
    records = run(suite, folder / "run", jobs=1).records
    found = {}
    for metric in ("psnr-y", "st-lpips-vgg"):
        mean = bd_rate(records, "x264 medium", "gancodec", metric).rate_summary.mean
        assert mean is not None
        found[f"bd_rate_{metric.replace('-', '_')}_against_x264_medium"] = mean
    return found


def test_the_card_tells_the_truth(bunny_path: Path, tmp_path: Path) -> None:
    """Other builds of x264 and torch move it by a point at the most."""
    model = load_model(EncodeOptions().model)
    for name, value in headline(bunny_path, tmp_path, model.name).items():
        assert value == pytest.approx(model.card["headline"][name], abs=1.0), name
