"""What blurred a frame: signs of it, and light put back where it came from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve
from torch import Tensor
from torch.nn import functional as F

from gancodec.models.blur import (
    KERNEL,
    KernelNet,
    blur_signs,
    from_light,
    richardson_lucy,
    to_light,
    undo,
)
from gancodec.video.synth import moving_texture

REACH = KERNEL // 2


def textures(count: int, side: int = 96) -> Tensor:
    """(1, count, side, side) of one moving texture."""
    return torch.from_numpy(moving_texture(side, side, count, 5, (0, 0)).y)[None].float()


def line(length: int, *, across: bool = True) -> Tensor:
    """(1, 25, 25): a motion of so many samples."""
    kernel = torch.zeros(1, KERNEL, KERNEL)
    kernel[0, REACH, REACH - length // 2 : REACH + length // 2 + 1] = 1
    kernel = kernel if across else kernel.transpose(1, 2)
    return kernel / kernel.sum()


def blurred(luma: Tensor, kernel: Tensor) -> Tensor:
    light = to_light(luma).transpose(0, 1)
    wide = F.pad(light, (REACH,) * 4, mode="reflect")
    return from_light(F.conv2d(wide, kernel.flip(1, 2)[:, None])).transpose(0, 1)


def test_light_and_luma_are_each_others_inverse() -> None:
    luma = torch.arange(16, 236).float()
    assert torch.allclose(from_light(to_light(luma)), luma, atol=1e-3)
    assert float(to_light(torch.tensor(16.0))) == 0
    assert float(to_light(torch.tensor(235.0))) == pytest.approx(1)


def test_a_spike_for_a_kernel_changes_nothing() -> None:
    luma = textures(1).clamp(20, 230)
    kernel = torch.zeros(1, KERNEL, KERNEL)
    kernel[0, REACH, REACH] = 1
    out = richardson_lucy(luma, kernel)
    assert out.shape == (1, 2, 96, 96)
    assert (out - luma).abs().max() < 0.2


@pytest.mark.parametrize("across", [True, False])
def test_known_blur_is_undone(across: bool) -> None:
    """Most of it after four rounds, more after eight; the kernel turned by a right angle fails."""
    luma = textures(1).clamp(20, 230)
    kernel = line(7, across=across)
    taken = blurred(luma, kernel)
    inside = (..., slice(16, -16), slice(16, -16))

    def apart(x: Tensor) -> float:
        return float((x - luma)[inside].square().mean())

    four, eight = richardson_lucy(taken, kernel)[0]
    assert apart(four) < 0.5 * apart(taken)
    assert apart(eight) < 0.8 * apart(four)
    wrong = richardson_lucy(taken, kernel.transpose(1, 2))[0, 1]
    assert apart(wrong) > apart(taken)


def test_a_kernel_is_of_where_light_went() -> None:
    """A spot that a kernel moved two to the right and one down goes back."""
    spot = torch.full((1, 1, 48, 48), 40.0)
    spot[..., 20:24, 20:24] = 200
    kernel = torch.zeros(1, KERNEL, KERNEL)
    kernel[0, REACH + 1, REACH + 2] = 1
    taken = spot.roll((1, 2), (-2, -1))
    out = richardson_lucy(taken, kernel, (60,))
    assert (out - spot).abs().mean() < 0.2 * (taken - spot).abs().mean()


def arc() -> Tensor:
    """(1, 25, 25): what turned by half a circle is another kernel."""
    kernel = torch.zeros(1, KERNEL, KERNEL)
    for k, (row, column) in enumerate([(2, -4), (1, -3), (0, -2), (0, -1), (0, 0), (0, 1), (0, 2)]):
        kernel[0, REACH + row, REACH + column] = 1 + 0.1 * k
    kernel[0, REACH + 2, REACH + 3] = kernel[0, REACH + 4, REACH + 4] = 1
    return kernel / kernel.sum()


@pytest.mark.parametrize("side", [96, 320])
def test_which_of_two_it_was_shows(side: int) -> None:
    """Given a kernel or that turned by half a circle, of pictures in one batch."""
    luma = textures(1, side).clamp(20, 230)
    kernel = arc()
    seen = torch.cat([blurred(luma, kernel), blurred(luma, kernel.flip(1, 2))])
    wanted = richardson_lucy(seen, torch.cat([kernel, kernel.flip(1, 2)]))
    for told in (kernel, kernel.flip(1, 2)):
        assert torch.allclose(undo(seen, told.expand(2, -1, -1)), wanted, atol=1e-3)
    both = line(7).expand(2, -1, -1)  # the same either way: nothing to find out
    assert torch.equal(undo(seen, both), richardson_lucy(seen, both))
    small = seen[..., :16, :16]
    assert undo(small, kernel.expand(2, -1, -1)).isfinite().all()


def test_a_round_is_that_of_the_textbook() -> None:
    """The first one, which is not accelerated and starts from what was seen."""
    luma = textures(1).clamp(40, 230)
    kernel = line(5)
    taken = blurred(luma, kernel)
    ours = to_light(richardson_lucy(taken, kernel, (1,)))[0, 0].numpy()
    light = to_light(taken)[0, 0].numpy().astype(np.float64)
    wide = np.pad(light, 2 * REACH, mode="reflect")
    weights = kernel[0].numpy().astype(np.float64)
    ratio = wide / fftconvolve(wide, weights, "same")
    expected = wide * fftconvolve(ratio, weights[::-1, ::-1], "same")
    inside = slice(2 * REACH + 16, -2 * REACH - 16)
    cut = slice(16, -16)
    assert np.abs(expected[inside, inside] - ours[cut, cut]).max() < 0.01


def test_signs_are_of_each_picture_alone_and_any_size() -> None:
    luma = textures(5)
    both = torch.cat([luma, luma.flip(-1)])
    signs = blur_signs(both)
    assert signs.shape == (2, 5, 32, 32)
    assert signs.isfinite().all()
    assert torch.allclose(blur_signs(both[1:]), signs[1:], atol=1e-4)
    assert blur_signs(both[:, 2:3]).isfinite().all()
    for height, width in ((16, 16), (48, 320), (200, 64)):
        assert blur_signs(torch.rand(1, 5, height, width) * 255).isfinite().all()
    assert blur_signs(torch.full((1, 5, 64, 64), 90.0)).isfinite().all()


def test_a_cepstrum_shows_how_far_a_motion_went() -> None:
    """Least at the length of the motion, of all displacements along it (Cannon 1976)."""
    luma = textures(1, 256)
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.5, luma.shape)).float()
    for length in (7, 11):
        taken = blurred(luma, line(length)) + noise
        signs = blur_signs(taken.expand(1, 5, -1, -1))[0, 0]
        along = signs[16, 16 + 3 : 16 + 14]
        assert int(along.argmin()) + 3 == length
        assert float(along.min()) < float(signs[16 + 3 : 16 + 14, 16].min())


def test_phase_correlation_shows_where_a_picture_moved() -> None:
    luma = textures(1, 160)[0, 0]
    frames = torch.stack([luma.roll((3 * t, -5 * t), (0, 1)) for t in (-2, -1, 0, 1, 2)])[None]
    before, after = blur_signs(frames)[0, 3:]
    places = [divmod(int(m.argmax()), 32) for m in (before, after)]
    assert places == [(13, 21), (19, 11)]


def test_guesses_are_kernels() -> None:
    torch.manual_seed(0)
    net = KernelNet().eval()
    with torch.inference_mode():
        kernel = net.kernel(textures(5).expand(2, -1, -1, -1))
    assert kernel.shape == (2, KERNEL, KERNEL)
    assert (kernel >= 0).all()
    assert torch.allclose(kernel.sum((1, 2)), torch.ones(2))
