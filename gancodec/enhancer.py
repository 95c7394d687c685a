"""Enhancers by name, and frames through them: super-resolution, denoising, deblurring, detail.

An enhancer is one safetensors file of half floats with two sets of weights for one net:
``faithful``, trained for error alone, and ``detailed``, trained on for eyes and against a critic.
What lies between is network interpolation (Wang et al., ESRGAN, 2018): a strength of 0 gives the
first, 1 the second. The manifest lists SHA-256, which is compared before a byte is parsed; nothing
is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from gancodec.errors import ModelError, UsageError
from gancodec.models.degradation import (
    MAX_SIGMA,
    blur_level,
    busyness,
    estimate_blur,
    noise_level,
    noise_of,
    rate_level,
)
from gancodec.models.restore import LEVELS, Restorer, RestorerConfig, Task, enlarge, halved
from gancodec.nn.motion import QuarterSamples, search_motion, warp
from gancodec.nn.planes import Planes, planes_of, round_to_8_bit
from gancodec.scene import is_scene_cut
from gancodec.types import FrameBatch

PACKAGED = Path(__file__).parent / "weights" / "enhance"
FAITHFUL, DETAILED = "faithful", "detailed"
FILE_LIMIT = 16 << 20  # bytes; an enhancer of ours has four million at most
SMALLEST = 16  # samples a side of a frame
TILE_SAMPLES = 1 << 20  # luma samples of the output that go through the net at once
WARM_UP = 4  # frames before the first that is wanted, for a net with memory
_STRENGTHS: dict[Task, float] = {"sr": 0.5, "denoise": 0.0, "deblur": 0.0, "detail": 1.0}
# The enhancer of a task and a scale, unless one is named.
DEFAULTS: dict[tuple[Task, int], str] = {
    ("sr", 2): "sr2.v2",
    ("sr", 4): "sr4.v1",
    ("denoise", 1): "denoise.v2",
    ("deblur", 1): "deblur.v2",
    ("detail", 1): "detail.v2",
}


# ── By name ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class EnhancerModel:
    """Both sets of weights of an enhancer; where it has but one, both are that."""

    name: str
    config: RestorerConfig
    faithful: dict[str, Tensor]
    detailed: dict[str, Tensor]
    card: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""  # of its file

    def net(self, strength: float, device: str = "cpu") -> Restorer:
        """The net of a strength, 0 to 1."""
        net = Restorer(self.config)
        with torch.no_grad():
            for name, p in net.named_parameters():
                p.copy_(torch.lerp(self.faithful[name], self.detailed[name], strength))
        net.to(device).eval().requires_grad_(False)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return net


def list_enhancers() -> dict[str, dict[str, Any]]:
    """Manifest entries of all enhancers in the package and in ``GANCODEC_ENHANCERS``, by name.

    Raises:
        ModelError: a manifest that is none.
    """
    extra = os.environ.get("GANCODEC_ENHANCERS", "")
    found: dict[str, dict[str, Any]] = {}
    for folder in (PACKAGED, *(Path(p) for p in extra.split(os.pathsep) if p)):
        if (folder / "manifest.json").is_file():
            found = {**_entries_of(folder), **found}  # the first of a name counts
    return found


def _entries_of(folder: Path) -> dict[str, dict[str, Any]]:
    """What a folder's manifest lists."""
    path = folder / "manifest.json"
    found: dict[str, dict[str, Any]] = {}
    try:
        for name, entry in json.loads(path.read_text()).items():
            if not all(isinstance(entry.get(key), str) for key in ("file", "sha256")):
                raise TypeError(f"the entry of {name!r} names no file and its SHA-256")
            found[name] = {**entry, "folder": str(folder)}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ModelError(f"{path} is no manifest of enhancers: {error}") from error
    return found


