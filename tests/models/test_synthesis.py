"""The head: nothing when fresh, reproducible, and steady where its memory is."""

from __future__ import annotations

import dataclasses

import torch

from gancodec.config import CodecConfig
from gancodec.models.complexity import kmac_per_pixel
from gancodec.models.synthesis import DetailSynthesis, move_detail
from gancodec.nn.motion import Displacement

SMALL = CodecConfig(synthesis_width=16, synthesis_depth=1)


def head_of(config: CodecConfig = SMALL, *, random: bool = True) -> DetailSynthesis:
    torch.manual_seed(0)
    head = DetailSynthesis(config)
    if random:
        for p in head.parameters():
            if p.ndim == 4:
                torch.nn.init.normal_(p, std=0.1)
    return head


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    quality = torch.tensor([20])
    return torch.randn(1, 96, 6, 8), torch.randn(1, SMALL.inter_decoder_width, 6, 8), quality


@torch.no_grad()
def test_a_fresh_head_shows_the_picture_as_it_is() -> None:
    packed, features, quality = inputs()
    detail = head_of(random=False)(packed, features, quality, intra=False, before=packed)
    assert not detail.any()


@torch.no_grad()
def test_the_same_seed_and_time_give_the_same_detail() -> None:
    packed, features, quality = inputs()
    head = head_of()

    def at(seed: int, time: int) -> torch.Tensor:
        detail: torch.Tensor = head(
            packed,
            features,
            quality,
            intra=False,
            seed=torch.tensor([seed]),
            time=torch.tensor([time]),
        )
        return detail

    assert torch.equal(at(0, 3), at(0, 3))
    assert torch.equal(at(0, 0), head(packed, features, quality, intra=False))
    assert not torch.equal(at(0, 3), at(0, 4))
    assert not torch.equal(at(0, 3), at(1, 3))


@torch.no_grad()
def test_what_was_shown_before_counts() -> None:
    packed, features, quality = inputs()
    head = head_of()
    alone = head(packed, features, quality, intra=False)
    assert not torch.equal(alone, head(packed, features, quality, intra=False, before=packed))
    old = dataclasses.replace(SMALL, synthesis_memory=False, synthesis_noise=0, synthesis_leave=3)
    plain = head_of(old)  # the heads of base.v1 to base.v3
    assert torch.equal(
        plain(packed, features, quality, intra=False),
        plain(packed, features, quality, intra=False, before=packed, time=torch.tensor([9])),
    )


def test_detail_moves_with_the_blocks() -> None:
    torch.manual_seed(2)
    detail = torch.randn(1, 96, 6, 8)
    still = torch.zeros(1, 2, 6, 8)
    assert torch.allclose(move_detail(detail, Displacement(still)), detail, atol=1e-4)
    right = still.clone()
    right[:, 0] = 32  # quarter samples: a block of eight
    moved = move_detail(detail, Displacement(right))
    assert torch.allclose(moved[..., :-1], detail[..., 1:], atol=1e-4)


def test_costs_what_a_decoder_can_afford() -> None:
    assert kmac_per_pixel(CodecConfig())["detail"] <= 3.5
