"""onnxruntime beside torch: the same symbols, pictures within a level, torch where it must be."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gancodec import engine
from gancodec.codec import Decoder, Encoder
from gancodec.config import EncodeOptions
from gancodec.engine import check_engine, nets_in_onnx, with_onnx
from gancodec.errors import UsageError
from gancodec.models.compress import GanCodec
from gancodec.models.onnx_nets import NETS, example_inputs, in_torch
from gancodec.registry import Model, load_model, running_in_onnx
from gancodec.types import FrameBatch, Packet
from gancodec.video.synth import clip_info, moving_texture

Make = Callable[..., Model]


@pytest.fixture(scope="module")
def calm(make_small: Make) -> Model:
    """Small nets whose reference does not blow rounding up from frame to frame."""
    return make_small(spread=0.05, widest=2)


@pytest.fixture(scope="module")
def batch() -> FrameBatch:
    return moving_texture(70, 50, 4)  # no multiple of a block


def coded(model: Model, batch: FrameBatch, **options: Any) -> list[Packet]:
    wanted = EncodeOptions(**{"quality": 30, "preset": "fast", "scene_cuts": False, **options})
    return list(Encoder(clip_info(batch), wanted, model=model).encode(batch))


def shown(model: Model, batch: FrameBatch, packets: list[Packet], realism: float) -> FrameBatch:
    """The pictures of packets, whose symbols are compared with those that were coded."""
    decoder = Decoder(clip_info(batch), model, realism=realism)
    found = []
    for packet in packets:
        found.append(decoder.decode(packet.kind, packet.pts, packet.data))
        assert decoder.symbol_hash == packet.symbol_hash
    return FrameBatch.concatenate(found)


def levels_apart(a: FrameBatch, b: FrameBatch) -> int:
    pairs = ((a.y, b.y), (a.u, b.u), (a.v, b.v))
    return max(int(np.abs(one.astype(int) - other).max()) for one, other in pairs)


# ── The nets ─────────────────────────────────────────────────────────────────────────────────


def assert_nets_agree(nets: GanCodec, names: tuple[str, ...] = NETS) -> None:
    for name in names:
        session = engine._session_of(nets, name)
        for size in ((32, 48), (64, 16)):  # one session for every size
            given = example_inputs(session.inputs, *size)
            with torch.inference_mode():
                expected, found = in_torch(nets, name, given), session.run(given.values())
            assert len(found) == len(expected)
            for one, other in zip(expected, found, strict=True):
                assert one.shape == other.shape
                assert one.abs().max() > 1e-3, "nothing to compare"
                assert (one - other).abs().max() < 1e-4, name


def test_every_net_of_fresh_weights(small: Model) -> None:
    assert_nets_agree(small.nets)


def test_nets_of_the_shipped_weights() -> None:
    assert_nets_agree(load_model(EncodeOptions().model).nets, ("inter.synthesis", "detail.inter"))


def test_architectures_of_older_weights(small: Model) -> None:
    """A head that neither remembers nor hears noise, and wider last convolutions."""
    config = dataclasses.replace(
        small.nets.config,
        inter_leave=3, synthesis_leave=3, synthesis_memory=False, synthesis_noise=0,
    )  # fmt: skip
    torch.manual_seed(5)
    nets = GanCodec(config)
    for parameter in nets.parameters():
        if parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=0.1)
    assert_nets_agree(nets, ("inter.synthesis", "detail.intra", "detail.inter"))


# ── A codec with them ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("realism", [0.0, 1.0])
def test_decoder(calm: Model, batch: FrameBatch, realism: float) -> None:
    packets = coded(calm, batch)
    expected = shown(calm, batch, packets, realism)
    assert levels_apart(expected, shown(running_in_onnx(calm), batch, packets, realism)) <= 1


@pytest.mark.parametrize("preset", ["fast", "slow"])
def test_encoder(calm: Model, batch: FrameBatch, preset: str) -> None:
    """What it codes any decoder takes; the patient one has its gradients from torch."""
    other = running_in_onnx(calm)
    packets = coded(other, batch, preset=preset)
    assert [p.data for p in coded(other, batch, preset=preset)] == [p.data for p in packets]
    assert levels_apart(shown(calm, batch, packets, 0), shown(other, batch, packets, 0)) <= 1


def test_what_picks_tables_stays_and_the_original_too(make_small: Make) -> None:
    nets = make_small().nets
    before = {name: dict(vars(module)) for name, module in nets.named_modules()}
    other = with_onnx(nets, ("inter.synthesis",))
    assert other.inter.prior is nets.inter.prior
    assert other.intra.prior is nets.intra.prior
    assert other.inter.analysis is nets.inter.analysis
    assert "forward" in vars(other.inter.synthesis)
    for name, module in nets.named_modules():
        assert vars(module) == before[name]
    assert running_in_onnx(Model("none", nets, None, ()), ()).nets is nets  # type: ignore[arg-type]


def test_a_head_with_nothing_to_remember_is_left_to_torch(small: Model) -> None:
    given = example_inputs(engine._session_of(small.nets, "detail.inter").inputs, 32, 32)
    inputs = given["picture"], given["features"], given["quality"]
    with torch.inference_mode():
        expected = small.nets.detail(*inputs, intra=False)
        assert torch.equal(with_onnx(small.nets).detail(*inputs, intra=False), expected)


def test_threads_share_a_model(calm: Model, make_small: Make, batch: FrameBatch) -> None:
    packets = coded(calm, batch)
    expected = shown(running_in_onnx(calm), batch, packets, 1.0)
    fresh = make_small(spread=0.05, widest=2)  # whose sessions nobody has made yet
    gate, found = threading.Barrier(4), []

    def work() -> None:
        gate.wait(60)
        found.append(shown(running_in_onnx(fresh), batch, packets, 1.0))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [levels_apart(expected, pictures) for pictures in found] == [0] * 4
    assert len(engine._sessions[fresh.nets]) == 4


# ── The choice ───────────────────────────────────────────────────────────────────────────────


def test_auto_takes_what_is_clearly_faster(
    make_small: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def seconds(nets: GanCodec, name: str, size: tuple[int, int]) -> tuple[float, float]:
        asked.append(name)
        return 1.0, 0.9 if name == "detail.inter" else 0.96

    monkeypatch.setattr(engine, "_seconds_of", seconds)
    nets, size = make_small().nets, (50, 70)
    for _ in range(2):
        assert nets_in_onnx("auto", nets, size, frames=None, realism=1) == ("detail.inter",)
    assert asked == ["inter.synthesis", "detail.inter"], "measured once in a process"
    assert nets_in_onnx("auto", nets, size, frames=1000, realism=0) == ()
    assert len(asked) == 2
    assert nets_in_onnx("auto", nets, size, frames=100, realism=1) == ()
    assert nets_in_onnx("auto", nets, size, frames=None, device="cuda:1") == ()
    assert nets_in_onnx("torch", nets, size, frames=None, realism=1) == ()
    assert nets_in_onnx("onnx", nets, size, frames=1) == NETS


def test_auto_measures(small: Model) -> None:
    seconds = engine._seconds_of(small.nets, "inter.synthesis", (50, 70))
    assert all(0 < one < 60 for one in seconds)


@pytest.mark.parametrize(
    ("name", "device", "complaint"),
    [
        ("tensorrt", "cpu", "engine is torch, onnx or auto, got 'tensorrt'"),
        ("onnx", "cuda:1", "engine onnx works on the CPU alone: use engine torch on cuda:1"),
    ],
)
def test_what_cannot_be_had(name: str, device: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        check_engine(name, device)


def test_without_onnxruntime(small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # importing it fails
    with pytest.raises(UsageError, match=r"pip install 'gancodec\[fast\]'"):
        check_engine("onnx")
    assert check_engine("auto") == "auto"
    assert nets_in_onnx("auto", small.nets, (64, 64), frames=None) == ()
    with pytest.raises(UsageError, match="needs the package onnxruntime"):
        load_model(EncodeOptions().model, engine="onnx")


def test_models_are_loaded_for_an_engine() -> None:
    name = EncodeOptions().model
    assert load_model(name, engine="torch") is load_model(name)
    other = load_model(name, engine="onnx")
    assert other.nets is not load_model(name).nets
    assert other.references == load_model(name).references
    with pytest.raises(UsageError, match="engine auto needs a clip"):
        load_model(name, engine="auto")
