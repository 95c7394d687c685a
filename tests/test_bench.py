"""The benchmark measures what it says; how fast that is, is no business of a test."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import av
import pytest

from gancodec import bench, codec
from gancodec.bench import BenchReport, measure_matmul_gflops, measure_startup, run_bench
from gancodec.bench_peers import time_peers
from gancodec.bench_report import REALISMS, Peer
from gancodec.config import EncodeOptions
from gancodec.errors import InputError, UsageError
from gancodec.eval.clips import Clip
from gancodec.fileio.parallel import run_together
from gancodec.models.complexity import kmac_per_net, kmac_per_pixel
from gancodec.registry import load_model
from gancodec.video.synth import clip_info, moving_texture

STARTUP_SECONDS = 1.25


@pytest.fixture(scope="module", autouse=True)
def no_commands() -> Iterator[None]:
    """The command is started by its own test alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "measure_startup", lambda *_: STARTUP_SECONDS)
        yield


@pytest.fixture(scope="module")
def report() -> BenchReport:
    return run_bench((64, 64), 3, preset="fast")


def test_parts_add_up_to_the_whole(report: BenchReport) -> None:
    for speed in (report.encode, *report.decode.values()):
        assert speed.ms_per_frame == pytest.approx(1000 / speed.fps)
        assert sum(speed.parts_ms.values()) == pytest.approx(speed.ms_per_frame)
        assert all(ms > 0 for ms in speed.parts_ms.values())
        assert list(speed.parts_ms)[-1] == "rest"
    assert "motion search" in report.encode.parts_ms
    faithful, realistic = report.decode.values()
    assert set(realistic.parts_ms) - set(faithful.parts_ms) == {
        "detail head",
        "detail's memory, rounding",
    }


def test_rate_of_the_nets_is_of_their_own_work_and_time(report: BenchReport) -> None:
    kmac = kmac_per_net(load_model(report.model).nets.config)
    for speed, keys in (
        (report.encode, {"analysis": "inter.analysis", "synthesis": "inter.synthesis"}),
        (report.decode["realism 1"], {"synthesis": "inter.synthesis", "detail head": "detail"}),
    ):
        assert list(speed.nets_gflops) == [*keys, "all"]
        gflop = {net: 2e-6 * kmac[key] * 64 * 64 for net, key in keys.items()}
        for net, done in gflop.items():
            assert speed.nets_gflops[net] == pytest.approx(1000 * done / speed.parts_ms[net])
        ms = sum(speed.parts_ms[net] for net in keys)
        assert speed.nets_gflops["all"] == pytest.approx(1000 * sum(gflop.values()) / ms)
        share = speed.nets_gflops["all"] / report.matmul_gflops
        assert speed.nets_of_matmul == pytest.approx(share)


def test_kmac_of_nets_are_those_of_the_parts() -> None:
    config = load_model(EncodeOptions().model).nets.config
    by_net, by_part = kmac_per_net(config), kmac_per_pixel(config)
    assert sum(by_net.values()) == pytest.approx(sum(by_part.values()))
    assert by_net["detail"] == by_part["detail"]
    assert by_net["inter.synthesis"] < by_part["inter_decoder"]


def test_report_says_what_it_ran_on(report: BenchReport) -> None:
    assert (report.width, report.height, report.frames) == (64, 64, 3)
    assert (report.threads, report.jobs) == (1, 1)
    assert report.model == EncodeOptions().model
    assert report.cores >= report.usable_cores >= 1
    assert tuple(report.decode) == REALISMS
    text = report.to_text()
    for word in (
        *("GFLOP/s", "1 process of 1 thread", "motion search", "detail head", "x264 medium"),
        *("start-up 1.25 s", "y4m file read", "share of the matrix product's"),
    ):
        assert word in text
    assert text.count("\n") < 45
    found = json.loads(json.dumps(report.to_dict()))
    assert found["decode"]["realism 0"]["fps"] == report.decode["realism 0"].fps
    assert found["startup_seconds"] == STARTUP_SECONDS


