"""A folder of pairs: what goes in comes out, turned at random, both sides of a pair alike."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gancodec.errors import InputError
from gancodec.nn.motion import warp
from gancodec.nn.planes import Planes
from gancodec.train.pairs import Batch, Pairs, PairsInfo, Sample, write_pairs

SIZE = 32
FLAT = SIZE * SIZE * 3 // 2


def samples(count: int, *, frames: int = 1, window: int = 1, motion: bool = False) -> list[Sample]:
    """Targets are the inputs in the middle and 1000 more, so that a pair knows itself again."""
    rng = np.random.default_rng(0)
    made = []
    for k in range(count):
        length = frames + window - 1
        inputs = rng.integers(0, 256, (length, FLAT)).astype(np.int16)
        around = window // 2
        targets = inputs[around : around + frames] + np.int16(1000)
        field = rng.integers(-8, 9, (frames - 1, 2, SIZE // 8, SIZE // 8)).astype(np.int16)
        made.append(Sample(inputs, targets, float(k), k / 100, field if motion else None))
    return made


def folder_of(tmp_path: Path, made: list[Sample], frames: int = 1, window: int = 1) -> Path:
    write_pairs(made, PairsInfo("denoise", 1, SIZE, frames, window), tmp_path / "pairs")
    return tmp_path / "pairs"


def units(planes: Planes) -> list[torch.Tensor]:
    """Planes in 8-bit units."""
    return [(p * 255).round() for p in planes]


def equal(a: Planes, b: Planes, more: int = 0) -> bool:
    return all(torch.equal(x + more, y) for x, y in zip(units(a), units(b), strict=True))


def test_what_is_written_is_drawn(tmp_path: Path) -> None:
    """Frames, levels and chances of a row stay together, also beyond what eight bits hold."""
    made = samples(6, frames=2, window=3)
    less = made[3].targets.astype(np.int16) - np.int16(2000)  # negative, most of them
    made[3] = made[3]._replace(targets=less)
    pairs = Pairs(folder_of(tmp_path, made, 2, 3))
    assert len(pairs) == 6
    assert pairs.info == PairsInfo("denoise", 1, SIZE, 2, 3)
    batch = pairs.batch(np.random.default_rng(1), 6)
    assert batch.level.tolist() == [0, 1, 2, 3, 4, 5]  # each of them once
    assert batch.chance.tolist() == pytest.approx([k / 100 for k in range(6)])
    assert batch.motion is None
    assert (len(batch.inputs), len(batch.targets)) == (4, 2)
    assert [tuple(p.shape) for p in batch.inputs[0]] == [
        *((6, 1, SIZE, SIZE), (6, 1, SIZE // 2, SIZE // 2), (6, 1, SIZE // 2, SIZE // 2))
    ]
    for t, target in enumerate(batch.targets):
        for x, y in zip(units(batch.inputs[t + 1]), units(target), strict=True):
            off = (y - x).flatten(1)
            assert (off == off[:, :1]).all()
            assert off[:, 0].tolist() == [1000, 1000, 1000, -1000, 1000, 1000]


def test_both_sides_are_turned_alike_and_every_way(tmp_path: Path) -> None:
    made = samples(3)
    pairs = Pairs(folder_of(tmp_path, made))
    straight = torch.from_numpy(made[0].inputs[0, : SIZE * SIZE].reshape(SIZE, SIZE)).float()
    ways = {}
    for flip in (False, True):
        for k in range(4):
            turned = (straight.flip(-1) if flip else straight).rot90(k)
            ways[flip, k] = turned
    seen = set()
    for seed in range(60):
        batch = pairs.batch(np.random.default_rng(seed), 3)
        assert equal(batch.inputs[0], batch.targets[0], 1000)
        first = units(batch.inputs[0])[0][0, 0]
        seen |= {way for way, turned in ways.items() if torch.equal(first, turned)}
    assert len(seen) == 8


def test_motion_is_mirrored_with_its_frames(tmp_path: Path) -> None:
    """Half of the batches are mirrored, none is turned; what moves goes where it went before."""
    made = samples(2, frames=3, motion=True)
    pairs = Pairs(folder_of(tmp_path, made, 3))
    kept: Batch | None = None
    turned: Batch | None = None
    straight = torch.from_numpy(np.stack([s.inputs for s in made])[:, 0, : SIZE * SIZE])
    straight = straight.view(2, 1, SIZE, SIZE).float()
    for seed in range(12):
        batch = pairs.batch(np.random.default_rng(seed), 2)
        assert all(equal(*both, 1000) for both in zip(batch.inputs, batch.targets, strict=True))
        if torch.equal(units(batch.inputs[0])[0], straight):
            kept = batch
        else:
            assert torch.equal(units(batch.inputs[0])[0], straight.flip(-1))
            turned = batch
    assert kept is not None
    assert turned is not None
    assert kept.motion is not None
    assert turned.motion is not None
    assert kept.motion.shape == (2, 2, 2, SIZE // 8, SIZE // 8)
    stored = torch.from_numpy(np.stack([s.motion for s in made if s.motion is not None])).float()
    assert torch.equal(kept.motion, stored)
    for t in range(2):
        one = warp(kept.inputs[t], kept.motion[:, t])
        other = warp(turned.inputs[t], turned.motion[:, t])
        for a, b in zip(one, other, strict=True):
            assert (a - b.flip(-1))[..., 4:-4, 4:-4].abs().max() < 1e-4


def test_batches_follow_from_the_seed(tmp_path: Path) -> None:
    pairs = Pairs(folder_of(tmp_path, samples(40)))
    a, b, c = (pairs.batch(np.random.default_rng(s), 4) for s in (0, 0, 1))
    assert equal(a.inputs[0], b.inputs[0])
    assert torch.equal(a.level, b.level)
    assert not torch.equal(a.level, c.level)
    assert len(set(a.level.tolist())) == 4
    more = pairs.batch(np.random.default_rng(0), 100)  # more than there are: some come again
    assert len(more.level) == 100


def test_dtypes_are_kept(tmp_path: Path) -> None:
    made = [s._replace(inputs=s.inputs.astype(np.uint8)) for s in samples(2)]
    folder = folder_of(tmp_path, made)
    found = {p.stem: np.load(p).dtype for p in folder.glob("*.npy")}
    assert found == {
        "inputs": np.uint8,
        "targets": np.int16,
        "levels": np.float32,
        "chances": np.float32,
    }


def test_what_holds_no_pairs_is_refused(tmp_path: Path) -> None:
    message = "holds no training pairs .*`gancodec prepare` makes them"
    with pytest.raises(InputError, match=message):
        Pairs(tmp_path)
    folder = folder_of(tmp_path, samples(2))
    about = folder / "pairs.json"
    info = json.loads(about.read_text())
    assert info == dataclasses.asdict(PairsInfo("denoise", 1, SIZE, 1, 1))
    about.write_text(json.dumps({**info, "novel": 1}))
    with pytest.raises(InputError, match=message):
        Pairs(folder)
    about.write_text("{")
    with pytest.raises(InputError, match=message):
        Pairs(folder)
    about.write_text(json.dumps(info))
    (folder / "targets.npy").write_bytes(b"")
    with pytest.raises(InputError, match=message):
        Pairs(folder)
