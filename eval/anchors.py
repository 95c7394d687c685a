"""The codecs to stand beside: x264 through PyAV, in memory, on the same planes.

A coded clip is its smallest file: an H.264 byte stream without x264's note about its own settings,
which takes 600 bytes and says nothing about the picture.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.codeccontext import VideoCodecContext

from gancodec.errors import UsageError
from gancodec.types import FrameBatch, Plane, VideoInfo
from gancodec.video.mux import to_frame

BEST_CRF, WORST_CRF = 0.0, 51.0
_FIRST_CRF = 28.0
_SLOPE = 0.12  # fall of the size's logarithm a step of crf, roughly, before it is measured
_SEARCH_STEPS = 12
_DROP_SETTINGS_NOTE = "filter_units=remove_types=6"  # NAL type 6: supplemental information


@dataclass(frozen=True, slots=True)
class Anchor:
    """A clip coded by another codec: the bytes of its file and the rate factor they came from."""

    data: bytes
    crf: float


def check_even(info: VideoInfo) -> None:
    """Check that H.264 has pictures of this size.

    Raises:
        UsageError: an odd width or height.
    """
    if info.width % 2 or info.height % 2:
        raise UsageError(
            f"x264 codes 4:2:0 pictures of even size only, these are {info.width}x{info.height}"
        )


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
    check_even(info)
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = info.width, info.height, "yuv420p"
    context.framerate, context.time_base = info.fps, 1 / info.fps
    context.thread_count = threads
    context.options = {"crf": f"{crf:.4f}", "preset": preset}
    parts = []
    for n in range(len(frames)):
        frame = to_frame(frames, n, info)
        frame.pts, frame.time_base = n, 1 / info.fps  # by number: rate control sees the fps
        parts += context.encode(frame)
    parts += context.encode(None)
    return _without_settings_note(b"".join(bytes(packet) for packet in parts))


def _without_settings_note(stream: bytes) -> bytes:
    with av.open(io.BytesIO(stream), "r", format="h264") as container:
        video = container.streams.video[0]
        keep = BitStreamFilterContext(_DROP_SETTINGS_NOTE, video)
        packets = (out for packet in container.demux(video) for out in keep.filter(packet))
        return b"".join(bytes(packet) for packet in packets)


def decode_h264(data: bytes, *, threads: int = 0) -> FrameBatch:
    """The frames of an H.264 file in order of presentation, pts 0, 1, 2 ..."""
    y: list[Plane] = []
    u: list[Plane] = []
    v: list[Plane] = []
    with av.open(io.BytesIO(data), "r", format="h264") as container:
        container.streams.video[0].codec_context.thread_count = threads
        for frame in container.decode(video=0):
            for planes, plane in zip((y, u, v), frame.planes, strict=True):
                rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
                planes.append(rows[:, : plane.width].copy())
    return FrameBatch(np.stack(y), np.stack(u), np.stack(v), np.arange(len(y), dtype=np.int64))


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
