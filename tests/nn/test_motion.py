"""Block motion: the search finds real displacement, the warp reproduces it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gancodec.nn.motion import (
    MOTION_LIMIT,
    Displacement,
    QuarterSamples,
    double_resolution,
    search_motion,
    warp,
)
from gancodec.nn.planes import Planes, pack, round_to_8_bit, unpack


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth random luma in 0..255."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, height // 6 + 4, width // 6 + 4, generator=rng)
    fine = F.interpolate(coarse, scale_factor=6, mode="bicubic")[..., :height, :width]
    return (fine * 255).clamp(0, 255)


def planes_of(luma: Tensor) -> Planes:
    chroma = F.avg_pool2d(luma, 2) / 255
    return Planes(luma / 255, chroma, 1 - chroma)


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (3, -5), (-17, 12), (0, 30)])
def test_a_shift_is_found(dy: int, dx: int) -> None:
    big = texture(160, 176)
    reference = big[..., 40:104, 40:120]
    current = big[..., 40 + dy : 104 + dy, 40 + dx : 120 + dx]
    field = search_motion(current, reference)
    inside = field[:, :, 2:-2, 2:-2]  # blocks whose reference is mostly in the picture
    expected = torch.tensor([4 * dx, 4 * dy]).view(1, 2, 1, 1)
    assert ((inside - expected).abs().amax(1) <= 1).float().mean() > (0.5 if dx == 30 else 0.7)


def test_quarter_samples_beat_whole_ones() -> None:
    wide = texture(256, 256, 3)
    reference = F.avg_pool2d(wide, 2)[..., 8:104, 8:104]
    current = F.avg_pool2d(wide.roll((-1, -1), (2, 3)), 2)[..., 8:104, 8:104]  # half a sample

    def error(field: Tensor) -> float:
        return float((warp(planes_of(reference), field).y * 255 - current).square().mean())

    still = torch.zeros(1, 2, 12, 12)
    assert error(search_motion(current, reference)) < 0.2 * error(still)


def test_splitting_pays_at_object_borders() -> None:
    background, object_ = texture(96, 96, 1), texture(96, 96, 2)
    reference, current = background.clone(), background.clone()
    reference[..., 40:64, 40:64] = object_[..., :24, :24]
    current[..., 40:64, 46:70] = object_[..., :24, :24]

    def error(**options: bool) -> float:
        field = search_motion(current, reference, **options)
        return float((warp(planes_of(reference), field).y * 255 - current).abs().mean())

    assert error(split=True) < error(split=False)


def test_warp_with_no_motion_is_the_identity() -> None:
    planes = planes_of(texture(48, 80))
    out = warp(planes, torch.zeros(1, 2, 6, 10))
    for a, b in zip(planes, out, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_whole_vectors_copy_samples() -> None:
    planes = planes_of(texture(64, 64))
    field = torch.zeros(1, 2, 8, 8)
    field[:, 0], field[:, 1] = 8, -16  # two to the right, four up
    out = warp(planes, field)
    assert torch.allclose(out.y[..., 8:56, 8:56], planes.y[..., 4:52, 10:58], atol=1e-5)
    assert torch.allclose(out.u[..., 4:28, 4:28], planes.u[..., 2:26, 5:29], atol=1e-5)


def test_vectors_stay_within_the_limit() -> None:
    a, b = texture(64, 64, 4), texture(64, 64, 5)
    field = search_motion(a, b, penalty=0.0, radius=14)
    assert field.abs().max() <= MOTION_LIMIT
    assert field.dtype == torch.int64


def test_half_samples_lie_between() -> None:
    ramp = torch.arange(16.0).view(1, 1, 1, 16).expand(1, 1, 4, 16)
    fine = double_resolution(ramp)
    assert fine.shape == (1, 1, 8, 32)
    assert torch.allclose(fine[0, 0, 0, 6:24:2], torch.arange(3.0, 12.0))
    assert torch.allclose(fine[0, 0, 0, 7:24:2], torch.arange(3.5, 12.5), atol=1e-5)


def test_packing_is_lossless() -> None:
    rng = np.random.default_rng(0)

    def plane(h: int, w: int) -> Tensor:
        return torch.from_numpy(rng.integers(0, 256, (2, 1, h, w)) / 255).float()

    planes = Planes(plane(32, 48), plane(16, 24), plane(16, 24))
    packed = pack(planes)
    assert packed.shape == (2, 96, 4, 6)
    assert packed.abs().max() <= 0.5
    for a, b in zip(planes, round_to_8_bit(unpack(packed)), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_overlap_changes_nothing_where_neighbours_agree() -> None:
    planes = planes_of(texture(64, 64))
    field = torch.zeros(1, 2, 8, 8)
    field[:, 0], field[:, 1] = 5, -11
    for a, b in zip(warp(planes, field), warp(planes, field, overlap=False), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_overlap_fades_from_one_block_to_the_next() -> None:
    """A ramp of one grey a sample shows the vector that each sample was predicted with."""
    ramp = torch.arange(64.0).view(1, 1, 1, 64).expand(1, 1, 32, 64) / 255
    planes = Planes(ramp, ramp[..., ::2, ::2], ramp[..., ::2, ::2])
    field = torch.zeros(1, 2, 4, 8)
    field[:, 0, :, 4:] = 32  # eight samples; the left half stays
    shift = (warp(planes, field).y - ramp)[0, 0, 16] * 255
    assert torch.allclose(shift[:28], torch.zeros(28), atol=1e-3)
    expected = 8 * (torch.arange(8) + 0.5) / 8  # from centre to centre
    assert torch.allclose(shift[28:36], expected, atol=1e-3)
    assert torch.allclose(shift[36:52], torch.full((16,), 8.0), atol=1e-3)
    hard = (warp(planes, field, overlap=False).y - ramp)[0, 0, 16] * 255
    assert torch.allclose(hard[:52], torch.tensor([0.0] * 32 + [8.0] * 20), atol=1e-3)


def test_half_samples_are_those_of_the_six_taps() -> None:
    x = texture(24, 40, 5)
    taps = torch.tensor([1.0, -5.0, 20.0, 20.0, -5.0, 1.0]) / 32
    fine = double_resolution(x)
    assert torch.equal(fine[..., ::2, ::2], x)
    across = F.conv2d(F.pad(x, (2, 3, 0, 0), mode="replicate"), taps.view(1, 1, 1, 6))
    assert torch.allclose(fine[..., ::2, 1::2], across, atol=1e-3)
    down = F.conv2d(F.pad(x, (0, 0, 2, 3), mode="replicate"), taps.view(1, 1, 6, 1))
    assert torch.allclose(fine[..., 1::2, ::2], down, atol=1e-3)


def test_the_search_sees_what_the_warp_will_give() -> None:
    """Inside the picture, where vectors agree, the search's samples are the prediction."""
    luma = texture(64, 80, 6)
    samples = QuarterSamples(luma, 40)
    for vector in ((0, 0), (5, -3), (-7, 2), (40, -40), (1, 39)):
        field = torch.tensor(vector).view(1, 2, 1, 1).expand(1, 2, 8, 10)
        moved = warp(planes_of(luma), field).y * 255
        assert samples.differences(field, moved)[:, 2:-2, 2:-2].max() < 64 * 0.01


def test_one_displacement_serves_pictures_and_gradients() -> None:
    """What decoding has cached must not keep training from its gradients."""
    planes = planes_of(texture(32, 48, 7))
    field = torch.randint(-9, 9, (1, 2, 4, 6))
    with torch.inference_mode():
        moved = Displacement(field)
        shown = warp(planes, moved)
    luma = planes.y.clone().requires_grad_()
    again = warp(planes._replace(y=luma), field)
    assert torch.equal(again.y.detach(), shown.y)
    again.y.sum().backward()  # type: ignore[no-untyped-call]
    assert luma.grad is not None
    assert float(luma.grad.sum()) == pytest.approx(luma.numel(), rel=1e-4)
