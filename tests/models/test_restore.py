"""The enhancers' net: what a fresh one does, how far it looks, and whose blocks it is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gancodec.train
from gancodec.config import CodecConfig
from gancodec.enhancer import Enhancement, Enhancer
from gancodec.models.compress import GanCodec
from gancodec.models.restore import TASKS, Restorer, RestorerConfig, Task, enlarge, halved, reduce
from gancodec.nn.planes import HALF_CHANNELS, Planes, at_half_resolution
from gancodec.train.publish import write_enhancer
from gancodec.train.recipe import Recipe
from gancodec.video.synth import moving_texture

RECIPES = Path(gancodec.train.__file__).parent / "recipes"
SHIPPED = ["sr2", "sr4", "denoise", "deblur", "detail"]


def config_of(recipe: str) -> RestorerConfig:
    config = Recipe.read(RECIPES / f"{recipe}.toml").config
    assert isinstance(config, RestorerConfig)
    return config


def random_net(config: RestorerConfig, spread: float = 0.08) -> Restorer:
    """A net whose every layer does something, the last one, too."""
    torch.manual_seed(5)
    net = Restorer(config)
    for p in net.parameters():
        nn.init.normal_(p, std=spread)
    return net.eval().requires_grad_(False)


def clip_planes(count: int, size: int = 32) -> list[Planes]:
    batch = moving_texture(size, size, count, seed=2)

    def one(plane: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
        return torch.from_numpy(plane)[None, None].float() / 255

    return [Planes(one(batch.y[n]), one(batch.u[n]), one(batch.v[n])) for n in range(count)]


def restored(
    net: Restorer, frames: list[Planes], level: Tensor, before: Planes | None = None
) -> Planes:
    return net.restore([halved(p) for p in frames], level, before, net.sharpen(frames))


# ── A fresh net ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("recipe", SHIPPED)
def test_a_fresh_net_changes_nothing(recipe: str) -> None:
    config = config_of(recipe)
    net = Restorer(config)
    frames = clip_planes(config.frames)
    before = clip_planes(2)[1] if config.memory else None
    with torch.inference_mode():
        out = restored(net, frames, torch.tensor([17.0]), before)
    for a, b in zip(out, frames[config.frames // 2], strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    others = [p for k, p in enumerate(frames) if k != config.frames // 2]
    assert all((out.y - p.y).abs().max() > 0.02 for p in others)


@pytest.mark.parametrize("recipe", SHIPPED)
def test_a_fresh_enhancer_is_bicubic_or_nothing(recipe: str, tmp_path: Path) -> None:
    config = config_of(recipe)
    weights = {name: p.detach() for name, p in Restorer(config).named_parameters()}
    write_enhancer("fresh", config, {"faithful": weights, "detailed": weights}, tmp_path, {})
    enhancer = Enhancer(Enhancement(config.task, config.scale, model=str(tmp_path)))
    batch = moving_texture(48, 32, 2, seed=3)
    out = enhancer.enhance(batch)
    assert out.y.shape == (2, 32 * config.scale, 48 * config.scale)
    assert out.pts.tolist() == batch.pts.tolist()
    for got, given in zip((out.y, out.u, out.v), (batch.y, batch.u, batch.v), strict=True):
        expected = given
        if config.scale > 1:
            x = torch.from_numpy(given)[:, None].float()
            x = F.interpolate(x, scale_factor=float(config.scale), mode="bicubic")
            expected = x[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()
        apart = np.abs(got.astype(int) - expected)
        assert apart.max() <= int(config.scale > 1)  # a half that rounds to the other side
        assert (apart > 0).mean() < 0.05


@pytest.mark.parametrize("recipe", ["sr2", "denoise"])
def test_all_that_a_net_is_told_counts(recipe: str) -> None:
    """Every frame, its level and what came before change the output of a net of random weights."""
    config = config_of(recipe)
    net = random_net(config)
    frames, before = clip_planes(config.frames), clip_planes(2)[1]
    level = torch.tensor([17.0])
    with torch.inference_mode():
        out = restored(net, frames, level)
        assert out.y.isfinite().all()
        assert not torch.equal(restored(net, frames, level + 20).y, out.y)
        remembered = restored(net, frames, level, before)
        assert torch.equal(remembered.y, out.y) != config.memory
        for k in range(config.frames):
            for plane in range(3):
                planes = [p.clone() for p in frames[k]]
                planes[plane] += 0.1
                changed = [*frames[:k], Planes(*planes), *frames[k + 1 :]]
                assert not torch.equal(restored(net, changed, level).y, out.y), (k, plane)


def test_a_guess_counts_and_is_not_for_tiles() -> None:
    """What it says of the blur changes the output; without a guess there is nothing to say."""
    config = RestorerConfig("deblur", frames=5, widths=(8, 8, 8), depths=(1,) * 5, guesses=True)
    net = random_net(config, 0.03)
    frames, level = clip_planes(5, 48), torch.tensor([17.0])
    with torch.inference_mode():
        sharper = net.sharpen(frames)
        assert sharper is not None
        assert sharper.shape == (1, 2, 48, 48)
        halves = [halved(p) for p in frames]
        out = net.restore(halves, level, None, sharper)
        assert not torch.equal(out.y, net.restore(halves, level, None, 0 * sharper).y)
        assert torch.equal(
            net.restore(halves, level).y, net.restore(halves, level, None, 0 * sharper).y
        )
    assert Restorer(dataclasses.replace(config, guesses=False)).sharpen(frames) is None


def test_planes_enter_in_the_order_of_time() -> None:
    net = random_net(RestorerConfig("denoise", frames=3, widths=(4, 4, 4), depths=(0,) * 5))
    frames = clip_planes(3)
    seen: list[Tensor] = []
    net.enter.register_forward_hook(lambda _module, given, _out: seen.append(given[0]))
    with torch.inference_mode():
        restored(net, frames, torch.tensor([0.0]))
    assert torch.equal(seen[0], torch.cat([at_half_resolution(p) for p in frames], 1))


# ── Its architecture ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "dream"}, "task is one of sr, denoise, deblur, detail, got 'dream'"),
        ({"task": "sr"}, "scale is 2 or 4 for sr and else 1, got 1"),
        ({"task": "sr", "scale": 3}, "got 3"),
        ({"task": "denoise", "scale": 2}, "got 2"),
        ({"task": "denoise", "frames": 4}, "frames is odd, got 4"),
        ({"task": "denoise", "frames": -1}, "frames is odd, got -1"),
        ({"task": "deblur", "widths": (8, 8)}, "three widths and five depths"),
        ({"task": "deblur", "depths": (1, 1, 1)}, "three widths and five depths"),
    ],
)
def test_a_wrong_architecture_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RestorerConfig(**values)  # type: ignore[arg-type]


def test_stored_architectures_are_read_strictly() -> None:
    stored: dict[str, object] = {
        "task": "denoise",
        "scale": 1,
        "frames": 3,
        "memory": False,
        "widths": [8, 12, 16],
        "depths": [1, 1, 1, 1, 1],
    }
    config = RestorerConfig.from_dict(stored)
    assert config == RestorerConfig("denoise", frames=3, widths=(8, 12, 16), depths=(1,) * 5)
    assert isinstance(config.widths, tuple)
    assert not config.guesses  # which files of older enhancers do not say
    guessing = RestorerConfig.from_dict({**stored, "guesses": True})
    assert guessing == dataclasses.replace(config, guesses=True)
    with pytest.raises(ValueError, match="'novel'"):
        RestorerConfig.from_dict({**stored, "novel": 1})
    with pytest.raises(ValueError, match="'memory'"):
        RestorerConfig.from_dict({k: v for k, v in stored.items() if k != "memory"})


@pytest.mark.parametrize("recipe", SHIPPED)
def test_shipped_architectures_are_small_and_for_their_task(recipe: str) -> None:
    config = config_of(recipe)
    tasks: dict[str, tuple[Task, int]] = {"sr2": ("sr", 2), "sr4": ("sr", 4)}
    expected = tasks.get(recipe) or (next(t for t in TASKS if t == recipe), 1)
    assert (config.task, config.scale) == expected
    assert sum(p.numel() for p in Restorer(config).parameters()) < 800_000


# ── How far it looks ─────────────────────────────────────────────────────────────────────────


def changed_beyond(net: Restorer, corner: tuple[int, int]) -> tuple[bool, bool]:
    """Whether a change of one place of the input is seen farther than ``reach``, and almost there.

    In doubles, so that what is left of a change after many layers does not drown in rounding.
    """
    net = net.double()
    middle = net.reach + 16
    side = 2 * middle + 16
    row, column = (middle + k for k in corner)
    generator = torch.Generator().manual_seed(1)
    shape = (1, HALF_CHANNELS * net.config.frames, side // 2, side // 2)
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    other = x.clone()
    other[0, :, row // 2, column // 2] += 3
    level = torch.tensor([20.0], dtype=torch.float64)
    with torch.inference_mode():
        one, two = net(x, level), net(other, level)
    assert one.isfinite().all()
    assert two.isfinite().all()
    moved = (one != two).any(1)[0]
    moved = moved.repeat_interleave(2, 0).repeat_interleave(2, 1)  # at luma's resolution
    rows, columns = (torch.arange(side) - at for at in (row, column))
    away = torch.maximum(rows.abs()[:, None], columns.abs()[None])
    return bool(moved[away > net.reach].any()), bool(moved[away > net.reach - 32].any())


@pytest.mark.parametrize("corner", [(0, 0), (7, 8), (15, 2)])
@pytest.mark.parametrize("depths", [(0,) * 5, (1,) * 5, (2, 0, 1, 0, 0), (0, 2, 0, 1, 1)])
def test_nothing_beyond_its_reach_counts(
    depths: tuple[int, int, int, int, int], corner: tuple[int, int]
) -> None:
    config = RestorerConfig("detail", frames=3, widths=(4, 6, 8), depths=depths)
    net = random_net(config, spread=0.3)
    assert net.reach % 16 == 0
    beyond, almost = changed_beyond(net, corner)
    assert not beyond
    assert almost  # so that the bound is no waste of work


@pytest.mark.parametrize("recipe", SHIPPED)
def test_the_reach_of_shipped_nets_is_a_bound(recipe: str) -> None:
    """Of nets as deep, but narrow: channels do not look anywhere."""
    config = config_of(recipe)
    narrow = RestorerConfig(
        config.task, config.scale, config.frames, config.memory, (4, 4, 4), config.depths
    )
    net = random_net(narrow, spread=0.3)
    assert net.reach == Restorer(config).reach
    beyond, almost = changed_beyond(net, (7, 7))
    assert not beyond
    assert almost


# ── Whose blocks it is made of ───────────────────────────────────────────────────────────────


def shared_part(net: nn.Module, codec: nn.Module) -> float:
    """The share of a net's parameters that live in blocks of `gancodec.nn` that the codec has."""
    kinds = {type(m) for m in codec.modules() if type(m).__module__.startswith("gancodec.nn.")}
    shared: dict[int, int] = {}
    for _, module in net.named_modules():
        if type(module) in kinds:
            shared.update({id(p): p.numel() for p in module.parameters()})
    return sum(shared.values()) / sum(p.numel() for p in net.parameters())


