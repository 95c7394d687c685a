"""The bake-off of inter-frame architectures: every variant trains, is judged and costs the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from gancodec.config import CodecConfig
from gancodec.models.motion_coding import code_field
from gancodec.nn.planes import Planes
from gancodec.nn.prior import LatentPrior
from gancodec.types import VideoInfo
from gancodec.video.synth import moving_texture, write_test_video

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
TINY = CodecConfig(
    inter_encoder_width=16,
    inter_decoder_width=16,
    inter_encoder_depth=1,
    inter_decoder_depth=1,
    inter_groups=(4, 8),
    inter_hyper=4,
    prior_features=16,
)


@pytest.fixture(scope="module")
def bakeoff(scripts: Callable[..., list[ModuleType]]) -> SimpleNamespace:
    """The scripts' modules."""
    parts = ("judging", "nets", "priors", "training", "vectors")
    first, *others = scripts("bakeoff", *(f"bakeoff_{part}" for part in parts))
    return SimpleNamespace(main=first.main, **dict(zip(parts, others, strict=True)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip to train on, another to judge on, and room for what is made of them."""
    folder = tmp_path_factory.mktemp("bakeoff")
    info = VideoInfo(64, 64, Fraction(25), Fraction(1, 25))
    for name, frames, seed in (("data", 12, 1), ("clips", 4, 2)):
        (folder / name).mkdir()
        batch = moving_texture(64, 64, frames, seed=seed)
        write_test_video(folder / name / "clip.mkv", batch, info, codec="ffv1")
    return folder


def test_decoders_cost_the_same(bakeoff: SimpleNamespace) -> None:
    costs = {name: bakeoff.nets.kmac_of(c)[0] for name, c in bakeoff.nets.VARIANTS.items()}
    assert len(costs) == 12
    assert all(abs(cost / costs["motion"] - 1) < 0.03 for cost in costs.values()), costs


def test_every_variant_from_training_to_table(bakeoff: SimpleNamespace, folder: Path) -> None:
    files = []
    for name, choice in bakeoff.nets.VARIANTS.items():
        config = replace(TINY, overlap=choice.config.overlap)
        out = folder / f"{name}.safetensors"
        losses = bakeoff.training.train(
            name, folder / "data", folder / "cache", out,
            steps=2, batch=2, size=64, choice=replace(choice, config=config), log=lambda _: None,
        )  # fmt: skip
        assert len(losses) == 2
        assert np.isfinite(losses).all()
        files.append(out)
    report = bakeoff.judging.judge(files, folder / "clips", 4, (160.0, 80.0, 40.0, 20.0))
    assert set(report["variants"]) == set(bakeoff.nets.VARIANTS)
    for name, entry in report["variants"].items():
        coarse, *_, fine = entry["clips"]["clip"]
        assert coarse["inter_bits"] < fine["inter_bits"], name
        assert 10 < coarse["psnr_y"] < fine["psnr_y"] < 60, name
        assert len(fine["psnr_y_frames"]) == 4
        moves = bakeoff.nets.VARIANTS[name].motion
        assert (fine["motion_bits"] > 0) == moves, name
    rates = {name: entry["bd_rate"] for name, entry in report["variants"].items()}
    assert rates["motion"]["inter"]["mean"] == rates["motion"]["all"]["mean"] == 0
    assert rates["no-overlap"]["inter"]["clips_known"] == 1
    assert rates["no-overlap"]["inter"]["mean"] == rates["no-overlap"]["inter"]["clips"]["clip"]
    table = bakeoff.judging.table_of(report)
    assert all(name in table for name in bakeoff.nets.VARIANTS)


def test_the_anchor_must_be_there(
    bakeoff: SimpleNamespace, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "no-overlap", "--steps", "1", "--batch", "1", "--size", "64"]
    paths = ["--data", str(folder / "data"), "--cache", str(folder / "cache")]
    out = folder / "alone.safetensors"
    assert bakeoff.main([*train, *paths, "--out", str(out)]) == 0
    assert bakeoff.main(["judge", str(out), "--clips", str(folder / "clips")]) == 1
    assert "motion" in capsys.readouterr().err


def test_training_is_reproducible_and_learns(bakeoff: SimpleNamespace, folder: Path) -> None:
    choice = bakeoff.nets.Choice(config=TINY)
    out = folder / "again.safetensors"

    def losses(seed: int, steps: int) -> list[float]:
        found: list[float] = bakeoff.training.train(
            "motion", folder / "data", folder / "cache", out,
            steps=steps, batch=2, size=64, seed=seed, choice=choice, log=lambda _: None,
        )  # fmt: skip
        return found

    def loss(net: torch.nn.Module, fresh: bool) -> float:
        """Of one and the same batch."""
        intra = bakeoff.training.load_intra("base.v1")
        training = bakeoff.training.Training(
            net.train(), intra, folder / "data", folder / "cache", batch=2, size=64
        )
        if fresh:
            training.start()
        torch.manual_seed(0)
        with torch.no_grad():
            return float(training.loss(np.random.default_rng(0), 0.0)[0])

    assert losses(1, 2) != losses(0, 2) == losses(0, 2)
    losses(0, 20)
    trained, meta = bakeoff.training.load_variant(out)
    assert meta["steps"] == "20"
    assert loss(trained, fresh=False) < loss(bakeoff.nets.build(choice), fresh=True)


def test_all_vectors_known_cost_what_the_codec_spends(bakeoff: SimpleNamespace) -> None:
    """`code_vectors` with every block known is `code_field` under the same tables."""
    rng = np.random.default_rng(5)
    prices = bakeoff.vectors.parametric_prices()
    blocks = rng.integers(-9, 10, (2, 6, 5)).astype(np.int32)
    wanted = blocks.repeat(2, 1).repeat(2, 2)
    wanted[:, 1::2, 1::2] += (rng.random((6, 5)) < 0.3) * rng.integers(-3, 4, (2, 6, 5), np.int32)
    previous = np.zeros_like(wanted)
    spent = 0.0

    def count(values: np.ndarray | None, index: np.ndarray) -> np.ndarray:
        nonlocal spent
        assert values is not None
        spent += float(prices.bits[index, values + prices.bits.shape[1] // 2].sum())
        return values

    code_field(wanted, previous, count)
    known = np.ones((6, 5), np.bool_)
    coded, bits = bakeoff.vectors.code_vectors(wanted, previous, known, prices, split=True)
    assert np.array_equal(coded, wanted)
    assert bits == pytest.approx(spent, rel=1e-5)
    half = known.copy()
    half[:, 2:] = False
    coded, fewer = bakeoff.vectors.code_vectors(wanted, previous, half, prices, split=True)
    assert np.array_equal(coded[:, :, :4], wanted[:, :, :4])
    assert 0.2 * bits < fewer < 0.7 * bits


def test_flags_cost_their_entropy(bakeoff: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    none = np.zeros((30, 40), np.bool_)
    assert bakeoff.vectors.flag_bits(none) < 8
    fair = rng.random((30, 40)) < 0.5
    assert 1190 < bakeoff.vectors.flag_bits(fair) < 1220
    patch = none.copy()
    patch[5:20, 10:25] = True  # neighbours tell
    assert bakeoff.vectors.flag_bits(patch) < 0.4 * 1200 * 0.696  # bits of 225 among 1200


def test_reference_is_chosen_where_it_is_better(bakeoff: SimpleNamespace) -> None:
    """Left the frame before is right, right the first one is."""
    x, wrong = (torch.rand(1, 1, 32, 64) for _ in range(2))
    chroma = torch.zeros(1, 1, 16, 32)
    left = (torch.arange(64) < 32).float()
    before = Planes(x * left + wrong * (1 - left), chroma, chroma)
    first = Planes(wrong * left + x * (1 - left), chroma, chroma)
    none = torch.zeros(1, 2, 4, 8)
    flat = torch.zeros(1, 1, 1, 1)
    state = bakeoff.nets.State(before, first, flat, flat)
    flags = bakeoff.nets.choose_references(
        Planes(x, chroma, chroma), state, none, none, torch.tensor([40]), TINY
    )
    assert torch.equal(flags[0, 0], torch.tensor([[0.0, 0, 1, 1]] * 2))
    net = bakeoff.nets.build(bakeoff.nets.Choice(replace(TINY, overlap=False), first_frame=True))
    merged = net.predict(state, bakeoff.nets.Motion(none, none, flags))
    assert torch.allclose(merged.y, x, atol=1e-3)  # sampled, so not to the bit


def test_displacement_of_features(bakeoff: SimpleNamespace) -> None:
    field = torch.zeros(1, 2, 8, 12)
    field[:, 0], field[:, 1] = 128, -64  # 32 samples right, 16 up
    features = torch.rand(1, 3, 8, 12)
    moved = bakeoff.nets.displace(features, field)
    assert torch.allclose(moved[..., 2:, :-4], features[..., :-2, 4:], atol=1e-5)


def test_transmitted_scales_follow_the_signal(bakeoff: SimpleNamespace) -> None:
    """Regions of different widths cost less than under one scale, and the indices have a price."""
    prior = bakeoff.priors.TransmittedScales((4, 8), 64).eval()
    y = torch.randn(1, 12, 16, 16) * torch.where(torch.arange(16) < 8, 0.3, 12.0)
    with torch.no_grad():
        out = prior(y, torch.tensor([30]), torch.zeros(1, 12, 16, 16))
        plain = LatentPrior((4, 8), 4, 16, 0, 64).eval()(y, torch.tensor([30]), None)
    assert 0 < float(out.hyper_bits) < 0.1 * float(out.bits)
    assert float(out.bits) < float(plain.bits)
    assert float((out.y_hat - y).abs().max()) <= 1.5


def test_one_step_prior_codes_everything_once(bakeoff: SimpleNamespace) -> None:
    prior = bakeoff.priors.OneStepPrior((4, 8), 4, 16, 0, 64, 3).eval()
    prior.set_initial_scales(torch.full((12,), 2.0))
    y = torch.randn(1, 12, 8, 8) * 3
    with torch.no_grad():
        out = prior(y, torch.tensor([30]), None)
    assert out.y_hat.shape == y.shape
    assert float((out.y_hat - y).abs().max()) <= 1.5
    assert len(prior.steps) == 2
