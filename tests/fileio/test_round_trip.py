"""Files there and back: pictures, times, sound, pipes, and parts of a clip."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gancodec
from gancodec.bitstream import Gop, Reader
from gancodec.config import EncodeOptions
from gancodec.errors import (
    InputError,
    UsageError,
)
from gancodec.types import FrameBatch
from gancodec.video.reader import open_video
from gancodec.video.synth import clip_info, moving_texture, write_test_video
from gancodec.video.writer import open_writer


def test_mp4_to_gvc_to_mkv(
    kit: Any, folder: Path, mp4: Path, gvc: Path, linear: FrameBatch
) -> None:
    out = folder / "out.mkv"
    stats = gancodec.decode(gvc, out, lossless=True, jobs=1)
    assert stats.is_intact
    assert (stats.frames, stats.seconds) == (kit.frames, Fraction(kit.frames, 25))
    back = kit.read_all(out)
    kit.assert_same(back, linear, times=False)
    assert [p for _, p in kit.sound_of(out)] == [p for _, p in kit.sound_of(mp4)]
    # mkv keeps milliseconds, and the writer's sample-exact times round to them
    for (a, _), (b, _) in zip(kit.sound_of(out), kit.sound_of(mp4), strict=True):
        assert abs(a - b) <= Fraction(1, 1000)
    original = kit.read_all(mp4)
    with gancodec.open(gvc) as video:
        np.testing.assert_array_equal(video.pts, original.pts)


def test_file_holds_the_packets_of_the_encoder(kit: Any, mp4: Path, gvc: Path) -> None:
    with open_video(mp4) as reader:
        info, frames = reader.info, FrameBatch.concatenate(list(reader.batches(8)))
    options = EncodeOptions(quality=30, gop=kit.gop, preset="fast", model="tiny.v0")
    encoder = gancodec.Encoder(info, options)
    packets = [*encoder.encode(frames), *encoder.flush()]
    gops = kit.gops_of(gvc)
    assert [len(g.frames) for g in gops] == [6, 4, 6, 6, 2]
    assert [f.data for g in gops for f in g.frames] == [p.data for p in packets]
    assert [p for g in gops for p in g.pts] == [p.pts for p in packets]
    ends = np.cumsum([len(g.frames) for g in gops]) - 1
    assert [g.symbol_hash for g in gops] == [packets[n].symbol_hash for n in ends]


def test_a_script_without_main_guard_and_two_jobs(folder: Path, mp4: Path, gvc: Path) -> None:
    """Workers must not run the user's script again, and the bytes be those of one job."""
    out = folder / "two.gvc"
    script = folder / "script.py"
    script.write_text(
        "import sys, gancodec\nprint('run')\n"
        "gancodec.encode(sys.argv[1], sys.argv[2], quality=30, gop=6, preset='fast',\n"
        "    model='tiny.v0', jobs=2)\n"
        "gancodec.decode(sys.argv[2], sys.argv[2] + '.y4m', jobs=2)\n"
    )
    command = [sys.executable, "-W", "error", str(script), str(mp4), str(out)]
    root = str(Path(gancodec.__file__).parents[1])
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("run\n", "", 0)
    assert out.read_bytes() == gvc.read_bytes()
    alone = folder / "one.y4m"
    gancodec.decode(gvc, alone, jobs=1)
    assert Path(f"{out}.y4m").read_bytes() == alone.read_bytes()


def test_any_executor_gives_the_same_bytes(kit: Any, folder: Path, mp4: Path, gvc: Path) -> None:
    out = folder / "threads.gvc"
    with ThreadPoolExecutor(2) as pool:
        gancodec.encode(mp4, out, **{**kit.fast, "jobs": 2}, executor=pool)
        gancodec.decode(gvc, folder / "threads.y4m", jobs=2, executor=pool)
    assert out.read_bytes() == gvc.read_bytes()
    gancodec.decode(gvc, folder / "alone.y4m", jobs=1)
    assert (folder / "threads.y4m").read_bytes() == (folder / "alone.y4m").read_bytes()


