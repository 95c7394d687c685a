"""The stages of an enhancer: first for error alone, then also for eyes and against a critic."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gancodec.errors import UsageError
from gancodec.models.compress import CHROMA_WEIGHT
from gancodec.models.degradation import sigma_of
from gancodec.models.restore import Restorer, enlarge, halved, reduce
from gancodec.nn.critic import PatchCritic
from gancodec.nn.motion import warp
from gancodec.nn.planes import Planes, at_half_resolution
from gancodec.train.contest import PENALTY_CHANCE, Contest, contest
from gancodec.train.losses import difference, psnr_y
from gancodec.train.pairs import MIDDLE, Batch, Pairs
from gancodec.train.perception import Perception, Seen, random_view

_CHARBONNIER = 1 / 255  # below this, errors count by their square
_CLEAN = 62.5  # levels from here on are of inputs that were only made smaller

_FLOOR = 0.5  # squared 8-bit units; a sample nearer than that counts less and less
_UNSEEN = 0.01  # likewise of distances to the eye

Error = Literal["charbonnier", "l2", "psnr"]


class Restored(NamedTuple):
    """A frame of a roll-out: what went in (enlarged), what came out, what was wanted."""

    picture: Planes
    planes: Planes
    target: Planes


def pairs_for(net: Restorer, folder: Path, patch: int) -> Pairs:
    """The pairs of a folder, whose targets have sides of ``patch`` samples.

    Raises:
        InputError: there are none in it.
        UsageError: they are not for this net, or of another size.
    """
    pairs, config = Pairs(folder), net.config
    info = pairs.info
    found = info.task, info.scale, info.window, info.size
    if found != (config.task, config.scale, config.frames, patch):
        raise UsageError(f"{folder} holds {info}, which {config} cannot learn from")
    return pairs


class RestoreStage:
    """Error alone: Charbonnier's, or squared for Noise2Noise, whose targets are noisy.

    The loss of a frame is its error plus ``temporal`` x that of what changed since the frame before
    (moved to this one, if the pairs know how) plus ``consistency`` x how far it is from the input
    when made as small again.

    Noise2Noise (Lehtinen et al., ICML 2018): the expectation of a second noisy take is the clean
    frame, so squared error to that take has its minimum where that to the clean one has it. Where
    impulses replaced a share p of the samples by values of mean 127.5, the expectation is
    (1 - p) x + 127.5 p, and what is compared with the take is that of the net's output.

    Args:
        net: the enhancer.
        folders: of pairs (`gancodec.train.pairs`); the first counts.
        batch: samples a step.
        patch: sides of the targets that the folder must hold.
        error: "charbonnier", "l2", or "psnr": decibels, so that a sample that is nearly right
            counts as much as one that is far off.
        memory: share of steps in which the net sees its output for the frame before.
        balance: divide the error by the noise's deviation, this often: squares of heavy noise would
            drown what light noise has to teach. 0 leaves it.
        alone: share of steps in which the window is that of a picture, or mirrored, as at the end
            of a scene: frames that repeat one another hold their noise twice.
    """

    def __init__(
        self,
        net: Restorer,
        folders: list[Path],
        cache: Path,
        *,
        batch: int,
        patch: int,
        error: Error = "charbonnier",
        temporal: float = 0.0,
        consistency: float = 0.0,
        memory: float = 1.0,
        balance: float = 0.0,
        alone: float = 0.0,
    ) -> None:
        self.net, self.batch, self.data = net, batch, pairs_for(net, folders[0], patch)
        self.error, self.temporal, self.consistency = error, temporal, consistency
        self.memory, self.balance, self.alone = memory, balance, alone
        self.helpers = nn.ModuleDict()

    def parameters(self) -> list[nn.Parameter]:
        """All but those that guess a blur, which `train.kernels` trains."""
        return [p for name, p in self.net.named_parameters() if not name.startswith("guess.")]

    def start(self) -> None:
        """A fresh net changes nothing, which is where to start."""

    def loss(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        batch, frames = self.roll(rng)
        total = self.faithful(batch, frames)
        return total.mean(), self.numbers(batch, frames)

    def roll(self, rng: np.random.Generator) -> tuple[Batch, list[Restored]]:
        """Restore the frames of a random batch, one after the other."""
        device = next(self.net.parameters()).device
        batch = _to(self.data.batch(rng, self.batch), device)
        window, scale = self.data.info.window, self.data.info.scale
        pictures = [enlarge(x, scale) for x in batch.inputs]
        if self.alone and rng.random() < self.alone:
            pictures = _repeated(pictures, window, single=bool(rng.random() < 0.5))
        remembers = batch.motion is not None and rng.random() < self.memory
        halves = [halved(p) for p in pictures]
        frames: list[Restored] = []
        for t, target in enumerate(batch.targets):
            before = None
            if frames and remembers:
                assert batch.motion is not None
                before = warp(frames[-1].planes, batch.motion[:, t - 1])
            seen = pictures[t : t + window]
            given = halves[t : t + window]
            planes = self.net.restore(given, batch.level, before, self.net.sharpen(seen))
            frames.append(Restored(seen[window // 2], planes, target))
        return batch, frames

    def faithful(self, batch: Batch, frames: list[Restored]) -> Tensor:
        """(B,) in 8-bit units."""
        total = torch.zeros_like(batch.level)
        middle = self.data.info.window // 2
        for t, frame in enumerate(frames):
            expected = _with_impulses(frame.planes, batch.chance)
            total = total + _error(expected, frame.target, self.error)
            if t and self.temporal:
                past, known = frames[t - 1].planes, frames[t - 1].target
                if batch.motion is not None:
                    past, known = (warp(p, batch.motion[:, t - 1]) for p in (past, known))
                change = difference(frame.planes, past)
                wanted = difference(frame.target, known)
                total = total + self.temporal * _error(change, wanted, self.error)
            if self.consistency:
                clean = (batch.level > _CLEAN).float()
                again = reduce(frame.planes, self.data.info.scale)
                wrong = _error(again, batch.inputs[t + middle], self.error)
                total = total + self.consistency * clean * wrong
        if self.balance:
            total = total * ((sigma_of(batch.level) + 2) / 10) ** -self.balance
        return total / len(frames)

    def numbers(self, batch: Batch, frames: list[Restored]) -> dict[str, float]:
        """What to log: dB of luma, and how many more than before."""
        last = frames[-1]
        with torch.no_grad():
            psnr = psnr_y(last.planes, last.target)
            return {
                "psnr_y": float(psnr.mean()),
                "psnr_y_gain": float((psnr - psnr_y(last.picture, last.target)).mean()),
            }


class RestoreAdversarialStage(RestoreStage):
    """The same net for eyes: SRGAN's second stage, with today's losses.

    Added to the loss are ``perception`` x (ST-LPIPS on AlexNet + ``statistics`` x that of local
    statistics + ``matching`` x distance of the critic's features) and ``adversarial`` x that of the
    critic, which is unconditional in SRGAN and sees what went in here, too. It compares real and
    restored frames of the same place (Jolicoeur-Martineau 2019) under gradient penalties (R3GAN,
    Huang et al., NeurIPS 2024). ``relative`` distances are shares of the input's own, so that files
    of high rates count as much as those of low ones: a rate at equal quality asks for ratios.
    Optional for Noise2Noise, which as published has neither critic nor clean targets: ``clean``
    pairs are needed for it.
    """

    def __init__(
        self,
        net: Restorer,
        folders: list[Path],
        cache: Path,
        *,
        faithful: float = 1.0,
        perception: float = 40.0,
        statistics: float = 0.5,
        matching: float = 0.1,
        adversarial: float = 0.3,
        penalty: float = 0.05,
        relative: bool = False,
        **options: object,
    ) -> None:
        super().__init__(net, folders, cache, **options)  # type: ignore[arg-type]
        self.share, self.perception, self.statistics = faithful, perception, statistics
        self.matching, self.adversarial, self.penalty = matching, adversarial, penalty
        self.relative = relative
        device = next(net.parameters()).device
        self.eye = Perception(device)
        self.critic = PatchCritic(2, {}).to(device)
        self.helpers = nn.ModuleDict({"critic": self.critic})

    def parameters(self) -> list[nn.Parameter]:
        return [*super().parameters(), *self.critic.parameters()]

    def loss(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        batch, frames = self.roll(rng)
        shown = frames[int(rng.integers(len(frames)))]  # one stands for all: looking is dear
        planes, target, picture = random_view([shown.planes, shown.target, shown.picture], rng)
        seen = self.eye.compare(planes, target, statistics=self.statistics > 0)
        numbers = {
            "st_lpips": float(seen.distance.detach().mean()),
            "statistics": float(seen.statistics.detach().mean()),
        }
        if self.relative:
            with torch.no_grad():
                before = self.eye.compare(picture, target, statistics=self.statistics > 0)
            seen = Seen(*(a / (b + _UNSEEN) for a, b in zip(seen, before, strict=True)))
            numbers["share"] = float(seen.distance.detach().mean())
        judged = self._contest(shown, bool(rng.random() < PENALTY_CHANCE))
        eye = seen.distance + self.statistics * seen.statistics + self.matching * judged.matching
        total = self.share * self.faithful(batch, frames) + self.perception * eye
        total = total + self.adversarial * judged.net
        return total.mean() + judged.critic, {
            **self.numbers(batch, frames),
            **numbers,
            "critic": float(judged.critic.detach()),
            "critic_right": judged.right,
        }

    def _contest(self, shown: Restored, penalised: bool) -> Contest:
        """Both sides' losses; the critic sees what went in, too."""
        given = at_half_resolution(shown.picture)
        real = torch.cat([at_half_resolution(shown.target), given], 1)
        fake = torch.cat([at_half_resolution(shown.planes), given], 1)
        return contest(self.critic, real, fake, penalty=self.penalty, penalised=penalised)


def _repeated(pictures: list[Planes], window: int, *, single: bool) -> list[Planes]:
    """Windows of one frame all over, or of the frames before it mirrored to stand for those after.

    With several windows in the list, the first one's frames stand for all.
    """
    middle = window // 2
    first = [
        pictures[middle] if single else pictures[middle - abs(k - middle)] for k in range(window)
    ]
    return first + pictures[window:]


def _to(batch: Batch, device: torch.device) -> Batch:
    def planes(several: list[Planes]) -> list[Planes]:
        return [Planes(*(x.to(device) for x in p)) for p in several]

    return Batch(
        planes(batch.inputs),
        planes(batch.targets),
        batch.level.to(device),
        batch.chance.to(device),
        None if batch.motion is None else batch.motion.to(device),
    )


def _with_impulses(planes: Planes, chance: Tensor) -> Planes:
    """What a take of these planes is on average."""
    p = chance.view(-1, 1, 1, 1)
    return Planes(*((1 - p) * x + p * (MIDDLE / 255) for x in planes))


def _error(a: Planes, b: Planes, kind: Error) -> Tensor:
    """(B,) in 8-bit units, their squares / 16, or decibels; U, V with half a codec's weight."""

    def one(x: Tensor, y: Tensor) -> Tensor:
        apart = x - y
        if kind == "charbonnier":
            rough = (apart.square() + _CHARBONNIER**2).sqrt() - _CHARBONNIER
            return rough.mean((1, 2, 3)) * 255
        return apart.square().mean((1, 2, 3)) * (255**2 / 16)

    chroma = CHROMA_WEIGHT / 2
    found = one(a.y, b.y) + chroma * (one(a.u, b.u) + one(a.v, b.v))
    return 10 * (16 * found + _FLOOR).log10() if kind == "psnr" else found
