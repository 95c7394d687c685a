"""What the prior counts as rate: noise while training, the coded symbols otherwise."""

from __future__ import annotations

import torch

from gancodec.nn.prior import LatentPrior, PriorOutput


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
    assert torch.allclose(first.bits, real.bits, rtol=0.25)  # an estimate of what will be coded
