"""Temporal metrics against motion that is known and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gancodec.errors import UsageError
from gancodec.eval import flow
from gancodec.eval.metric import Context, Metric, Values
from gancodec.eval.metrics import select_metrics
from gancodec.eval.remembered import Remembered
from gancodec.types import FrameBatch, Plane
from gancodec.video.synth import clip_info, moving_texture, noisy_pan, scene_cut, still

ROUNDING = 1 / 6  # mean square difference of two roundings to 8 bits, in levels^2


def metric(name: str) -> Metric:
    (found,) = select_metrics(name)
    return found


def with_luma(batch: FrameBatch, y: Plane) -> FrameBatch:
    return FrameBatch(y, batch.u, batch.v, batch.pts)


def brighter(batch: FrameBatch, levels: list[int]) -> FrameBatch:
    """Frame n brighter by levels[n], which must not clip."""
    y = batch.y.astype(np.int64) + np.array(levels)[:, None, None]
    assert y.min() >= 0
    assert y.max() <= 255
    return with_luma(batch, y.astype(np.uint8))


def measure_in_chunks(m: Metric, a: FrameBatch, b: FrameBatch, size: int) -> Values:
    meter = m.start(Context(clip_info(a)))
    for n in range(0, len(a), size):
        meter.add(a[n : n + size], b[n : n + size])
    return meter.finish()


@pytest.mark.parametrize(
    ("width", "height", "velocity"),
    [
        (160, 96, (19, 7)),  # in 1/16 samples
        (160, 96, (-96, 32)),
        (480, 400, (100, -60)),  # where the flow is found on half the picture
        (34, 17, (16, 0)),
    ],
)
def test_motion_of_a_pan(width: int, height: int, velocity: tuple[int, int]) -> None:
    clip = moving_texture(width, height, 2, velocity=velocity)
    motion = flow.find_motion(clip.y[0], clip.y[1])
    rows, columns = (np.median(motion.flow.astype(np.float64), axis=(1, 2)) * 16).tolist()
    assert columns == pytest.approx(velocity[0], abs=2)
    assert rows == pytest.approx(velocity[1], abs=2)
    assert motion.visible.mean() > 0.6  # what comes in from outside is not
    moved = flow.warp(clip.y[0], motion)
    errors = np.abs(moved - clip.y[1])[motion.visible]
    assert np.median(errors) <= 1.5  # the pan itself rounds
    assert np.median(np.abs(clip.y[0].astype(int) - clip.y[1])) > np.median(errors)


def test_what_comes_from_outside_is_not_visible() -> None:
    clip = moving_texture(160, 96, 2, velocity=(160, 0))
    visible = flow.find_motion(clip.y[0], clip.y[1]).visible
    assert not visible[:, -10:].any()
    assert visible[16:-16, 16:-32].mean() > 0.9


def test_one_motion_serves_all_codecs() -> None:
    clip = moving_texture(64, 48, 2, seed=5)
    first = flow.find_motion(clip.y[0], clip.y[1])
    assert flow.find_motion(clip.y[0].copy(), clip.y[1].copy()) is first
    assert flow.find_motion(clip.y[1], clip.y[0]) is not first
    assert flow.find_motion(clip.y[0].T, clip.y[1].T) is not first  # other pictures, same bytes


def test_memory_of_what_is_remembered_is_bounded() -> None:
    remembered = Remembered[int](2, lambda value: 1)
    asked: list[bytes] = []

    def compute(key: bytes) -> int:
        asked.append(key)
        return len(asked)

    for key in (b"a", b"b", b"a", b"c", b"a", b"b"):
        remembered.get(key, lambda key=key: compute(key))
    assert asked == [b"a", b"b", b"c", b"b"]  # b was the one used longest ago
    assert Remembered[int](0, lambda value: 9).get(b"a", lambda: 7) == 7


def test_warping_error_of_a_known_flash() -> None:
    clip = still(64, 48, 4, seed=1)
    decoded = brighter(clip, [0, 0, 9, 0])
    values = metric("warp-error").measure(clip, decoded)
    assert values == pytest.approx([0, 81 / 255**2 * 1000, 81 / 255**2 * 1000], abs=1e-6)
    ratio = metric("warp-error-ratio").measure(clip, decoded)
    assert ratio == pytest.approx([1, 81 / ROUNDING + 1, 81 / ROUNDING + 1], rel=1e-4)


def test_warping_error_follows_the_motion_of_the_source() -> None:
    clip = moving_texture(96, 64, 4, velocity=(64, 32))
    value = {
        name: metric("warp-error").measure(clip, decoded).mean()
        for name, decoded in {
            "source": clip,
            "shifted": brighter(with_luma(clip, clip.y - np.uint8(9)), [3] * 4),
            "frozen": with_luma(clip, np.repeat(clip.y[:1], 4, axis=0)),
            "flashing": brighter(with_luma(clip, clip.y - np.uint8(9)), [0, 5, 0, 5]),
        }.items()
    }
    assert value["shifted"] == pytest.approx(value["source"])  # steady, and wrong all the same
    assert value["frozen"] > 20 * value["source"]  # steady only if one forgets that things move
    flash = 25 / 255**2 * 1000
    assert value["flashing"] == pytest.approx(value["source"] + flash, rel=0.05)


def test_flicker_of_a_known_flash() -> None:
    clip = still(64, 48, 5, seed=1)
    values = metric("flicker").measure(clip, brighter(clip, [0, 0, 4, 4, 2]))
    expected = [(energy + ROUNDING) / ROUNDING for energy in (0, 16, 0, 4)]
    assert values == pytest.approx(expected)


def test_flicker_counts_only_where_the_source_is_still() -> None:
    clip = still(64, 48, 6, seed=2)
    moving = moving_texture(32, 48, 6, seed=3, velocity=(80, 0))
    half = clip.y.copy()
    half[:, :, 32:] = moving.y
    source = with_luma(clip, half)
    shaking, noise = half.copy(), np.random.default_rng(0).integers(0, 16, (6, 48, 24))
    shaking[:, :, 40:] = np.minimum(shaking[:, :, 40:], 235) + noise.astype(np.uint8)
    flicker = metric("flicker")
    assert flicker.measure(source, with_luma(clip, shaking)).mean() == pytest.approx(1, rel=0.3)
    shaking[:, :, :24] = np.minimum(half[:, :, :24], 235) + noise.astype(np.uint8)
    assert flicker.measure(source, with_luma(clip, shaking)).mean() > 20


@pytest.mark.parametrize("name", ["warp-error-ratio", "flicker"])
def test_the_source_is_as_steady_as_itself(name: str) -> None:
    noisy = noisy_pan(96, 64, 4, noise=3)
    for clip in (still(64, 48, 3), with_luma(noisy, noisy.y // 4 * 2 + 40)):
        assert metric(name).measure(clip, clip).mean() == pytest.approx(1)


@pytest.mark.parametrize("name", ["warp-error", "warp-error-ratio", "flicker"])
@pytest.mark.parametrize("size", [1, 3])
def test_pieces_of_a_clip_give_the_same_values(name: str, size: int) -> None:
    clip = moving_texture(64, 48, 8, velocity=(3, 0))
    decoded = brighter(with_luma(clip, clip.y // 2), [0, 2, 1, 5, 0, 9, 2, 0])
    whole = metric(name).measure(clip, decoded)
    assert whole.shape == (7,)
    assert len(set(whole.tolist())) > 3
    np.testing.assert_array_equal(
        measure_in_chunks(metric(name), clip, decoded, size), whole, strict=True
    )


@pytest.mark.parametrize("name", ["warp-error", "warp-error-ratio", "flicker"])
def test_a_scene_cut_does_not_count(name: str) -> None:
    clip = scene_cut(96, 64, 6, cut_at=3)
    # Half the contrast still cuts, and half the steps of a slow pan leave something that is still.
    decoded = brighter(with_luma(clip, clip.y // 2), [0, 3, 0, 60, 63, 60])
    values = metric(name).measure(clip, decoded)
    others = np.delete(values, 2)
    assert values[2] == pytest.approx(others.mean())
    assert values.max() <= others.max()


@pytest.mark.parametrize("name", ["warp-error", "flicker"])
def test_nothing_to_judge_by_is_told(name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64)).astype(np.uint8)
    clip = with_luma(still(64, 48, 3), noise)
    with pytest.raises(UsageError, match=f"{name} finds nothing .* 2 pairs"):
        metric(name).measure(clip, clip)
    assert metric(name).measure(clip[:1], clip[:1]).shape == (0,)
