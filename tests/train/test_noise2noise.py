"""Noise2Noise: nothing clean is in its pairs or within reach of training, and still it learns."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from gancodec.enhancer import load_enhancer
from gancodec.models.degradation import noise_level, sigma_of
from gancodec.models.restore import Restorer, RestorerConfig, halved
from gancodec.nn.planes import Planes
from gancodec.train import restoring
from gancodec.train.data import planes_from_flat
from gancodec.train.degrade import Noise, Preparation, prepare, samples_of
from gancodec.train.losses import psnr_y
from gancodec.train.pairs import PairsInfo, Sample, write_pairs
from gancodec.train.restoring import RestoreStage
from gancodec.types import VideoInfo
from gancodec.video.synth import moving_texture, write_test_video

MODEL = """
[model]
task = "denoise"
frames = 5
widths = [16, 16, 16]
depths = [1, 0, 1, 0, 1]
"""
RECIPE = """
[run]
name = "tiny.v1"
folder = "{run}"
data = ["{data}"]
{model}
[[stage]]
name = "{stage}"
steps = 3
batch = 2
patch = 32
learning_rate = 1e-3
"""

# Runs `gancodec` and writes down every path that Python opens or lists, from before its imports on.
WATCHED = """
import json, os, sys
seen = []
def watch(event, args):
    if event in ("open", "os.listdir", "os.scandir", "os.rename", "os.link", "os.symlink"):
        seen.extend(os.fsdecode(a) for a in args[:2] if isinstance(a, (str, bytes, os.PathLike)))
sys.addaudithook(watch)
from gancodec.cli import main
code = main(sys.argv[2:])
paths = [os.path.abspath(p) for p in seen]
with open(sys.argv[1], "w") as file:
    json.dump(paths, file)
