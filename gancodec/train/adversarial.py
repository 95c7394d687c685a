"""The adversarial stage: the synthesis head against a critic, on a frozen loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from gancodec.models.compress import GanCodec
from gancodec.nn.critic import PatchCritic, at_half_resolution
from gancodec.nn.motion import warp
from gancodec.nn.planes import Planes
from gancodec.train.losses import psnr_y, weighted_mse
from gancodec.train.perception import Perception, random_view
from gancodec.train.shown import Shown, ShownRollOut

PENALTY_CHANCE = 1 / 8  # of a step: the penalty of gradients is dear and slow to change
_NEAR_ZERO = 1e-6


class AdversarialStage(ShownRollOut):
    """The head learns what real video looks like; the loop does not move.

    The loss of a frame is ``balance x weight x (shown x MSE + temporal x MSE of what changed since
    the frame before + perception x (learned distance + statistics x that of local statistics
    + matching x that of the critic's features)) + adversarial x that of the critic``.

    The critic compares the real and
    the shown frame of the same place (relativistic pairing, Jolicoeur-Martineau 2019) and is kept
    smooth by gradient penalties on both (R1 and R2; R3GAN, Huang et al., NeurIPS 2024). It sees
    the frame before, moved by the block motion, so that flicker gives itself away, the loop's
    picture and the latents. Both sides step at once: each loss sees the other's weights as fixed.
    """

    def __init__(
        self,
        codec: GanCodec,
        folders: list[Path],
        cache: Path,
        *,
        batch: int,
        patch: int,
        frames: tuple[int, int] = (0, 5),
        window: int = 2,
        length: int = 12,
        crops: int = 6,
        perception: float = 433.0,
        shown: float = 0.5,
        statistics: float = 1.0,
        matching: float = 0.1,
        adversarial: float = 0.02,
        temporal: float = 0.5,
        penalty: float = 0.05,
        neighbours: bool = True,
    ) -> None:
        super().__init__(
            codec,
            folders,
            cache,
            batch=batch,
            patch=patch,
            frames=frames,
            length=length,
            crops=crops,
        )
        self.window, self.perception, self.shown_share = window, perception, shown
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
        frames = self.roll(rng, progress, self.window)
        now, before = frames[-1], frames[-2] if len(frames) > 1 else None
        source, shown, level = now.source, now.planes, now.level
        seen = self.eye.compare(*random_view([shown, source], rng), statistics=self.statistics > 0)
        real, fake = self._evidence(now, before, real=True), self._evidence(now, before)
        wins, matching = self._win(now, real, fake)
        eye = seen.distance + self.statistics * seen.statistics + self.matching * matching
        error = self.shown_share * weighted_mse(shown, source)
        error = error + self.temporal * _flicker(now, before, self.codec.config.overlap)
        price = self.balance[level] * self.weights[level]
        head = (price * (error + self.perception * eye) + self.adversarial * wins).mean()
        critic, right = self._teach(now, real, fake.detach(), bool(rng.random() < PENALTY_CHANCE))
        gain = psnr_y(shown, source) - psnr_y(now.picture, source)
        return head + critic, {
            "st_lpips": float(seen.distance.detach().mean()),
            "statistics": float(seen.statistics.detach().mean()),
            "psnr_y_gain": float(gain.detach().mean()),
            "matching": float(matching.detach().mean()),
            "critic": float(critic.detach()),
            "critic_right": right,
        }

    def _evidence(self, now: Shown, before: Shown | None, *, real: bool = False) -> Tensor:
        """What the critic sees: a frame, the one before it moved to it, and the loop's picture."""
        frame = now.source if real else now.planes
        seen = [frame, now.picture]
        if self.neighbours:
            moved = frame
            if before is not None and now.field is not None:
                moved = warp(
                    before.source if real else before.planes,
                    now.field,
                    overlap=self.codec.config.overlap,
                )
            seen.append(moved)
        return torch.cat([at_half_resolution(planes) for planes in seen], 1)

    def _win(self, now: Shown, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) the head's loss against the critic as it is, and how far its features are apart."""
        fixed = {name: p.detach() for name, p in self.critic.named_parameters()}
        kind = _kind(now)
        score, shown = functional_call(self.critic, fixed, (fake, now.latents, kind))
        with torch.no_grad():
            wanted, features = self.critic(real, now.latents, kind)
        wins = F.softplus(wanted - score).mean((1, 2, 3))
        matching = torch.zeros_like(wins)
        for a, b in zip(shown, features, strict=True):
            matching = matching + (a - b).abs().mean((1, 2, 3)) / (b.abs().mean() + _NEAR_ZERO)
        return wins, matching / len(features)

    def _teach(
        self, now: Shown, real: Tensor, fake: Tensor, penalised: bool
    ) -> tuple[Tensor, float]:
        """The critic's own loss, and the share of places where it tells real from shown."""
        kind = _kind(now)
        if penalised:
            real, fake = real.detach().requires_grad_(), fake.requires_grad_()
        wanted, _ = self.critic(real, now.latents, kind)
        score, _ = self.critic(fake, now.latents, kind)
        loss = F.softplus(score - wanted).mean()
        if penalised:
            slopes = torch.autograd.grad(
                wanted.sum() + score.sum(), [real, fake], create_graph=True
            )
            steepness = sum((s.square().sum() for s in slopes), torch.zeros((), device=fake.device))
            loss = loss + self.penalty / 2 / PENALTY_CHANCE * steepness / wanted.numel()
        return loss, float((wanted > score).float().mean())


def _kind(now: Shown) -> str:
    return "intra" if now.field is None else "inter"


def _flicker(now: Shown, before: Shown | None, overlap: bool) -> Tensor:
    """(B,) squared error of how a frame differs from the one before, moved to it; 0 for intra."""
    if before is None or now.field is None:
        return torch.zeros(len(now.level), device=now.level.device)

    def change(frame: Planes, last: Planes, field: Tensor) -> Planes:
        moved = warp(last, field, overlap=overlap)
        return Planes(*(a - b for a, b in zip(frame, moved, strict=True)))

    return weighted_mse(
        change(now.planes, before.planes, now.field), change(now.source, before.source, now.field)
    )
