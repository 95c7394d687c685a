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


def packets_of(batch: FrameBatch, preset: Preset) -> list[Packet]:
    options = EncodeOptions(quality=25, preset=preset, model=TUNED["fidelity"])  # judged by error
    return list(Encoder(synth.clip_info(batch), options).encode(batch))


def cost_of(batch: FrameBatch, packets: list[Packet]) -> float:
    """Bytes of the inter frames, at the squared error that the last picture has."""
    decoder = Decoder(synth.clip_info(batch), load_model(TUNED["fidelity"]), realism=0)
    for p in packets:
        shown = decoder.decode(p.kind, p.pts, p.data)
        assert decoder.symbol_hash == p.symbol_hash
    error = np.square(shown.y.astype(float) - batch.y[-1:]).mean()
    return float(sum(len(p.data) for p in packets[1:]) * error)


@pytest.mark.parametrize("borrowing", [True, False])
def test_every_preset_decodes(borrowing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not borrowing:
        monkeypatch.setattr(effort, "has_x264", lambda: False)
    batch = synth.moving_texture(160, 96, 4, seed=8)
    costs = {preset: cost_of(batch, packets_of(batch, preset)) for preset in effort.EFFORTS}
    assert len(set(costs.values())) == 3
    assert max(costs.values()) < 2 * min(costs.values())


def test_borrowed_vectors_are_as_good_as_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = synth.moving_texture(160, 96, 5, seed=8)
    borrowed = cost_of(batch, packets_of(batch, "medium"))
    monkeypatch.setattr(effort, "has_x264", lambda: False)
    own = cost_of(batch, packets_of(batch, "medium"))
    assert borrowed != own
    assert borrowed < 1.1 * own
