"""What `gancodec.bench` found: for JSON, and as a table to read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from textwrap import fill
from typing import Any

from gancodec.terminal import table

REALISMS = ("realism 0", "realism 1")  # what is measured of decoding, in this order


@dataclass(frozen=True, slots=True)
class Speed:
    """One direction of our codec.

    Attributes:
        fps: frames a second, of all processes together.
        cores: seconds of processor a second, in one process.
        ms_per_frame: milliseconds that one process takes for a frame.
        parts_ms: the same by part; they add up.
        nets_gflops: GFLOP/s inside each float net in one process, and of ``all`` of them.
        nets_of_matmul: share of the machine's matrix rate inside all of them.
        matmul_gflop_per_frame: what one process could have multiplied meanwhile.
    """

    fps: float
    cores: float
    ms_per_frame: float
    parts_ms: dict[str, float]
    nets_gflops: dict[str, float]
    nets_of_matmul: float
    matmul_gflop_per_frame: float


@dataclass(frozen=True, slots=True)
class Peer:
    """Another codec in the same run, on the same frames, processes and threads.

    Attributes:
        frames: how many it coded.
        encode_fps, decode_fps: of all processes together.
        encode_cores, decode_cores: seconds of processor a second, in one process.
        encode_ratio: our frames a second by its.
        decode_ratio: the same, with each realism.
    """

    name: str
    frames: int
    encode_fps: float
    decode_fps: float
    encode_cores: float
    decode_cores: float
    encode_ratio: float
    decode_ratio: dict[str, float]


@dataclass(frozen=True, slots=True)
class BenchReport:
    """All that a run measured, and what it ran on.

    Attributes:
        matmul_gflops: GFLOP/s of one process, float32, where the nets run, while the others
            multiply, too.
        encode: at ``preset``.
        decode: by `REALISMS`.
        y4m_read_ms, y4m_write_ms: a frame of a file, which is in no other number.
        startup_seconds: from the start of ``gancodec decode`` to its end, for one frame of 640x360.
        notes: what to know when reading the numbers.
    """

    processor: str
    cores: int
    usable_cores: int
    jobs: int
    threads: int
    torch: str
    device: str
    matmul_gflops: float
    width: int
    height: int
    frames: int
    quality: float
    preset: str
    model: str
    encode: Speed
    decode: dict[str, Speed]
    y4m_read_ms: float
    y4m_write_ms: float
    startup_seconds: float
    peers: list[Peer]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """What it ran on, where the time goes, how others do, and what to know about it."""
        each = " a process" * (self.jobs > 1)
        lines = [
            f"{self.processor}: {self.cores} cores, {self.usable_cores} usable, "
            f"{_counted(self.jobs, 'process', 'es')} of {_counted(self.threads, 'thread', 's')}, "
            f"nets on {self.device}",
            f"torch {self.torch}, {self.matmul_gflops:.1f} GFLOP/s{each} in a float32 matrix "
            "product",
            f"{self.frames} synthetic frames of {self.width}x{self.height}, quality "
            f"{self.quality:g}, preset {self.preset}, model {self.model}",
            "",
            table(self._profile(each)),
            "",
            *([table(self._comparison()), ""] if self.peers else []),
            f"start-up {self.startup_seconds:.2f} s: `gancodec decode` of one 640x360 frame, the "
            "whole command",
            *(fill(f"note: {text}", 100, subsequent_indent="  ") for text in self.notes),
        ]
        return "\n".join(lines)

    def _profile(self, each: str) -> list[tuple[str, ...]]:
        speeds = (self.encode, *self.decode.values())
        names = dict.fromkeys(name for speed in speeds for name in speed.parts_ms)
        order = sorted(names, key=lambda name: name == "rest")  # otherwise as they come

        def row(name: str, cells: list[str]) -> tuple[str, ...]:
            return name, *cells

        def of_part(name: str) -> list[str]:
            found = (speed.parts_ms.get(name) for speed in speeds)
            return ["" if ms is None else f"{ms:.1f}" for ms in found]

        read, write = f"{self.y4m_read_ms:.1f}", f"{self.y4m_write_ms:.1f}"
        return [
            row("", ["encode", *(f"decode, {name}" for name in self.decode)]),
            row("frames a second", [f"{s.fps:.2f}" for s in speeds]),
            row(f"milliseconds a frame{each}", [f"{s.ms_per_frame:.1f}" for s in speeds]),
            *(row(f"  {name}", of_part(name)) for name in order),
            row("y4m file read, written (not in it)", [read, *(write for _ in self.decode)]),
            row(
                "matrix product meanwhile, GFLOP",
                [f"{s.matmul_gflop_per_frame:.1f}" for s in speeds],
            ),
            row("inside the nets, GFLOP/s", [f"{s.nets_gflops['all']:.1f}" for s in speeds]),
            row("  share of the matrix product's", [f"{s.nets_of_matmul:.0%}" for s in speeds]),
        ]

    def _comparison(self) -> list[tuple[str, ...]]:
        head = ("", "encode fps", "ours", "decode fps", *(f"ours, {r}" for r in self.decode))
        return [
            head,
            *(
                (
                    peer.name,
                    f"{peer.encode_fps:.2f}",
                    _times(peer.encode_ratio),
                    f"{peer.decode_fps:.2f}",
                    *(_times(ratio) for ratio in peer.decode_ratio.values()),
                )
                for peer in self.peers
            ),
        ]


def _counted(number: int, one: str, more: str) -> str:
    return f"{number} {one}{more * (number > 1)}"


def _times(ratio: float) -> str:
    """A ratio with at least two digits that tell something."""
    return f"{ratio:.3f} x" if ratio < 1 else f"{ratio:.1f} x"
