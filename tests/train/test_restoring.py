"""Training of enhancers: recipes, what stages ask of a net, and what comes out of it all."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import gancodec.train
from gancodec.config import CodecConfig
from gancodec.enhancer import DEFAULTS, Enhancement, Enhancer, load_enhancer
from gancodec.errors import InputError, UsageError
from gancodec.models.blur import KERNEL
from gancodec.models.degradation import noise_level, sigma_of
from gancodec.models.restore import Restorer, RestorerConfig, enlarge, reduce
from gancodec.nn.motion import warp
from gancodec.nn.planes import Planes
from gancodec.registry import list_models
from gancodec.train import loop
from gancodec.train.data import planes_from_flat
from gancodec.train.degrade import Noise, Preparation
from gancodec.train.kernels import KernelStage
from gancodec.train.loop import train
from gancodec.train.pairs import MIDDLE, Batch, PairsInfo, Sample, write_pairs
from gancodec.train.recipe import CODEC_STAGES, ENHANCER_STAGES, Recipe
from gancodec.train.restoring import Restored, RestoreStage
from gancodec.video.synth import moving_texture

RECIPES = sorted((Path(gancodec.train.__file__).parent / "recipes").glob("*.toml"))
MODELS = {
    "sr2": 'task = "sr"\nscale = 2\nmemory = true',
    "denoise": 'task = "denoise"\nframes = 5',
    "detail": 'task = "detail"\nframes = 3',
}
WIDTHS = "widths = [16, 16, 16]\ndepths = [1, 0, 1, 0, 1]"  # as narrow as Muon takes


def flat_clip(size: int, frames: int, seed: int, velocity: int = 10) -> np.ndarray[Any, Any]:
    batch = moving_texture(size, size, frames, seed, (velocity, -velocity))
    planes = (batch.y, batch.u, batch.v)
    return np.concatenate([p.reshape(frames, -1) for p in planes], 1)


def write_fake(folder: Path, info: PairsInfo, count: int = 8) -> Path:
    """Pairs of the right shape for anything: textures, made smaller with nearest neighbours."""
    made = []
    scale, rng = info.scale, np.random.default_rng(0)
    for k in range(count):
        length = info.frames + info.window - 1
        flats = flat_clip(info.size, length, seed=k)
        planes = planes_from_flat(torch.from_numpy(flats), info.size)
        small = [(p * 255).round().flatten(1) for p in reduce(planes, scale)]
        inputs = torch.cat(small, 1).to(torch.uint8).numpy()
        around = info.window // 2
        side = info.size // 8
        field = rng.integers(-4, 5, (info.frames - 1, 2, side, side)).astype(np.int16)
        motion = field if info.task in ("sr", "detail") else None
        kernel = np.full((KERNEL, KERNEL), KERNEL**-2, np.float32)
        level, targets = 63.0 if k % 2 else 30.0, flats[around : around + info.frames]
        known = kernel if info.task == "deblur" else None
        made.append(Sample(inputs, targets, level, motion=motion, kernel=known))
    write_pairs(made, info, folder)
    return folder


def recipe_of(
    path: Path, data: Path, model: str, *stages: str, name: str = "tiny.v1", run: str = ""
) -> Path:
    head = f'[run]\nname = "{name}"\nfolder = "{path.with_suffix("")}"\ndata = ["{data}"]\n'
    about = f'licence = "CC0-1.0"\nsummary = "a test"\ncredits = ["made by the test"]\n{run}\n'
    path.write_text(f"{head}{about}[model]\n{model}\n" + "".join(stages))
    return path


def stage(name: str, steps: int, extra: str = "", patch: int = 64) -> str:
    numbers = f"steps = {steps}\nbatch = 2\npatch = {patch}\nlearning_rate = 1e-3"
    return f'[[stage]]\nname = "{name}"\n{numbers}\nsave_seconds = 0\n{extra}\n'


NOTHING = 1e-5  # of 8-bit units: what floats make of zero


def quiet(_: str) -> None:
    pass


# ── Recipes ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", RECIPES, ids=[p.stem for p in RECIPES])
def test_every_shipped_recipe_is_read(path: Path) -> None:
    recipe = Recipe.read(path)
    known = ENHANCER_STAGES if isinstance(recipe.config, RestorerConfig) else CODEC_STAGES
    assert recipe.stages
    assert all(s.name in known for s in recipe.stages)
    assert len({s.name for s in recipe.stages}) == len(recipe.stages)  # each its own checkpoint
    assert recipe.licence != "unknown"
    assert recipe.credits
    assert recipe.summary


@pytest.mark.parametrize("name", ["sr2", "sr4", "denoise", "deblur", "detail"])
def test_recipes_of_enhancers_fit_what_is_prepared(name: str, tmp_path: Path) -> None:
    """Their stages take the pairs that their first lines prepare."""
    path = next(p for p in RECIPES if p.stem == name)
    text, recipe = path.read_text(), Recipe.read(path)
    config = recipe.config
    assert isinstance(config, RestorerConfig)
    words = next(w for w in map(str.split, text.splitlines()) if w[1:3] == ["gancodec", "prepare"])
    options = dict(zip(words[6::2], words[7::2], strict=True))
    size, scale = int(options.get("--size", 128)), int(options.get("--scale", 1))
    assert words[3] == config.task
    assert [Path(words[5])] == recipe.data
    what = Preparation(config.task, scale, size)
    data = write_fake(tmp_path / "pairs", what.info, count=1)
    usable = dataclasses.replace(recipe, data=[data])
    for s in recipe.stages:
        built = dataclasses.replace(s, batch=1).build(Restorer(config), usable)
        assert isinstance(built, KernelStage if s.name == "blur-kernel" else RestoreStage)
    if name == "denoise":  # nothing but the squared error has the clean frame as its minimum
        (only,) = recipe.stages
        assert only.name == "restore"
        assert only.options["error"] == "l2"
        assert not {"perception", "consistency"} & set(only.options)


@pytest.mark.parametrize("name", CODEC_STAGES)
def test_an_enhancer_has_no_stages_of_a_codec(name: str, tmp_path: Path) -> None:
    path = recipe_of(tmp_path / "bad.toml", tmp_path, MODELS["denoise"], stage(name, 1))
    with pytest.raises(
        UsageError, match=f"one of blur-kernel, restore, restore-adversarial, got '{name}'"
    ):
        Recipe.read(path)


@pytest.mark.parametrize("name", ENHANCER_STAGES)
def test_a_codec_has_no_stages_of_an_enhancer(name: str, tmp_path: Path) -> None:
    path = recipe_of(tmp_path / "bad.toml", tmp_path, "intra_width = 16", stage(name, 1))
    with pytest.raises(UsageError, match=f"one of intra, inter, joint, adversarial, got '{name}'"):
        Recipe.read(path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ('task = "dream"', "task is one of"),
        ('task = "sr"\nscale = 3', "got 3"),
        ('task = "denoise"\nframes = 2', "frames is odd"),
        ('task = "denoise"\nintra_width = 16', "intra_width"),
    ],
)
def test_wrong_architectures_get_one_sentence(model: str, message: str, tmp_path: Path) -> None:
    path = recipe_of(tmp_path / "bad.toml", tmp_path, model, stage("restore", 1))
    with pytest.raises(UsageError, match=message):
        Recipe.read(path)


@pytest.mark.parametrize(
    "other",
    [
        PairsInfo("detail", 1, 64, 1, 5),
        PairsInfo("sr", 2, 64, 1, 5),
        PairsInfo("denoise", 1, 32, 1, 5),
        PairsInfo("denoise", 1, 64, 1, 3),
    ],
)
def test_other_pairs_are_refused(other: PairsInfo, tmp_path: Path) -> None:
    right = write_fake(tmp_path / "right", PairsInfo("denoise", 1, 64, 1, 5), count=1)
    wrong = write_fake(tmp_path / "wrong", other, count=1)
    for name in ENHANCER_STAGES:
        for data in (wrong,) if name == "blur-kernel" else (right, wrong):
            path = recipe_of(tmp_path / "r.toml", data, MODELS["denoise"], stage(name, 1))
            recipe = Recipe.read(path)
            if data is right:
                recipe.stages[0].build(loop.build_nets(recipe), recipe)
            else:
                with pytest.raises(UsageError, match=r"which .* cannot learn from"):
                    recipe.stages[0].build(loop.build_nets(recipe), recipe)


def test_a_folder_of_videos_is_no_folder_of_pairs(tmp_path: Path) -> None:
    path = recipe_of(tmp_path / "r.toml", tmp_path, MODELS["denoise"], stage("restore", 1))
    with pytest.raises(InputError, match="`gancodec prepare` makes them"):
        train(Recipe.read(path), quiet)


# ── Losses ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pairs for each of `MODELS`."""
    folder = tmp_path_factory.mktemp("pairs")
    infos = {
        "sr2": PairsInfo("sr", 2, 64, 3, 1),
        "denoise": PairsInfo("denoise", 1, 64, 1, 5),
        "detail": PairsInfo("detail", 1, 64, 2, 3),
    }
    return {name: write_fake(folder / name, info) for name, info in infos.items()}


