"""The container: what is written is read, from files and pipes, and the rules of FORMAT.md hold."""

from __future__ import annotations

import dataclasses
import io
import os
import random
import struct
import threading
import zlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gancodec.bitstream import (
    CodedFrame,
    End,
    Gop,
    Header,
    Limits,
    Metadata,
    ModelRef,
    Reader,
    Writer,
)
from gancodec.bitstream.chunks import pack_varint, unpack_varint
from gancodec.errors import CorruptError, InputError, LimitError, UnsupportedError, UsageError

MODEL = ModelRef(0, 1, bytes(32), "m")
Chunks = list[tuple[bytes, bytes]]


def position_of(chunks: Chunks, kind: bytes) -> int:
    return [k for k, _ in chunks].index(kind)


def test_everything_written_is_read(script: Any, sample: bytes, streams: Any) -> None:
    reader = Reader(io.BytesIO(sample))
    assert reader.header == script.header
    assert reader.models == streams.models
    assert reader.metadata == {"title": "Bäume", "encoder": "gancodec"}
    assert reader.mastering == streams.mastering
    assert len(reader.icc or b"") == 50
    events = list(reader.events())
    assert [e.kind for e in events[:3] if isinstance(e, Metadata)] == ["meta", "hdrM", "iccP"]
    assert [e for e in events if isinstance(e, Gop)] == script.gops
    assert [e for e in events if type(e).__name__.startswith("Audio")] == script.audio
    assert events[-1] == End(18)
    assert reader.frames == 18


def test_the_framing_is_what_the_specification_says(sample: bytes, streams: Any) -> None:
    assert sample[:12] == b"\x89GVC\r\n\x1a\n" + b"\xf5gVc"
    chunks = streams.split_chunks(sample)
    assert [kind for kind, _ in chunks] == (
        b"GHDR MODL meta hdrM iccP aINI aINI GOPS GOPS aDAT GOPS aDAT aDAT gIDX GEND".split()
    )
    assert streams.join_chunks(chunks) == sample
    end = chunks[-1][1]
    index_offset, frames = struct.unpack("<QQ", end)
    assert sample[index_offset + 4 : index_offset + 8] == b"gIDX"
    assert frames == 18


@pytest.mark.parametrize("rate", ["constant", "variable"])
def test_golden_gop_bytes(rate: str, streams: Any) -> None:
    """GOPS laid out by hand, so that a second reader may rely on the specification."""
    constant = rate == "constant"
    header = dataclasses.replace(
        streams.make_script().header, deltas_omitted=constant, variable_rate=not constant
    )
    pts = (10, 1011) if constant else (10, 300)
    gop = Gop(pts, (CodedFrame(0, b"I" * 200), CodedFrame(1, b"")), b"8 bytes!")
    stream = io.BytesIO()
    writer = Writer(stream, header, streams.models)
    writer.write_gop(gop)
    writer.close()

    def crc(time: int, kind: int, data: bytes) -> bytes:
        return struct.pack("<H", zlib.crc32(struct.pack("<qB", time, kind) + data) & 0xFFFF)

    delta = b"" if constant else b"\xa2\x02"  # 290
    expected = (
        b"\x02" + struct.pack("<q", 10)
        + b"\xc8\x01" + b"\x00" + crc(pts[0], 0, b"I" * 200)
        + b"\x00" + delta + b"\x01" + crc(pts[1], 1, b"")
        + b"I" * 200 + b"8 bytes!"
    )  # fmt: skip
    assert dict(streams.split_chunks(stream.getvalue()))[b"GOPS"] == expected


@pytest.mark.parametrize("count", [0, 1, 2])
def test_only_more_than_one_gop_needs_an_index(count: int, script: Any, streams: Any) -> None:
    stream = io.BytesIO()
    writer = Writer(stream, dataclasses.replace(script.header, has_audio=False), streams.models)
    for gop in script.gops[:count]:
        writer.write_gop(gop)
    writer.close()
    kinds = [kind for kind, _ in streams.split_chunks(stream.getvalue())]
    assert (b"gIDX" in kinds) == (count > 1)
    stream.seek(0)
    assert [e for e in Reader(stream).events() if isinstance(e, Gop)] == script.gops[:count]


