"""Muon's updates: orthogonal, of AdamW's size, and only for matrices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gancodec.train.muon import Muon, is_matrix, orthogonal


@pytest.mark.parametrize("shape", [(32, 32), (24, 96), (96, 24)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=generator) * 1e-3
    found = orthogonal(matrix)
    assert found.shape == shape
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.3
    assert values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    along = (u.T @ found @ v.T).diagonal()  # the same directions
    assert torch.allclose(along, values.sort(descending=True).values, atol=0.6)
    assert (along > 0.3).all()


def test_only_mixing_convolutions_are_matrices() -> None:
    assert is_matrix(nn.Conv2d(16, 32, 3).weight)
    assert not is_matrix(nn.Conv2d(32, 32, 3, groups=32).weight)
    assert not is_matrix(nn.Conv2d(32, 8, 1).weight)
    assert not is_matrix(torch.zeros(64))


def test_an_update_has_the_size_of_adamws() -> None:
    weight = nn.Parameter(torch.zeros(64, 32, 3, 3))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 1e-5
    Muon([weight], lr=0.01).step()
    size = weight.detach().square().mean().sqrt()
    assert 0.5 * 0.002 < size < 1.5 * 0.002  # lr x 0.2, whatever the gradient's size
    assert (weight.detach() * weight.grad).sum() < 0  # downhill


def test_a_quadratic_is_solved() -> None:
    target = torch.randn(32, 16, 1, 1, generator=torch.Generator().manual_seed(2))
    weight = nn.Parameter(torch.zeros_like(target))
    optimizer = Muon([weight], lr=0.05)
    start = float(target.square().mean())
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.3 * (1 - step / 200)
        optimizer.zero_grad()
        (weight - target).square().sum().backward()
        optimizer.step()
    assert float((weight - target).square().mean().detach()) < 0.01 * start
