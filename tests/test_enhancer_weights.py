"""The numbers in the cards of the shipped enhancers, computed again; and what ships at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from gancodec.enhancer import DEFAULTS, PACKAGED, Enhancement, Enhancer, load_enhancer
from gancodec.eval.clips import Clip, read_clip
from gancodec.eval.codecs import build_codec
from gancodec.models.restore import Task, enlarge, reduce
from gancodec.nn.planes import Planes
from gancodec.train.degrade import Noise, disc
from gancodec.types import FrameBatch, Plane

LIMIT = 4_000_000  # bytes of an enhancer
SIGMA = 25.0
RADIUS = 1.5  # of the disc that a point becomes, in samples
CRF = 36


def psnr(a: Plane, b: Plane) -> float:
    """dB of 8-bit samples."""
    return float(-10 * np.log10(np.mean((a.astype(float) - b) ** 2) / 255**2))


def gain(clip: Clip, task: Task, scale: int) -> float:
    """dB of luma that the faithful weights of a shipped enhancer add to what they are given."""
    torch.set_num_threads(1)
    truth, rate = clip.frames, None
    if task == "sr":
        planes = _planes(truth)
        small = Planes(*(_bytes(p) for p in reduce(planes, scale)))
        given = _batch(small)
        before = _batch(Planes(*(_bytes(p) for p in enlarge(small, scale))))
    elif task == "denoise":
        rng, noise = np.random.default_rng(0), Noise(SIGMA)
        y, u, v = (
            np.stack([noise.on(p, rng, chroma=k > 0) for p in plane])
            for k, plane in enumerate((truth.y, truth.u, truth.v))
        )
        given = before = FrameBatch(
            *(np.clip(np.round(p), 0, 255).astype(np.uint8) for p in (y, u, v)), truth.pts
        )
    elif task == "deblur":
        kernel = disc(RADIUS)[None, None]
        reach = kernel.shape[-1] // 2
        luma = torch.from_numpy(truth.y)[:, None].float()
        wide = torch.nn.functional.pad(luma, (reach,) * 4, mode="reflect")
        y = torch.nn.functional.conv2d(wide, kernel)[:, 0].round().to(torch.uint8).numpy()
        given = before = FrameBatch(y, truth.u, truth.v, truth.pts)
    else:
        codec = build_codec("x264", CRF)
        data = codec.encode(clip)
        rate = 8 * len(data) / clip.pixels
        given = before = codec.decode(data)
    what = Enhancement(task, scale=scale, strength=0.0, bits_per_pixel=rate)
    shown = Enhancer(what).enhance(given)
    return psnr(shown.y, truth.y) - psnr(before.y, truth.y)


def _planes(frames: FrameBatch) -> Planes:
    return Planes(
        *(torch.from_numpy(p)[:, None].float() / 255 for p in (frames.y, frames.u, frames.v))
    )


def _bytes(x: torch.Tensor) -> torch.Tensor:
    return (x * 255).round().clamp(0, 255) / 255


def _batch(planes: Planes) -> FrameBatch:
    y, u, v = ((p[:, 0] * 255).round().to(torch.uint8).numpy() for p in planes)
    return FrameBatch(y, u, v, np.arange(len(y), dtype=np.int64))


@pytest.fixture(scope="module")
def clip(bunny_path: Path) -> Clip:
    """Six frames of 320x176, of which the enhancers have seen nothing."""
    whole = read_clip(bunny_path, frames=6, scale=(320, 176))
    return whole


@pytest.mark.parametrize(("task", "scale"), list(DEFAULTS))
def test_the_card_tells_the_truth(clip: Clip, task: Task, scale: int) -> None:
    """Other builds of torch and of x264 move it by a few hundredths."""
    told = load_enhancer(DEFAULTS[task, scale]).card["headline"]["psnr_y_gain"]
    found = gain(clip, task, scale)
    assert found == pytest.approx(told, abs=0.05)
    assert found > 0


def test_what_ships_is_small_and_whole() -> None:
    files = sorted(p.name for p in PACKAGED.glob("*.safetensors"))
    assert files == sorted(f"{name}.safetensors" for name in DEFAULTS.values())
    for (task, scale), name in DEFAULTS.items():
        assert (PACKAGED / f"{name}.safetensors").stat().st_size <= LIMIT
        model = load_enhancer(name)
        assert (model.config.task, model.config.scale) == (task, scale)
        assert model.card["licence"] == "Apache-2.0"
        assert model.card["data"]


def test_a_photograph_gains_too() -> None:
    """One frame is a clip, too: a third of a photograph, twice as large."""
    luma = astronaut()[:256, :256].mean(2).round().astype(np.uint8)
    grey = np.full((1, 128, 128), 128, np.uint8)
    truth = FrameBatch(luma[None], grey, grey, np.zeros(1, np.int64))
    small = _batch(Planes(*(_bytes(p) for p in reduce(_planes(truth), 2))))
    bicubic = _batch(Planes(*(_bytes(p) for p in enlarge(_planes(small), 2))))
    shown = Enhancer(Enhancement("sr", scale=2, strength=0.0)).enhance(small)
    assert psnr(shown.y, truth.y) > psnr(bicubic.y, truth.y) + 0.5
