"""Pairs that enhancers learn from: runs of degraded frames and what they should have been.

A folder holds them as arrays that are mapped, not read:

    inputs.npy   (N, L + T - 1, 3/2 s^2)  uint8, or int16 for noise, which must not be clipped
    targets.npy  (N, L, 3/2 S^2)          uint8 or int16; S = scale x s
    levels.npy   (N,)                     how much is wrong, 0 to 63 (`models.degradation`)
    chances.npy  (N,)                     share of samples that impulses replaced
    motion.npy   (N, L - 1, 2, S/8, S/8)  int16, between enlarged inputs for nets with memory,
                  between targets for losses
    kernels.npy  (N, 25, 25)              float32, what blurred the frame in the middle
    pairs.json   task, scale, size S, frames L, window T
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gancodec.errors import InputError
from gancodec.nn.planes import Planes
from gancodec.train.data import mirror, planes_from_flat

MIDDLE = 127.5  # what impulses are on average


@dataclass(frozen=True, slots=True)
class PairsInfo:
    """What a folder of pairs is for."""

    task: str
    scale: int
    size: int
    frames: int
    window: int


class Batch(NamedTuple):
    """A random batch: planes in 8-bit units / 255, neither clipped nor rounded.

    ``inputs`` are L + T - 1 frames, ``targets`` L; ``level`` and ``chance`` are (B,); ``motion``
    is (B, L - 1, 2, S/8, S/8) and ``kernel`` (B, 1, 25, 25), or None.
    """

    inputs: list[Planes]
    targets: list[Planes]
    level: Tensor
    chance: Tensor
    motion: Tensor | None
    kernel: Tensor | None = None


class Pairs:
    """A folder of pairs, mapped.

    Raises:
        InputError: there are none in the folder.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.info = PairsInfo(**json.loads((folder / "pairs.json").read_text()))
            self._inputs = np.load(folder / "inputs.npy", mmap_mode="r")
            self._targets = np.load(folder / "targets.npy", mmap_mode="r")
            self._levels = np.load(folder / "levels.npy")
            self._chances = np.load(folder / "chances.npy")
            self._motion, self._kernels = (
                np.load(folder / name, mmap_mode="r") if (folder / name).exists() else None
                for name in ("motion.npy", "kernels.npy")
            )
        except (OSError, EOFError, ValueError, TypeError) as error:
            raise InputError(
                f"{folder} holds no training pairs ({error}); `gancodec prepare` makes them"
            ) from error

    def __len__(self) -> int:
        return len(self._levels)

    @property
    def has_kernels(self) -> bool:
        """Whether it is known what blurred them."""
        return self._kernels is not None

    def batch(self, rng: np.random.Generator, count: int) -> Batch:
        """``count`` random samples, turned and mirrored in one random way."""
        rows = np.sort(rng.choice(len(self), count, replace=count > len(self)))
        inputs = torch.from_numpy(self._inputs[rows])
        targets = torch.from_numpy(self._targets[rows])
        small = self.info.size // self.info.scale
        motion = None
        if self._motion is not None:
            motion = torch.from_numpy(self._motion[rows]).float()
            if rng.random() < 0.5:
                inputs, _ = mirror(inputs, motion, small)
                targets, motion = mirror(targets, motion, self.info.size)
            turned = _Turn(False, False, False)
        else:
            turned = _Turn(*(rng.random(3) < 0.5))
        return Batch(
            [_turn(planes_from_flat(inputs[:, t], small), turned) for t in range(inputs.shape[1])],
            [
                _turn(planes_from_flat(targets[:, t], self.info.size), turned)
                for t in range(targets.shape[1])
            ],
            torch.from_numpy(self._levels[rows]),
            torch.from_numpy(self._chances[rows]),
            motion,
            None
            if self._kernels is None
            else _turned(torch.from_numpy(self._kernels[rows])[:, None], turned),
        )


class _Turn(NamedTuple):
    mirrored: bool
    flipped: bool
    transposed: bool


def _turn(planes: Planes, how: _Turn) -> Planes:
    return Planes(*(_turned(x, how) for x in planes))


def _turned(x: Tensor, how: _Turn) -> Tensor:
    x = x.flip(-1) if how.mirrored else x
    x = x.flip(-2) if how.flipped else x
    return x.transpose(-1, -2) if how.transposed else x


class Sample(NamedTuple):
    """One pair before it is written; flat 4:2:0 frames, (L + T - 1, ...) and (L, ...)."""

    inputs: npt.NDArray[np.generic]
    targets: npt.NDArray[np.generic]
    level: float
    chance: float = 0.0
    motion: npt.NDArray[np.int16] | None = None
    kernel: npt.NDArray[np.float32] | None = None


def write_pairs(samples: list[Sample], info: PairsInfo, folder: Path) -> None:
    """Write a folder of pairs; ``pairs.json`` comes last and says that all are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, parts in (
        ("inputs", [s.inputs for s in samples]),
        ("targets", [s.targets for s in samples]),
        ("motion", [s.motion for s in samples if s.motion is not None]),
        ("kernels", [s.kernel for s in samples if s.kernel is not None]),
    ):
        if not parts:
            continue
        shape = (len(parts), *parts[0].shape)
        out = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
            folder / f"{name}.npy", "w+", parts[0].dtype, shape
        )
        for row, part in enumerate(parts):
            out[row] = part
        out.flush()
    np.save(folder / "levels.npy", np.array([s.level for s in samples], np.float32))
    np.save(folder / "chances.npy", np.array([s.chance for s in samples], np.float32))
    (folder / "pairs.json").write_text(json.dumps(asdict(info)) + "\n")
