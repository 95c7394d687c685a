"""Damaged files: an error, or concealed in their full length; never a wrong picture."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gancodec
from gancodec.bitstream import Gop, Reader, Writer
from gancodec.errors import (
    CorruptError,
    TruncatedError,
)
from gancodec.fileio.concealment import Timeline
from gancodec.probe import probe
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.synth import clip_info, moving_texture, write_test_video


def damaged(gvc: Path, number: int, frame: int = 0) -> bytes:
    """The file with one bit of a frame in one of its GOPs changed."""
    data = bytearray(gvc.read_bytes())
    reader = Reader(io.BytesIO(data))
    gops = 0
    for event in reader.events():
        if isinstance(event, Gop):
            if gops == number:
                behind = sum(len(f.data) for f in event.frames[frame:])
                data[reader.position - 4 - 8 - behind] ^= 0x10  # before checksum and symbol hash
            gops += 1
    return bytes(data)


def test_damage_is_an_error_and_leaves_no_file(kit: Any, folder: Path, gvc: Path) -> None:
    bad = folder / "bad.gvc"
    bad.write_bytes(damaged(gvc, 2))
    with pytest.raises(CorruptError, match=r"at byte \d+"):
        gancodec.decode(bad, folder / "bad.mkv", jobs=1)
    assert not list(folder.glob("bad.mkv*"))


@pytest.mark.parametrize("gop", range(5))
@pytest.mark.parametrize("piped", [False, True])
def test_conceal_keeps_the_length(
    kit: Any, gvc: Path, linear: FrameBatch, gop: int, piped: bool
) -> None:
    data = damaged(gvc, gop)
    out = io.BytesIO()
    source = kit.Pipe(data) if piped else io.BytesIO(data)
    stats = gancodec.decode(source, out, conceal=True, jobs=1)
    assert not stats.is_intact
    out.seek(0)
    back = kit.read_all(out)
    gops = kit.gops_of(gvc)
    first = sum(len(g.frames) for g in gops[:gop])
    stop = first + len(gops[gop].frames)
    assert stats.lost == ((Fraction(first, 25), Fraction(stop, 25)),)
    assert len(back) == kit.frames
    kit.assert_same(back[:first], linear[:first], times=False)
    kit.assert_same(back[stop:], linear[stop:], times=False)
    shown = linear[first - 1 : first] if first else linear[stop : stop + 1]
    for n in range(first, stop):
        kit.assert_same(back[n : n + 1], shown, times=False)


def test_conceal_keeps_sound_frames_of_a_damaged_gop(
    kit: Any, gvc: Path, linear: FrameBatch
) -> None:
    out = io.BytesIO()
    stats = gancodec.decode(io.BytesIO(damaged(gvc, 2, 4)), out, conceal=True, jobs=1)
    out.seek(0)
    back = kit.read_all(out)
    assert stats.lost == ((Fraction(14, 25), Fraction(16, 25)),)
    kit.assert_same(back[:14], linear[:14], times=False)
    kit.assert_same(back[14:15], linear[13:14], times=False)
    kit.assert_same(back[16:], linear[16:], times=False)


def test_a_damaged_time_costs_no_other_gop(kit: Any, folder: Path) -> None:
    """Where the rate varies, a frame's time can be hit, and then all behind it are wrong."""
    batch = moving_texture(16, 16, 12)
    pts = np.arange(12, dtype=np.int64) * 40
    pts[11] += 3
    batch = FrameBatch(batch.y, batch.u, batch.v, pts)
    info = dataclasses.replace(clip_info(batch), time_base=Fraction(1, 1000))
    source = write_test_video(folder / "vary.mkv", batch, info)
    path = folder / "vary.gvc"
    gancodec.encode(source, path, **{**kit.fast, "gop": 4, "scene_cuts": False})
    gop = kit.gops_of(path)[1]
    size_bytes = [1 if len(f.data) < 128 else 2 for f in gop.frames[:3]]
    data = bytearray(path.read_bytes())
    at = gop.offset + 20 + 1 + 8 + (size_bytes[0] + 3) + (size_bytes[1] + 4) + size_bytes[2]
    assert data[at] == 40
    data[at] ^= 0x40  # 104 ticks: the last frame would come after the next GOP has begun
    out = folder / "vary-out.mkv"
    stats = gancodec.decode(io.BytesIO(data), out, conceal=True, jobs=1)
    assert stats.lost == ((Fraction(240, 1000), Fraction(320, 1000)),)
    np.testing.assert_array_equal(kit.read_all(out).pts, pts)


def test_conceal_in_a_part(kit: Any, gvc: Path, linear: FrameBatch) -> None:
    out = io.BytesIO()
    stats = gancodec.decode(
        io.BytesIO(damaged(gvc, 2)), out, conceal=True, start=0.32, duration=0.2, jobs=1
    )
    out.seek(0)
    back = kit.read_all(out)
    assert len(back) == stats.frames == 5
    kit.assert_same(back[:2], linear[8:10], times=False)
    kit.assert_same(back[2:], FrameBatch.concatenate([linear[9:10]] * 3), times=False)


