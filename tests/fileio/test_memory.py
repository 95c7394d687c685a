"""What a file can cost: memory that its length does not move, and nothing that stays behind."""

from __future__ import annotations

import dataclasses
import gc
import io
import json
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gancodec
from gancodec.bitstream import Gop, Reader, Writer
from gancodec.errors import CorruptError, LimitError
from gancodec.probe import probe
from gancodec.video.synth import clip_info, moving_texture, write_test_video

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


# ── Headers ──────────────────────────────────────────────────────────────────────────────────

HUGE: dict[str, tuple[int, bytes, type[Exception]]] = {
    "width 2^32-1": (8, b"\xff" * 4, LimitError),
    "height 2^32-1": (12, b"\xff" * 4, LimitError),
    "both 2^32-1": (8, b"\xff" * 8, LimitError),
    "16384 x 16384": (8, struct.pack("<II", 16384, 16384), LimitError),
    "no width": (8, bytes(4), CorruptError),
    "2^64-2 frames": (48, struct.pack("<Q", 2**64 - 2), LimitError),
    "2^32-1 frames a GOP": (64, b"\xff" * 4, LimitError),
    "2^32-1 bytes a GOP": (68, b"\xff" * 4, LimitError),
    "no sample shape": (24, bytes(8), CorruptError),
    "a time base of zero": (32, bytes(8), CorruptError),
    "a time base over zero": (36, bytes(4), CorruptError),
    "no frame rate": (40, bytes(8), CorruptError),
}


@pytest.mark.parametrize("name", HUGE)
def test_headers_beyond_measure_cost_nothing(
    kit: Any, gvc: Path, tmp_path: Path, name: str
) -> None:
    at, value, kind = HUGE[name]
    chunks = kit.split_chunks(gvc.read_bytes())
    header = bytearray(chunks[0][1])
    header[at : at + len(value)] = value
    struct.pack_into("<H", header, 6, struct.unpack_from("<H", header, 6)[0] | 4)  # count known
    if at != 48:
        struct.pack_into("<Q", header, 48, kit.frames)
    data = kit.join_chunks([(b"GHDR", bytes(header)), *chunks[1:]])
    ways: list[Callable[[], Any]] = [
        lambda: gancodec.open(io.BytesIO(data)),
        lambda: gancodec.verify(io.BytesIO(data), jobs=1),
        lambda: gancodec.decode(io.BytesIO(data), tmp_path / "x.mkv", jobs=1),
        lambda: gancodec.decode(io.BytesIO(data), tmp_path / "x.mkv", jobs=1, conceal=True),
        lambda: probe(io.BytesIO(data)),
    ]
    for way in ways:
        with kit.Peak() as peak:
            begun = time.process_time()
            with pytest.raises(kind):
                way()
            spent = time.process_time() - begun
        assert spent < 0.1
        assert peak.grown_mib < 16
    assert not list(tmp_path.iterdir())


def test_a_lying_chunk_length_costs_nothing(kit: Any, gvc: Path, tmp_path: Path) -> None:
    """60 MiB are promised, four bytes come."""
    head = struct.pack("<4s4sII", b"\xf5gVc", b"GOPS", 60 << 20, 2)
    head += struct.pack("<I", zlib.crc32(head))
    path = tmp_path / "lie.gvc"
    path.write_bytes(kit.join_chunks(kit.split_chunks(gvc.read_bytes())[:2]) + head + b"tiny")
    with kit.Peak() as peak, pytest.raises(gancodec.BitstreamError):
        gancodec.decode(path, tmp_path / "x.mkv", jobs=1)
    assert peak.grown_mib < 16


# ── Long files ───────────────────────────────────────────────────────────────────────────────

WIDTH, HEIGHT, SHORT = 480, 272, 10

DECODE = """
import json, sys
import gancodec
stats = gancodec.decode(sys.argv[1], "/dev/null", jobs=1)
status = open("/proc/self/status").read().split()
print(json.dumps([stats.frames, int(status[status.index("VmHWM:") + 1])]))
"""


def repeated(source: Path, target: Path, times: int) -> None:
    """The GOPs of a file over and over, each at a later time."""
    with source.open("rb") as stream, target.open("wb") as out:
        reader = Reader(stream)
        gops = [event for event in reader.events() if isinstance(event, Gop)]
        writer = Writer(out, reader.header, reader.models)
        step = gops[1].pts[0] - gops[0].pts[0]
        for n in range(times):
            gop = gops[n % len(gops)]
            first = gops[0].pts[0] + n * step
            pts = tuple(first + p - gop.pts[0] for p in gop.pts)
            writer.write_gop(dataclasses.replace(gop, pts=pts))
        writer.close()


def test_memory_does_not_follow_the_length(
    kit: Any, folder: Path, fresh_python: Callable[..., Any]
) -> None:
    """Ten times the film in the same memory; all its pictures together would be seen."""
    batch = moving_texture(WIDTH, HEIGHT, 4)
    source = write_test_video(folder / "wide.mkv", batch, clip_info(batch))
    options = {**kit.fast, "gop": 2, "scene_cuts": False}
    gancodec.encode(source, folder / "short.gvc", **options)
    peaks = []
    for times in (SHORT, 10 * SHORT):
        path = folder / f"{times}.gvc"
        repeated(folder / "short.gvc", path, times)
        frames, kib = json.loads(fresh_python(DECODE, str(path)).stdout)
        assert frames == 2 * times
        peaks.append(kib)
    print(f"peak resident memory of {SHORT} and {10 * SHORT} GOPs: {peaks} KiB")
    allowed = 0.05 * peaks[0]
    all_pictures = 18 * SHORT * WIDTH * HEIGHT * 1.5 / 1024
    assert all_pictures > allowed, "too small a film to tell anything"
    assert peaks[1] - peaks[0] < allowed


# ── Over and over ────────────────────────────────────────────────────────────────────────────


@pytest.mark.stress
def test_nothing_leaks(kit: Any, tmp_path: Path, stress_rounds: int) -> None:
    """Encode, decode, verify and open again and again: memory and open files stay level."""
    batch = moving_texture(32, 32, 3)
    source = write_test_video(tmp_path / "in.mkv", batch, clip_info(batch))
    coded = tmp_path / "out.gvc"

    def cycle() -> None:
        gancodec.encode(source, coded, **kit.fast, overwrite=True)
        gancodec.decode(coded, io.BytesIO(), jobs=1)
        assert gancodec.verify(coded, jobs=1).is_ok
        with gancodec.open(coded) as video:
            assert len(video[:]) == 3

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    count = 30 if stress_rounds == 1 else 200
    for _ in range(15):  # until caches and allocators have what they want
        cycle()
    files = open_files()
    held = []
    for _ in range(count):
        cycle()
        gc.collect()
        held.append(kit.Peak.kib("VmRSS"))
        assert open_files() == files
    slope = float(np.polyfit(np.arange(count), held, 1)[0])
    print(f"{count} cycles: {slope:.2f} KiB a cycle, {files} open files")
    assert slope < 50
