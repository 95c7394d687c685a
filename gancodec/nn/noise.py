"""Noise that everybody can make again: a hash of where and when, not the state of a generator."""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_STREAMS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1)  # odd, far apart
_UNIT_DEVIATION = 3.0**0.5


def hashed_noise(seed: Tensor, time: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """Uniform noise of mean 0 and deviation 1, the same on every machine.

    A place's value depends on its own coordinates only, so that crops, seeks and jobs agree.

    Args:
        seed, time: (B,) whole numbers; the lowest 32 bits count.
        channels, size: C and (H, W).

    Returns:
        (B, C, H, W) float32 in the interval -sqrt(3) to sqrt(3).
    """
    device = seed.device
    axes = [torch.arange(n, device=device) for n in (channels, *size)]
    value = torch.zeros(1, 1, 1, 1, dtype=torch.int64, device=device)
    places = (
        seed.long()[:, None, None, None],
        time.long()[:, None, None, None],
        axes[0][None, :, None, None],
        axes[1][None, None, :, None],
        axes[2][None, None, None, :],
    )
    for place, stream in zip(places, _STREAMS, strict=True):
        value = _mix(value ^ (((place & _MASK) * stream) & _MASK))
    return (value.float() / 2**31 - 1) * _UNIT_DEVIATION


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32 bits in which every bit depends on all (C. Wellons, lowbias32)."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)
