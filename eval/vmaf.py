"""VMAF v0.6.1 of luma: detail kept (ADM), information kept (VIF) and motion, fused by an SVM.

Li et al.: Toward a Practical Perceptual Video Quality Metric (Netflix, 2016), by the package
vmaf-torch, which follows libvmaf in floating point. Its own call wants the whole clip at once,
since the motion of a frame is the lesser of what changes before and after it; here features are
kept instead, six numbers a frame, and fused at the end.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from vmaf_torch import VMAF

from gancodec.eval.metric import Values
from gancodec.types import FrameBatch, Plane


class VmafMeter:
    """VMAF, 0 to 100, a value a frame."""

    def __init__(self) -> None:
        self._last: torch.Tensor | None = None  # the source frame before, for its motion
        self._changes: list[torch.Tensor] = []  # from the frame before, (1, 1) each
        self._features: list[tuple[torch.Tensor, torch.Tensor]] = []

    @torch.inference_mode()
    def add(self, reference: FrameBatch, distorted: FrameBatch) -> None:
        """The next frames of both clips."""
        model = _load_vmaf()
        for planes in zip(reference.y, distorted.y, strict=True):
            a, b = (_to_tensor(plane) for plane in planes)
            since = a if self._last is None else self._last
            self._changes.append(model.compute_motion(torch.cat([since, a]))[1:])
            self._features.append((model.compute_adm_score(a, b), model.compute_vif_features(a, b)))
            self._last = a

    @torch.inference_mode()
    def finish(self) -> Values:
        """A value a frame."""
        if not self._features:
            return np.empty(0)
        before = torch.cat(self._changes)
        motion = torch.minimum(before, torch.cat([before[1:], before[-1:]]))
        motion[0] = 0  # by libvmaf's convention
        adm, vif = (torch.cat(parts) for parts in zip(*self._features, strict=True))
        scores: Values = _load_vmaf().predict(adm, motion, vif)[:, 0].double().numpy()
        return scores


@lru_cache(maxsize=1)
def _load_vmaf() -> VMAF:
    return VMAF(clip_score=True).eval()


def _to_tensor(plane: Plane) -> torch.Tensor:
    """(1, 1, H, W) of 0 to 255."""
    return torch.from_numpy(plane.astype(np.float32))[None, None]
