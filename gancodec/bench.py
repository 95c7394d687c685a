"""How fast this machine encodes and decodes, told in ways that outlive the machine.

A frame rate says little without the processor, so beside it stands what a frame costs in matrix
multiplications of the same machine, and what other codecs do in the same run. Everything is one
process and one thread unless more are asked for; several processes do each thing at the same time,
each with a clip of its own, as GOPs are encoded in parallel.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from gancodec import codec
from gancodec.bench_peers import NEURAL, NEURAL_FRAMES, Lap, PeerTimes, time_peers
from gancodec.bench_report import REALISMS, BenchReport, Peer, Speed
from gancodec.bitstream import AdaptiveTables, SymbolDecoder, SymbolEncoder, SymbolHasher
from gancodec.codec import Decoder, Encoder
from gancodec.config import EncodeOptions, Preset
from gancodec.errors import InputError, UsageError
from gancodec.eval.classic import check_even
from gancodec.eval.clips import Clip
from gancodec.fileio import encode
from gancodec.fileio.parallel import Meet, run_together, usable_cores
from gancodec.models.complexity import kmac_per_net
from gancodec.models.synthesis import Show
from gancodec.nn.planes import BLOCK
from gancodec.registry import Model, load_model
from gancodec.stopwatch import Call, Stopwatch, Watched
from gancodec.train.compressai_bridge import import_compressai
from gancodec.types import FrameBatch, FrameType, Packet, VideoInfo
from gancodec.video.reader import open_video
from gancodec.video.synth import clip_info, noisy_pan
from gancodec.video.writer import open_writer

_MATMUL_SIDE = 1024
_MATMUL_ROUNDS = 20
_WARM_UP_FRAMES = 2  # an intra and an inter frame: kernels are chosen, memory is there
_NOISE = 4  # of the clip: what a camera adds, so that nothing comes for free
_STARTUP_SIZE = 640, 360
_STARTUPS = 3
_BUSY = 1.2  # seconds of processor a second and thread of another codec, beyond which we say so
_STARVED = 0.9  # the same of ours, below which others had the processor meanwhile

# Names of parts that are nets
_ANALYSIS, _SYNTHESIS, _HEAD = "analysis", "synthesis", "detail head"


def run_bench(
    size: tuple[int, int] = (640, 360),
    frames: int = 24,
    *,
    preset: Preset = "medium",
    threads: int = 1,
    jobs: int = 1,
    device: str = "cpu",
    neural: bool = False,
) -> BenchReport:
    """Encode and decode a synthetic clip, and measure the machine and other codecs on the side.

    Args:
        size: width and height, both even for other codecs' sake.
        frames: of the clip; two more go before, unmeasured.
        preset: the encoder's.
        threads: of torch and of the other codecs alike, in each process.
        jobs: processes that do all of it at the same time.
        device: where the nets run.
        neural: CompressAI's ssf2020, too, with random weights.

    Raises:
        UsageError: an odd size, or ``neural`` without compressai or not on the CPU.
        ModelError: the weights cannot be used.
        InputError: a process died, or the start of the command failed.
    """
    if neural:
        if device != "cpu":
            raise UsageError(f"{NEURAL} runs on the CPU: leave out --neural or --device {device}")
        import_compressai()
    tasks = [_Task(size, frames, preset, threads, device, neural, seed) for seed in range(jobs)]
    check_even(VideoInfo(*size, fps=Fraction(25), time_base=Fraction(1, 25)), "x264")
    found = [_measure(tasks[0], lambda: None)] if jobs == 1 else run_together(_measure, tasks)
    options = tasks[0].options
    gflops = statistics.fmean(f.matmul_gflops for f in found)
    encoded = _speed([f.encode for f in found], gflops)
    decoded = {
        name: _speed([f.decode[k] for f in found], gflops) for k, name in enumerate(REALISMS)
    }
    peers = [
        _peer(times, encoded, decoded) for times in zip(*(f.peers for f in found), strict=True)
    ]
    return BenchReport(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
        jobs=jobs,
        threads=threads,
        torch=torch.__version__,
        device=device,
        matmul_gflops=gflops,
        width=size[0],
        height=size[1],
        frames=frames,
        quality=options.quality,
        preset=preset,
        model=options.model,
        encode=encoded,
        decode=decoded,
        y4m_read_ms=1000 * statistics.fmean(f.read_seconds for f in found) / frames,
        y4m_write_ms=1000 * statistics.fmean(f.write_seconds for f in found) / frames,
        startup_seconds=measure_startup(options.model, device),
        peers=peers,
        notes=[
            *found[0].notes,
            *_notes([encoded, *decoded.values()], peers, jobs, threads, device),
        ],
    )


def measure_matmul_gflops(device: str = "cpu") -> float:
    """Billions of float32 operations a second in a square matrix product, the best of a few."""
    a = torch.rand(_MATMUL_SIDE, _MATMUL_SIDE, device=device)
    b = torch.rand(_MATMUL_SIDE, _MATMUL_SIDE, device=device)
    best = float("inf")
    for _ in range(_MATMUL_ROUNDS + 1):  # the first is a warm-up that the best forgets
        stopwatch = Stopwatch(device)
        with stopwatch.watching({}):
            torch.mm(a, b)
        best = min(best, stopwatch.seconds)
    return 2 * _MATMUL_SIDE**3 / best / 1e9


def measure_startup(model: str, device: str = "cpu") -> float:
    """Seconds that ``gancodec decode`` takes for a file of one frame of 640x360, median of three.

    It is the whole command: a new Python, torch, the weights, the frame, a y4m of it.

    Raises:
        InputError: the command fails.
    """
    seconds = []
    with TemporaryDirectory() as folder:
        source, coded, out = (Path(folder) / name for name in ("in.y4m", "one.gvc", "out.y4m"))
        _write_y4m(source, noisy_pan(*_STARTUP_SIZE, 1, noise=_NOISE))
        encode(source, coded, model=model, preset="fast", jobs=1)
        command = [sys.executable, "-m", "gancodec", "decode", str(coded), str(out), "-y"]
        for _ in range(_STARTUPS):
            begun = time.perf_counter()
            done = subprocess.run([*command, "--device", device], capture_output=True, text=True)
            seconds.append(time.perf_counter() - begun)
            if done.returncode:
                raise InputError(
                    f"the command `{' '.join(command[1:4])}` fails: {done.stderr.strip()}"
                )
    return statistics.median(seconds)


# ── In one process of several ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Task:
    """What one process is to do."""

    size: tuple[int, int]
    frames: int
    preset: Preset
    threads: int
    device: str
    neural: bool
    seed: int

    @property
    def options(self) -> EncodeOptions:
        return EncodeOptions(preset=self.preset)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Our codec at work on some frames: seconds by part, and GFLOP inside the nets among them."""

    frames: int
    busy_seconds: float  # of the processor
    parts: dict[str, float]
    gflop: dict[str, float]

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True)
class _Found:
    """All that one process measured."""

    matmul_gflops: float
    encode: _Stretch
    decode: tuple[_Stretch, ...]  # as `REALISMS`
    read_seconds: float
    write_seconds: float
    peers: list[PeerTimes]
    notes: list[str]


