"""Frames by number and by time are those of decoding front to back."""

from __future__ import annotations

import io
import random
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gancodec
from gancodec.types import FrameBatch


@pytest.mark.stress
def test_any_slice_equals_linear_decoding(
    kit: Any, gvc: Path, linear: FrameBatch, stress_rounds: int
) -> None:
    rng = random.Random(5)
    with gancodec.open(gvc) as video:
        assert len(video) == kit.frames
        for _ in range(17 * stress_rounds):  # three seeks each
            start, stop = sorted((rng.randint(-30, 30), rng.randint(-30, 30)))
            step = rng.choice([1, 1, 2, 5, -1, -3])
            key = slice(start, stop, step) if step > 0 else slice(stop, start, step)
            kit.assert_same(video[key], linear[key])
            number = rng.randrange(-kit.frames, kit.frames)
            kit.assert_same(video[number], linear[number % kit.frames :][:1])
            time = Fraction(rng.randrange(kit.frames * 100), 2500)
            kit.assert_same(video.at(time), linear[int(time * 25) :][:1])


def test_seeking_without_an_index(kit: Any, folder: Path, gvc: Path, linear: FrameBatch) -> None:
    cut = folder / "no-index.gvc"
    cut.write_bytes(gvc.read_bytes()[:-50])
    with gancodec.open(cut) as video:
        kit.assert_same(video[13:20], linear[13:20])


def test_a_video_describes_itself(gvc: Path) -> None:
    with gancodec.open(gvc) as video:
        assert len(video) == video.info.frames == 24
        assert (video.info.width, video.info.height, video.info.fps) == (48, 32, 25)
        assert video.duration == Fraction(24, 25)
        assert [ref.name for ref in video.models] == ["tiny.v0", "tiny.v0"]
        assert video.metadata["encoder"].startswith("gancodec ")
        assert repr(video) == "Video(24 frames of 48x32 at 25 fps)"
        assert video.times.tolist() == [n / 25 for n in range(24)]
        with pytest.raises(ValueError, match="read-only"):
            video.pts[0] = 5


def test_numbers_and_times_out_of_range(kit: Any, gvc: Path, linear: FrameBatch) -> None:
    with gancodec.open(gvc) as video:
        for number in (24, -25, 1000):
            with pytest.raises(IndexError, match=f"frame {number} was asked for, the video has 24"):
                video[number]
        for seconds in (-0.01, Fraction(24, 25), float("nan"), float("inf")):
            with pytest.raises(gancodec.UsageError):
                video.at(seconds)
        assert len(video[30:40]) == 0
        assert video[30:40].y.shape == (0, 32, 48)
        kit.assert_same(video.at(Fraction(24, 25) - Fraction(1, 10**9)), linear[23:])
        # 7 / 25 is no binary fraction: the float below it is still frame 7
        for n in range(24):
            kit.assert_same(video.at(n / 25), linear[n : n + 1])
        twice = video.played_at([0.5, 0.1, 0.5])
        kit.assert_same(twice, FrameBatch.concatenate([linear[n : n + 1] for n in (12, 2, 12)]))


def test_iteration(kit: Any, gvc: Path, linear: FrameBatch) -> None:
    with gancodec.open(gvc) as video:
        kit.assert_same(FrameBatch.concatenate(list(video)), linear)
        assert [len(b) for b in video.batches(10)] == [10, 10, 4]
        with pytest.raises(gancodec.UsageError):
            next(video.batches(0))
    with pytest.raises(gancodec.UsageError, match="closed"):
        video[0]


def test_frames_in_order_are_decoded_once(gvc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    plain = gancodec.Decoder.decode

    def counting(self: Any, *arguments: Any) -> Any:
        decoded.append(arguments[1])
        return plain(self, *arguments)

    monkeypatch.setattr(gancodec.Decoder, "decode", counting)
    with gancodec.open(gvc) as video:
        for first in (0, 3, 6, 9):
            video[first : first + 3]
        assert len(decoded) == 12  # frame 11 is the second of its GOP
        video[10]
        assert len(decoded) == 12


def test_realism_moves_the_picture_only_when_wanted(gvc: Path, linear: FrameBatch) -> None:
    with gancodec.open(gvc, realism=0.0) as video:
        assert np.array_equal(video[0].y, linear[0:1].y)  # as it is unless asked for
    with gancodec.open(gvc, realism=1.0) as video:
        assert not np.array_equal(video[0].y, linear[0:1].y)


def test_threads_share_a_video(kit: Any, gvc: Path, linear: FrameBatch) -> None:
    with gancodec.open(gvc) as video, ThreadPoolExecutor(4) as pool:
        numbers = [3, 20, 3, 11, 0, 23, 8, 15]
        for n, batch in zip(numbers, pool.map(video.__getitem__, numbers), strict=True):
            kit.assert_same(batch, linear[n : n + 1])


def test_a_stream_that_can_seek(kit: Any, gvc: Path, linear: FrameBatch) -> None:
    stream = io.BytesIO(gvc.read_bytes())
    with gancodec.open(stream) as video:
        kit.assert_same(video[7:9], linear[7:9])
    assert not stream.closed


def test_damage_elsewhere_does_no_harm(kit: Any, gvc: Path, linear: FrameBatch) -> None:
    data = bytearray(gvc.read_bytes())
    offset = kit.gops_of(gvc)[1].offset
    data[offset + 60] ^= 1
    with gancodec.open(io.BytesIO(data)) as video:
        kit.assert_same(video[20], linear[20:21])
        with pytest.raises(gancodec.CorruptError, match="byte"):
            video[7]
        kit.assert_same(video[1], linear[1:2])
