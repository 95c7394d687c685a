"""What enhancers are judged on: clips of a folder and photographs of scikit-image; and measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from gancodec.enhancer import Enhancement, Enhancer
from gancodec.errors import UsageError
from gancodec.eval.clips import Clip, find_clips, read_clip
from gancodec.eval.fidelity import psnr_of_planes
from gancodec.eval.metric import Context
from gancodec.eval.metrics import find_metric
from gancodec.models.restore import Task
from gancodec.types import Color, FrameBatch, Plane, VideoInfo
from gancodec.video.color import rgb_to_yuv420

PICTURES = ("astronaut", "chelsea", "coffee", "rocket")  # photographs, in scikit-image's wheel
_GRID = 16  # samples that sides are multiples of: any scale divides them
_COLOR = Color(primaries=1, transfer=1, matrix=6, full_range=False)

Name = Literal["sr4", "sr2", "denoise", "deblur", "detail", "speed"]
NAMES: tuple[Name, ...] = ("sr4", "sr2", "denoise", "deblur", "detail", "speed")
ENHANCERS = NAMES[:-1]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the measurements are told.

    Attributes:
        models: names or folders of enhancers by `Name`; the shipped ones unless given.
        twin: folder of the denoiser that saw clean targets.
        every: ST-LPIPS judges every n-th frame.
        seed: of noise and of cameras; no training used it.
    """

    models: dict[str, str] = field(default_factory=dict)
    twin: str | None = None
    every: int = 6
    seed: int = 90210

    def rng(self, *about: object) -> np.random.Generator:
        """Random numbers that depend on the seed and on what they are for."""
        words = " ".join(map(str, about)).encode()
        return np.random.default_rng([self.seed, *words])

    def enhancement(self, name: str, *, model: str | None = None, **options: object) -> Enhancement:
        """An enhancement by the model that is chosen for a `Name`."""
        task: Task = "sr" if name.startswith("sr") else name  # type: ignore[assignment]
        scale = int(name[2:]) if task == "sr" else 1
        chosen = model or self.models.get(name)
        return Enhancement(task, scale, model=chosen, **options)  # type: ignore[arg-type]

    def enhance(self, name: str, frames: FrameBatch, **options: object) -> FrameBatch:
        """All frames, enhanced; ``options`` as for `Enhancement`."""
        return Enhancer(self.enhancement(name, **options)).enhance(frames)  # type: ignore[arg-type]


# ── Sources ──────────────────────────────────────────────────────────────────────────────────


def read_sources(
    folder: Path | None, frames: int, pictures: Sequence[str], middle: tuple[int, int]
) -> list[Clip]:
    """Clips of a folder and photographs: of each the middle, at most so large.

    Raises:
        InputError: there is no clip, or one cannot be read.
        UsageError: there is no such photograph, or nothing to judge on.
    """
    paths = [] if folder is None else find_clips([folder])
    found = [middle_of(read_clip(path, frames=frames), *middle) for path in paths]
    found += [middle_of(photograph(name), *middle) for name in pictures]
    if not found:
        raise UsageError("there is nothing to judge on; name --clips FOLDER or --pictures NAME")
    return found


def photograph(name: str) -> Clip:
    """A photograph of scikit-image as a clip of one frame.

    Raises:
        UsageError: there is none of that name.
    """
    import skimage.data

    if name not in PICTURES:
        raise UsageError(f"there is no photograph {name!r}; there are: {', '.join(PICTURES)}")
    rgb: npt.NDArray[np.uint8] = getattr(skimage.data, name)()
    rgb = rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2, :3]
    frames = FrameBatch(
        *rgb_to_yuv420(np.ascontiguousarray(rgb[None]), _COLOR), np.zeros(1, np.int64)
    )
    height, width = frames.y.shape[1:]
    info = VideoInfo(width, height, Fraction(25), Fraction(1, 25), color=_COLOR, frames=1)
    return Clip(name, info, frames)


def middle_of(clip: Clip, width: int, height: int) -> Clip:
    """The middle of a clip, at most so large (0: all of it), sides multiples of 16."""
    rows, columns = clip.frames.y.shape[1:]
    high, wide = (
        (min(side, limit) if limit else side) // _GRID * _GRID
        for side, limit in ((rows, height), (columns, width))
    )
    if not high or not wide:
        raise UsageError(f"{clip.name} is smaller than {_GRID}x{_GRID}")
    frames = window_of(clip.frames, (columns - wide) // 4 * 2, (rows - high) // 4 * 2, wide, high)
    return Clip(clip.name, replace(clip.info, width=wide, height=high), frames)


def window_of(frames: FrameBatch, left: int, top: int, width: int, height: int) -> FrameBatch:
    """A part of all frames; all four are even."""

    def cut(plane: Plane, unit: int) -> Plane:
        rows = slice(top // unit, (top + height) // unit)
        columns = slice(left // unit, (left + width) // unit)
        return np.ascontiguousarray(plane[:, rows, columns])

    return FrameBatch(cut(frames.y, 1), cut(frames.u, 2), cut(frames.v, 2), frames.pts)


def with_luma(frames: FrameBatch, luma: npt.NDArray[np.generic]) -> FrameBatch:
    """Frames of other luma, rounded to 8 bits."""
    y = np.clip(np.round(luma), 0, 255).astype(np.uint8)
    return FrameBatch(y, frames.u, frames.v, frames.pts)


def each_plane(frames: FrameBatch) -> Iterator[tuple[bool, Plane]]:
    """Whether it is chroma, and the plane of all frames: Y, U, V."""
    yield from ((k > 0, p) for k, p in enumerate((frames.y, frames.u, frames.v)))


# ── Measures ─────────────────────────────────────────────────────────────────────────────────


def psnr_y(reference: FrameBatch, frames: FrameBatch, border: int = 0) -> float:
    """Mean of the frames' dB, without so many samples at each side."""
    inside = slice(border, -border or None)
    return float(psnr_of_planes(reference.y[:, inside, inside], frames.y[:, inside, inside]).mean())


def st_lpips(clip: Clip, frames: FrameBatch, every: int) -> float:
    """ST-LPIPS on VGG16 of every n-th frame, the one in the middle of each n."""
    metric = find_metric("st-lpips-vgg")
    metric.check({})
    first = min(every // 2, len(frames) - 1)
    part = slice(first, None, every)
    return float(metric.measure(clip.frames[part], frames[part], Context(clip.info)).mean())


def warp_error(clip: Clip, frames: FrameBatch) -> float | None:
    """Warping error x 1000 along the clip's own motion; None if there is none to judge by."""
    if len(frames) < 2:
        return None
    try:
        return float(find_metric("warp-error").measure(clip.frames, frames).mean())
    except UsageError:  # nothing but scene cuts
        return None
