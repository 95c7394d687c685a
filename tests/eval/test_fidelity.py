"""PSNR, XPSNR, SSIM and MS-SSIM against second implementations."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest

from gancodec.errors import UsageError
from gancodec.eval.fidelity import FIDELITY, PSNR_OF_EQUAL_DB
from gancodec.eval.metric import Context, Metric, Values
from gancodec.eval.metrics import check_size, find_metric, select_metrics
from gancodec.types import Color, FrameBatch
from gancodec.video.color import yuv420_to_rgb
from gancodec.video.synth import clip_info, moving_texture

Floats = npt.NDArray[np.float64]


def damaged(clip: FrameBatch, spread: int = 12) -> FrameBatch:
    """The clip under noise that grows from frame to frame, in all planes."""
    rng = np.random.default_rng(1)
    planes = []
    for plane in (clip.y, clip.u, clip.v):
        growing = np.linspace(0.3, 1, len(clip))[:, None, None]
        noise = np.rint(rng.uniform(-spread, spread, plane.shape) * growing)
        planes.append(np.clip(plane + noise, 0, 255).astype(np.uint8))
    return FrameBatch(planes[0], planes[1], planes[2], clip.pts)


def with_luma(clip: FrameBatch, y: npt.NDArray[np.uint8]) -> FrameBatch:
    return FrameBatch(y, clip.u, clip.v, clip.pts)


def in_chunks(metric: Metric, a: FrameBatch, b: FrameBatch, size: int) -> Values:
    meter = metric.start(Context(clip_info(a)))
    for n in range(0, len(a), size):
        meter.add(a[n : n + size], b[n : n + size])
    return meter.finish()


@pytest.fixture(scope="module")
def clip() -> FrameBatch:
    return moving_texture(192, 176, 5, velocity=(40, 16))


@pytest.mark.parametrize("metric", FIDELITY, ids=lambda m: m.name)
def test_chunks_give_what_the_whole_gives(metric: Metric, clip: FrameBatch) -> None:
    other = damaged(clip)
    whole = metric.measure(clip, other)
    assert whole.shape == (5,)
    assert len(set(whole)) == 5
    for size in (1, 3):
        np.testing.assert_array_equal(in_chunks(metric, clip, other, size), whole)


@pytest.mark.parametrize("metric", FIDELITY, ids=lambda m: m.name)
def test_a_meter_that_saw_nothing_gives_nothing(metric: Metric, clip: FrameBatch) -> None:
    assert metric.start(Context(clip_info(clip))).finish().shape == (0,)


@pytest.mark.parametrize("metric", [m for m in FIDELITY if m.samples], ids=lambda m: m.name)
def test_frames_alone_give_what_they_give_among_others(metric: Metric, clip: FrameBatch) -> None:
    other = damaged(clip)
    np.testing.assert_array_equal(
        metric.measure(clip[::2], other[::2]), metric.measure(clip, other)[::2]
    )


@pytest.mark.parametrize("metric", FIDELITY, ids=lambda m: m.name)
def test_worse_pictures_get_worse_values(metric: Metric, clip: FrameBatch) -> None:
    means = [metric.measure(clip, damaged(clip, spread)).mean() for spread in (0, 4, 16, 48)]
    assert means == sorted(means, reverse=metric.higher_is_better)
    assert len(set(means)) == 4


@pytest.mark.parametrize("plane", ["y", "u", "v"])
def test_psnr_agrees_with_scikit_image(plane: str, clip: FrameBatch) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    other = damaged(clip)
    expected = [
        peak_signal_noise_ratio(a, b, data_range=255)
        for a, b in zip(getattr(clip, plane), getattr(other, plane), strict=True)
    ]
    assert find_metric(f"psnr-{plane}").measure(clip, other) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("color", [Color(), Color(matrix=5, full_range=True)])
def test_psnr_rgb_is_of_the_rgb_that_is_shown(color: Color, clip: FrameBatch) -> None:
    from dataclasses import replace

    from skimage.metrics import peak_signal_noise_ratio

    other = damaged(clip)
    expected = [
        peak_signal_noise_ratio(a, b, data_range=255)
        for a, b in zip(yuv420_to_rgb(clip, color), yuv420_to_rgb(other, color), strict=True)
    ]
    context = Context(replace(clip_info(clip), color=color))
    values = find_metric("psnr-rgb").measure(clip, other, context)
    assert values == pytest.approx(expected, abs=1e-9)


def test_psnr_rgb_of_a_hue_that_is_off() -> None:
    grey = np.full((1, 2, 2), 126, np.uint8)
    a = FrameBatch(grey, np.full((1, 1, 1), 128, np.uint8), np.full((1, 1, 1), 128, np.uint8),
                   np.zeros(1, np.int64))  # fmt: skip
    b = FrameBatch(grey, a.u + np.uint8(20), a.v, a.pts)
    # BT.709: blue rises by 2 (1 - 0.0722) x 20 x 255/224 = 42.2, green falls by
    # 0.0722/0.7152 x 42.2 = 4.3 from (126 - 16) 255/219 = 128.08, red stays.
    expected = 10 * np.log10(255**2 / ((42**2 + 4**2) / 3))
    assert find_metric("psnr-rgb").measure(a, b) == pytest.approx([expected])


def test_ssim_agrees_with_a_second_implementation(clip: FrameBatch) -> None:
    """Both take the mean where the whole window lies inside the picture, so no padding counts."""
    import torch
    from pytorch_msssim import ssim

    other = damaged(clip)
    x, y = (torch.from_numpy(c.y.astype(np.float64))[:, None] for c in (clip, other))
    expected = ssim(x, y, data_range=255, size_average=False, nonnegative_ssim=False)
    assert find_metric("ssim").measure(clip, other) == pytest.approx(expected.numpy(), abs=1e-5)


def ms_ssim_by_hand(a: Floats, b: Floats) -> float:
    """Five scales of contrast and structure, luminance at the last, as Wang et al. weigh them."""
    from scipy.signal import convolve2d

    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(line, line) / line.sum() ** 2

    def local(x: Floats) -> Floats:
        means: Floats = convolve2d(x, window, mode="valid")
        return means

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            a, b = (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2] for x in (a, b))
            a, b = a / 4, b / 4
        mean_a, mean_b = local(a), local(b)
        cover = local(a * b) - mean_a * mean_b
        spread = local(a * a) - mean_a**2 + local(b * b) - mean_b**2
        structure = (2 * cover + c2) / (spread + c2)
        if scale == 4:
            structure *= (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        value *= structure.mean() ** weight
    return value


def test_ms_ssim_agrees_with_the_paper_written_out(clip: FrameBatch) -> None:
    other = damaged(clip, 40)  # 192x176: all five scales have even sides, so nothing is padded
    expected = [
        ms_ssim_by_hand(a.astype(np.float64), b.astype(np.float64))
        for a, b in zip(clip.y, other.y, strict=True)
    ]
    assert find_metric("ms-ssim").measure(clip, other) == pytest.approx(expected, abs=1e-5)


# ── XPSNR ────────────────────────────────────────────────────────────────────────────────────


def xpsnr_by_hand(source: Floats, decoded: Floats, fps: int) -> list[float]:
    """Helmrich et al. with the parameters of FFmpeg's filter, for up to 2048x1152 samples."""
    _, height, width = source.shape
    share = height * width / (3840 * 2160)
    block = 4 * int(32 * np.sqrt(share) + 0.5)
    rows, columns = range(0, height, block), range(0, width, block)

    def block_sums(plane: Floats) -> Floats:
        sums: Floats = np.add.reduceat(np.add.reduceat(plane, rows, 0), columns, 1)
        return sums

    inside = np.zeros((height, width))
    inside[1:-1, 1:-1] = 1
    before = [np.zeros((height, width))] * 2
    values = []
    for now, shown in zip(source, decoded, strict=True):
        p = np.pad(now, 1, mode="edge")
        cross = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]
        corners = p[:-2, :-2] + p[:-2, 2:] + p[2:, :-2] + p[2:, 2:]
        detail = np.abs(12 * now - 2 * cross - corners) * inside
        change = now - before[0] if fps < 32 else now - 2 * before[0] + before[1]
        before = [now, before[0]]
        activity = block_sums(detail) / block_sums(inside)
        activity += 2 * block_sums(np.abs(change)) / block_sums(np.ones_like(now))
        weights = 1 / np.maximum(activity, 4)
        if height * width <= 640 * 480:
            limit_to_neighbours(weights)
        weighted = (block_sums((now - shown) ** 2) * weights).sum()
        error = int(weighted * np.sqrt(16 * 128 / np.sqrt(share)) + 0.5)
        values.append(10 * np.log10(height * width * 255**2 / error) if error else np.inf)
    return values


