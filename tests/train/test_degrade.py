"""Pairs of what goes wrong with video: shapes, seeds, honest noise, cameras and codecs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from scipy.signal import convolve2d

from gancodec.errors import InputError, UsageError
from gancodec.models.blur import GAMMA, KERNEL
from gancodec.models.degradation import estimate_blur
from gancodec.models.restore import TASKS, Task, reduce
from gancodec.nn.motion import warp
from gancodec.train import degrade
from gancodec.train.data import Picture, planes_from_flat
from gancodec.train.degrade import Noise, Preparation, Shutter, disc, prepare, samples_of
from gancodec.train.pairs import MIDDLE, Pairs, Sample
from gancodec.types import VideoInfo
from gancodec.video.synth import moving_texture, texture, write_test_video

SIZE = 64
WHAT: dict[Task, Preparation] = {
    "sr": Preparation("sr", 2, SIZE, takes=2),
    "denoise": Preparation("denoise", size=32, takes=4),
    "deblur": Preparation("deblur", size=32, takes=3),
    "detail": Preparation("detail", size=SIZE, takes=2),
}
KINDS = {
    "gaussian": Noise(20.0),
    "poisson": Noise(0.0, gain=4.0),
    "impulse": Noise(6.0, chance=0.2),
    "camera": Noise(4.0, gain=1.5, grain=0.6, chroma=0.8),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video and a photograph."""
    folder = tmp_path_factory.mktemp("sources")
    info = VideoInfo(128, 96, Fraction(25), Fraction(1, 25))
    write_test_video(folder / "clip.mkv", moving_texture(128, 96, 8, seed=1), info)
    colours = np.stack([texture(260, 272, seed) for seed in (5, 6, 7)], -1)
    Image.fromarray(colours.astype(np.uint8)).save(folder / "photo.png")
    return folder


@pytest.fixture(scope="module")
def made(sources: Path) -> Callable[[Task], list[Sample]]:
    """All samples of a task, the video's first; made once."""
    known: dict[Task, list[Sample]] = {}

    def make(task: Task) -> list[Sample]:
        if task not in known:
            files = (sources / "clip.mkv", sources / "photo.png")
            known[task] = [s for f in files for s in samples_of(WHAT[task], f)]
        return known[task]

    return make


class InThisProcess:
    """Stands for the pool where what the pool does is not the question."""

    def __init__(self, jobs: int, **options: object) -> None:
        pass

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def map(self, function: Callable[[Path], Any], files: Iterable[Path]) -> Iterable[Any]:
        return map(function, files)


