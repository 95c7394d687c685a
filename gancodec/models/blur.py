"""What blurred a frame, guessed from it and its neighbours, and light put back where it came from.

    five frames ─► signs of blur over displacements ─► U-Net of the codec's blocks ─► kernel
    frame, kernel ─► Richardson-Lucy in linear light ─► two sharper pictures, for the restorer

The logarithm of a blurred picture's spectrum is the sum of the picture's and the kernel's, and its
transform, the cepstrum, shows how far the blur reaches (Cannon 1976); how a picture moves from
frame to frame shows where a shutter that is open for longer smears it to. Both live where kernels
live: over displacements.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gancodec.nn.blocks import Double, Halve, depthwise_stack

GAMMA = 2.2  # of the light that a shutter adds up
KERNEL = 25  # sides of a kernel
ROUNDS = 4, 8  # of Richardson-Lucy, after which its picture is shown to the restorer
_WINDOW = 64  # sides of what a spectrum is taken of
_STEP, _MOST = 24, 6  # samples between windows at least, and windows a side at most
_MAP = 32  # displacements a side, from -16 to 15
_SIGNS = 5
_FAINT = 1e-2  # power that noise hides anyway
_LOPSIDED = 0.15  # share of a kernel that lies elsewhere when it is turned by half a circle
_PART = 256  # sides of what says which of the two it is
_DARK = 3e-3  # light below which ratios mean little
_WIDTHS, _DEPTHS = (32, 64, 96), (1, 2, 3, 2, 1)


def to_light(luma: Tensor) -> Tensor:
    """Limited-range luma, 0 to 255 -> linear light, 0 to 1 and a little more."""
    return ((luma - 16) / 219).clamp(0, 1.1) ** GAMMA


def from_light(light: Tensor) -> Tensor:
    """The luma, 0 to 255, that `to_light` turns into this."""
    return 16 + 219 * light.clamp_min(0) ** (1 / GAMMA)


def blur_signs(luma: Tensor) -> Tensor:
    """(B, T, H, W) luma, 0 to 255, T odd -> (B, 5, 32, 32), over displacements; 0 is at 16, 16.

    Cepstra of the frame in the middle and of all, the autocorrelation of the one in the middle, and
    the phase correlation with the frames before and after it.
    """
    spectra = torch.fft.rfft2(_windows(to_light(luma)))
    power = spectra.real.square() + spectra.imag.square() + _FAINT
    middle = luma.shape[1] // 2
    cepstra = power.log().mean(2)
    known = power[:, middle].mean(1)
    around = [max(middle - 1, 0), min(middle + 1, luma.shape[1] - 1)]
    cross = spectra[:, around] * spectra[:, middle : middle + 1].conj()
    phases = (cross / (cross.abs() + _FAINT)).mean(2)
    maps = torch.cat(
        [
            torch.fft.irfft2(torch.stack([cepstra[:, middle], cepstra.mean(1), known.log()], 1)),
            torch.fft.irfft2(phases),
        ],
        1,
    )
    lo = (_WINDOW - _MAP) // 2
    maps = torch.fft.fftshift(maps, (-2, -1))[..., lo : lo + _MAP, lo : lo + _MAP].clone()
    maps[:, :3, _MAP // 2, _MAP // 2] = 0  # the mean of a spectrum says how bright it is
    signs: Tensor = maps * 10
    return signs


def _windows(light: Tensor) -> Tensor:
    """(B, T, H, W) -> (B, T, N, 64, 64) of mean zero that fade towards their sides."""
    short = [max(_WINDOW - side, 0) for side in light.shape[-2:]]
    if any(short):
        light = F.pad(light, (0, short[1], 0, short[0]), mode="replicate")
    places = [
        torch.linspace(0, side - _WINDOW, min((side - _WINDOW) // _STEP + 1, _MOST)).long().tolist()
        for side in light.shape[-2:]
    ]
    cut = torch.stack(
        [light[..., r : r + _WINDOW, c : c + _WINDOW] for r in places[0] for c in places[1]], 2
    )
    cut = cut - cut.mean((-2, -1), keepdim=True)
    fade = torch.hann_window(_WINDOW, periodic=False, device=light.device)
    return cut * fade[:, None] * fade


class KernelNet(nn.Module):
    """`blur_signs` -> the logarithm of the kernel, (B, 25, 25), up to a constant."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        line = torch.arange(_MAP).float() / (_MAP // 2) - 1
        rows, columns = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("places", torch.stack([rows, columns, rows.hypot(columns)]), False)
        self.enter = nn.Conv2d(_SIGNS + 3, fine, 3, padding=1)
        sides = fine, middle, coarse, middle, fine
        self.blocks = nn.ModuleList(depthwise_stack(*x) for x in zip(sides, _DEPTHS, strict=True))
        self.down = nn.ModuleList([Halve(fine, middle), Halve(middle, coarse)])
        self.up = nn.ModuleList([Double(coarse, middle), Double(middle, fine)])
        self.leave = nn.Conv2d(fine, 1, 3, padding=1)

    def forward(self, signs: Tensor) -> Tensor:
        down1, down2, bottom, up2, up1 = self.blocks
        places = self.get_buffer("places").expand(len(signs), -1, -1, -1)
        fine = down1(self.enter(torch.cat([signs, places], 1)))
        middle = down2(self.down[0](fine))
        middle = up2(middle + self.up[0](bottom(self.down[1](middle))))
        logits = self.leave(up1(fine + self.up[1](middle)))[:, 0]
        lo = (_MAP - KERNEL) // 2 + 1
        out: Tensor = logits[:, lo : lo + KERNEL, lo : lo + KERNEL]
        return out

    def kernel(self, luma: Tensor) -> Tensor:
        """(B, T, H, W) luma, 0 to 255 -> (B, 25, 25), weights of the frame in the middle.

        Or those turned by half a circle: signs are the same for both.
        """
        logits: Tensor = self(blur_signs(luma))
        return logits.flatten(1).softmax(1).view_as(logits)


