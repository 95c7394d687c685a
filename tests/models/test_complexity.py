"""What decoding and encoding may cost, counted layer by layer."""

from __future__ import annotations

import torch
from torch import nn

from gancodec.config import CodecConfig
from gancodec.models.complexity import convolution_macs, kmac_per_pixel, part_of


def test_shipped_architecture_stays_cheap() -> None:
    cost = kmac_per_pixel(CodecConfig())
    assert 1 < cost["inter_decoder"] <= 2.5
    assert 5 < cost["intra_decoder"] <= 10
    assert 2 < cost["inter_encoder"] <= 6
    assert set(cost) == {
        "intra_encoder", "intra_decoder", "inter_encoder", "inter_decoder", "detail",
    }  # fmt: skip


def test_one_layer_by_hand() -> None:
    """Only the last convolution of the inter decoder grows: 64 x 96 weights at 1/8, 1x1 to 3x3."""
    small, large = (kmac_per_pixel(CodecConfig(inter_leave=k)) for k in (1, 3))
    grown = {part: large[part] - small[part] for part in small}
    assert abs(grown.pop("inter_decoder") - 64 * 96 * (9 - 1) / 64 / 1000) < 1e-9
    assert not any(grown.values())


def test_groups_and_strides_count() -> None:
    net = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 16, 3, stride=2, padding=1)
    )
    macs = convolution_macs(net, lambda: net(torch.zeros(1, 8, 10, 10)))
    assert macs == {"0": 8 * 9 * 100, "1": 16 * 8 * 9 * 25}
    assert not net[0]._forward_hooks  # the net is left as it was


def test_parts() -> None:
    assert part_of("inter.prior.analysis.down1") == "inter_encoder"
    assert part_of("intra.analysis.enter") == "intra_encoder"
    assert part_of("inter.prior.steps.0.mix") == "inter_decoder"
    assert part_of("intra.synthesis.leave") == "intra_decoder"
    assert part_of("detail.blocks.0.mix_in") == "detail"
