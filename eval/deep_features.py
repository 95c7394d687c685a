"""LPIPS and DISTS: distances between the features of nets that were trained to name pictures.

The weights may not be shipped with this package and are read from a file of the user's:

* LPIPS 0.1 (Zhang et al., CVPR 2018) on AlexNet: ``features.N.weight`` and ``features.N.bias`` of
  torchvision's AlexNet, ``lin0.model.1.weight`` to ``lin4.model.1.weight`` of the package lpips.
* DISTS (Ding et al., IEEE TPAMI 2022) on VGG16: ``features.N.weight`` and ``features.N.bias`` of
  torchvision's VGG16, ``alpha`` and ``beta`` of the package DISTS_pytorch.

Other tensors in the file are ignored. Where those packages are installed, this writes it::

    state = torchvision.models.alexnet(weights="DEFAULT").state_dict() | lpips.LPIPS().state_dict()
    kept = {name: state[name] for name in state if re.match(r"features|lin\\d", name)}
    safetensors.torch.save_file(kept, "lpips.safetensors")

and for DISTS the same with ``vgg16``, ``DISTS_pytorch.DISTS()`` and ``features|alpha|beta``.
Pictures are compared at their own size.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch.nn import functional as F

from gancodec.errors import UsageError
from gancodec.eval.rgb import Picture

Tensors = dict[str, torch.Tensor]


class _Conv(NamedTuple):
    """A convolution with a ReLU behind it; ``number`` as in torchvision's ``features``."""

    number: int
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


# Features are taken behind each stage.
_ALEXNET = (
    (_Conv(0, 3, 64, 11, 4, 2),),
    (_Conv(3, 64, 192, 5, 1, 2),),
    (_Conv(6, 192, 384),),
    (_Conv(8, 384, 256),),
    (_Conv(10, 256, 256),),
)
_ALEXNET_POOLED = (1, 2)  # stages with a max pooling before them
_VGG16 = (
    (_Conv(0, 3, 64), _Conv(2, 64, 64)),
    (_Conv(5, 64, 128), _Conv(7, 128, 128)),
    (_Conv(10, 128, 256), _Conv(12, 256, 256), _Conv(14, 256, 256)),
    (_Conv(17, 256, 512), _Conv(19, 512, 512), _Conv(21, 512, 512)),
    (_Conv(24, 512, 512), _Conv(26, 512, 512), _Conv(28, 512, 512)),
)
_DISTS_CHANNELS = (3, 64, 128, 256, 512, 512)  # the picture itself, then the stages

# Of RGB from 0 to 1, as the nets were trained; LPIPS writes the same for -1 to 1, rounded.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LPIPS_SHIFT, _LPIPS_SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_DISTS_STABILITY = 1e-6


# ── Weights ──────────────────────────────────────────────────────────────────────────────────


def _shapes(metric: str) -> dict[str, tuple[int, ...]]:
    """What the weights file of ``lpips`` or ``dists`` has to hold."""
    shapes: dict[str, tuple[int, ...]] = {}
    for stage in _ALEXNET if metric == "lpips" else _VGG16:
        for conv in stage:
            size = (conv.outputs, conv.inputs, conv.kernel, conv.kernel)
            shapes[f"features.{conv.number}.weight"] = size
            shapes[f"features.{conv.number}.bias"] = (conv.outputs,)
    if metric == "lpips":
        for k, stage in enumerate(_ALEXNET):
            shapes[f"lin{k}.model.1.weight"] = (1, stage[-1].outputs, 1, 1)
    else:
        shapes["alpha"] = shapes["beta"] = (1, sum(_DISTS_CHANNELS), 1, 1)
    return shapes


def check_weights(metric: str, path: Path) -> None:
    """Check that a file holds all weights of ``lpips`` or ``dists``; reads only its header.

    Raises:
        UsageError: it is missing, is of another kind, or lacks a tensor.
    """
    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            for name, shape in _shapes(metric).items():
                found = tuple(file.get_slice(name).get_shape()) if name in names else None
                if found != shape:
                    raise UsageError(
                        f"{metric} needs the tensor {name} of shape {shape} in {path}, which has "
                        f"{found or 'none'}; the docstring of gancodec.eval.deep_features says "
                        "how to write the file"
                    )
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"{metric} needs its weights, and {path} is no safetensors file that can be read "
            f"({error}); the docstring of gancodec.eval.deep_features says how to write one"
        ) from error