def _measure(task: _Task, meet: Meet) -> _Found:
    """Everything, one after the other; ``meet`` comes before whatever is timed."""
    before = torch.get_num_threads()
    torch.set_num_threads(task.threads)
    try:
        clip = noisy_pan(*task.size, task.frames + _WARM_UP_FRAMES, task.seed, _NOISE)
        info = clip_info(clip)
        model = load_model(task.options.model, task.device)
        meet()
        gflops = measure_matmul_gflops(task.device)
        packets, encoding = _measure_encoder(clip, info, model, task, meet)
        decoding = [
            _measure_decoder(packets, info, model, task.device, realism, meet)
            for realism in range(len(REALISMS))
        ]
        measured = clip[_WARM_UP_FRAMES:]
        read_seconds, write_seconds = _measure_files(measured, meet)
        peers, notes = time_peers(Clip("", info, measured), task.threads, meet, neural=task.neural)
    finally:
        torch.set_num_threads(before)
    return _Found(gflops, encoding, tuple(decoding), read_seconds, write_seconds, peers, notes)


# What belongs to each part, where it is looked up. Parts that both directions have:
_PLANES: list[Watched] = [
    Call(codec, name) for name in ("planes_of", "pack", "unpack", "round_to_8_bit", "frame_of")
]
_WARP: list[Watched] = [Call(codec, "Displacement"), Call(codec, "warp")]
_PRIOR: list[Watched] = [Call(codec, "code_latents"), Call(codec, "temporal_context")]
_ENTROPY: list[Watched] = [
    *(Call(codec, name) for name in ("SymbolEncoder", "SymbolDecoder")),
    *(Call(codec, name) for name in ("code_field", "decode_field")),
    *(Call(SymbolEncoder, name) for name in ("encode", "finish")),
    *(Call(SymbolDecoder, name) for name in ("decode", "finish")),
    *(Call(SymbolHasher, name) for name in ("update", "digest")),
    Call(AdaptiveTables, "learn"),
]
_REFINEMENT = "refinement of latents"  # by trial syntheses, which are its own