@pytest.fixture
def build(pairs: dict[str, Path], tmp_path: Path) -> Callable[..., Any]:
    def build(name: str, kind: str = "restore", extra: str = "") -> Any:
        model = f"{MODELS[name]}\n{WIDTHS}"
        path = recipe_of(tmp_path / "r.toml", pairs[name], model, stage(kind, 1, extra))
        recipe = Recipe.read(path)
        torch.manual_seed(0)
        return recipe.stages[0].build(loop.build_nets(recipe), recipe)

    return build


def grey(value: float, size: int = 32) -> Planes:
    return Planes(*(torch.full((2, 1, n, n), value / 255) for n in (size, size // 2, size // 2)))


def a_batch(targets: list[Planes], level: float = 63.0, chance: float = 0.0, **more: Any) -> Batch:
    inputs = more.get("inputs", targets)
    return Batch(inputs, targets, torch.full((2,), level), torch.full((2,), chance), None)


def shown(outputs: list[Planes], targets: list[Planes]) -> list[Restored]:
    return [Restored(out, out, target) for out, target in zip(outputs, targets, strict=True)]


def test_error_alone(build: Callable[..., Any]) -> None:
    """In 8-bit units, luma's and a part of chroma's; squares for l2."""
    plain, squared = build("detail"), build("detail", extra='error = "l2"')
    targets = [grey(100), grey(110)]
    batch = a_batch(targets)
    for s in (plain, squared):
        assert s.faithful(batch, shown(targets, targets)).abs().max() < NOTHING
    off = [grey(108), grey(118)]
    one = plain.faithful(batch, shown(off, targets))
    assert one.shape == (2,)
    double = plain.faithful(batch, shown([grey(116), grey(126)], targets))
    assert float(double[0] / one[0]) == pytest.approx(2, rel=0.1)
    one = squared.faithful(batch, shown(off, targets))
    double = squared.faithful(batch, shown([grey(116), grey(126)], targets))
    assert float(double[0] / one[0]) == pytest.approx(4, rel=1e-3)
    luma = [Planes(grey(108).y, *grey(100)[1:]), targets[1]]
    assert squared.faithful(batch, shown(luma, targets)).tolist() == pytest.approx(
        [8**2 / 16 / 2] * 2, rel=1e-3
    )


def test_decibels_let_small_errors_count(build: Callable[..., Any]) -> None:
    """Twice the error costs six decibels, be it large or small; what is right costs least."""
    s = build("detail", extra='error = "psnr"')
    targets = [grey(100), grey(110)]
    batch = a_batch(targets)

    def cost(*off: float) -> float:
        frames = shown([grey(100 + off[0]), grey(110 + off[-1])], targets)
        return float(s.faithful(batch, frames)[0])

    assert cost(16) - cost(8) == pytest.approx(6.02, abs=0.1)
    assert cost(64) - cost(32) == pytest.approx(6.02, abs=0.1)
    assert cost(2, 4) == pytest.approx((cost(2) + cost(4)) / 2, abs=1e-3)
    assert cost(0) < cost(0.5) < cost(1) < cost(2)


def test_temporal_follows_motion(build: Callable[..., Any]) -> None:
    """An error that moves along with the picture does not flicker; one that stays behind does."""
    with_it, without = (build("detail", extra=f"temporal = {t}") for t in (2.0, 0.0))
    targets = [grey(100), grey(100)]
    field = torch.zeros(2, 1, 2, 4, 4)
    field[:, :, 0] = 16  # quarter samples: this frame shows what was four samples away
    batch = a_batch(targets)._replace(motion=field)
    first, moved = (Planes(*(p.clone() for p in grey(100))) for _ in range(2))
    first.y[..., 8:16, 12:20] += 0.1
    there = warp(first, field[:, 0])
    assert not torch.equal(there.y, first.y)
    moved.y.copy_(there.y)

    def added(second: Planes) -> float:
        frames = shown([first, second], targets)
        return float((with_it.faithful(batch, frames) - without.faithful(batch, frames)).max())

    assert added(moved) < NOTHING
    assert added(first) > 0.5


def test_temporal_is_of_what_changed_wrongly(build: Callable[..., Any]) -> None:
    without, with_it = build("detail"), build("detail", extra="temporal = 2.0")
    targets = [grey(100), grey(110)]
    batch = a_batch(targets)

    def added(outputs: list[Planes]) -> float:
        frames = shown(outputs, targets)
        more = with_it.faithful(batch, frames) - without.faithful(batch, frames)
        return float(more.abs().max())

    assert added(targets) < NOTHING
    assert added([grey(105), grey(115)]) < 1e-3  # wrong by as much in both: nothing flickers
    assert added([grey(105), grey(110)]) > 1
    alone = a_batch(targets[:1])
    frames = shown([grey(105)], targets[:1])  # a first frame has none before it
    assert torch.equal(with_it.faithful(alone, frames), without.faithful(alone, frames))


def test_consistency_is_for_what_was_only_made_smaller(build: Callable[..., Any]) -> None:
    without, with_it = build("sr2"), build("sr2", extra="consistency = 2.0")
    target = grey(100)
    rough = Planes(*(p.clone() for p in target))
    rough.y[..., ::2, ::2] += 0.2
    rough.y[..., 1::2, 1::2] -= 0.2  # which goes away when it is made smaller

    def added(out: Planes, level: float) -> float:
        batch = a_batch([target], level, inputs=[reduce(target, 2)])
        frames = shown([out], [target])
        more = with_it.faithful(batch, frames) - without.faithful(batch, frames)
        return float(more.abs().max())

    assert added(target, 63) < 1e-3
    assert added(rough, 63) < 2
    assert added(grey(151), 63) > 50  # of the same size, and in what is kept
    assert added(grey(110), 62) == 0  # a codec changed it: its mean is not to be kept


def test_consistency_is_with_the_middle_of_the_window(build: Callable[..., Any]) -> None:
    without, with_it = build("detail"), build("detail", extra="consistency = 2.0")
    inputs = [grey(50), grey(100), grey(110), grey(200)]
    targets = inputs[1:3]
    batch = a_batch(targets, inputs=inputs)
    frames = shown(targets, targets)
    more = with_it.faithful(batch, frames) - without.faithful(batch, frames)
    assert more.abs().max() < NOTHING


@pytest.mark.parametrize("chance", [0.0, 0.25])
def test_noisy_targets_have_the_clean_frame_as_minimum(
    chance: float, build: Callable[..., Any]
) -> None:
    """Of many takes: even where impulses make them something else on average."""
    squared = build("denoise", extra='error = "l2"')
    rng = np.random.default_rng(0)
    noise, size = Noise(20, chance=chance), 32
    flat = flat_clip(size, 1, seed=3)[0]
    takes = np.stack([noise.take(flat, size, rng) for _ in range(256)])
    y, u, v = np.split(takes / 255, [size * size, size * size * 5 // 4], 1)
    half = size // 2
    target = Planes(
        torch.from_numpy(y.reshape(-1, 1, size, size)).float(),
        torch.from_numpy(u.reshape(-1, 1, half, half)).float(),
        torch.from_numpy(v.reshape(-1, 1, half, half)).float(),
    )
    clean = planes_from_flat(torch.from_numpy(flat[None]), size)

    def loss_of(out: Planes) -> float:
        many = Planes(*(p.expand(256, -1, -1, -1) for p in out))
        level = torch.full((256,), 30.0)
        batch = Batch([target] * 5, [target], level, torch.full((256,), chance), None)
        return float(squared.faithful(batch, shown([many], [target])).mean())

    best = loss_of(clean)
    for change in (-8, 8):
        assert loss_of(Planes(*(p + change / 255 for p in clean))) > best
    towards_grey = Planes(*((1 - 0.25) * p + 0.25 * MIDDLE / 255 for p in clean))
    assert loss_of(towards_grey) > best + 1


def test_balance_lets_light_noise_be_heard(build: Callable[..., Any]) -> None:
    plain = build("denoise", extra='error = "l2"')
    balanced = build("denoise", extra='error = "l2"\nbalance = 1.5')
    target = [grey(100)]
    ratios = []
    for sigma in (2.0, 8.0, 50.0):
        level = float(noise_level(torch.tensor(sigma)))
        assert float(sigma_of(torch.tensor(level))) == pytest.approx(sigma)
        batch, frames = a_batch(target, level), shown([grey(120)], target)
        ratio = balanced.faithful(batch, frames) / plain.faithful(batch, frames)
        ratios.append(float(ratio[0]))
    assert ratios[0] > 1 > ratios[2]
    assert ratios[1] == pytest.approx(1)


def test_a_fresh_net_starts_with_its_input(build: Callable[..., Any]) -> None:
    """The roll-out shows what goes in, and, untrained, gives it back: no gain, bicubic for sr."""
    for name, frames in (("sr2", 3), ("denoise", 1), ("detail", 2)):
        s = build(name)
        batch, rolled = s.roll(np.random.default_rng(0))
        assert len(rolled) == len(batch.targets) == frames
        window = s.data.info.window
        for t, frame in enumerate(rolled):
            given = enlarge(batch.inputs[t + window // 2], s.data.info.scale)
            for a, b, c in zip(frame.picture, frame.planes, given, strict=True):
                assert torch.equal(a, c)
                assert torch.allclose(a, b, atol=1e-6)
        loss, numbers = s.loss(np.random.default_rng(0), 0.0)
        assert (float(loss.detach()) > 1) == (name == "sr2")  # the others' targets are inputs
        assert numbers["psnr_y_gain"] == pytest.approx(0, abs=1e-4)
        assert [id(p) for p in s.parameters()] == [id(p) for p in s.net.parameters()]


def test_memory_is_given_in_so_many_of_the_steps(
    build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []
    real = Restorer.restore

    def restore(
        self: Restorer,
        frames: list[Tensor],
        level: Tensor,
        before: Planes | None = None,
        sharper: Tensor | None = None,
    ) -> Planes:
        given.append(before is not None)
        return real(self, frames, level, before, sharper)

    monkeypatch.setattr(Restorer, "restore", restore)
    for share, least, most in ((0.0, 0, 0), (0.5, 0.2, 0.8), (1.0, 1, 1)):
        s = build("sr2", extra=f"memory = {share}")
        steps = []
        for seed in range(16):
            given.clear()
            s.roll(np.random.default_rng(seed))
            first, *later = given
            assert not first
            assert len(set(later)) == 1  # of a roll-out all or none
            steps.append(later[0])
        assert least <= np.mean(steps) <= most


def test_the_adversarial_stage_trains_both(build: Callable[..., Any]) -> None:
    """The critic's loss moves the critic alone, the rest the net alone; parts can be left out."""
    s = build("sr2", "restore-adversarial")
    critic = {id(p) for p in s.critic.parameters()}
    assert critic
    assert {id(p) for p in s.parameters()} == critic | {id(p) for p in s.net.parameters()}
    assert set(s.helpers) == {"critic"}
    _, rolled = s.roll(np.random.default_rng(0))
    for penalised in (False, True):
        of_critic, head, matching, right = s._contest(rolled[0], penalised)
        assert 0 <= right <= 1
        for loss, moved in ((of_critic, True), (head.mean() + matching.mean(), False)):
            for p in s.parameters():
                p.grad = None
            loss.backward(retain_graph=True)
            touched = {id(p) for p in s.parameters() if p.grad is not None and p.grad.any()}
            assert touched
            assert touched <= critic if moved else not touched & critic
    nothing = "faithful = 1.0\nperception = 0\nadversarial = 0"
    bare = build("sr2", "restore-adversarial", nothing)
    plain = build("sr2")
    loss, numbers = bare.loss(np.random.default_rng(3), 0.0)
    expected, _ = plain.loss(np.random.default_rng(3), 0.0)
    assert float(loss.detach()) - numbers["critic"] == pytest.approx(float(expected.detach()))


def test_distances_may_be_shares_of_the_inputs(build: Callable[..., Any]) -> None:
    """A net that changes nothing has a share of one, but for what keeps it finite."""
    s = build("detail", "restore-adversarial", "relative = true\nadversarial = 0")
    rng = np.random.default_rng(1)
    for planes in s.data.batch(rng, 2).inputs:
        assert planes.y.isfinite().all()
    real = s.roll

    def degraded(rng: np.random.Generator) -> tuple[Batch, list[Restored]]:
        batch, frames = real(rng)
        noise = torch.randn(frames[0].picture.y.shape) * 0.2
        rough = [Planes(f.target.y + noise, f.target.u, f.target.v) for f in frames]
        return batch, shown(rough, [f.target for f in frames])

    s.roll = degraded
    _, numbers = s.loss(np.random.default_rng(2), 0.0)
    assert numbers["st_lpips"] > 0.02
    assert numbers["share"] == pytest.approx(1, abs=0.35)
    assert numbers["share"] < 1
    _, plain = build("detail", "restore-adversarial").loss(np.random.default_rng(2), 0.0)
    assert "share" not in plain


# ── From a recipe to an enhancer ─────────────────────────────────────────────────────────────

TWO = (
    stage("restore", 3, "consistency = 0.5"),
    stage("restore-adversarial", 3, "temporal = 0.5"),
)


def test_recipe_to_enhancer(pairs: dict[str, Path], tmp_path: Path) -> None:
    """Two stages, then an enhancer of two strengths; another run finds all done, or goes on."""
    model = f"{MODELS['sr2']}\n{WIDTHS}"
    path = recipe_of(tmp_path / "run.toml", pairs["sr2"], model, *TWO)
    entry = train(Recipe.read(path), quiet)
    folder = tmp_path / "run" / "model"
    loaded = load_enhancer(str(folder))
    assert loaded.name == "tiny.v1"
    assert loaded.config == Recipe.read(path).config
    for kind, weights in (("restore", loaded.faithful), ("restore-adversarial", loaded.detailed)):
        average = load_file(tmp_path / "run" / f"{kind}.safetensors")
        for name, p in weights.items():
            assert torch.equal(p, average[f"average/{name}"].half().float())
    assert not torch.equal(loaded.faithful["leave.weight"], loaded.detailed["leave.weight"])
    batch = moving_texture(32, 16, 2)
    for strength in (0.0, 1.0):
        enhancement = Enhancement("sr", 2, strength=strength, model=str(folder))
        assert Enhancer(enhancement).enhance(batch).y.shape == (2, 32, 64)

    card = entry["card"]
    assert json.loads((folder / "manifest.json").read_text())["tiny.v1"]["card"] == json.loads(
        json.dumps(card)
    )
    codecs = [set(m["card"]) - {"headline"} for m in list_models().values() if "card" in m]
    assert set(card) in codecs
    of_stage = set(card["stages"]["restore"]) - {"consistency"}
    assert of_stage == {"batch", "last", "learning_rate", "patch", "steps"}
    assert card["licence"] == "CC0-1.0"
    assert card["data"] == ("made by the test",)
    assert card["stages"]["restore-adversarial"]["temporal"] == 0.5
    assert card["stages"]["restore"]["steps"] == 3
    net = Restorer(loaded.config)
    assert sum(card["parameters"].values()) == sum(p.numel() for p in net.parameters())

    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").glob("*.*")}
    again = train(Recipe.read(path), quiet)
    assert again["sha256"] == entry["sha256"]
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "run").glob("*.*")}

    start = f'start_from = "{tmp_path / "run" / "restore.safetensors"}"'
    one = stage("restore", 1)
    further = recipe_of(tmp_path / "further.toml", pairs["sr2"], model, one, run=start)
    built = loop.build_nets(Recipe.read(further))
    for name, p in built.named_parameters():
        assert torch.equal(p.half().float(), loaded.faithful[name])
    train(Recipe.read(further), quiet)
    only = load_enhancer(str(tmp_path / "further" / "model"))
    assert only.detailed is only.faithful  # of one stage there is but one set


def test_resume_is_exact(
    pairs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second stage and gone on: the very same weights as in one go."""
    model = f"{MODELS['sr2']}\n{WIDTHS}"
    whole = Recipe.read(recipe_of(tmp_path / "whole.toml", pairs["sr2"], model, *TWO))
    broken = Recipe.read(recipe_of(tmp_path / "broken.toml", pairs["sr2"], model, *TWO))
    expected = train(whole, quiet)

    class Stop(Exception):
        pass

    steps = 0
    real = loop.learning_rate

    def stop_at_five(*args: Any) -> float:
        nonlocal steps
        steps += 1
        if steps == 5:
            raise Stop
        return real(*args)

    monkeypatch.setattr(loop, "learning_rate", stop_at_five)
    with pytest.raises(Stop):
        train(broken, quiet)
    assert not (broken.folder / "model").exists()
    found = train(broken, quiet)
    assert steps == 5 + 2  # the first stage, and the first step of the second, were not done again
    assert found["sha256"] == expected["sha256"]
    for name in ("restore", "restore-adversarial"):
        a = load_file(whole.folder / f"{name}.safetensors")
        b = load_file(broken.folder / f"{name}.safetensors")
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert any(key.startswith("average/helpers.critic") for key in a)


def test_a_codec_s_config_is_no_enhancer_s() -> None:
    """One loop for both: what a recipe's [model] says decides."""
    recipes = {p.stem: Recipe.read(p) for p in RECIPES}
    assert isinstance(recipes["base"].config, CodecConfig)
    assert isinstance(loop.build_nets(recipes["denoise"]), Restorer)


def test_a_net_too_narrow_for_muon_trains(pairs: dict[str, Path], tmp_path: Path) -> None:
    model = f"{MODELS['detail']}\nwidths = [4, 6, 8]\ndepths = [1, 0, 1, 0, 1]"
    path = recipe_of(tmp_path / "narrow.toml", pairs["detail"], model, stage("restore", 2))
    train(Recipe.read(path), quiet)
    keys = load_file(tmp_path / "narrow" / "restore.safetensors").keys()
    assert any(key.startswith("adam/") for key in keys)
    assert not any(key.startswith("muon/") for key in keys)


def test_a_recipe_may_start_from_an_enhancer() -> None:
    nets = Restorer(load_enhancer("sr4.v1").config)
    loop.start_from_enhancer(nets, "sr4.v1")
    assert torch.equal(nets.leave.weight, load_enhancer("sr4.v1").faithful["leave.weight"])
    with pytest.raises(UsageError, match="cannot start from denoise"):
        loop.start_from_enhancer(nets, DEFAULTS["denoise", 1])
