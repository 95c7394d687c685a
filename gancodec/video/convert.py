"""Any decoded frame as 8-bit 4:2:0 planes: copied untouched where it already is that.

Numbers are changed only where they must be: deeper samples are rounded (never dithered, dither
would cost bits), chroma is filtered by swscale, RGB becomes BT.709 limited range, grey keeps its
values. Limited and full range both stay what they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from gancodec.types import Color, Plane

from .notices import Notices
from .probe import FULL_RANGE

Planes = tuple[Plane, Plane, Plane]

_NATIVE = frozenset({"yuv420p", "yuvj420p"})
_GREY = frozenset({"gray", "gray8"})
_LIMITED_RANGE = 1
# Exact rounding and no CPU-specific shortcuts: the same file gives the same planes everywhere.
_SCALER = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
)
_SUBSAMPLINGS = {(1, 1): "420", (1, 0): "422", (0, 0): "444"}
_RGB_MATRIX, _CENTER = 1, 2


def _plane_view(frame: VideoFrame, index: int, dtype: str = "u1") -> npt.NDArray[np.generic]:
    """One plane without its line padding, as a view on the frame's memory."""
    plane = frame.planes[index]
    samples = np.frombuffer(memoryview(plane), dtype)
    return samples.reshape(plane.height, -1)[:, : plane.width]


def _copy_plane(frame: VideoFrame, index: int) -> Plane:
    return np.array(_plane_view(frame, index), np.uint8)


def _subsampling(fmt: VideoFormat) -> tuple[int, int]:
    """log2 of chroma's horizontal and vertical subsampling."""
    return (fmt.chroma_width(64) < 64) + (fmt.chroma_width(64) < 32), fmt.chroma_height(64) < 64


def _bits(fmt: VideoFormat) -> int:
    return max(component.bits for component in fmt.components)


def _is_grey(fmt: VideoFormat) -> bool:
    return fmt.name.startswith(("gray", "ya8", "ya16", "mono"))


def _is_rgb(fmt: VideoFormat) -> bool:
    return fmt.is_rgb or fmt.has_palette or fmt.name.startswith(("xyz", "bayer"))


class Converter:
    """Turns frames into planes of one size, and says once what that changed.

    ``color`` is that of the first frame; ``output_color`` what the planes must be tagged with.
    """

    def __init__(
        self, first: VideoFrame, color: Color, size: tuple[int, int], notices: Notices
    ) -> None:
        self._size = size
        self._first_size = (first.width, first.height)
        self._notices = notices
        self._scaler = VideoReformatter()
        self.output_color = self._describe(first.format, first.color_range, color)

    def _describe(self, fmt: VideoFormat, color_range: int, color: Color) -> Color:
        """Say what will be converted and give the tags of the result."""
        matrix, full, location = color.matrix, color.full_range, color.chroma_location
        if any(component.is_alpha for component in fmt.components):
            self._notices.add("transparency was dropped")
        if _is_rgb(fmt):
            self._notices.add("RGB was converted to BT.709 limited range 4:2:0")
            matrix, full, location = _RGB_MATRIX, False, _CENTER
        elif _is_grey(fmt):
            # FFmpeg's grey is full range unless tagged otherwise, and so stays exact
            self._notices.add("grey pictures were given neutral chroma")
            full = color_range != _LIMITED_RANGE
        elif _subsampling(fmt) != (1, 1):
            across, down = _subsampling(fmt)
            label = {(1, 0): "4:2:2", (0, 0): "4:4:4", (0, 1): "4:4:0", (2, 0): "4:1:1"}
            kind = label.get((across, down), fmt.name)
            self._notices.add(f"{kind} chroma was reduced to 4:2:0")
            # swscale puts new chroma samples midway between the columns they come from
            location = location if across == 1 else _CENTER
        if (bits := _bits(fmt)) > 8 and not fmt.name.startswith("rgb565"):
            self._notices.add(f"{bits}-bit samples were rounded to 8 bits")
        return Color(color.primaries, color.transfer, matrix, full, location)

    def planes(self, frame: VideoFrame) -> Planes:
        """The planes of one frame, freshly allocated."""
        if (frame.width, frame.height) != self._first_size:
            self._notices.add("{n} frames of another size were scaled to that of the first")
        same_size = (frame.width, frame.height) == self._size
        if frame.format.name in _NATIVE and same_size:
            return _copy_plane(frame, 0), _copy_plane(frame, 1), _copy_plane(frame, 2)
        return self._convert(frame)

    def _convert(self, frame: VideoFrame) -> Planes:
        width, height = self._size
        if _is_grey(frame.format):
            if frame.format.name not in _GREY or (frame.width, frame.height) != self._size:
                range_ = frame.color_range or FULL_RANGE
                frame = self._reformat(frame, "gray", range_, range_, None)
            grey = _copy_plane(frame, 0)
            neutral = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
            return grey, neutral, neutral.copy()
        if _is_rgb(frame.format):
            out = self._reformat(
                frame, "yuv420p", FULL_RANGE, _LIMITED_RANGE, int(Colorspace.ITU709)
            )
        else:
            frame = self._to_8_bits(frame)
            range_ = FULL_RANGE if self.output_color.full_range else _LIMITED_RANGE
            out = self._reformat(frame, "yuv420p", range_, range_, None)
        return _copy_plane(out, 0), _copy_plane(out, 1), _copy_plane(out, 2)

    def _reformat(
        self, frame: VideoFrame, name: str, range_in: int, range_out: int, matrix: int | None
    ) -> VideoFrame:
        width, height = self._size
        return self._scaler.reformat(
            frame,
            width,
            height,
            name,
            dst_colorspace=matrix,
            interpolation=_SCALER,
            src_color_range=ColorRange(range_in),
            dst_color_range=ColorRange(range_out),
            threads=1,
        )

    def _to_8_bits(self, frame: VideoFrame) -> VideoFrame:
        """Round planar YUV of up to 16 bits to 8 bits; other formats are left to swscale."""
        bits, fmt = _bits(frame.format), frame.format
        if bits <= 8:
            return frame
        subsampling = _SUBSAMPLINGS.get(_subsampling(fmt))
        if subsampling is None:
            return frame
        planar = f"yuv{subsampling}p{bits}le"
        if fmt.name != planar:
            frame = self._scaler.reformat(frame, format=planar, interpolation=_SCALER, threads=1)
        rounded = VideoFrame(frame.width, frame.height, f"yuv{subsampling}p")
        rounded.color_range, rounded.colorspace = frame.color_range, frame.colorspace
        half = 1 << (bits - 9)
        for index in range(3):
            deep = _plane_view(frame, index, "<u2").astype(np.uint32)
            shallow = np.minimum((deep + half) >> (bits - 8), 255)
            _plane_view(rounded, index)[:] = shallow.astype(np.uint8)
        return rounded
