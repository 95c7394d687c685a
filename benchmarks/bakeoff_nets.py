"""The inter-frame architectures of the bake-off, from the shipped blocks.

A variant is a `Choice`. Its `CodecConfig` is set so that all decoders cost the same: the numbers
of kMAC a pixel are tested. A net codes a unit of frames, one or eight, from a `State`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from bakeoff_priors import OneStepPrior, TransmittedScales
from torch import Tensor, nn
from torch.nn import functional as F

from gancodec.config import CodecConfig
from gancodec.models.complexity import convolution_macs, part_of
from gancodec.models.compress import (
    BLOCK_CHANNELS,
    MOTION_CHANNELS,
    Analysis,
    FrameCodec,
    InterCodec,
    Synthesis,
    chroma_scaling,
    motion_context,
    move_blocks,
    step_sizes,
)
from gancodec.models.motion_choice import ERROR_PRICE
from gancodec.nn.motion import warp
from gancodec.nn.planes import PACKED_CHANNELS, Planes, pack, round_to_8_bit, unpack
from gancodec.nn.prior import LatentPrior

CHUNK = 8  # frames that share latents in the variant of that name
FIRST_PRICE = 10.0  # bits that the GOP's first frame must save in a block to be its reference


@dataclass(frozen=True)
class Choice:
    """One architecture. The defaults are the shipped one."""

    config: CodecConfig = field(default_factory=CodecConfig)
    motion: bool = True  # else the previous picture predicts as it is
    first_frame: bool = False  # a block may be predicted from the GOP's first frame
    recurrent: int = 0  # features of the last frame's decoder that are a second context
    chunk: bool = False
    prior: str = "shipped"  # or "hyper-only", "shifted", "one-step", "transmitted"
    split: bool = True  # a 16x16 block may have four vectors

    @property
    def memory(self) -> int:
        """Channels of `State.features`."""
        return min(self.recurrent, self.config.inter_decoder_width)


_SAME = CodecConfig()
VARIANTS: dict[str, Choice] = {
    "motion": Choice(),
    "two-references": Choice(first_frame=True),
    "recurrent": Choice(replace(_SAME, inter_decoder_width=63), motion=False, recurrent=63),
    "recurrent-motion": Choice(replace(_SAME, inter_decoder_width=63), recurrent=63),
    "recurrent-motion-24": Choice(recurrent=24),
    "chunk": Choice(
        replace(
            _SAME,
            inter_encoder_width=272,
            inter_encoder_depth=3,
            inter_decoder_width=200,
            inter_decoder_depth=2,
            inter_groups=(48, 96, 368),
            inter_hyper=32,
            prior_features=176,
        ),
        motion=False,
        chunk=True,
    ),
    "prior-hyper-only": Choice(replace(_SAME, prior_features=96), prior="hyper-only"),
    "prior-shifted": Choice(prior="shifted"),
    "prior-no-checkerboard": Choice(replace(_SAME, prior_features=96), prior="one-step"),
    "transmitted-scales": Choice(replace(_SAME, inter_decoder_width=75), prior="transmitted"),
    "blocks-16": Choice(split=False),
    "no-overlap": Choice(replace(_SAME, overlap=False)),
}


class State(NamedTuple):
    """What encoder and decoder both know before a frame."""

    picture: Planes
    first: Planes  # of the GOP
    latents: Tensor  # (B, M, H/16, W/16)
    features: Tensor  # (B, memory, H/8, W/8) of the last decoder; zero after an intra frame

    def detached(self) -> State:
        """Where gradients end."""
        return State(
            Planes(*(p.detach() for p in self.picture)),
            Planes(*(p.detach() for p in self.first)),
            self.latents.detach(),
            self.features.detach(),
        )


class Motion(NamedTuple):
    """Fields (B, 2, H/8, W/8) from the previous picture and, if that is a choice, the first."""

    field: Tensor
    first: Tensor | None = None
    from_first: Tensor | None = None  # (B, 1, H/16, W/16): one where the first picture predicts


class Coded(NamedTuple):
    """Decoded pictures, the next state and the bits of each sample."""

    pictures: list[Planes]
    state: State
    bits: Tensor
    hyper_bits: Tensor


class BakeoffCodec(InterCodec):
    """The shipped `InterCodec`, with the parts replaced that a choice replaces."""

    unit = 1

    def __init__(self, choice: Choice) -> None:
        config = choice.config
        super().__init__(config)
        self.choice, self.config = choice, config
        latents, levels = sum(config.inter_groups), config.levels
        if choice.recurrent:
            extra = choice.memory
            self.analysis = Analysis(
                2 * PACKED_CHANNELS + extra,
                config.inter_encoder_width,
                config.inter_encoder_depth,
                latents,
                levels,
            )
            self.synthesis = Synthesis(
                latents,
                config.inter_decoder_width,
                config.inter_decoder_depth,
                PACKED_CHANNELS + extra,
                levels,
                config.inter_leave,
            )
        temporal = latents + MOTION_CHANNELS * choice.motion
        sizes = config.inter_groups, config.inter_hyper, config.prior_features
        prior: nn.Module = self.prior
        if choice.prior == "one-step":
            prior = OneStepPrior(*sizes, temporal, levels, config.prior_kernel)
        elif choice.prior == "transmitted":
            prior = TransmittedScales(config.inter_groups, levels)
        elif choice.prior == "hyper-only":
            prior = LatentPrior(*sizes, 0, levels, config.prior_kernel)
        elif not choice.motion:
            prior = LatentPrior(*sizes, temporal, levels, config.prior_kernel)
        self.prior = prior  # type: ignore[assignment]  # has what is used of a LatentPrior

    def predict(self, state: State, motion: Motion) -> Planes:
        """The prediction, in [0, 1]."""
        if not self.choice.motion:
            return state.picture
        overlap = self.config.overlap
        predicted = warp(state.picture, motion.field, overlap=overlap)
        if motion.from_first is None or motion.first is None:
            return predicted
        other = warp(state.first, motion.first, overlap=overlap)
        share = _blended(motion.from_first, overlap)
        return Planes(*(a + s * (b - a) for a, b, s in zip(predicted, other, share, strict=True)))

    def code(self, frames: list[Planes], state: State, motion: Motion, quality: Tensor) -> Coded:
        """Code one frame; ``motion`` is ignored by variants without."""
        (x,) = frames
        choice = self.choice
        predicted = pack(self.predict(state, motion))
        vectors = motion.field
        if motion.from_first is not None and motion.first is not None:
            vectors = torch.where(_doubled(motion.from_first).bool(), motion.first, vectors)
        context, temporal = predicted, None
        if choice.recurrent:
            moved = displace(state.features, vectors) if choice.motion else state.features
            context = torch.cat([predicted, moved], 1)
        if choice.prior != "hyper-only":
            temporal = state.latents
            if choice.prior == "shifted":
                temporal = move_blocks(temporal, vectors)
            if choice.motion:
                temporal = torch.cat([temporal, motion_context(vectors).to(temporal)], 1)
        packed = pack(x)
        y = self.analysis(packed - predicted, torch.cat([packed, context], 1), quality)
        coded = self.prior(self.gain.to_steps(y, quality), quality, temporal)
        out = self.synthesis(self.gain.from_steps(coded.y_hat, quality), context, quality)
        picture = round_to_8_bit(unpack(predicted + out.packed))
        features = out.features[:, : choice.memory]
        state = State(picture, state.first, coded.y_hat, features)
        return Coded([picture], state, coded.bits, coded.hyper_bits)


class ChunkCodec(FrameCodec):
    """Eight frames a latent: all minus the last picture before them, transformed together.

    The unified structure of DCVC-UF, without its delay-free mode: 3 to 4 times the latents of one
    frame for eight, and no motion at all.
    """

    unit = CHUNK

    def __init__(self, choice: Choice) -> None:
        config, levels = choice.config, choice.config.levels
        latents = sum(config.inter_groups)
        analysis = Analysis(
            (CHUNK + 1) * PACKED_CHANNELS,
            config.inter_encoder_width,
            config.inter_encoder_depth,
            latents,
            levels,
        )
        analysis.linear = nn.Conv2d(CHUNK * BLOCK_CHANNELS, latents, 1, bias=False)
        width = config.inter_decoder_width
        synthesis = Synthesis(
            latents, width, config.inter_decoder_depth, PACKED_CHANNELS, levels, config.inter_leave
        )
        synthesis.linear = nn.Conv2d(latents, CHUNK * BLOCK_CHANNELS, 1, bias=False)
        leave = nn.Conv2d(width, CHUNK * PACKED_CHANNELS, 1)
        nn.init.zeros_(leave.weight)
        nn.init.zeros_(leave.bias)  # type: ignore[arg-type]
        synthesis.leave = leave
        prior = LatentPrior(
            config.inter_groups,
            config.inter_hyper,
            config.prior_features,
            latents,
            levels,
            config.prior_kernel,
        )
        super().__init__(analysis, synthesis, prior, config)
        self.choice, self.config = choice, config

    def start_from_basis(self, basis: Tensor, deviation: Tensor, quality: int) -> None:
        """As `FrameCodec.start_from_basis`, over the blocks of eight frames, one after another."""
        weight = chroma_scaling().repeat(CHUNK)
        with torch.no_grad():
            self.analysis.linear.weight.copy_((basis * weight)[:, :, None, None])
            self.synthesis.linear.weight.copy_((basis / weight).T[:, :, None, None])
            gain = 255 / float(step_sizes(self.config)[quality])
            self.prior.set_initial_scales(deviation * gain * math.sqrt(3) / math.pi * 0.5)

    def code(self, frames: list[Planes], state: State, motion: Motion, quality: Tensor) -> Coded:
        """Code eight frames."""
        reference = pack(state.picture)
        packed = [pack(x) for x in frames]
        signal = torch.cat([x - reference for x in packed], 1)
        y = self.analysis(signal, torch.cat([signal, reference], 1), quality)
        coded = self.prior(self.gain.to_steps(y, quality), quality, state.latents)
        out = self.synthesis(self.gain.from_steps(coded.y_hat, quality), reference, quality)
        pictures = [
            round_to_8_bit(unpack(reference + part))
            for part in out.packed.split(PACKED_CHANNELS, 1)
        ]
        state = State(pictures[-1], state.first, coded.y_hat, out.features[:, :0])
        return Coded(pictures, state, coded.bits, coded.hyper_bits)


Net = BakeoffCodec | ChunkCodec


def build(choice: Choice) -> Net:
    """The net of a variant, fresh."""
    net = ChunkCodec(choice) if choice.chunk else BakeoffCodec(choice)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def after_intra(net: Net, picture: Planes, first: Planes | None = None) -> State:
    """The state after an intra frame, which is the first of the GOP unless another is given."""
    b, _, h, w = picture.y.shape
    config = net.config
    latents = picture.y.new_zeros(b, sum(config.inter_groups), h // 16, w // 16)
    features = picture.y.new_zeros(b, net.choice.memory, h // 8, w // 8)
    return State(picture, first or picture, latents, features)


def displace(features: Tensor, field: Tensor) -> Tensor:
    """Features (B, C, H/8, W/8) displaced by vectors of the same size, bilinear."""
    h, w = features.shape[-2:]
    shift = field.to(features) / 32  # quarter luma samples in an eighth of the resolution
    x = (torch.arange(w) + shift[:, 0]) * (2 / max(w - 1, 1)) - 1
    y = (torch.arange(h)[:, None] + shift[:, 1]) * (2 / max(h - 1, 1)) - 1
    grid = torch.stack([x, y], -1)
    return F.grid_sample(features, grid, padding_mode="border", align_corners=True)


@torch.no_grad()
def choose_references(
    x: Planes, state: State, field: Tensor, first: Tensor, quality: Tensor, config: CodecConfig
) -> Tensor:
    """(B, 1, H/16, W/16): one where the GOP's first frame has the smaller error, priced."""

    def error(reference: Planes, vectors: Tensor) -> Tensor:
        difference = (warp(reference, vectors, overlap=False).y - x.y) * 255
        return F.avg_pool2d(difference.square(), 16) * 256

    price = FIRST_PRICE * ERROR_PRICE * step_sizes(config)[quality].view(-1, 1, 1, 1) ** 2
    return (error(state.first, first) + price < error(state.picture, field)).float()


