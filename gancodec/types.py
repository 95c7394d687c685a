"""The few value types that everything else passes around. No torch: ``probe`` must stay light."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Color:
    """Colour description by CICP (ITU-T H.273) code points; 2 is "unspecified"."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    full_range: bool = False
    chroma_location: int = 0  # AVChromaLocation: 0 unspecified, 1 left, 2 centre, 3 top-left ...


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a container knows about a clip. Times are exact: nothing here is a float.

    ``width`` and ``height`` are of the stored picture in luma samples (before ``rotation``);
    ``fps`` is nominal, the truth are the ``pts`` of each frame in units of ``time_base`` seconds.
    """

    width: int
    height: int
    fps: Fraction
    time_base: Fraction
    color: Color = field(default_factory=Color)
    sample_aspect_ratio: Fraction = Fraction(1)
    rotation: int = 0  # degrees clockwise to show the picture upright: 0, 90, 180 or 270
    frames: int | None = None  # None: unknown until the end (a pipe)

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a picture has at least one sample, got {self.width}x{self.height}")
        if self.fps <= 0 or self.time_base <= 0 or self.sample_aspect_ratio <= 0:
            raise ValueError(
                f"fps, time base and aspect ratio are positive, got {self.fps}, "
                f"{self.time_base}, {self.sample_aspect_ratio}"
            )
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation is 0, 90, 180 or 270 degrees, got {self.rotation}")

    @property
    def chroma_width(self) -> int:
        """Columns of the 4:2:0 chroma planes."""
        return (self.width + 1) // 2

    @property
    def chroma_height(self) -> int:
        """Rows of the 4:2:0 chroma planes."""
        return (self.height + 1) // 2


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """Frames as 8-bit 4:2:0 planes with their times.

    ``y`` is (N, H, W), ``u`` and ``v`` are (N, ceil(H/2), ceil(W/2)), all uint8; ``pts`` is (N,)
    int64 in ticks of the clip's time base.

    Raises:
        ValueError: when the shapes or dtypes do not belong together.
    """

    y: Plane
    u: Plane
    v: Plane
    pts: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.y.ndim != 3 or self.y.dtype != np.uint8:
            raise ValueError(f"y is (N, H, W) uint8, got {self.y.shape} {self.y.dtype}")
        n, h, w = self.y.shape
        chroma = (n, (h + 1) // 2, (w + 1) // 2)
        for name, plane in (("u", self.u), ("v", self.v)):
            if plane.shape != chroma or plane.dtype != np.uint8:
                raise ValueError(f"{name} is {chroma} uint8, got {plane.shape} {plane.dtype}")
        if self.pts.shape != (n,) or self.pts.dtype != np.int64:
            raise ValueError(f"pts is ({n},) int64, got {self.pts.shape} {self.pts.dtype}")

    def __len__(self) -> int:
        return int(self.y.shape[0])

    def __getitem__(self, key: slice) -> FrameBatch:
        if not isinstance(key, slice):
            raise TypeError(f"a batch is cut with slices, got {type(key).__name__}")
        return FrameBatch(self.y[key], self.u[key], self.v[key], self.pts[key])

    def __repr__(self) -> str:
        n, h, w = self.y.shape
        span = f", pts {self.pts[0]}..{self.pts[-1]}" if n else ""
        return f"FrameBatch({n} frames of {w}x{h} 4:2:0{span})"

    @staticmethod
    def concatenate(batches: list[FrameBatch]) -> FrameBatch:
        """Join batches of equal picture size in time order."""
        return FrameBatch(
            np.concatenate([b.y for b in batches]),
            np.concatenate([b.u for b in batches]),
            np.concatenate([b.v for b in batches]),
            np.concatenate([b.pts for b in batches]),
        )


class FrameType(enum.IntEnum):
    """How a frame is coded. INTRA opens a closed GOP."""

    INTRA = 0
    INTER = 1


@dataclass(frozen=True, slots=True)
class Packet:
    """One coded frame.

    ``data`` is the frame payload of FORMAT.md (quality byte, then the range coder's words);
    ``symbol_hash`` is the 8-byte BLAKE2b of all symbols of the GOP up to and including this frame.
    """

    kind: FrameType
    pts: int
    quality: int
    data: bytes
    symbol_hash: bytes