@lru_cache(maxsize=2)
def _load(metric: str, path: Path) -> Tensors:
    check_weights(metric, path)
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name).float() for name in _shapes(metric)}


# ── Distances ────────────────────────────────────────────────────────────────────────────────


def lpips(path: Path, reference: Picture, distorted: Picture) -> float:
    """LPIPS 0.1 on AlexNet of one pair of pictures, (H, W, 3) uint8; 0 for equal ones."""
    weights = _load("lpips", path)
    distance = 0.0
    with torch.inference_mode():
        pair = _normalise(_to_pair(reference, distorted) * 2 - 1, _LPIPS_SHIFT, _LPIPS_SCALE)
        for k, features in enumerate(_alexnet(weights, pair)):
            length = features.square().sum(1, keepdim=True).sqrt() + 1e-10
            a, b = features / length
            heads = weights[f"lin{k}.model.1.weight"][0]  # (C, 1, 1)
            distance += float(((a - b).square() * heads).sum(0).mean())
    return distance


def dists(path: Path, reference: Picture, distorted: Picture) -> float:
    """DISTS of one pair of pictures, (H, W, 3) uint8; 0 for equal ones."""
    weights = _load("dists", path)
    similarity = 0.0
    with torch.inference_mode():
        pair = _to_pair(reference, distorted)
        alphas, betas = (
            torch.split(weights[name].flatten(), list(_DISTS_CHANNELS))
            for name in ("alpha", "beta")
        )
        stages = [pair, *_vgg16(weights, _normalise(pair, _MEAN, _DEVIATION))]
        for features, alpha, beta in zip(stages, alphas, betas, strict=True):
            a, b = features.flatten(2).double()  # (C, samples)
            mean_a, mean_b = a.mean(1), b.mean(1)
            texture = _likeness(mean_a * mean_b, mean_a.square() + mean_b.square())
            covariance = (a * b).mean(1) - mean_a * mean_b
            structure = _likeness(covariance, a.var(1, correction=0) + b.var(1, correction=0))
            similarity += float(alpha @ texture.float() + beta @ structure.float())
    return 1 - similarity / float(weights["alpha"].sum() + weights["beta"].sum())


def _likeness(product: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    return (2 * product + _DISTS_STABILITY) / (squares + _DISTS_STABILITY)


def _to_pair(reference: Picture, distorted: Picture) -> torch.Tensor:
    """(2, 3, H, W) of 0 to 1."""
    pair = np.stack([reference, distorted]).transpose(0, 3, 1, 2)
    return torch.from_numpy(pair.astype(np.float32)) / 255


def _normalise(
    pair: torch.Tensor, shift: tuple[float, ...], scale: tuple[float, ...]
) -> torch.Tensor:
    return (pair - pair.new_tensor(shift)[:, None, None]) / pair.new_tensor(scale)[:, None, None]


def _alexnet(weights: Tensors, x: torch.Tensor) -> Iterator[torch.Tensor]:
    for number, stage in enumerate(_ALEXNET):
        if number in _ALEXNET_POOLED:
            x = F.max_pool2d(x, 3, 2)
        yield (x := _convolve(weights, stage, x))


def _vgg16(weights: Tensors, x: torch.Tensor) -> Iterator[torch.Tensor]:
    for number, stage in enumerate(_VGG16):
        if number:
            x = _pool_energy(x)
        yield (x := _convolve(weights, stage, x))


def _convolve(weights: Tensors, stage: tuple[_Conv, ...], x: torch.Tensor) -> torch.Tensor:
    for conv in stage:
        weight, bias = (weights[f"features.{conv.number}.{part}"] for part in ("weight", "bias"))
        x = F.conv2d(x, weight, bias, conv.stride, conv.padding).relu_()
    return x


def _pool_energy(x: torch.Tensor) -> torch.Tensor:
    """Half as many samples: root of the mean square under a Hann window, instead of a maximum."""
    taps = x.new_tensor([0.25, 0.5, 0.25])
    window = torch.outer(taps, taps).repeat(x.shape[1], 1, 1, 1)
    return (F.conv2d(x.square(), window, stride=2, padding=1, groups=x.shape[1]) + 1e-12).sqrt()
