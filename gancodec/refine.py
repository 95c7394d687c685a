"""The patient encoder: better latents for one frame, found through the frozen decoder.

    y, z ──► round, as the coder does ──► y_hat, z_hat ──► synthesis ──► error ─┐
      ▲                                        └──► float twin of the prior ──► bits
      └───── a damped step to where the gradient at y_hat, z_hat says the least cost lies ◄─┘

The analysis net guesses latents in one pass; it knows neither what this decoder makes of them
nor what neighbouring symbols cost (the amortisation gap; Yang, Bamler, Mandt, NeurIPS 2020). Here
latents and hyper-latents move until error and bits together are less. Rounding is part of every
step: proximal gradient descent, whose proximal step is the coder's own rate-distortion optimised
rounding. So a symbol's own price is met exactly, and the gradient is left with the rest: the
synthesis net, and what symbols tell the prior about others. Nothing in it is random.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gancodec.models.compress import (
    FrameCodec,
    InterCodec,
    IntraCodec,
    chroma_scaling,
    lagrange_weights,
)
from gancodec.nn.fixed import ACTIVATION_ONE, CONTEXT_MAX
from gancodec.nn.planes import Planes, pack
from gancodec.nn.prices import Rounding, SymbolPrices, round_by_density
from gancodec.nn.prior import ERROR_WEIGHT, HYPER_ERROR_WEIGHT, LatentPrior
from gancodec.registry import HYPER_TABLES, INTER_TABLES, INTRA_TABLES, MOTION_TABLES, Model

STEPS = 20  # 50 gain 0.3 % more
STRIDE = 0.4  # share of the way to the aim that the first step goes
HYPER_STRIDE = 0.3
MOMENTUM = 0.5
SLOWDOWN = 0.8  # the last step's stride is shorter by this share
HYPER_LEAP = 2.0  # longest way to a hyper-latent's aim that is believed


class Balance(NamedTuple):
    """How error and bits are weighed in one kind of frame.

    Attributes:
        error: weight of the error in units of `lagrange_weights`: the slope at which the encoder
            trades bits for error where it changes the quality level instead.
        curvature: of the error by a latent, beside ERROR_WEIGHT; larger takes smaller steps.
        rounding: weight of a squared step of error when latents are rounded, beside ERROR_WEIGHT.
    """

    error: float
    curvature: float
    rounding: float


INTRA_BALANCE = Balance(error=1.0, curvature=0.6, rounding=0.85)
INTER_BALANCE = Balance(error=2.2, curvature=0.85, rounding=1.15)


class Latents(NamedTuple):
    """What the coder is to code: latents (1, M, h, w) before rounding, None when decoding.

    ``z`` are hyper-latents (1, Z, h/4, w/4) before rounding, None where they follow from ``y``.
    """

    y: Tensor | None
    z: Tensor | None = None
    rounding: Rounding = round_by_density


class Refiner:
    """Refines the latents of a model's frames.

    Args:
        model: with frozen priors; they are copied, not touched.
        skip_below: scale index below which the coder leaves symbols out.
    """

    def __init__(self, model: Model, skip_below: int) -> None:
        nets, tables = model.nets, model.tables
        self.skip_below = skip_below
        self._weights = lagrange_weights(nets.config) * 255.0**2
        device = nets.intra.gain.get_buffer("ladder").device
        self._twins: dict[FrameCodec, LatentPrior] = {}
        with torch.inference_mode(False):
            latent = tables.frequencies[:MOTION_TABLES], tables.offsets[:MOTION_TABLES]
            self.prices = SymbolPrices(*latent, device)
            self.coder_prices = SymbolPrices(*latent)  # the coder works on the CPU
            for net in (nets.intra, nets.inter):
                twin = copy.deepcopy(net.prior)
                twin.thaw()
                self._twins[net] = twin.eval().requires_grad_(False).to(device)

    def problem(
        self,
        net: IntraCodec | InterCodec,
        x: Planes,
        quality: Tensor,
        predicted: Tensor | None = None,
        temporal: Tensor | None = None,
    ) -> Problem:
        """Weigh a frame. Call it outside inference mode: gradients will be needed.

        Args:
            net: which codes the frame.
            x: the frame.
            quality: level, (1,).
            predicted: packed prediction of an inter frame.
            temporal: the prior's context of an inter frame, integers as the coder gets them.
        """
        # Copies: tensors made in inference mode may not take part in gradients.
        quality = quality.clone()
        packed = pack(Planes(*(plane.clone() for plane in x)))
        context = None if temporal is None else temporal.clone().to(packed) / ACTIVATION_ONE
        if isinstance(net, IntraCodec):
            return Problem(
                self, self._twins[net], packed, quality, None, INTRA_TABLES, INTRA_BALANCE,
                float(self._weights[int(quality)]), lambda y: net.synthesise(y, quality).packed,
            )  # fmt: skip
        assert predicted is not None
        base = predicted.clone()
        return Problem(
            self, self._twins[net], packed, quality, context, INTER_TABLES, INTER_BALANCE,
            float(self._weights[int(quality)]), lambda y: net.synthesise(y, base, quality).packed,
        )  # fmt: skip


def refined(
    refiner: Refiner | None,
    net: IntraCodec | InterCodec,
    x: Planes | None,
    y: Tensor | None,
    quality: Tensor,
    predicted: Tensor | None = None,
    temporal: Tensor | None = None,
) -> Latents:
    """What to code for the first latents ``y`` of ``x``; just these without a refiner.

    The other arguments are those of `Refiner.problem`.
    """
    if refiner is None or x is None or y is None:
        return Latents(y)
    with torch.inference_mode(False), torch.enable_grad():
        problem = refiner.problem(net, x, quality, predicted, temporal)
        y, z = problem.solve(y.clone())
    return Latents(y, z, problem.rounding)


class Cost(NamedTuple):
    """Of coding latents: bits plus weighted error, and what the decoder makes of them."""

    total: Tensor
    y_hat: Tensor
    z_hat: Tensor


@dataclass(frozen=True)
class Problem:
    """One frame: what its latents cost, and where they cost less."""

    refiner: Refiner
    twin: LatentPrior
    packed: Tensor
    quality: Tensor
    temporal: Tensor | None
    tables: int
    balance: Balance
    weight: float  # of the squared error of packed samples, at a balance of 1
    synthesise: Callable[[Tensor], Tensor]

    def solve(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The cheapest latents and hyper-latents on the way from ``y`` and those it implies."""
        with torch.no_grad():
            z = self.twin.analysis(y)
        best, lowest = (y, z), float("inf")
        move = torch.zeros_like(y)
        for k in range(STEPS + 1):
            at_y, at_z = y.clone().requires_grad_(), z.clone().requires_grad_()
            cost = self.cost(at_y, at_z)
            total = float(cost.total.detach())
            if total < lowest:
                best, lowest = (y, z), total
            if k == STEPS:
                break
            slope_y, slope_z = torch.autograd.grad(cost.total, (at_y, at_z))
            # Where the least cost would lie if all latents curved it as much, and alone.
            curve = 2 * self.balance.curvature * ERROR_WEIGHT
            way_y = cost.y_hat.detach() - slope_y / curve - y
            way_z = cost.z_hat.detach() - slope_z / (2 * HYPER_ERROR_WEIGHT) - z
            shorter = 1 - SLOWDOWN * k / STEPS
            move = MOMENTUM * move + STRIDE * shorter * way_y
            y = y + move
            z = z + HYPER_STRIDE * shorter * way_z.clamp(-HYPER_LEAP, HYPER_LEAP)
            if not (y.isfinite().all() and z.isfinite().all()):
                break  # the steps overshot on foreign nets; what was found before stands
        return best

    def cost(self, y: Tensor, z: Tensor) -> Cost:
        """What the coder makes of these latents, in bits, its error priced in.

        Gradients pass straight through rounding, without the symbols' own prices: rounding
        weighs those itself.
        """
        prices, weight = self.refiner.prices, self.balance.rounding * ERROR_WEIGHT
        z_index = self.twin.z_index(self.quality).expand_as(z)
        symbol = prices.round(z.detach(), z_index, HYPER_TABLES, HYPER_ERROR_WEIGHT)
        z_hat = (z + (symbol - z).detach()).clamp(1 - CONTEXT_MAX, CONTEXT_MAX - 1)
        bits = [prices.of(symbol, z_index, HYPER_TABLES).sum()]

        def code(mean: Tensor, scale: Tensor, mask: Tensor, part: slice) -> Tensor:
            coded = mask * (scale.detach() + 0.5 >= self.refiner.skip_below)
            offset = y[:, part] - mean
            symbol = prices.round(offset.detach(), scale, self.tables, weight)
            bits.append((prices.sloped(symbol, mean, scale, self.tables) * coded).sum())
            return (offset + (symbol - offset).detach()) * coded + mean * mask

        size = int(y.shape[-2]), int(y.shape[-1])
        y_hat = self.twin.walk(z_hat, self.quality, self.temporal, size, code)
        decoded = self.synthesise(y_hat.contiguous(memory_format=torch.channels_last))
        return Cost(torch.stack(bits).sum() + self.priced_error(decoded), y_hat, z_hat)

    def rounding(self, offset: Tensor, scale: Tensor, first: int, weight: float) -> Tensor:
        """The `Rounding` to code what `solve` gives with."""
        share = 1.0 if first == HYPER_TABLES else self.balance.rounding
        return self.refiner.coder_prices.round(offset, scale, first, share * weight)

    def priced_error(self, decoded: Tensor) -> Tensor:
        """Squared error of a packed picture, in bits."""
        scaling = chroma_scaling()[::4].to(decoded).view(1, -1, 1, 1)
        error = ((decoded - self.packed) * scaling).square().sum()
        return self.weight * self.balance.error * error
