"""Presets: all decode, patience saves bytes, and who has no x264 searches without."""

from __future__ import annotations

import numpy as np
import pytest

from gancodec import effort
from gancodec.codec import Decoder, Encoder
from gancodec.config import TUNED, EncodeOptions, Preset
from gancodec.registry import load_model
from gancodec.types import FrameBatch, Packet
from gancodec.video import synth

FAITHFUL = TUNED["fidelity"]  # costs are of squared error, so they are judged with weights for it


def packets_of(batch: FrameBatch, preset: Preset, model: str = FAITHFUL) -> list[Packet]:
    options = EncodeOptions(quality=25, preset=preset, model=model)
    return list(Encoder(synth.clip_info(batch), options).encode(batch))


def cost_of(batch: FrameBatch, packets: list[Packet], model: str = FAITHFUL) -> float:
    """Bytes of the inter frames, at the squared error that the last picture has."""
    decoder = Decoder(synth.clip_info(batch), load_model(model), realism=0)
    for p in packets:
        shown = decoder.decode(p.kind, p.pts, p.data)
        assert decoder.symbol_hash == p.symbol_hash
    error = np.square(shown.y.astype(float) - batch.y[-1:]).mean()
    return float(sum(len(p.data) for p in packets[1:]) * error)


@pytest.mark.parametrize("model", TUNED.values())
@pytest.mark.parametrize("borrowing", [True, False])
def test_every_preset_decodes(borrowing: bool, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not borrowing:
        monkeypatch.setattr(effort, "has_x264", lambda: False)
    batch = synth.moving_texture(160, 96, 4, seed=8)
    costs = [cost_of(batch, packets_of(batch, p, model), model) for p in effort.EFFORTS]
    assert len(set(costs)) == 3
    if model == FAITHFUL:
        assert max(costs) < 2 * min(costs)


def test_borrowed_vectors_are_as_good_as_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = synth.moving_texture(160, 96, 5, seed=8)
    borrowed = cost_of(batch, packets_of(batch, "medium"))
    monkeypatch.setattr(effort, "has_x264", lambda: False)
    own = cost_of(batch, packets_of(batch, "medium"))
    assert borrowed != own
    assert borrowed < 1.1 * own
