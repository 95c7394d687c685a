"""The net of the enhancers: super-resolution, denoising, deblurring, detail.

    frames at 1/2 ─► 3x3 ─(+)─► x gain(level) + lift(level) ─► blocks ──(+)─► blocks ─► 3x3
    output before, moved ─► 3x3 ─┤                                │      ▲
    sharper pictures ─────► 3x3 ─┘                                │      │
                                                          3x3, /2 ▼      │ 1x1, x2
                                                               blocks ─(+)─► blocks
                                                                  │     ▲
                                                          3x3, /2 ▼     │ 1x1, x2
                                                                blocks ─┘

A U-Net (Ronneberger et al. 2015) of the codec's depthwise blocks whose skips are sums. It sees a
window of frames (five for Noise2Noise and deblurring, as in FastDVDnet; Tassano et al., CVPR 2020),
or the frame and what it gave for the one before (FRVSR; Sajjadi et al., CVPR 2018), and gives what
to add to the frame in the middle. Deblurring also sees that frame as light would lie if the blur
were as `gancodec.models.blur` guesses it. Super-resolution starts from the bicubic picture (SRGAN's
generator; Ledig et al., CVPR 2017). The last layer starts at zero, so that a fresh net changes
nothing. The level says how much is wrong: a level of noise, of blur, or the rate of a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gancodec.models.blur import ROUNDS, KernelNet, undo
from gancodec.nn.blocks import Double, Halve, QualityKnots, depthwise_stack
from gancodec.nn.planes import HALF_CHANNELS, Planes, at_half_resolution, from_half_resolution

Task = Literal["sr", "denoise", "deblur", "detail"]
TASKS: tuple[Task, ...] = get_args(Task)
LEVELS = 64
_LATER = {"guesses"}  # fields that files of older enhancers lack
_PHASES = 4  # of a luma plane at half resolution


@dataclass(frozen=True, slots=True)
class RestorerConfig:
    """Architecture of an enhancer, stored with its weights.

    Attributes:
        task: what it is for.
        scale: sides of its output over those of its input: 1, 2 or 4.
        frames: how many it sees at once, odd; the one in the middle is restored.
        memory: it also sees what it gave for the frame before, moved to this one.
        guesses: it also guesses what blurred the frame, and sees that undone.
        widths: channels at 1/2, 1/4 and 1/8 of its output's sides.
        depths: blocks on the way down at each of the three, then on the way up at 1/4 and 1/2.
    """

    task: Task
    scale: int = 1
    frames: int = 1
    memory: bool = False
    widths: tuple[int, int, int] = (32, 64, 96)
    depths: tuple[int, int, int, int, int] = (1, 2, 2, 2, 1)
    guesses: bool = False

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task is one of {', '.join(TASKS)}, got {self.task!r}")
        if self.scale not in (1, 2, 4) or (self.scale > 1) != (self.task == "sr"):
            raise ValueError(f"scale is 2 or 4 for sr and else 1, got {self.scale}")
        if self.frames < 1 or self.frames % 2 == 0:
            raise ValueError(f"frames is odd, got {self.frames}")
        if len(self.widths) != 3 or len(self.depths) != 5:
            raise ValueError("there are three widths and five depths")

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> RestorerConfig:
        """Strict: an unknown or missing name is an error, but for those that came later.

        Raises:
            ValueError: naming the fields that do not fit.
        """
        known = {f.name for f in fields(cls)}
        differ = (set(values) ^ known) - (_LATER - set(values))
        if differ:
            raise ValueError(f"fields of the architecture differ: {sorted(differ)}")
        lists = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**lists)  # type: ignore[arg-type]


class Restorer(nn.Module):
    """Frames at half resolution -> the restored one in the middle."""

    def __init__(self, config: RestorerConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.widths
        self.enter = nn.Conv2d(HALF_CHANNELS * config.frames, fine, 3, padding=1)
        self.memory = (
            nn.Conv2d(HALF_CHANNELS, fine, 3, padding=1, bias=False) if config.memory else None
        )
        self.guess = KernelNet() if config.guesses else None
        sharper = len(ROUNDS) * _PHASES
        self.sharper = nn.Conv2d(sharper, fine, 3, padding=1, bias=False) if self.guess else None
        self.take = nn.Conv2d(sharper, HALF_CHANNELS, 1, bias=False) if self.guess else None
        if self.take is not None:
            nn.init.zeros_(self.take.weight)
        self.gain = QualityKnots(fine, LEVELS, value=1.0)
        self.lift = QualityKnots(fine, LEVELS)
        down1, down2, bottom, up2, up1 = config.depths
        self.blocks = nn.ModuleList(
            [
                depthwise_stack(fine, down1),
                depthwise_stack(middle, down2),
                depthwise_stack(coarse, bottom),
                depthwise_stack(middle, up2),
                depthwise_stack(fine, up1),
            ]
        )
        self.down = nn.ModuleList([Halve(fine, middle), Halve(middle, coarse)])
        self.up = nn.ModuleList([Double(coarse, middle), Double(middle, fine)])
        self.leave = nn.Conv2d(fine, HALF_CHANNELS, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    @property
    def reach(self) -> int:
        """Luma samples from where its output ends to where its input must, a multiple of 16."""
        down1, down2, bottom, up2, up1 = self.config.depths
        # a block and a 3x3 convolution look one place further, a halving one half of that
        places = 2 * (1 + down1 + up1 + 1 + 1) + 4 * (down2 + up2 + 1) + 8 * bottom
        return -(-(places + 8) // 16) * 16

    def forward(
        self,
        frames: Tensor,
        level: Tensor,
        before: Tensor | None = None,
        sharper: Tensor | None = None,
    ) -> Tensor:
        """(B, 6, H/2, W/2): the frame in the middle, restored.

        Args:
            frames: (B, 6 x frames, H/2, W/2) in the order of time, `at_half_resolution`; H and W
                are multiples of 8.
            level: (B,) floats, 0 to 63.
            before: what it gave for the frame before, moved to this one; None if there is none.
            sharper: (B, 8, H/2, W/2), what `sharpen` added to luma, at half resolution; for a net
                that ``guesses``.
        """
        down1, down2, bottom, up2, up1 = self.blocks
        x = self.enter(frames)
        if self.memory is not None and before is not None:
            x = x + self.memory(before)
        if self.sharper is not None and sharper is not None:
            x = x + self.sharper(sharper)
        fine = down1(x * self.gain(level) + self.lift(level))
        middle = down2(self.down[0](fine))
        coarse = bottom(self.down[1](middle))
        middle = up2(middle + self.up[0](coarse))
        change = self.leave(up1(fine + self.up[1](middle)))
        first = self.config.frames // 2 * HALF_CHANNELS
        out: Tensor = frames[:, first : first + HALF_CHANNELS] + change
        if self.take is not None and sharper is not None:
            out = out + self.take(sharper)
        return out

    @torch.no_grad()
    def sharpen(self, frames: Sequence[Planes]) -> Tensor | None:
        """What undoing the guessed blur adds to luma / 255, (B, 2, H, W); None without guesses.

        The blur is guessed for the whole picture, so it is not for tiles.
        """
        if self.guess is None:
            return None
        luma = frames[len(frames) // 2].y * 255
        kernel = self.guess.kernel(torch.cat([p.y for p in frames], 1) * 255)
        return (undo(luma, kernel) - luma) / 255

    def restore(
        self,
        frames: Sequence[Tensor],
        level: Tensor,
        before: Planes | None = None,
        sharper: Tensor | None = None,
    ) -> Planes:
        """`forward` of frames as `halved` gives them, and of what `sharpen` gave.

        A frame is in several windows, so who has it keeps it halved. Sides are multiples of 16.
        """
        past = None if before is None else at_half_resolution(before)
        phases = None if sharper is None else F.pixel_unshuffle(sharper, 2)
        return from_half_resolution(self(torch.cat(list(frames), 1), level, past, phases))


def halved(planes: Planes) -> Tensor:
    """`at_half_resolution`, laid out as the net's convolutions like it."""
    return at_half_resolution(planes).contiguous(memory_format=torch.channels_last)


def enlarge(planes: Planes, scale: int) -> Planes:
    """Every plane ``scale`` times as high and wide, bicubic (a = -0.75, centres aligned)."""
    if scale == 1:
        return planes

    def one(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=float(scale), mode="bicubic", align_corners=False)

    return Planes(*(one(p) for p in planes))


def reduce(planes: Planes, scale: int) -> Planes:
    """Every plane ``scale`` times smaller, bicubic with the kernel widened against aliasing."""
    if scale == 1:
        return planes

    def one(x: Tensor) -> Tensor:
        return F.interpolate(
            x, scale_factor=1 / scale, mode="bicubic", align_corners=False, antialias=True
        )

    return Planes(*(one(p) for p in planes))
