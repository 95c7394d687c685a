"""Halving and doubling: sizes, and that a fresh net draws no pattern of its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gancodec.nn.blocks import DepthwiseBlock, Double, Halve, depthwise_stack


def checkers(x: torch.Tensor) -> float:
    """How far the four phases of a picture are apart."""
    phases = F.pixel_unshuffle(x, 2).view(len(x), -1, 4, x.shape[-2] // 2, x.shape[-1] // 2)
    return float((phases - phases[:, :, :1]).abs().max())


def test_double_draws_no_checkerboard() -> None:
    """What is constant stays so, to the last bit, and what is not becomes squares of 2x2."""
    torch.manual_seed(1)
    double = Double(7, 5)
    assert double.bias is not None
    assert double.bias.abs().max() > 0  # not for lack of anything to draw with
    for x in (torch.full((2, 7, 6, 4), 0.3), torch.randn(2, 7, 6, 4)):
        with torch.inference_mode():
            out = double(x)
        assert out.shape == (2, 5, 12, 8)
        assert checkers(out) == 0
    plain = nn.Sequential(nn.Conv2d(7, 20, 1), nn.PixelShuffle(2))
    assert checkers(plain(torch.full((2, 7, 6, 4), 0.3)).detach()) > 0.01


def test_double_learns_each_phase_alone() -> None:
    double = Double(3, 2)
    out = double(torch.ones(1, 3, 2, 2))
    out[..., ::2, ::2].sum().backward()
    assert double.weight.grad is not None
    moved = double.weight.grad.flatten(1).abs().sum(1).view(2, 4)
    assert (moved[:, 0] > 0).all()
    assert (moved[:, 1:] == 0).all()


def test_halve_is_a_strided_convolution() -> None:
    halve = Halve(5, 7)
    x = torch.randn(2, 5, 12, 8)
    out = halve(x)
    assert out.shape == (2, 7, 6, 4)
    every = F.conv2d(x, halve.weight, halve.bias, padding=1)
    assert torch.allclose(out, every[..., ::2, ::2], atol=1e-5)


def test_fresh_blocks_are_the_identity_with_gradients() -> None:
    stack = depthwise_stack(6, 3)
    assert [type(block) for block in stack] == [DepthwiseBlock] * 3
    x = torch.randn(1, 6, 8, 8)
    assert torch.equal(stack(x), x)
    with torch.inference_mode():  # the other, in-place way through
        assert torch.equal(stack(x.clone()), x)
    stack(x).square().sum().backward()
    last = stack[0].mix_out
    assert isinstance(last, nn.Conv2d)
    assert last.weight.grad is not None
    assert last.weight.grad.abs().max() > 0


def test_blocks_give_the_same_with_and_without_gradients() -> None:
    """In place, they must not write over what was given to them."""
    block = DepthwiseBlock(6)
    for p in block.parameters():
        nn.init.normal_(p, std=0.3)
    x = torch.randn(1, 6, 8, 8)
    kept = x.clone()
    with torch.inference_mode():
        quick = block(x)
    assert torch.equal(x, kept)
    assert quick == pytest.approx(block(x).detach(), abs=1e-5)
