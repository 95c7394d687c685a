"""What a distorted picture is worth beside its reference, one number a frame.

A metric takes two batches of equal size and gives one value a frame. Each says its unit and which
way is better, so that whoever prints or plots needs no table of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from gancodec.errors import UsageError
from gancodec.types import FrameBatch, Plane

Values = npt.NDArray[np.float64]

# Of equal planes, whose PSNR is infinite: means stay finite. Planes that differ in one sample by
# one level stay below it up to 15 megapixels.
PSNR_OF_EQUAL_DB = 120.0
_SSIM_WINDOW = 11  # samples, of the Gaussian with sigma 1.5 in the paper
_MS_SSIM_SIDE = 161  # samples: five scales of an 11-sample window


@dataclass(frozen=True, slots=True)
class Metric:
    """One way to compare pictures.

    Attributes:
        name: what users type, lower case.
        title: what tables print.
        unit: "dB", or "" for a plain number.
        higher_is_better: the direction.
        measure: (reference, distorted) of equal size -> (N,) float64, a value a frame.
        least_side: the smallest picture it is defined for, in luma samples.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool
    measure: Callable[[FrameBatch, FrameBatch], Values]
    least_side: int = 1

    def worst(self, values: Values) -> int:
        """Number of the frame with the worst value."""
        return int(values.argmin() if self.higher_is_better else values.argmax())


def select_metrics(names: str) -> list[Metric]:
    """The metrics of a list such as ``psnr,ssim``, each once; ``psnr`` stands for all four.

    Raises:
        UsageError: an unknown name, or one whose package is not installed.
    """
    chosen: dict[str, Metric] = {}
    for name in filter(None, (part.strip().lower() for part in names.split(","))):
        group = [m for m in METRICS if m.name in GROUPS.get(name, (name,))]
        if not group:
            known = ", ".join([*GROUPS, *(m.name for m in METRICS)])
            raise UsageError(f"there is no metric {name!r}; there are: {known}")
        chosen.update((m.name, m) for m in group)
    if not chosen:
        raise UsageError("no metric was named; try -m psnr,ssim")
    if "ms-ssim" in chosen:
        _load_ms_ssim()  # a missing package is told before hours of decoding
    return list(chosen.values())


def check_size(metrics: list[Metric], width: int, height: int) -> None:
    """Check that every metric is defined for pictures of this size.

    Raises:
        UsageError: naming the first that is not.
    """
    for metric in metrics:
        if min(width, height) < metric.least_side:
            raise UsageError(
                f"{metric.name} needs pictures of at least {metric.least_side} samples a side, "
                f"these are {width}x{height}; leave it out with -m"
            )


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


METRICS: tuple[Metric, ...] = (
    Metric("psnr-y", "PSNR-Y", "dB", True, partial(_psnr_of, "y")),
    Metric("psnr-u", "PSNR-U", "dB", True, partial(_psnr_of, "u")),
    Metric("psnr-v", "PSNR-V", "dB", True, partial(_psnr_of, "v")),
    Metric("psnr-yuv", "PSNR-YUV 6:1:1", "dB", True, _psnr_yuv),
    Metric("ssim", "SSIM", "", True, _ssim, least_side=_SSIM_WINDOW),
    Metric("ms-ssim", "MS-SSIM", "", True, _ms_ssim, least_side=_MS_SSIM_SIDE),
)

# Names that stand for several.
GROUPS: dict[str, tuple[str, ...]] = {"psnr": ("psnr-y", "psnr-u", "psnr-v", "psnr-yuv")}