@lru_cache(maxsize=4)
def load_enhancer(name: str) -> EnhancerModel:
    """An enhancer by name, or the only one of a folder.

    Raises:
        ModelError: there is none, its file is another one, or it does not fit its architecture.
    """
    entries = list_enhancers()
    if name not in entries and (Path(name) / "manifest.json").is_file():
        folder, entries = name, _entries_of(Path(name))
        if not entries:
            raise ModelError(f"{folder} lists no enhancer; name another folder")
        name = next(iter(entries))
    if name not in entries:
        known = ", ".join(sorted(entries)) or "none"
        raise ModelError(f"there is no enhancer {name!r}; there are: {known}")
    entry = entries[name]
    tensors, meta = _read(Path(entry["folder"]) / entry["file"], entry["sha256"])
    try:
        config = RestorerConfig.from_dict(json.loads(meta["config"]))
        net = Restorer(config)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(f"the enhancer {name!r} has no valid architecture: {error}") from error
    faithful = _take(tensors, FAITHFUL, net, name)
    has_two = any(key.startswith(f"{DETAILED}.") for key in tensors)
    detailed = _take(tensors, DETAILED, net, name) if has_two else faithful
    if tensors:
        raise ModelError(f"the enhancer {name!r} holds foreign tensors, e.g. {next(iter(tensors))}")
    return EnhancerModel(name, config, faithful, detailed, entry.get("card", {}), entry["sha256"])


