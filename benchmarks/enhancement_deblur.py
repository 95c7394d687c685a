"""Deblurring, blind, beside Richardson-Lucy and Wiener filters that are given the true kernel.

A camera of `gancodec.train.degrade.Shutter` films sources with paths and discs that hold for the
whole picture, so there is one kernel. Light adds up in linear light, so both filters work there
and, as they may like it better, in the samples themselves; the best of all their settings counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from enhancement_scores import Gate, Judged, Scores, Values, at_least, less, mean_over
from enhancement_sources import Settings, psnr_y, with_luma
from enhancement_sr import sharpened
from skimage.restoration import richardson_lucy as lucy_of
from skimage.restoration import wiener

from gancodec.enhancer import Enhancer
from gancodec.eval.clips import Clip
from gancodec.models.blur import GAMMA, KERNEL, richardson_lucy
from gancodec.models.degradation import blur_level, estimate_blur
from gancodec.models.restore import Restorer, halved
from gancodec.nn.planes import planes_of
from gancodec.train.data import Picture, Samples
from gancodec.train.degrade import Noise, Shutter, within
from gancodec.types import FrameBatch

MOTIONS = (3.0, 6.0, 10.0)  # samples that a point is smeared over
SHAKE = 1.5, 4.0  # radius and pace of a trembling, with a motion of 4 samples
DISCS = (1.0, 2.0, 3.0)  # radii
OURS, TOLD, BLURRED = "ours, blind", "ours, true kernel", "null: identity"
LUCY, WIENER, UNSHARP = "Richardson-Lucy, true kernel", "Wiener, true kernel", "null: unsharp mask"
GAIN = 1.5  # dB over blurred
_EXPOSURE = 0.8
SIGMA = 2.0  # of the noise on top
_TAKES = 2  # of a source for each kind of blur
_LARGEST = 192  # sides of what is filmed
_WINDOW = 5
_BORDER = 1 / 8  # of a side, at each end, that nobody is judged by: what lies beyond is not known
_ROUNDS = (10, 20, 30)
_BALANCES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_UNSHARP = (1.0, 0.4), (1.0, 0.8), (2.0, 0.4), (2.0, 0.8)  # radius and amount

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Take:
    """Five blurred and noisy frames, the one in the middle sharp, and the kernel between them."""

    blurred: FrameBatch
    sharp: FrameBatch
    kernel: Floats


def kinds() -> dict[str, Callable[[np.random.Generator, tuple[float, float]], Shutter]]:
    """Cameras by what the tables call them."""

    def moving(length: float, shake: float = 0.0, pace: float = 0.0) -> Callable[..., Shutter]:
        def make(rng: np.random.Generator, centre: tuple[float, float]) -> Shutter:
            angle, speed = rng.uniform(0, 2 * np.pi), length / _EXPOSURE
            path = float(speed * np.cos(angle)), float(speed * np.sin(angle))
            return Shutter(centre, path, 0.0, 0.0, shake, pace, _EXPOSURE, 0.0)

        return make

    def unfocused(radius: float) -> Callable[..., Shutter]:
        def make(rng: np.random.Generator, centre: tuple[float, float]) -> Shutter:
            return Shutter(centre, (0.0, 0.0), 0.0, 0.0, 0.0, 0.0, _EXPOSURE, radius)

        return make

    return {
        **{f"motion of {length:g}": moving(length) for length in MOTIONS},
        "motion of 4, trembling": moving(4.0, *SHAKE),
        **{f"disc of {radius:g}": unfocused(radius) for radius in DISCS},
    }


def side_of(shape: tuple[int, ...]) -> int:
    """Sides of what is filmed of a picture, a multiple of 16; the camera moves inside of it."""
    return min(min(shape) // 2 // 16 * 16, _LARGEST)


def film(
    clip: Clip,
    kind: str,
    rng: np.random.Generator,
    side: int,
    centre: tuple[float, float] | None = None,
    noise: float = SIGMA,
) -> Take:
    """What a camera makes of a clip's first frame, anywhere inside of it unless told."""
    scene = Picture.of(clip.frames, 0)
    h, w = scene.y.shape
    if centre is None:
        least, most = (side / 2, side / 2), (w - side / 2, h - side / 2)
        centre = float(rng.uniform(least[0], most[0])), float(rng.uniform(least[1], most[1]))
    x, y = (np.floor(c) + 0.5 for c in centre)  # whole samples are in the middle of its pixels
    shutter = kinds()[kind](rng, (x, y))
    shutter = replace(shutter, centre=(x, y - shutter.shake))  # a trembling begins there
    frames, sharp = shutter.film(scene, side, _WINDOW)
    light = Noise(noise)
    taken = np.stack([np.clip(np.round(light.take(f, side, rng)), 0, 255) for f in frames])
    return Take(
        frames_of(taken.astype(np.uint8), side), frames_of(sharp[None], side), shutter.kernel()
    )