@st.composite
def gop_lists(draw: st.DrawFn) -> tuple[Header, list[Gop]]:
    constant = draw(st.booleans())
    header = Header(
        width=16,
        height=16,
        fps=Fraction(25),
        time_base=Fraction(1, draw(st.sampled_from([25, 50, 90000]))),
        deltas_omitted=constant,
        variable_rate=not constant,
    )
    time = draw(st.integers(-(2**62), 2**62))
    gops = []
    for data in draw(st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=5))):
        pts = []
        for _ in data:
            pts.append(time)
            step = header.frame_ticks if constant else draw(st.integers(1, 2**50))
            time += step or 1
        frames = tuple(CodedFrame(draw(st.integers(0, 255)), d) for d in data)
        gops.append(Gop(tuple(pts), frames, draw(st.binary(min_size=8, max_size=8))))
    return header, gops


@given(gop_lists())
def test_gops_roundtrip(given_: tuple[Header, list[Gop]]) -> None:
    header, gops = given_
    stream = io.BytesIO()
    writer = Writer(stream, header, [MODEL])
    offsets = [writer.write_gop(gop) for gop in gops]
    writer.close()
    reader = Reader(io.BytesIO(stream.getvalue()))
    assert reader.header == header
    *read, end = reader.events()
    assert read == gops
    assert end == End(sum(len(gop.frames) for gop in gops))
    assert [gop.offset for gop in read if isinstance(gop, Gop)] == offsets
    assert [entry.offset for entry in reader.index()] == offsets
    assert [reader.read_gop_at(entry) for entry in reader.index()] == gops


@given(st.integers(0, 2**63 - 1))
def test_varints_roundtrip(value: int) -> None:
    packed = pack_varint(value)
    assert unpack_varint(b"x" + packed + b"\xff", 1) == (value, 1 + len(packed))


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"\x80\x00", b"\xff" * 9, b"\xff" * 20, b"\x81\x00"]
)
def test_malformed_varints(data: bytes) -> None:
    with pytest.raises(CorruptError):
        unpack_varint(data, 0)


class Trickle:
    """A stream that can only be read, a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._rng = random.Random(1)

    def read(self, size: int, /) -> bytes:
        n = min(size, self._rng.randrange(1, 9))
        piece, self._data = self._data[:n], self._data[n:]
        return piece


def test_a_stream_that_only_reads_gives_the_same(sample: bytes, streams: Any) -> None:
    expected = streams.read_events(sample)
    assert list(Reader(Trickle(sample)).events()) == expected
    assert list(Reader(Trickle(sample), conceal=True).events()) == expected


@pytest.mark.parametrize("buffering", [0, -1])
def test_pipes_carry_the_same_bytes_and_events(buffering: int, streams: Any) -> None:
    script = streams.make_script(n_gops=4, size=20_000)  # more than a pipe holds
    expected = script.to_bytes()
    read_end, write_end = os.pipe()
    copy = io.BytesIO()

    def write() -> None:
        with open(write_end, "wb", buffering=buffering) as stream:
            script.run(Writer(stream, script.header, script.models))

    thread = threading.Thread(target=write)
    thread.start()
    with open(read_end, "rb", buffering=buffering) as stream:

        class Tee:
            def read(self, size: int, /) -> bytes | None:
                data = stream.read(size)
                copy.write(data or b"")
                return data

        events = list(Reader(Tee()).events())
    thread.join()
    assert copy.getvalue() == expected
    assert events == streams.read_events(expected)


def test_searching_a_pipe_is_a_usage_error(sample: bytes) -> None:
    reader = Reader(Trickle(sample))
    with pytest.raises(UsageError, match="pipe"):
        reader.index()


class NoneWriter:
    """As some file-like objects do, says nothing about what it took."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes, /) -> None:
        self.data += data


class PartialWriter(NoneWriter):
    """As raw pipes do, takes some of it."""

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self.data += data[:7]
        return min(len(data), 7)


class FullWriter:
    def write(self, data: bytes, /) -> int:
        return 0


@pytest.mark.parametrize("kind", [NoneWriter, PartialWriter])
def test_any_object_with_write_will_do(kind: type[NoneWriter], script: Any, sample: bytes) -> None:
    stream = kind()
    script.run(Writer(stream, script.header, script.models))
    assert stream.data == sample


