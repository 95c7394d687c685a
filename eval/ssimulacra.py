"""SSIMULACRA 2.1: structural errors and lost or invented edges at six scales of XYB colour.

Sneyers, Cloudinary: github.com/cloudinary/ssimulacra2. RGB samples are taken as sRGB, as pictures
are shown. Planes are blurred as there, with the truncated cosine approximation of a Gaussian
(Charalampidis, IEEE TSP 2016; sigma 1.5) and zeros around the picture. That filter is written as a
recursion there; its impulse response is the nine taps below. For the two pictures in the tests of
the port to Rust (github.com/rust-av/ssimulacra2), whose expected value is 17.40, this gives 17.39.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from gancodec.eval.rgb import Picture

_SCALES = 6
_C2 = 0.0009

# Outer to inner; the four on the other side are the same.
_TAPS = (
    0.00941436780965374,
    0.03601111465836436,
    0.10933537277746024,
    0.21292859201042208,
    0.2646211054881984,
)

# Absorbance of linear red, green and blue by the three kinds of cones (libjxl's opsin).
_ABSORBANCE = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.55180986650955360),
)
_BIAS = 0.0037930732552754493

# By scale (rows) within channel (blocks: X, Y, B-Y); columns: mean of the structural error, of
# invented edges, of lost edges, then the 4-norms of the three.
_WEIGHTS = (
    (
        (0.0, 0.0007376606707406586, 0.0, 0.0, 0.0007793481682867309, 0.0),
        (
            0.0,
            0.0004371155730107379,
            0.0,
            1.1041726426657346,
            0.00066284834129271,
            0.00015231632783718752,
        ),
        (0.0, 0.0016406437456599754, 0.0, 1.8422455520539298, 11.441172603757666, 0.0),
        (
            0.0007989109436015163,
            0.000176816438078653,
            0.0,
            1.8787594979546387,
            10.94906990605142,
            0.0,
        ),
        (
            0.0007289346991508072,
            0.9677937080626833,
            0.0,
            0.00014003424285435884,
            0.9981766977854967,
            0.00031949755934435053,
        ),
        (0.0004550992113792063, 0.0, 0.0, 0.0013648766163243398, 0.0, 0.0),
    ),
    (
        (0.0, 0.0, 0.0, 7.466890328078848, 0.0, 17.445833984131262),
        (
            0.0006235601634041466,
            0.0,
            0.0,
            6.683678146179332,
            0.00037724407979611296,
            1.027889937768264,
        ),
        (
            225.20515300849274,
            0.0,
            0.0,
            19.213238186143016,
            0.0011401524586618361,
            0.001237755635509985,
        ),
        (
            176.39317598450694,
            0.0,
            0.0,
            24.43300999870476,
            0.28520802612117757,
            0.0004485436923833408,
        ),
        (0.0, 0.0, 0.0, 34.77906344483772, 44.835625328877896, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ),
    (
        (0.0, 0.0008680556573291698, 0.0, 0.0, 0.0, 0.0),
        (0.0, 0.0005313191874358747, 0.0, 0.00016533814161379112, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0004179171803251336, 0.0017290828234722833, 0.0),
        (0.0020827005846636437, 0.0, 0.0, 8.826982764996862, 23.19243343998926, 0.0),
        (
            95.1080498811086,
            0.9863978034400682,
            0.9834382792465353,
            0.0012286405048278493,
            171.2667255897307,
            0.9807858872435379,
        ),
        (0.0, 0.0, 0.0, 0.0005130064588990679, 0.0, 0.00010854057858411537),
    ),
)


def ssimulacra2(reference: Picture, distorted: Picture) -> float:
    """Quality of one picture: 100 for equal ones, 90 visually lossless, 50 medium; may be negative.

    Pictures are (H, W, 3) uint8. Below 113 samples a side the reference has fewer than six scales,
    whose weights then belong to others: there is no number to be like.
    """
    pair = np.stack([reference, distorted]).transpose(0, 3, 1, 2)
    linear = torch.from_numpy(_LINEAR[pair])  # (2, 3, H, W), 0 to 1
    errors = []
    with torch.inference_mode():
        for scale in range(_SCALES):
            if scale:
                linear = _halve(linear)
            errors.append(_errors(*_to_positive_xyb(linear)))
        by_channel = torch.stack(errors, dim=1).double()  # (3, scales, 6)
        weighted = float((by_channel * torch.tensor(_WEIGHTS, dtype=torch.float64)).sum())
    return _score(weighted)


def _linear_of_srgb() -> npt.NDArray[np.float32]:
    level = np.arange(256) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


_LINEAR = _linear_of_srgb()


def _to_positive_xyb(linear: torch.Tensor) -> torch.Tensor:
    """XYB of (2, 3, H, W) linear RGB, moved and scaled so that all lie between 0 and 1."""
    absorbed = torch.einsum("kc,nchw->nkhw", linear.new_tensor(_ABSORBANCE), linear) + _BIAS
    long, medium, short = (absorbed.clamp(min=0) ** (1 / 3) - _BIAS ** (1 / 3)).unbind(1)
    x, y = (long - medium) / 2, (long + medium) / 2
    return torch.stack([x * 14 + 0.42, y + 0.01, short - y + 0.55], dim=1)


def _halve(linear: torch.Tensor) -> torch.Tensor:
    """Mean of each 2x2 samples; the last column and row stand for ones that are missing."""
    height, width = linear.shape[2:]
    return F.avg_pool2d(F.pad(linear, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def _blur(planes: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) under the separable filter, with zeros around."""
    count, channels, height, width = planes.shape
    stack = planes.reshape(1, count * channels, height, width)  # by far faster than as a batch
    taps = planes.new_tensor((*_TAPS, *_TAPS[-2::-1])).repeat(count * channels, 1)
    reach = len(_TAPS) - 1
    across = F.conv2d(stack, taps[:, None, None, :], padding=(0, reach), groups=len(taps))
    both = F.conv2d(across, taps[:, None, :, None], padding=(reach, 0), groups=len(taps))
    return both.reshape(planes.shape)


def _errors(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(3, 6): structural error, invented and lost edges of a channel, as means, then 4-norms."""
    mean_a, mean_b, aa, bb, ab = _blur(torch.stack([a, b, a * a, b * b, a * b]))
    likeness = 1 - (mean_a - mean_b) ** 2
    covariance = 2 * (ab - mean_a * mean_b) + _C2
    variances = (aa - mean_a * mean_a) + (bb - mean_b * mean_b) + _C2
    structure = (1 - likeness * covariance / variances).clamp(min=0)
    edges = (1 + (b - mean_b).abs()) / (1 + (a - mean_a).abs()) - 1
    maps = torch.stack([structure, edges.clamp(min=0), (-edges).clamp(min=0)], dim=1)
    return torch.cat([maps.mean((2, 3)), maps.square().square().mean((2, 3)) ** 0.25], dim=1)


def _score(weighted: float) -> float:
    """Weighted sum of errors on the scale of subjective scores."""
    x = weighted * 0.9562382616834844
    x = 2.326765642916932 * x - 0.020884521182843837 * x**2 + 6.248496625763138e-05 * x**3
    return 100 - 10 * x**0.6276336467831387 if x > 0 else 100.0