# ── Preparation ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("task", TASKS)
def test_pairs_of_a_task(
    task: Task,
    made: Callable[[Task], list[Sample]],
    sources: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shapes and dtypes are those of `train.pairs`, and a second time gives the very same."""
    what = WHAT[task]
    monkeypatch.setattr(degrade, "ProcessPoolExecutor", InThisProcess)
    count = prepare(what, [sources], tmp_path)
    expected = made(task)
    assert count == len(expected) > 1
    frames, window = {"sr": (3, 1), "denoise": (1, 5), "deblur": (1, 5), "detail": (2, 3)}[task]
    small, large = (what.size // what.scale) ** 2 * 3 // 2, what.size**2 * 3 // 2
    arrays = {p.stem: np.load(p) for p in tmp_path.glob("*.npy")}
    assert arrays["inputs"].shape == (count, frames + window - 1, small)
    assert arrays["inputs"].dtype == np.uint8
    assert arrays["targets"].shape == (count, frames, large)
    assert arrays["targets"].dtype == (np.int16 if task == "denoise" else np.uint8)
    assert arrays["levels"].shape == arrays["chances"].shape == (count,)
    assert ((arrays["levels"] >= 0) & (arrays["levels"] <= 63)).all()
    assert (arrays["chances"] > 0).any() <= (task == "denoise")
    assert ("motion" in arrays) == (task in ("sr", "detail"))
    if "motion" in arrays:
        side = what.size // 8
        assert arrays["motion"].shape == (count, frames - 1, 2, side, side)
        assert arrays["motion"].dtype == np.int16
    assert ("kernels" in arrays) == (task == "deblur")
    if task == "deblur":
        assert arrays["kernels"].shape == (count, KERNEL, KERNEL)
        assert (arrays["kernels"] >= 0).all()
        assert arrays["kernels"].sum((1, 2)) == pytest.approx(1, abs=1e-5)
    assert Pairs(tmp_path).info == what.info
    for row, sample in enumerate(expected):
        assert np.array_equal(arrays["inputs"][row], sample.inputs)
        assert np.array_equal(arrays["targets"][row], sample.targets)
    assert arrays["levels"].tolist() == pytest.approx([s.level for s in expected])


def test_as_many_processes_as_you_like(sources: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        assert prepare(WHAT["denoise"], [sources], tmp_path / str(jobs), jobs=jobs) > 1
    names = sorted(p.name for p in (tmp_path / "1").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "2").iterdir())
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_another_seed_gives_other_samples(made: Callable[..., list[Sample]], sources: Path) -> None:
    other = dataclasses.replace(WHAT["denoise"], seed=1)
    samples = samples_of(other, sources / "clip.mkv")
    assert len(samples) > 1
    for a, b in zip(samples, made("denoise"), strict=False):
        assert not np.array_equal(a.inputs, b.inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "dream"}, "task is one of sr, denoise, deblur, detail, got 'dream'"),
        ({"task": "sr"}, "scale is 2 or 4 for sr and else 1, got 1"),
        ({"task": "deblur", "scale": 2}, "got 2"),
        ({"task": "deblur", "size": 40}, "size is a multiple of 16 from 32 on, got 40"),
        ({"task": "deblur", "size": 16}, "got 16"),
    ],
)
def test_wrong_wishes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Preparation(**options)


def test_too_little_to_learn_from(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(degrade, "ProcessPoolExecutor", InThisProcess)
    with pytest.raises(UsageError, match="large enough for patches of 512 samples"):
        prepare(Preparation("denoise", size=512), [sources], tmp_path / "pairs")
    assert not (tmp_path / "pairs").exists()
    with pytest.raises(InputError, match="no videos or pictures"):
        prepare(WHAT["denoise"], [tmp_path], tmp_path / "pairs")


# ── Super-resolution and coding ──────────────────────────────────────────────────────────────


def psnr(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    return float(-10 * np.log10(np.mean((a.astype(float) - b) ** 2) / 255**2 + 1e-9))


def test_small_pictures_are_what_was_reduced(made: Callable[[Task], list[Sample]]) -> None:
    """To the last sample where a photograph was filmed; inside, where a clip was cut."""
    clean = [s for s in made("sr") if s.level == 63]
    coded = [s for s in made("sr") if s.level < 63]
    assert clean
    assert coded
    half = SIZE // 2
    for sample, kind in ((clean[0], "cut"), (clean[-1], "filmed")):
        planes = planes_from_flat(torch.from_numpy(np.asarray(sample.targets)), SIZE)
        expected = (reduce(planes, 2).y * 255).round().clamp(0, 255)[:, 0]
        found = np.asarray(sample.inputs)[:, : half * half].reshape(-1, half, half)
        apart = np.abs(found.astype(float) - expected.numpy())
        assert apart[:, 4:-4, 4:-4].max() <= (kind == "cut")
        assert kind == "cut" or apart.max() == 0
    for sample in coded:
        assert 0 <= sample.level < 63
        planes = planes_from_flat(torch.from_numpy(np.asarray(sample.targets)), SIZE)
        wanted = (reduce(planes, 2).y * 255)[:, 0].flatten(1).numpy()
        found = np.asarray(sample.inputs)[:, : half * half]
        assert 20 < psnr(found, wanted) < 60


def test_motion_is_that_of_the_inputs(made: Callable[[Task], list[Sample]]) -> None:
    gained = []
    for sample in made("sr"):
        assert sample.motion is not None
        targets = planes_from_flat(torch.from_numpy(np.asarray(sample.targets)), SIZE)
        for t in (1, 2):
            past = type(targets)(*(p[t - 1 : t] for p in targets))
            moved = warp(past, torch.from_numpy(sample.motion[t - 1 : t]))
            now = targets.y[t : t + 1]
            gained.append(psnr(now.numpy(), moved.y.numpy()) - psnr(now.numpy(), past.y.numpy()))
    assert np.mean(gained) > 3


def test_decoded_frames_belong_to_their_originals(made: Callable[[Task], list[Sample]]) -> None:
    """Of every codec: each target resembles the input in its window's middle most of all."""
    samples = made("detail")
    assert len(samples) == len(degrade.CODECS)  # of the clip alone: one frame has no rate
    for sample in samples:
        assert len(sample.inputs) == 4
        for t, target in enumerate(sample.targets):
            alike = [psnr(frame[: SIZE**2], target[: SIZE**2]) for frame in sample.inputs]
            assert int(np.argmax(alike)) == t + 1
            assert 18 < alike[t + 1] < 60


# ── Noise ────────────────────────────────────────────────────────────────────────────────────


def flat_frame(size: int) -> npt.NDArray[np.uint8]:
    batch = moving_texture(size, size, 1, seed=9)
    return np.concatenate([batch.y.ravel(), batch.u.ravel(), batch.v.ravel()])


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_many_takes_is_known(kind: str) -> None:
    """The clean frame, or with impulses (1 - p) x + 127.5 p: unclipped, unlike what files hold."""
    noise, size, count = KINDS[kind], 32, 500
    clean = flat_frame(size).astype(float)
    rng = np.random.default_rng(3)
    takes = np.stack([np.round(noise.take(flat_frame(size), size, rng)) for _ in range(count)])
    expected = (1 - noise.chance) * clean + MIDDLE * noise.chance
    off = (takes.mean(0) - expected) / (takes.std(0) / count**0.5)  # of deviation 1
    assert np.abs(off).max() < 5.5
    assert np.mean(off**2) == pytest.approx(1, abs=0.15)
    assert abs(off.mean()) < 0.1
    if kind == "impulse":  # what a loss that forgot them would learn
        assert np.abs(takes.mean(0) - clean).max() > 10


@pytest.mark.parametrize("kind", KINDS)
def test_two_takes_share_no_noise(kind: str) -> None:
    size = 64
    clean = flat_frame(size)
    rng = np.random.default_rng(4)
    takes = [KINDS[kind].take(clean, size, rng) for _ in range(2)]
    expected = (1 - KINDS[kind].chance) * clean.astype(float) + MIDDLE * KINDS[kind].chance
    a, b = (t - expected for t in takes)
    assert not np.array_equal(takes[0], takes[1])
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.06
    assert a.std() > 3


def test_noise_is_as_strong_as_it_says() -> None:
    grey = np.full((256, 256), 116, np.uint8)
    rng = np.random.default_rng(5)
    assert Noise(20).on(grey, rng).std() == pytest.approx(20, rel=0.03)
    assert Noise(20, chroma=0.5).on(grey, rng, chroma=True).std() == pytest.approx(10, rel=0.03)
    shot = Noise(0, gain=4)
    assert shot.on(grey, rng).std() == pytest.approx((4 * 100) ** 0.5, rel=0.03)
    assert shot.on(np.full_like(grey, 16), rng).std() == 0  # no light, no shot noise
    grainy = Noise(20, grain=0.8).on(grey, rng) - 116.0
    assert grainy.std() == pytest.approx(20, rel=0.05)
    neighbours = np.corrcoef(grainy[:, 1:].ravel(), grainy[:, :-1].ravel())[0, 1]
    assert neighbours > 0.5
    plain = Noise(20).on(grey, rng) - 116.0
    assert abs(np.corrcoef(plain[:, 1:].ravel(), plain[:, :-1].ravel())[0, 1]) < 0.02
    hit = Noise(0, chance=0.25).on(grey, rng)
    assert np.mean(hit != 116) == pytest.approx(0.25, abs=0.01)
    assert hit.min() >= 0
    assert hit.max() <= 255


def test_every_noise_that_is_drawn_is_some() -> None:
    """A take so faint that it rounds to the clean frame would tell what must not be told."""
    rng = np.random.default_rng(6)
    drawn = [Noise.draw(rng) for _ in range(3000)]
    gaussian = [n for n in drawn if not n.gain and not n.chance]
    assert {bool(n.gain) + 2 * bool(n.chance) + 4 * bool(n.grain) for n in drawn} == {0, 1, 2, 5}
    assert min(n.sigma for n in gaussian) >= 0.5
    faintest = min(gaussian, key=lambda n: n.sigma)
    frame = flat_frame(32)
    changed = np.round(faintest.take(frame, 32, rng))[: 32 * 32] != frame[: 32 * 32]
    assert changed.mean() > 0.1


def test_targets_are_noisy_unclipped_and_independent(
    made: Callable[[Task], list[Sample]], sources: Path
) -> None:
    """Beside the twin that is told the truth: the same inputs, and nothing else in common."""
    what = dataclasses.replace(WHAT["denoise"], takes=40, seed=2)
    honest = samples_of(what, sources / "photo.png")
    told = samples_of(dataclasses.replace(what, clean=True), sources / "photo.png")
    assert len(honest) == len(told) == 20
    below, above, correlations = 0, 0, []
    for sample, twin in zip(honest, told, strict=True):
        assert np.array_equal(sample.inputs, twin.inputs)
        assert sample.level == twin.level
        assert twin.chance == 0
        noisy, clean = np.asarray(sample.targets)[0], np.asarray(twin.targets)[0]
        assert noisy.dtype == np.int16
        below, above = below + int((noisy < 0).sum()), above + int((noisy > 255).sum())
        assert 0 <= clean.min() < clean.max() <= 255
        for frame in (noisy, *np.asarray(sample.inputs)):
            assert not np.array_equal(frame, clean)
        expected = (1 - sample.chance) * clean + MIDDLE * sample.chance
        given = np.asarray(sample.inputs)[2] - expected
        correlations.append(np.corrcoef(noisy - expected, given)[0, 1])
    assert below > 10
    assert above > 10
    assert np.abs(correlations).max() < 0.12
    assert abs(np.mean(correlations)) < 0.03
    assert any(s.chance > 0 for s in honest)


# ── Blur ─────────────────────────────────────────────────────────────────────────────────────


def still_camera(**changes: Any) -> Shutter:
    still = Shutter((48.0, 48.0), (0.0, 0.0), 0.0, 0.0, 0.0, 1.0, 0.8, 0.0)
    return dataclasses.replace(still, **changes)


@pytest.fixture(scope="module")
def scene() -> Picture:
    return Picture.of(moving_texture(96, 96, 1, seed=8), 0)


def planes_of(flat: npt.NDArray[np.uint8], size: int) -> list[npt.NDArray[np.float64]]:
    planes = planes_from_flat(torch.from_numpy(flat[None]), size)
    return [(p[0, 0] * 255).double().numpy() for p in planes]


def test_a_still_camera_in_focus_blurs_nothing(scene: Picture) -> None:
    frames, sharp = still_camera().film(scene, 32, 5)
    assert frames.shape == (5, 32 * 32 * 3 // 2)
    assert sharp.dtype == np.uint8
    assert all(np.abs(f.astype(int) - sharp).max() <= 1 for f in frames)
    unfocused, again = still_camera(defocus=2.5).film(scene, 32, 5)
    assert np.array_equal(again, sharp)
    roughness = [np.abs(np.diff(planes_of(f, 32)[0])).mean() for f in (unfocused[2], sharp)]
    assert roughness[0] < 0.8 * roughness[1]


@pytest.mark.parametrize("speed", [3.0, 8.0, 14.0])
def test_what_moves_is_smeared_about_its_middle(speed: float) -> None:
    """A slope and a spot of light are, on average, where they are in the middle of the time."""
    rows, columns = np.mgrid[0:128, 0:128]
    slope = Picture(
        np.full((128, 128), 120, np.uint8),
        (30 + 3 * columns[:64, :64]).clip(0, 255).astype(np.uint8),
        (30 + 3 * rows[:64, :64]).clip(0, 255).astype(np.uint8),
    )
    camera = still_camera(centre=(64.0, 64.0), speed=(speed, -speed), exposure=1.0)
    frames, sharp = camera.film(slope, 32, 1)
    for taken, wanted in zip(planes_of(frames[0], 32), planes_of(sharp, 32), strict=True):
        assert np.abs((taken - wanted).mean()) < 0.3
    spot = np.full((128, 128), 16, np.uint8)
    spot[62:66, 62:66] = 235
    grey = np.full((64, 64), 128, np.uint8)
    frames, sharp = camera.film(Picture(spot, grey, grey), 48, 3)
    at = np.arange(48)
    centres = []
    for flat in (*frames, sharp):
        light = np.clip(planes_of(flat, 48)[0] - 16, 0, None) ** GAMMA
        centres.append((light.sum(0) @ at / light.sum(), light.sum(1) @ at / light.sum()))
    assert centres[1] == pytest.approx(centres[3], abs=0.4)
    if speed < 14:  # before and after it is elsewhere, by what the camera moves
        assert centres[0][0] - centres[2][0] == pytest.approx(2 * speed, rel=0.1)
        assert centres[0][1] - centres[2][1] == pytest.approx(-2 * speed, rel=0.1)


def test_light_adds_up_in_linear_units() -> None:
    """Half of the time light and half dark is lighter than the mean of the two samples."""
    stripes = np.where(np.arange(128) % 16 < 8, 235, 60).astype(np.uint8)
    luma = np.broadcast_to(stripes, (128, 128)).copy()
    grey = np.full((64, 64), 128, np.uint8)
    camera = still_camera(centre=(64.0, 64.0), speed=(16.0, 0.0), exposure=14 / 15)
    frames, _ = camera.film(Picture(luma, grey, grey), 32, 1)
    light = np.mean([((x - 16) / 219) ** GAMMA for x in (235, 60)])
    expected = 16 + 219 * light ** (1 / GAMMA)
    assert planes_of(frames[0], 32)[0].mean() == pytest.approx(expected, abs=4)
    assert expected > (235 + 60) / 2 + 20


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.2, 3.0])
def test_a_disc_is_round_and_whole(radius: float) -> None:
    kernel = disc(radius)
    assert float(kernel.sum()) == pytest.approx(1)
    assert torch.equal(kernel, kernel.flip(0))
    assert torch.equal(kernel, kernel.T)
    reach = kernel.shape[0] // 2
    assert reach >= radius
    assert float(kernel[reach, reach]) == float(kernel.max())