def test_a_stream_that_takes_nothing_ends_in_an_error(script: Any) -> None:
    with pytest.raises(InputError, match="no more"):
        Writer(FullWriter(), script.header, script.models)


def test_a_broken_pipe_is_an_input_error(script: Any) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with (
        open(write_end, "wb", buffering=0) as stream,
        pytest.raises(InputError, match="Broken pipe"),
    ):
        Writer(stream, script.header, script.models)


# ------------------------------------------------------------------ rules


def edit(sample: bytes, streams: Any, change: Callable[[Chunks], Any]) -> bytes:
    chunks = streams.split_chunks(sample)
    change(chunks)
    return streams.join_chunks(chunks)


def test_unknown_chunks(sample: bytes, streams: Any) -> None:
    expected = streams.read_events(sample)

    def add(kind: bytes) -> bytes:
        data = edit(sample, streams, lambda c: c.insert(8, (kind, b"from the future")))
        # The offsets of the index and the end mark would not match: leave them out here.
        chunks = streams.split_chunks(data)
        del chunks[position_of(chunks, b"gIDX")]
        chunks[-1] = (b"GEND", struct.pack("<QQ", 0, 18))
        return streams.join_chunks(chunks)

    assert streams.read_events(add(b"neWs")) == expected
    assert streams.read_events(add(b"neWs"), conceal=True) == expected
    for conceal in (False, True):
        with pytest.raises(UnsupportedError, match="NEWs"):
            streams.read_events(add(b"NEWs"), conceal=conceal)
    with pytest.raises(CorruptError, match="letters"):
        streams.read_events(add(b"ne\0s"))


def test_minor_versions(sample: bytes, streams: Any) -> None:
    def header(minor: int, min_reader: int, extra: bytes) -> Callable[[Chunks], None]:
        def change(chunks: Chunks) -> None:
            payload = struct.pack("<3H", 1, minor, min_reader) + chunks[0][1][6:] + extra
            chunks[0] = (b"GHDR", payload)

        return change

    newer = streams.split_chunks(edit(sample, streams, header(9, 0, b"")))
    assert streams.read_events(streams.join_chunks(newer)) == streams.read_events(sample)
    longer = edit(sample, streams, header(9, 0, b"more"))
    assert Reader(io.BytesIO(longer)).header.minor == 9
    with pytest.raises(UnsupportedError):
        streams.read_events(edit(sample, streams, header(9, 1, b"")))


