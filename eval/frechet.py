"""Whether pictures and motion are of the kind that is real: distances between distributions.

Each is the Frechet distance between two Gaussians, fitted to features of the source and of the
decoded clip (Dowson, Landau 1982). It asks whether the decoded pictures are of the same kind as the
source's, not whether they are the same: detail that was invented well costs nothing. It is 0 for
equal clips.

A covariance of d features needs many more than d samples. With fewer, distances of two sets of
*different* content come out too large; the sets here show the same content, so values of the same
clip can be compared with one another, but not with those of other clips, sizes or lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from gancodec.errors import UsageError
from gancodec.eval.metric import Context, Meter, Metric, Values
from gancodec.eval.packages import needs_module
from gancodec.eval.rgb import Picture
from gancodec.types import FrameBatch
from gancodec.video.color import yuv420_to_rgb

_WINDOW_SIDE, _WINDOW_FRAMES = 32, 16
_PATCH_SIDE = 64
_FID_SIDE = 256  # samples: patches of HiFiC's FID/256
_LEAST_DEVIATION = 0.25  # of the median deviation: features that hardly vary would rule the rest


class Moments:
    """Mean and covariance of vectors that come in groups, without keeping them (Chan et al.)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Values = np.zeros(0)
        self._scatter: Values = np.zeros((0, 0))  # sum of outer products of what is off the mean

    def add(self, vectors: Values) -> None:
        """(N, d) more vectors, N > 0."""
        mean = vectors.mean(0)
        centred = vectors - mean
        scatter = centred.T @ centred
        if not self.count:
            self.count, self.mean, self._scatter = len(vectors), mean, scatter
            return
        total = self.count + len(vectors)
        off = mean - self.mean
        self._scatter += scatter + np.outer(off, off) * (self.count * len(vectors) / total)
        self.mean = self.mean + off * (len(vectors) / total)
        self.count = total

    @property
    def covariance(self) -> Values:
        """(d, d), of at least two vectors, divided by their number less one."""
        return self._scatter / (self.count - 1)


def frechet_distance(mean_a: Values, cov_a: Values, mean_b: Values, cov_b: Values) -> float:
    """|mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^1/2); shapes (d,) and (d, d).

    The root has the trace of the root of cov_a^1/2 cov_b cov_a^1/2, which is symmetric.
    """
    values, vectors = np.linalg.eigh(cov_a)
    kept = values > max(float(values[-1]), 0) * len(values) * np.finfo(np.float64).eps
    root = vectors[:, kept] * np.sqrt(values[kept])  # what else there is, is rounding
    product = np.linalg.eigvalsh(root.T @ cov_b @ root)
    overlap = float(np.sqrt(np.maximum(product, 0)).sum())
    apart = float(np.square(mean_a - mean_b).sum())
    return max(apart + float(np.trace(cov_a) + np.trace(cov_b)) - 2 * overlap, 0.0)


def standardised_distance(reference: Moments, distorted: Moments) -> float:
    """Frechet distance with each feature in units of its deviation in the reference.

    A deviation counts as at least a quarter of the median one.
    """
    deviation = np.sqrt(np.diag(reference.covariance))
    unit = np.maximum(deviation, max(_LEAST_DEVIATION * float(np.median(deviation)), 1e-12))
    a, b = ((m.mean / unit, m.covariance / np.outer(unit, unit)) for m in (reference, distorted))
    return frechet_distance(*a, *b)


def plain_distance(reference: Moments, distorted: Moments) -> float:
    """Frechet distance of the features as they are."""
    return frechet_distance(
        reference.mean, reference.covariance, distorted.mean, distorted.covariance
    )


# A frame in, the features (N, d) that it completes out; None where there are none yet.
Extractor = Callable[[Picture], Values | None]


class FrechetMeter:
    """Meter of the distance between the features of two clips.

    Args:
        name: of the metric, for the message.
        context: the clips' colours.
        start: makes an extractor for each of the two clips.
        distance: of their moments.
        least: frames that it takes.
    """

    def __init__(
        self,
        name: str,
        context: Context,
        start: Callable[[], Extractor],
        distance: Callable[[Moments, Moments], float] = plain_distance,
        least: int = 1,
    ) -> None:
        self._name = name
        self._color = context.info.color
        self._sides = [(start(), Moments()) for _ in range(2)]
        self._distance = distance
        self._least = least
        self._frames = 0

    def add(self, reference: FrameBatch, distorted: FrameBatch) -> None:
        self._frames += len(reference)
        for n in range(len(reference)):
            for clip, (extract, moments) in zip((reference, distorted), self._sides, strict=True):
                found = extract(yuv420_to_rgb(clip[n : n + 1], self._color)[0])
                if found is not None:
                    moments.add(found)

    def finish(self) -> Values:
        """One value.

        Raises:
            UsageError: too few frames for two samples.
        """
        reference, distorted = (moments for _, moments in self._sides)
        if self._frames < self._least:
            raise UsageError(
                f"{self._name} needs at least {self._least} frames, this clip has {self._frames}; "
                f"leave {self._name} out with -m"
            )
        if reference.count < 2:
            raise UsageError(
                f"{self._name} compares distributions, and {self._frames} frames of this size are "
                f"one sample only; leave {self._name} out with -m"
            )
        return np.array([self._distance(reference, distorted)])


