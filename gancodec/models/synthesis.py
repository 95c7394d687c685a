"""The synthesis head: what a decoded picture is shown with. Outside the coding loop.

    picture (1/8, 96 ch) ──► 1x1 ─┐
    features of the decoder ► 1x1 ┤
    detail shown before, warped ► 1x1 ┼─(+)─► x tune(q) ─► blocks ─► 1x1 ─► detail (96 ch)
    hashed noise ───────────► 1x1 ┘

    shown = picture + realism x detail

Nothing it does reaches a reference frame, so it can neither drift nor desynchronise. The detail of
the frame before, displaced by the same motion as the picture, is what it must agree with in time;
the noise is what texture is made of (HiFiC and Wasserstein-trained C3 do without much net so).
How strong it is at each quality is learned by the tuning vectors and the net, not set.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gancodec.config import CodecConfig
from gancodec.nn.blocks import QualityKnots, depthwise_stack
from gancodec.nn.motion import Displacement, warp
from gancodec.nn.noise import hashed_noise
from gancodec.nn.planes import PACKED_CHANNELS, Planes, pack, round_to_8_bit, unpack


class DetailSynthesis(nn.Module):
    """Decoder features, picture, earlier detail and noise -> the detail to add to the picture."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width, leave = config.synthesis_width, config.synthesis_leave
        self.picture = nn.Conv2d(PACKED_CHANNELS, width, 1)
        self.intra = nn.Conv2d(config.intra_width, width, 1, bias=False)
        self.inter = nn.Conv2d(config.inter_decoder_width, width, 1, bias=False)
        self.memory = (
            nn.Conv2d(PACKED_CHANNELS, width, 1, bias=False) if config.synthesis_memory else None
        )
        self.noise = (
            nn.Conv2d(config.synthesis_noise, width, 1, bias=False)
            if config.synthesis_noise
            else None
        )
        self.tune = QualityKnots(width, config.levels, value=1.0)
        self.blocks = depthwise_stack(width, config.synthesis_depth)
        self.leave = nn.Conv2d(width, PACKED_CHANNELS, leave, padding=leave // 2)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(
        self,
        packed: Tensor,
        features: Tensor,
        quality: Tensor,
        *,
        intra: bool,
        before: Tensor | None = None,
        seed: Tensor | None = None,
        time: Tensor | None = None,
    ) -> Tensor:
        """Detail (B, 96, h, w) at full realism, to be added to the packed picture.

        Args:
            packed: picture of the loop, (B, 96, h, w).
            features: of the decoder that made it, (B, C, h, w).
            quality: (B,) levels.
            intra: whose features they are: the intra decoder's or the inter decoder's.
            before: detail of the frame before, moved to this one (`move_detail`); None at the
                start of a GOP.
            seed, time: (B,) whole numbers that the noise is a hash of; 0 unless given.
        """
        noise = None
        if self.noise is not None:
            zero = torch.zeros(len(packed), dtype=torch.int64, device=packed.device)
            planes = hashed_noise(
                zero if seed is None else seed,
                zero if time is None else time,
                self.noise.in_channels,
                (packed.shape[2], packed.shape[3]),
            )
            noise = planes.contiguous(memory_format=torch.channels_last)
        return self.paint(packed, features, before, noise, quality, intra=intra)

    def paint(
        self,
        packed: Tensor,
        features: Tensor,
        before: Tensor | None,
        noise: Tensor | None,
        quality: Tensor,
        *,
        intra: bool,
    ) -> Tensor:
        """What `forward` does with its ``noise`` (B, N, h, w), which is all of it that is a net."""
        x = self.picture(packed) + (self.intra if intra else self.inter)(features)
        if self.memory is not None and before is not None:
            x = x + self.memory(before)
        if self.noise is not None and noise is not None:
            x = x + self.noise(noise)
        detail: Tensor = self.leave(self.blocks(x * self.tune(quality)))
        return detail


def move_detail(detail: Tensor, field: Displacement) -> Tensor:
    """Packed detail (B, 96, h, w) displaced as the picture was by ``field``."""
    # the middle grey that packing takes off and unpacking puts on again survives the warp
    return pack(warp(unpack(detail), field))


class Show:
    """Frames of a GOP through a head, which keeps the detail that the next one must agree with."""

    def __init__(self, head: DetailSynthesis) -> None:
        self._head = head
        self._detail: Tensor | None = None
        self._time = 0  # frames since the GOP's first: no time base, no seek changes the noise

    def frame(
        self,
        picture: Planes,
        features: Tensor,
        quality: Tensor,
        motion: Displacement | None,
        *,
        realism: float,
    ) -> Planes:
        """The 8-bit picture to show; batches of one.

        Args:
            picture: of the loop.
            features: of the decoder that made it.
            quality: (1,) level.
            motion: None for an intra frame, which forgets what was before.
            realism: 0 gives the picture itself, 1 all of the detail.
        """
        packed, before = pack(picture), None
        self._time = 0 if motion is None else self._time + 1
        if self._head.memory is not None and self._detail is not None and motion is not None:
            before = move_detail(self._detail, motion)
        self._detail = self._head(
            packed,
            features,
            quality,
            intra=motion is None,
            before=before,
            time=torch.tensor([self._time], device=packed.device),
        )
        return round_to_8_bit(unpack(packed + realism * self._detail))
