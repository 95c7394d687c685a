"""Clips to measure on: files and folders become frames in memory, with a hash of what was read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gancodec.errors import InputError
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.reader import open_video

_READ_FRAMES = 16
VIDEOS = {".mkv", ".mp4", ".webm", ".mov", ".avi", ".y4m", ".mpg", ".ts", ".m4v"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif"}


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames to code, all in memory.

    Attributes:
        name: of the file, without its suffix.
        info: size, rate and colours; ``info.frames`` is the number of ``frames``.
        frames: 8-bit 4:2:0 planes; pts count frames of a constant rate: 0, 1, 2 ...
    """

    name: str
    info: VideoInfo
    frames: FrameBatch

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def seconds(self) -> float:
        """How long it plays."""
        return float(len(self.frames) / self.info.fps)

    @property
    def pixels(self) -> int:
        """Luma samples of all frames: what bits a pixel are divided by."""
        return int(self.frames.y.size)

    @property
    def sha256(self) -> str:
        """Of the planes, the rate and the colours, which is all that codecs and metrics see."""
        about = (self.frames.y.shape, self.info.fps, self.info.color)
        digest = hashlib.sha256(repr(about).encode())
        for plane in (self.frames.y, self.frames.u, self.frames.v):
            digest.update(np.ascontiguousarray(plane).data)
        return digest.hexdigest()


def find_clips(paths: Sequence[Path]) -> list[Path]:
    """The videos and pictures among ``paths`` and directly below those that are folders, sorted.

    Raises:
        InputError: a path that does not exist, or a folder with nothing to read.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            if not path.is_file():
                raise InputError(f"there is no clip {path}; check the path")
            found.append(path)
            continue
        inside = [p for p in sorted(path.iterdir()) if p.suffix.lower() in VIDEOS | PICTURES]
        if not inside:
            raise InputError(f"there is no video or picture in {path}")
        found.extend(inside)
    return found


def read_clip(
    path: Path, *, frames: int | None = None, scale: tuple[int, int] | None = None
) -> Clip:
    """Read a clip (at most its first ``frames`` frames), scaled where asked.

    Raises:
        InputError: it cannot be read, or holds no frame.
    """
    batches: list[FrameBatch] = []
    count = 0
    with open_video(path, scale=scale) as video:
        for batch in video.batches(_READ_FRAMES):
            batch = batch[: None if frames is None else frames - count]
            if len(batch):
                batches.append(batch)
                count += len(batch)
            if count == frames:
                break
        info = video.info
    if not batches:
        raise InputError(f"{path} holds no frame")
    whole = FrameBatch.concatenate(batches)
    timed = FrameBatch(whole.y, whole.u, whole.v, np.arange(count, dtype=np.int64))
    return Clip(path.stem, _at_constant_rate(info, count), timed)


def _at_constant_rate(info: VideoInfo, frames: int) -> VideoInfo:
    from dataclasses import replace

    return replace(info, time_base=1 / info.fps, frames=frames)
