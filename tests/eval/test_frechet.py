"""Frechet distances against SciPy, closed forms, and damage that they have to see."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scipy.linalg import sqrtm
from skimage import data

from gancodec.errors import UsageError
from gancodec.eval import inception, patches, randomnet
from gancodec.eval.clips import Clip
from gancodec.eval.frechet import Moments, cut_patches, frechet_distance, standardised_distance
from gancodec.eval.metric import Context, Metric
from gancodec.eval.metrics import find_metric, select_metrics
from gancodec.eval.null_ladder import FLOOR, format_ladder, null_ladder
from gancodec.eval.rgb import Picture
from gancodec.types import Color, FrameBatch
from gancodec.video.color import rgb_to_yuv420, yuv420_to_rgb
from gancodec.video.synth import clip_info, moving_texture


def moments_of(vectors: np.ndarray) -> Moments:
    moments = Moments()
    moments.add(vectors)
    return moments


def pan(photo: Picture, step: tuple[int, int], frames: int, width: int, height: int) -> FrameBatch:
    """A view that moves over a photo by (columns, rows) a frame: sharp, and real detail."""
    photo = np.stack([photo] * 3, -1) if photo.ndim == 2 else photo
    views = np.stack(
        [
            photo[y : y + height, x : x + width]
            for x, y in ((step[0] * n, step[1] * n) for n in range(frames))
        ]
    )
    return FrameBatch(*rgb_to_yuv420(views), np.arange(frames, dtype=np.int64))


def with_luma(clip: FrameBatch, y: np.ndarray) -> FrameBatch:
    return FrameBatch(np.clip(np.rint(y), 0, 255).astype(np.uint8), clip.u, clip.v, clip.pts)


def blurred(clip: FrameBatch, times: int) -> FrameBatch:
    y = clip.y.astype(np.float64)
    for _ in range(times):
        for axis in (1, 2):
            y = (np.roll(y, 1, axis) + 2 * y + np.roll(y, -1, axis)) / 4
    return with_luma(clip, y)


def noisy(clip: FrameBatch, sigma: float) -> FrameBatch:
    noise = np.random.default_rng(0).normal(0, sigma, clip.y.shape)
    return with_luma(clip, clip.y + noise)


def value(metric: Metric, a: FrameBatch, b: FrameBatch) -> float:
    (found,) = metric.measure(a, b)
    return float(found)


# ── The distance ─────────────────────────────────────────────────────────────────────────────


def test_distance_equals_the_formula_with_a_matrix_root() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(200, 9)), rng.normal(size=(150, 9)) @ rng.normal(size=(9, 9)) + 1
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(
        cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real
    )
    assert frechet_distance(a.mean(0), cov_a, b.mean(0), cov_b) == pytest.approx(expected)
    assert frechet_distance(b.mean(0), cov_b, a.mean(0), cov_a) == pytest.approx(expected)


def test_distance_of_independent_features_is_a_sum() -> None:
    mean_a, mean_b = np.array([1.0, 2.0]), np.array([4.0, 2.0])
    found = frechet_distance(mean_a, np.diag([4.0, 0.0]), mean_b, np.diag([1.0, 9.0]))
    assert found == pytest.approx(3**2 + (2 - 1) ** 2 + (0 - 3) ** 2)


def test_fewer_samples_than_features_are_no_trouble() -> None:
    few = np.random.default_rng(2).normal(size=(5, 40)) * 100
    mean, cov = few.mean(0), np.cov(few.T)
    assert frechet_distance(mean, cov, mean, cov) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(mean, cov, mean + 1, cov) == pytest.approx(40, abs=1e-6)


def test_moments_of_uneven_groups() -> None:
    vectors = np.random.default_rng(3).normal(size=(50, 4)) * [1, 10, 100, 1000] + 1e4
    moments = Moments()
    for group in np.split(vectors, [1, 2, 30]):
        moments.add(group)
    assert moments.count == 50
    np.testing.assert_allclose(moments.mean, vectors.mean(0))
    np.testing.assert_allclose(moments.covariance, np.cov(vectors.T))


def test_a_feature_that_hardly_varies_does_not_rule() -> None:
    a = np.random.default_rng(4).normal(size=(400, 3))
    a = (a - a.mean(0)) / a.std(0, ddof=1) * [2, 2, 1e-7]
    moved = a + np.array([2, 0, 0.5])
    # One deviation of the first feature; one of the third, which counts as 0.25 * 2.
    assert standardised_distance(moments_of(a), moments_of(moved)) == pytest.approx(1 + 1)


# ── Clips ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["fd-patch", "fd-a", "fd-m"])
def test_pieces_of_a_clip_give_the_same_value(name: str) -> None:
    clip = pan(data.astronaut(), (3, 2), 25, 96, 64)
    worse = blurred(clip, 2)
    (metric,) = select_metrics(name)
    whole = value(metric, clip, worse)
    assert whole > 0.1
    assert value(metric, clip, clip) == pytest.approx(0, abs=1e-4)
    for size in (1, 3):
        meter = metric.start(Context(clip_info(clip)))
        for n in range(0, len(clip), size):
            meter.add(clip[n : n + size], worse[n : n + size])
        assert meter.finish().tolist() == [whole]


@pytest.mark.parametrize("name", ["fd-patch", "fd-a", "fd-m"])
def test_more_damage_is_farther(name: str) -> None:
    clip = pan(data.astronaut(), (4, 2), 16, 160, 128)
    (metric,) = select_metrics(name)
    for damage in (
        [blurred(clip, times) for times in (0, 1, 3, 9)],
        [noisy(clip, sigma) for sigma in (0, 4, 12, 36)],
    ):
        values = [value(metric, clip, worse) for worse in damage]
        assert values == sorted(values)
        assert values[1] > 100 * values[0]
        assert values[3] > 3 * values[1]


def test_motion_is_seen_by_the_distances_of_motion() -> None:
    clip = pan(data.astronaut(), (4, 2), 24, 160, 128)
    mixed = np.random.default_rng(0).permutation(24)
    shuffled = FrameBatch(clip.y[mixed], clip.u[mixed], clip.v[mixed], clip.pts)
    assert value(find_metric("fd-patch"), clip, shuffled) == pytest.approx(0, abs=1e-6)
    blur = blurred(clip, 2)
    for name, share in (("fd-a", 1), ("fd-m", 3)):
        metric = find_metric(name)
        assert value(metric, clip, shuffled) > share * value(metric, clip, blur)


def test_patches_of_the_same_kind_are_nearer_than_blurred_ones() -> None:
    grass = np.stack([data.grass()] * 3, -1)
    left, right = (
        patches.extract_features(grass[:, half]).double().numpy()
        for half in (slice(0, 256), slice(256, 512))
    )
    assert left.shape == (15 * 7, patches.FEATURES)
    soft = torch.nn.functional.avg_pool2d(
        torch.from_numpy(grass).permute(2, 0, 1).float(), 3, stride=1, padding=1
    )
    soft_left = patches.extract_features(
        soft.permute(1, 2, 0).round().byte().numpy()[:, :256].copy()
    )
    same, blur = (
        frechet_distance(left.mean(0), np.cov(left.T), other.mean(0), np.cov(other.T))
        for other in (right, soft_left.double().numpy())
    )
    assert blur > 3 * same


@pytest.mark.parametrize("name", ["fd-a", "fd-m"])
def test_too_few_frames_or_windows_are_told(name: str) -> None:
    metric = find_metric(name)
    short = moving_texture(64, 64, 15)
    with pytest.raises(UsageError, match=f"{name} needs at least 16 frames, this clip has 15"):
        metric.measure(short, short)
    small = moving_texture(33, 32, 16)
    with pytest.raises(UsageError, match="one sample only"):
        metric.measure(small, small)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gancodec.eval.patches")
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(UsageError, match=r"fd-patch needs .*pip install gancodec\[eval\]"):
        select_metrics("fd-patch")


# ── The random net ───────────────────────────────────────────────────────────────────────────


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [tuple(w.shape[:2]) for w in randomnet.load_weights()] == [(32, 3), (64, 32), (96, 64)]
    monkeypatch.setattr(randomnet, "_SEED", 1)
    with pytest.raises(UsageError, match="random net"):
        randomnet.load_weights.__wrapped__()


def test_windows_tile_the_picture_and_overlap_in_time() -> None:
    clip = yuv420_to_rgb(moving_texture(416, 240, 32), Color())
    cutter = randomnet.WindowCutter()
    cut = {n: cutter.push(picture) for n, picture in enumerate(clip)}
    found = {n: windows for n, windows in cut.items() if windows is not None}
    assert list(found) == [15, 23, 31]
    assert sum(map(len, found.values())) == 273
    assert randomnet.grid_of(240, 416) == (7, 13)
    assert randomnet.grid_of(2160, 4096) == (16, 24)
    np.testing.assert_array_equal(found[23][0], clip[8:24, :32, :32])
    np.testing.assert_array_equal(found[23][-1], clip[8:24, -32:, -32:])


def test_features_are_statistics_of_convolutions() -> None:
    windows = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 32, 3)).astype(np.uint8)
    found = randomnet.extract_features(windows, "frames")
    assert found.shape == (2, randomnet.FEATURES)
    # The first layer once more, in float64 and as a sum over the kernel's places.
    weight = randomnet.load_weights()[0].double().numpy()
    x = np.pad(windows[1] / 127.5 - 1, ((1, 1), (1, 1), (1, 1), (0, 0)))
    y = sum(
        x[t : t + 16, r : r + 32 : 2, c : c + 32 : 2] @ weight[:, :, t, r, c].T
        for t, r, c in np.ndindex(3, 3, 3)
    )
    y = np.maximum(y, 0).reshape(16, 256, 32)
    expected = [y.mean((0, 1)), y.std((0, 1), ddof=1), y.mean(1).std(0, ddof=1)]
    np.testing.assert_allclose(found[1, :96], np.concatenate(expected), rtol=1e-3, atol=1e-4)


def test_what_stands_still_has_no_features_of_motion() -> None:
    one = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32, 3)).astype(np.uint8)
    assert not randomnet.extract_features(np.repeat(one, 16, axis=1), "motion").any()


def test_the_ladder_of_nulls() -> None:
    """Whatever is damaged is farther than the floor in one of the two distances, and clearly."""
    photos = (data.astronaut(), data.grass(), data.camera(), data.gravel())
    steps = ((5, 2), (3, 1), (4, 3), (2, 5))
    clips = []
    for photo, step in zip(photos, steps, strict=True):
        batch = pan(photo, step, 16, 224, 160)
        clips.append(Clip("pan", clip_info(batch), batch))
    rungs = null_ladder(clips)
    floor = rungs.pop(FLOOR)
    assert len(rungs) == 7
    for name, rung in rungs.items():
        assert max(rung.fd_a / floor.fd_a, rung.fd_m / floor.fd_m) > 1.7, (name, rung, floor)
    for name in ("frames shuffled", "first frame held", "mean frame held", "white noise"):
        assert rungs[name].fd_m > 20 * floor.fd_m
        assert rungs[name].fd_a > 3 * floor.fd_a
    assert format_ladder({FLOOR: floor, **rungs}).count("\n") == 8
    short = pan(data.camera(), (1, 1), 15, 64, 64)
    with pytest.raises(UsageError, match="15 frames"):
        null_ladder([Clip("short", clip_info(short), short)])


# ── Inception ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def fid_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the right shapes, drawn at random."""
    bits = np.random.PCG64(7)
    tensors = {}
    for name, shape in inception.weight_shapes().items():
        drawn = (bits.random_raw(int(np.prod(shape))) >> np.uint64(40)) / 2**23 - 1
        if name.endswith("conv.weight"):
            drawn *= np.sqrt(6 / np.prod(shape[1:]))
        elif name.endswith(("bn.weight", "running_var")):
            drawn = 1 + drawn / 2
        tensors[name] = drawn.astype(np.float32).reshape(shape)
    path = tmp_path_factory.mktemp("fid") / "fid.safetensors"
    save_file(tensors, path)
    return path


