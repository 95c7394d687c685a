"""The stage that teaches a deblurring net to guess what blurred a frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gancodec.enhancer import Enhancement, Enhancer
from gancodec.errors import UsageError
from gancodec.models.blur import KERNEL
from gancodec.models.restore import Restorer
from gancodec.train import loop
from gancodec.train.degrade import Preparation
from gancodec.train.kernels import KernelStage
from gancodec.train.loop import train
from gancodec.train.pairs import Pairs, Sample, write_pairs
from gancodec.train.recipe import Recipe
from gancodec.video.synth import moving_texture

INFO = Preparation("deblur", 1, 64).info
MODEL = 'task = "deblur"\nframes = 5\nwidths = [16, 16, 16]\ndepths = [1, 0, 1, 0, 1]'
STAGE = '[[stage]]\nname = "{}"\nsteps = {}\nbatch = 2\npatch = 64\nlearning_rate = 1e-3\n'


def quiet(_: str) -> None:
    pass


def write(folder: Path, *, kernels: bool = True) -> Path:
    """Two samples: one smeared across, one along."""
    samples = []
    for k in range(2):
        clip = moving_texture(64, 64, 5, k, (10, -10))
        flat = np.concatenate([p.reshape(5, -1) for p in (clip.y, clip.u, clip.v)], 1)
        kernel = np.zeros((KERNEL, KERNEL), np.float32)
        kernel[8, 3:9] = 1 / 6
        known = (kernel.T if k else kernel) if kernels else None
        samples.append(Sample(flat, flat[2:3], 30.0, kernel=known))
    write_pairs(samples, INFO, folder)
    return folder


@pytest.fixture
def recipe_of(tmp_path: Path) -> Callable[..., Recipe]:
    def make(data: Path, *stages: tuple[str, int], guesses: str = "true") -> Recipe:
        run = f'name = "blur.v1"\nfolder = "{tmp_path / "run"}"\ndata = ["{data}"]'
        parts = "".join(STAGE.format(*s) for s in stages)
        path = tmp_path / "recipe.toml"
        path.write_text(f"[run]\n{run}\n[model]\n{MODEL}\nguesses = {guesses}\n{parts}")
        return Recipe.read(path)

    return make


def test_kernels_turn_with_their_frames(tmp_path: Path) -> None:
    pairs = Pairs(write(tmp_path / "pairs"))
    seen = set()
    for seed in range(100):
        kernel = pairs.batch(np.random.default_rng(seed), 2).kernel
        assert kernel is not None
        assert kernel.shape == (2, 1, KERNEL, KERNEL)
        across = kernel[0, 0]
        rows, columns = np.nonzero(across.numpy())
        seen.add((rows.min(), rows.max(), columns.min(), columns.max()))
    ends = {(8, 8), (16, 16)}, {(3, 8), (16, 21)}
    flat = {(*r, *c) for r in ends[0] for c in ends[1]}
    assert seen == flat | {(*s[2:], *s[:2]) for s in flat}  # mirrored, flipped and transposed


def test_kernels_are_learnt(tmp_path: Path, recipe_of: Callable[..., Recipe]) -> None:
    """A net that sees the same few samples again and again finds their kernels."""
    recipe = recipe_of(write(tmp_path / "pairs"), ("blur-kernel", 1))
    nets = loop.build_nets(recipe)
    assert isinstance(nets, Restorer)
    stage = recipe.stages[0].build(nets, recipe)
    assert isinstance(stage, KernelStage)
    assert nets.guess is not None
    assert {id(p) for p in stage.parameters()} == {id(p) for p in nets.guess.parameters()}
    _, before = stage.loss(np.random.default_rng(0), 0.0)
    optimizer = torch.optim.Adam(stage.parameters(), 3e-3)
    for step in range(40):
        optimizer.zero_grad()
        loss, numbers = stage.loss(np.random.default_rng(step), 0.0)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert numbers["excess"] < 0.7 * before["excess"]
    assert numbers["missed"] < before["missed"]


def test_restoring_leaves_guesses_alone(tmp_path: Path, recipe_of: Callable[..., Recipe]) -> None:
    """And an enhancer of both stages holds what each of them learnt, once."""
    recipe = recipe_of(write(tmp_path / "pairs"), ("blur-kernel", 2), ("restore", 2))
    entry = train(recipe, quiet)
    kept = load_file(recipe.folder / "blur-kernel.safetensors")
    moved = load_file(recipe.folder / "restore.safetensors")
    assert not [name for name in moved if "guess." in name]
    written = load_file(recipe.folder / "model" / entry["file"])
    guesses = {name for name in written if ".guess." in name}
    assert guesses == {f"faithful.{n[8:]}" for n in kept if n.startswith("average/guess.")}
    for name in guesses:
        average = kept[f"average/{name.removeprefix('faithful.')}"]
        assert torch.equal(written[name], average.half())
    assert all(name.startswith("faithful.") for name in written)
    enhancer = Enhancer(Enhancement("deblur", model=str(recipe.folder / "model")))
    assert len(enhancer.enhance(moving_texture(48, 32, 2, seed=3))) == 2


def test_guesses_alone_change_nothing(tmp_path: Path, recipe_of: Callable[..., Recipe]) -> None:
    recipe = recipe_of(write(tmp_path / "pairs"), ("blur-kernel", 1))
    train(recipe, quiet)
    batch = moving_texture(48, 32, 2, seed=3)
    enhancer = Enhancer(Enhancement("deblur", model=str(recipe.folder / "model")))
    assert np.abs(enhancer.enhance(batch).y.astype(int) - batch.y).max() <= 1


@pytest.mark.parametrize(("guesses", "kernels"), [("true", False), ("false", True)])
def test_kernels_are_for_nets_that_guess(
    guesses: str, kernels: bool, tmp_path: Path, recipe_of: Callable[..., Recipe]
) -> None:
    data = write(tmp_path / "pairs", kernels=kernels)
    recipe = recipe_of(data, ("blur-kernel", 1), guesses=guesses)
    with pytest.raises(UsageError, match="guesses = true and pairs with kernels"):
        recipe.stages[0].build(loop.build_nets(recipe), recipe)
