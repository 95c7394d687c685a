"""The benchmark measures what it says; how fast that is, is no business of a test."""

from __future__ import annotations

import json

import pytest
import torch

from gancodec.bench import BenchReport, _Stopwatch, measure_matmul_gflops, run_bench
from gancodec.config import EncodeOptions
from gancodec.errors import UsageError


@pytest.fixture(scope="module")
def report() -> BenchReport:
    return run_bench((48, 32), 3, preset="fast")


def test_parts_add_up_to_the_whole(report: BenchReport) -> None:
    for speed in (report.encode, report.decode):
        assert speed.ms_per_frame == pytest.approx(1000 / speed.fps)
        assert sum(speed.parts_ms.values()) == pytest.approx(speed.ms_per_frame)
        assert all(ms > 0 for ms in speed.parts_ms.values())
        assert len(speed.parts_ms) >= 3
        assert speed.times_x264 == pytest.approx(speed.fps / speed.x264_fps)


def test_report_says_what_it_ran_on(report: BenchReport) -> None:
    assert (report.width, report.height, report.frames, report.threads) == (48, 32, 3, 1)
    assert report.model == EncodeOptions().model
    assert report.cores >= report.usable_cores >= 1
    text = report.to_text()
    for word in ("GFLOP/s", "1 thread used", "motion search", "detail head", "x264 medium"):
        assert word in text
    assert json.loads(json.dumps(report.to_dict()))["encode"]["fps"] == report.encode.fps


def test_matmul_rate_is_of_this_world() -> None:
    assert 0.01 < measure_matmul_gflops() < 1e6


def test_odd_sizes_are_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="33x17"):
        run_bench((33, 17), 1)


def test_stopwatch_leaves_no_hook_behind() -> None:
    module, stopwatch = torch.nn.Identity(), _Stopwatch("cpu")
    with stopwatch.watching({"part": [module]}):
        module(torch.zeros(1))
    assert not module._forward_hooks
    assert not module._forward_pre_hooks
    parts = stopwatch.parts_ms(1.0, 2)
    assert next(iter(parts)) == "part"
    assert sum(parts.values()) == pytest.approx(500)
