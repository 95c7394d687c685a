"""The adversarial stage: the synthesis head against a critic, on a frozen loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from gancodec.models.compress import GanCodec
from gancodec.nn.critic import PatchCritic
from gancodec.nn.motion import warp
from gancodec.nn.planes import Planes, at_half_resolution
from gancodec.train.losses import psnr_y, weighted_mse
from gancodec.train.perception import Perception, random_view
from gancodec.train.shown import Shown, ShownRollOut

PENALTY_CHANCE = 1 / 8  # of a step: the penalty of gradients is dear and slow to change
_NEAR_ZERO = 1e-6


class Past(NamedTuple):
    """The frame before, moved to this one: as it was and as it was shown. Intra: this frame."""

    source: Planes
    planes: Planes


class Contest(NamedTuple):
    """Losses of a step: the critic's, the head's (B,), and how far features are apart (B,).

    ``right`` is the share of places where the critic tells real from shown.
    """

    critic: Tensor
    head: Tensor
    matching: Tensor
    right: float


class AdversarialStage(ShownRollOut):
    """The head learns what real video looks like; the loop does not move.

    The loss of a frame is ``balance x weight x (shown x MSE + temporal x MSE of what changed since
    the frame before + perception x (learned distance + statistics x that of local statistics
    + matching x that of the critic's features)) + adversarial x that of the critic``.

    The critic compares the real and the shown frame of the same place (relativistic pairing,
    Jolicoeur-Martineau 2019) and is kept smooth by gradient penalties on both (R1 and R2; R3GAN,
    Huang et al., NeurIPS 2024). It sees the frame before, moved by the block motion, so that
    flicker gives itself away, the loop's picture and the latents. Both sides step at once: each
    loss sees the other's weights as fixed.
    """

    def __init__(
        self,
        codec: GanCodec,
        folders: list[Path],
        cache: Path,
        *,
        frames: tuple[int, int] = (0, 5),
        window: int = 2,
        perception: float = 300.0,
        shown: float = 0.3,
        statistics: float = 1.0,
        matching: float = 0.3,
        adversarial: float = 0.3,
        temporal: float = 0.5,
        penalty: float = 0.05,
        neighbours: bool = True,
        **roll: Any,
    ) -> None:
        super().__init__(codec, folders, cache, frames=frames, window=window, **roll)
        self.perception, self.shown_share = perception, shown
        self.statistics, self.matching = statistics, matching
        self.adversarial, self.temporal = adversarial, temporal
        self.penalty, self.neighbours = penalty, neighbours
        device = next(codec.parameters()).device
        self.eye = Perception(device)
        latents = {"intra": codec.intra.prior.latents, "inter": codec.inter.prior.latents}
        self.critic = PatchCritic(3 if neighbours else 2, latents).to(device)
        self.helpers = nn.ModuleDict({"critic": self.critic})

    def parameters(self) -> list[nn.Parameter]:
        return [*self.codec.detail.parameters(), *self.critic.parameters()]

    def start(self) -> None:
        """A fresh critic knows nothing, and the head may already be trained."""

    def loss(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        frames = self.roll(rng)
        now, before = frames[-1], frames[-2] if len(frames) > 1 else None
        source, shown, level = now.source, now.planes, now.level
        seen = self.eye.compare(*random_view([shown, source], rng), statistics=self.statistics > 0)
        past = self._past(now, before)
        contest = self._contest(now, past, bool(rng.random() < PENALTY_CHANCE))
        eye = seen.distance + self.statistics * seen.statistics
        eye = eye + self.matching * contest.matching
        flicker = weighted_mse(
            _difference(shown, past.planes), _difference(source, past.source)
        )  # none for intra frames, whose past is themselves
        error = self.shown_share * weighted_mse(shown, source) + self.temporal * flicker
        price = self.balance[level] * self.weights[level]
        head = price * (error + self.perception * eye) + self.adversarial * contest.head
        gain = psnr_y(shown, source) - psnr_y(now.picture, source)
        return head.mean() + contest.critic, {
            "st_lpips": float(seen.distance.detach().mean()),
            "statistics": float(seen.statistics.detach().mean()),
            "psnr_y_gain": float(gain.detach().mean()),
            "matching": float(contest.matching.detach().mean()),
            "critic": float(contest.critic.detach()),
            "critic_right": contest.right,
        }

    def _past(self, now: Shown, before: Shown | None) -> Past:
        if before is None or now.field is None:
            return Past(now.source, now.planes)
        overlap = self.codec.config.overlap
        return Past(
            warp(before.source, now.field, overlap=overlap),
            warp(before.planes, now.field, overlap=overlap),
        )

    def _contest(self, now: Shown, past: Past, penalised: bool) -> Contest:
        """Both sides' losses; each leaves the other's weights alone."""
        real = self._evidence(now.source, past.source, now.picture)
        fake = self._evidence(now.planes, past.planes, now.picture)
        shown = fake.detach()
        if penalised:
            real, shown = real.requires_grad_(), shown.requires_grad_()
        kind = "intra" if now.field is None else "inter"
        wanted, features = self.critic(real, now.latents, kind)
        score, _ = self.critic(shown, now.latents, kind)
        critic = F.softplus(score - wanted).mean()
        if penalised:
            slopes = torch.autograd.grad(
                wanted.sum() + score.sum(), [real, shown], create_graph=True
            )
            steepness = sum((s.square().sum() for s in slopes), torch.zeros_like(critic))
            critic = critic + self.penalty / 2 / PENALTY_CHANCE * steepness / wanted.numel()
        fixed = {name: p.detach() for name, p in self.critic.named_parameters()}
        again, found = functional_call(self.critic, fixed, (fake, now.latents, kind))
        head = F.softplus(wanted.detach() - again).mean((1, 2, 3))
        matching = torch.zeros_like(head)
        for a, b in zip(found, (f.detach() for f in features), strict=True):
            matching = matching + (a - b).abs().mean((1, 2, 3)) / (b.abs().mean() + _NEAR_ZERO)
        right = float((wanted > score).float().mean())
        return Contest(critic, head, matching / len(features), right)

    def _evidence(self, frame: Planes, past: Planes, picture: Planes) -> Tensor:
        """What the critic sees: a frame, the loop's picture of it, and the one before it."""
        seen = [frame, picture, past] if self.neighbours else [frame, picture]
        return torch.cat([at_half_resolution(planes) for planes in seen], 1)


def _difference(a: Planes, b: Planes) -> Planes:
    return Planes(*(x - y for x, y in zip(a, b, strict=True)))
