"""What goes wrong with video, made on purpose: pairs for the enhancers to learn from.

    sr        made smaller (bicubic), half of it also coded by x264, x265 or SVT-AV1
    denoise   noisy takes of the same scene, two of each, and no clean one (Noise2Noise)
    deblur    sub-frames of a moving camera averaged in linear light, or out of focus
    detail    decoded from low rates of x264, x265, SVT-AV1 and our own codec

Everything about a sample follows from the seed and the name of its source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from gancodec.errors import UsageError
from gancodec.eval.clips import Clip, read_clip
from gancodec.eval.codecs import build_codec
from gancodec.eval.restored import smaller_clip
from gancodec.models.blur import KERNEL, from_light, to_light
from gancodec.models.degradation import (
    blur_level,
    estimate_blur,
    estimate_noise,
    noise_level,
    rate_level,
)
from gancodec.models.restore import LEVELS, TASKS, Task, enlarge, reduce
from gancodec.nn.motion import QuarterSamples, search_motion
from gancodec.nn.planes import Planes
from gancodec.train.data import (
    PICTURES,
    Picture,
    Samples,
    camera_sequences,
    find_sources,
    planes_from_flat,
    read_pictures,
    video_sequences,
)
from gancodec.train.pairs import MIDDLE, PairsInfo, Sample, write_pairs
from gancodec.types import FrameBatch

_CLIP_FRAMES = 36  # of a video are coded
_GRID = 32  # samples that pictures are cropped to multiples of
_FAINTEST = 0.5  # of Gaussian noise; a take with less, once rounded, would be the clean frame
CODECS: dict[str, tuple[float, float, dict[str, Any]]] = {  # best and worst crf, settings
    "x264": (24, 42, {"preset": "medium"}),
    "x265": (24, 42, {"preset": "fast"}),
    "svtav1": (30, 58, {"preset": 8}),
    "gvc": (40, 0, {"preset": "fast"}),
}


@dataclass(frozen=True, slots=True)
class Preparation:
    """What to prepare. ``takes`` is how many samples come of a video at each size, or a photo."""

    task: Task
    scale: int = 1
    size: int = 128
    takes: int = 12
    seed: int = 0
    clean: bool = False  # denoise: clean targets instead, for the twin that Noise2Noise is held to

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UsageError(f"task is one of {', '.join(TASKS)}, got {self.task!r}")
        if self.scale not in (1, 2, 4) or (self.scale > 1) != (self.task == "sr"):
            raise UsageError(f"scale is 2 or 4 for sr and else 1, got {self.scale}")
        if self.size < 32 or self.size % 16:
            raise UsageError(f"size is a multiple of 16 from 32 on, got {self.size}")

    @property
    def info(self) -> PairsInfo:
        frames, window = {"sr": (3, 1), "denoise": (1, 5), "deblur": (1, 5), "detail": (2, 3)}[
            self.task
        ]
        return PairsInfo(self.task, self.scale, self.size, frames, window)


def prepare(what: Preparation, folders: list[Path], target: Path, *, jobs: int = 1) -> int:
    """Make pairs of every video and picture below ``folders``; gives how many.

    Raises:
        InputError: there is nothing to read.
        UsageError: nothing of it is as large as a patch.
    """
    videos, pictures = find_sources(folders)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:  # torch has threads
        parts = pool.map(partial(samples_of, what), [*videos, *pictures])
        samples = [sample for part in parts for sample in part]
    if not samples:
        raise UsageError(f"no video or picture is large enough for patches of {what.size} samples")
    write_pairs(samples, what.info, target)
    return len(samples)


def samples_of(what: Preparation, source: Path) -> list[Sample]:
    """The samples of one source."""
    torch.set_num_threads(1)
    digest = hashlib.sha256(f"{what.seed} {source.name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    makers: dict[str, Callable[..., Iterator[Sample]]] = {
        "sr": _enlarging,
        "denoise": _noisy,
        "deblur": _blurred,
        "detail": _coded,
    }
    return list(makers[what.task](what, source, rng))


# ── Super-resolution and coding ──────────────────────────────────────────────────────────────


def _enlarging(what: Preparation, source: Path, rng: np.random.Generator) -> Iterator[Sample]:
    if source.suffix.lower() in PICTURES:
        length = what.info.frames
        for flat in camera_sequences(source, rng, what.size, length, max(what.takes // 2, 1)):
            planes = planes_from_flat(torch.from_numpy(flat), what.size)
            inputs = _flat(_rounded(reduce(planes, what.scale)))
            yield _with_motion(Sample(inputs, flat, LEVELS - 1.0), what)
        return
    for clip in _clips(source, what.size):
        small = smaller_clip(clip, what.scale)
        yield from (_with_motion(s, what) for s in _cut(what, clip, small, LEVELS - 1.0, rng))
        kind = str(rng.choice(["x264", "x265", "svtav1"]))
        decoded, level = _through(kind, small, rng, share=(0.0, 0.6))
        yield from (_with_motion(s, what) for s in _cut(what, clip, decoded, level, rng))


def _coded(what: Preparation, source: Path, rng: np.random.Generator) -> Iterator[Sample]:
    if source.suffix.lower() in PICTURES:
        return  # one frame has no rate to speak of
    for clip in _clips(source, what.size):
        for kind in CODECS:
            decoded, level = _through(kind, clip, rng, share=(0.0, 1.0))
            yield from (_with_motion(s, what) for s in _cut(what, clip, decoded, level, rng))


def _clips(source: Path, size: int) -> Iterator[Clip]:
    """The first frames of a video as it is and at half its size, sides multiples of 32."""
    whole = read_clip(source, frames=_CLIP_FRAMES)
    width, height = whole.info.width, whole.info.height
    yield from _cropped(whole, size)
    half = (width // 4 * 2, height // 4 * 2)
    if min(half) >= size:
        yield from _cropped(read_clip(source, frames=_CLIP_FRAMES, scale=half), size)


def _cropped(clip: Clip, size: int) -> Iterator[Clip]:
    width, height = (side // _GRID * _GRID for side in (clip.info.width, clip.info.height))
    if min(width, height) < size:
        return
    f = clip.frames
    frames = FrameBatch(
        f.y[:, :height, :width].copy(),
        f.u[:, : height // 2, : width // 2].copy(),
        f.v[:, : height // 2, : width // 2].copy(),
        f.pts,
    )
    yield Clip(clip.name, replace(clip.info, width=width, height=height), frames)


def _through(
    kind: str, clip: Clip, rng: np.random.Generator, share: tuple[float, float]
) -> tuple[Clip, float]:
    """A clip as it comes out of a codec, and the level of its rate."""
    best, worst, settings = CODECS[kind]
    quality = best + (worst - best) * rng.uniform(*share)
    quality = round(quality) if kind == "svtav1" else quality
    codec = build_codec(kind, quality, settings)
    data = codec.encode(clip)
    frames = codec.decode(data)
    rate = torch.tensor(8 * len(data) / clip.pixels)
    return Clip(clip.name, clip.info, frames), float(rate_level(rate))


def _cut(
    what: Preparation, clip: Clip, degraded: Clip, level: float, rng: np.random.Generator
) -> Iterator[Sample]:
    """Runs of patches of a degraded clip, and what they should have been."""
    info, small = what.info, what.size // what.scale
    around = info.window // 2
    length = info.frames + info.window - 1
    h, w = degraded.frames.y.shape[1:]
    if len(clip) < length:
        return
    for _ in range(max(what.takes // 2, 1)):
        start = int(rng.integers(len(clip) - length + 1))
        top, left = (int(rng.integers((side - small) // 2 + 1)) * 2 for side in (h, w))
        inputs = [
            Picture.of(degraded.frames, start + t).crop(top, left, small) for t in range(length)
        ]
        scale = what.scale
        targets = [
            Picture.of(clip.frames, start + around + t).crop(top * scale, left * scale, what.size)
            for t in range(info.frames)
        ]
        yield Sample(np.stack(inputs), np.stack(targets), level)


def _with_motion(sample: Sample, what: Preparation) -> Sample:
    """The sample with the motion that shows: to a net in its enlarged inputs, or to a judge."""
    if what.scale > 1:
        inputs = torch.from_numpy(np.asarray(sample.inputs))
        shown = enlarge(planes_from_flat(inputs, what.size // what.scale), what.scale).y
    else:
        shown = planes_from_flat(torch.from_numpy(np.asarray(sample.targets)), what.size).y
    luma = (shown * 255).round()
    fields = [
        search_motion(luma[t : t + 1], QuarterSamples(luma[t - 1 : t], limit=160))[0].numpy()
        for t in range(1, len(luma))
    ]
    return sample._replace(motion=np.stack(fields).astype(np.int16))


# ── Noise ────────────────────────────────────────────────────────────────────────────────────


def _noisy(what: Preparation, source: Path, rng: np.random.Generator) -> Iterator[Sample]:
    window = what.info.window
    if source.suffix.lower() in PICTURES:
        flats = camera_sequences(source, rng, what.size, window, max(what.takes // 2, 1))
    else:
        every = list(video_sequences(source, rng, what.size, window, 2))
        pick = rng.permutation(len(every))[: 2 * what.takes]
        flats = iter([every[k] for k in pick])
    for flat in flats:
        noise = Noise.draw(rng)
        # as a file would hold it: the net meets nothing else
        inputs = np.stack([noise.take(f, what.size, rng) for f in flat])
        inputs = np.clip(np.round(inputs), 0, 255).astype(np.uint8)
        luma = inputs[:, : what.size**2].reshape(1, window, what.size, what.size)
        level = float(noise_level(estimate_noise(torch.from_numpy(luma)))[0])
        middle = flat[window // 2]
        second = np.round(noise.take(middle, what.size, rng)).astype(np.int16)  # never clipped
        if what.clean:
            yield Sample(inputs, middle[None].astype(np.int16), level)
        else:
            yield Sample(inputs, second[None], level, noise.chance)


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of mean zero, apart from impulses, whose mean is known.

    Attributes:
        sigma: deviation of what does not depend on the light, 8-bit luma samples.
        gain: variance a unit of light: shot noise, as of a Poisson process.
        chance: share of samples replaced by anything from 0 to 255.
        grain: how far neighbouring samples share their noise, as after a camera's own processing.
        chroma: deviation of U and V beside luma's.
    """

    sigma: float
    gain: float = 0.0
    chance: float = 0.0
    grain: float = 0.0
    chroma: float = 0.6

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Noise:
        """Gaussian, Poisson, impulse or camera-like noise of random strength."""
        kind = rng.choice(["gaussian", "poisson", "impulse", "camera"], p=[0.5, 0.15, 0.1, 0.25])
        chroma = float(rng.uniform(0.3, 1.0))
        if kind == "gaussian":
            return cls(max(float(55 * rng.random() ** 1.3), _FAINTEST), chroma=chroma)
        if kind == "poisson":
            return cls(0.0, gain=float(rng.uniform(0.2, 8.0)), chroma=chroma)
        if kind == "impulse":
            return cls(float(rng.uniform(0, 10)), chance=float(rng.uniform(0, 0.3)), chroma=chroma)
        return cls(
            float(rng.uniform(0.5, 8)),
            gain=float(rng.uniform(0.0, 3.0)),
            grain=float(rng.uniform(0.0, 0.8)),
            chroma=chroma,
        )

    def take(self, flat: Samples, size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """A take of a flat 4:2:0 frame, neither rounded nor clipped."""
        luma, half = size * size, size // 2
        ends = (0, size, luma), (luma, half, half * half), (luma + half * half, half, half * half)
        planes = []
        for k, (start, side, count) in enumerate(ends):
            plane = flat[start : start + count].reshape(side, side)
            planes.append(self.on(plane, rng, chroma=k > 0).ravel())
        return np.concatenate(planes)

    def on(
        self,
        plane: npt.NDArray[np.generic],
        rng: np.random.Generator,
        *,
        chroma: bool = False,
    ) -> npt.NDArray[np.float64]:
        """A take of one plane (H, W) of 0 to 255, neither rounded nor clipped."""
        clean = plane.astype(np.float64)
        light = np.full_like(clean, 128.0) if chroma else np.clip(clean - 16, 0, None)
        deviation = np.sqrt(self.sigma**2 + self.gain * light) * (self.chroma if chroma else 1.0)
        noise = rng.standard_normal(clean.shape)
        if self.grain:
            noise = _grainy(noise, self.grain)
        noisy: npt.NDArray[np.float64] = clean + deviation * noise
        if self.chance:
            hit = rng.random(clean.shape) < self.chance
            noisy = np.where(hit, rng.uniform(0, 2 * MIDDLE, clean.shape), noisy)
        return noisy


def _grainy(noise: npt.NDArray[np.float64], grain: float) -> npt.NDArray[np.float64]:
    """White noise -> of the same deviation, correlated with its neighbours."""
    taps = np.array([grain / 2, 1.0, grain / 2])
    taps = taps / np.sqrt((taps**2).sum())
    for axis in (0, 1):
        before, after = np.roll(noise, 1, axis), np.roll(noise, -1, axis)
        noise = taps[0] * before + taps[1] * noise + taps[2] * after
    return noise


# ── Blur ─────────────────────────────────────────────────────────────────────────────────────


def _blurred(what: Preparation, source: Path, rng: np.random.Generator) -> Iterator[Sample]:
    if source.suffix.lower() in PICTURES:
        scenes = [next(read_pictures(source, 1, scale)) for scale in (2, 1)]
    else:
        scenes = list(read_pictures(source, 16, 1))
    window = what.info.window
    for n in range(what.takes):
        scene = scenes[n % len(scenes)]
        if min(scene.y.shape) < 2 * what.size:
            continue
        shutter = Shutter.draw(rng, scene.y.shape, what.size)
        frames, sharp = shutter.film(scene, what.size, window)
        noise = Noise(float(rng.uniform(0, 3)))
        taken = np.stack([noise.take(f, what.size, rng) for f in frames])
        inputs = np.clip(np.round(taken), 0, 255).astype(np.uint8)
        middle = inputs[window // 2, : what.size**2].reshape(1, what.size, what.size)
        level = float(blur_level(estimate_blur(torch.from_numpy(middle)))[0])
        yield Sample(inputs, sharp[None], level, kernel=within(shutter.kernel(), KERNEL))


@dataclass(frozen=True, slots=True)
class Shutter:
    """A camera that moves while its shutter is open, or is out of focus.

    Attributes:
        centre: where it looks, luma samples (x, y); ``speed`` is how that moves in a frame's time.
        turn, zoom: rotation in radians and change of scale in a frame's time.
        shake: radius in samples of a trembling of ``pace`` radians a frame's time.
        exposure: share of a frame's time that the shutter is open.
        defocus: radius of the disc that a point becomes, in samples.
    """

    centre: tuple[float, float]
    speed: tuple[float, float]
    turn: float
    zoom: float
    shake: float
    pace: float
    exposure: float
    defocus: float

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, ...], size: int) -> Shutter:
        """Motion in three of four, a bad focus in one of three, sometimes neither."""
        kind = rng.random()
        moves, unfocused = kind < 0.72, kind > 0.55
        angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(1, 14) if moves else 0.3
        h, w = shape
        return cls(
            (float(rng.uniform(size, w - size)), float(rng.uniform(size, h - size))),
            (float(speed * np.cos(angle)), float(speed * np.sin(angle))),
            float(rng.normal(0, 0.01)) * moves,
            float(rng.normal(0, 0.01)) * moves,
            float(rng.uniform(0, 2)) * moves,
            float(rng.uniform(1, 8)),
            float(rng.uniform(0.3, 1.0)),
            float(rng.uniform(0.5, 3.0)) * (unfocused and kind < 0.95),
        )

    def place(self, time: float) -> tuple[float, float, float, float]:
        """Centre x and y, angle and scale at a time in frames."""
        return (
            self.centre[0] + self.speed[0] * time + self.shake * np.sin(self.pace * time),
            self.centre[1] + self.speed[1] * time + self.shake * np.cos(1.3 * self.pace * time),
            self.turn * time,
            float(np.exp(self.zoom * time)),
        )

    @property
    def views(self) -> int:
        """From how many places a frame's light is added up."""
        travel = np.hypot(*self.speed) + self.shake * self.pace
        return int(np.clip(2 * round(travel * self.exposure / 2) + 1, 3, 15))

    def kernel(self) -> npt.NDArray[np.float64]:
        """Weights of the scene's samples in the middle of the frame at time 0; they sum to one.

        Exact without rotation and zoom where the centre is a whole sample: those of the bicubic
        interpolation (a = -0.75) at every place it looks from, some of them below zero.
        """
        x0, y0, *_ = self.place(0.0)
        path = [(y0 - y, x0 - x) for x, y, *_ in map(self.place, self.times(0))]
        reach = int(np.ceil(np.abs(path).max())) + 2
        at = np.arange(-reach, reach + 1)
        found = np.mean([np.outer(_cubic(at - r), _cubic(at - c)) for r, c in path], axis=0)
        if self.defocus:
            shape = disc(self.defocus).double()
            moved = torch.from_numpy(found)[None, None]
            found = F.conv2d(moved, shape[None, None], padding=len(shape) - 1)[0, 0].numpy()
        kernel: npt.NDArray[np.float64] = found / found.sum()
        return kernel

    def times(self, frame: int) -> list[float]:
        """When it looks, in frames, for a frame."""
        return [frame + self.exposure * (k / (self.views - 1) - 0.5) for k in range(self.views)]

    def film(self, scene: Picture, size: int, frames: int) -> tuple[Samples, Samples]:
        """Flat frames (frames, 3/2 size^2) and the one in the middle, sharp."""
        y = to_light(torch.from_numpy(scene.y)[None, None].float())
        uv = torch.from_numpy(np.stack([scene.u, scene.v]))[None].float()
        taken = []
        for t in range(frames):
            times = self.times(t - frames // 2)
            light = torch.stack([_view(y, self.place(s), size) for s in times]).mean(0)
            few = max(self.views // 4, 1)  # of as many; about the middle, as those of luma
            colour = torch.stack(
                [_view(uv, self.place(s), size) for s in times[(self.views - 1) % few // 2 :: few]]
            ).mean(0)
            if self.defocus:
                light = _disc(light, self.defocus)
                colour = _disc(colour, self.defocus)
            taken.append(_flatten(from_light(light), colour))
        sharp = _flatten(
            from_light(_view(y, self.place(0.0), size)), _view(uv, self.place(0.0), size)
        )
        return np.stack(taken), sharp


def _view(image: Tensor, place: tuple[float, float, float, float], size: int) -> Tensor:
    """What a camera sees: (1, C, size, size) of an image; chroma planes have half the sides."""
    x, y, angle, scale = place
    h, w = image.shape[-2:]
    line = torch.linspace(-1, 1, size) * (size - 1) / 2 * scale
    rows, cols = torch.meshgrid(line, line, indexing="ij")
    c, s = np.cos(angle), np.sin(angle)
    unit = 1.0 if image.shape[1] == 1 else 0.5
    at_x = (c * cols - s * rows + x) * unit * 2 / (w - 1) - 1
    at_y = (s * cols + c * rows + y) * unit * 2 / (h - 1) - 1
    grid = torch.stack([at_x, at_y], -1)[None].float()
    return F.grid_sample(image, grid, mode="bicubic", padding_mode="reflection", align_corners=True)


def disc(radius: float) -> Tensor:
    """(K, K) weights of a disc, its rim softened over a sample; they sum to one."""
    reach = int(np.ceil(radius))
    at = torch.arange(-reach, reach + 1).float()
    distance = (at[:, None].square() + at.square()).sqrt()
    kernel = (radius + 0.5 - distance).clamp(0, 1)
    return kernel / kernel.sum()


def _cubic(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x, a = np.abs(distance), -0.75
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    weights: npt.NDArray[np.float64] = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return weights


def within(kernel: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float32]:
    """(side, side), weights from 0 on that sum to one: light is never negative."""
    short = max(side - kernel.shape[0] + 1, 0) // 2
    wide = np.pad(kernel, short).clip(0)
    cut = (wide.shape[0] - side) // 2
    part = wide[cut : cut + side, cut : cut + side]
    out: npt.NDArray[np.float32] = (part / part.sum()).astype(np.float32)
    return out


def _disc(image: Tensor, radius: float) -> Tensor:
    kernel = disc(radius)
    reach = kernel.shape[0] // 2
    wide = F.pad(image, (reach,) * 4, mode="reflect")
    channels = image.shape[1]
    return F.conv2d(wide, kernel.expand(channels, 1, -1, -1), groups=channels)


def _flatten(luma: Tensor, colour: Tensor) -> Samples:
    """Chroma is seen at full resolution, and averaged."""
    flat = torch.cat([luma.flatten(), F.avg_pool2d(colour, 2).flatten()])
    return flat.round().clamp(0, 255).to(torch.uint8).numpy()


# ── Planes ───────────────────────────────────────────────────────────────────────────────────


def _rounded(planes: Planes) -> Planes:
    return Planes(*((p * 255).round().clamp(0, 255) / 255 for p in planes))


def _flat(planes: Planes) -> Samples:
    flat = torch.cat([(p * 255).round().flatten(1) for p in planes], 1)
    return flat.to(torch.uint8).numpy()
