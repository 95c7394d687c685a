"""Super-resolution of clips made smaller, beside bicubic, Lanczos and a sharpened bicubic."""

from __future__ import annotations

import numpy as np
import torch
from enhancement_scores import Gate, Judged, Scores, at_least, at_most, each_at_least, less, over
from enhancement_sources import Settings, psnr_y, st_lpips, warp_error, with_luma
from PIL import Image
from skimage.filters import unsharp_mask

from gancodec.eval.clips import Clip
from gancodec.eval.codecs import build_codec
from gancodec.eval.restored import reduced, smaller_clip
from gancodec.models.restore import enlarge
from gancodec.nn.planes import Planes
from gancodec.types import FrameBatch

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
GAIN = 0.8  # dB of stage 1 over bicubic in the mean; every source gains
DISTANCE = 0.75  # ST-LPIPS of stage 2, times that of stage 1
BACK = 38.0  # dB between what came in and what comes out, made as small
STEADY = 0.8  # warping error with memory, times that without
CRF = 28.0  # of x264, for the coded row
_SHARPEN = 1.0, 0.6  # radius and amount of the null model's unsharp mask


def measure(clip: Clip, scale: int, settings: Settings) -> Scores:
    """Every method on one source."""
    scores = Scores()
    name, case = f"sr{scale}", f"x{scale}"
    small = reduced(clip.frames, scale)

    def note(method: str, frames: FrameBatch, *, seen: bool = True) -> None:
        scores.put(
            case,
            method,
            clip.name,
            psnr_y=psnr_y(clip.frames, frames, scale),
            st_lpips_vgg=st_lpips(clip, frames, settings.every) if seen else None,
            back_projection=psnr_y(small, reduced(frames, scale)),
            **({"warp_error": warp_error(clip, frames)} if len(clip) > 1 else {}),
        )

    plain = bicubic(small, scale)
    note("bicubic", plain)
    note("Lanczos", lanczos(small, scale))
    note("null: bicubic, sharpened", sharpened(plain, *_SHARPEN))
    for strength in STRENGTHS:
        note(f"strength {strength:g}", settings.enhance(name, small, strength=strength))
    if len(clip) > 1:
        for strength in (0.0, 1.0):
            alone = settings.enhance(name, small, strength=strength, recurrent=False)
            note(f"strength {strength:g}, per frame", alone, seen=False)
        _coded(scores, clip, scale, settings)
    return scores


def _coded(scores: Scores, clip: Clip, scale: int, settings: Settings) -> None:
    """The same of a smaller clip that x264 has coded."""
    little = smaller_clip(clip, scale)
    codec = build_codec("x264", CRF)
    data = codec.encode(little)
    decoded = codec.decode(data)
    rate = 8 * len(data) / little.pixels
    shown = {"bicubic": bicubic(decoded, scale)}
    for strength in (0.0, 1.0):
        shown[f"strength {strength:g}"] = settings.enhance(
            f"sr{scale}", decoded, strength=strength, bits_per_pixel=rate
        )
    for method, frames in shown.items():
        scores.put(
            f"x{scale}, x264 crf {CRF:g}",
            method,
            clip.name,
            psnr_y=psnr_y(clip.frames, frames, scale),
            st_lpips_vgg=st_lpips(clip, frames, settings.every),
            warp_error=warp_error(clip, frames),
        )


# ── Classic methods ──────────────────────────────────────────────────────────────────────────


def bicubic(small: FrameBatch, scale: int) -> FrameBatch:
    """What the net starts from (a = -0.75): 0.1 to 0.3 dB above Pillow's (a = -0.5)."""

    def one(planes: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(planes)[:, None].float()

    large = enlarge(Planes(one(small.y), one(small.u), one(small.v)), scale)
    y, u, v = (p[:, 0].round().clamp(0, 255).to(torch.uint8).numpy() for p in large)
    return FrameBatch(y, u, v, small.pts)


def lanczos(small: FrameBatch, scale: int) -> FrameBatch:
    """Pillow's, three lobes."""

    def one(planes: np.ndarray) -> np.ndarray:
        size = planes.shape[2] * scale, planes.shape[1] * scale
        enlarged = [Image.fromarray(p).resize(size, Image.Resampling.LANCZOS) for p in planes]
        return np.stack([np.asarray(p) for p in enlarged])

    return FrameBatch(one(small.y), one(small.u), one(small.v), small.pts)


def sharpened(frames: FrameBatch, radius: float, amount: float) -> FrameBatch:
    """An unsharp mask on luma: looks like more detail, and knows nothing."""
    luma = [unsharp_mask(y, radius, amount, preserve_range=True) for y in frames.y / 1.0]
    return with_luma(frames, np.stack(luma))


# ── Gates ────────────────────────────────────────────────────────────────────────────────────


def gates_of(
    scores: Scores, scale: int, first: str = "strength 0", second: str = "strength 1"
) -> list[Gate]:
    """The gates of methods that claim to be stage 1 and stage 2."""
    case = f"x{scale}"
    gain = less(scores.of(case, first, "psnr-y"), scores.of(case, "bicubic", "psnr-y"))
    distance = over(
        scores.of(case, second, "st-lpips-vgg"), scores.of(case, "strength 0", "st-lpips-vgg")
    )
    gates = [
        at_least(f"{case} PSNR-Y, stage 1 - bicubic", GAIN, gain),
        each_at_least(f"{case} the same, worst source", 0.0, gain),
        at_most(f"{case} ST-LPIPS, stage 2 / stage 1", DISTANCE, distance),
        at_least(
            f"{case} back-projection of stage 2", BACK, scores.of(case, second, "back-projection")
        ),
    ]
    for method in (first, second):
        steady = over(
            scores.of(case, method, "warp-error"),
            scores.of(case, f"{method}, per frame", "warp-error"),
        )
        gates.append(at_most(f"{case} warping error, {method} / per frame", STEADY, steady))
    return gates


def judge(scores: Scores, scale: int) -> Judged:
    """Ours, and models that know nothing: bicubic itself and one that is only sharper."""
    nulls = ("null: bicubic, sharpened", "bicubic")
    return Judged(
        gates_of(scores, scale), {name: gates_of(scores, scale, name, name) for name in nulls}
    )
