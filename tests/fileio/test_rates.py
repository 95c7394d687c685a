"""Bit rates and file sizes are kept within five percent on clips of five seconds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

import gancodec
from gancodec.errors import UsageError
from gancodec.video.synth import clip_info, moving_texture, tone, write_test_video

FPS, FRAMES = 5, 25


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    batch = moving_texture(32, 32, FRAMES)
    return write_test_video(folder / "five.mkv", batch, clip_info(batch, FPS), [tone(5)])


@pytest.fixture(scope="module")
def options(kit: Any) -> dict[str, Any]:
    return {**kit.fast, "gop": 8, "quality": None}


@pytest.fixture(scope="module")
def kbps(source: Path, options: dict[str, Any]) -> float:
    """A rate somewhere in the middle."""
    stats = gancodec.encode(source, io.BytesIO(), **{**options, "quality": 45})
    return stats.video_kbps * 0.93


def near(value: float, goal: float) -> bool:
    return abs(value / goal - 1) <= 0.05


def test_bitrate(tmp_path: Path, source: Path, options: dict[str, Any], kbps: float) -> None:
    stats = gancodec.encode(source, tmp_path / "out.gvc", **options, bitrate=f"{kbps:.4f}k")
    assert near(stats.video_kbps, kbps)
    assert stats.notices == ()
    assert stats.bytes == (tmp_path / "out.gvc").stat().st_size
    # The sound is not counted; the file is what that quality gives.
    assert stats.audio_bytes > 0
    again = {**options, "quality": stats.quality}
    plain = gancodec.encode(source, tmp_path / "plain.gvc", **again)
    assert plain.bytes == stats.bytes
    assert gancodec.verify(tmp_path / "out.gvc", deep=False).is_ok


def test_size_counts_the_sound(
    tmp_path: Path, source: Path, options: dict[str, Any], kbps: float
) -> None:
    sound = gancodec.encode(source, io.BytesIO(), **{**options, "quality": 0}).audio_bytes
    goal = sound + kbps * 1000 * 5 / 8
    stats = gancodec.encode(source, tmp_path / "out.gvc", **options, size=goal)
    assert near(stats.bytes, goal)
    assert near(stats.bytes - sound, goal - sound)
    assert stats.bytes <= goal  # who asks for a size has no room for more


def test_a_clip_of_many_gops(
    tmp_path: Path, source: Path, options: dict[str, Any], kbps: float
) -> None:
    """The search sees samples only; whole passes correct it. Into a stream, too."""
    many = {**options, "gop": 2}
    goal = 1.3 * kbps
    stats = gancodec.encode(source, tmp_path / "out.gvc", **many, bitrate=goal * 1000)
    assert near(stats.video_kbps, goal)
    assert stats.gops == 13
    assert [p.name for p in tmp_path.iterdir()] == ["out.gvc"]
    out = io.BytesIO()
    gancodec.encode(source, out, **many, bitrate=goal * 1000)
    assert out.getvalue() == (tmp_path / "out.gvc").read_bytes()


def test_pipes(kit: Any, options: dict[str, Any], kbps: float) -> None:
    batch = moving_texture(32, 32, FRAMES)
    data = kit.y4m(batch, clip_info(batch, FPS))
    stats = gancodec.encode(kit.Pipe(data), io.BytesIO(), **options, bitrate=kbps * 1000)
    assert near(stats.video_kbps, kbps)
    size = kbps * 1000 * 5 / 8
    stats = gancodec.encode(kit.Pipe(data), io.BytesIO(), **options, size=size, duration=5)
    assert near(stats.bytes, size)


def test_rates_that_cannot_be_kept(
    kit: Any, tmp_path: Path, source: Path, options: dict[str, Any]
) -> None:
    short = {**options, "duration": 1, "audio": "none"}
    stats = gancodec.encode(source, io.BytesIO(), **short, bitrate=100)
    assert stats.quality == 0
    assert "even quality 0 takes" in stats.notices[-1]
    stats = gancodec.encode(source, io.BytesIO(), **short, bitrate="10M")
    assert stats.quality == 63
    assert "even quality 63 takes only" in stats.notices[-1]
    stats = gancodec.encode(source, io.BytesIO(), **{**short, "audio": "copy"}, size=50)
    assert stats.quality == 0
    assert "even quality 0 takes" in stats.notices[-1]
    pipe = kit.Pipe(source.read_bytes())
    with pytest.raises(UsageError, match="needs its length"):
        gancodec.encode(pipe, io.BytesIO(), **options, size="10k")
    pipe = kit.Pipe(source.read_bytes())
    with pytest.raises(UsageError, match="with sound"):
        gancodec.encode(pipe, io.BytesIO(), **options, size="10k", duration=5)
    pipe = kit.Pipe(source.read_bytes())
    with pytest.raises(UsageError, match="cannot be resumed"):
        gancodec.encode(pipe, tmp_path / "x.gvc", **options, bitrate="10k", resume=True)
    assert not list(tmp_path.iterdir())


def test_fractional_qualities_lie_between(source: Path, options: dict[str, Any]) -> None:
    """One model, mixed level by level over the frames: nothing jumps."""
    rest = {**options, "duration": 2, "audio": "none"}
    sizes = [
        gancodec.encode(source, io.BytesIO(), **{**rest, "quality": q}).bytes
        for q in (15, 35.3, 55)
    ]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3