def _measure_encoder(
    clip: FrameBatch, info: VideoInfo, model: Model, task: _Task, meet: Meet
) -> tuple[list[Packet], _Stretch]:
    encoder = Encoder(info, task.options, model=model, device=task.device)
    packets = list(encoder.encode(clip[:_WARM_UP_FRAMES]))
    nets = model.nets
    parts: dict[str, list[Watched]] = {
        "planes, packing": _PLANES,
        "motion search": [Call(encoder, "_search"), Call(encoder._finder, "begin")],
        "warp": _WARP,
        _ANALYSIS: [nets.intra.analysis, nets.inter.analysis],
        **({_REFINEMENT: [Call(codec, "refined")]} if task.preset == "slow" else {}),
        "prior: integer nets": _PRIOR,
        "entropy: range coder, vectors": _ENTROPY,
        _SYNTHESIS: [nets.intra.synthesis, nets.inter.synthesis],
    }
    meet()
    stopwatch, busy = Stopwatch(task.device), time.process_time()
    with stopwatch.watching(parts, closed=[_REFINEMENT]):
        found = list(encoder.encode(clip[_WARM_UP_FRAMES:]))
    busy = time.process_time() - busy
    gflop = _gflop_of(found, info, model, (_ANALYSIS, _SYNTHESIS))
    return packets + found, _Stretch(len(found), busy, stopwatch.parts, gflop)


def _measure_decoder(
    packets: Sequence[Packet],
    info: VideoInfo,
    model: Model,
    device: str,
    realism: float,
    meet: Meet,
) -> _Stretch:
    decoder = Decoder(info, model, realism=realism, device=device)
    first, rest = packets[:_WARM_UP_FRAMES], packets[_WARM_UP_FRAMES:]
    for packet in first:
        decoder.decode(packet.kind, packet.pts, packet.data)
    nets = model.nets
    parts: dict[str, list[Watched]] = {
        "entropy: range coder, vectors": _ENTROPY,
        "prior: integer nets": _PRIOR,
        "warp": _WARP,
        _SYNTHESIS: [nets.intra.synthesis, nets.inter.synthesis],
        "planes, packing": _PLANES,
    }
    if realism:
        parts |= {_HEAD: [nets.detail], "detail's memory, rounding": [Call(Show, "frame")]}
    meet()
    stopwatch, busy = Stopwatch(device), time.process_time()
    with stopwatch.watching(parts):
        for packet in rest:
            decoder.decode(packet.kind, packet.pts, packet.data)
    busy = time.process_time() - busy
    gflop = _gflop_of(rest, info, model, (_SYNTHESIS, *([_HEAD] if realism else [])))
    return _Stretch(len(rest), busy, stopwatch.parts, gflop)


