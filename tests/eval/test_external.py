"""VVenC and libaom through an ffmpeg program, and what is said when there is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gancodec.errors import UsageError
from gancodec.eval import external
from gancodec.eval.clips import Clip
from gancodec.eval.codecs import build_codec
from gancodec.eval.external import PROGRAM, find_ffmpeg
from gancodec.eval.fidelity import psnr_of_planes
from gancodec.eval.libav import to_eight_bits
from gancodec.types import FrameBatch
from gancodec.video.synth import clip_info, moving_texture

EXTERNAL = [("vvenc", {"preset": "faster"}), ("libaom", {"cpu_used": 8})]
FRAMES = 10


def clip_of(width: int = 64, height: int = 48, frames: int = FRAMES) -> Clip:
    batch = moving_texture(width, height, frames, velocity=(48, 24))
    return Clip("pan", clip_info(batch), batch)


def luma_by_ffmpeg(data: bytes, format: str, pixels: str) -> bytes:
    command = [find_ffmpeg("libvvenc"), "-loglevel", "error", "-f", format, "-i", "pipe:0"]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixels, "pipe:1"]
    done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=60)
    return done.stdout


@pytest.mark.parametrize(("kind", "settings"), EXTERNAL)
def test_round_trip(kind: str, settings: dict[str, Any]) -> None:
    clip = clip_of()
    codec = build_codec(kind, 20, settings)
    data = codec.encode(clip)
    decoded = build_codec(kind, 60, settings).decode(data)
    assert decoded.y.shape == clip.frames.y.shape
    assert decoded.pts.tolist() == list(range(FRAMES))
    likeness = [
        psnr_of_planes(np.repeat(decoded.y[n : n + 1], FRAMES, axis=0), clip.frames.y)
        for n in range(FRAMES)
    ]
    assert np.argmax(likeness, axis=1).tolist() == list(range(FRAMES)), "frames change places"
    assert psnr_of_planes(clip.frames.y, decoded.y).min() > 35
    assert psnr_of_planes(clip.frames.u, decoded.u).min() > 35
    assert codec.encode(clip) == data
    smaller = build_codec(kind, 60, settings).encode(clip)
    assert len(smaller) < len(data) / 2
    assert psnr_of_planes(clip.frames.y, codec.decode(smaller).y).mean() < 33
    assert getattr(codec, "versions")["ffmpeg"] != "unknown"  # noqa: B009


def test_planes_are_those_of_another_decoder() -> None:
    clip = clip_of(frames=4)
    shape = (4, 64 * 48 * 3 // 2)
    codec = build_codec("libaom", 30, {"cpu_used": 8})
    data = codec.encode(clip)
    raw = np.frombuffer(luma_by_ffmpeg(data, "obu", "yuv420p"), np.uint8).reshape(shape)
    np.testing.assert_array_equal(raw[:, : 64 * 48].reshape(4, 48, 64), codec.decode(data).y)

    codec = build_codec("vvenc", 30, {"preset": "faster"})
    data = codec.encode(clip)
    ten = np.frombuffer(luma_by_ffmpeg(data, "vvc", "yuv420p10le"), "<u2").reshape(shape)
    luma = np.clip(np.floor(ten[:, : 64 * 48].reshape(4, 48, 64) / 4 + 0.5), 0, 255)
    np.testing.assert_array_equal(luma, codec.decode(data).y)


def test_ten_bits_come_back_as_the_eight_they_were() -> None:
    eight = np.arange(256, dtype=np.uint16)
    np.testing.assert_array_equal(to_eight_bits(eight << 2), eight)
    assert to_eight_bits(np.array([1, 2, 5, 6, 1023], np.uint16)).tolist() == [0, 1, 1, 2, 255]


def test_black_and_white_survive_ten_bits() -> None:
    """Full range: what swscale makes of 255 in ten bits would come back as another value."""
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8), (1, 64, 64)).copy()
    ramp[:, :, -1] = 255
    chroma = np.full((1, 32, 32), 128, np.uint8)
    frames = FrameBatch(ramp, chroma, chroma, np.zeros(1, np.int64))
    codec = build_codec("vvenc", 0, {"preset": "faster"})
    decoded = codec.decode(codec.encode(Clip("ramp", clip_info(frames), frames)))
    assert np.abs(decoded.y.astype(int) - ramp).max() <= 1


def test_gop_shortens_the_distance_of_intra_pictures() -> None:
    clip = clip_of(frames=24)
    for kind, settings in EXTERNAL:
        sizes = [
            len(build_codec(kind, 50, {**settings, **gop}).encode(clip)) for gop in ({}, {"gop": 8})
        ]
        assert sizes[1] > 1.03 * sizes[0], kind


def test_a_missing_program_or_encoder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"nowhere/ffmpeg cannot be run.*No such file"):
        build_codec("libaom", 30, {"ffmpeg": "/nowhere/ffmpeg"})
    # A program, but no ffmpeg: what it prints names no encoder
    with pytest.raises(UsageError, match=r"has no libvvenc; install .*imageio-ffmpeg.*" + PROGRAM):
        build_codec("vvenc", 30, {"ffmpeg": sys.executable})
    monkeypatch.setenv(PROGRAM, sys.executable)
    with pytest.raises(UsageError, match="has no libaom-av1"):
        build_codec("libaom", 30)
    monkeypatch.delenv(PROGRAM)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="needs an ffmpeg program, and there is none; install"):
        build_codec("libaom", 30)
    monkeypatch.setattr(shutil, "which", lambda name: f"/found/{name}")
    with pytest.raises(UsageError, match="/found/ffmpeg cannot be run"):
        build_codec("libaom", 30)


@pytest.mark.parametrize(
    ("kind", "settings", "complaint"),
    [
        ("vvenc", {"params": "bogus=1"}, "failed with exit code.*bogus"),
        ("vvenc", {"preset": "warp"}, "failed with exit code.*warp"),
        ("libaom", {"params": "bogus=1"}, "failed with exit code.*bogus"),
        ("libaom", {"timeout_seconds": 1e-6}, "took longer than 1e-06 seconds"),
    ],
)
def test_a_failing_program_is_an_error(kind: str, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        build_codec(kind, 30, settings).encode(clip_of(frames=2))


def test_qualities_and_sizes() -> None:
    with pytest.raises(UsageError, match="the qp of VvEnc is a whole number from 0 to 63, got 64"):
        build_codec("vvenc", 64)
    with pytest.raises(UsageError, match=r"the crf of LibAom .* got 30\.5"):
        build_codec("libaom", 30.5)
    with pytest.raises(UsageError, match=r"VVenC codes .* even size only, these are 65x48"):
        build_codec("vvenc", 30).encode(clip_of(65, 48, 2))
    odd = clip_of(65, 51, 2)
    codec = build_codec("libaom", 20, {"cpu_used": 8})
    assert codec.decode(codec.encode(odd)).y.shape == (2, 51, 65)


def test_a_package_without_its_program_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    import imageio_ffmpeg

    def fail() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", fail)
    assert external._packaged() is None