def test_cameras_that_are_drawn_blur(scene: Picture) -> None:
    """Nearly all of them, and none makes a picture sharper than what it should have been."""
    rng = np.random.default_rng(2)
    more = []
    for _ in range(24):
        frames, sharp = Shutter.draw(rng, (96, 96), 32).film(scene, 32, 1)
        both = np.stack([planes_of(frames[0], 32)[0], planes_of(sharp, 32)[0]])
        taken, wanted = estimate_blur(torch.from_numpy(both)).tolist()
        more.append(taken - wanted)
    assert min(more) > -0.03
    assert np.mean(np.array(more) > 0.02) > 0.7


@pytest.mark.parametrize(
    ("camera", "longest"),
    [
        (still_camera(), 0.0),
        (still_camera(speed=(8.0, 0.0)), 6.4),
        (still_camera(speed=(3.0, -6.0), defocus=2.0), 5.4),
        (still_camera(speed=(2.0, 3.0), shake=1.5, pace=4.0), 4.0),
    ],
)
def test_a_kernel_is_what_a_camera_did(camera: Shutter, longest: float) -> None:
    """A sum with its weights is the frame that was filmed, to rounding."""
    centre = camera.centre[0] + 0.5, camera.centre[1] + 0.5 - camera.shake
    camera = dataclasses.replace(camera, centre=centre)  # whole samples in the middle of its time
    light = np.random.default_rng(4).uniform(40, 200, (97, 97))
    smooth = convolve2d(light, np.full((3, 3), 1 / 9), "same", "symm").round().astype(np.uint8)
    grey = np.full((49, 49), 128, np.uint8)
    frames, sharp = camera.film(Picture(smooth, grey, grey), 64, 1)
    kernel = camera.kernel()
    assert kernel.sum() == pytest.approx(1)
    reach = np.abs(np.argwhere(kernel > 1e-3) - kernel.shape[0] // 2).max()
    assert longest / 2 - 1 <= reach <= longest / 2 + 6
    wide = ((planes_of(sharp, 64)[0] - 16) / 219).clip(0) ** GAMMA
    again = 16 + 219 * convolve2d(wide, kernel, "same").clip(0) ** (1 / GAMMA)
    inside = slice(16, -16)
    apart = (again - planes_of(frames[0], 64)[0])[inside, inside]
    assert np.abs(apart).max() < 2
    assert np.abs(apart).mean() < 0.4
