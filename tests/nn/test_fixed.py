"""The integer prior: exact on every backend, close to its float twin."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from gancodec.nn.fixed import ACTIVATION_ONE, CONTEXT_MAX, FixedConv2d, exact_arithmetic
from gancodec.nn.prior import LatentPrior, logistic_scale, symbol_bits

SIZE = (9, 14)


@pytest.fixture
def prior() -> LatentPrior:
    """A small prior with weights of trained magnitude, frozen."""
    torch.manual_seed(0)
    prior = LatentPrior((4, 8), hyper=6, features=16, temporal=5, levels=64)
    for parameter in prior.parameters():
        if parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=0.3)
    return prior.requires_grad_(False)


def walk(prior: LatentPrior, *, layout: torch.memory_format = torch.contiguous_format) -> str:
    """Hash of every number that would pick a table or a mean."""
    rng = np.random.default_rng(5)
    one = ACTIVATION_ONE
    z = torch.from_numpy(rng.integers(-9, 10, (1, 6, 3, 4))).double() * one
    temporal = torch.from_numpy(rng.integers(-99, 99, (1, 5, *SIZE))).double() * one
    digest = hashlib.sha256()

    def code(mean: Tensor, scale: Tensor, mask: Tensor, part: slice) -> Tensor:
        for x in (mean, scale):
            digest.update(x.contiguous().to(torch.int64).numpy().tobytes())
        symbols = torch.from_numpy(rng.integers(-5, 6, tuple(mean.shape))).double()
        return (symbols * one + mean) * mask

    with exact_arithmetic():
        z, temporal = (x.contiguous(memory_format=layout) for x in (z, temporal))
        prior.walk(z, torch.tensor([17]), temporal, SIZE, code)
    return digest.hexdigest()


@contextmanager
def onednn_enabled(enabled: bool) -> Iterator[None]:
    """`mkldnn.flags` without its warning about TF32 on builds that have none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with torch.backends.mkldnn.flags(enabled=enabled):
            yield


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_the_same_integers_on_every_backend(prior: LatentPrior) -> None:
    prior.freeze()
    expected = walk(prior)
    for count in (1, 2):
        torch.set_num_threads(count)
        for layout in (torch.contiguous_format, torch.channels_last):
            for onednn in (True, False):
                with onednn_enabled(onednn):
                    assert walk(prior, layout=layout) == expected


def test_float64_and_float32_hold_the_same_integers(prior: LatentPrior) -> None:
    prior.freeze()
    narrow = walk(prior)
    prior.freeze(prior.integers(), wide=True)
    assert walk(prior) == narrow
    dtypes = {m.frozen[0].dtype for m in prior.modules() if isinstance(m, FixedConv2d) and m.frozen}
    assert dtypes == {torch.float64}


def test_against_integer_arithmetic() -> None:
    """The float-held sums equal a plain int64 convolution."""
    torch.manual_seed(1)
    layer = FixedConv2d(7, 5, 3, hidden=False, input_max=CONTEXT_MAX).requires_grad_(False)
    weight, bias = layer.integer_weights()
    layer.freeze(weight, bias)
    x = torch.randint(-(1 << 16), 1 << 16, (1, 7, 6, 8))
    columns = torch.nn.functional.unfold(x.double(), 3, padding=1).long()[0]
    total = weight.long().view(5, -1) @ columns + bias.long()[:, None] + 512
    expected = (total >> 10).view(1, 5, 6, 8)
    limit = 512 * ACTIVATION_ONE
    with exact_arithmetic():
        assert torch.equal(layer(x.double()).long(), expected.clamp(-limit, limit))


def test_an_impossible_bound_is_refused() -> None:
    layer = FixedConv2d(4, 4, hidden=True)
    weight, bias = layer.integer_weights()
    with pytest.raises(OverflowError, match="float64"):
        layer.freeze(weight.double() * 1e12, bias)


def test_integers_follow_the_float_twin(prior: LatentPrior) -> None:
    """Fixed point costs little: means within a few hundredths, indices within one."""
    seen: dict[str, list[Tensor]] = {}
    rng = np.random.default_rng(2)
    z = torch.from_numpy(rng.integers(-3, 4, (1, 6, 3, 4)))
    temporal = torch.from_numpy(rng.integers(-4, 5, (1, 5, *SIZE)))
    symbols = [torch.from_numpy(rng.integers(-2, 3, (1, n, *SIZE))) for n in (4, 4, 8)]

    def run(name: str, unit: int, dtype: torch.dtype) -> None:
        left = list(symbols)
        seen[name] = []

        def code(mean: Tensor, scale: Tensor, mask: Tensor, part: slice) -> Tensor:
            seen[name].append(torch.cat([mean, scale], 1).double() / unit)
            return left.pop(0).to(dtype) * unit * mask

        prior.walk(z.to(dtype) * unit, torch.tensor([40]), temporal.to(dtype) * unit, SIZE, code)

    run("float", 1, torch.float32)
    prior.freeze()
    run("fixed", ACTIVATION_ONE, torch.float64)
    for a, b in zip(seen["float"], seen["fixed"], strict=True):
        assert (a - b).abs().max() < 0.25
        assert (a - b).abs().mean() < 0.05


def test_flags_are_restored() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        with exact_arithmetic():
            assert not torch.is_grad_enabled()
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.is_grad_enabled()
    finally:
        torch.set_float32_matmul_precision("highest")


def test_bits_are_those_of_a_distribution() -> None:
    """Probabilities of all symbols sum to one at every scale."""
    for index in (0, 10, 31, 63):
        reach = int(30 * float(logistic_scale(index))) + 3
        symbols = torch.arange(-reach, reach + 1).double()
        bits = symbol_bits(symbols, torch.full_like(symbols, index))
        assert float((2.0**-bits).sum()) == pytest.approx(1, abs=1e-6)


def test_flags_survive_threads() -> None:
    """Two threads that overlap in any order leave the flags as they were."""
    torch.set_float32_matmul_precision("medium")
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with exact_arithmetic():
            inside.set()
            leave.wait(30)

    try:
        thread = threading.Thread(target=hold)
        with exact_arithmetic():
            thread.start()
            assert inside.wait(30)
        assert torch.get_float32_matmul_precision() == "highest"  # the other one still computes
        leave.set()
        thread.join()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        leave.set()
        torch.set_float32_matmul_precision("highest")
