"""How near a picture is to its source, sample by sample and window by window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from gancodec.errors import UsageError
from gancodec.eval.metric import Metric, Values, per_frame
from gancodec.types import FrameBatch, Plane

# Of equal planes, whose PSNR is infinite: means stay finite. Planes that differ in one sample by
# one level stay below it up to 15 megapixels.
PSNR_OF_EQUAL_DB = 120.0
_SSIM_WINDOW = 11  # samples, of the Gaussian with sigma 1.5 in the paper
_MS_SSIM_SIDE = 161  # samples: five scales of an 11-sample window
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


def _load_ms_ssim() -> Callable[..., object]:
    try:
        from pytorch_msssim import ms_ssim
    except ImportError:
        raise UsageError(
            "ms-ssim needs the package pytorch-msssim; install it with "
            "`pip install gancodec[eval]`, or leave ms-ssim out with -m"
        ) from None
    function: Callable[..., object] = ms_ssim
    return function


def _ms_ssim(reference: FrameBatch, distorted: FrameBatch) -> Values:
    """Multi-scale SSIM of the luma planes (Wang et al., 2003)."""
    import torch

    compare = _load_ms_ssim()
    values = []
    for a, b in zip(reference.y, distorted.y, strict=True):
        x, y = (torch.from_numpy(np.ascontiguousarray(p)).float()[None, None] for p in (a, b))
        value = compare(x, y, data_range=255, size_average=True)
        values.append(float(value))  # type: ignore[arg-type]
    return np.array(values, np.float64)


def _check_ms_ssim(weights: Mapping[str, Path]) -> None:
    _load_ms_ssim()


def _psnr(plane: str) -> Metric:
    measure = per_frame(partial(_psnr_of, plane))
    return Metric(f"psnr-{plane}", f"PSNR-{plane.upper()}", "dB", True, measure, _PSNR_PAPER)


FIDELITY: tuple[Metric, ...] = (
    *(_psnr(plane) for plane in "yuv"),
    Metric("psnr-yuv", "PSNR-YUV 6:1:1", "dB", True, per_frame(_psnr_yuv), _PSNR_PAPER),
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
        check=_check_ms_ssim,
    ),
)
