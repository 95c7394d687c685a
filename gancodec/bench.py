"""How fast this machine encodes and decodes, told in ways that outlive the machine.

A frame rate says little without the processor, so beside it stands what a frame costs in matrix
multiplications of the same machine, and what x264 does in the same run. Everything is one process
and as many threads as asked for: one, as in every job of an encode or decode.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from gancodec.codec import Decoder, Encoder
from gancodec.config import EncodeOptions, Preset
from gancodec.eval.anchors import decode_h264, encode_x264
from gancodec.fileio.parallel import usable_cores
from gancodec.registry import Model, load_model
from gancodec.terminal import table
from gancodec.types import FrameBatch, Packet, VideoInfo
from gancodec.video.synth import clip_info, noisy_pan

_MATMUL_SIDE = 1024
_MATMUL_ROUNDS = 5
_WARM_UP_FRAMES = 2  # an intra and an inter frame: kernels are chosen, memory is there
_X264_CRF = 23.0  # its default
_REST = "prior, range coder, planes"


@dataclass(frozen=True, slots=True)
class Speed:
    """One direction: frames a second, and milliseconds a frame by part."""

    fps: float
    ms_per_frame: float
    parts_ms: dict[str, float]
    matmul_gflop_per_frame: float  # what the machine could have multiplied meanwhile
    x264_fps: float

    @property
    def times_x264(self) -> float:
        """Share of x264's frame rate."""
        return self.fps / self.x264_fps


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All that a run measured, and what it ran on."""

    processor: str
    cores: int
    usable_cores: int
    threads: int
    torch: str
    device: str
    matmul_gflops: float  # GFLOP/s, float32, on the same threads of the CPU
    width: int
    height: int
    frames: int
    quality: float
    preset: str
    model: str
    encode: Speed
    decode: Speed

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """A few lines and a table."""
        rows = [("", "fps", "ms a frame", "matmul GFLOP a frame", "x264 medium fps", "of x264")]
        for name, speed in (("encode", self.encode), ("decode", self.decode)):
            rows.append(
                (
                    name,
                    f"{speed.fps:.2f}",
                    f"{speed.ms_per_frame:.1f}",
                    f"{speed.matmul_gflop_per_frame:.2f}",
                    f"{speed.x264_fps:.1f}",
                    f"{speed.times_x264:.1%}",
                )
            )
            rows += [
                (f"  {part}", "", f"{ms:.1f}", "", "", "") for part, ms in speed.parts_ms.items()
            ]
        return (
            f"{self.processor}: {self.cores} cores, {self.usable_cores} usable, "
            f"{self.threads} thread{'s' * (self.threads > 1)} used, nets on {self.device}\n"
            f"torch {self.torch}, {self.matmul_gflops:.1f} GFLOP/s in a {_MATMUL_SIDE}x"
            f"{_MATMUL_SIDE} float32 matrix product\n"
            f"{self.frames} synthetic frames of {self.width}x{self.height}, quality "
            f"{self.quality:g}, preset {self.preset}, model {self.model}\n\n{table(rows)}"
        )


def run_bench(
    size: tuple[int, int] = (640, 360),
    frames: int = 24,
    *,
    preset: Preset = "medium",
    threads: int = 1,
    device: str = "cpu",
) -> BenchReport:
    """Encode and decode a synthetic clip, and measure the machine on the side.

    Args:
        size: width and height, both even for x264's sake.
        frames: of the clip; two more go before, unmeasured.
        preset: the encoder's.
        threads: of torch and of x264 alike.
        device: where the nets run.

    Raises:
        UsageError: an odd size.
        ModelError: the weights cannot be used.
    """
    options = EncodeOptions(preset=preset)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        clip = noisy_pan(*size, frames + _WARM_UP_FRAMES, noise=4)
        info = clip_info(clip)
        # x264 first: it refuses what it cannot code before much time is spent
        x264_fps = _measure_x264(clip[_WARM_UP_FRAMES:], info, threads)
        gflops = measure_matmul_gflops()
        model = load_model(options.model, device)
        packets, encoding = _measure_encoder(clip, info, options, model, device)
        decoding = _measure_decoder(packets, info, model, device)
    finally:
        torch.set_num_threads(before)
    speeds = [
        Speed(frames / seconds, 1000 * seconds / frames, parts, gflops * seconds / frames, peer)
        for (seconds, parts), peer in zip((encoding, decoding), x264_fps, strict=True)
    ]
    return BenchReport(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
        threads=threads,
        torch=torch.__version__,
        device=device,
        matmul_gflops=gflops,
        width=size[0],
        height=size[1],
        frames=frames,
        quality=options.quality,
        preset=preset,
        model=model.name,
        encode=speeds[0],
        decode=speeds[1],
    )


def measure_matmul_gflops() -> float:
    """Billions of float32 operations a second in a square matrix product, the best of a few."""
    a = torch.rand(_MATMUL_SIDE, _MATMUL_SIDE)
    b = torch.rand(_MATMUL_SIDE, _MATMUL_SIDE)
    best = float("inf")
    for _ in range(_MATMUL_ROUNDS + 1):  # the first is a warm-up that the best forgets
        begun = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - begun)
    return 2 * _MATMUL_SIDE**3 / best / 1e9


def _measure_x264(clip: FrameBatch, info: VideoInfo, threads: int) -> tuple[float, float]:
    """Frames a second of x264 medium and of FFmpeg's decoder for it."""
    begun = time.perf_counter()
    data = encode_x264(clip, info, _X264_CRF, threads=threads)
    encoded = time.perf_counter()
    decode_h264(data, threads=threads)
    decoded = time.perf_counter()
    return len(clip) / (encoded - begun), len(clip) / (decoded - encoded)


