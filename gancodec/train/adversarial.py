"""The adversarial stage: the synthesis head against a critic, on a frozen loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gancodec.models.compress import GanCodec
from gancodec.nn.critic import PatchCritic
from gancodec.nn.motion import warp
from gancodec.nn.planes import Planes, at_half_resolution
from gancodec.train.contest import PENALTY_CHANCE, Contest, contest
from gancodec.train.losses import difference, psnr_y, weighted_mse
from gancodec.train.perception import Perception, random_view
from gancodec.train.shown import Shown, ShownRollOut


class Past(NamedTuple):
    """The frame before, moved to this one: as it was and as it was shown. Intra: this frame."""

    source: Planes
    planes: Planes


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
        seen_by = self._contest(now, past, bool(rng.random() < PENALTY_CHANCE))
        eye = seen.distance + self.statistics * seen.statistics
        eye = eye + self.matching * seen_by.matching
        flicker = weighted_mse(
            difference(shown, past.planes), difference(source, past.source)
        )  # none for intra frames, whose past is themselves
        error = self.shown_share * weighted_mse(shown, source) + self.temporal * flicker
        price = self.balance[level] * self.weights[level]
        head = price * (error + self.perception * eye) + self.adversarial * seen_by.net
        gain = psnr_y(shown, source) - psnr_y(now.picture, source)
        return head.mean() + seen_by.critic, {
            "st_lpips": float(seen.distance.detach().mean()),
            "statistics": float(seen.statistics.detach().mean()),
            "psnr_y_gain": float(gain.detach().mean()),
            "matching": float(seen_by.matching.detach().mean()),
            "critic": float(seen_by.critic.detach()),
            "critic_right": seen_by.right,
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
        kind = "intra" if now.field is None else "inter"
        return contest(
            self.critic,
            real,
            fake,
            now.latents,
            kind,
            penalty=self.penalty,
            penalised=penalised,
        )

    def _evidence(self, frame: Planes, past: Planes, picture: Planes) -> Tensor:
        """What the critic sees: a frame, the loop's picture of it, and the one before it."""
        seen = [frame, picture, past] if self.neighbours else [frame, picture]
        return torch.cat([at_half_resolution(planes) for planes in seen], 1)
