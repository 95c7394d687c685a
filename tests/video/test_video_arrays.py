"""The parts that are arrays alone: colour, padding, synthetic clips, scene cuts, times, sizes."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import av
import numpy as np
import pytest

from gancodec.errors import UsageError
from gancodec.scene import is_scene_cut
from gancodec.types import Color, FrameBatch
from gancodec.video.color import rgb_to_yuv420, upsample_chroma, yuv420_to_rgb
from gancodec.video.synth import (
    clip_info,
    gradients,
    moving_texture,
    noisy_pan,
    scene_cut,
    still,
    text_edges,
    tone,
)
from gancodec.video.times import exact, parse_rate, parse_time

COLORS = [
    Color(),
    Color(matrix=1, full_range=True),
    Color(matrix=5, chroma_location=2),
    Color(matrix=6),
    Color(matrix=9, chroma_location=3),
    Color(matrix=10, full_range=True, chroma_location=6),
]


def flat(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.array(rgb, np.uint8), (1, 8, 8, 3)).copy()


def batch_of(y, u, v) -> FrameBatch:
    return FrameBatch(y, u, v, np.arange(len(y), dtype=np.int64))


class TestColor:
    @pytest.mark.parametrize(
        ("color", "rgb", "yuv"),
        [
            (Color(), (255, 255, 255), (235, 128, 128)),
            (Color(), (0, 0, 0), (16, 128, 128)),
            (Color(), (255, 0, 0), (63, 102, 240)),
            (Color(matrix=6), (255, 0, 0), (81, 90, 240)),
            (Color(matrix=9), (0, 255, 0), (164, 47, 25)),
            (Color(matrix=6, full_range=True), (255, 0, 0), (76, 85, 255)),
            (Color(matrix=1, full_range=True), (255, 255, 255), (255, 128, 128)),
        ],
    )
    def test_known_values(self, color, rgb, yuv):
        planes = rgb_to_yuv420(flat(rgb), color)
        assert tuple(int(p[0, 2, 2]) for p in planes) == yuv

    @pytest.mark.parametrize("color", COLORS)
    def test_flat_colors_come_back(self, color):
        for rgb in ((200, 30, 90), (12, 220, 140), (128, 128, 128), (255, 255, 0)):
            picture = flat(rgb)
            there = rgb_to_yuv420(picture, color)
            back = yuv420_to_rgb(batch_of(*there), color)
            assert np.abs(back.astype(int) - picture).max() <= 2

    @pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 2), (17, 33), (16, 16)])
    def test_any_size(self, size):
        rng = np.random.default_rng(0)
        rgb = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
        for color in COLORS:
            planes = rgb_to_yuv420(rgb, color)
            assert yuv420_to_rgb(batch_of(*planes), color).shape == rgb.shape

    @pytest.mark.parametrize(
        ("location", "across", "down"),
        [(0, 0, 0.5), (1, 0, 0.5), (2, 0.5, 0.5), (3, 0, 0), (4, 0.5, 0), (5, 0, 1), (6, 0.5, 1)],
    )
    def test_siting(self, location, across, down):
        """A ramp sampled where the chroma samples lie is that ramp again after upsampling."""
        x, y = np.arange(16) * 2 + across, np.arange(12) * 2 + down
        columns = np.broadcast_to(4 * x, (12, 16)).round().astype(np.uint8)
        rows = np.broadcast_to(4 * y[:, None], (12, 16)).round().astype(np.uint8)
        up_columns = upsample_chroma(columns, 24, 32, location)
        up_rows = upsample_chroma(rows, 24, 32, location)
        inside = slice(2, -2)
        np.testing.assert_allclose(
            up_columns[inside, inside], np.broadcast_to(4 * np.arange(32), (24, 32))[inside, inside]
        )
        np.testing.assert_allclose(
            up_rows[inside, inside],
            np.broadcast_to(4 * np.arange(24)[:, None], (24, 32))[inside, inside],
        )

    def test_down_and_up_agree_about_siting(self):
        """A horizontal colour ramp keeps its place: no shift by half a sample."""
        ramp = np.broadcast_to((np.arange(64) * 3).astype(np.uint8), (16, 64))
        rgb = np.stack([ramp, np.full_like(ramp, 100), 255 - ramp], axis=-1)[None]
        for location in range(7):
            color = Color(matrix=1, chroma_location=location)
            back = yuv420_to_rgb(batch_of(*rgb_to_yuv420(rgb, color)), color)
            assert np.abs(back.astype(int) - rgb)[:, 2:-2, 2:-2].mean() < 0.9

    def test_agrees_with_swscale(self):
        clip = moving_texture(64, 48, 1)
        smooth = batch_of(clip.y, clip.u // 4 + 96, clip.v // 4 + 96)
        frame = av.VideoFrame(64, 48, "yuv420p")
        for plane, source in zip(frame.planes, (smooth.y, smooth.u, smooth.v), strict=True):
            np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)[
                :, : plane.width
            ] = source[0]
        theirs = frame.reformat(
            format="rgb24", src_colorspace=1, src_color_range=1, dst_color_range=2
        ).to_ndarray()
        ours = yuv420_to_rgb(smooth, Color(matrix=1))[0]
        assert np.abs(ours.astype(int) - theirs).mean() < 2

    def test_refuses_other_shapes(self):
        with pytest.raises(ValueError, match="rgb is"):
            rgb_to_yuv420(np.zeros((4, 4, 3), np.uint8))


class TestSynth:
    @pytest.mark.parametrize("make", [moving_texture, still, noisy_pan, scene_cut, text_edges])
    @pytest.mark.parametrize("size", [(64, 48), (17, 33), (1, 1)])
    def test_deterministic_and_of_any_size(self, make, size):
        one, two = make(*size, 4, seed=3), make(*size, 4, seed=3)
        np.testing.assert_array_equal(one.y, two.y)
        assert one.y.shape == (4, size[1], size[0])
        assert one.pts.tolist() == [0, 1, 2, 3]
        if size == (64, 48):
            assert (make(*size, 4, seed=4).y != one.y).any()

    def test_the_same_on_every_machine(self):
        digest = hashlib.sha256()
        for batch in (moving_texture(64, 48, 3), noisy_pan(33, 17, 2), gradients(32, 16, 2)):
            for plane in (batch.y, batch.u, batch.v):
                digest.update(plane.tobytes())
        assert digest.hexdigest() == GOLDEN_SYNTH

    def test_moves(self):
        clip = moving_texture(64, 48, 9, velocity=(32, 0))
        np.testing.assert_array_equal(clip.y[0, :, 2:], clip.y[1, :, :-2])
        assert (still(64, 48, 3).y.min(axis=0) == still(64, 48, 3).y.max(axis=0)).all()

    def test_looks_like_something(self):
        assert moving_texture(128, 96, 1).y.std() > 25
        assert gradients(64, 48, 2).y.std() > 25
        assert set(np.unique(text_edges(64, 48, 2).y)) == {16, 235}

    def test_info_and_tone(self):
        info = clip_info(gradients(64, 48, 7), Fraction(30000, 1001))
        assert (info.width, info.height, info.frames) == (64, 48, 7)
        assert info.time_base == Fraction(1001, 30000)
        assert tone(0.5, 8000, 1).shape == (1, 4000)
        assert tone(0.5).dtype == np.float32


GOLDEN_SYNTH = "5bad732c1e45a8bd1b4040ecdaed1330b7ca7022686e3fa000686bfbe8d739bd"


def faded(clip: FrameBatch, frames: int) -> np.ndarray:
    gain = np.linspace(1, 0, frames)[:, None, None]
    return (16 + (clip.y[:frames].astype(float) - 16) * gain).astype(np.uint8)


class TestSceneCut:
    @pytest.mark.parametrize("size", [(160, 120), (416, 240), (352, 288), (108, 192)])
    @pytest.mark.parametrize("seed", range(4))
    def test_hard_cuts(self, size, seed):
        clip = scene_cut(*size, 6, seed=seed, cut_at=3)
        cuts = [is_scene_cut(clip.y[n - 1], clip.y[n]) for n in range(1, 6)]
        assert cuts == [False, False, True, False, False]

    @pytest.mark.parametrize("velocity", [(16, 0), (160, 48), (480, 0), (0, -480), (640, 320)])
    def test_pans(self, velocity):
        clip = moving_texture(416, 240, 5, velocity=velocity)
        assert not any(is_scene_cut(clip.y[n - 1], clip.y[n]) for n in range(1, 5))

    def test_noise(self):
        clip = noisy_pan(416, 240, 4, noise=40)
        assert not any(is_scene_cut(clip.y[n - 1], clip.y[n]) for n in range(1, 4))

    @pytest.mark.parametrize("frames", [8, 16, 40])
    def test_fades(self, frames):
        y = faded(moving_texture(416, 240, frames), frames)
        for clip in (y, y[::-1]):
            assert not any(is_scene_cut(clip[n - 1], clip[n]) for n in range(1, frames))

    def test_titles_and_stills(self):
        for clip in (text_edges(320, 240, 4), still(320, 240, 3), gradients(320, 240, 4)):
            assert not any(is_scene_cut(clip.y[n - 1], clip.y[n]) for n in range(1, len(clip)))

    def test_from_black(self):
        picture = moving_texture(320, 240, 1).y[0]
        assert is_scene_cut(np.full_like(picture, 16), picture)

    @pytest.mark.parametrize("size", [(1, 1), (1, 100), (3, 2), (20, 1)])
    def test_tiny(self, size):
        assert not is_scene_cut(np.zeros(size, np.uint8), np.zeros(size, np.uint8))

    def test_sizes_must_agree(self):
        with pytest.raises(ValueError, match="one size"):
            is_scene_cut(np.zeros((2, 2), np.uint8), np.zeros((2, 4), np.uint8))


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("12.5", Fraction(25, 2)),
            (" 90 ", Fraction(90)),
            ("1:30", Fraction(90)),
            ("1:02:03.25", Fraction(14893, 4)),
            (".5", Fraction(1, 2)),
            ("250ms", Fraction(1, 4)),
            ("7us", Fraction(7, 1_000_000)),
            ("3s", Fraction(3)),
            (0.04, Fraction(1, 25)),
            (3, Fraction(3)),
            (Fraction(1001, 30000), Fraction(1001, 30000)),
        ],
    )
    def test_times(self, text, seconds):
        assert parse_time(text) == seconds

    @pytest.mark.parametrize("bad", ["", "-1", "1:2:3:4", "1:90:3x", "now", "1e3", float("inf")])
    def test_not_times(self, bad):
        with pytest.raises(UsageError, match="time"):
            parse_time(bad)

    @pytest.mark.parametrize(
        ("text", "rate"),
        [("30000/1001", Fraction(30000, 1001)), (25, Fraction(25)), (29.97, Fraction(2997, 100))],
    )
    def test_rates(self, text, rate):
        assert parse_rate(text) == rate

    def test_rationals_of_both_pyav_generations(self):
        class Rational:  # as AVRational of PyAV 19: never None, falsy when unset
            def __init__(self, numerator: int, denominator: int) -> None:
                self.numerator, self.denominator = numerator, denominator

            def __bool__(self) -> bool:
                return bool(self.numerator and self.denominator)

        assert exact(Rational(30000, 1001)) == Fraction(30000, 1001)
        assert exact(Rational(0, 1)) is None
        assert exact(None) is None
        assert exact(Fraction(1, 25)) == Fraction(1, 25)
