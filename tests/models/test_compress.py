"""What inter frames lean on: the latents before, moved with the blocks."""

from __future__ import annotations

import numpy as np
import torch

from gancodec.models.compress import MOTION_CHANNELS, core, motion_context, temporal_context


def test_latents_come_from_where_the_block_came_from() -> None:
    latents = torch.arange(2 * 4 * 6).view(1, 2, 4, 6)
    field = torch.zeros(1, 2, 8, 12)
    field[:, 0], field[:, 1] = 128, -64  # two blocks right, one up
    out = temporal_context(latents, field, moving=True)
    assert torch.equal(out[:, :2, 1:, :-2], latents[..., :-1, 2:])
    assert torch.equal(out[:, :2, 0, :-2], latents[..., 0, 2:])  # clamped to the grid
    assert torch.equal(out[:, :2, 1:, -1], latents[..., :-1, -1])
    assert torch.equal(out[:, 2:], motion_context(field).long())
    assert out.shape[1] == 2 + MOTION_CHANNELS
    still = temporal_context(latents, field, moving=False)
    assert torch.equal(still[:, :2], latents)


def test_vectors_round_to_whole_blocks_as_the_format_says() -> None:
    """floor((v + 32) / 64) of the first of a block's four vectors, also below zero."""
    latents = torch.arange(9).view(1, 1, 1, 9)
    for x in (-97, -96, -33, -32, -31, 0, 31, 32, 95, 96):
        field = torch.full((1, 2, 2, 18), 200.0)  # the other vectors do not matter
        field[:, :, ::2, ::2] = torch.tensor([x, 0.0]).view(1, 2, 1, 1)
        out = temporal_context(latents, field, moving=True)
        assert int(out[0, 0, 0, 4]) == 4 + int(np.floor((x + 32) / 64))


def test_coring_drops_what_is_small_and_keeps_what_is_large() -> None:
    x = torch.tensor([-3.0, -2.0, -1.5, -1.0, -0.2, 0.0, 0.9, 1.25, 2.0, 7.0])
    expected = torch.tensor([-3.0, -2.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 2.0, 7.0])
    assert torch.allclose(core(x, 1.0), expected)
    assert core(x, 0.0) is x