def test_pipes_all_the_way(kit: Any, folder: Path) -> None:
    batch = moving_texture(kit.width, kit.height, 9)
    data = kit.y4m(batch)
    coded, decoded = kit.Pipe(), kit.Pipe()
    gancodec.encode(kit.Pipe(data), coded, **kit.fast)
    stats = gancodec.decode(kit.Pipe(coded.result().getvalue()), decoded, jobs=1)
    assert stats.frames == 9
    path = folder / "in.y4m"
    path.write_bytes(data)
    gancodec.encode(path, folder / "file.gvc", **kit.fast)
    assert kit.gops_of(folder / "file.gvc") == [
        e for e in Reader(coded.result()).events() if isinstance(e, Gop)
    ]
    header = Reader(coded.result()).header
    assert header.deltas_omitted  # YUV4MPEG2 has a constant rate, from a pipe too
    with gancodec.open(coded.result()) as video:
        kit.assert_same(kit.read_all(decoded.result()), video[:])


def test_standard_input_and_output(
    kit: Any, monkeypatch: pytest.MonkeyPatch, gvc: Path, linear: Any
) -> None:
    class Standard:
        def __init__(self, buffer: Any) -> None:
            self.buffer = buffer

    out = kit.Pipe()
    monkeypatch.setattr(sys, "stdin", Standard(io.BytesIO(gvc.read_bytes())))
    monkeypatch.setattr(sys, "stdout", Standard(out))
    stats = gancodec.decode("-", "-", jobs=1)
    assert stats.notices == ("y4m holds no sound: it was left out",)
    kit.assert_same(kit.read_all(out.result()), linear, times=False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_named_pipes(kit: Any, folder: Path, gvc: Path, linear: FrameBatch) -> None:
    """They stay what they are, and their names say what to write."""
    fifo = folder / "pipe.mkv"
    os.mkfifo(fifo)
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(fifo.read_bytes)
        gancodec.decode(gvc, fifo, jobs=1, lossless=True)
    assert fifo.is_fifo()
    copy = folder / "received.mkv"
    copy.write_bytes(received.result())
    kit.assert_same(kit.read_all(copy), linear, times=False)
    assert len(kit.sound_of(copy)) > 10


def test_varying_frame_times_are_kept(kit: Any, folder: Path) -> None:
    batch = moving_texture(16, 16, 7)
    pts = np.array([5, 38, 72, 73, 500, 501, 1200], np.int64)
    batch = FrameBatch(batch.y, batch.u, batch.v, pts)
    info = dataclasses.replace(clip_info(batch), time_base=Fraction(1, 1000))
    source = write_test_video(folder / "vfr.mkv", batch, info)
    gancodec.encode(source, folder / "vfr.gvc", **{**kit.fast, "gop": 3})
    with gancodec.open(folder / "vfr.gvc") as video:
        np.testing.assert_array_equal(video.pts, pts - 5)
        np.testing.assert_allclose(video.times, (pts - 5) / 1000)
        kit.assert_same(video.at(0.4), video[3])
    gancodec.decode(folder / "vfr.gvc", folder / "vfr-out.mkv", jobs=1)
    np.testing.assert_array_equal(kit.read_all(folder / "vfr-out.mkv").pts, pts - 5)


def test_a_constant_rate_costs_no_bytes(gvc: Path) -> None:
    with gvc.open("rb") as stream:
        header = Reader(stream).header
    assert header.deltas_omitted
    assert header.fps == 25


@pytest.mark.parametrize(("width", "height"), [(1, 1), (17, 33)])
def test_odd_sizes(kit: Any, folder: Path, width: int, height: int) -> None:
    batch = moving_texture(width, height, 3)
    coded, decoded = io.BytesIO(), io.BytesIO()
    gancodec.encode(io.BytesIO(kit.y4m(batch)), coded, **kit.fast)
    coded.seek(0)
    gancodec.decode(coded, decoded, jobs=1)
    decoded.seek(0)
    assert kit.read_all(decoded).y.shape == (3, height, width)


def test_pictures(kit: Any, folder: Path) -> None:
    batch = moving_texture(16, 16, 4)
    pictures = folder / "pictures"
    pictures.mkdir()
    with open_writer(pictures, clip_info(batch)) as writer:
        writer.write(batch)
    gancodec.encode(pictures, folder / "pictures.gvc", **kit.fast)
    with (folder / "pictures.gvc").open("rb") as stream:
        assert Reader(stream).header.n_frames == 4
    gancodec.decode(folder / "pictures.gvc", folder / "p_%02d.png", jobs=1)
    assert len(list(folder.glob("p_*.png"))) == 4
    with pytest.raises(UsageError, match=r"p_01\.png exists"):
        gancodec.decode(folder / "pictures.gvc", folder / "p_%02d.png", jobs=1)


def test_metadata(kit: Any, folder: Path, mp4: Path) -> None:
    title = {"title": "Bäume \u2603"}
    gancodec.encode(
        mp4, folder / "meta.gvc", **kit.fast, metadata=title, duration=0.1, audio="none"
    )
    with gancodec.open(folder / "meta.gvc") as video:
        assert video.metadata == {**title, "encoder": f"gancodec {gancodec.__version__}"}
    with pytest.raises(UsageError, match="JSON"):
        gancodec.encode(mp4, folder / "no.gvc", metadata={"x": object()})


@pytest.mark.parametrize("sound", [True, False])
def test_decoding_a_part(
    kit: Any, folder: Path, mp4: Path, gvc: Path, linear: Any, sound: bool
) -> None:
    """With sound the file is walked through, without it the index leads to the place."""
    if not sound:
        gvc = folder / "silent.gvc"
        gancodec.encode(mp4, gvc, **kit.fast, audio="none")
    out = folder / f"part{sound}.mkv"
    stats = gancodec.decode(gvc, out, start="0.28", duration=0.4, lossless=True, jobs=1)
    part = kit.read_all(out)
    assert (stats.frames, stats.seconds) == (10, Fraction(2, 5))
    np.testing.assert_array_equal(part.pts, np.arange(10) * 40)
    kit.assert_same(part, linear[7:17], times=False)
    if sound:
        whole, kept = kit.sound_of(mp4), kit.sound_of(out)
        inside = [
            (time - Fraction(7, 25), data)
            for time, data in whole
            if Fraction(7, 25) <= time < Fraction(17, 25)
        ]
        assert [data for _, data in kept] == [data for _, data in inside]
        for (a, _), (b, _) in zip(kept, inside, strict=True):
            assert abs(a - b) <= Fraction(1, 500)


def test_decoding_the_beginning_keeps_the_priming(
    kit: Any, folder: Path, mp4: Path, gvc: Path
) -> None:
    out = folder / "beginning.mkv"
    gancodec.decode(gvc, out, duration=0.5, jobs=1)
    kept, whole = kit.sound_of(out), kit.sound_of(mp4)
    assert [d for _, d in kept] == [d for t, d in whole if t < Fraction(1, 2)]
    assert abs(kept[0][0] - whole[0][0]) <= Fraction(1, 500)
    assert len(kit.read_all(out)) == 13


def test_encoding_a_part(kit: Any, folder: Path, mp4: Path) -> None:
    out = folder / "encoded-part.gvc"
    stats = gancodec.encode(
        mp4, out, **kit.fast, start=0.2, duration="0.2", scale=(24, -2), fps=50, audio="none"
    )
    assert (stats.frames, stats.pixels) == (
        9,
        24 * 16,
    )  # the last is the fifth, at 0.16 s
    with gancodec.open(out) as video:
        assert (video.info.fps, video.info.time_base) == (50, Fraction(1, 50))


def test_nothing_in_the_part(folder: Path, gvc: Path) -> None:
    out = folder / "nothing.mkv"
    with pytest.raises(InputError, match="no frame at 100 s"):
        gancodec.decode(gvc, out, start=100, jobs=1)
    assert not out.exists()