FORBIDDEN: dict[str, tuple[str, Callable[[Chunks], Any]]] = {
    "second GHDR": ("second header", lambda c: c.insert(2, c[0])),
    "no GHDR": ("sound header", lambda c: c.pop(0)),
    "no MODL": ("before the list of models", lambda c: c.pop(1)),
    "MODL behind a GOP": ("before the list of models", lambda c: c.insert(8, c.pop(1))),
    "second MODL": ("MODL .* out of place", lambda c: c.insert(2, c[1])),
    "second meta": ("meta .* out of place", lambda c: c.insert(3, c[2])),
    "meta behind a GOP": ("meta .* out of place", lambda c: c.insert(8, c.pop(2))),
    "iccP behind a GOP": ("iccP .* out of place", lambda c: c.insert(8, c.pop(4))),
    "audio data without header": ("no header", lambda c: c.pop(6)),
    "audio header twice": ("begins twice", lambda c: c.insert(6, c[6])),
    "audio without track": ("impossible", lambda c: c.insert(9, (b"aDAT", b""))),
    "GOPs out of order": ("not after", lambda c: c.insert(7, c.pop(8))),
    "the same GOP twice": ("not after", lambda c: c.insert(8, c[7])),
    "a GOP missing": ("index .* does not match", lambda c: c.pop(7)),
    "index missing": ("end mark", lambda c: c.pop(-2)),
    "index twice": ("index", lambda c: c.insert(-2, c[-2])),
    "index wrong": ("index", lambda c: c.insert(-1, (b"gIDX", c.pop(-2)[1][:-1] + b"\x01"))),
    "index short": ("index", lambda c: c.insert(-1, (b"gIDX", c.pop(-2)[1][:-1]))),
    "GOP behind the index": (
        "out of place",
        lambda c: c.insert(10, (b"gIDX", b"\2\0\0\0" + c.pop(-2)[1][4:44])),
    ),
    "audio behind the index": ("impossible", lambda c: c.insert(11, c.pop(-2))),
    "frame count": ("17", lambda c: c.append((b"GEND", c.pop()[1][:8] + b"\x11" + bytes(7)))),
    "index offset": ("end mark", lambda c: c.append((b"GEND", b"\1" + c.pop()[1][1:]))),
    "GEND short": ("wrong length", lambda c: c.append((b"GEND", c.pop()[1][:15]))),
    "GEND long": ("wrong length", lambda c: c.append((b"GEND", c.pop()[1] + b"\0"))),
    "chunk behind GEND": ("follow the end", lambda c: c.append((b"meta", b"{}"))),
    "hdrM short": ("27 bytes", lambda c: c.insert(3, (b"hdrM", c.pop(3)[1][:-1]))),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden_orders(name: str, sample: bytes, streams: Any, script: Any) -> None:
    message, change = FORBIDDEN[name]
    data = edit(sample, streams, change)
    with pytest.raises(CorruptError, match=message):
        streams.read_events(data)
    # Concealed, such a file is reported as damaged and still never gives a wrong GOP.
    try:
        events = streams.read_events(data, conceal=True)
    except CorruptError:
        assert name in ("no GHDR", "no MODL", "MODL behind a GOP")
        return
    assert any(isinstance(event, streams.Damage) for event in events)
    script.assert_nothing_wrong(events)


def test_sequence_numbers(sample: bytes, streams: Any) -> None:
    chunks = streams.split_chunks(sample)
    for swap in (lambda i: i + (i > 8), lambda i: i - (i > 8), lambda i: 3 if i == 9 else i):
        data = sample[:8] + b"".join(
            streams.frame_chunk(*chunk, swap(i)) for i, chunk in enumerate(chunks)
        )
        with pytest.raises(CorruptError, match="stands where"):
            streams.read_events(data)
        events = streams.read_events(data, conceal=True)
        assert sum(isinstance(e, Gop) for e in events) >= 2


def test_bytes_behind_the_end(sample: bytes, streams: Any) -> None:
    for tail in (b"\0", sample, b"x" * 100):
        with pytest.raises(CorruptError, match="follow the end"):
            streams.read_events(sample + tail)
        *_, damage, end = streams.read_events(sample + tail, conceal=True)
        assert isinstance(damage, streams.Damage)
        assert end == End(18)


def test_a_frame_with_a_wrong_checksum_in_a_sound_chunk(sample: bytes, streams: Any) -> None:
    def change(chunks: Chunks) -> None:
        payload = bytearray(chunks[8][1])
        payload[-9] ^= 1  # the last byte of the last frame
        chunks[8] = (b"GOPS", bytes(payload))

    data = edit(sample, streams, change)
    with pytest.raises(CorruptError, match="frame 5"):
        streams.read_events(data)
    gops = [e for e in streams.read_events(data, conceal=True) if isinstance(e, Gop)]
    assert [gop.bad_frames for gop in gops] == [(), (5,), ()]


LIES: dict[str, bytes] = {
    "no frames": b"\x00" + bytes(8) + bytes(8),
    "more frames than the header allows": pack_varint(1025) + bytes(8 + 4 * 1025 + 8),
    "frames beyond the payload": b"\x09" + bytes(8 + 3 + 8),
    "2^62 frames": pack_varint(2**62) + bytes(100),
    "empty": b"",
    "one byte": b"\x01",
    "sizes beyond the payload": b"\x01" + bytes(8) + pack_varint(2**60) + bytes(3 + 8),
    "sizes short of the payload": b"\x01" + bytes(8) + b"\x01" + bytes(3 + 8 + 5),
    "times beyond 64 bits": b"\x02" + b"\xff" * 7 + b"\x7f" + b"\0\0\0\0" * 2 + bytes(8),
    "malformed varint": b"\x01" + bytes(8) + b"\xff" * 20,
    "table ends early": b"\x02" + bytes(8) + b"\x00\x00\x00\x00" + b"\x80" * 4 + bytes(8),
}


@pytest.mark.parametrize("name", LIES)
def test_lying_gops(name: str, sample: bytes, streams: Any) -> None:
    def change(chunks: Chunks) -> None:
        chunks[8] = (b"GOPS", LIES[name])

    with pytest.raises(CorruptError):
        streams.read_events(edit(sample, streams, change))
    events = streams.read_events(edit(sample, streams, change), conceal=True)
    assert sum(isinstance(event, Gop) for event in events) == 2


def test_gops_keep_the_promises_of_the_header(streams: Any) -> None:
    script = streams.make_script()
    big = script.to_bytes()
    for promise in ({"max_gop_frames": 5}, {"max_gop_bytes": 100}):

        def lie(chunks: Chunks, promise: dict[str, int] = promise) -> None:
            chunks[0] = (b"GHDR", dataclasses.replace(script.header, **promise).pack())

        with pytest.raises(CorruptError):
            streams.read_events(edit(big, streams, lie))


@pytest.mark.parametrize(
    "limits",
    [
        Limits(side=32),
        Limits(pixels=100),
        Limits(gop_frames=1000),
        Limits(frames=17),
        Limits(chunks=10),
        Limits(tracks=3),
        Limits(json_bytes=10),
        Limits(icc_bytes=49),
        Limits(chunk_bytes=1000),
    ],
    ids=str,
)
@pytest.mark.parametrize("conceal", [False, True])
def test_limits(limits: Limits, conceal: bool, sample: bytes, streams: Any) -> None:
    with pytest.raises(LimitError):
        streams.read_events(sample, limits=limits, conceal=conceal)


def test_writers_refuse_what_readers_would(streams: Any) -> None:
    script = streams.make_script()
    gop: Gop = script.gops[1]

    def writer(**change: Any) -> Writer:
        header = dataclasses.replace(script.header, **change)
        return Writer(io.BytesIO(), header, script.models)

    with pytest.raises(ValueError, match="ticks a frame"):
        writer().write_gop(dataclasses.replace(gop, pts=tuple(range(6))))
    with pytest.raises(ValueError, match="at most 5"):
        writer(max_gop_frames=5).write_gop(gop)
    with pytest.raises(LimitError, match="shorter GOPs"):
        writer(max_gop_bytes=100).write_gop(gop)
    with pytest.raises(ValueError, match="damaged"):
        writer().write_gop(dataclasses.replace(gop, bad_frames=(5,)))
    with pytest.raises(ValueError, match="no header yet"):
        writer().write_audio_data(0, b"")
    with pytest.raises(ValueError, match="no audio"):
        writer(has_audio=False).write_audio_init(0, b"")
    with pytest.raises(ValueError, match="0 to 7"):
        writer().write_audio_init(8, b"")
    with pytest.raises(LimitError, match="65536"):
        writer().write_metadata({"a": "b" * 65536})
    with pytest.raises(LimitError, match="iccP"):
        writer().write_icc(bytes((4 << 20) + 1))
    w = writer()
    w.write_gop(gop)
    with pytest.raises(ValueError, match="time order"):
        w.write_gop(gop)
    with pytest.raises(ValueError, match="before the first GOP"):
        w.write_icc(b"")
    w.close()
    w.close()
    with pytest.raises(ValueError, match="closed"):
        w.write_gop(script.gops[2])
    with pytest.raises(ValueError, match="1 to 255"):
        Writer(io.BytesIO(), script.header, [])


@pytest.mark.parametrize(
    ("pts", "frames", "symbol_hash"),
    [
        ((), 0, bytes(8)),
        ((1,), 2, bytes(8)),
        ((1, 1), 2, bytes(8)),
        ((1, 0), 2, bytes(8)),
        ((2**63,), 1, bytes(8)),
        ((1,), 1, bytes(7)),
    ],
)
def test_impossible_gops(pts: tuple[int, ...], frames: int, symbol_hash: bytes) -> None:
    with pytest.raises(ValueError, match=r"GOP|times|hash"):
        Gop(pts, (CodedFrame(0, b""),) * frames, symbol_hash)


def test_import_does_not_need_torch(fresh_python: Callable[..., Any]) -> None:
    code = (
        "import sys, gancodec.bitstream\n"
        "heavy = {'torch', 'av', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "known = {m for m in sys.modules if m.startswith('gancodec')}\n"
        "ours = {m for m in known if not m.startswith('gancodec.bitstream')}\n"
        "assert ours == {'gancodec', 'gancodec.errors'}, ours\n"
    )
    fresh_python(code)
