"""Frames by number and by time are those of decoding front to back."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

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
        for _ in range(8 * stress_rounds):
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
