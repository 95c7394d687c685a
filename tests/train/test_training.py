"""Training from a folder to weights: it learns, resumes to the step, and its model codes video."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gancodec.codec import Decoder, Encoder
from gancodec.config import CodecConfig
from gancodec.errors import InputError, ModelError, UsageError
from gancodec.nn.motion import warp
from gancodec.registry import _load, find_model, known_answer_of, load_model
from gancodec.train import loop
from gancodec.train.data import (
    find_sources,
    mirror,
    planes_from_flat,
    prepare_sequences,
    still_batch,
)
from gancodec.train.export import freeze, thaw
from gancodec.train.loop import train
from gancodec.train.publish import clips_of
from gancodec.train.recipe import Recipe
from gancodec.types import VideoInfo
from gancodec.video.synth import moving_texture, write_test_video

MODEL = """
[model]
intra_width = 16
intra_depth = 1
intra_groups = [4, 12]
intra_hyper = 4
inter_encoder_width = 16
inter_decoder_width = 16
inter_encoder_depth = 1
inter_decoder_depth = 1
inter_groups = [4, 12]
inter_hyper = 4
prior_features = 16
synthesis_width = 16
synthesis_depth = 1
"""


def stage(name: str, steps: int, extra: str = "") -> str:
    rate = "learning_rate = 1e-3\npatch = 64\nbatch = 2\nsave_seconds = 0\n"
    return f'[[stage]]\nname = "{name}"\nsteps = {steps}\n{rate}{extra}\n'


ROLL = "length = 4\ncrops = 2\nframes = [1, 2]"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    info = VideoInfo(128, 96, Fraction(25), Fraction(1, 25))
    batch = moving_texture(128, 96, 8, seed=1)
    write_test_video(folder / "clip.mkv", batch, info, codec="ffv1")
    return folder


def recipe_of(tmp_path: Path, data: Path, *stages: str, folder: str = "run") -> Path:
    path = tmp_path / f"{folder}.toml"
    cache = data.parent / "cache"
    head = f'[run]\nname = "tiny.v1"\nfolder = "{tmp_path / folder}"\ncache = "{cache}"\n'
    path.write_text(
        head + f'data = ["{data}"]\nlicence = "CC0-1.0"\ncredits = ["made by the test"]\n'
    )
    with path.open("a") as file:
        file.write(MODEL + "".join(stages))
    return path


def test_recipe_to_video(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All stages, then a file coded with the weights they gave."""
    stages = (
        stage("intra", 30),
        stage("inter", 10, ROLL),
        stage("joint", 2, ROLL),
        stage("adversarial", 3, ROLL),
    )
    path = recipe_of(tmp_path, data, *stages)
    entry = train(Recipe.read(path), log=lambda _: None)
    card = entry["card"]
    assert card["licence"] == "CC0-1.0"
    assert card["data"] == ("made by the test",)
    assert card["stages"]["inter"]["steps"] == 10
    folder = tmp_path / "run" / "model"
    monkeypatch.setenv("GANCODEC_MODELS", str(folder))
    _load.cache_clear()
    model = load_model("tiny.v1")
    batch = moving_texture(64, 48, 3, seed=2)
    info = VideoInfo(64, 48, Fraction(25), Fraction(1, 25))
    packets = list(Encoder(info, model=model).encode(batch))
    decoder = Decoder(info, find_model(model.references))
    for p in packets:
        decoder.decode(p.kind, p.pts, p.data)
        assert decoder.symbol_hash == p.symbol_hash
    again = freeze(thaw(model))  # train on from shipped weights: nothing is lost on the way
    assert known_answer_of(again.nets) == known_answer_of(model.nets)
    changed = thaw(model, moving_latents=False)
    assert changed.config == dataclasses.replace(model.nets.config, moving_latents=False)
    assert known_answer_of(freeze(changed).nets) == known_answer_of(model.nets)
    with pytest.raises(UsageError, match="cannot be changed so"):
        thaw(model, intra_width=24)
    with pytest.raises(UsageError, match="nonsense"):
        thaw(model, nonsense=1)
    further = path.read_text().replace("[run]", '[run]\nstart_from = "tiny.v1"')
    path.write_text(further.replace(f'"{tmp_path / "run"}"', f'"{tmp_path / "further"}"'))
    train(Recipe.read(path), log=lambda _: None)
    first = json.loads((tmp_path / "further" / "intra.jsonl").read_text().splitlines()[0])
    fresh = json.loads((tmp_path / "run" / "intra.jsonl").read_text().splitlines()[0])
    assert first["loss"] < fresh["loss"]
    _load.cache_clear()
    weights = folder / "tiny.v1.codec.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ModelError, match="SHA-256"):
        load_model("tiny.v1")
    _load.cache_clear()


