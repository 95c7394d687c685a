"""Crops of the same place: what came in, a classic method, ours, and the original."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import enhancement_deblur as deblur
import enhancement_denoise as denoise
import enhancement_sr as sr
import numpy as np
from enhancement_sources import Settings, psnr_y, window_of

from gancodec.errors import UsageError
from gancodec.eval.clips import Clip
from gancodec.eval.codecs import build_codec
from gancodec.eval.restored import reduced
from gancodec.eval.side_by_side import Picture, save_side_by_side
from gancodec.train.degrade import Noise
from gancodec.types import FrameBatch
from gancodec.video.color import yuv420_to_rgb

SIGMA = 25
BLUR = "motion of 6"
CRF = 36.5  # of x264
Shown = list[tuple[str, FrameBatch]]  # labelled clips of one size


def write(
    tasks: Sequence[str],
    sources: Sequence[Clip],
    settings: Settings,
    path: Path,
    places: Sequence[Sequence[str]] | None,
    size: tuple[int, int],
) -> None:
    """Write a sheet with a row a task and place.

    Raises:
        UsageError: a place that is not inside of its source, or no row at all.
    """
    by_name = {clip.name: clip for clip in sources}
    rows = []
    for task in tasks:
        for name, left, top in places or _middles(sources, size):
            if name not in by_name:
                raise UsageError(f"there is no source {name!r}; there are: {', '.join(by_name)}")
            clip = by_name[name]
            if task == "detail" and len(clip) < 2:
                continue  # a photograph has no rate to speak of
            rows.append(_row(task, clip, settings, (int(left), int(top)), size))
    if not rows:
        raise UsageError("there is no crop to show; name --crop SOURCE LEFT TOP")
    save_side_by_side(rows, path)


def _middles(sources: Sequence[Clip], size: tuple[int, int]) -> list[tuple[str, str, str]]:
    """The middle of the first clip and of the first photograph."""
    firsts = {len(clip) > 1: clip for clip in reversed(sources)}
    return [
        (c.name, str((c.info.width - size[0]) // 2), str((c.info.height - size[1]) // 2))
        for c in firsts.values()
    ]


def _row(
    task: str, clip: Clip, settings: Settings, corner: tuple[int, int], size: tuple[int, int]
) -> list[tuple[str, Picture]]:
    """Labelled crops of one task and place."""
    (left, top), (width, height) = ((n // 2 * 2 for n in pair) for pair in (corner, size))
    if left < 0 or top < 0 or left + width > clip.info.width or top + height > clip.info.height:
        raise UsageError(f"a crop of {width}x{height} at {left}, {top} leaves {clip.name}")
    if task == "deblur":  # a camera films the place itself, with what is around it
        side = max(width, height) + 2 * 16
        side = -(-side // 16) * 16
        centre = left + width / 2, top + height / 2
        shown = _deblurred(clip, settings, side, centre)
        left, top = ((side - n) // 4 * 2 for n in (width, height))
    else:
        makers = {"sr4": _enlarged, "sr2": _enlarged, "denoise": _denoised, "detail": _detailed}
        shown = makers[task](task, clip, settings)
    row = []
    for label, frames in shown:
        middle = len(frames) // 2
        part = window_of(frames[middle : middle + 1], left, top, width, height)
        row.append((label, np.asarray(yuv420_to_rgb(part, clip.info.color)[0])))
    return row


def _enlarged(task: str, clip: Clip, settings: Settings) -> Shown:
    scale = int(task[2:])
    small = reduced(clip.frames, scale)
    repeated = [np.repeat(np.repeat(p, scale, 1), scale, 2) for p in (small.y, small.u, small.v)]
    return [
        (f"1/{scale}", FrameBatch(repeated[0], repeated[1], repeated[2], clip.frames.pts)),
        ("Lanczos", sr.lanczos(small, scale)),
        ("strength 0", settings.enhance(task, small, strength=0.0)),
        ("strength 1", settings.enhance(task, small, strength=1.0)),
        ("original", clip.frames),
    ]


def _denoised(task: str, clip: Clip, settings: Settings) -> Shown:
    rng = settings.rng(clip.name, "crops")
    taken = denoise.noisy(clip.frames, Noise(float(SIGMA)), rng)
    near = slice(max(len(clip) // 2 - 2, 0), len(clip) // 2 + 3)  # what the net sees of the middle
    taken, clean = taken[near], clip.frames[near]
    return [
        (f"sigma {SIGMA}", taken),
        ("non-local means", denoise.non_local_means(taken, SIGMA, Noise(0.0).chroma)),
        ("ours", settings.enhance(task, taken)),
        ("original", clean),
    ]


def _deblurred(clip: Clip, settings: Settings, side: int, centre: tuple[float, float]) -> Shown:
    rng = settings.rng(clip.name, "crops")
    take = deblur.film(clip, BLUR, rng, side, centre)
    middle = len(take.blurred) // 2
    blurred = take.blurred[middle : middle + 1]
    tries = deblur.deconvolved(blurred, take.kernel, deblur.lucy)
    best = max(tries, key=lambda frames: psnr_y(take.sharp, frames, side // 8))
    return [
        (BLUR, blurred),
        ("Richardson-Lucy", best),
        ("ours", settings.enhance("deblur", take.blurred)[middle : middle + 1]),
        ("original", take.sharp),
    ]


def _detailed(task: str, clip: Clip, settings: Settings) -> Shown:
    codec = build_codec("x264", CRF)
    data = codec.encode(clip)
    decoded = codec.decode(data)
    rate = 8 * len(data) / clip.pixels
    ours = [
        settings.enhance(task, decoded, strength=s, bits_per_pixel=rate) for s in (0.0, 0.5, 1.0)
    ]
    return [
        (f"x264, {rate:.3f} bpp", decoded),
        *((f"strength {s:g}", frames) for s, frames in zip((0.0, 0.5, 1.0), ours, strict=True)),
        ("original", clip.frames),
    ]
