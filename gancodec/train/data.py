"""Training data: any folder of videos and photographs becomes arrays of 8-bit 4:2:0 samples.

Preparation happens once and is kept on disk, so that a training step reads a memory map and
spends its time in convolutions. Two products:

* stills: whole pictures at several scales, from which random patches are cut;
* sequences: (N, T, 3/2 S^2) patches that follow a place through T frames, with their block motion
  (N, T-1, 2, S/8, S/8) found by the encoder's own search. Photographs become sequences by a
  synthetic camera (pan, zoom, rotation), half of the motion a small data set needs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from gancodec.errors import InputError
from gancodec.models.motion_choice import ERROR_PRICE, MENDED, VectorPrices, choose_field
from gancodec.nn.motion import QuarterSamples, search_motion
from gancodec.nn.planes import Planes
from gancodec.registry import MOTION_TABLES
from gancodec.train.export import parametric_tables
from gancodec.types import FrameBatch
from gancodec.video.reader import open_video

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
VIDEOS = {".mkv", ".mp4", ".webm", ".mov", ".avi", ".y4m", ".mpg", ".ts", ".m4v"}
MOTION_STEPS = 16.0, 400.0  # quantiser steps that motion is chosen for, log-uniform
CROP_LIMIT = 160  # quarter samples; a crop holds nothing farther away

Samples = npt.NDArray[np.uint8]


class Picture(NamedTuple):
    """One picture's planes, even sides."""

    y: Samples
    u: Samples
    v: Samples

    @classmethod
    def of(cls, batch: FrameBatch, frame: int) -> Picture:
        h, w = batch.y.shape[1] // 2 * 2, batch.y.shape[2] // 2 * 2
        return cls(
            batch.y[frame, :h, :w].copy(),
            batch.u[frame, : h // 2, : w // 2].copy(),
            batch.v[frame, : h // 2, : w // 2].copy(),
        )

    def crop(self, top: int, left: int, size: int) -> Samples:
        """Flat patch: Y, then U, then V. ``top`` and ``left`` are even."""
        t, c, s = top // 2, left // 2, size // 2
        return np.concatenate(
            [
                self.y[top : top + size, left : left + size].ravel(),
                self.u[t : t + s, c : c + s].ravel(),
                self.v[t : t + s, c : c + s].ravel(),
            ]
        )


def planes_from_flat(flat: Tensor, size: int) -> Planes:
    """(B, 3/2 S^2) 8-bit samples -> planes / 255; noisy ones may lie beyond 0 to 255."""
    x = flat.to(torch.float32) / 255
    luma, half = size * size, size // 2
    y, u, v = x[:, :luma], x[:, luma : luma + half * half], x[:, luma + half * half :]
    return Planes(
        y.reshape(-1, 1, size, size), u.reshape(-1, 1, half, half), v.reshape(-1, 1, half, half)
    )


def find_sources(folders: list[Path]) -> tuple[list[Path], list[Path]]:
    """Videos and pictures below the folders, sorted.

    Raises:
        InputError: when there is neither.
    """
    files = sorted(p for folder in folders for p in folder.rglob("*") if p.is_file())
    videos = [p for p in files if p.suffix.lower() in VIDEOS]
    pictures = [p for p in files if p.suffix.lower() in PICTURES]
    if not videos and not pictures:
        raise InputError(f"no videos or pictures below {', '.join(map(str, folders))}")
    return videos, pictures


def read_pictures(path: Path, every: int, scale: int) -> Iterator[Picture]:
    """Every n-th frame of a file, sides divided by ``scale``."""
    with open_video(path) as probe:
        size = (max(probe.info.width // scale, 2), max(probe.info.height // scale, 2))
    count = 0
    with open_video(path, scale=size if scale > 1 else None) as video:
        for batch in video.batches(8):
            for k in range(len(batch)):
                if (count + k) % every == 0:
                    yield Picture.of(batch, k)
            count += len(batch)


def load_stills(folders: list[Path], size: int, every: int = 12) -> list[Picture]:
    """All photographs at full and half size and every n-th frame of the videos, in memory."""
    videos, pictures = find_sources(folders)
    stills: list[Picture] = []
    for path in pictures:
        stills.extend(read_pictures(path, 1, 1))
        stills.extend(read_pictures(path, 1, 2))
    for path in videos:
        stills.extend(read_pictures(path, every, 1))
    return [p for p in stills if min(p.y.shape) >= size]


def still_batch(stills: list[Picture], rng: np.random.Generator, count: int, size: int) -> Tensor:
    """(count, 3/2 size^2) uint8 random patches, half of them mirrored."""
    area = np.array([p.y.size for p in stills], dtype=np.float64) ** 0.5
    out = np.empty((count, size * size * 3 // 2), np.uint8)
    for row, k in enumerate(rng.choice(len(stills), count, p=area / area.sum())):
        picture = stills[k]
        h, w = picture.y.shape
        top = int(rng.integers((h - size) // 2 + 1)) * 2
        left = int(rng.integers((w - size) // 2 + 1)) * 2
        out[row] = picture.crop(top, left, size)
    flat = torch.from_numpy(out)
    planes = planes_from_flat(flat, size)
    if rng.random() < 0.5:
        planes = Planes(*(p.flip(-1) for p in planes))
        return torch.cat([(p * 255).round().to(torch.uint8).flatten(1) for p in planes], 1)
    return flat


class Sequences(NamedTuple):
    """Memory maps: patches (N, T, 3/2 S^2) uint8 and motion (N, T-1, 2, S/8, S/8) int16.

    A coarse quantiser wants motion that is cheap, a fine one motion that is right: ``steps`` (N,)
    says for which the motion of each sequence was chosen.
    """

    patches: npt.NDArray[np.uint8]
    motion: npt.NDArray[np.int16]
    steps: npt.NDArray[np.float64]
    size: int


def prepare_patches(
    folders: list[Path],
    cache: Path,
    *,
    size: int = 128,
    length: int = 12,
    crops: int = 6,
    photo_takes: int = 3,
    seed: int = 0,
) -> Path:
    """Cut sequences, or find what an earlier call cut: the file of patches (N, T, 3/2 S^2)."""
    videos, pictures = find_sources(folders)
    settings = {
        "files": [f"{p.name}:{p.stat().st_size}" for p in [*videos, *pictures]],
        "numbers": [size, length, crops, photo_takes, seed],
    }
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    path = cache / f"patches-{key}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        patches: list[Samples] = []
        for video in videos:
            patches.extend(video_sequences(video, rng, size, length, crops))
        for picture in pictures:
            patches.extend(camera_sequences(picture, rng, size, length, photo_takes))
        part = path.with_suffix(".part.npy")
        np.save(part, np.stack(patches))
        part.replace(path)
    return path


def prepare_sequences(
    folders: list[Path], cache: Path, *, size: int = 128, **numbers: int
) -> Sequences:
    """`prepare_patches` with the motion of each sequence, searched once."""
    patch_file = prepare_patches(folders, cache, size=size, **numbers)
    settings = json.dumps([MOTION_STEPS, CROP_LIMIT, ERROR_PRICE, MENDED]).encode()
    key = f"motion-{hashlib.sha256(settings).hexdigest()[:6]}"  # other choices, another file
    motion_file = cache / patch_file.name.replace("patches", key)
    patches = np.load(patch_file, mmap_mode="r")
    coarse = np.random.default_rng(0).random(len(patches))
    steps = MOTION_STEPS[0] * (MOTION_STEPS[1] / MOTION_STEPS[0]) ** coarse
    if not motion_file.exists():
        parts = [
            _motion_of(patches[k : k + 16], steps[k : k + 16], size)
            for k in range(0, len(patches), 16)
        ]
        part = motion_file.with_suffix(".part.npy")
        np.save(part, np.concatenate(parts))
        part.replace(motion_file)
    return Sequences(patches, np.load(motion_file, mmap_mode="r"), steps, size)


def mirror(flats: Tensor, motion: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Left and right exchanged: patches (..., 3/2 S^2), motion (..., 2, S/8, S/8), x first."""
    luma, half = size * size, size // 2
    ends = 0, luma, luma + half * half, flats.shape[-1]
    turned = [
        flats[..., start:end].reshape(*flats.shape[:-1], side, side).flip(-1).flatten(-2)
        for start, end, side in zip(ends, ends[1:], (size, half, half), strict=False)
    ]
    sign = motion.new_tensor([-1, 1]).view(2, 1, 1)
    return torch.cat(turned, -1), motion.flip(-1) * sign


def video_sequences(
    path: Path, rng: np.random.Generator, size: int, length: int, crops: int
) -> Iterator[Samples]:
    for scale in (1, 2):
        window: list[Picture] = []
        for picture in read_pictures(path, 1, scale):
            window.append(picture)
            if len(window) < length:
                continue
            h, w = picture.y.shape
            if min(h, w) >= size:
                for _ in range(crops if scale == 1 else crops // 2):
                    top = int(rng.integers((h - size) // 2 + 1)) * 2
                    left = int(rng.integers((w - size) // 2 + 1)) * 2
                    yield np.stack([p.crop(top, left, size) for p in window])
            window = []


def camera_sequences(
    path: Path, rng: np.random.Generator, size: int, length: int, takes: int
) -> Iterator[Samples]:
    """A synthetic camera over a photograph: smooth pan, zoom and rotation."""
    picture = next(read_pictures(path, 1, 2))
    h, w = picture.y.shape
    if min(h, w) < size * 2:
        return
    y = torch.from_numpy(picture.y)[None, None].float()
    uv = torch.from_numpy(np.stack([picture.u, picture.v]))[None].float()
    base = torch.stack(
        torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="xy"), -1
    ).view(-1, 2)
    for _ in range(takes):
        speed = rng.normal(0, 1, 2) * rng.choice([0.3, 1.5, 6.0])  # luma samples a frame
        zoom, turn = rng.normal(0, 0.004), rng.normal(0, 0.003)
        centre = np.array([rng.uniform(size, w - size), rng.uniform(size, h - size)])
        frames = []
        for t in range(length):
            scale = np.exp(zoom * t) * size / 2
            c, s = np.cos(turn * t) * scale, np.sin(turn * t) * scale
            turnzoom = torch.tensor([[c, s], [-s, c]], dtype=torch.float32)
            place = base @ turnzoom + torch.tensor(centre + speed * t, dtype=torch.float32)
            grid = (place * 2 / torch.tensor([w - 1.0, h - 1.0]) - 1).view(1, size, size, 2)
            luma = _resample(y, grid)
            chroma = F.avg_pool2d(_resample(uv, grid), 2)
            flat = torch.cat([luma.flatten(), chroma.flatten()])
            frames.append(flat.round().clamp(0, 255).to(torch.uint8).numpy())
        yield np.stack(frames)


def _resample(image: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(image, grid, mode="bicubic", padding_mode="reflection", align_corners=True)


def _motion_of(
    patches: Samples, steps: npt.NDArray[np.float64], size: int
) -> npt.NDArray[np.int16]:
    """The motion that the encoder would choose at ``steps``, with the source as reference."""
    n, length = patches.shape[:2]
    shape = (n, length, 1, size, size)
    luma = torch.from_numpy(patches[:, :, : size * size].reshape(shape).astype(np.float32))
    tables = parametric_tables()
    prices = VectorPrices(tables.frequencies[MOTION_TABLES:], tables.offsets[MOTION_TABLES:])
    fields = np.zeros((n, length, 2, size // 8, size // 8), np.int32)
    for t in range(1, length):
        samples = QuarterSamples(luma[:, t - 1], CROP_LIMIT)
        found = search_motion(luma[:, t], samples).numpy().astype(np.int32)
        for k in range(n):
            current = luma[k, t, 0].numpy()
            fields[k, t] = choose_field(
                current, samples[k], found[k], fields[k, t - 1], prices, float(steps[k])
            )
    return fields[:, 1:].astype(np.int16)