def test_a_few_steps_learn(tmp_path: Path, data: Path) -> None:
    """The loss of fresh nets falls well below its start."""
    path = recipe_of(tmp_path, data, stage("intra", 200))
    recipe = Recipe.read(path)
    torch.manual_seed(0)
    codec = loop.build_nets(recipe)
    built = recipe.stages[0].build(codec, recipe)
    recipe.folder.mkdir()
    loop.run_stage(codec, built, recipe.stages[0], recipe.folder, loop.Workers(), lambda _: None)
    lines = (recipe.folder / "intra.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert np.mean(losses[-4:]) < 0.8 * losses[0]


@pytest.mark.parametrize(("name", "options"), [("intra", ""), ("inter", ROLL)])
def test_perception_adds_to_the_loss(tmp_path: Path, data: Path, name: str, options: str) -> None:
    def losses(perception: float) -> tuple[float, dict[str, float]]:
        extra = f"{options}\nperception = {perception}"
        recipe = Recipe.read(recipe_of(tmp_path, data, stage(name, 1, extra)))
        torch.manual_seed(0)
        codec = loop.build_nets(recipe)
        built = recipe.stages[0].build(codec, recipe)
        built.start()
        torch.manual_seed(1)  # of the noise
        loss, numbers = built.loss(np.random.default_rng(0), 0.0)
        return float(loss.detach()), numbers

    (plain, without), (seen, numbers) = losses(0.0), losses(433.0)
    assert without["st_lpips"] == 0
    assert numbers["st_lpips"] > 0.01
    assert numbers["psnr_y"] == pytest.approx(without["psnr_y"])
    assert seen > 1.05 * plain


@pytest.mark.parametrize(("name", "options"), [("intra", ""), ("adversarial", ROLL)])
def test_resume_is_exact(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: str
) -> None:
    """Stopped after 4 steps and gone on: the very same weights as in one go, the critic's too."""
    monkeypatch.setattr(loop, "publish", lambda *_: {})
    stages = stage(name, 7, options)
    whole = Recipe.read(recipe_of(tmp_path, data, stages, folder="whole"))
    train(whole, log=lambda _: None)
    broken = Recipe.read(recipe_of(tmp_path, data, stages, folder="broken"))
    steps = 0

    class Stop(Exception):
        pass

    real = loop.learning_rate

    def stop_at_four(*args: object) -> float:
        nonlocal steps
        steps += 1
        if steps == 5:
            raise Stop
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "learning_rate", stop_at_four)
    with pytest.raises(Stop):
        train(broken, log=lambda _: None)
    train(broken, log=lambda _: None)
    a = load_file(whole.folder / f"{name}.safetensors")
    b = load_file(broken.folder / f"{name}.safetensors")
    assert a.keys() == b.keys()
    assert any(loop.HELPERS in key for key in a) == (name == "adversarial")
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_two_processes_stay_in_step(tmp_path: Path, data: Path) -> None:
    """torchrun with two ranks trains one set of weights and publishes once."""
    path = recipe_of(tmp_path, data, stage("intra", 3), stage("inter", 2, ROLL))
    port = str(20000 + os.getpid() % 20000)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    command += ["--master_addr=127.0.0.1", f"--master_port={port}"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-m", "gancodec", "train", str(path)],
        env=env,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "model" / "tiny.v1.codec.safetensors").exists()
    steps = [json.loads(x)["step"] for x in (tmp_path / "run/intra.jsonl").read_text().splitlines()]
    assert steps == [1, 3]  # only the first rank writes


def test_sequences_are_prepared_once(tmp_path: Path, data: Path) -> None:
    first = prepare_sequences([data], tmp_path, size=64, length=4, crops=2)
    stamp = max(p.stat().st_mtime_ns for p in tmp_path.iterdir())
    again = prepare_sequences([data], tmp_path, size=64, length=4, crops=2)
    assert stamp == max(p.stat().st_mtime_ns for p in tmp_path.iterdir())
    assert np.array_equal(first.patches, again.patches)
    assert first.motion.shape == (len(first.patches), 3, 2, 8, 8)
    info, batch = next(clips_of(first.patches, first.size, 1))
    assert (info.width, len(batch)) == (64, 4)


def test_mirrored_sequences_move_as_they_should() -> None:
    rng = np.random.default_rng(0)
    size = 32
    flats = torch.from_numpy(rng.integers(0, 256, (2, 3, size * size * 3 // 2), dtype=np.uint8))
    motion = torch.from_numpy(rng.integers(-12, 13, (2, 2, 2, 4, 4))).float()
    turned, back = mirror(flats, motion, size)
    for t in range(2):
        one = warp(planes_from_flat(flats[:, t], size), motion[:, t])
        other = warp(planes_from_flat(turned[:, t], size), back[:, t])
        for a, b in zip(one, other, strict=True):
            inside = (a - b.flip(-1))[..., 6:-6, 6:-6]  # half samples end on the right
            assert inside.abs().max() < 1e-4
    again, same = mirror(turned, back, size)
    assert torch.equal(again, flats)
    assert torch.equal(same, motion)


def test_still_patches_are_random_but_reproducible(data: Path) -> None:
    from gancodec.train.data import load_stills

    stills = load_stills([data], 64, every=4)
    a, b, c = (still_batch(stills, np.random.default_rng(s), 4, 64) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_shipped_recipes_are_whole() -> None:
    """Those of the codec: the default architecture, stages in order, and its data's licences."""
    folder = Path(loop.__file__).parent / "recipes"
    names = {"base", "recipe-cpu", "perceptual", "closer", "colours"}
    recipes = {p.stem: Recipe.read(p) for p in folder.glob("*.toml")}
    assert {n for n, r in recipes.items() if isinstance(r.config, CodecConfig)} == names
    for name in names:
        recipe = recipes[name]
        assert recipe.config == CodecConfig()
        later = (
            ["joint", "adversarial"]
            if name in ("perceptual", "closer", "colours")
            else ["intra", "inter"]
        )
        assert [s.name for s in recipe.stages][:2] == later
        assert bool(recipe.start_from) == (name != "recipe-cpu")
        assert recipe.licence != "unknown"
        assert recipe.credits


def test_bad_recipes_get_one_sentence(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InputError, match="cannot read the recipe"):
        Recipe.read(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("run = [")
    with pytest.raises(UsageError, match="not valid TOML"):
        Recipe.read(bad)
    with pytest.raises(UsageError, match="a stage is one of"):
        Recipe.read(recipe_of(tmp_path, data, stage("dream", 1)))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no videos or pictures"):
        find_sources([empty])
