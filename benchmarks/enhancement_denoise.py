"""Denoising of known noise, beside non-local means and a twin that saw clean targets."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from enhancement_scores import Gate, Judged, Scores, Values, at_least, each_at_least, less, mean_of
from enhancement_sources import Settings, each_plane, psnr_y, with_luma
from scipy.ndimage import gaussian_filter, median_filter
from skimage.restoration import denoise_nl_means

from gancodec.eval.clips import Clip
from gancodec.models.degradation import MAX_SIGMA
from gancodec.train.degrade import Noise
from gancodec.types import FrameBatch

SIGMAS = (5, 10, 15, 25, 35, 50)
OTHERS = {
    "Poisson, gain 2": Noise(0.0, gain=2.0),
    "impulses, 10 %": Noise(0.0, chance=0.1),
    "camera": Noise(3.0, gain=1.0, grain=0.5),
}
TOLD, BLIND, TWIN = "ours, told", "ours, blind", "clean-target twin"
NLM, IDENTITY = "non-local means, told", "null: identity"
GAUSS = "null: Gaussian filter"
TWIN_GAP = 0.2  # dB; the published gap of Noise2Noise to clean targets is 0.01 to 0.1
# dB of BM3D over non-local means at sigma 25. BM3D itself may not be used here (its licence is
# non-commercial), so this margin stands for it: about what papers of its time report on Lena,
# House, Barbara and the like (Dabov, Foi, Katkovnik, Egiazarian: IEEE TIP 2007, beside Buades,
# Coll, Morel: CVPR 2005). A round number from the literature, not measured by us.
BM3D_OVER_NLM = 1.0
BM3D_SIGMA = 25
_SMOOTH = (0.6, 0.9, 1.3, 1.8, 2.5)  # of Gaussian filters, the best of which counts
_PATCH, _REACH, _STRENGTH = 5, 6, 0.8  # of non-local means: scikit-image's own, for its fast mode


def case_of(sigma: int) -> str:
    """What the tables call a deviation."""
    return f"sigma {sigma}"


def noisy(frames: FrameBatch, noise: Noise, rng: np.random.Generator) -> FrameBatch:
    """A noisy take of every frame, as a file would hold it."""
    planes = [
        np.stack([noise.on(plane, rng, chroma=chroma) for plane in planes])
        for chroma, planes in each_plane(frames)
    ]
    y, u, v = (np.clip(np.round(p), 0, 255).astype(np.uint8) for p in planes)
    return FrameBatch(y, u, v, frames.pts)


def measure(clip: Clip, settings: Settings) -> Scores:
    """Every kind of noise and method on one source."""
    scores = Scores()
    kinds = {case_of(s): Noise(float(s)) for s in SIGMAS} | OTHERS
    for case, noise in kinds.items():
        taken = noisy(clip.frames, noise, settings.rng(clip.name, case))
        told = float(noise.sigma) if case not in OTHERS else deviation(clip.frames, taken)
        for method, frames in _shown(clip.frames, taken, told, settings).items():
            found = psnr_y(clip.frames, frames)
            of_clips = {"psnr_y_clips": found} if len(clip) > 1 else {}
            scores.put(case, method, clip.name, psnr_y=found, **of_clips)
    return scores


def _shown(
    clean: FrameBatch, taken: FrameBatch, sigma: float, settings: Settings
) -> dict[str, FrameBatch]:
    """By method, what it makes of noisy frames."""
    smooth = [smoothed(taken, width) for width in _SMOOTH]
    told = min(sigma, MAX_SIGMA)
    shown = {
        IDENTITY: taken,
        GAUSS: max(smooth, key=lambda frames: psnr_y(clean, frames)),
        "median 3x3": with_luma(taken, np.stack([median_filter(y, 3) for y in taken.y])),
        NLM: non_local_means(taken, sigma),
        TOLD: settings.enhance("denoise", taken, sigma=told),
        BLIND: settings.enhance("denoise", taken),
    }
    if settings.twin is not None:
        shown[TWIN] = settings.enhance("denoise", taken, model=settings.twin)
    return shown


def deviation(clean: FrameBatch, taken: FrameBatch) -> float:
    """What is between luma and its noisy take."""
    return float(np.std(taken.y.astype(np.float64) - clean.y))


def smoothed(frames: FrameBatch, width: float) -> FrameBatch:
    """Luma through a Gaussian filter."""
    return with_luma(frames, gaussian_filter(frames.y.astype(np.float64), (0, width, width)))


def non_local_means(frames: FrameBatch, sigma: float, chroma: float = 0.0) -> FrameBatch:
    """Luma frame by frame, as scikit-image's documentation advises where the deviation is known.

    With ``chroma``, its deviation beside luma's, U and V as well.
    """

    def one(planes: npt.NDArray[np.uint8], told: float) -> npt.NDArray[np.uint8]:
        found = [
            denoise_nl_means(
                plane,
                _PATCH,
                _REACH,
                h=_STRENGTH * told,
                sigma=told,
                fast_mode=True,
                preserve_range=True,
            )
            for plane in planes.astype(np.float64)
        ]
        return np.clip(np.round(np.stack(found)), 0, 255).astype(np.uint8)

    u, v = (one(p, sigma * chroma) if chroma else p for p in (frames.u, frames.v))
    return FrameBatch(one(frames.y, sigma), u, v, frames.pts)


# ── Gates ────────────────────────────────────────────────────────────────────────────────────


def gates_of(scores: Scores, method: str = BLIND) -> list[Gate]:
    """The gates of a method that claims to denoise."""
    cases = [case_of(s) for s in SIGMAS]
    to_twin = {c: mean_of(_gain(scores, c, TWIN, method)) for c in cases}
    over_nlm = {c: mean_of(_gain(scores, c, method, NLM)) for c in cases}
    like_bm3d = less(
        scores.of(case_of(BM3D_SIGMA), method, "psnr-y-clips"),
        scores.of(case_of(BM3D_SIGMA), NLM, "psnr-y-clips"),
    )
    rises = _rises([scores.of(c, method, "psnr-y") for c in cases])
    return [
        _each_at_most("dB behind the twin, worst sigma", TWIN_GAP, to_twin),
        each_at_least("dB over non-local means, worst sigma", 0.0, over_nlm),
        at_least(
            f"dB over non-local means, clips, sigma {BM3D_SIGMA} (as BM3D)",
            BM3D_OVER_NLM,
            like_bm3d,
        ),
        _each_at_most("dB that more noise gains, worst source", 0.0, rises),
    ]


def _gain(scores: Scores, case: str, method: str, other: str) -> Values:
    return less(scores.of(case, method, "psnr-y"), scores.of(case, other, "psnr-y"))


def _each_at_most(name: str, limit: float, sources: Values) -> Gate:
    known = [v for v in sources.values() if v is not None]
    return Gate(name, max(known) if known else None, limit, False, sources)


def _rises(cases: list[Values]) -> Values:
    """By source, the largest step up from a deviation to the next."""
    found: Values = {}
    for name in dict.fromkeys(n for values in cases for n in values):
        line = [values.get(name) for values in cases]
        known = [v for v in line if v is not None]
        steps = [after - before for before, after in pairwise(known)]
        found[name] = max(steps) if steps and len(known) == len(line) else None
    return found


def judge(scores: Scores) -> Judged:
    """Ours, and two models that must fail: the noisy frames, and the best Gaussian filter."""
    return Judged(gates_of(scores), {name: gates_of(scores, name) for name in (IDENTITY, GAUSS)})
