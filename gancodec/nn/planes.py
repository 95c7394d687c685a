"""8-bit 4:2:0 planes <-> one tensor of 96 channels at 1/8 resolution, without a colour conversion."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

PACKED_CHANNELS = 96  # 64 of Y (8x8 samples), 16 each of U and V (4x4 samples)


class Planes(NamedTuple):
    """Y (B, 1, H, W), U and V (B, 1, H/2, W/2), floats in [0, 1]; H and W are multiples of 16."""

    y: Tensor
    u: Tensor
    v: Tensor


def pack(planes: Planes) -> Tensor:
    """Planes -> (B, 96, H/8, W/8), centred: values in [-0.5, 0.5]."""
    packed = torch.cat(
        [
            F.pixel_unshuffle(planes.y, 8),
            F.pixel_unshuffle(planes.u, 4),
            F.pixel_unshuffle(planes.v, 4),
        ],
        1,
    )
    return (packed - 0.5).contiguous(memory_format=torch.channels_last)


def unpack(packed: Tensor) -> Planes:
    """(B, 96, H/8, W/8) -> planes, not clamped."""
    packed = packed + 0.5
    y, u, v = packed.split([64, 16, 16], 1)
    return Planes(F.pixel_shuffle(y, 8), F.pixel_shuffle(u, 4), F.pixel_shuffle(v, 4))


def round_to_8_bit(planes: Planes) -> Planes:
    """What an 8-bit picture can hold; the gradient passes straight through."""

    def one(x: Tensor) -> Tensor:
        x = x.clamp(0, 1)
        return x + (torch.round(x * 255) / 255 - x).detach()

    return Planes(one(planes.y), one(planes.u), one(planes.v))
