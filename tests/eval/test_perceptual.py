"""Perceptual metrics against second implementations, and against what any of them must do."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gancodec.errors import UsageError
from gancodec.eval import deep_features, ssimulacra, stlpips
from gancodec.eval.metric import Context, Metric, Values
from gancodec.eval.metrics import select_metrics
from gancodec.eval.perceptual import PERCEPTUAL
from gancodec.eval.rgb import Picture
from gancodec.types import FrameBatch
from gancodec.video.color import yuv420_to_rgb
from gancodec.video.synth import clip_info, moving_texture

BY_NAME = {metric.name: metric for metric in PERCEPTUAL}
all_metrics = pytest.mark.parametrize("name", BY_NAME)


def blurred(clip: FrameBatch, sigma: float) -> FrameBatch:
    from scipy.ndimage import gaussian_filter

    y, u, v = (gaussian_filter(p, (0, sigma, sigma)) for p in (clip.y, clip.u, clip.v))
    return FrameBatch(y, u, v, clip.pts)


def noisy(clip: FrameBatch, spread: int) -> FrameBatch:
    noise = np.random.default_rng(2).integers(-spread, spread + 1, clip.y.shape)
    return FrameBatch(np.clip(clip.y + noise, 0, 255).astype(np.uint8), clip.u, clip.v, clip.pts)


def pictures(clip: FrameBatch) -> npt.NDArray[np.uint8]:
    return yuv420_to_rgb(clip, clip_info(clip).color)


def tensor(picture: Picture, low: float, high: float) -> torch.Tensor:
    """(1, 3, H, W) in float64."""
    scaled = torch.from_numpy(picture.astype(np.float64)) / 255 * (high - low) + low
    return scaled.movedim(-1, 0)[None]


@pytest.fixture(scope="module")
def clip() -> FrameBatch:
    """As small as every metric allows."""
    return moving_texture(128, 114, 4, velocity=(40, 16))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Files with weights from a seed, for the metrics whose own cannot be shipped."""
    generator = torch.Generator().manual_seed(7)
    folder = tmp_path_factory.mktemp("weights")
    paths = {}
    for name in ("lpips", "dists"):
        state = {"classifier.6.bias": torch.zeros(3)}  # others may be in the file
        for key, shape in deep_features._shapes(name).items():
            if key.startswith("features"):
                scale = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) == 4 else 0.1
                state[key] = torch.randn(shape, generator=generator) * scale
            else:
                state[key] = torch.rand(shape, generator=generator)
        paths[name] = folder / f"{name}.safetensors"
        save_file(state, paths[name])
    yield paths
    deep_features._load.cache_clear()


def measure(
    metric: Metric, a: FrameBatch, b: FrameBatch, weights: dict[str, Path], chunk: int = 99
) -> Values:
    meter = metric.start(Context(clip_info(a), weights))
    for n in range(0, len(a), chunk):
        meter.add(a[n : n + chunk], b[n : n + chunk])
    return meter.finish()


# ── All ──────────────────────────────────────────────────────────────────────────────────────


@all_metrics
def test_chunks_give_what_the_whole_gives(
    name: str, clip: FrameBatch, weights: dict[str, Path]
) -> None:
    other = noisy(clip, 30)
    whole = measure(BY_NAME[name], clip, other, weights)
    assert whole.shape == (4,)
    assert len(set(whole)) == 4
    for size in (1, 3):
        again = measure(BY_NAME[name], clip, other, weights, size)
        np.testing.assert_array_equal(again, whole)


@all_metrics
def test_values_follow_the_blur(name: str, clip: FrameBatch, weights: dict[str, Path]) -> None:
    metric, one = BY_NAME[name], clip[:1]
    values = [
        measure(metric, one, blurred(one, sigma) if sigma else one, weights)[0]
        for sigma in (0, 0.6, 1, 2)
    ]
    assert values == sorted(values, reverse=metric.higher_is_better)
    assert len(set(values)) == 4


@pytest.mark.parametrize(
    ("name", "best"),
    [
        ("ssimulacra2", 100),
        ("st-lpips-alex", 0),
        ("st-lpips-vgg", 0),
        ("lpips", 0),
        ("dists", 0),
    ],
)
def test_equal_pictures(name: str, best: float, clip: FrameBatch, weights: dict[str, Path]) -> None:
    found = measure(BY_NAME[name], clip[:1], clip[:1], weights)
    assert found == pytest.approx([best], abs=0.01 if best else 1e-6)


