"""8-bit 4:2:0 planes <-> a tensor of 96 channels at 1/8 resolution, with no colour conversion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gancodec.types import FrameBatch, Plane, VideoInfo

BLOCK = 16  # luma samples; pictures are padded to whole blocks, here and nowhere else
TIE = 1 / 512  # of an 8-bit level; what floats make of the same sum differs by far less
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
    y, u, v = packed[:, :64], packed[:, 64:80], packed[:, 80:]
    return Planes(F.pixel_shuffle(y, 8), F.pixel_shuffle(u, 4), F.pixel_shuffle(v, 4))


def round_to_8_bit(planes: Planes, *, half_up: bool = True) -> Planes:
    """What an 8-bit picture can hold; the gradient passes straight through.

    Args:
        planes: not clamped.
        half_up: halves, and what lies up to `TIE` below them, go up. Where no residual is coded,
            a sample is the mean of two whole numbers and every other one a half: without this,
            the last bit of a float would decide, and machines would drift apart.
    """

    def one(x: Tensor) -> Tensor:
        x = x.clamp(0, 1)
        if half_up:
            whole = torch.floor(x * 255 + (0.5 + TIE)) / 255
            return x + (whole - x).detach() if torch.is_grad_enabled() else whole
        return x + (torch.round(x * 255) / 255 - x).detach()

    return Planes(one(planes.y), one(planes.u), one(planes.v))


def planes_of(batch: FrameBatch, frame: int, device: torch.device) -> Planes:
    """One frame as floats in [0, 1], padded by edge replication to whole 16x16 blocks."""
    h, w = batch.y.shape[1:]

    def one(plane: Plane, block: int) -> Tensor:
        x = (
            torch.from_numpy(np.ascontiguousarray(plane)).to(device, torch.float32)[None, None]
            / 255
        )
        rows, cols = -(-h // BLOCK) * block, -(-w // BLOCK) * block
        return F.pad(x, (0, cols - x.shape[-1], 0, rows - x.shape[-2]), mode="replicate")

    half = BLOCK // 2
    return Planes(one(batch.y[frame], BLOCK), one(batch.u[frame], half), one(batch.v[frame], half))


def frame_of(planes: Planes, info: VideoInfo, pts: int) -> FrameBatch:
    """The visible part of rounded planes as a batch of one 8-bit frame."""

    def one(x: Tensor, rows: int, cols: int) -> Plane:
        x = (x[0, :, :rows, :cols] * 255).round().clamp(0, 255)
        return x.to("cpu", torch.uint8).numpy()

    rows, cols = info.chroma_height, info.chroma_width
    return FrameBatch(
        one(planes.y, info.height, info.width),
        one(planes.u, rows, cols),
        one(planes.v, rows, cols),
        np.array([pts], np.int64),
    )
