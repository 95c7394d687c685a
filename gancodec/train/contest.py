"""A step of a critic and of the net that it judges, which both adversarial stages share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from gancodec.nn.critic import PatchCritic

PENALTY_CHANCE = 1 / 8  # of a step: the penalty of gradients is dear and slow to change
_NEAR_ZERO = 1e-6


class Contest(NamedTuple):
    """Losses of a step: the critic's, the net's (B,), and how far features are apart (B,).

    ``right`` is the share of places where the critic tells real from fake.
    """

    critic: Tensor
    net: Tensor
    matching: Tensor
    right: float


def contest(
    critic: PatchCritic,
    real: Tensor,
    fake: Tensor,
    *condition: Tensor | str,
    penalty: float,
    penalised: bool,
) -> Contest:
    """Both sides' losses; each leaves the other's weights alone.

    The critic compares real and fake of the same place (relativistic pairing, Jolicoeur-Martineau
    2019) and is kept smooth by gradient penalties on both (R1 and R2; R3GAN, Huang et al., NeurIPS
    2024).

    Args:
        critic: the judge.
        real, fake: what it sees, (B, C, H/2, W/2).
        condition: what else it is told, see `PatchCritic`.
        penalty: weight of the gradients' squares, in a step in which all are ``penalised``.
    """
    shown = fake.detach()
    if penalised:
        real, shown = real.requires_grad_(), shown.requires_grad_()
    wanted, features = critic(real, *condition)
    score, _ = critic(shown, *condition)
    loss = F.softplus(score - wanted).mean()
    if penalised:
        slopes = torch.autograd.grad(wanted.sum() + score.sum(), [real, shown], create_graph=True)
        steepness = sum((s.square().sum() for s in slopes), torch.zeros_like(loss))
        loss = loss + penalty / 2 / PENALTY_CHANCE * steepness / wanted.numel()
    fixed = {name: p.detach() for name, p in critic.named_parameters()}
    again, found = functional_call(critic, fixed, (fake, *condition))
    net = F.softplus(wanted.detach() - again).mean((1, 2, 3))
    matching = torch.zeros_like(net)
    for a, b in zip(found, (f.detach() for f in features), strict=True):
        matching = matching + (a - b).abs().mean((1, 2, 3)) / (b.abs().mean() + _NEAR_ZERO)
    right = float((wanted > score).float().mean())
    return Contest(loss, net, matching / len(features), right)
