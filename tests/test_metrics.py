"""Metrics against values worked out by hand, and anchors against what was put in."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest

from gancodec.errors import UsageError
from gancodec.eval.anchors import decode_h264, encode_x264, kbps_of, match_x264
from gancodec.eval.fidelity import PSNR_OF_EQUAL_DB, psnr_of_planes
from gancodec.eval.metrics import METRICS, check_size, select_metrics
from gancodec.types import FrameBatch
from gancodec.video.synth import clip_info, moving_texture, noisy_pan


def shifted(batch: FrameBatch, by: tuple[int, int, int]) -> FrameBatch:
    """The batch with every plane brighter by so many levels, which must not clip."""
    planes = [plane + np.uint8(d) for plane, d in zip((batch.y, batch.u, batch.v), by, strict=True)]
    return FrameBatch(planes[0], planes[1], planes[2], batch.pts)


@pytest.fixture(scope="module")
def clip() -> FrameBatch:
    """Three small frames with head room, so that brightening them clips nothing."""
    batch = moving_texture(48, 34, 3)
    return FrameBatch(batch.y // 2, batch.u // 2, batch.v // 2, batch.pts)


def test_psnr_of_a_known_error(clip: FrameBatch) -> None:
    values = psnr_of_planes(clip.y, shifted(clip, (5, 0, 0)).y)
    assert values == pytest.approx([10 * np.log10(255**2 / 25)] * 3)


def test_psnr_of_equal_planes_is_finite_and_above_all_others(clip: FrameBatch) -> None:
    assert psnr_of_planes(clip.y, clip.y).tolist() == [PSNR_OF_EQUAL_DB] * 3
    big = np.zeros((1, 2160, 3840), np.uint8)
    almost = big.copy()
    almost[0, 0, 0] = 1
    assert psnr_of_planes(big, almost)[0] < PSNR_OF_EQUAL_DB


def test_psnr_yuv_weighs_luma_six_to_one(clip: FrameBatch) -> None:
    by = {m.name: m.measure(clip, shifted(clip, (1, 2, 4)))[0] for m in select_metrics("psnr")}
    assert by["psnr-yuv"] == pytest.approx((6 * by["psnr-y"] + by["psnr-u"] + by["psnr-v"]) / 8)
    assert by["psnr-u"] == pytest.approx(20 * np.log10(255 / 2))


def test_ssim_falls_with_the_error(clip: FrameBatch) -> None:
    (ssim,) = select_metrics("ssim")
    rng = np.random.default_rng(0)
    found = []
    for spread in (0, 4, 16):
        noise = rng.integers(-spread, spread + 1, clip.y.shape)
        y = np.clip(clip.y + noise, 0, 255).astype(np.uint8)
        found.append(ssim.measure(clip, FrameBatch(y, clip.u, clip.v, clip.pts)).mean())
    assert found[0] == pytest.approx(1)
    assert found[0] > found[1] > found[2] > 0


def test_a_missing_package_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_msssim", None)
    with pytest.raises(UsageError, match=r"pytorch-msssim .*pip install gancodec\[eval\]"):
        select_metrics("ms-ssim")


def test_names() -> None:
    assert [m.name for m in select_metrics(" PSNR-Y,ssim,psnr-y")] == ["psnr-y", "ssim"]
    assert len({m.name for m in METRICS}) == len(METRICS)
    for wrong in ("psn", "ms", "", ","):
        with pytest.raises(UsageError, match="metric"):
            select_metrics(wrong)


def test_worst_frame_follows_the_direction() -> None:
    (psnr,) = select_metrics("psnr-y")
    assert psnr.higher_is_better
    assert psnr.worst(np.array([30.0, 20.0, 40.0])) == 1


def test_too_small_pictures_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 11"):
        check_size(select_metrics("ssim"), 64, 10)
    check_size(select_metrics("psnr"), 1, 1)


def test_x264_gives_every_frame_back_in_order() -> None:
    clip = moving_texture(64, 48, 12, velocity=(40, 0))
    data = encode_x264(clip, clip_info(clip), 4.0, threads=1)
    assert b"x264" not in data  # its note about settings does not count
    decoded = decode_h264(data, threads=1)
    assert len(decoded) == len(clip)
    assert psnr_of_planes(clip.y, decoded.y).min() > 40  # a swapped frame would have 20


def test_x264_meets_a_size() -> None:
    clip = noisy_pan(96, 64, 10)
    info = clip_info(clip)
    goal = len(encode_x264(clip, info, 33.3, threads=1))
    found = match_x264(clip, info, goal, threads=1)
    assert abs(len(found.data) - goal) <= 0.03 * goal
    assert len(match_x264(clip, info, 1, threads=1).data) < goal  # as near as x264 can come


def test_x264_refuses_odd_sizes() -> None:
    clip = moving_texture(33, 17, 1)
    with pytest.raises(UsageError, match="33x17"):
        encode_x264(clip, clip_info(clip), 23)


def test_kbps() -> None:
    assert kbps_of(1000, Fraction(2)) == 4.0
