"""Frames as RGB PNG pictures, upright: pictures carry no rotation of their own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from av.codec import CodecContext
from av.video.frame import VideoFrame

from gancodec.errors import InputError, UsageError
from gancodec.types import FrameBatch, VideoInfo

from .color import yuv420_to_rgb
from .notices import Notices
from .partial import PartialFile
from .targets import VideoWriter

FOLDER_PATTERN = "frame_%06d.png"
_PRINTF = re.compile(r"%0?(\d*)d")


def is_pattern(name: str) -> bool:
    """Whether a file name has a place for a number, as ``out_%04d.png``."""
    return _PRINTF.search(name) is not None


class StillsWriter(VideoWriter):
    """One PNG a frame, numbered from 1; a target without a number takes a single frame.

    Every picture appears whole; pictures written before an abort are removed again.
    """

    def __init__(self, target: Path, info: VideoInfo, sound: bool) -> None:
        super().__init__(info, Notices())
        if target.is_dir():
            target = target / FOLDER_PATTERN
        self._target = target
        self._written: list[Path] = []
        if sound:
            self._notices.add("pictures hold no sound: it was left out")
        if not target.parent.is_dir():
            raise InputError(f"the folder {target.parent} does not exist: make it first")

    def _write_frames(self, batch: FrameBatch) -> None:
        for n in range(len(batch)):
            path = self._path(len(self._written) + 1)
            rgb = yuv420_to_rgb(batch[n : n + 1], self.info.color)[0]
            upright = np.rot90(rgb, -self.info.rotation // 90)  # rot90 turns counter-clockwise
            partial = PartialFile(path)
            partial.path.write_bytes(encode_png(upright, self.info))
            partial.commit()
            self._written.append(path)

    def _path(self, number: int) -> Path:
        name = self._target.name
        match = _PRINTF.search(name)
        if match is None:
            if number > 1:
                raise UsageError(
                    f"{self._target} is one picture and the clip has more: write to "
                    f"{self._target.stem}_%04d{self._target.suffix}"
                )
            return self._target
        width = int(match[1] or 0)
        digits = f"{number:0{width}d}" if width else str(number)
        return self._target.with_name(name[: match.start()] + digits + name[match.end() :])

    def _finish(self) -> None:
        if not self._written:
            raise InputError(f"no frame was written to {self._target}: the clip is empty")

    def _cancel(self) -> None:
        for path in self._written:
            path.unlink(missing_ok=True)


def encode_png(rgb: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], info: VideoInfo) -> bytes:
    """An (H, W, 3) picture as the bytes of a PNG file."""
    height, width, _ = rgb.shape
    context = CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = width, height, "rgb24"
    context.time_base = info.time_base
    turned = info.rotation in (90, 270)
    ratio = info.sample_aspect_ratio
    context.sample_aspect_ratio = 1 / ratio if turned else ratio
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
