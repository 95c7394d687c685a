"""Block motion: the classical search of the encoder, and the warp both sides share.

A motion field is (B, 2, H/8, W/8) int16-valued, quarter samples of luma, x first: the block at
(r, c) is predicted from the reference displaced by that vector. The search finds candidates;
which of them pay for their bits is decided where the bits are known, in `models.motion_choice`.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from gancodec.nn.planes import Planes

MOTION_LIMIT = 255  # quarter samples: +-64 luma samples


def double_resolution(x: Tensor) -> Tensor:
    """(B, 1, H, W) -> (B, 1, 2H, 2W): samples at even positions, half samples between them."""
    b, c, h, w = x.shape
    wide = F.pad(x, (2, 3, 2, 3), mode="replicate")
    below = _between(wide, -2)
    out = x.new_empty(b, c, h, 2, w, 2)
    out[..., 0, :, 0] = x
    out[..., 0, :, 1] = _between(wide[..., 2:-3, :], -1)
    out[..., 1, :, 0] = below[..., 2:-3]
    out[..., 1, :, 1] = _between(below, -1)
    return out.view(b, c, 2 * h, 2 * w)


def _between(x: Tensor, dim: int) -> Tensor:
    """Half samples along ``dim``, five fewer: H.264's filter, (1, -5, 20, 20, -5, 1) / 32.

    Sums of shifted pictures: a convolution of one channel took ten times as long.
    """
    count = x.shape[dim] - 5
    far, near, next_to = (x.narrow(dim, k, count) + x.narrow(dim, 5 - k, count) for k in range(3))
    return far.mul_(1 / 32).add_(near, alpha=-5 / 32).add_(next_to, alpha=20 / 32)


class Displacement:
    """A motion field made ready to move pictures with: where each of their samples comes from.

    Args:
        field: (B, 2, H/8, W/8) vectors.
        overlap: blend the predictions by a block's own vector and by its neighbours', with weights
            that fall linearly from one block's centre to the next (overlapped block motion
            compensation; Orchard, Sullivan 1994). Otherwise blocks end at hard edges.
    """

    def __init__(self, field: Tensor, *, overlap: bool = True) -> None:
        field = field.float()
        height, width = (8 * side for side in field.shape[-2:])
        parts = list(_quarter_fields(field)) if overlap else [(field, None)]
        cell = 4 if overlap else 8  # luma samples that share a vector
        self._luma: list[_Part] = []
        self._chroma: list[_Part] = []
        for vectors, neighbour in parts:
            # luma comes from a picture of twice the size, in which quarter samples are halves
            grid = _sampling_grid(vectors, (height, width), cell, 0.5, 2)
            self._luma.append((grid, _window((height, width), 8, neighbour, field.device)))
            size = height // 2, width // 2
            grid = _sampling_grid(vectors, size, cell // 2, 0.125, 1)
            self._chroma.append((grid, _window(size, 4, neighbour, field.device)))

    def luma(self, plane: Tensor) -> Tensor:
        """(B, 1, H, W), moved: six-tap half samples, bilinear quarter samples (H.264's)."""
        return _blended(double_resolution(plane), self._luma)

    def chroma(self, planes: Tensor) -> Tensor:
        """(B, C, H/2, W/2), moved: bilinear."""
        return _blended(planes, self._chroma)


def warp(reference: Planes, field: Tensor | Displacement, *, overlap: bool = True) -> Planes:
    """Predict a frame by displacing blocks of ``reference``; edges are replicated.

    Args:
        reference: planes whose sides are multiples of 16.
        field: (B, 2, H/8, W/8) vectors, or a `Displacement`, which serves several pictures.
        overlap: of vectors, see `Displacement`.
    """
    if isinstance(field, Tensor):
        field = Displacement(field, overlap=overlap)
    uv = field.chroma(torch.cat([reference.u, reference.v], 1))
    return Planes(field.luma(reference.y), uv[:, :1], uv[:, 1:])


_Part = tuple[Tensor, Tensor | None]  # a sampling grid (B, H, W, 2); how much it weighs, (H, W)
_Neighbour = tuple[bool, bool] | None  # whether it is vertical, and horizontal


def _blended(image: Tensor, parts: list[_Part]) -> Tensor:
    total: Tensor | None = None
    for grid, window in parts:
        moved = F.grid_sample(
            image, grid, mode="bilinear", padding_mode="border", align_corners=True
        )
        if window is not None:
            moved = moved * window if total is None else torch.addcmul(total, moved, window)
        total = moved
    assert total is not None
    return total


def _sampling_grid(
    field: Tensor, size: tuple[int, int], cell: int, unit: float, finer: int
) -> Tensor:
    """Normalised grid for `grid_sample` (align_corners) of ``size`` = (height, width).

    It reads an image ``finer`` times as high and wide; ``cell`` samples of the grid share a vector,
    which is worth ``unit`` samples of the image.
    """
    b, _, rows, _ = field.shape
    still, scale = _still_grid(size, finer, field.device)
    shift = field.permute(0, 2, 3, 1) * (scale * unit)  # x first
    # whole rows of numbers are added: broadcasting inside them would be slow
    lines = shift[:, :, :, None].expand(-1, -1, -1, cell, -1).reshape(b, rows, 1, -1)
    return (still.view(1, rows, cell, -1) + lines).view(b, *size, 2)


@lru_cache(maxsize=4)
def _still_grid(size: tuple[int, int], finer: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The grid that moves nothing, (height, width, 2), and what a sample is worth in it."""
    with torch.inference_mode(False):  # training may use what decoding made
        scale = torch.tensor([2 / max(finer * side - 1, 1) for side in size[::-1]], device=device)
        ys, xs = (torch.arange(0, finer * side, finer, device=device) for side in size)
        places = torch.meshgrid(xs, ys, indexing="xy")
        return torch.stack(places, -1) * scale - 1, scale


def _quarter_fields(field: Tensor) -> Iterator[tuple[Tensor, tuple[bool, bool]]]:
    """What each quarter of each block is predicted with: (B, 2, 2 rows, 2 cols) fields.

    First the block's own vector, then those of the neighbours that the quarter touches: above or
    below, left or right, and diagonally; with whether the neighbour is vertical and horizontal.
    """
    h, w = field.shape[-2:]
    rows = torch.arange(2 * h, device=field.device)
    cols = torch.arange(2 * w, device=field.device)
    other_row = (rows // 2 + rows % 2 * 2 - 1).clamp(0, h - 1)
    other_col = (cols // 2 + cols % 2 * 2 - 1).clamp(0, w - 1)
    for down, r in ((False, rows // 2), (True, other_row)):
        for right, c in ((False, cols // 2), (True, other_col)):
            yield field[:, :, r][:, :, :, c], (down, right)


@lru_cache(maxsize=16)
def _window(
    size: tuple[int, int], block: int, neighbour: _Neighbour, device: torch.device
) -> Tensor | None:
    """(height, width) weights: own ones fall to a half at a block's edge, the others rise."""
    if neighbour is None:
        return None
    with torch.inference_mode(False):
        other = ((torch.arange(block, device=device) + 0.5) / block - 0.5).abs()
        vertical, horizontal = (other if far else 1 - other for far in neighbour)
        tile = vertical[:, None] * horizontal[None]
        return tile.repeat(size[0] // block, size[1] // block)


class QuarterSamples:
    """Luma (B, 1, H, W) of a reference at quarter-sample resolution, padded, in flat memory.

    A block's sample at (y, x) displaced by the vector v is ``flat[base[y, x] + v_y stride + v_x]``.
    Vectors are at most ``limit`` long.
    """

    def __init__(self, luma: Tensor, limit: int = MOTION_LIMIT) -> None:
        b, _, h, w = luma.shape
        self.shape = (b, h, w)
        self.limit = limit
        self.pad = limit // 4 + 1  # whole vectors stay inside
        fine = double_resolution(F.pad(luma, (self.pad,) * 4, mode="replicate"))[:, 0]
        quarters = _with_means(fine)
        self.stride = quarters.shape[-1]
        self.flat = quarters.flatten(1)
        self.luma = luma
        ys = (torch.arange(h) + self.pad) * (4 * self.stride)
        xs = (torch.arange(w) + self.pad) * 4
        self.base = (ys[:, None] + xs[None]).view(1, h, w)

    def __getitem__(self, k: int) -> QuarterSamples:
        """The k-th picture of the batch on its own, sharing its memory."""
        one = copy(self)
        one.flat, one.luma = self.flat[k : k + 1], self.luma[k : k + 1]
        one.shape = (1, *self.shape[1:])
        return one

    def differences(self, field: Tensor, current: Tensor) -> Tensor:
        """(B, 2, H/8, W/8) whole-number vectors -> (B, H/8, W/8) sums of absolute differences."""
        b, h, w = self.shape
        offset = field[:, 1] * self.stride + field[:, 0]
        index = self.base + offset.repeat_interleave(8, 1).repeat_interleave(8, 2)
        predicted = torch.gather(self.flat, 1, index.view(b, -1)).view(b, 1, h, w)
        return F.avg_pool2d((predicted - current).abs(), 8)[:, 0] * 64


def _with_means(x: Tensor) -> Tensor:
    """(B, H, W) -> (B, 2H, 2W): samples with the means of neighbouring ones between them."""
    b, h, w = x.shape
    out = x.new_empty(b, 2 * h, 2 * w)
    rows = out[:, ::2]
    rows[..., ::2] = x
    torch.add(x[..., :-1], x[..., 1:], out=rows[..., 1:-1:2]).mul_(0.5)
    rows[..., -1] = x[..., -1]
    torch.add(rows[:, :-1], rows[:, 1:], out=out[:, 1:-1:2]).mul_(0.5)
    out[:, -1] = rows[:, -1]
    return out


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
    reference: QuarterSamples | Tensor,
    *,
    penalty: float = 0.3,
    radius: int = 8,
    split: bool = True,
) -> Tensor:
    """Find which places of ``reference`` resemble the blocks of ``current`` most.

    The vectors are candidates: what they cost to code is left to
    `gancodec.models.motion_choice.choose_field`, so the price of a bit is small here.

    Args:
        current, reference: luma (B, 1, H, W), floats in 0..255, sides multiples of 16.
        penalty: price, in sums of absolute differences, of one bit of a vector.
        radius: coarse window in quarter-resolution samples.
        split: search 8x8 blocks, too; otherwise the four of a 16x16 block are the same.

    Returns:
        (B, 2, H/8, W/8) int64, |vector| at most the reference's limit.
    """
    if isinstance(reference, Tensor):
        reference = QuarterSamples(reference)
    current = current.contiguous()
    field = _coarse_search(current, reference.luma, radius, penalty * 0.5)
    field = field.clamp(-reference.limit, reference.limit)
    centre = _median_of_neighbours(field)
    field = _refined(current, reference, field, centre, (8, 4, 2, 1), penalty, 2, _AROUND)
    dense = field.repeat_interleave(2, 2).repeat_interleave(2, 3)
    if not split:
        return dense
    return refine_motion(current, reference, dense, penalty=penalty, steps=(4, 2, 1))


def refine_motion(
    current: Tensor,
    reference: QuarterSamples,
    field: Tensor,
    *,
    penalty: float = 0.3,
    steps: tuple[int, ...] = (2, 1),
    diagonal: bool = True,
) -> Tensor:
    """Move each vector of a field (B, 2, H/8, W/8) to the best around it.

    ``steps`` are the distances to its four neighbours, with ``diagonal`` eight, one round each, in
    quarter samples; the rest is as in `search_motion`.
    """
    around = _AROUND if diagonal else _AROUND[:4]
    return _refined(current.contiguous(), reference, field, field, steps, penalty, 1, around)


def _refined(
    current: Tensor,
    samples: QuarterSamples,
    field: Tensor,
    centre: Tensor,
    steps: tuple[int, ...],
    penalty: float,
    cell: int,
    around: tuple[tuple[int, int], ...],
) -> Tensor:
    """The best of blocks of 16 (cell=2) or 8 (1) samples; what leads from ``centre`` is priced."""

    def cost_of(trial: Tensor) -> Tensor:
        dense = trial.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
        cost = samples.differences(dense, current)
        if cell == 2:
            cost = F.avg_pool2d(cost[:, None], 2)[:, 0] * 4
        return cost + penalty * _vector_bits(trial - centre)

    best = cost_of(field)
    for step in steps:
        start = field
        for dy, dx in around:
            trial = start + start.new_tensor([dx * step, dy * step]).view(1, 2, 1, 1)
            trial = trial.clamp(-samples.limit, samples.limit)
            cost = cost_of(trial)
            better = cost < best
            field = torch.where(better[:, None], trial, field)
            best = torch.where(better, cost, best)
    return field


_AROUND = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


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
