"""The patient encoder: cheaper latents for the same decoder, the same bytes every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gancodec.codec import SKIP_BELOW, Decoder, Encoder, code_latents
from gancodec.config import TUNED, EncodeOptions
from gancodec.nn.fixed import ACTIVATION_ONE
from gancodec.nn.planes import planes_of
from gancodec.refine import Latents, Refiner, refined
from gancodec.registry import INTRA_TABLES, Model, load_model
from gancodec.types import FrameBatch, Packet
from gancodec.video import synth

WIDTH, HEIGHT = 64, 48


def pan(frames: int) -> FrameBatch:
    return synth.noisy_pan(WIDTH, HEIGHT, frames, seed=5)


def encoder_of(model: Model, batch: FrameBatch, preset: Any = "slow") -> Encoder:
    options = EncodeOptions(preset=preset, scene_cuts=False)
    return Encoder(synth.clip_info(batch), options, model=model)


def encode(model: Model, batch: FrameBatch, preset: Any = "slow") -> list[Packet]:
    return list(encoder_of(model, batch, preset).encode(batch))


def cost_of_coding(model: Model, wanted: Latents, level: int) -> float:
    """Bits by the coder's tables plus weighted error of an intra frame that is really coded."""
    bits, tables = 0.0, model.tables

    def code(values: Any, index: Any) -> Any:
        nonlocal bits
        for value, k in zip(np.ravel(values), np.ravel(index), strict=True):
            place = int(value) - int(tables.offsets[k])
            frequency = tables.frequencies[k]
            known = 0 <= place < len(frequency) - 1
            bits += 16 - float(np.log2(frequency[place if known else -1]))
        return values

    quality = torch.tensor([level])
    with torch.inference_mode():
        size = (HEIGHT // 16, WIDTH // 16)
        net = model.nets.intra
        y_hat = code_latents(net, INTRA_TABLES, wanted, quality, None, size, code)
        problem = Refiner(model, SKIP_BELOW).problem(net, first_picture(), quality)
        packed = problem.synthesise((y_hat / ACTIVATION_ONE).float())
        return bits + float(problem.priced_error(packed))


def first_picture() -> Any:
    return planes_of(pan(1), 0, torch.device("cpu"))


@pytest.mark.parametrize("level", [12, 45])
def test_real_cost_falls_and_is_what_the_problem_says(level: int) -> None:
    model = load_model(TUNED["fidelity"])
    quality = torch.tensor([level])
    problem = Refiner(model, SKIP_BELOW).problem(model.nets.intra, first_picture(), quality)
    y = model.nets.intra.analyse(problem.packed, quality)
    first = cost_of_coding(model, Latents(y, None, problem.rounding), level)
    better = Latents(*problem.solve(y), problem.rounding)
    real = cost_of_coding(model, better, level)
    assert real < 0.98 * first
    assert better.y is not None
    assert better.z is not None
    told = float(problem.cost(better.y, better.z).total)
    assert abs(told - real) < 0.01 * real


def test_never_worse_even_where_steps_overshoot(
    small: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gancodec.refine.STRIDE", 50.0)
    quality = torch.tensor([30])
    problem = Refiner(small, SKIP_BELOW).problem(small.nets.intra, first_picture(), quality)
    y = small.nets.intra.analyse(problem.packed, quality)
    first = problem.cost(y, problem.twin.analysis(y)).total
    assert float(problem.cost(*problem.solve(y)).total) <= float(first)


def test_decoder_shows_the_encoders_pictures(small: Model) -> None:
    batch = pan(4)
    encoder, decoder = encoder_of(small, batch), Decoder(synth.clip_info(batch), small, realism=0)
    for k in range(4):
        (packet,) = encoder.encode(batch[k : k + 1])
        shown = decoder.decode(packet.kind, packet.pts, packet.data)
        assert decoder.symbol_hash == packet.symbol_hash
        assert encoder._loop.reference is not None
        reference = (encoder._loop.reference.y[0, 0] * 255).round().numpy()
        assert np.array_equal(shown.y[0], reference)


def test_same_bytes_twice_and_no_random_number_drawn(small: Model) -> None:
    batch = pan(3)
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    first = encode(small, batch)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(12)
    assert [p.data for p in encode(small, batch)] == [p.data for p in first]


def test_only_the_slow_preset_refines(small: Model) -> None:
    batch = pan(2)
    assert encoder_of(small, batch, "medium")._loop.refiner is None
    sizes = {p: [x.data for x in encode(small, batch, p)] for p in ("medium", "slow")}
    assert sizes["medium"] != sizes["slow"]
    y = torch.randn(1, 12, 3, 4)
    assert refined(None, small.nets.intra, first_picture(), y, torch.tensor([3])) == Latents(y)


def test_the_model_is_left_as_it_was(small: Model) -> None:
    before = {n: p.clone() for n, p in small.nets.named_parameters()}
    encode(small, pan(2))
    for name, parameter in small.nets.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None
        assert not parameter.requires_grad
    assert small.nets.intra.prior.frozen_tables is not None
