"""ST-LPIPS: a learned distance of pictures that forgives shifts by a sample or two.

Ghildyal, Liu: Shift-tolerant Perceptual Similarity Metric (ECCV 2022), with the nets and weights of
the package stlpips_pytorch. Not LPIPS 0.1: other nets, other numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Literal

import numpy as np
import torch

from gancodec.eval.remembered import Remembered, key_of
from gancodec.eval.rgb import Picture

Net = Literal["alex", "vgg"]

# Names that the package imports and does not need for what is done here. None has to be installed,
# and torchvision does not load beside every torch.
_UNNEEDED = {
    "torchvision": {"models": None},
    "torchsummary": {"summary": None},
    "IPython": {"embed": None},
}


_Features = list[torch.Tensor]  # of every layer, (1, C, h, w), each place of length 1
_CACHE_BYTES = 1 << 30  # five frames of 720x576 for VGG16

_sources = Remembered[_Features](_CACHE_BYTES, lambda layers: sum(f.nbytes for f in layers))


def st_lpips(net: Net, reference: Picture, distorted: Picture) -> float:
    """Distance of one pair of pictures, (H, W, 3) uint8; 0 for equal ones.

    The same as `load_st_lpips` gives, but a source's features are found once for all codecs.
    """
    with torch.inference_mode():
        key = key_of(reference, about=net)
        source = _sources.get(key, lambda: _features(net, reference))
        shown = _features(net, distorted)
        module = load_st_lpips(net)
        pairs = zip(module.lins, source, shown, strict=True)  # type: ignore[arg-type]
        return float(sum(lin((a - b).square()).mean((2, 3)) for lin, a, b in pairs))


def _features(net: Net, picture: Picture) -> _Features:
    module = load_st_lpips(net)
    layers = module.net(module.scaling_layer(_to_tensor(picture)))  # type: ignore[operator]
    return [layer / (layer.square().sum(1, keepdim=True).sqrt() + 1e-10) for layer in layers]


@lru_cache(maxsize=2)
def load_st_lpips(net: Net) -> torch.nn.Module:
    """The distance as a module, frozen: two (N, 3, H, W) of -1 to 1 give (N, 1, 1, 1).

    Differentiable with respect to the pictures. The global random state stays as it was.

    Raises:
        ImportError: the package stlpips_pytorch is missing.
    """
    package = import_package()
    with torch.random.fork_rng(devices=[]):  # layers are drawn before the weights are read
        module: torch.nn.Module = package.LPIPS(net=net, variant="shift_tolerant", verbose=False)
    module.eval().requires_grad_(False)
    for parameter in module.parameters():
        if parameter.dim() == 4:  # convolutions are quicker so
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def import_package() -> ModuleType:
    """The module of stlpips_pytorch that defines the distance.

    Raises:
        ImportError: the package is missing.
    """
    with _stand_ins():
        from stlpips_pytorch import stlpips
    module: ModuleType = stlpips
    return module


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Empty modules under the names in `_UNNEEDED`, taken away again afterwards."""
    names = [m for m in sys.modules if m.split(".")[0] in _UNNEEDED]
    before = {name: sys.modules.pop(name) for name in names}
    for name, attributes in _UNNEEDED.items():
        module = ModuleType(name)
        vars(module).update(attributes)
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in _UNNEEDED:
            del sys.modules[name]
        sys.modules.update(before)


def _to_tensor(picture: Picture) -> torch.Tensor:
    """(1, 3, H, W) of -1 to 1, channels last."""
    return torch.from_numpy(picture.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
