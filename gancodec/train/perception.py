"""What people look at, as a loss: a learned distance of RGB pictures.

ST-LPIPS on AlexNet (Ghildyal, Liu, ECCV 2022; the package stlpips_pytorch). Its VGG sister judges
in `gancodec.eval` and is never trained on.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gancodec.eval.stlpips import load_st_lpips
from gancodec.nn.planes import Planes

_NEAR_ZERO = 1e-8  # inside the root: features of flat areas would have endless gradients


def rgb_of(planes: Planes) -> Tensor:
    """(B, 3, H, W) in -1 to 1 of limited-range BT.709 planes in [0, 1]; not clamped."""
    y = (planes.y * 255 - 16) / 219
    chroma = (torch.cat([planes.u, planes.v], 1) * 255 - 128) / 224
    wide = F.interpolate(chroma, scale_factor=2.0, mode="bilinear", align_corners=False)
    cb, cr = wide[:, :1], wide[:, 1:]
    red, blue = y + 1.5748 * cr, y + 1.8556 * cb
    green = y - 0.1873 * cb - 0.4681 * cr
    return torch.cat([red, green, blue], 1) * 2 - 1


class Perception:
    """ST-LPIPS (alex) of planes, differentiable by the first."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.net = load_st_lpips("alex").to(device)

    def distance(self, planes: Planes, source: Planes) -> Tensor:
        """(B,) distance; 0 for equal pictures, about 0.4 for coarse coding."""
        with torch.no_grad():
            wanted = self._features(source)
        shown = self._features(planes)
        total = torch.zeros(len(planes.y), device=planes.y.device)
        for lin, a, b in zip(self.net.lins, shown, wanted, strict=True):  # type: ignore[arg-type]
            total = total + lin((a - b).square()).mean((1, 2, 3))
        return total

    def _features(self, planes: Planes) -> list[Tensor]:
        x = rgb_of(planes).contiguous(memory_format=torch.channels_last)
        layers = self.net.net(self.net.scaling_layer(x))  # type: ignore[operator]
        return [f * (f.square().sum(1, keepdim=True) + _NEAR_ZERO).rsqrt() for f in layers]
