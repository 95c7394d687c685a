"""Muon: momentum whose matrices are made orthogonal (Jordan et al., 2024), AdamW for the rest.

A convolution's weight is a matrix from (inputs x kernel) to outputs. AdamW scales each of its
numbers on its own; Muon scales its singular values to be equal, so that directions that are rarely
needed move, too. For nets this narrow the extra matrix products cost about a sixth of a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
SMALLEST = 16  # sides; below, and for depthwise kernels and vectors, AdamW
# One step of the quintic iteration that drives singular values into 0.7 .. 1.2 (Jordan et al.)
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
_LIKE_ADAM = 0.2  # root mean square of an update, as AdamW's typically is (Liu et al., 2025)


def is_matrix(p: Tensor) -> bool:
    """Whether Muon takes this parameter: a convolution that mixes at least 16 channels."""
    return p.ndim == 4 and p.shape[1] > 1 and min(p.shape[0], p[0].numel()) >= SMALLEST


def orthogonal(matrix: Tensor) -> Tensor:
    """(m, n) -> the same singular vectors with singular values near one."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x: Tensor = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = _A * x + (_B * square + _C * square @ square) @ x
    return x if wide else x.T


class Muon(torch.optim.Optimizer):
    """Updates of matrices; the learning rate means what AdamW's does.

    Args:
        parameters: convolution weights that `is_matrix` accepts.
        lr: learning rate.
        weight_decay: decoupled, as in AdamW.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update from the gradients at hand."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"].mul_(MOMENTUM).add_(p.grad)
                ahead = p.grad + MOMENTUM * momentum  # Nesterov's
                update = orthogonal(ahead.float().flatten(1))
                scale = _LIKE_ADAM * math.sqrt(max(update.shape))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.view(p.shape).to(p.dtype), alpha=-group["lr"] * scale)