def limit_to_neighbours(weights: Floats) -> None:
    """No block weighs more than the heaviest of those left, right and above."""
    last_column = weights.shape[1] - 1
    for row, column in np.ndindex(*weights.shape):
        near = [0.0]
        if column:
            near.append(weights[row, column - 1])
        if column < last_column:
            near.append(weights[row, column + 1])
        if row:
            near.append(weights[row - 1, column])
        weights[row, column] = min(weights[row, column], max(near))


@pytest.mark.parametrize("fps", [25, 60])
@pytest.mark.parametrize(("width", "height"), [(192, 176), (203, 101), (704, 480)])
def test_xpsnr_agrees_with_the_paper_written_out(width: int, height: int, fps: int) -> None:
    clip = moving_texture(width, height, 4, velocity=(40, 16))
    other = damaged(clip)
    values = find_metric("xpsnr").measure(clip, other, Context(clip_info(clip, fps)))
    expected = xpsnr_by_hand(clip.y.astype(np.float64), other.y.astype(np.float64), fps)
    assert values == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("fps", [25, 60])
def test_xpsnr_agrees_with_the_ffmpeg_program(fps: int, clip: FrameBatch, tmp_path: Path) -> None:
    other = damaged(clip)
    height, width = clip.y.shape[1:]
    inputs = []
    for name, batch in (("source", clip), ("decoded", other)):
        frames = zip(batch.y, batch.u, batch.v, strict=True)
        data = b"".join(plane.tobytes() for frame in frames for plane in frame)
        (tmp_path / f"{name}.yuv").write_bytes(data)
        inputs += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}"]
        inputs += ["-r", str(fps), "-i", f"{name}.yuv"]
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *inputs,
         "-lavfi", "xpsnr=stats_file=values.txt", "-f", "null", "-"],
        cwd=tmp_path, check=True, timeout=60,
    )  # fmt: skip
    expected = re.findall(r"XPSNR y: +([\d.]+)", (tmp_path / "values.txt").read_text())
    values = find_metric("xpsnr").measure(clip, other, Context(clip_info(clip, fps)))
    assert values == pytest.approx([float(v) for v in expected], abs=1e-4)


def test_xpsnr_of_equal_planes_is_finite(clip: FrameBatch) -> None:
    y = damaged(clip).y
    y[2] = clip.y[2]
    values = find_metric("xpsnr").measure(clip, with_luma(clip, y))
    assert values[2] == PSNR_OF_EQUAL_DB
    assert max(values[[0, 1, 3, 4]]) < 60


def test_xpsnr_refuses_what_would_end_the_process() -> None:
    clip = moving_texture(64, 44, 1)
    xpsnr = find_metric("xpsnr")
    with pytest.raises(UsageError, match="at least 45 samples a side, these are 64x44"):
        xpsnr.measure(clip, clip)
    with pytest.raises(UsageError, match="at least 45 samples a side, these are 64x44"):
        check_size([xpsnr], 64, 44)
    least = moving_texture(45, 45, 2)
    assert xpsnr.measure(least, damaged(least, 30)).max() < 60


def test_xpsnr_tells_of_an_ffmpeg_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    select_metrics("xpsnr")
    monkeypatch.setattr(av.filter, "filters_available", {"psnr"})
    with pytest.raises(UsageError, match="the filter xpsnr"):
        select_metrics("xpsnr")
