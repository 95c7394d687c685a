"""Choices of one encode. (The architecture of a net is `CodecConfig`, stored with its weights.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gancodec.errors import UsageError

QUALITY_LEVELS = 64  # one model serves all: 0 is the smallest file, 63 the best picture
Preset = Literal["fast", "medium", "slow"]


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
    model: str = "base.v1"

    def __post_init__(self) -> None:
        if not 0 <= self.quality <= QUALITY_LEVELS - 1:
            raise UsageError(f"quality is 0 to {QUALITY_LEVELS - 1} (best), got {self.quality}")
        if not 1 <= self.gop <= 1024:
            raise UsageError(f"gop is 1 to 1024 frames, got {self.gop}")
        if self.preset not in ("fast", "medium", "slow"):
            raise UsageError(f"preset is fast, medium or slow, got {self.preset!r}")