@pytest.mark.parametrize("metric", [m for m in PERCEPTUAL if m.samples], ids=lambda m: m.name)
def test_frames_alone_give_what_they_give_among_others(
    metric: Metric, clip: FrameBatch, weights: dict[str, Path]
) -> None:
    other = noisy(clip, 30)
    np.testing.assert_array_equal(
        measure(metric, clip[::2], other[::2], weights),
        measure(metric, clip, other, weights)[::2],
    )


@pytest.mark.parametrize("name", ["st-lpips-alex", "st-lpips-vgg", "lpips", "dists", "vmaf"])
def test_the_smallest_size_that_is_allowed_works(name: str, weights: dict[str, Path]) -> None:
    side = BY_NAME[name].least_side
    clip = moving_texture(side, side, 2)
    assert np.isfinite(measure(BY_NAME[name], clip, blurred(clip, 2), weights)).all()


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("vmaf", "vmaf_torch", "vmaf-torch"),
        ("st-lpips-alex", "stlpips_pytorch", "stlpips_pytorch"),
        ("st-lpips-vgg", "stlpips_pytorch", "stlpips_pytorch"),
    ],
)
def test_a_missing_package_is_told(
    name: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    select_metrics(name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"{name} .*{package} .*pip install gancodec\[eval\]"):
        select_metrics(name)


def test_those_that_judge_are_never_trained_on() -> None:
    judges = {metric.name for metric in PERCEPTUAL if metric.judges}
    assert judges == {"vmaf", "ssimulacra2", "st-lpips-vgg", "dists"}


# ── VMAF ─────────────────────────────────────────────────────────────────────────────────────


def libvmaf(source: FrameBatch, decoded: FrameBatch, folder: Path) -> list[float]:
    """VMAF v0.6.1 of each frame by the filter of the FFmpeg program."""
    height, width = source.y.shape[1:]
    inputs = []
    for name, batch in (("decoded", decoded), ("source", source)):
        frames = zip(batch.y, batch.u, batch.v, strict=True)
        data = b"".join(plane.tobytes() for frame in frames for plane in frame)
        (folder / f"{name}.yuv").write_bytes(data)
        inputs += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}"]
        inputs += ["-i", f"{name}.yuv"]
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *inputs, "-lavfi",
         "libvmaf=log_path=vmaf.json:log_fmt=json:n_threads=1", "-f", "null", "-"],
        cwd=folder, check=True, timeout=60,
    )  # fmt: skip
    frames = json.loads((folder / "vmaf.json").read_text())["frames"]
    return [frame["metrics"]["vmaf"] for frame in frames]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_vmaf_agrees_with_libvmaf(count: int, tmp_path: Path) -> None:
    """On motion that jerks, so that it matters which frames it is taken from."""
    steady = moving_texture(256, 144, 12, velocity=(24, 6))
    picks = [0, 1, 4, 5, 11][:count]
    clip = FrameBatch(steady.y[picks], steady.u[picks], steady.v[picks], steady.pts[picks])
    other = noisy(blurred(clip, 1), 12)
    values = measure(BY_NAME["vmaf"], clip, other, {})
    assert values == pytest.approx(libvmaf(clip, other, tmp_path), abs=0.1)
    assert 20 < values.min() <= values.max() < 99  # not where the score is clipped


def test_vmaf_agrees_with_the_package_on_the_whole_clip(clip: FrameBatch) -> None:
    from vmaf_torch import VMAF

    other = noisy(blurred(clip, 0.7), 12)
    a, b = (torch.from_numpy(c.y.astype(np.float32))[:, None] for c in (clip, other))
    with torch.inference_mode():
        expected = VMAF(clip_score=True)(a, b)[:, 0].numpy()
    assert measure(BY_NAME["vmaf"], clip, other, {}, 1) == pytest.approx(expected, abs=0.01)


# ── SSIMULACRA 2 ─────────────────────────────────────────────────────────────────────────────


def blur_of_the_package(planes: torch.Tensor) -> torch.Tensor:
    """The package ssimulacra2 blurs by a true Gaussian and pads the two sides in unlike ways."""
    from scipy.ndimage import gaussian_filter

    wide = np.pad(planes.numpy().astype(np.float64), ((0, 0), (0, 0), (0, 0), (5, 5)))
    soft = gaussian_filter(wide, 1.5, truncate=3.33, mode="reflect", axes=(2, 3))
    return torch.from_numpy(soft[..., 5:-5])


