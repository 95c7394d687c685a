"""Codecs on synthetic clips: all frames back in order, smaller when asked, and read by others."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest

import gancodec
from gancodec.errors import InputError, UsageError
from gancodec.eval.clips import Clip
from gancodec.eval.codecs import build_codec
from gancodec.eval.external import find_ffmpeg
from gancodec.eval.fidelity import psnr_of_planes
from gancodec.eval.libav import decode_frames, encode_packets
from gancodec.types import Color, FrameBatch
from gancodec.video.synth import clip_info, moving_texture
from gancodec.video.writer import open_writer

FRAMES = 12  # enough for pictures that are coded out of order

# kind, settings, its file for FFmpeg, a good and a poor quality
CLASSIC = [
    ("x264", {"preset": "veryfast"}, "h264", 18, 40),
    ("x264", {"tune": "zerolatency"}, "h264", 18, 40),
    ("x265", {"preset": "fast"}, "hevc", 18, 40),
    ("svtav1", {"preset": 10}, "obu", 20, 60),
    ("vp9", {"cpu_used": 5}, "ivf", 20, 60),
]


def clip_of(width: int = 64, height: int = 48, frames: int = FRAMES, **info: Any) -> Clip:
    """A texture that moves by three samples a frame, so that neighbours are far from equal."""
    batch = moving_texture(width, height, frames, velocity=(48, 24))
    return Clip("pan", replace(clip_info(batch, Fraction(30000, 1001)), **info), batch)


def assert_equal(a: FrameBatch, b: FrameBatch) -> None:
    for one, other in zip((a.y, a.u, a.v, a.pts), (b.y, b.u, b.v, b.pts), strict=True):
        np.testing.assert_array_equal(one, other)


def planes_by_ffmpeg(data: bytes, format: str, like: FrameBatch) -> FrameBatch:
    """The frames of a file by another FFmpeg, run as a program."""
    command = [find_ffmpeg("libaom-av1"), "-loglevel", "error", "-f", format, "-i", "pipe:0"]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]
    raw = subprocess.run(command, input=data, capture_output=True, check=True, timeout=60).stdout
    count, height, width = like.y.shape
    whole = np.frombuffer(raw, np.uint8).reshape(count, -1)
    sizes = (height * width, like.u[0].size, like.v[0].size)
    parts = np.split(whole, np.cumsum(sizes)[:2], axis=1)
    shapes = (like.y.shape, like.u.shape, like.v.shape)
    y, u, v = (part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
    return FrameBatch(y, u, v, np.arange(count, dtype=np.int64))


@pytest.mark.parametrize(("kind", "settings", "format", "good", "poor"), CLASSIC)
def test_round_trip(kind: str, settings: dict[str, Any], format: str, good: int, poor: int) -> None:
    clip = clip_of()
    data = build_codec(kind, good, settings).encode(clip)
    decoded = build_codec(kind, poor, settings).decode(data)  # nothing but the bytes counts
    assert decoded.y.shape == clip.frames.y.shape
    assert decoded.pts.tolist() == list(range(FRAMES))
    likeness = [
        psnr_of_planes(np.repeat(decoded.y[n : n + 1], FRAMES, axis=0), clip.frames.y)
        for n in range(FRAMES)
    ]
    assert np.argmax(likeness, axis=1).tolist() == list(range(FRAMES)), "frames change places"
    for plane in "yuv":
        assert psnr_of_planes(getattr(clip.frames, plane), getattr(decoded, plane)).min() > 33
    assert_equal(decoded, planes_by_ffmpeg(data, format, clip.frames))

    smaller = build_codec(kind, poor, settings).encode(clip)
    assert len(smaller) < len(data) / 2
    worse = build_codec(kind, good, settings).decode(smaller)
    assert psnr_of_planes(clip.frames.y, worse.y).mean() < 33


@pytest.mark.parametrize(("kind", "settings", "format", "good", "poor"), CLASSIC)
def test_equal_work_gives_equal_bytes_without_notes(
    kind: str, settings: dict[str, Any], format: str, good: int, poor: int
) -> None:
    codec = build_codec(kind, poor, settings)
    clip = clip_of(128, 96)  # of smaller pictures x264 does not always make the same file
    first = codec.encode(clip)
    assert codec.encode(clip) == first
    for note in (b"x264", b"x265", b"SVT", b"Lav", b"options"):
        assert note.lower() not in first.lower()
    assert {"av", "libavcodec", "encoder"} <= getattr(codec, "versions").keys()  # noqa: B009


@pytest.mark.parametrize(
    ("kind", "format"), [("x264", "h264"), ("x265", "hevc"), ("svtav1", "obu"), ("vp9", "ivf")]
)
def test_gop_limits_the_distance_of_key_frames(kind: str, format: str) -> None:
    data = build_codec(kind, 40, {"gop": 4}).encode(clip_of())
    with av.open(io.BytesIO(data), "r", format=format) as container:
        keys = [n for n, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert keys == [0, 4, 8]
    assert len(build_codec(kind, 40).encode(clip_of())) < len(data)


@pytest.mark.parametrize("kind", ["x264", "x265", "svtav1", "vp9"])
def test_colours_are_in_the_file(kind: str) -> None:
    color = Color(primaries=1, transfer=1, matrix=1, full_range=True)
    data = build_codec(kind, 40).encode(clip_of(color=color))
    format = {"x264": "h264", "x265": "hevc", "svtav1": "obu", "vp9": "ivf"}[kind]
    with av.open(io.BytesIO(data), "r", format=format) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (1, 2)
    if kind != "vp9":  # it has a matrix alone
        assert (frame.color_primaries, frame.color_trc) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "quality", "settings", "complaint"),
    [
        ("x264", 51.5, {}, "crf of X264 is from 0 to 51, got 51.5"),
        ("x265", -1, {}, "crf of X265"),
        ("svtav1", 0, {}, "whole number from 1 to 63"),
        ("svtav1", 30.5, {}, "whole number"),
        ("vp9", 64, {}, "whole number from 0 to 63"),
        ("x264", 30, {"gop": 0}, "gop"),
        ("x264", 30, {"threads": -1}, "threads"),
        ("x264", 30, {"speed": 3}, "does not take these settings.*speed"),
        ("gvc", 64, {}, "quality is 0 to 63"),
        ("gvc", 20, {"realism": 2}, "realism"),
        ("h264", 30, {}, "there is no codec 'h264'.*x264"),
        ("nowhere:Codec", 30, {}, "cannot be imported"),
    ],
)
def test_settings_out_of_range(
    kind: str, quality: float, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        build_codec(kind, quality, settings)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("x264", {"params": "bogus=1"}),
        ("x264", {"params": "ref=many"}),
        ("x264", {"preset": "warp"}),
        ("x264", {"tune": "warp"}),
        ("x265", {"params": "bogus=1"}),
        ("x265", {"params": "ref=many"}),
        ("svtav1", {"params": "bogus=1"}),
        ("svtav1", {"preset": 99}),
        ("vp9", {"cpu_used": 99}),
    ],
)
def test_what_an_encoder_does_not_know_is_an_error(kind: str, settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(settings.values()))}".split("=")[0]):
        build_codec(kind, 40, settings).encode(clip_of(frames=2))


def test_an_option_that_libavcodec_leaves_over_is_an_error() -> None:
    clip = clip_of(frames=2)
    level = av.logging.get_level()
    with pytest.raises(UsageError, match="unknown option 'bogus'"):
        encode_packets("libvpx-vp9", clip.frames, clip.info, {"bogus": "1"})
    assert av.logging.get_level() == level


@pytest.mark.parametrize("kind", ["x264", "x265"])
def test_odd_sizes_are_refused(kind: str) -> None:
    with pytest.raises(UsageError, match=f"{kind} codes .* even size only, these are 65x48"):
        build_codec(kind, 30).encode(clip_of(65, 48, 2))


@pytest.mark.parametrize("kind", ["svtav1", "vp9"])
def test_odd_sizes_come_back(kind: str) -> None:
    clip = clip_of(65, 51, 3)
    codec = build_codec(kind, 20)
    decoded = codec.decode(codec.encode(clip))
    assert decoded.y.shape == (3, 51, 65)
    assert psnr_of_planes(clip.frames.y, decoded.y).min() > 33


def test_pictures_too_small_for_an_encoder_are_told_by_name() -> None:
    with pytest.raises(UsageError, match=r"libx265 cannot code 2 frames of 8x8.*too small"):
        build_codec("x265", 30).encode(clip_of(8, 8, 2))


def test_damage_is_an_error_not_fewer_frames() -> None:
    with pytest.raises(InputError):
        decode_frames(b"", "h264")
    with pytest.raises(InputError):
        decode_frames(bytes(range(256)), "ivf")


# ── gancodec ─────────────────────────────────────────────────────────────────────────────────


def test_gvc_is_what_a_user_gets(tmp_path: Path) -> None:
    clip = clip_of(65, 51, 4, color=Color(1, 1, 1, True))
    data = build_codec("gvc", 30).encode(clip)
    source, target = tmp_path / "exact.y4m", tmp_path / "user.gvc"
    with open_writer(source, clip.info) as writer:
        writer.write(clip.frames)
    gancodec.encode(source, target, quality=30, jobs=1)
    assert len(data) == target.stat().st_size
    for realism in (0.0, 1.0):
        decoded = build_codec("gvc", 5, {"realism": realism}).decode(data)
        with gancodec.open(target, realism=realism) as video:
            shown = video[:]
        assert_equal(decoded, FrameBatch(shown.y, shown.u, shown.v, decoded.pts))
    with gancodec.open(io.BytesIO(data)) as video:
        assert (video.info.fps, video.info.color) == (clip.info.fps, clip.info.color)
    assert psnr_of_planes(clip.frames.y, decoded.y).mean() > 30


def test_gvc_leaves_the_threads_of_torch_alone() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        codec = build_codec("gvc", 0)
        decoded = codec.decode(codec.encode(clip_of(frames=1)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert decoded.y.shape == (1, 48, 64)


# ── A function after the decoder ─────────────────────────────────────────────────────────────


@pytest.fixture
def filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of somebody's own."""
    module = ModuleType("toy_filters")

    def invert(frames: FrameBatch) -> FrameBatch:
        return FrameBatch(255 - frames.y, frames.u, frames.v, frames.pts)

    module.invert = invert  # type: ignore[attr-defined]
    module.drop = lambda frames: frames[1:]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_filters", module)


def test_enhanced(filters: None) -> None:
    clip = clip_of(frames=3)
    settings = {"base": "x264", "base_settings": {"preset": "veryfast"}}
    codec = build_codec("enhanced", 30, {**settings, "enhance": "toy_filters:invert"})
    base = build_codec("x264", 30, {"preset": "veryfast"})
    data = codec.encode(clip)
    assert data == base.encode(clip)
    plain = base.decode(data)
    assert_equal(codec.decode(data), FrameBatch(255 - plain.y, plain.u, plain.v, plain.pts))
    assert getattr(codec, "suffix") == ".264"  # noqa: B009
    assert getattr(codec, "versions")["enhance"] == "toy_filters:invert"  # noqa: B009

    dropping = build_codec("enhanced", 30, {**settings, "enhance": "toy_filters:drop"})
    with pytest.raises(UsageError, match=r"toy_filters:drop gave FrameBatch\(2 frames"):
        dropping.decode(data)
    for wrong in ("toy_filters:nothing", "toy_filters", "nowhere:at_all"):
        with pytest.raises(UsageError, match="module:function"):
            build_codec("enhanced", 30, {**settings, "enhance": wrong})
