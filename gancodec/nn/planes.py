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


HALF_CHANNELS = 6  # of a 4:2:0 frame at half resolution: four luma phases, U, V

# Y, U and V: first channel, side of the square of samples that a place holds
_PARTS = ((0, 8), (64, 4), (80, 4))


def pack(planes: Planes) -> Tensor:
    """Planes -> (B, 96, H/8, W/8), centred: values in [-0.5, 0.5]."""
    b, _, height, width = planes.y.shape
    out = planes.y.new_empty(b, height // 8, width // 8, PACKED_CHANNELS)  # channels last
    for plane, (first, side) in zip(planes, _PARTS, strict=True):
        squares = torch.unflatten(torch.unflatten(plane[:, 0], -1, (-1, side)), 1, (-1, side))
        part = out[..., first : first + side * side]
        torch.unflatten(part, -1, (side, side)).copy_(squares.transpose(2, 3))
    return out.sub_(0.5).permute(0, 3, 1, 2)


def unpack(packed: Tensor) -> Planes:
    """(B, 96, H/8, W/8) -> planes, not clamped."""
    b, _, h, w = packed.shape
    places = packed.permute(0, 2, 3, 1) + 0.5

    def one(first: int, side: int) -> Tensor:
        part = places[..., first : first + side * side]
        squares = torch.unflatten(part, -1, (side, side))
        return squares.transpose(2, 3).reshape(b, 1, h * side, w * side)

    return Planes(*(one(*part) for part in _PARTS))


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


def at_half_resolution(planes: Planes) -> Tensor:
    """Planes -> (B, 6, H/2, W/2): four luma phases, U, V; centred on 0, of deviation about 1."""
    luma = F.pixel_unshuffle(planes.y, 2)
    return (torch.cat([luma, planes.u, planes.v], 1) - 0.5) * 4


def from_half_resolution(x: Tensor) -> Planes:
    """The planes of `at_half_resolution`, not clamped."""
    x = x / 4 + 0.5
    return Planes(F.pixel_shuffle(x[:, :4], 2), x[:, 4:5], x[:, 5:6])