def test_peers_code_the_same_frames(report: BenchReport) -> None:
    here = [p.name for p in report.peers]
    assert "x264 medium" in here
    for peer in report.peers:
        assert peer.frames == report.frames
        assert peer.encode_ratio == pytest.approx(report.encode.fps / peer.encode_fps)
        for name, speed in report.decode.items():
            assert peer.decode_ratio[name] == pytest.approx(speed.fps / peer.decode_fps)


def test_nothing_stays_watched(report: BenchReport) -> None:
    nets = load_model(report.model).nets
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in nets.modules())
    for watched in (codec.pack, codec.warp, codec.Displacement, codec.SymbolEncoder.encode):
        assert not hasattr(watched, "__wrapped__")


def test_refinement_of_the_slow_preset_keeps_its_own_time() -> None:
    speed = run_bench((32, 32), 1, preset="slow").encode
    assert speed.parts_ms["refinement of latents"] > speed.parts_ms["synthesis"]


def test_several_processes_measure_at_once() -> None:
    report = run_bench((64, 64), 2, preset="fast", jobs=2)
    assert report.jobs == 2
    for speed in (report.encode, *report.decode.values()):
        assert speed.fps <= 2 * 1000 / speed.ms_per_frame * 1.001  # by the slower one
        assert sum(speed.parts_ms.values()) == pytest.approx(speed.ms_per_frame)
    assert any("2 processes at once" in note for note in report.notes)
    assert "2 processes of 1 thread" in report.to_text()


def test_what_stops_one_process_stops_all_and_is_told() -> None:
    good = bench._Task((32, 32), 1, "fast", 1, "cpu", False, 0)
    bad = bench._Task((32, 32), 1, "nonsense", 1, "cpu", False, 0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="nonsense"):
        run_together(bench._measure, [good, bad])


def a_clip(width: int, height: int, frames: int) -> Clip:
    batch = moving_texture(width, height, frames)
    return Clip("", clip_info(batch), batch)


def test_what_is_not_here_is_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"libx264"})
    times, notes = time_peers(a_clip(64, 64, 2), 1, lambda: None, neural=False)
    assert [t.name for t in times] == ["x264 medium"]
    assert [note.split(" is left out")[0] for note in notes] == ["x265 medium", "SVT-AV1 preset 6"]


@pytest.mark.skipif(find_spec("compressai") is None, reason="compressai is not installed")
def test_neural_peer_codes_for_real() -> None:
    meetings: list[None] = []
    clip = a_clip(64, 64, 6)
    times, _ = time_peers(clip, 1, lambda: meetings.append(None), neural=True)
    assert (times[-1].name, times[-1].frames) == ("ssf2020", 5)
    assert times[-1].encode.seconds > 0
    assert len(meetings) == 2 * len(times)


def test_neural_needs_its_extra_and_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="leave out --neural or --device cuda"):
        run_bench((32, 32), 1, device="cuda", neural=True)
    monkeypatch.setitem(sys.modules, "compressai", None)
    with pytest.raises(UsageError, match=r"pip install gancodec\[compressai\]"):
        run_bench((32, 32), 1, neural=True)


def test_notes_tell_what_numbers_do_not() -> None:
    def notes(cores: float = 1.0, peer_cores: float = 1.0, name: str = "x") -> str:
        ours = bench._speed([bench._Stretch(1, cores, {"net": 0.5, "rest": 0.5}, {"net": 1})], 4)
        peer = Peer(name, 1, 1, 1, peer_cores, 1, 1, {})
        return "; ".join(bench._notes([ours], [peer], 1, 1, "cpu"))

    assert not notes()
    assert "ours got 0.40 of a core" in notes(cores=0.4)
    assert "x encodes on 1.9 cores" in notes(peer_cores=1.9)
    assert "random weights" in notes(name="ssf2020")


def test_matmul_rate_is_of_this_world() -> None:
    assert 0.01 < measure_matmul_gflops() < 1e6


def test_odd_sizes_are_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="33x17"):
        run_bench((33, 17), 1)


def test_startup_is_the_whole_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_STARTUPS", 1)
    assert 0 < measure_startup(EncodeOptions().model) < 600
    with pytest.raises(InputError, match="nowhere"):
        measure_startup(EncodeOptions().model, "nowhere")
