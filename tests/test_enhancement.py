"""The gates of the enhancers: what passes, that each one bites, and that null models fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.signal import fftconvolve

from gancodec import enhancer
from gancodec.enhancer import DEFAULTS, load_enhancer
from gancodec.errors import UsageError
from gancodec.video.synth import clip_info, moving_texture, write_test_video

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bench(scripts: Callable[..., list[ModuleType]]) -> SimpleNamespace:
    """The scripts' modules."""
    parts = ("crops", "deblur", "denoise", "detail", "scores", "sources", "speed", "sr")
    first, *others = scripts("enhancement", *(f"enhancement_{part}" for part in parts))
    return SimpleNamespace(
        main=first.main,
        settings_of=first.settings_of,
        parse=first.parse,
        **dict(zip(parts, others, strict=True)),
    )


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, write_stand_ins: Callable[[Path, float], None]
) -> Path:
    """A clip, and small enhancers of every task beside it: fresh, so they change nothing."""
    folder = tmp_path_factory.mktemp("enhancement")
    (folder / "clips").mkdir()
    batch = moving_texture(80, 64, 3)
    write_test_video(folder / "clips" / "pan.mkv", batch, clip_info(batch), codec="ffv1")
    write_stand_ins(folder / "enhancers", 0.0)
    return folder