@pytest.mark.parametrize(("width", "height"), [(256, 240), (227, 301)])
def test_ssimulacra2_agrees_with_the_package_but_for_the_blur(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image
    from ssimulacra2 import compute_ssimulacra2

    clip = moving_texture(width, height, 1)
    monkeypatch.setattr(ssimulacra, "_blur", blur_of_the_package)
    found = []
    for other in (noisy(clip, 6), blurred(clip, 0.7), blurred(clip, 3)):
        pair = [pictures(c)[0] for c in (clip, other)]
        files = [io.BytesIO() for _ in pair]
        for picture, file in zip(pair, files, strict=True):
            Image.fromarray(picture).save(file, "png")
        found.append(ssimulacra.ssimulacra2(*pair))
        assert found[-1] == pytest.approx(compute_ssimulacra2(*files), abs=0.01)
    assert max(found) - min(found) > 50


def test_ssimulacra2_blurs_as_the_recursion_does() -> None:
    """The reference runs Charalampidis' three second-order recursions over zero-padded rows."""
    radius = 5  # of sigma 1.5, by (57) of the paper
    omega = np.array([1, 3, 5]) * np.pi / (2 * radius)
    p = np.array([1, -1, 1]) / np.tan(omega / 2)  # (37)
    r = np.array([1, -1, 1]) * p**2 / np.sin(omega)  # (44)
    zeta = np.cross(p, r)  # (52): at right angles to p and r
    rho = np.exp(-0.5 * (1.5 * omega) ** 2) / radius  # (50)
    beta = np.linalg.solve([p, r, zeta], [1, radius**2 - 1.5**2, zeta @ rho])  # (53) to (56)

    def row(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        padded = np.pad(values, 2 * radius)
        last = before = np.zeros(3)
        out = []
        for n in range(1 - radius, len(values)):
            total = padded[n + radius - 1] + padded[n + 3 * radius - 1]
            now = -beta * np.cos(omega * (radius + 1)) * total + 2 * np.cos(omega) * last - before
            last, before = now, last
            out.append(now.sum())
        return np.array(out[radius - 1 :])

    picture = np.random.default_rng(3).random((13, 17))
    expected = np.apply_along_axis(row, 0, np.apply_along_axis(row, 1, picture))
    found = ssimulacra._blur(torch.from_numpy(picture).expand(1, 3, 13, 17).contiguous())
    np.testing.assert_allclose(found[0, 2], expected, atol=1e-6)


# ── ST-LPIPS ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def package() -> ModuleType:
    return stlpips.import_package()


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_st_lpips_agrees_with_the_package(
    net: stlpips.Net, clip: FrameBatch, package: ModuleType
) -> None:
    module = package.LPIPS(net=net, variant="shift_tolerant", verbose=False).double()
    a, b = pictures(clip[:1])[0], pictures(noisy(clip[:1], 25))[0]
    with torch.inference_mode():
        expected = float(module(tensor(a, 0, 1), tensor(b, 0, 1), normalize=True))
    assert expected > 0.01
    assert stlpips.st_lpips(net, a, b) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_st_lpips_hardly_minds_a_shift(net: stlpips.Net) -> None:
    canvas = pictures(moving_texture(131, 130, 1))[0]
    shifted = stlpips.st_lpips(net, canvas[:128, :128], canvas[:128, 1:129])
    soft = pictures(blurred(moving_texture(131, 130, 1), 1))[0]
    assert 0 < shifted < stlpips.st_lpips(net, canvas[:128, :128], soft[:128, :128]) / 2


def test_st_lpips_has_all_its_weights_from_the_file_and_leaves_the_seed_alone() -> None:
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        stlpips.load_st_lpips.cache_clear()
        states.append(stlpips.load_st_lpips("alex").state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), f"{key} was drawn, not read"


def test_stand_ins_are_gone_after_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, below = ModuleType("torchvision"), ModuleType("torchvision.ops")
    monkeypatch.setitem(sys.modules, "torchvision", mine)
    monkeypatch.setitem(sys.modules, "torchvision.ops", below)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with stlpips._stand_ins():
        assert sys.modules["torchvision"] is not mine
        assert "torchvision.ops" not in sys.modules
        assert "IPython" in sys.modules
    assert sys.modules["torchvision"] is mine
    assert sys.modules["torchvision.ops"] is below
    assert "IPython" not in sys.modules


def test_st_lpips_can_be_trained_on(clip: FrameBatch) -> None:
    a, b = (tensor(pictures(c[:1])[0], -1, 1).float() for c in (clip, noisy(clip, 25)))
    b.requires_grad_()
    module = stlpips.load_st_lpips("alex")
    module(a, b).sum().backward()
    assert b.grad is not None
    assert b.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in module.parameters())


# ── LPIPS and DISTS ──────────────────────────────────────────────────────────────────────────


def stack(state: dict[str, torch.Tensor], *layers: nn.Module) -> nn.Sequential:
    """Layers numbered as in torchvision's ``features``, with their weights, in float64."""
    features = nn.Sequential(*layers)
    prefix = "features."
    kept = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    features.load_state_dict(kept)
    return features.double()


def relu_outputs(features: nn.Sequential, x: torch.Tensor, numbers: set[int]) -> list[torch.Tensor]:
    found = []
    for number, layer in enumerate(features):
        x = layer(x)
        if number in numbers:
            found.append(x)
    return found


def test_lpips_agrees_with_a_second_implementation(
    clip: FrameBatch, weights: dict[str, Path]
) -> None:
    state = load_file(weights["lpips"])
    features = stack(
        state,
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    )  # fmt: skip
    shift = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64).reshape(3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64).reshape(3, 1, 1)
    a, b = pictures(clip[:1])[0], pictures(noisy(clip[:1], 25))[0]
    with torch.inference_mode():
        layers_a, layers_b = (
            relu_outputs(features, (tensor(p, -1, 1) - shift) / scale, {1, 4, 7, 9, 11})
            for p in (a, b)
        )
        expected = 0.0
        for k, (x, y) in enumerate(zip(layers_a, layers_b, strict=True)):
            x, y = (z / (z.norm(dim=1, keepdim=True) + 1e-10) for z in (x, y))
            head = state[f"lin{k}.model.1.weight"].double()
            expected += float(nn.functional.conv2d((x - y) ** 2, head).mean())
    assert expected > 0.01
    assert deep_features.lpips(weights["lpips"], a, b) == pytest.approx(expected, rel=1e-4)


