"""Discriminator of the adversarial stages: it judges patches, given what was known of them."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from gancodec.nn.planes import HALF_CHANNELS


class PatchCritic(nn.Module):
    """A score for every place of a picture, conditional on other pictures and on latents.

        frames at 1/2 ─► 3x3 ─► 4x4 stride 2 ─► 4x4 stride 2 ─(+)─► 3x3 ─► 1x1 ─► score at 1/8
                               latents at 1/16 ─► 1x1, x2 ────────┘

    A patch discriminator (pix2pix, Isola et al., CVPR 2017) whose condition enters beside the
    features, as in HiFiC (Mentzer et al., NeurIPS 2020). No normalisation: gradient penalties
    keep it smooth, and samples of a batch do not see one another.

    Args:
        frames: how many pictures it sees at once.
        latents: channels of each kind of condition; a kind each gets its own way in. May be none.
        width: channels at half resolution.
    """

    def __init__(self, frames: int, latents: dict[str, int], width: int = 32) -> None:
        super().__init__()
        self.enter = nn.Conv2d(frames * HALF_CHANNELS, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)
        self.deeper = nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1)
        self.condition = nn.ModuleDict(
            {kind: nn.Conv2d(count, 4 * width, 1) for kind, count in latents.items()}
        )
        self.judge = nn.Conv2d(4 * width, 4 * width, 3, padding=1)
        self.score = nn.Conv2d(4 * width, 1, 1)

    def forward(
        self, frames: Tensor, latents: Tensor | None = None, kind: str = ""
    ) -> tuple[Tensor, list[Tensor]]:
        """Scores (B, 1, H/8, W/8), high for real, and the features of each layer.

        Args:
            frames: (B, 6 x frames, H/2, W/2), see `gancodec.nn.planes.at_half_resolution`.
            latents: (B, M, H/16, W/16), of the kind that ``kind`` names; None for no condition.
        """
        a = F.leaky_relu(self.enter(frames), 0.2)
        b = F.leaky_relu(self.down(a), 0.2)
        c = F.leaky_relu(self.deeper(b), 0.2)
        known = c
        if latents is not None:
            place = self.condition[kind](latents)
            known = c + F.interpolate(place, scale_factor=2.0, mode="nearest")
        d = F.leaky_relu(self.judge(known), 0.2)
        return self.score(d), [a, b, c, d]