def _doubled(blocks: Tensor) -> Tensor:
    return blocks.repeat_interleave(2, 2).repeat_interleave(2, 3)


def _blended(blocks: Tensor, overlap: bool) -> Planes:
    """A number of each 16x16 block for every sample; with ``overlap`` it fades across edges."""
    cells = _doubled(blocks)
    mode = {"mode": "bilinear", "align_corners": False} if overlap else {"mode": "nearest"}
    y, uv = (F.interpolate(cells, scale_factor=k, **mode) for k in (8, 4))
    return Planes(y, uv, uv)


def kmac_of(choice: Choice) -> tuple[float, float]:
    """Decoder and encoder of inter frames, in kMAC a luma sample of each frame."""
    net, side = build(choice).eval(), 256
    x = Planes(*(torch.zeros(1, 1, s, s) for s in (side, side // 2, side // 2)))
    motion = Motion(torch.zeros(1, 2, side // 8, side // 8))
    quality = torch.tensor([choice.config.levels // 2])
    macs = convolution_macs(
        net, lambda: net.code([x] * net.unit, after_intra(net, x), motion, quality)
    )
    parts = {"inter_decoder": 0.0, "inter_encoder": 0.0}
    for name, count in macs.items():
        parts[part_of(f"inter.{name}")] += count / side**2 / 1000 / net.unit
    return parts["inter_decoder"], parts["inter_encoder"]