def _gflop_of(
    packets: Iterable[Packet], info: VideoInfo, model: Model, nets: Iterable[str]
) -> dict[str, float]:
    """Billions of operations that the convolutions of each net take for all of these frames."""
    kmac = kmac_per_net(model.nets.config)
    samples = -(-info.width // BLOCK) * -(-info.height // BLOCK) * BLOCK**2
    kinds = ["intra" if p.kind == FrameType.INTRA else "inter" for p in packets]

    def total(net: str) -> float:
        keys = ("detail" if net == _HEAD else f"{kind}.{net}" for kind in kinds)
        return sum(2e3 * kmac[key] * samples for key in keys) / 1e9

    return {net: total(net) for net in nets}


def _measure_files(clip: FrameBatch, meet: Meet) -> tuple[float, float]:
    """Seconds that a y4m file of the clip takes to be read, and to be written."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.y4m"
        meet()
        begun = time.perf_counter()
        _write_y4m(path, clip)
        written = time.perf_counter()
        with open_video(path) as video:
            for _ in video.batches(1):
                pass
        return time.perf_counter() - written, written - begun


def _write_y4m(path: Path, clip: FrameBatch) -> None:
    with open_writer(path, clip_info(clip)) as writer:
        writer.write(clip)


# ── Of all processes together ────────────────────────────────────────────────────────────────


def _speed(stretches: Sequence[_Stretch], matmul_gflops: float) -> Speed:
    frames = sum(s.frames for s in stretches)
    seconds = sum(s.seconds for s in stretches)

    def per_frame(part: str) -> float:
        return 1000 * sum(s.parts[part] for s in stretches) / frames

    def gflops(nets: Iterable[str]) -> float:
        done = sum(s.gflop[net] for s in stretches for net in nets)
        return done / sum(s.parts[net] for s in stretches for net in nets)

    nets = list(stretches[0].gflop)
    each = {net: gflops([net]) for net in nets}
    return Speed(
        fps=frames / max(s.seconds for s in stretches),
        cores=sum(s.busy_seconds for s in stretches) / seconds,
        ms_per_frame=1000 * seconds / frames,
        parts_ms={part: per_frame(part) for part in stretches[0].parts},
        nets_gflops={**each, "all": gflops(nets)},
        nets_of_matmul=gflops(nets) / matmul_gflops,
        matmul_gflop_per_frame=matmul_gflops * seconds / frames,
    )


def _peer(times: Sequence[PeerTimes], encoded: Speed, decoded: dict[str, Speed]) -> Peer:
    def fps(lap: Callable[[PeerTimes], Lap]) -> float:
        return sum(t.frames for t in times) / max(lap(t).seconds for t in times)

    def cores(lap: Callable[[PeerTimes], Lap]) -> float:
        return sum(lap(t).busy_seconds for t in times) / sum(lap(t).seconds for t in times)

    encode_fps, decode_fps = fps(lambda t: t.encode), fps(lambda t: t.decode)
    return Peer(
        name=times[0].name,
        frames=times[0].frames,
        encode_fps=encode_fps,
        decode_fps=decode_fps,
        encode_cores=cores(lambda t: t.encode),
        decode_cores=cores(lambda t: t.decode),
        encode_ratio=encoded.fps / encode_fps,
        decode_ratio={name: speed.fps / decode_fps for name, speed in decoded.items()},
    )


def _notes(
    ours: Sequence[Speed], peers: Iterable[Peer], jobs: int, threads: int, device: str
) -> list[str]:
    """What the numbers alone do not say."""
    notes = []
    least = min(speed.cores for speed in ours)
    if device == "cpu" and least < _STARVED:
        notes.append(
            f"the machine was busy: ours got {least:.2f} of a core, so all rates are too low, and "
            "most of all the nets' share of the matrix product's"
        )
    if jobs > 1:
        notes.append(
            f"frames a second are those of {jobs} processes at once, by the slowest; the rest is "
            "the mean of one of them"
        )
    if jobs * threads > usable_cores():
        notes.append(
            f"{jobs * threads} threads share {usable_cores()} cores: that measures the queue"
        )
    for peer in peers:
        for what, cores in (("encodes", peer.encode_cores), ("decodes", peer.decode_cores)):
            if cores > _BUSY * threads:
                notes.append(f"{peer.name} {what} on {cores:.1f} cores, more than it was told to")
        if peer.name == NEURAL:
            notes.append(
                f"{NEURAL}, quality 1, has random weights, on which its speed hardly depends; "
                f"{NEURAL_FRAMES} frames, the first intra, entropy coding and colours included"
            )
    if device != "cpu":
        notes.append("other codecs run on the CPU")
    return notes


def _processor() -> str:
    """What the system calls its processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