Measured = tuple[float, dict[str, float]]  # seconds in all, milliseconds a frame by part


def _measure_encoder(
    clip: FrameBatch, info: VideoInfo, options: EncodeOptions, model: Model, device: str
) -> tuple[list[Packet], Measured]:
    stopwatch = _Stopwatch(device)
    encoder = Encoder(info, options, model=model, device=device)
    packets = list(encoder.encode(clip[:_WARM_UP_FRAMES]))
    nets = model.nets
    watched: dict[str, list[nn.Module]] = {
        "analysis": [nets.intra.analysis, nets.inter.analysis],
        "synthesis of the reference": [nets.intra.synthesis, nets.inter.synthesis],
    }
    with stopwatch.watching(watched):
        # An attribute of this one object hides the method of its class.
        search = stopwatch.timed("motion search", encoder._search)
        encoder._search = search  # type: ignore[method-assign]
        begun = stopwatch.now()
        packets += encoder.encode(clip[_WARM_UP_FRAMES:])
        seconds = stopwatch.now() - begun
    return packets, (seconds, stopwatch.parts_ms(seconds, len(clip) - _WARM_UP_FRAMES))


def _measure_decoder(packets: list[Packet], info: VideoInfo, model: Model, device: str) -> Measured:
    stopwatch = _Stopwatch(device)
    decoder = Decoder(info, model, realism=1, device=device)
    for packet in packets[:_WARM_UP_FRAMES]:
        decoder.decode(packet.kind, packet.pts, packet.data)
    nets = model.nets
    watched: dict[str, list[nn.Module]] = {
        "synthesis": [nets.intra.synthesis, nets.inter.synthesis],
        "detail head": [nets.detail],
    }
    with stopwatch.watching(watched):
        begun = stopwatch.now()
        for packet in packets[_WARM_UP_FRAMES:]:
            decoder.decode(packet.kind, packet.pts, packet.data)
        seconds = stopwatch.now() - begun
    return seconds, stopwatch.parts_ms(seconds, len(packets) - _WARM_UP_FRAMES)


class _Stopwatch:
    """Adds up the seconds that named parts of the work take."""

    def __init__(self, device: str) -> None:
        self._asynchronous = device.startswith("cuda")
        self._seconds: dict[str, float] = {}
        self._begun = 0.0

    def now(self) -> float:
        """Seconds, once everything that was asked of a GPU is done."""
        if self._asynchronous:
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def watching(self, parts: dict[str, list[nn.Module]]) -> Iterator[None]:
        """Time every call of these modules, which do not call one another."""
        handles = []
        for name, modules in parts.items():
            for module in modules:
                handles.append(module.register_forward_pre_hook(self._on_begin))
                handles.append(module.register_forward_hook(partial(self._on_end, name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def run(*arguments: Any) -> Any:
            begun = self.now()
            result = function(*arguments)
            self._add(name, self.now() - begun)
            return result

        return run

    def parts_ms(self, total_seconds: float, frames: int) -> dict[str, float]:
        """Milliseconds a frame by part, with what no part accounts for at the end."""
        parts = {name: 1000 * s / frames for name, s in self._seconds.items()}
        return {**parts, _REST: 1000 * total_seconds / frames - sum(parts.values())}

    def _on_begin(self, *_: Any) -> None:
        self._begun = self.now()

    def _on_end(self, name: str, *_: Any) -> None:
        self._add(name, self.now() - self._begun)

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds


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