def test_a_file_that_breaks_off(kit: Any, folder: Path, gvc: Path, linear: FrameBatch) -> None:
    gops = kit.gops_of(gvc)
    assert gops[3].offset is not None
    cut = gvc.read_bytes()[: gops[3].offset + 30]
    with pytest.raises(TruncatedError):
        gancodec.decode(io.BytesIO(cut), folder / "cut.mkv", jobs=1)
    assert not list(folder.glob("cut.mkv*"))
    out = io.BytesIO()
    stats = gancodec.decode(io.BytesIO(cut), out, conceal=True, jobs=1)
    out.seek(0)
    kit.assert_same(kit.read_all(out), linear[:16], times=False)
    assert stats.lost == ((Fraction(16, 25), None),)  # nothing says how much more there was


@pytest.mark.parametrize("length", [0, 7, 100, 160, 500])
def test_a_file_without_a_frame_left(folder: Path, gvc: Path, length: int) -> None:
    for conceal in (False, True):
        with pytest.raises((TruncatedError, CorruptError)):
            gancodec.decode(
                io.BytesIO(gvc.read_bytes()[:length]), folder / "x.mkv", conceal=conceal, jobs=1
            )
    assert not list(folder.glob("x.mkv*"))


def rewritten(gvc: Path, change: Callable[[Gop], Gop], **header: Any) -> bytes:
    """The GOPs of a file in a new one, with other content but sound checksums."""
    out = io.BytesIO()
    with gvc.open("rb") as stream:
        reader = Reader(stream)
        new = dataclasses.replace(reader.header, has_audio=False, **header)
        writer = Writer(out, new, reader.models)
        for event in reader.events():
            if isinstance(event, Gop):
                writer.write_gop(change(event))
        writer.close()
    return out.getvalue()


def test_other_symbols_than_were_encoded(
    kit: Any, folder: Path, gvc: Path, linear: FrameBatch
) -> None:
    hash_of_second = kit.gops_of(gvc)[1].symbol_hash

    def change(gop: Gop) -> Gop:
        wrong = gop.symbol_hash == hash_of_second
        return dataclasses.replace(gop, symbol_hash=bytes(8)) if wrong else gop

    data = rewritten(gvc, change)
    with pytest.raises(CorruptError, match=r"GOP 1 at byte \d+ \(0\.240 s\).*other symbols"):
        gancodec.decode(io.BytesIO(data), folder / "symbols.mkv", jobs=1)
    assert not list(folder.glob("symbols.mkv*"))
    out = io.BytesIO()
    stats = gancodec.decode(io.BytesIO(data), out, conceal=True, jobs=1)
    assert stats.lost == ((Fraction(6, 25), Fraction(10, 25)),)
    report = gancodec.verify(io.BytesIO(data), jobs=1)
    assert not report.is_ok
    assert (report.gops, report.frames) == (4, 20)
    assert gancodec.verify(io.BytesIO(data), deep=False).is_ok
    with gancodec.open(io.BytesIO(data)) as video, pytest.raises(CorruptError, match="GOP 1 at"):
        video[9]


def test_timeline_without_index_fills_by_the_nominal_rate() -> None:
    info = VideoInfo(16, 16, Fraction(25), Fraction(1, 1000))
    line = Timeline(info, 0, ())
    batch = moving_texture(16, 16, 2)

    def at(*pts: int) -> FrameBatch:
        n = len(pts)
        return FrameBatch(batch.y[:n], batch.u[:n], batch.v[:n], np.array(pts, np.int64))

    out = [*line.good(at(0, 41))]
    line.damage()
    out += [*line.good(at(200))]
    line.damage()
    out += [*line.good(at(240))]  # something was lost, but no frame
    out += [*line.good(at(400))]  # a pause of the clip itself
    line.damage()
    out += [*line.end(None)]
    assert [p for b in out for p in b.pts.tolist()] == [0, 41, 81, 120, 160, 200, 240, 400]
    assert line.lost == [
        (Fraction(81, 1000), Fraction(200, 1000)),
        (Fraction(440, 1000), None),
    ]


def test_verify_and_probe(kit: Any, gvc: Path) -> None:
    report = gancodec.verify(gvc, jobs=1)
    assert report.is_ok
    assert (report.frames, report.gops) == (kit.frames, 5)
    assert (report.bytes, report.seconds) == (gvc.stat().st_size, Fraction(kit.frames, 25))
    found = probe(gvc, packets=True)
    assert found["complete"]
    assert (found["frames"], len(found["gops"]), len(found["packets"])) == (
        kit.frames,
        5,
        kit.frames,
    )
    sizes = found["sizes"]
    assert sizes["bytes"] == gvc.stat().st_size
    assert sizes["frame_bytes"] == sum(p["bytes"] for p in found["packets"])
    assert found["packets"][6]["kind"] == "intra"
    assert len(found["audio_tracks"]) == 1
    assert len(found["models"]) == 2
    bad = damaged(gvc, 2)
    found = probe(io.BytesIO(bad))
    assert not found["complete"]
    assert found["damage"]
    assert len(gancodec.verify(io.BytesIO(bad), deep=False).problems) == 1