def test_inception_gives_what_it_gave_beside_torchvision(fid_weights: Path) -> None:
    """Its features were equal to those of torchvision's blocks, with pytorch-fid's pools in them;
    these are from then."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (n, 64, 3)).astype(np.uint8) for n in (64, 40)]
    found = inception.extract_features(inception.load_weights(fid_weights), pictures)
    assert found.shape == (2, inception.FEATURES)
    then = [1.83328, 7.03784, 13.28742, 28.32302, 11.92037]
    assert found[0, [0, 400, 1300, 1800, 2047]].tolist() == pytest.approx(then, rel=1e-3)


def test_patches_lie_side_by_side_and_half_a_patch_on() -> None:
    picture = np.arange(480 * 720 * 3).reshape(480, 720, 3).astype(np.uint8)
    found = cut_patches(picture)
    at = [(0, 0), (0, 256), (128, 128), (128, 384)]
    assert len(found) == len(at)
    for patch, (y, x) in zip(found, at, strict=True):
        np.testing.assert_array_equal(patch, picture[y : y + 256, x : x + 256])
    assert [patch.shape for patch in cut_patches(picture[:100, :130])] == [(100, 100, 3)]


def test_fid(fid_weights: Path) -> None:
    metric = find_metric("fid")
    clip = pan(data.astronaut(), (9, 5), 2, 128, 64)
    worse = blurred(clip, 4)
    context = Context(clip_info(clip), {"fid": fid_weights})
    assert metric.measure(clip, clip, context) == pytest.approx([0], abs=1e-3)
    # The trace of the root is the nuclear norm of the product of the centred features.
    weights = inception.load_weights(fid_weights)
    a, b = (
        np.concatenate(
            [
                inception.extract_features(weights, cut_patches(picture)).double().numpy()
                for picture in yuv420_to_rgb(c, context.info.color)
            ]
        )
        for c in (clip, worse)
    )
    assert len(a) == 4  # 2 frames of 2 patches
    x, y = (f - f.mean(0) for f in (a, b))
    overlap = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    spread = np.square(x).sum() + np.square(y).sum() - 2 * overlap
    expected = np.square(a.mean(0) - b.mean(0)).sum() + spread / 3
    assert metric.measure(clip, worse, context) == pytest.approx([expected], rel=1e-4)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "is no safetensors file"),
        (lambda path: path.write_bytes(b"\x80\x02pickle"), "is no safetensors file"),
        (lambda path: save_file({"a": np.zeros(1)}, path), "Conv2d_1a_3x3.conv.weight"),
    ],
)
def test_fid_without_its_weights(
    make: Callable[[Path], None], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--weights fid=FILE"):
        select_metrics("fid")
    make(tmp_path / "fid.safetensors")
    with pytest.raises(UsageError, match=complaint):
        select_metrics("fid", {"fid": tmp_path / "fid.safetensors"})
