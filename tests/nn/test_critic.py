"""The critic: what it sees, and that it learns to tell real from fake."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from gancodec.nn.critic import PatchCritic
from gancodec.nn.planes import HALF_CHANNELS, Planes, at_half_resolution


def frames(batch: int, seed: int) -> Planes:
    rng = torch.Generator().manual_seed(seed)
    y = torch.rand(batch, 1, 64, 64, generator=rng)
    uv = torch.rand(2, batch, 1, 32, 32, generator=rng)
    return Planes(y, uv[0], uv[1])


def test_every_sample_reaches_the_half_resolution() -> None:
    x = at_half_resolution(frames(1, 0))
    assert x.shape == (1, HALF_CHANNELS, 32, 32)
    assert abs(float(x.mean())) < 0.1
    planes = frames(1, 0)
    planes.y[0, 0, 5, 9] += 1
    assert int((at_half_resolution(planes) != x).sum()) == 1


def test_scores_depend_on_frames_latents_and_their_kind() -> None:
    torch.manual_seed(0)
    critic = PatchCritic(2, {"intra": 12, "inter": 8}, width=8)
    pair = torch.cat([at_half_resolution(frames(2, s)) for s in (0, 1)], 1)
    latents = torch.randn(2, 8, 4, 4)
    score, features = critic(pair, latents, "inter")
    assert score.shape == (2, 1, 8, 8)
    assert [f.shape[1] for f in features] == [8, 16, 32, 32]
    assert not torch.equal(score, critic(pair.flip(0), latents, "inter")[0])
    assert not torch.equal(score, critic(pair, latents + 1, "inter")[0])
    assert critic(pair, torch.randn(2, 12, 4, 4), "intra")[0].shape == score.shape


def test_learns_to_tell_blur_from_the_original() -> None:
    torch.manual_seed(0)
    critic = PatchCritic(1, {"intra": 4}, width=8)
    optimizer = torch.optim.Adam(critic.parameters(), 2e-3)
    latents = torch.zeros(4, 4, 4, 4)
    share = 0.0
    for step in range(60):
        real = frames(4, step)
        fake = Planes(*(F.avg_pool2d(p, 3, 1, 1) for p in real))
        a, _ = critic(at_half_resolution(real), latents, "intra")
        b, _ = critic(at_half_resolution(fake), latents, "intra")
        share = float((a > b).float().mean())
        optimizer.zero_grad()
        F.softplus(b - a).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert share > 0.95


def test_needs_no_condition() -> None:
    """Without latents there is no way in for them, and scores depend on all that is seen."""
    torch.manual_seed(0)
    critic = PatchCritic(2, {}, width=8)
    assert not list(critic.condition.parameters())
    pair = torch.cat([at_half_resolution(frames(2, s)) for s in (0, 1)], 1)
    score, features = critic(pair)
    assert score.shape == (2, 1, 8, 8)
    assert [tuple(f.shape[1:]) for f in features] == [
        (8, 32, 32),
        (16, 16, 16),
        (32, 8, 8),
        (32, 8, 8),
    ]
    for first in (0, HALF_CHANNELS):
        other = pair.clone()
        other[:, first : first + HALF_CHANNELS] += 0.1
        assert not torch.equal(critic(other)[0], score)
    alone, _ = critic(pair[:1])  # samples of a batch do not see one another
    assert torch.allclose(alone, score[:1], atol=1e-6)


def test_a_condition_that_is_not_given_counts_for_nothing() -> None:
    torch.manual_seed(0)
    with_way_in, without = PatchCritic(1, {"intra": 4}, width=8), PatchCritic(1, {}, width=8)
    without.load_state_dict(
        {k: v for k, v in with_way_in.state_dict().items() if not k.startswith("condition.")}
    )
    x = at_half_resolution(frames(1, 3))
    assert torch.equal(with_way_in(x)[0], without(x)[0])
    score, _ = with_way_in(x, torch.ones(1, 4, 4, 4), "intra")
    assert not torch.equal(score, without(x)[0])
