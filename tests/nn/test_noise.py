"""Noise that can be made again: by seed, time and place, and by nothing else."""

from __future__ import annotations

import torch

from gancodec.nn.noise import hashed_noise


def noise(
    seed: int, time: int, channels: int = 4, size: tuple[int, int] = (48, 64)
) -> torch.Tensor:
    return hashed_noise(torch.tensor([seed]), torch.tensor([time]), channels, size)


def test_is_white_and_of_deviation_one() -> None:
    x = noise(0, 7)
    assert abs(float(x.mean())) < 0.05
    assert abs(float(x.std()) - 1) < 0.03
    assert float(x.abs().max()) <= 3**0.5
    assert int(x.unique().numel()) > 0.99 * x.numel()
    for shift in ((0, 1), (1, 0), (1, 1)):
        moved = x.roll(shift, (2, 3))
        assert abs(float((x * moved).mean())) < 0.05
    assert abs(float((x[:, 0] * x[:, 1]).mean())) < 0.06


def test_a_place_depends_on_itself_only() -> None:
    """A crop, fewer channels and a batch give the same values."""
    whole = noise(3, 5)
    assert torch.equal(noise(3, 5, 2, (16, 20)), whole[:, :2, :16, :20])
    both = hashed_noise(torch.tensor([3, 4]), torch.tensor([5, 5]), 4, (48, 64))
    assert torch.equal(both[:1], whole)
    assert torch.equal(both[1:], noise(4, 5))


def test_seeds_and_times_differ() -> None:
    takes = [noise(s, t) for s in (0, 1, 2**31) for t in (0, 1, 90_000, 2**31 + 1, -1)]
    for k, a in enumerate(takes):
        for b in takes[:k]:
            assert abs(float((a * b).mean())) < 0.05


def test_values_are_those_for_ever() -> None:
    """A change here would change what every file looks like."""
    x = noise(1, 2, 1, (1, 3)).flatten()
    assert torch.allclose(x, torch.tensor(EXPECTED), atol=1e-6), x.tolist()


EXPECTED = [-0.713853, -0.131651, -1.488368]
