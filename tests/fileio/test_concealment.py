"""Damage anywhere behind the header: the clip keeps its length, and nothing wrong is shown."""

from __future__ import annotations

import io
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gancodec
from gancodec import cli
from gancodec.bitstream import Reader
from gancodec.types import FrameBatch
from gancodec.video.synth import clip_info, noisy_pan, write_test_video

GOPS, LENGTH, RATE = 20, 2, 25


@pytest.fixture(scope="module")
def film(kit: Any, folder: Path) -> bytes:
    """Twenty GOPs, each much longer than what is damaged at a time."""
    batch = noisy_pan(96, 64, GOPS * LENGTH)
    source = write_test_video(folder / "concealed.mkv", batch, clip_info(batch))
    options = {**kit.fast, "quality": 63, "gop": LENGTH, "scene_cuts": False}
    gancodec.encode(source, folder / "concealed.gvc", **options)
    return (folder / "concealed.gvc").read_bytes()


def is_shown(batch: FrameBatch, n: int, whole: FrameBatch, number: int) -> bool:
    planes = ("y", "u", "v")
    return all(np.array_equal(getattr(batch, p)[n], getattr(whole, p)[number]) for p in planes)


def gops_lost(back: FrameBatch, whole: FrameBatch, stats: gancodec.DecodeStats) -> int:
    """How many GOPs do not show all their frames; every frame is right, or said to be lost."""
    assert len(back) == len(whole), "the clip lost its length"
    assert stats.damage, "damage that nobody is told of"
    lost = set()
    for begin, end in stats.lost:
        if end is None:  # the end mark is damaged: nobody knows whether more came
            assert begin == Fraction(len(whole), RATE)
            continue
        first, stop = int(begin * RATE), int(end * RATE)
        assert (Fraction(first, RATE), Fraction(stop, RATE)) == (begin, end)
        held = first - 1 if first else stop
        for n in range(first, stop):
            assert is_shown(back, n, whole, held), f"frame {n} is neither right nor held"
            lost.add(n)
    for n in set(range(len(whole))) - lost:
        assert is_shown(back, n, whole, n), f"frame {n} is wrong and not said to be lost"
    return len({n // LENGTH for n in lost})


@pytest.mark.stress
def test_a_thousand_damages(kit: Any, film: bytes, stress_rounds: int) -> None:
    with gancodec.open(io.BytesIO(film)) as video:
        whole = video[:]
    first = Reader(io.BytesIO(film)).index()[0].offset
    rng = random.Random(stress_rounds)
    lost = []
    for _ in range(25 if stress_rounds == 1 else 50 * stress_rounds):
        bad = kit.damage(rng, film, first)
        if bad == film:
            continue
        out = io.BytesIO()
        stats = gancodec.decode(io.BytesIO(bad), out, conceal=True, jobs=1)
        assert not stats.is_intact
        out.seek(0)
        lost.append(gops_lost(kit.read_all(out), whole, stats))
    print(f"{len(lost)} damages; GOPs lost: {[lost.count(n) for n in range(max(lost) + 1)]}")
    assert max(lost) <= 2  # two where the damage lies across a border
    assert sum(n > 1 for n in lost) <= max(0.02 * len(lost), 1)  # across a border of GOPs


def test_scripts_notice_and_people_are_told(
    film: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two damaged GOPs: exit 3, a whole file all the same, and both times in the last sentence."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # which main sets, and the next test not
    data = bytearray(film)
    index = Reader(io.BytesIO(film)).index()
    for number in (3, 11):
        data[index[number].offset + 60] ^= 1
    source, target = tmp_path / "bad.gvc", tmp_path / "out.y4m"
    source.write_bytes(data)
    words = [str(source), str(target), "--jobs", "1"]
    assert cli.main(["decode", *words]) == 3
    assert not target.exists()
    capfd.readouterr()
    assert cli.main(["decode", *words, "--conceal"]) == 3
    last = capfd.readouterr().err.splitlines()[-1]
    assert "damaged in 2 places" in last
    assert "0.24 s to 0.32 s, 0.88 s to 0.96 s" in last
    assert target.read_bytes().count(b"FRAME\n") == GOPS * LENGTH