@pytest.fixture
def ready(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(enhancer, "PACKAGED", folder / "enhancers")  # in place of those that ship
    load_enhancer.cache_clear()
    yield folder
    load_enhancer.cache_clear()


def failed(gates: list[Any]) -> list[str]:
    return [gate.name for gate in gates if not gate.passed]


# ── Gates ────────────────────────────────────────────────────────────────────────────────────


def test_a_gate_needs_every_source(bench: SimpleNamespace) -> None:
    s = bench.scores
    assert s.at_least("a", 1.0, {"x": 0.5, "y": 1.5}).passed
    assert not s.each_at_least("a", 1.0, {"x": 0.5, "y": 1.5}).passed
    assert not s.at_least("a", 1.0, {"x": None, "y": 9.0}).passed
    assert not s.at_least("a", 1.0, {}).passed
    assert not s.at_most("a", 1.0, {"x": float("nan")}).passed
    assert s.at_most("a", 1.0, {"x": 0.5, "y": 1.5}).passed
    assert s.over({"x": 1.0, "y": 1.0, "z": 1.0}, {"x": 2.0, "y": 0.0}) == {
        "x": 0.5,
        "y": None,
        "z": None,
    }
    assert s.less({"x": 1.0, "y": None}, {"x": 2.0, "y": 1.0}) == {"x": -1.0, "y": None}
    assert s.mean_over([{"x": 1.0}, {"x": 2.0, "y": 1.0}]) == {"x": 1.5, "y": None}


def test_a_null_model_that_passes_fails_the_whole(bench: SimpleNamespace) -> None:
    good = bench.scores.at_least("a", 1.0, {"x": 2.0})
    bad = bench.scores.at_least("a", 1.0, {"x": 0.0})
    assert bench.scores.Judged([good], {"null": [good, bad]}).passed
    assert not bench.scores.Judged([good], {"null": [good]}).passed
    assert not bench.scores.Judged([bad], {"null": [bad]}).passed
    text = bench.scores.table_of_gates(bench.scores.Judged([good], {"null: n": [good]}))
    assert "null model (n): fails 0 of 1: PASSES ALL" in text


def enlarged(bench: SimpleNamespace, **changes: float) -> Any:
    """Scores of a super-resolution that passes, but for ``changes``."""
    numbers = {"gain": 1.0, "distance": 0.15, "back": 40.0, "with": 0.7, **changes}
    scores = bench.scores.Scores()
    for clip in ("a", "b"):
        worst = numbers.get("worst", numbers["gain"]) if clip == "b" else numbers["gain"]
        for method, psnr, distance, back, warp in (
            ("bicubic", 25.0, 0.3, 39.0, 1.0),
            ("null: bicubic, sharpened", 25.4, 0.28, 39.0, 1.2),
            ("strength 0", 25.0 + worst, 0.25, 44.0, numbers["with"]),
            ("strength 1", 24.0, numbers["distance"], numbers["back"], numbers["with"]),
            ("strength 0, per frame", 25.9, 0.25, 44.0, 1.0),
            ("strength 1, per frame", 23.9, 0.15, 40.0, 1.0),
        ):
            values = {"st_lpips_vgg": distance, "back_projection": back, "warp_error": warp}
            scores.put("x4", method, clip, psnr_y=psnr, **values)
    return scores


def test_gates_of_super_resolution(bench: SimpleNamespace) -> None:
    def names(**changes: float) -> list[str]:
        return failed(bench.sr.judge(enlarged(bench, **changes), 4).gates)

    judged = bench.sr.judge(enlarged(bench), 4)
    assert judged.passed
    assert all("x4 PSNR-Y, stage 1 - bicubic" in failed(g) for g in judged.nulls.values())
    assert all("x4 ST-LPIPS, stage 2 / stage 1" in failed(g) for g in judged.nulls.values())
    assert names(gain=0.7) == ["x4 PSNR-Y, stage 1 - bicubic"]
    assert names(gain=2.0, worst=-0.01) == ["x4 the same, worst source"]
    assert names(distance=0.19) == ["x4 ST-LPIPS, stage 2 / stage 1"]
    assert names(back=37.9) == ["x4 back-projection of stage 2"]
    assert len(names(**{"with": 0.81})) == 2  # of both strengths


def noisy(bench: SimpleNamespace, ours: Callable[[int, bool], float]) -> Any:
    """Scores of denoisers: a clip and a photograph; ``ours`` of the deviation and of which."""
    d, scores = bench.denoise, bench.scores.Scores()
    for sigma in d.SIGMAS:
        for name, is_clip in (("clip", True), ("photo", False)):
            base = 40 - sigma / 4
            for method, psnr in (
                (d.IDENTITY, base - 10),
                (d.GAUSS, base - 2),
                (d.NLM, base),
                (d.TWIN, base + 1.6),
                (d.BLIND, ours(sigma, is_clip)),
            ):
                clips = {"psnr_y_clips": psnr} if is_clip else {}
                scores.put(d.case_of(sigma), method, name, psnr_y=psnr, **clips)
    return scores


def test_gates_of_denoising(bench: SimpleNamespace) -> None:
    def names(ours: Callable[[int, bool], float]) -> list[str]:
        return failed(bench.denoise.judge(noisy(bench, ours)).gates)

    good = bench.denoise.judge(noisy(bench, lambda sigma, _: 41.5 - sigma / 4))
    assert good.passed
    assert set(good.nulls) == {bench.denoise.IDENTITY, bench.denoise.GAUSS}
    twin, nlm, bm3d, rises = (g.name for g in good.gates)
    assert names(lambda sigma, _: 41.3 - sigma / 4) == [twin]
    assert names(lambda sigma, _: (41.5 if sigma < 50 else 39.9) - sigma / 4) == [twin, nlm]
    weak_on_clips = names(lambda sigma, is_clip: (40.9 if is_clip else 43) - sigma / 4)
    assert weak_on_clips == [bm3d]
    assert names(lambda sigma, _: 41.5 + sigma / 100) == [rises]
    without = noisy(bench, lambda sigma, _: 41.5 - sigma / 4)
    for methods in without.values.values():
        del methods[bench.denoise.TWIN]
    assert failed(bench.denoise.judge(without).gates) == [twin]


def test_gates_of_deblurring(bench: SimpleNamespace) -> None:
    d = bench.deblur

    def names(ours: float, lucy: float = 27.0, wiener: float = 26.0) -> list[str]:
        scores = bench.scores.Scores()
        for kind in d.kinds():
            for method, psnr in (
                (d.BLURRED, 25.0),
                (d.UNSHARP, 25.5),
                (d.LUCY, lucy),
                (d.WIENER, wiener),
                (d.OURS, ours),
            ):
                scores.put(kind, method, "a", psnr_y=psnr)
        judged = d.judge(scores)
        assert all(failed(gates) for gates in judged.nulls.values())
        return failed(judged.gates)

    assert names(27.2) == []
    assert names(26.4, 26.0, 26.0) == ["dB over blurred"]
    assert names(27.2, lucy=27.3) == ["dB over Richardson-Lucy, true kernel"]
    assert names(27.2, wiener=27.3) == ["dB over Wiener, true kernel"]


def detailed(bench: SimpleNamespace, psnr: float, share: float, warp: float) -> Any:
    """Scores of an enhancer that needs ``share`` of the bytes for a distance."""
    scores = bench.scores.Scores()
    for peer in bench.detail.PEERS:
        for step, quality in enumerate(peer.qualities):
            rate, case = 0.4 / 2**step, f"{peer.name} {quality:g}"

            def distance(rate: float) -> float:
                return float(-0.1 * np.log2(rate))

            for method, gain, needs, unsteady in (
                ("plain", 0.0, 1.0, 1.0),
                (bench.detail.IDENTITY, 0.0, 1.0, 1.0),
                (bench.detail.SHARPENED, -0.3, 0.85, 1.5),
                (bench.detail.GRAIN, -0.3, 0.8, 2.0),
                ("strength 0", psnr, 0.95, 0.9),
                ("strength 0.5", psnr, 0.95, 1.0),
                ("strength 1", -0.5, share, warp),
            ):
                scores.put(
                    case,
                    method,
                    "a",
                    bpp=rate,
                    psnr_y=35.0 - step + gain,
                    st_lpips_vgg=distance(rate / needs),
                    warp_error=unsteady,
                )
    return scores


def test_gates_of_detail(bench: SimpleNamespace) -> None:
    def names(*numbers: float) -> set[str]:
        gates = bench.detail.judge(detailed(bench, *numbers)).gates
        return {name.partition(" ")[2] for name in failed(gates)}

    judged = bench.detail.judge(detailed(bench, 0.1, 0.75, 1.1))
    assert judged.passed
    rates = [g.found for g in judged.gates if "BD-rate" in g.name]
    assert rates == [pytest.approx(-25.0)] * 3
    identity = judged.nulls[bench.detail.IDENTITY]
    assert {n.partition(" ")[2] for n in failed(identity)} == {"BD-rate % of ST-LPIPS, strength 1"}
    assert [g.found for g in identity if "BD-rate" in g.name] == [pytest.approx(0.0)] * 3
    assert names(-0.01, 0.75, 1.1) == {"PSNR-Y, strength 0 - plain"}
    assert names(0.1, 0.95, 1.1) == {"BD-rate % of ST-LPIPS, strength 1"}
    assert names(0.1, 0.75, 1.3) == {"warping error, strength 1 / plain"}


# ── What is measured ─────────────────────────────────────────────────────────────────────────


def test_the_kernel_is_the_cameras(bench: SimpleNamespace) -> None:
    """A film is the scene, seen from the middle, through the kernel in linear light."""
    d = bench.deblur
    clip = bench.sources.photograph("astronaut")
    for kind in d.kinds():
        take = d.film(clip, kind, np.random.default_rng(3), 128, noise=0.0)
        assert take.kernel.sum() == pytest.approx(1)
        rows, columns = take.kernel.shape
        assert rows == columns
        assert rows % 2 == 1
        light = np.clip((take.sharp.y[0] - 16.0) / 219, 0, None) ** 2.2

        def off(kernel: Any, light: Any = light, take: Any = take) -> float:
            summed = np.clip(fftconvolve(light, kernel, "same"), 0, None)
            made = 16 + 219 * summed ** (1 / 2.2)
            inner = np.s_[24:-24, 24:-24]
            return float(np.abs(made - take.blurred.y[2])[inner].mean())

        assert off(take.kernel) < 0.35, kind  # rounding to 8 bits is 0.25
        if "motion" in kind:
            assert off(take.kernel[::-1]) > 1.0, kind


def test_the_true_kernel_helps(bench: SimpleNamespace) -> None:
    d = bench.deblur
    clip = bench.sources.middle_of(bench.sources.photograph("coffee"), 320, 256)
    take = d.film(clip, "disc of 2", np.random.default_rng(1), 112)
    blurred = take.blurred[2:3]
    worth = {
        filters.__name__: max(
            bench.sources.psnr_y(take.sharp, f, 14)
            for f in d.deconvolved(blurred, take.kernel, filters)
        )
        for filters in (d.lucy, d.wieners)
    }
    before = bench.sources.psnr_y(take.sharp, blurred, 14)
    assert min(worth.values()) > before + 0.5


def test_sources(bench: SimpleNamespace, folder: Path) -> None:
    clips = bench.sources.read_sources(folder / "clips", 2, ["chelsea"], (64, 48))
    assert [(c.name, c.frames.y.shape, c.info.width) for c in clips] == [
        ("pan", (2, 48, 64), 64),
        ("chelsea", (1, 48, 64), 64),
    ]
    whole = bench.sources.middle_of(bench.sources.photograph("chelsea"), 0, 0)
    assert whole.frames.y.shape == (1, 288, 448)
    a, b = bench.sources.Settings(), bench.sources.Settings(seed=1)
    assert a.rng("x").random() == a.rng("x").random() != b.rng("x").random()
    assert a.rng("x", 1).random() != a.rng("x", 2).random()
    with pytest.raises(UsageError, match="no photograph 'lena'"):
        bench.sources.photograph("lena")
    with pytest.raises(UsageError, match="nothing to judge"):
        bench.sources.read_sources(None, 2, [], (64, 48))


NULLS = {
    "sr2": ("PSNR-Y, stage 1 - bicubic", "ST-LPIPS, stage 2 / stage 1"),
    "denoise": ("over non-local means, worst sigma",),
    "deblur": ("over blurred", "over Richardson-Lucy", "over Wiener"),
    "detail": ("x264 BD-rate", "x265 BD-rate", "SVT-AV1 BD-rate"),
}


@pytest.mark.parametrize("task", list(NULLS))
def test_nets_that_know_nothing_do_not_pass(
    task: str,
    bench: SimpleNamespace,
    ready: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The whole way on a tiny clip and a photograph, ours a net that changes nothing."""
    out = tmp_path / "out.json"
    where = ["--clips", str(ready / "clips"), "--pictures", "astronaut", "--middle", "64", "64"]
    numbers = ["--frames", "3", "--every", "3", "--json", str(out)]
    assert bench.main([task, *where, *numbers]) == 1
    text = capsys.readouterr().out
    assert f"{task}: gates" in text
    found = json.loads(out.read_text())
    assert set(found["sources"]) == {"pan", "astronaut"}
    assert found["models"][task]["name"] in DEFAULTS.values()
    judged = found["tasks"][task]
    names = [g["name"] for g in judged["gates"] if not g["passed"]]
    for part in NULLS[task]:
        assert any(part in name for name in names), (part, names)
    for null, gates in judged["nulls"].items():
        assert any(not g["passed"] for g in gates), null
    scores = judged["scores"]
    if task == "sr2":
        methods = scores["x2"]
        bicubic, first = (methods[m]["psnr-y"] for m in ("bicubic", "strength 0"))
        assert all(abs(first[n] - bicubic[n]) < 0.05 for n in first)
        assert methods["Lanczos"]["psnr-y"]["astronaut"] > bicubic["astronaut"] - 0.5
        assert set(scores["x2, x264 crf 28"]) == {"bicubic", "strength 0", "strength 1"}
    if task == "denoise":
        sigma = scores["sigma 25"]
        assert sigma["ours, blind"] == sigma["null: identity"]
        noisy = sigma["null: identity"]["psnr-y"]["pan"]
        assert noisy == pytest.approx(20.17, abs=0.5)  # 20 log10(255 / 25)
        assert sigma["non-local means, told"]["psnr-y"]["pan"] > noisy + 5
    if task == "detail":
        plain = judged["summary"]["x264"]
        assert plain["null: identity"]["bd-rate"]["pan"] in (None, pytest.approx(0))
        assert plain["strength 1"]["psnr-y-gain"]["pan"] == 0
        assert "astronaut" not in scores["x264 26.5"]["plain"]["psnr-y"]


def test_what_is_not_asked_for_rightly(
    bench: SimpleNamespace, ready: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = ["--clips", str(ready / "clips"), "--pictures"]
    for wrong, told in (
        (["--model", "sr3=x"], "--model is TASK=NAME"),
        (["--model", "sr4"], "--model is TASK=NAME"),
        (["--model", f"sr4={tmp_path}"], "no enhancer"),
        (["--frames", "0"], "1 or more"),
    ):
        assert bench.main(["sr4", *clips, *wrong]) != 0
        assert told in capsys.readouterr().err
    chosen = bench.settings_of(bench.parse(["all", "--model", "sr4=a=b", "--model", "detail=c"]))
    assert chosen.models == {"sr4": "a=b", "detail": "c"}
    assert chosen.enhancement("sr4").model == "a=b"
    assert chosen.enhancement("sr2").scale == 2


def test_crops(
    bench: SimpleNamespace, ready: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "crops.png"
    where = ["--clips", str(ready / "clips"), "--pictures", "chelsea", "--frames", "3"]
    sizes = ["--middle", "80", "64", "--size", "32", "24"]
    tasks = ["sr4", "denoise", "deblur", "detail"]
    assert bench.main([*tasks, *where, *sizes, "--crops", str(sheet)]) == 0
    from PIL import Image

    with Image.open(sheet) as picture:
        assert picture.size == (5 * 36 - 4, 7 * (24 + 28))  # detail has no row of a photograph
    place = ["--crops", str(sheet), "--crop", "pan", "60", "0"]
    assert bench.main(["sr4", *where, *sizes, *place]) != 0
    assert "a crop of 32x24 at 60, 0 leaves pan" in capsys.readouterr().err


def test_speed(
    bench: SimpleNamespace, ready: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(bench.speed, "run_together", lambda f, t: [f(one, int) for one in t])
    monkeypatch.setattr(bench.speed, "ENHANCERS", ("sr2", "detail"))
    found = bench.speed.run(bench.sources.Settings(), frames=1)["scores"]
    assert set(found) == {"sr2", "detail"}
    for methods in found.values():
        assert set(methods) == {
            f"{what}, {jobs}"
            for what in ("net", "enhancer")
            for jobs in ("1 process", "2 processes")
        }
        assert all(0 < m["fps"]["texture"] < 1e4 for m in methods.values())
    assert "640x360 frames a second" in capsys.readouterr().out
