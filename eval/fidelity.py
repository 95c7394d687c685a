"""How near a picture is to its source, sample by sample and window by window."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from gancodec.eval.metric import Context, Meter, Metric, Values, per_frame
from gancodec.eval.packages import needs_module
from gancodec.eval.rgb import Picture, per_picture
from gancodec.types import FrameBatch, Plane

# Of equal planes, whose PSNR is infinite: means stay finite. Planes that differ in one sample by
# one level stay below it up to 15 megapixels.
PSNR_OF_EQUAL_DB = 120.0
_SSIM_WINDOW = 11  # samples, of the Gaussian with sigma 1.5 in the paper
_MS_SSIM_SIDE = 161  # samples: five scales of an 11-sample window
XPSNR_LEAST_SIDE = 45  # samples: FFmpeg's filter finds no block size for fewer, and divides by it
_PSNR_PAPER = "peak signal-to-noise ratio of 8-bit samples, mean over frames of each frame's dB"


# ── PSNR ─────────────────────────────────────────────────────────────────────────────────────


def psnr_of_planes(reference: Plane, distorted: Plane) -> Values:
    """PSNR in dB of each of N pairs of planes, (N, H, W) uint8."""
    values = np.empty(len(reference))
    for i, (a, b) in enumerate(zip(reference, distorted, strict=True)):
        error = a.astype(np.float64) - b  # whole numbers, and so is their sum below 2^53: exact
        values[i] = _psnr_db(float(np.vdot(error, error)) / error.size)
    return values


def _psnr_db(mean_square: float) -> float:
    if mean_square == 0:
        return PSNR_OF_EQUAL_DB
    return float(10 * np.log10(255**2 / mean_square))


def _psnr_of(plane: str, reference: FrameBatch, distorted: FrameBatch) -> Values:
    return psnr_of_planes(getattr(reference, plane), getattr(distorted, plane))


def _psnr_yuv(reference: FrameBatch, distorted: FrameBatch) -> Values:
    """(6 Y + U + V) / 8 of the planes' PSNRs, as in the test conditions of HEVC and VVC."""
    y, u, v = (_psnr_of(plane, reference, distorted) for plane in "yuv")
    return (6 * y + u + v) / 8


def _psnr_rgb(reference: Picture, distorted: Picture) -> float:
    """PSNR in dB of (H, W, 3) RGB, the square error taken over all three channels."""
    return float(psnr_of_planes(reference[None], distorted[None])[0])


def _start_xpsnr(context: Context) -> Meter:
    from gancodec.eval.xpsnr import XpsnrMeter

    return XpsnrMeter(context)


def _check_xpsnr(weights: Mapping[str, Path]) -> None:
    from gancodec.eval.xpsnr import check_filter

    check_filter()


# ── Structural similarity ────────────────────────────────────────────────────────────────────


def _ssim(reference: FrameBatch, distorted: FrameBatch) -> Values:
    """Mean SSIM of the luma planes (Wang et al., 2004), with the paper's Gaussian window."""
    from skimage.metrics import structural_similarity

    compare = partial(
        structural_similarity,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    pairs = zip(reference.y, distorted.y, strict=True)
    return np.array([compare(a, b) for a, b in pairs], np.float64)


def _ms_ssim(reference: FrameBatch, distorted: FrameBatch) -> Values:
    """Multi-scale SSIM of the luma planes (Wang et al., 2003)."""
    import torch
    from pytorch_msssim import ms_ssim

    values = []
    for a, b in zip(reference.y, distorted.y, strict=True):
        x, y = (torch.from_numpy(np.ascontiguousarray(p)).float()[None, None] for p in (a, b))
        values.append(float(ms_ssim(x, y, data_range=255, size_average=True)))
    return np.array(values, np.float64)


def _psnr(plane: str) -> Metric:
    measure = per_frame(partial(_psnr_of, plane))
    return Metric(f"psnr-{plane}", f"PSNR-{plane.upper()}", "dB", True, measure, _PSNR_PAPER)


FIDELITY: tuple[Metric, ...] = (
    *(_psnr(plane) for plane in "yuv"),
    Metric("psnr-yuv", "PSNR-YUV 6:1:1", "dB", True, per_frame(_psnr_yuv), _PSNR_PAPER),
    Metric("psnr-rgb", "PSNR-RGB", "dB", True, per_picture(_psnr_rgb), _PSNR_PAPER),
    Metric(
        "xpsnr",
        "XPSNR-Y",
        "dB",
        True,
        _start_xpsnr,
        "Helmrich et al.: Extended Perceptually Weighted Peak Signal-to-Noise Ratio (ITU J. 2020)",
        samples=False,  # weights look at the motion since the frames before
        least_side=XPSNR_LEAST_SIDE,
        check=_check_xpsnr,
    ),
    Metric(
        "ssim",
        "SSIM",
        "",
        True,
        per_frame(_ssim),
        "Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment (IEEE TIP 2004)",
        least_side=_SSIM_WINDOW,
    ),
    Metric(
        "ms-ssim",
        "MS-SSIM",
        "",
        True,
        per_frame(_ms_ssim),
        "Wang, Simoncelli, Bovik: Multi-Scale Structural Similarity (Asilomar 2003)",
        least_side=_MS_SSIM_SIDE,
        check=needs_module("ms-ssim", "pytorch-msssim", "pytorch_msssim"),
    ),
)