def _read(path: Path, sha256: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise ModelError(f"{path} is larger than {FILE_LIMIT >> 20} MiB; it is none of ours")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the weights {path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ModelError(
            f"{path} is not the file its manifest lists (SHA-256 differs); reinstall it"
        )
    try:
        length = int.from_bytes(data[:8], "little")
        return load_safetensors(data), json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except Exception as error:
        raise ModelError(f"{path} is not a safetensors file: {error}") from error


def _take(tensors: dict[str, Tensor], kind: str, net: Restorer, name: str) -> dict[str, Tensor]:
    taken = {}
    for key, p in net.named_parameters():
        value = tensors.pop(f"{kind}.{key}", None)
        if value is None or value.shape != p.shape or not value.is_floating_point():
            raise ModelError(f"tensor {kind}.{key} of {name!r} is missing or has a wrong shape")
        if not torch.isfinite(value).all():
            raise ModelError(f"tensor {kind}.{key} of {name!r} is not finite")
        taken[key] = value.float()
    return taken


# ── Frames ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Enhancement:
    """What is to be done, the same for every frame of a clip.

    Attributes:
        task: "sr", "denoise", "deblur" or "detail".
        scale: 2 or 4 for "sr", else 1.
        strength: 0 the most faithful, 1 the most detailed; None for the task's own default.
        sigma: deviation of the noise in 8-bit luma samples for "denoise"; None estimates it for
            every frame.
        bits_per_pixel: of the file that the frames are from, for "sr" and "detail"; None for
            frames that no codec has touched.
        model: name or folder of an enhancer; None for the task's own.
        device: where the net runs.
        recurrent: let "sr" see what it gave for the frame before.

    Raises:
        UsageError: a value out of range.
    """

    task: Task
    scale: int = 1
    strength: float | None = None
    sigma: float | None = None
    bits_per_pixel: float | None = None
    model: str | None = None
    device: str = "cpu"
    recurrent: bool = True

    def __post_init__(self) -> None:
        if self.task not in _STRENGTHS:
            raise UsageError(f"the task is one of {', '.join(_STRENGTHS)}, got {self.task!r}")
        if self.task == "sr" and self.scale not in (2, 4):
            raise UsageError(f"sr makes pictures 2 or 4 times as large, not {self.scale} times")
        if self.task != "sr" and self.scale != 1:
            raise UsageError(f"{self.task} keeps the size of pictures; a scale is for sr")
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise UsageError(f"strength is 0 to 1, got {self.strength:g}")
        if self.sigma is not None and self.task != "denoise":
            raise UsageError("sigma is for denoise")
        if self.sigma is not None and not 0 <= self.sigma <= MAX_SIGMA:
            raise UsageError(f"sigma is 0 to {MAX_SIGMA:g} in 8-bit samples, got {self.sigma:g}")
        if self.bits_per_pixel is not None and not self.bits_per_pixel >= 0:
            raise UsageError(f"bits_per_pixel is 0 or more, got {self.bits_per_pixel:g}")

    @property
    def minds_rate(self) -> bool:
        """Whether ``bits_per_pixel`` makes a difference."""
        return self.task in ("sr", "detail")

    def load(self) -> EnhancerModel:
        """The enhancer that does it.

        Raises:
            ModelError: there is none, or it is for something else.
        """
        model = load_enhancer(self.model or DEFAULTS[self.task, self.scale])
        if (model.config.task, model.config.scale) != (self.task, self.scale):
            raise ModelError(
                f"the enhancer {model.name!r} is for {model.config.task} x{model.config.scale}, "
                f"not for {self.task} x{self.scale}"
            )
        return model


def check_size(width: int, height: int) -> None:
    """Refuse pictures that are too small to be seen by a net.

    Raises:
        UsageError: a side of less than 16 samples.
    """
    if min(height, width) < SMALLEST:
        raise UsageError(
            f"pictures of {width}x{height} are too small to enhance: a side has at least "
            f"{SMALLEST} samples"
        )


class Enhancer:
    """Frames in, enhanced frames out.

    Args:
        enhancement: what to do.

    Raises:
        ModelError: its weights are not there, or not whole.
    """

    def __init__(self, enhancement: Enhancement) -> None:
        self.enhancement = enhancement
        model = enhancement.load()
        strength = enhancement.strength
        if strength is None:
            strength = _STRENGTHS[enhancement.task]
        self.config = model.config
        self.device = torch.device(enhancement.device)
        self._net = model.net(strength, enhancement.device)
        self._recurrent = enhancement.recurrent and model.config.memory

    @property
    def before(self) -> int:
        """Frames before the first wanted one that it should see."""
        return WARM_UP if self._recurrent else self.config.frames // 2

    @property
    def after(self) -> int:
        """Frames after the last wanted one that it should see."""
        return self.config.frames // 2

    def enhance(self, frames: FrameBatch, first: int = 0, count: int | None = None) -> FrameBatch:
        """Frames ``first`` to ``first + count`` of a run, enhanced; all of them unless told.

        Pictures are (scale x H, scale x W). At a scene cut, as at both ends of the run, the net
        sees no frames of the other side.

        Raises:
            UsageError: pictures of less than 16 samples a side.
        """
        count = len(frames) - first if count is None else count
        height, width = frames.y.shape[1:]
        check_size(width, height)
        out = [
            _cropped(p, height, width, self.config.scale) for p in self._run(frames, first, count)
        ]
        if not out:
            scale = self.config.scale
            empty = np.zeros((0, height * scale, width * scale), np.uint8)
            chroma = np.zeros((0, (height * scale + 1) // 2, (width * scale + 1) // 2), np.uint8)
            return FrameBatch(empty, chroma, chroma.copy(), frames.pts[:0])
        y, u, v = (np.concatenate([p[k] for p in out]) for k in range(3))
        return FrameBatch(y, u, v, frames.pts[first : first + count])

    @torch.inference_mode()
    def _run(self, frames: FrameBatch, first: int, count: int) -> Iterator[Planes]:
        scenes = _scenes(frames)
        start = max(first - self.before, 0) if self._recurrent else first
        pictures: dict[int, tuple[Planes, Tensor]] = {}  # as they are, and halved for the net
        busy: dict[int, Tensor] = {}  # of the frames of a window, for the noise
        past: Planes | None = None
        samples: QuarterSamples | None = None
        reach = self.config.frames // 2
        for n in range(start, first + count):
            window = [_nearest(k, scenes, n) for k in range(n - reach, n + reach + 1)]
            pictures = {k: p for k, p in pictures.items() if k >= n - reach}
            busy = {k: b for k, b in busy.items() if k >= n - reach}
            for k in window:
                if k not in pictures:
                    planes = self._picture(frames, k)
                    pictures[k] = planes, halved(planes)
            seen, halves = zip(*(pictures[k] for k in window), strict=True)
            level = self._level(frames, window, n, busy)
            moved = None
            if self._recurrent:
                luma = (seen[reach].y * 255).round()
                if past is not None and samples is not None and scenes[n] == scenes[n - 1]:
                    moved = warp(past, search_motion(luma, samples))
                samples = QuarterSamples(luma)
            past = self._tiled(halves, level, moved, self._net.sharpen(seen))
            if n >= first:
                yield past

    def _picture(self, frames: FrameBatch, n: int) -> Planes:
        """A frame, enlarged and padded to whole blocks."""
        scale = self.config.scale
        planes = enlarge(planes_of(frames, n, self.device), scale)
        return Planes(*(p.clamp(0, 1) for p in planes)) if scale > 1 else planes

    def _level(
        self, frames: FrameBatch, window: list[int], n: int, busy: dict[int, Tensor]
    ) -> Tensor:
        """What the net is told of frame ``n``; ``busy`` keeps what is known of a frame's noise."""
        what = self.enhancement
        if what.task == "denoise":
            if what.sigma is not None:
                return noise_level(torch.tensor([what.sigma]))
            for k in window:
                if k not in busy:  # each frame is in several windows
                    busy[k] = busyness(torch.from_numpy(frames.y[k : k + 1]))
            return noise_level(noise_of(torch.cat([busy[k] for k in window], 1)))
        if what.task == "deblur":
            return blur_level(estimate_blur(torch.from_numpy(frames.y[n : n + 1])))
        if what.bits_per_pixel is None:
            return torch.tensor([LEVELS - 1.0])
        return rate_level(torch.tensor([what.bits_per_pixel]))

    def _tiled(
        self, seen: Sequence[Tensor], level: Tensor, moved: Planes | None, sharper: Tensor | None
    ) -> Planes:
        """The net over tiles that overlap as far as it sees: as at once, in less memory."""
        height, width = (2 * side for side in seen[0].shape[-2:])
        level = level.to(self.device)
        tiles = list(tiles_of(height, width, TILE_SAMPLES, self._net.reach))
        if len(tiles) == 1:
            return round_to_8_bit(self._net.restore(seen, level, moved, sharper))
        out: Planes | None = None
        for outer, inner in tiles:
            part = self._net.restore(
                [h[..., *_halved(outer)] for h in seen],
                level,
                None if moved is None else _part(moved, outer),
                None if sharper is None else sharper[..., *outer],
            )
            rows, cols = inner
            inside = (
                slice(rows.start - outer[0].start, rows.stop - outer[0].start),
                slice(cols.start - outer[1].start, cols.stop - outer[1].start),
            )
            if out is None:
                out = Planes(
                    *(
                        p.new_empty(1, 1, height // k, width // k)
                        for p, k in zip(part, (1, 2, 2), strict=True)
                    )
                )
            for whole, tile in zip(
                _part(out, inner), round_to_8_bit(_part(part, inside)), strict=True
            ):
                whole.copy_(tile)
        assert out is not None  # there is a tile at least
        return out


_Area = tuple[slice, slice]  # rows and columns of luma, even


def tiles_of(height: int, width: int, samples: int, reach: int) -> Iterator[tuple[_Area, _Area]]:
    """Tiles of at most so many samples: what goes in, and the part of it that counts.

    Args:
        height, width: multiples of 16.
        samples: luma samples of the part that counts.
        reach: how far beyond it is looked, a multiple of 16.
    """
    across = -(-width * height // samples)
    columns = max(round((across * width / height) ** 0.5), 1)
    rows = -(-across // columns)
    for top, bottom in _spans(height, rows):
        for left, right in _spans(width, columns):
            yield (
                (
                    slice(max(top - reach, 0), min(bottom + reach, height)),
                    slice(max(left - reach, 0), min(right + reach, width)),
                ),
                (slice(top, bottom), slice(left, right)),
            )


def _spans(side: int, count: int) -> Iterator[tuple[int, int]]:
    """A side in about equal parts that begin at multiples of 16."""
    edges = sorted({16 * round(side * k / count / 16) for k in range(count)} | {side})
    yield from pairwise(edges)


def _part(planes: Planes, area: _Area) -> Planes:
    half = _halved(area)
    return Planes(planes.y[..., *area], planes.u[..., *half], planes.v[..., *half])


def _halved(area: _Area) -> _Area:
    rows, cols = (slice(s.start // 2, s.stop // 2) for s in area)
    return rows, cols


def _scenes(frames: FrameBatch) -> list[int]:
    """The number of each frame's scene."""
    scenes = [0] * min(len(frames), 1)
    for n in range(1, len(frames)):
        scenes.append(scenes[-1] + is_scene_cut(frames.y[n - 1], frames.y[n]))
    return scenes


def _nearest(k: int, scenes: list[int], n: int) -> int:
    """What stands for frame ``k`` beside frame ``n``: itself, or mirrored at the scene's ends."""

    def there(j: int) -> bool:
        return 0 <= j < len(scenes) and scenes[j] == scenes[n]

    if there(k):
        return k
    mirrored = 2 * n - k
    return mirrored if there(mirrored) else n


def _cropped(planes: Planes, height: int, width: int, scale: int) -> tuple[Any, Any, Any]:
    """Arrays (1, h, w) of the visible part."""
    rows, cols = height * scale, width * scale
    sides = (rows, cols), ((rows + 1) // 2, (cols + 1) // 2), ((rows + 1) // 2, (cols + 1) // 2)
    y, u, v = (
        (p[0, :, :h, :w] * 255).round().clamp(0, 255).to("cpu", torch.uint8).numpy()
        for p, (h, w) in zip(planes, sides, strict=True)
    )
    return y, u, v
