"""What the prior counts as rate, and which symbols the encoder chooses."""

from __future__ import annotations

import pytest
import torch

from gancodec.nn.prior import (
    ERROR_WEIGHT,
    HYPER_ERROR_WEIGHT,
    SCALES,
    LatentPrior,
    PriorOutput,
    quantise,
    symbol_bits,
)


def coded(prior: LatentPrior, y: torch.Tensor, seed: int) -> PriorOutput:
    torch.manual_seed(seed)
    out: PriorOutput = prior(y, torch.tensor([20, 40]), None)
    return out


def test_training_counts_noise_and_evaluation_what_is_coded() -> None:
    torch.manual_seed(3)
    prior = LatentPrior((4, 8), 4, 16, 0, 64)
    y = torch.randn(2, 12, 8, 8) * 2
    with torch.no_grad():
        first, again, other = (coded(prior.train(), y, seed) for seed in (1, 1, 2))
        real = coded(prior.eval(), y, 1)
        same = coded(prior, y, 2)
    assert torch.equal(first.bits, again.bits)
    assert not torch.equal(first.bits, other.bits)
    assert torch.equal(real.bits, same.bits)  # nothing random outside of training
    assert torch.equal(first.y_hat, real.y_hat)  # the synthesis sees rounded latents in both
    assert (first.bits > real.bits).all()  # choosing symbols by their bits saves what noise spends


@pytest.mark.parametrize("weight", [ERROR_WEIGHT, HYPER_ERROR_WEIGHT])
def test_symbols_pay_for_their_bits(weight: float) -> None:
    """Against all whole numbers around: the least weight x error^2 + bits."""
    index = torch.arange(0, SCALES, 3, dtype=torch.float32)[:, None]
    offset = torch.linspace(-6, 6, 1201)[None]
    candidates = torch.arange(-8.0, 9.0)[:, None, None]
    price = symbol_bits(candidates, index[None]) + weight * (offset[None] - candidates).square()
    chosen = quantise(offset, index, weight)
    assert torch.equal(chosen, chosen.round())
    paid = symbol_bits(chosen, index) + weight * (offset - chosen).square()
    best = price.min(0).values
    assert (paid - best).mean() < 0.002 * best.mean()  # from 3 on one threshold serves all
    assert torch.equal(quantise(-offset, index, weight), -chosen)
    rounded = offset.round()
    plain = symbol_bits(rounded, index) + weight * (offset - rounded).square()
    assert (paid - best).mean() < 0.05 * (plain - best).mean()
