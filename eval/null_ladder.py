"""The ladder of nulls: what `fd-a` and `fd-m` give to clips that must fail them.

A distance alone says nothing. Beside those of damage of known kinds, and of nothing but other
windows of the same clips (the floor), it does. Of five natural clips, 416x240 to 704x576, some of
its rungs were

                          FD-A      FD-M
    held-out windows       8.3      18.5
    time reversed         19.1      37.6
    frames shuffled       97.4    1830.9
    first frame held      77.5    1612.3
    3x3 blur              31.9     195.1
    noise, sigma 0.1      22.5     216.1

so FD-M sees frozen and mixed motion some ninety times above the floor and noise twelve times, where
FD-A sees nine to twelve times, and noise three times: look at both. Fewer windows lift the floor
until it hides blur.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from gancodec.errors import UsageError
from gancodec.eval.clips import Clip
from gancodec.eval.frechet import Moments, standardised_distance
from gancodec.eval.randomnet import (
    FRAMES,
    Kind,
    WindowCutter,
    Windows,
    describe,
    grid_of,
    to_tensor,
)
from gancodec.video.color import yuv420_to_rgb

FLOOR = "held-out windows"
_BATCH = 64
_NOISE = 0.1  # of a range of 2


class Rung(NamedTuple):
    """Distances of one kind of damage."""

    fd_a: float
    fd_m: float


Damage = Callable[[torch.Tensor, np.random.Generator], torch.Tensor]  # (N, 3, 16, 32, 32) -> same


def _noise_like(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(x.shape), dtype=np.float32))


# The order of shuffled frames is the same in every window.
_SHUFFLED = [9, 2, 14, 5, 0, 11, 7, 3, 12, 8, 1, 15, 6, 10, 4, 13]

DAMAGES: dict[str, Damage] = {
    FLOOR: lambda x, rng: x,
    "time reversed": lambda x, rng: x.flip(2),
    "frames shuffled": lambda x, rng: x[:, :, _SHUFFLED],
    "first frame held": lambda x, rng: x[:, :, :1].expand_as(x),
    "mean frame held": lambda x, rng: x.mean(2, keepdim=True).expand_as(x),
    "3x3 blur": lambda x, rng: F.avg_pool3d(
        x, (1, 3, 3), stride=1, padding=(0, 1, 1), count_include_pad=False
    ),
    "noise, sigma 0.1": lambda x, rng: x + _NOISE * _noise_like(x, rng),
    "white noise": lambda x, rng: _noise_like(x, rng).clamp(-1, 1),
}


def null_ladder(clips: Sequence[Clip]) -> dict[str, Rung]:
    """FD-A and FD-M of each kind of damage, by name; the floor first.

    The windows of each clip are dealt out like the fields of a chessboard. The black ones are the
    reference; the white ones are damaged and compared with them. Time reversed is no damage where
    motion goes to and fro.

    Raises:
        UsageError: fewer than two windows of either colour.
    """
    halves = [np.concatenate(windows) for windows in zip(*map(_deal, clips), strict=True)]
    if not halves or min(map(len, halves)) < 2:
        raise UsageError(
            f"the ladder of nulls needs clips of {FRAMES} frames or more, and of two windows of "
            "each half or more; name more of them, longer or larger"
        )
    black, white = halves
    kinds: tuple[Kind, Kind] = ("frames", "motion")
    references = {kind: _moments(black, kind, DAMAGES[FLOOR]) for kind in kinds}
    rungs = {}
    for name, damage in DAMAGES.items():
        a, m = (
            standardised_distance(reference, _moments(white, kind, damage))
            for kind, reference in references.items()
        )
        rungs[name] = Rung(a, m)
    return rungs


def format_ladder(rungs: dict[str, Rung]) -> str:
    """A line a rung."""
    lines = [f"{'':20}{'FD-A':>12}{'FD-M':>12}"]
    lines += [f"{name:20}{rung.fd_a:12.1f}{rung.fd_m:12.1f}" for name, rung in rungs.items()]
    return "\n".join(lines)


def _deal(clip: Clip) -> tuple[Windows, Windows]:
    """Windows of a clip whose row and column are together even, and odd."""
    rows, columns = grid_of(clip.info.height, clip.info.width)
    even = np.array(
        [(row + column) % 2 == 0 for row, column in product(range(rows), range(columns))]
    )
    cutter = WindowCutter()
    found: list[Windows] = []
    for n in range(len(clip)):
        windows = cutter.push(yuv420_to_rgb(clip.frames[n : n + 1], clip.info.color)[0])
        if windows is not None:
            found.append(windows)
    if not found:
        raise UsageError(f"{clip.name} has {len(clip)} frames, and windows are of {FRAMES}")
    return (
        np.concatenate([windows[even] for windows in found]),
        np.concatenate([windows[~even] for windows in found]),
    )


def _moments(windows: Windows, kind: Kind, damage: Damage) -> Moments:
    rng = np.random.default_rng(0)
    moments = Moments()
    for n in range(0, len(windows), _BATCH):
        moments.add(describe(damage(to_tensor(windows[n : n + _BATCH]), rng), kind))
    return moments
