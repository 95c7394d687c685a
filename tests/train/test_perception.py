"""The perceptual loss: the metric of the evaluation, with gradients that stay finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gancodec.eval.stlpips import st_lpips
from gancodec.nn.planes import Planes
from gancodec.train.perception import Perception, random_view, rgb_of
from gancodec.types import Color
from gancodec.video.color import yuv420_to_rgb
from gancodec.video.synth import moving_texture


@pytest.fixture(scope="module")
def eye() -> Perception:
    return Perception()


def planes(frame: int) -> Planes:
    batch = moving_texture(96, 64, 2, seed=3)
    y, u, v = (
        torch.from_numpy(p[frame].astype(np.float32) / 255)[None, None]
        for p in (batch.y, batch.u, batch.v)
    )
    return Planes(y, u, v)


def picture(x: Planes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    rgb = ((rgb_of(x)[0] + 1) * 127.5).round().clamp(0, 255)
    return rgb.permute(1, 2, 0).to(torch.uint8).numpy()


def test_colours_are_those_of_the_reader() -> None:
    batch = moving_texture(96, 64, 1, seed=3)
    expected = yuv420_to_rgb(batch, Color(matrix=1))[0].astype(int)
    shown = picture(planes(0)).astype(int)
    inside = np.abs(shown - expected)[4:-4, 4:-4]  # chroma lies half a sample to the side
    assert inside.mean() < 2


def test_the_distance_is_the_metric(eye: Perception) -> None:
    a, b = planes(0), planes(1)
    assert float(eye.distance(a, a)) == pytest.approx(0, abs=1e-6)
    expected = st_lpips("alex", picture(b), picture(a))
    assert float(eye.distance(a, b)) == pytest.approx(expected, rel=0.05)


def test_flat_pictures_have_finite_gradients(eye: Perception) -> None:
    flat = Planes(*(torch.full_like(p, 0.5) for p in planes(0)))
    y = flat.y.clone().requires_grad_()
    eye.distance(Planes(y, flat.u, flat.v), planes(0)).sum().backward()  # type: ignore[no-untyped-call]
    assert y.grad is not None
    assert y.grad.isfinite().all()
    assert y.grad.abs().max() > 0


def test_a_step_down_the_gradient_looks_better(eye: Perception) -> None:
    source = planes(0)
    torch.manual_seed(0)
    noisy = Planes(source.y + 0.05 * torch.randn(source.y.shape), source.u, source.v)
    y = noisy.y.clone().requires_grad_()
    before = eye.distance(Planes(y, source.u, source.v), source)
    (slope,) = torch.autograd.grad(before.sum(), y)
    moved = Planes(y.detach() - 0.02 * slope / slope.abs().max(), source.u, source.v)
    assert float(eye.distance(moved, source)) < float(before.detach())


def test_views_show_the_same_place_of_all_pictures() -> None:
    """Whatever the view, planes fit one another and a difference stays where it is."""
    a, b = planes(0), planes(1)
    sizes = set()
    for seed in range(40):
        one, other, again = random_view([a, b, a], np.random.default_rng(seed))
        assert all(torch.equal(p, q) for p, q in zip(one, again, strict=True))
        assert rgb_of(one).shape == rgb_of(other).shape
        assert float((one.y - other.y).abs().mean()) > 0
        assert max(one.y.shape[-2:]) in range(70, 98)  # as dear as the picture, or cheaper
        sizes.add(tuple(one.y.shape[-2:]))
    assert len(sizes) >= 4, sizes