# ── fd-patch ─────────────────────────────────────────────────────────────────────────────────


_check_patch = needs_module("fd-patch", "efficientnet-lite-pytorch", "gancodec.eval.patches")


def _start_patch(context: Context) -> Meter:
    _check_patch(context.weights)
    from gancodec.eval import patches

    def extract(picture: Picture) -> Values:
        return patches.extract_features(picture).double().numpy()

    return FrechetMeter("fd-patch", context, lambda: extract)


# ── fid ──────────────────────────────────────────────────────────────────────────────────────


def cut_patches(picture: Picture, side: int = _FID_SIDE) -> list[Picture]:
    """Patches of a picture side by side, and once more from half a patch on, as in HiFiC.

    Pictures of a shorter side than ``side`` are cut in squares of that side.
    """
    height, width, _ = picture.shape
    side = min(side, height, width)
    return [
        picture[y : y + side, x : x + side]
        for shift in (0, side // 2)
        for y in range(shift, height - side + 1, side)
        for x in range(shift, width - side + 1, side)
    ]


def _check_fid(weights: Mapping[str, Path]) -> None:
    if "fid" not in weights:
        raise UsageError(
            "fid needs its weights: they cannot be shipped, so name a file by --weights fid=FILE "
            "or in a suite's [weights]; gancodec.eval.inception tells how to write one"
        )
    from gancodec.eval.inception import check_weights

    check_weights(weights["fid"])


def _start_fid(context: Context) -> Meter:
    _check_fid(context.weights)
    from gancodec.eval import inception

    weights = inception.load_weights(context.weights["fid"])

    def extract(picture: Picture) -> Values:
        return inception.extract_features(weights, cut_patches(picture)).double().numpy()

    return FrechetMeter("fid", context, lambda: extract)


# ── fd-a, fd-m ───────────────────────────────────────────────────────────────────────────────


def _start_windows(kind: Literal["frames", "motion"], name: str, context: Context) -> Meter:
    from gancodec.eval.randomnet import WindowCutter, extract_features

    def start() -> Extractor:
        cutter = WindowCutter()

        def extract(picture: Picture) -> Values | None:
            windows = cutter.push(picture)
            return None if windows is None else extract_features(windows, kind)

        return extract

    return FrechetMeter(name, context, start, standardised_distance, _WINDOW_FRAMES)


_DOWSON = "Dowson, Landau: The Frechet Distance between Multivariate Normal Distributions (1982)"

FRECHET: tuple[Metric, ...] = (
    # Means over 64x64 patches, which overlap by half, of 40 channels at 1/8 of the picture. Not the
    # Inception distance that others publish, and other numbers.
    Metric(
        "fd-patch",
        "Patch FD (EfficientNet-lite0)",
        "",
        False,
        _start_patch,
        f"{_DOWSON}; features: Tan, Le: EfficientNet (ICML 2019), lite0",
        per="clip",
        least_side=_PATCH_SIDE,
        check=_check_patch,
    ),
    # 2048 features of few patches: far too few, as in most of what is published.
    Metric(
        "fid",
        "FID/256",
        "",
        False,
        _start_fid,
        "Heusel et al.: GANs Trained by a Two Time-Scale Update Rule (NIPS 2017); patches as in "
        "Mentzer et al.: High-Fidelity Generative Image Compression (NeurIPS 2020)",
        per="clip",
        samples=False,
        least_side=_PATCH_SIDE,
        check=_check_fid,
    ),
    # 576 features of a random net, of windows of 16 frames of 32x32: of frames, and of four times
    # their differences. The first sees damage to pictures, the second to motion: look at both.
    Metric(
        "fd-a",
        "FD-A (frames, random 3-D net)",
        "",
        False,
        partial(_start_windows, "frames", "fd-a"),
        f"{_DOWSON}; features of this project",
        per="clip",
        samples=False,
        least_side=_WINDOW_SIDE,
    ),
    Metric(
        "fd-m",
        "FD-M (motion, random 3-D net)",
        "",
        False,
        partial(_start_windows, "motion", "fd-m"),
        f"{_DOWSON}; features of this project",
        per="clip",
        samples=False,
        least_side=_WINDOW_SIDE,
    ),
)
