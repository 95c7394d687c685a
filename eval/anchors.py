"""x264 to stand beside: at a rate factor, or at the size that another codec took."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from gancodec.eval import classic
from gancodec.eval.clips import Clip
from gancodec.eval.libav import decode_frames
from gancodec.types import FrameBatch, VideoInfo

BEST_CRF, WORST_CRF = 0.0, 51.0
_FIRST_CRF = 28.0
_SLOPE = 0.12  # fall of the size's logarithm a step of crf, roughly, before it is measured
_SEARCH_STEPS = 12


@dataclass(frozen=True, slots=True)
class Anchor:
    """A clip coded by another codec: the bytes of its file and the rate factor they came from."""

    data: bytes
    crf: float


def check_even(info: VideoInfo) -> None:
    """Check that x264 has pictures of this size.

    Raises:
        UsageError: an odd width or height.
    """
    classic.check_even(info, "x264")


def encode_x264(
    frames: FrameBatch,
    info: VideoInfo,
    crf: float,
    *,
    preset: str = "medium",
    threads: int = 0,
) -> bytes:
    """An H.264 file of all frames.

    Args:
        frames: even width and height, as H.264 asks for.
        info: colours and rate of the clip.
        crf: x264's constant rate factor, 0 (best) to 51.
        preset: x264's own.
        threads: 0 lets x264 choose by the number of cores.

    Raises:
        UsageError: for an odd width or height.
    """
    return classic.X264(crf, preset=preset, threads=threads).encode(Clip("", info, frames))


def decode_h264(data: bytes, *, threads: int = 0) -> FrameBatch:
    """The frames of an H.264 file in order of presentation, pts 0, 1, 2 ..."""
    return decode_frames(data, "h264", threads=threads)


def match_x264(
    frames: FrameBatch,
    info: VideoInfo,
    size_bytes: int,
    *,
    tolerance: float = 0.03,
    preset: str = "medium",
    threads: int = 0,
) -> Anchor:
    """x264 at the rate factor whose file is nearest to ``size_bytes``.

    The search ends within ``tolerance``; a size beyond what x264 reaches gives its nearest end.
    """
    sizes: dict[float, int] = {}
    nearest: Anchor | None = None
    crf: float | None = _FIRST_CRF
    while crf is not None and len(sizes) < _SEARCH_STEPS:
        data = encode_x264(frames, info, crf, preset=preset, threads=threads)
        sizes[crf] = len(data)
        off = abs(len(data) - size_bytes)
        if nearest is None or off < abs(len(nearest.data) - size_bytes):
            nearest = Anchor(data, crf)
        if off <= tolerance * size_bytes:
            break
        crf = _next_crf(sizes, max(size_bytes, 1))
    assert nearest is not None
    return nearest


def _next_crf(sizes: Mapping[float, int], goal: int) -> float | None:
    """Where a straight line through the logarithms of the sizes meets the goal; None at an end."""
    larger = [crf for crf, size in sizes.items() if size > goal]
    smaller = [crf for crf, size in sizes.items() if size <= goal]
    if larger and smaller:
        low, high = max(larger), min(smaller)
        drop = math.log(sizes[low] / sizes[high])
        share = math.log(sizes[low] / goal) / drop if drop > 0 else 0.5
        return low + (high - low) * min(max(share, 0.1), 0.9)  # both ends come nearer
    last = max(larger) if larger else min(smaller)
    wanted = last + math.log(sizes[last] / goal) / _SLOPE * 1.2  # a little too far, to bracket it
    wanted = min(max(wanted, BEST_CRF), WORST_CRF)
    return None if wanted in sizes else wanted


def kbps_of(size_bytes: int, seconds: Fraction) -> float:
    """Kilobits (1000 bits) a second."""
    return float(size_bytes * 8 / seconds / 1000)
