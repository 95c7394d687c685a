"""Block motion: the classical search of the encoder, and the warp both sides share.

A motion field is (B, 2, H/8, W/8) int16-valued, quarter samples of luma, x first: the block at
(r, c) is predicted from the reference displaced by that vector. The search decides on 16x16
blocks and splits one into four 8x8 where that pays.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gancodec.nn.planes import BLOCK, Planes

MOTION_LIMIT = 255  # quarter samples: +-64 luma samples
_HALF_TAPS = torch.tensor([1.0, -5.0, 20.0, 20.0, -5.0, 1.0]) / 32  # H.264's half-sample filter


def double_resolution(x: Tensor) -> Tensor:
    """(B, 1, H, W) -> (B, 1, 2H, 2W): samples at even positions, half samples between them."""
    taps = _HALF_TAPS.to(x)
    wide = F.pad(x, (2, 3, 0, 0), mode="replicate") if x.shape[-1] > 1 else x.repeat(1, 1, 1, 6)
    right = F.conv2d(wide, taps.view(1, 1, 1, 6))
    x = torch.stack([x, right], -1).flatten(-2)
    tall = F.pad(x, (0, 0, 2, 3), mode="replicate") if x.shape[-2] > 1 else x.repeat(1, 1, 6, 1)
    below = F.conv2d(tall, taps.view(1, 1, 6, 1))
    return torch.stack([x, below], -2).flatten(-3, -2)


def _sampling_grid(field: Tensor, cell: int, unit: float, like: Tensor, step: float) -> Tensor:
    """Normalised grid for `grid_sample` (align_corners) over an image of ``like``'s size.

    ``cell`` output samples share a vector; a vector is worth ``unit`` samples of the output;
    neighbouring output samples are ``step`` samples of ``like`` apart.
    """
    b, _, rows, cols = field.shape
    height, width = like.shape[-2:]
    shift = field.repeat_interleave(cell, 2).repeat_interleave(cell, 3) * unit
    ys = torch.arange(rows * cell, device=field.device, dtype=like.dtype).view(1, -1, 1)
    xs = torch.arange(cols * cell, device=field.device, dtype=like.dtype).view(1, 1, -1)
    x = (xs + shift[:, 0]) * (2 * step / max(width - 1, 1)) - 1
    y = (ys + shift[:, 1]) * (2 * step / max(height - 1, 1)) - 1
    return torch.stack([x.expand(b, -1, -1), y.expand(b, -1, -1)], -1)


def warp(reference: Planes, field: Tensor) -> Planes:
    """Predict a frame by displacing blocks of ``reference``; edges are replicated.

    Luma: six-tap half samples, bilinear quarter samples (H.264's); chroma: bilinear.
    """
    field = field.to(reference.y.dtype)
    fine = double_resolution(reference.y)
    grid = _sampling_grid(field, 8, 0.25, fine, 2.0)
    y = _sample(fine, grid)
    chroma = torch.cat([reference.u, reference.v], 1)
    uv = _sample(chroma, _sampling_grid(field, 4, 0.125, chroma, 1.0))
    return Planes(y, uv[:, :1], uv[:, 1:])


def _sample(image: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


class _Reference:
    """A reference at quarter-sample resolution, padded, ready for block differences."""

    def __init__(self, luma: Tensor, current: Tensor) -> None:
        self.current = current.contiguous()
        b, _, h, w = luma.shape
        self.shape = (b, h, w)
        self.pad = MOTION_LIMIT // 4 + 1  # whole vectors stay inside
        fine = double_resolution(F.pad(luma, (self.pad,) * 4, mode="replicate"))
        right = (fine + fine.roll(-1, -1)) * 0.5
        fine = torch.stack([fine, right], -1).flatten(-2)
        below = (fine + fine.roll(-1, -2)) * 0.5
        fine = torch.stack([fine, below], -2).flatten(-3, -2)
        self.stride = fine.shape[-1]
        self.flat = fine.flatten(1).contiguous()
        ys = (torch.arange(h) + self.pad) * (4 * self.stride)
        xs = (torch.arange(w) + self.pad) * 4
        self.base = (ys[:, None] + xs[None]).view(1, h, w)

    def cost(self, field: Tensor) -> Tensor:
        """(B, 2, H/8, W/8) whole-number vectors -> (B, H/8, W/8) sums of absolute differences."""
        b, h, w = self.shape
        offset = field[:, 1] * self.stride + field[:, 0]
        index = self.base + offset.repeat_interleave(8, 1).repeat_interleave(8, 2)
        predicted = torch.gather(self.flat, 1, index.view(b, -1)).view(b, 1, h, w)
        return F.avg_pool2d((predicted - self.current).abs(), 8)[:, 0] * 64


def _coarse_search(current: Tensor, reference: Tensor, radius: int, penalty: float) -> Tensor:
    """Full search at quarter resolution on overlapping windows -> (B, 2, H/16, W/16) vectors.

    Overlap (each 16x16 block is judged with its neighbourhood) makes the field smooth.
    """
    small = F.avg_pool2d(current, 4)
    wide = F.pad(F.avg_pool2d(reference, 4), (radius,) * 4, mode="replicate")
    h, w = small.shape[-2:]
    costs, vectors = [], []
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            part = wide[..., radius + dy : radius + dy + h, radius + dx : radius + dx + w]
            cost = F.avg_pool2d((part - small).abs(), 4)
            costs.append(cost + penalty * (abs(dx) + abs(dy)))
            vectors.append((16 * dx, 16 * dy))
    stack = torch.cat(costs, 1)  # (B, candidates, H/16, W/16)
    smooth = F.avg_pool2d(stack, 3, 1, 1, count_include_pad=False)
    table = torch.tensor(vectors)
    best = (stack + smooth).argmin(1)  # (B, H/16, W/16)
    return table[best].permute(0, 3, 1, 2)


def search_motion(
    current: Tensor,
    reference: Tensor,
    *,
    penalty: float = 2.0,
    previous: Tensor | None = None,
    radius: int = 8,
    split: bool = True,
    quarter: bool = True,
) -> Tensor:
    """Find the block motion from ``reference`` to ``current``.

    Args:
        current, reference: luma (B, 1, H, W), floats in 0..255, sides multiples of 16.
        penalty: price, in sums of absolute differences, of one bit of a vector.
        previous: field of the frame before, tried as a candidate.
        radius: coarse window in quarter-resolution samples.
        split: allow four 8x8 vectors in a block.
        quarter: refine to quarter samples (else half).

    Returns:
        (B, 2, H/8, W/8) int64, |vector| <= MOTION_LIMIT.
    """
    b, _, h, w = current.shape
    target = _Reference(reference, current)
    rows, cols = h // BLOCK, w // BLOCK

    def block_cost(field: Tensor, centre: Tensor, cell: int) -> Tensor:
        """Differences of cells of 16 (cell=2) or 8 (1) samples, plus the price of the vector."""
        dense = field.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
        cost = target.cost(dense)
        if cell == 2:
            cost = F.avg_pool2d(cost[:, None], 2)[:, 0] * 4
        return cost + penalty * _vector_bits(field - centre)

    def refine(field: Tensor, best: Tensor, centre: Tensor, steps: list[int], cell: int) -> Tensor:
        for step in steps:
            start = field
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)):
                trial = start + start.new_tensor([dx * step, dy * step]).view(1, 2, 1, 1)
                trial = trial.clamp(-MOTION_LIMIT, MOTION_LIMIT)
                cost = block_cost(trial, centre, cell)
                better = cost < best
                field = torch.where(better[:, None], trial, field)
                best = torch.where(better, cost, best)
        return field

    field = _coarse_search(current, reference, radius, penalty * 0.05)
    field = field.clamp(-MOTION_LIMIT, MOTION_LIMIT)
    centre = _median_of_neighbours(field)
    candidates = [torch.zeros_like(field), centre]
    if previous is not None:
        candidates.append(previous[:, :, ::2, ::2])
    best = block_cost(field, centre, 2)
    for trial in candidates:
        cost = block_cost(trial, centre, 2)
        field = torch.where((cost < best)[:, None], trial, field)
        best = torch.minimum(cost, best)
    field = refine(field, best, centre, [8, 4, 2], 2)
    for _ in range(2):  # let good vectors spread, judged against their final neighbours
        centre = _median_of_neighbours(field)
        best = block_cost(field, centre, 2)
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            trial = _shifted(field, dy, dx)
            cost = block_cost(trial, centre, 2)
            field = torch.where((cost < best)[:, None], trial, field)
            best = torch.minimum(cost, best)
        cost = block_cost(centre, centre, 2)
        field = torch.where((cost < best)[:, None], centre, field)
        best = torch.minimum(cost, best)
    finest = 1 if quarter else 2
    field = refine(field, best, centre, [2, finest] if quarter else [2], 2)
    dense = field.repeat_interleave(2, 2).repeat_interleave(2, 3)
    if not split:
        return dense
    whole = target.cost(dense)
    fine, best = dense, whole + 0.0
    parent = dense
    for dy, dx in ((0, 2), (0, -2), (2, 0), (-2, 0)):  # vectors of the neighbouring blocks
        trial = _shifted(dense, dy, dx)
        cost = target.cost(trial) + penalty * _vector_bits(trial - parent)
        fine = torch.where((cost < best)[:, None], trial, fine)
        best = torch.minimum(cost, best)
    fine = refine(fine, best, parent, [4, 2, finest] if quarter else [4, 2], 1)
    split_cost = target.cost(fine) + penalty * _vector_bits(fine - parent)
    gain = F.avg_pool2d((whole - split_cost)[:, None], 2) * 4 - penalty * 8  # flag, three vectors
    keep = (gain > 0).view(b, 1, rows, cols).repeat_interleave(2, 2).repeat_interleave(2, 3)
    return torch.where(keep, fine, dense)


def _vector_bits(delta: Tensor) -> Tensor:
    """Rough bits of a vector difference (B, 2, h, w) -> (B, h, w): Exp-Golomb-like."""
    return 2 * torch.log2(delta.abs().float() + 1).sum(1) + 1


def _shifted(field: Tensor, dy: int, dx: int) -> Tensor:
    """Every block takes the vector of the block (dy, dx) away; edges repeat."""
    h, w = field.shape[-2:]
    rows = (torch.arange(h) + dy).clamp(0, h - 1)
    cols = (torch.arange(w) + dx).clamp(0, w - 1)
    return field[:, :, rows][:, :, :, cols]


def _median_of_neighbours(field: Tensor) -> Tensor:
    around = torch.stack([_shifted(field, *d) for d in ((0, -1), (0, 1), (-1, 0), (1, 0), (0, 0))])
    return around.median(0).values
