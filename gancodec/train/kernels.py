"""The stage that teaches a deblurring net to guess what blurred a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gancodec.errors import UsageError
from gancodec.models.blur import blur_signs
from gancodec.models.restore import Restorer
from gancodec.train.restoring import pairs_for


class KernelStage:
    """Cross-entropy of the guessed kernel: how likely it finds where light of a sample went.

    A spectrum is the same for a kernel and for that kernel turned by half a circle, so either is
    right; which of them it is shows when it is undone (`gancodec.models.blur.undo`).

    Args:
        net: an enhancer that ``guesses``.
        folders: of pairs with kernels; the first counts.
        batch: samples a step.
        patch: sides of the targets that the folder must hold.

    Raises:
        UsageError: the net does not guess, or the pairs are not for it or have no kernels.
    """

    def __init__(
        self, net: Restorer, folders: list[Path], cache: Path, *, batch: int, patch: int
    ) -> None:
        self.batch, self.data = batch, pairs_for(net, folders[0], patch)
        self.helpers = nn.ModuleDict()
        if net.guess is None or not self.data.has_kernels:
            raise UsageError(
                f"the stage wants a net with guesses = true and pairs with kernels, which "
                f"{folders[0]} may lack"
            )
        self.guess = net.guess

    def parameters(self) -> list[nn.Parameter]:
        return list(self.guess.parameters())

    def start(self) -> None:
        """A fresh net guesses that light may have gone anywhere."""

    def loss(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        device = next(self.guess.parameters()).device
        batch = self.data.batch(rng, self.batch)
        assert batch.kernel is not None
        wanted = batch.kernel.flatten(1).to(device)
        luma = torch.cat([p.y for p in batch.inputs], 1).to(device) * 255
        if rng.random() < 0.25:  # nothing moved, or the scene ends on both sides
            luma = luma[:, luma.shape[1] // 2, None].expand_as(luma)
        with torch.no_grad():
            signs = blur_signs(luma)
        logits = self.guess(signs).flatten(1)
        turned = wanted.flip(1)  # of a flattened square: by half a circle
        one, other = (F.cross_entropy(logits, k, reduction="none") for k in (wanted, turned))
        loss = torch.minimum(one, other).mean()
        with torch.no_grad():
            guess = logits.softmax(1)
            apart = [(guess - k).abs().sum(1) / 2 for k in (wanted, turned)]
            entropy = -(wanted * wanted.clamp_min(1e-9).log()).sum(1).mean()
        return loss, {
            "excess": float(loss.detach() - entropy),
            "missed": float(torch.minimum(*apart).mean()),
        }