class HannPool(nn.Module):
    """L2 pooling of DISTS, channel by channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        window = torch.hann_window(4, dtype=x.dtype)[1:]
        kernel = (window[:, None] * window / window.sum() ** 2)[None, None]
        power = [nn.functional.conv2d(c[:, None] ** 2, kernel, None, 2, 1) for c in x.unbind(1)]
        return torch.sqrt(torch.cat(power, dim=1) + 1e-12)


def test_dists_agrees_with_a_second_implementation(
    clip: FrameBatch, weights: dict[str, Path]
) -> None:
    state = load_file(weights["dists"])
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512):
        if outputs:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        else:
            layers.append(HannPool())
    features = stack(state, *layers)
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).reshape(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).reshape(3, 1, 1)
    a, b = pictures(clip[:1])[0], pictures(noisy(clip[:1], 25))[0]
    stages = []
    with torch.inference_mode():
        for picture in (a, b):
            x = tensor(picture, 0, 1)
            stages.append([x, *relu_outputs(features, (x - mean) / deviation, {3, 8, 15, 22, 29})])
    alpha, beta = (state[key].double().flatten().numpy() for key in ("alpha", "beta"))
    terms: list[float] = []
    for x, y in zip(*stages, strict=True):
        for p, q in zip(x[0].flatten(1).numpy(), y[0].flatten(1).numpy(), strict=True):
            (pp, pq), (_, qq) = np.cov(p, q, bias=True)
            texture = (2 * p.mean() * q.mean() + 1e-6) / (p.mean() ** 2 + q.mean() ** 2 + 1e-6)
            k = len(terms)
            terms.append(alpha[k] * texture + beta[k] * (2 * pq + 1e-6) / (pp + qq + 1e-6))
    expected = 1 - sum(terms) / (alpha.sum() + beta.sum())
    assert expected > 0.01
    assert deep_features.dists(weights["dists"], a, b) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_weights_that_were_not_named_are_asked_for(name: str, clip: FrameBatch) -> None:
    with pytest.raises(UsageError, match=f"{name} needs its weights: .*--weights {name}=FILE"):
        select_metrics(name)
    with pytest.raises(UsageError, match=f"{name} needs its weights"):
        measure(BY_NAME[name], clip, clip, {})


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_wrong_weights_are_told(name: str, weights: dict[str, Path], tmp_path: Path) -> None:
    select_metrics(name, weights)
    with pytest.raises(UsageError, match=r"absent\.safetensors is no safetensors file"):
        select_metrics(name, {name: tmp_path / "absent.safetensors"})
    (tmp_path / "text").write_text("not weights at all")
    with pytest.raises(UsageError, match="text is no safetensors file"):
        select_metrics(name, {name: tmp_path / "text"})
    other = "dists" if name == "lpips" else "lpips"
    with pytest.raises(UsageError, match=r"needs the tensor features\.0\.weight of shape"):
        select_metrics(name, {name: weights[other]})
    last = "lin4.model.1.weight" if name == "lpips" else "beta"
    save_file({k: v for k, v in load_file(weights[name]).items() if k != last}, tmp_path / "less")
    with pytest.raises(UsageError, match=rf"needs the tensor {last} of .*which has none"):
        select_metrics(name, {name: tmp_path / "less"})