def undo(luma: Tensor, kernel: Tensor) -> Tensor:
    """`richardson_lucy` with a kernel, or with that turned by half a circle: of equal spectra.

    What goes on from the wrong one of the two explains less of what was seen, be it ever so sharp.
    """
    turned = kernel.flip(1, 2)
    lopsided = (kernel - turned).abs().sum((1, 2)) / 2 > _LOPSIDED
    if bool(lopsided.any()):
        height, width = luma.shape[-2:]
        top, left = max(height - _PART, 0) // 2, max(width - _PART, 0) // 2
        part = luma[..., top : top + _PART, left : left + _PART]
        better = _misfit(part, turned) < _misfit(part, kernel)
        kernel = torch.where((better & lopsided)[:, None, None], turned, kernel)
    return richardson_lucy(luma, kernel)


def _misfit(luma: Tensor, kernel: Tensor) -> Tensor:
    """(B,) squares of what a kernel leaves unexplained in the middle of (B, 1, H, W)."""
    light = to_light(richardson_lucy(luma, kernel, ROUNDS[-1:]))[:, 0]
    size = light.shape[-2:]
    again = torch.fft.irfft2(torch.fft.rfft2(light) * _spectrum(kernel, size), s=size)
    edge = min(KERNEL // 2 + 1, min(size) // 4)
    apart = (again - to_light(luma)[:, 0])[:, edge:-edge, edge:-edge]
    misfit: Tensor = apart.square().mean((1, 2))
    return misfit


def _spectrum(kernel: Tensor, size: torch.Size) -> Tensor:
    reach = kernel.shape[-1] // 2
    kernel = F.pad(kernel, (0, size[1] - kernel.shape[-1], 0, size[0] - kernel.shape[-2]))
    found: Tensor = torch.fft.rfft2(kernel.roll((-reach, -reach), (-2, -1)))
    return found


def richardson_lucy(luma: Tensor, kernel: Tensor, rounds: tuple[int, ...] = ROUNDS) -> Tensor:
    """(B, 1, H, W) luma, 0 to 255 -> (B, R, H, W), sharper, after so many ``rounds`` each.

    Richardson 1972, Lucy 1974, accelerated as by Biggs, Andrews 1997: a round goes on from where
    the last two were heading. In linear light, where blur is a sum.

    Args:
        kernel: (B, K, K), K odd, weights from 0 on that sum to 1: of the sample at a displacement.
    """
    height, width = luma.shape[-2:]
    reach = kernel.shape[-1] // 2
    pad = 2 * reach
    mode = "reflect" if min(height, width) > pad else "replicate"
    seen = F.pad(to_light(luma), (pad,) * 4, mode=mode)[:, 0]
    size = seen.shape[-2:]
    blur = _spectrum(kernel, size)
    back = blur.conj()
    now, before = seen, seen
    step: Tensor | None = None
    ahead = torch.zeros(len(luma), 1, 1, device=luma.device)
    shown = []
    for n in range(1, max(rounds) + 1):
        guess = (now + ahead * (now - before)).clamp_min(0)
        again = torch.fft.irfft2(torch.fft.rfft2(guess) * blur, s=size)
        ratio = (seen + _DARK) / (again.clamp_min(0) + _DARK)
        found = guess * torch.fft.irfft2(torch.fft.rfft2(ratio) * back, s=size).clamp_min(0)
        last, step = step, found - guess
        if last is not None:
            same = (step * last).sum((-2, -1), keepdim=True)
            ahead = (same / last.square().sum((-2, -1), keepdim=True).clamp_min(1e-12)).clamp(0, 1)
        before, now = now, found
        if n in rounds:
            shown.append(from_light(now[:, pad:-pad, pad:-pad].clamp_max(1.1)))
    return torch.stack(shown, 1)