def frames_of(flat: Samples, side: int) -> FrameBatch:
    """Flat 4:2:0 frames (N, 3/2 side^2) as a batch."""
    half, luma = side // 2, side * side
    y, u, v = np.split(flat, [luma, luma + half * half], 1)
    count = len(flat)
    return FrameBatch(
        y.reshape(count, side, side).copy(),
        u.reshape(count, half, half).copy(),
        v.reshape(count, half, half).copy(),
        np.arange(count, dtype=np.int64),
    )


def measure(clip: Clip, settings: Settings) -> Scores:
    """Every blur and method on one source; a source's number is the mean of its takes."""
    scores = Scores()
    enhancement = settings.enhancement("deblur")
    enhancer, net = Enhancer(enhancement), enhancement.load().net(0.0)
    side = side_of(clip.frames.y.shape[1:])
    middle = _WINDOW // 2
    for kind in kinds():
        rng = settings.rng(clip.name, kind)
        found: dict[str, list[float]] = {}
        for _ in range(_TAKES):
            take = film(clip, kind, rng, side)
            blurred = take.blurred[middle : middle + 1]
            shown = {
                BLURRED: [blurred],
                UNSHARP: list(unsharpened(blurred)),
                LUCY: list(deconvolved(blurred, take.kernel, lucy)),
                WIENER: list(deconvolved(blurred, take.kernel, wieners)),
                OURS: [enhancer.enhance(take.blurred, middle, 1)],
            }
            if net.guess is not None:
                shown[TOLD] = [told(net, take)]
            for method, tries in shown.items():
                best = max(psnr_y(take.sharp, frames, round(_BORDER * side)) for frames in tries)
                found.setdefault(method, []).append(best)
        for method, values in found.items():
            scores.put(kind, method, clip.name, psnr_y=float(np.mean(values)))
    return scores


@torch.inference_mode()
def told(net: Restorer, take: Take) -> FrameBatch:
    """The middle of a take by a net that is given the kernel in place of its guess of it."""
    device = torch.device("cpu")
    seen = [planes_of(take.blurred, n, device) for n in range(_WINDOW)]
    luma = seen[_WINDOW // 2].y * 255
    kernel = torch.from_numpy(within(take.kernel, KERNEL))[None]
    sharper = (richardson_lucy(luma, kernel) - luma) / 255
    level = blur_level(estimate_blur(luma[:, 0]))
    out = net.restore([halved(p) for p in seen], level, None, sharper)
    middle = take.blurred[_WINDOW // 2 : _WINDOW // 2 + 1]
    return with_luma(middle, (out.y[0] * 255).numpy())


# ── Classic methods ──────────────────────────────────────────────────────────────────────────


def unsharpened(frames: FrameBatch) -> Iterator[FrameBatch]:
    """Unsharp masks of several strengths."""
    for radius, amount in _UNSHARP:
        yield sharpened(frames, radius, amount)


Filter = Callable[[Floats, Floats], Iterator[Floats]]  # picture of 0 to 1, kernel -> tries


def lucy(picture: Floats, kernel: Floats) -> Iterator[Floats]:
    """Richardson-Lucy with several numbers of rounds; of light, so weights are not below zero."""
    light = np.clip(kernel, 0, None)
    for rounds in _ROUNDS:
        yield lucy_of(picture, light / light.sum(), num_iter=rounds, filter_epsilon=1e-6)


def wieners(picture: Floats, kernel: Floats) -> Iterator[Floats]:
    """Wiener filters with several balances."""
    for balance in _BALANCES:
        yield wiener(picture, kernel, balance, clip=False)


def deconvolved(frames: FrameBatch, kernel: Floats, filters: Filter) -> Iterator[FrameBatch]:
    """A frame through filters, in linear light and as it is."""
    luma = frames.y[0].astype(np.float64)
    around = max(kernel.shape)
    wide = np.pad(luma, around, mode="reflect")
    inside = slice(around, -around)
    unit = np.clip((wide - 16) / 219, 0, None)
    for gamma in (GAMMA, 1.0):
        for found in filters(unit**gamma, kernel):
            back = 16 + 219 * np.clip(found[inside, inside], 0, None) ** (1 / gamma)
            yield with_luma(frames, back[None])


# ── Gates ────────────────────────────────────────────────────────────────────────────────────


def gates_of(scores: Scores, method: str = OURS) -> list[Gate]:
    """The gates of a method that claims to deblur: of the mean over all kinds of blur."""

    def over(other: str) -> Values:
        return mean_over(
            [less(scores.of(k, method, "psnr-y"), scores.of(k, other, "psnr-y")) for k in kinds()]
        )

    return [
        at_least("dB over blurred", GAIN, over(BLURRED)),
        at_least("dB over Richardson-Lucy, true kernel", 0.0, over(LUCY)),
        at_least("dB over Wiener, true kernel", 0.0, over(WIENER)),
    ]


def judge(scores: Scores) -> Judged:
    """Ours, and two models that must fail: the blurred frame and an unsharp mask."""
    return Judged(gates_of(scores), {name: gates_of(scores, name) for name in (BLURRED, UNSHARP)})
