"""Finding GOPs in a file: the index, or what reading through the file gives in its place."""

from __future__ import annotations

import dataclasses
import io
import random
import struct
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gancodec.bitstream import CodedFrame, End, Gop, Header, ModelRef, Reader, Writer
from gancodec.errors import CorruptError, UsageError

MODEL = ModelRef(0, 1, bytes(32), "m")


def test_index_and_scan_agree(streams: Any) -> None:
    script = streams.make_script(n_gops=20)
    data = script.to_bytes()
    entries = Reader(io.BytesIO(data)).index()
    assert [(e.pts, e.frames) for e in entries] == [(g.pts[0], len(g.frames)) for g in script.gops]
    assert [e.first_frame for e in entries] == list(range(0, 120, 6))
    chunks = streams.split_chunks(data)
    index_at = len(data) - 40 - 24 - len(chunks[-2][1])
    for damaged in (
        data[:-40],  # no end mark
        data[:index_at],  # no index
        data[:-1] + b"\0",  # damaged end mark
        data[: index_at + 30] + b"\xff" + data[index_at + 31 :],  # damaged index
        data + b"trailing",
    ):
        assert Reader(io.BytesIO(damaged)).index() == entries


def test_a_scan_leaves_out_damaged_gops(streams: Any) -> None:
    script = streams.make_script(n_gops=5, audio=False)
    data = bytearray(script.to_bytes())
    entries = Reader(io.BytesIO(data)).index()
    data[entries[3].offset - 24] ^= 1  # the last frames of GOP 2
    data[-1] ^= 1
    assert [e.pts for e in Reader(io.BytesIO(data)).index()] == [
        e.pts for i, e in enumerate(entries) if i != 2
    ]
    concealing = Reader(io.BytesIO(data), conceal=True)
    assert concealing.index() == entries
    assert concealing.read_gop_at(entries[2]).bad_frames
    with pytest.raises(CorruptError):
        Reader(io.BytesIO(data)).read_gop_at(entries[2])


@settings(max_examples=50)
@given(st.randoms(use_true_random=False))
def test_seeking_is_the_same_as_reading_on(rng: random.Random) -> None:
    header = Header(16, 16, Fraction(25), Fraction(1, 1000), variable_rate=True)
    stream = io.BytesIO()
    writer = Writer(stream, header, [MODEL])
    time, gops = 0, []
    for _ in range(rng.randrange(1, 12)):
        n = rng.randrange(1, 5)
        pts = tuple(time + 40 * i + rng.randrange(40) for i in range(n))
        gops.append(Gop(pts, tuple(CodedFrame(0, b"x") for _ in pts), bytes(8)))
        writer.write_gop(gops[-1])
        time = pts[-1] + rng.randrange(1, 100)
    writer.close()
    reader = Reader(io.BytesIO(stream.getvalue()))
    times = [(pts, gop) for gop in gops for pts in gop.pts]
    for frame in rng.sample(range(len(times)), len(times)):
        assert reader.read_gop_at(reader.seek_frame(frame)) == times[frame][1]
        assert reader.read_gop_at(reader.seek_time(times[frame][0])) == times[frame][1]
    assert reader.seek_time(-1) == reader.index()[0]
    assert reader.seek_time(1 << 70) == reader.index()[-1]
    for beyond in (-1, len(times)):
        with pytest.raises(UsageError, match="was asked for"):
            reader.seek_frame(beyond)


def test_reading_elsewhere_does_not_disturb_events(sample: bytes, script: Any) -> None:
    reader = Reader(io.BytesIO(sample))
    seen = []
    for event in reader.events():
        seen.append(event)
        reader.index()
        assert reader.read_gop_at(reader.seek_frame(17)) == script.gops[2]
    assert seen == list(Reader(io.BytesIO(sample)).events())


@pytest.mark.parametrize("where", [-1, 0, 8, 9, 500, 10**6, 2**63, 2**70])
def test_reading_where_no_gop_is(where: int, sample: bytes) -> None:
    with pytest.raises(CorruptError):
        Reader(io.BytesIO(sample)).read_gop_at(where)


def test_an_index_that_lies_is_found_out(sample: bytes) -> None:
    reader = Reader(io.BytesIO(sample))
    entry = reader.index()[1]
    for lie in ({"pts": entry.pts + 1}, {"frames": 5}):
        with pytest.raises(CorruptError, match="not the one in the index"):
            reader.read_gop_at(dataclasses.replace(entry, **lie))


def test_an_index_that_contradicts_the_end_mark_is_not_used(sample: bytes, streams: Any) -> None:
    expected = Reader(io.BytesIO(sample)).index()
    chunks = streams.split_chunks(sample)
    payload = bytearray(chunks[-2][1])
    for offset, code, value in (
        (4 + 16, "<I", 5),  # frames of the first GOP
        (4 + 40, "<Q", len(sample)),  # offset of the last
        (4 + 20, "<Q", 9),  # offset of the second, before the first
        (0, "<I", 2),
    ):
        lie = bytearray(payload)
        struct.pack_into(code, lie, offset, value)
        chunks[-2] = (b"gIDX", bytes(lie))
        assert Reader(io.BytesIO(streams.join_chunks(chunks))).index() == expected


def test_a_file_without_frames(streams: Any) -> None:
    script = streams.make_script(n_gops=0)
    reader = Reader(io.BytesIO(script.to_bytes()))
    assert list(reader.events())[-1] == End(0)
    assert reader.index() == []
    with pytest.raises(UsageError):
        reader.seek_time(0)