sys.exit(code)
"""


def test_noise2noise_cannot_open_a_clean_file(
    tmp_path: Path, fresh_python: Callable[..., Any]
) -> None:
    """The pairs hold nothing clean, the clean folder is gone, and nobody asks for it."""
    clean = tmp_path / "untouched"
    clean.mkdir()
    info = VideoInfo(96, 64, Fraction(25), Fraction(1, 25))
    for k in range(3):
        batch = moving_texture(96, 64, 12, seed=k)
        write_test_video(clean / f"secret-{k}.mkv", batch, info)
    what = Preparation("denoise", size=32, takes=8)
    data = tmp_path / "pairs"
    told = dataclasses.replace(what, clean=True)  # the same takes, and what they are of
    twins = [s for file in sorted(clean.iterdir()) for s in samples_of(told, file)]
    assert prepare(what, [clean], data) == len(twins) >= 12
    truth = np.stack([s.targets[0] for s in twins])
    inputs, targets = np.load(data / "inputs.npy"), np.load(data / "targets.npy")[:, 0]
    assert np.array_equal(inputs, np.stack([s.inputs for s in twins]))
    for array in (targets, *inputs.transpose(1, 0, 2)):  # each frame beside every clean one
        assert not (array[:, None] == truth[None]).all(-1).any()
    assert (targets[:, :1024] != truth[:, :1024]).mean() > 0.5
    names = {p.name for p in clean.iterdir()}
    shutil.rmtree(clean)

    recipe = tmp_path / "run.toml"
    text = RECIPE.format(run=tmp_path / "run", data=data, model=MODEL, stage="restore")
    recipe.write_text(text + 'error = "l2"\nbalance = 1.5\n')
    log = tmp_path / "opened.json"
    fresh_python(WATCHED, str(log), "train", str(recipe), cwd=tmp_path)
    opened = [Path(p) for p in json.loads(log.read_text())]
    assert data / "inputs.npy" in opened  # the watch was awake
    assert data / "targets.npy" in opened
    assert not [p for p in opened if p.is_relative_to(clean) or p.name in names]
    allowed = (data, recipe, tmp_path / "run")
    others = {p for p in opened if not any(p.is_relative_to(a) for a in allowed)}
    assert others & set(tmp_path.rglob("*")) == set()
    assert load_enhancer(str(tmp_path / "run" / "model")).config.task == "denoise"


def test_the_watch_sees_who_opens_clean_files(
    tmp_path: Path, fresh_python: Callable[..., Any]
) -> None:
    """A recipe of the codec, whose data are the clean files, would not pass the test above."""
    secret = tmp_path / "untouched"
    secret.mkdir()
    (secret / "secret.png").write_bytes(b"no picture")
    recipe = tmp_path / "codec.toml"
    recipe.write_text(RECIPE.format(run=tmp_path / "run", data=secret, model="", stage="intra"))
    log = tmp_path / "opened.json"
    fresh_python(WATCHED, str(log), "train", str(recipe), cwd=tmp_path, check=False)
    assert str(secret) in json.loads(log.read_text())


def flat_frame(size: int, seed: int) -> npt.NDArray[np.uint8]:
    batch = moving_texture(size, size, 1, seed)
    return np.concatenate([batch.y.ravel(), batch.u.ravel(), batch.v.ravel()])


def small_denoiser(folder: Path, kind: str, spread: float = 0.02) -> float:
    """dB that a tiny net gains on clean frames it has not seen, after 50 steps on pairs of a kind:
    "independent" takes, "same" (the second take is the first) or "clean"."""
    size, count = 32, 48
    rng = np.random.default_rng(0)
    noise = Noise(25.0, chroma=1.0)
    made = []
    for k in range(count):
        flat = flat_frame(size, k)
        first, second = (np.round(noise.take(flat, size, rng)) for _ in range(2))
        targets = {"independent": second, "same": first, "clean": flat.astype(np.float64)}
        level = float(noise_level(torch.tensor(25.0)))
        made.append(
            Sample(first.astype(np.int16)[None], targets[kind].astype(np.int16)[None], level)
        )
    write_pairs(made, PairsInfo("denoise", 1, size, 1, 1), folder / kind)
    torch.manual_seed(0)
    net = Restorer(RestorerConfig("denoise", widths=(12, 16, 16), depths=(1, 1, 1, 1, 1)))
    torch.nn.init.normal_(net.leave.weight, std=spread)  # not where "same" is at its best already
    built = RestoreStage(net, [folder / kind], folder, batch=8, patch=size, error="l2")
    optimizer = torch.optim.Adam(net.parameters(), 4e-3)
    for step in range(50):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * (1 - step / 50)
        loss, _ = built.loss(np.random.default_rng(step), 0.0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    gains = []
    for k in range(100, 108):
        flat = flat_frame(size, k)
        clean = planes_from_flat(torch.from_numpy(flat[None]), size)
        taken = torch.from_numpy(noise.take(flat, size, rng) / 255).float()[None]
        half = size * size // 4
        y, u, v = torch.split(taken, [size * size, half, half], 1)
        side = size // 2
        given = Planes(y.view(1, 1, size, size), u.view(1, 1, side, side), v.view(1, 1, side, side))
        with torch.inference_mode():
            out = net.restore([halved(given)], noise_level(torch.tensor([25.0])))
        gains.append(float(psnr_y(out, clean) - psnr_y(given, clean)))
    return float(np.mean(gains))


def test_what_teaches_is_that_takes_are_independent(tmp_path: Path) -> None:
    """Nearly as much as the clean frame would; a take that equals the first teaches nothing."""
    gains = {kind: small_denoiser(tmp_path, kind) for kind in ("independent", "same", "clean")}
    assert gains["independent"] > 3
    assert gains["independent"] > gains["clean"] - 1
    assert abs(gains["same"]) < 0.5


# ── Windows that repeat themselves, and noise of every strength ──────────────────────────────


@pytest.mark.parametrize(("single", "wanted"), [(True, [2] * 5), (False, [0, 1, 2, 1, 0])])
def test_a_window_may_repeat_itself(single: bool, wanted: list[int]) -> None:
    """As a picture on its own fills it, or the end of a scene."""
    frames = [Planes(*(torch.full((1, 1, 2, 2), float(t)) for _ in range(3))) for t in range(5)]
    seen = restoring._repeated(frames, 5, single=single)
    assert [int(p.y[0, 0, 0, 0]) for p in seen] == wanted


def test_the_level_tells_the_noise_again() -> None:
    sigma = torch.tensor([0.0, 3.0, 25.0, 60.0])
    torch.testing.assert_close(sigma_of(noise_level(sigma)), sigma)
