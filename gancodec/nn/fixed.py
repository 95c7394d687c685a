"""Fixed-point convolutions: the only arithmetic that may choose a probability table.

A float net gives slightly different numbers on every machine; one wrong table index and the rest
of a stream is noise. So these layers know two arithmetics. While training, floats. Frozen, every
number is an integer held in a float: activations carry ``ACTIVATION_BITS`` fractional bits, weights
``WEIGHT_BITS``; sums are rounded (which repairs the small errors of Winograd-like algorithms),
requantised by a power of two and clamped. The result is the same on every backend. (Balle et al.,
ICLR 2019; research on exact sums in floats is ours.)

float64 holds every sum exactly, but its convolutions are slow everywhere. float32 holds those below
2^24: most sums, once the weights are halved, w = high 2^s + low, or, where there are many inputs,
the activations. As flooring divisions nest, ``floor((high 2^s + low + bias) / 2^n)`` is
``floor((high + floor((low + bias) / 2^s)) / 2^(n-s))``, and no number on the way is larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATION_BITS = 8
WEIGHT_BITS = 10
ACTIVATION_ONE = 1 << ACTIVATION_BITS  # the integer that stands for 1.0
HIDDEN_MAX = 32.0  # ReLU outputs are clamped to [0, 32): bounds every sum
OUTPUT_MAX = 512.0  # signed outputs: means (in quantiser steps) and scale indices
CONTEXT_MAX = 256.0  # decoded latents enter contexts clamped to this
_HALF = 1 << (WEIGHT_BITS - 1)  # added before the last bits are dropped: that rounds
_EXACT_FLOAT32 = float(1 << 24)
_EXACT_FLOAT64 = float(1 << 53)


class FixedConv2d(nn.Conv2d):
    """Convolution with both arithmetics; stride 1, same size.

    Args:
        input_max: bound of |input| as a real number, for the proof of exactness.
        hidden: ReLU and clamp to [0, HIDDEN_MAX); otherwise the output is signed.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        groups: int = 1,
        hidden: bool,
        input_max: float = HIDDEN_MAX,
    ) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, groups=groups)
        self.hidden = hidden
        self.input_max = input_max
        self.frozen: tuple[Tensor, Tensor] | None = None
        self.low_bits = 0  # of the lower halves; 0 where nothing is halved
        self.halves: tuple[Tensor, ...] = ()  # of the weights; empty where activations are halved

    def integer_weights(self) -> tuple[Tensor, Tensor]:
        """Weights and bias as int32, the latter in accumulator units."""
        if self.frozen is not None:
            weight, bias = (t.double() for t in self.frozen)
            return weight.to(torch.int32), (bias.flatten() - _HALF).to(torch.int32)
        assert self.bias is not None
        weight = torch.round(self.weight.detach().double() * (1 << WEIGHT_BITS))
        bias = torch.round(self.bias.detach().double() * (1 << (WEIGHT_BITS + ACTIVATION_BITS)))
        return weight.to(torch.int32), bias.to(torch.int32)

    def freeze(self, weight: Tensor, bias: Tensor, *, wide: bool = False) -> torch.dtype:
        """Switch to integer arithmetic on stored integers; ``wide`` insists on float64.

        Returns:
            The dtype in which every sum is proven exact.

        Raises:
            OverflowError: if not even float64 holds the sums exactly.
        """
        weight, bias = weight.double(), bias.double() + _HALF
        largest = self.input_max * ACTIVATION_ONE
        bound = _largest_sum(weight, largest, bias)
        if bound >= _EXACT_FLOAT64:
            raise OverflowError(f"an accumulator can reach {bound:.3g}, beyond exact float64")
        self.low_bits, self.halves, dtype = 0, (), torch.float64
        if not wide and (bound < _EXACT_FLOAT32 or self._halve(weight, bias, largest)):
            dtype = torch.float32
        self.frozen = (weight.to(dtype), bias.to(dtype).view(1, -1, 1, 1))
        return dtype

    def _halve(self, weight: Tensor, bias: Tensor, largest: float) -> bool:
        """Whether halves of weights or activations make every sum exact in float32."""
        for bits in range(1, WEIGHT_BITS):
            high = torch.round(weight * 2.0**-bits)
            low = weight - high * 2.0**bits
            lower = _largest_sum(low, largest, bias)
            upper = _largest_sum(high, largest, bias * 0) + lower * 2.0**-bits + 1
            if max(lower, upper) < _EXACT_FLOAT32:
                self.low_bits, self.halves = bits, (high.float(), low.float())
                return True
        bits = (round(math.log2(largest)) + 1) // 2
        lower = _largest_sum(weight, 2.0**bits, bias)
        upper = _largest_sum(weight, largest * 2.0**-bits, bias * 0) + lower * 2.0**-bits + 1
        if max(lower, upper) < _EXACT_FLOAT32:
            self.low_bits = bits
            return True
        return False

    def lay_out(self, layout: torch.memory_format) -> None:
        """Put frozen weights into a memory layout; they are no parameters, so `to` leaves them."""
        if self.frozen is not None:
            weight, bias = self.frozen
            self.frozen = (weight.contiguous(memory_format=layout), bias)
        self.halves = tuple(half.contiguous(memory_format=layout) for half in self.halves)

    def thaw(self) -> None:
        """Back to float arithmetic, on the very numbers that the integers stand for."""
        if self.frozen is None or self.bias is None:
            return
        weight, bias = (t.double() for t in self.frozen)
        with torch.no_grad():
            self.weight.copy_(weight / (1 << WEIGHT_BITS))
            bias = bias.flatten() - _HALF
            self.bias.copy_(bias / (1 << (WEIGHT_BITS + ACTIVATION_BITS)))
        self.frozen = None

    def forward(self, x: Tensor) -> Tensor:
        """Real numbers while training; integers (real value x 2^ACTIVATION_BITS) once frozen."""
        if self.frozen is None:
            out = super().forward(x)
            if self.hidden:
                return out.clamp(0, HIDDEN_MAX - 1 / ACTIVATION_ONE)
            return out.clamp(-OUTPUT_MAX, OUTPUT_MAX)
        weight, bias = self.frozen
        x = x.to(weight.dtype)
        if self.low_bits == 0:
            total = self._sums(x, weight).add_(bias).mul_(2.0**-WEIGHT_BITS).floor_()
        else:
            high, low = self._halved_sums(x, weight)
            total = (low + bias).mul_(2.0**-self.low_bits).floor_().add_(high)
            total = total.mul_(2.0 ** (self.low_bits - WEIGHT_BITS)).floor_()
        if self.hidden:
            return total.clamp_(0, HIDDEN_MAX * ACTIVATION_ONE - 1)
        return total.clamp_(-OUTPUT_MAX * ACTIVATION_ONE, OUTPUT_MAX * ACTIVATION_ONE)

    def _halved_sums(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        if self.halves:
            high, low = (self._sums(x, half) for half in self.halves)
        else:
            upper = torch.floor(x * 2.0**-self.low_bits)
            both = torch.cat([upper, torch.add(x, upper, alpha=-(2.0**self.low_bits))])
            high, low = self._sums(both, weight).chunk(2)
        return high, low

    def _sums(self, x: Tensor, weight: Tensor) -> Tensor:
        """Whole numbers; rounded where a fast algorithm may have left fractions."""
        total = F.conv2d(x, weight, None, 1, self.padding, 1, self.groups)
        return total if self.kernel_size == (1, 1) else total.round_()


def _largest_sum(weight: Tensor, largest_input: float, bias: Tensor) -> float:
    sums = weight.abs().sum((1, 2, 3)) * largest_input
    return float((sums + bias.abs()).max())


class _GlobalFlags:
    """Backend flags are global: the first thread that needs them sets them, the last resets."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._undo = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                backends = torch.backends
                before = torch.get_float32_matmul_precision()
                self._undo.callback(torch.set_float32_matmul_precision, before)
                torch.set_float32_matmul_precision("highest")
                self._undo.enter_context(backends.nnpack.flags(enabled=False))
                cudnn = backends.cudnn
                self._undo.enter_context(cudnn.flags(enabled=cudnn.enabled, allow_tf32=False))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._undo.close()


_EXACT_FLAGS = _GlobalFlags()


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Rule out every fast path that is not exact on integers; restores all flags afterwards.

    bf16 and TF32 drop bits; NNPACK's Winograd errs by more than our rounding may have to repair.
    """
    with (
        _EXACT_FLAGS,
        torch.inference_mode(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield
