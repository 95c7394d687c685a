"""Choices of one encode. (The architecture of a net is `CodecConfig`, stored with its weights.)"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from gancodec.errors import UsageError

QUALITY_LEVELS = 64  # one model serves all: 0 is the smallest file, 63 the best picture
# How much of the synthesis head a decoder shows unless told. base.v6's head adds 6 % of flicker for
# 1 % of likeness, so that pictures are shown as they were coded (docs/decisions.md).
REALISM = 0.0
Preset = Literal["fast", "medium", "slow"]
Engine = Literal["torch", "onnx", "auto"]  # what runs the float nets; auto: what is faster
Tune = Literal["perceptual", "fidelity"]
# Weights for either taste: trained for what people look at, or for squared error alone.
TUNED: dict[Tune, str] = {"perceptual": "base.v6", "fidelity": "base.v3"}


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What a user may choose for one encode.

    Attributes:
        quality: 0 to 63, 63 best; fractions mix the two neighbouring levels over the frames.
        gop: longest distance between intra frames, in frames (1 to 1024); scene cuts shorten it.
        preset: effort of the encoder; the decoder's work does not change.
        scene_cuts: open a new GOP where the picture changes altogether.
        model: name of the weights, see ``gancodec models``.
    """

    quality: float = 32
    gop: int = 64  # 2 to 3 seconds: what a seek or one damaged chunk costs
    preset: Preset = "medium"
    scene_cuts: bool = True
    model: str = TUNED["perceptual"]

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= QUALITY_LEVELS - 1:
            raise UsageError(f"quality is 0 to {QUALITY_LEVELS - 1} (best), got {self.quality}")
        if not 1 <= self.gop <= 1024:
            raise UsageError(f"gop is 1 to 1024 frames, got {self.gop}")
        if self.preset not in ("fast", "medium", "slow"):
            raise UsageError(f"preset is fast, medium or slow, got {self.preset!r}")


# What weights are that were written before these fields were: base.v1
_BEFORE: dict[str, object] = {
    "intra_prior_features": 64,
    "inter_leave": 3,
    "prior_kernel": 3,
    "overlap": False,
    "learning_vectors": False,  # and base.v2
    "moving_latents": False,
    "residual_coring": 0.0,  # and base.v3
    "round_half_up": False,  # and base.v5
    "synthesis_leave": 3,
    "synthesis_memory": False,
    "synthesis_noise": 0,
}


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """Architecture of the nets, stored with the weights. Widths are channels at 1/8 resolution."""

    intra_width: int = 128
    intra_depth: int = 4
    intra_groups: tuple[int, ...] = (16, 48, 192)  # latent channels by step, most energy first
    intra_hyper: int = 24
    intra_prior_features: int = 128
    inter_encoder_width: int = 96
    inter_decoder_width: int = 64
    inter_encoder_depth: int = 4
    inter_decoder_depth: int = 4
    inter_groups: tuple[int, ...] = (16, 32, 112)
    inter_hyper: int = 16
    inter_leave: int = 1  # kernel of the last convolution; the blocks before it see neighbours
    prior_features: int = 88  # of inter frames
    prior_kernel: int = 5  # of what spreads decoded symbols to their neighbours
    learning_vectors: bool = True  # motion's tables learn within a GOP
    moving_latents: bool = True  # the latents before, as context, move with the blocks
    residual_coring: float = 0.8  # 8-bit levels below which an inter residual is none
    round_half_up: bool = True  # so that no float's last bit decides on halves
    overlap: bool = True  # neighbouring blocks' predictions blend into one another
    synthesis_width: int = 96
    synthesis_depth: int = 4
    synthesis_leave: int = 1  # kernel of the head's last convolution
    synthesis_memory: bool = True  # the head sees the detail of the frame before, moved
    synthesis_noise: int = 4  # planes of it
    step_finest: float = 4.0  # quantiser step at quality 63, in 8-bit sample values
    step_coarsest: float = 400.0  # at quality 0; log-spaced between
    levels: int = QUALITY_LEVELS

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> CodecConfig:
        """Strict: an unknown or missing name is an error; what came later has its old meaning.

        Raises:
            ValueError: naming the fields that do not fit.
        """
        known = {f.name for f in fields(cls)}
        values = {**_BEFORE, **values}
        if set(values) != known:
            raise ValueError(f"fields of the architecture differ: {sorted(set(values) ^ known)}")
        lists = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**lists)  # type: ignore[arg-type]