@pytest.fixture(scope="module")
def codec() -> GanCodec:
    return GanCodec(CodecConfig())


@pytest.mark.parametrize("recipe", SHIPPED)
def test_nine_tenths_of_an_enhancer_are_the_codec_s_blocks(recipe: str, codec: GanCodec) -> None:
    assert shared_part(Restorer(config_of(recipe)), codec) >= 0.9


def test_a_net_of_other_layers_would_not_pass(codec: GanCodec) -> None:
    plain = nn.Sequential(nn.Conv2d(6, 32, 3), nn.Conv2d(32, 32, 3), nn.Conv2d(32, 6, 3))
    assert shared_part(plain, codec) == 0
    net = Restorer(config_of("sr2"))
    assert shared_part(net, plain) == 0  # nor blocks of gancodec.nn that the codec has not
    count = sum(p.numel() for p in net.parameters())
    net.add_module("foreign", nn.Linear(1000, count // 1000))
    assert 0.4 < shared_part(net, codec) < 0.55


# ── Sizes ────────────────────────────────────────────────────────────────────────────────────


def ramp(height: int, width: int) -> Tensor:
    rows, columns = torch.arange(height).float(), torch.arange(width).float()
    return (0.2 + 0.01 * rows[:, None] + 0.005 * columns[None]).view(1, 1, height, width)


@pytest.mark.parametrize("scale", [2, 4])
def test_nothing_moves_when_it_is_enlarged_or_reduced(scale: int) -> None:
    """Samples are centred: the means of a ramp's squares are what they were made of."""
    small = Planes(ramp(24, 32), ramp(12, 16), ramp(12, 16))
    large = enlarge(small, scale)
    assert large.y.shape == (1, 1, 24 * scale, 32 * scale)
    assert large.u.shape == large.v.shape == (1, 1, 12 * scale, 16 * scale)
    again = reduce(large, scale)
    for a, b, c in zip(large, small, again, strict=True):
        assert torch.allclose(F.avg_pool2d(a, scale)[..., 3:-3, 3:-3], b[..., 3:-3, 3:-3])
        assert c.shape == b.shape
        assert torch.allclose(c[..., 4:-4, 4:-4], b[..., 4:-4, 4:-4], atol=1e-4)
    shifted = F.avg_pool2d(large.y[..., 1:, 1:], scale)
    assert not torch.allclose(shifted[..., 3:-3, 3:-3], small.y[..., 3:-4, 3:-4])


@pytest.mark.parametrize("change", [enlarge, reduce])
def test_grey_stays_grey_and_once_is_itself(change: Callable[[Planes, int], Planes]) -> None:
    grey = Planes(*(torch.full((2, 1, n, n), 0.37) for n in (32, 16, 16)))
    assert change(grey, 1) is grey
    for p in change(grey, 4):
        assert torch.allclose(p, torch.tensor(0.37), atol=1e-5)


def test_reducing_does_not_alias() -> None:
    """Stripes finer than the new samples become grey; without the wide kernel they would not."""
    stripes = (torch.arange(96) % 3 == 0).float().expand(1, 1, 96, 96)
    small = reduce(Planes(stripes, stripes, stripes), 4).y[..., 2:-2]
    plain = F.interpolate(stripes, scale_factor=0.25, mode="bicubic")[..., 2:-2]
    assert small.std() < 0.05
    assert plain.std() > 0.3


def test_what_survives_once_survives_twice() -> None:
    batch = moving_texture(64, 64, 1, seed=6)
    y = torch.from_numpy(batch.y)[None].float() / 255
    once = reduce(Planes(y, y, y), 2)
    twice = reduce(enlarge(once, 2), 2)
    assert (once.y - twice.y).square().mean() < 0.1 * once.y.var()
