"""Damaged and hostile streams: one clean error, or with concealment never a wrong GOP."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gancodec.bitstream import Damage, End, Gop, Reader, Writer, container_reader
from gancodec.errors import BitstreamError, CorruptError, TruncatedError


def conceal(data: bytes, script: Any, streams: Any) -> tuple[int, int]:
    """How many GOPs are whole and in part; none of them is wrong, whatever happened."""
    try:
        events = streams.read_events(data, conceal=True)
    except BitstreamError:
        return 0, 0  # the header or the models are gone
    return script.assert_nothing_wrong(events)  # type: ignore[no-any-return]


def read_to_the_end(reader: Reader) -> tuple[list[Any], BitstreamError | None]:
    """The events of a stream and the error that ended them."""
    events: list[Any] = []
    try:
        events.extend(reader.events())  # extend keeps what came before the error
    except BitstreamError as error:
        return events, error
    return events, None


def test_every_truncation(sample: bytes, script: Any, streams: Any) -> None:
    offsets = [entry.offset for entry in Reader(io.BytesIO(sample)).index()]
    lengths = [len(p) + 24 for kind, p in streams.split_chunks(sample) if kind == b"GOPS"]
    ends = [offset + length for offset, length in zip(offsets, lengths, strict=True)]
    for size in range(len(sample)):
        data = sample[:size]
        complete = sum(end <= size for end in ends)
        try:
            events, error = read_to_the_end(Reader(io.BytesIO(data)))
        except TruncatedError:  # before the models are complete
            assert complete == 0
            continue
        assert isinstance(error, TruncatedError)
        # What came before the cut is delivered before the error.
        assert [e for e in events if isinstance(e, Gop)] == script.gops[:complete]
        assert conceal(data, script, streams)[0] == complete


def test_every_bit_flip_is_detected(sample: bytes, streams: Any) -> None:
    data = bytearray(sample)
    for i in range(len(data)):
        for bit in range(8):
            data[i] ^= 1 << bit
            try:
                streams.read_events(data)
            except BitstreamError:
                data[i] ^= 1 << bit
            else:
                pytest.fail(f"bit {bit} of byte {i} goes unnoticed")


def test_every_bit_flip_is_concealed(sample: bytes, script: Any, streams: Any) -> None:
    data = bytearray(sample)
    models_end = 8 + 24 + 96 + 24 + len(streams.split_chunks(sample)[1][1])
    for i in range(len(data)):
        for bit in range(8):
            data[i] ^= 1 << bit
            whole, _ = conceal(data, script, streams)
            if i >= models_end:
                assert whole >= 2, f"bit {bit} of byte {i} costs more than a GOP"
            data[i] ^= 1 << bit


@pytest.mark.stress
def test_resynchronisation(streams: Any, stress_rounds: int) -> None:
    script = streams.make_script(n_gops=20, size=200, audio=False)
    data = script.to_bytes()
    first = Reader(io.BytesIO(data)).index()[0].offset
    rng = random.Random(7)
    lost: list[int] = []
    for _ in range(300 * stress_rounds):
        damaged = streams.damage(rng, data, first)
        events = streams.read_events(damaged, conceal=True)
        whole, _ = script.assert_nothing_wrong(events)
        lost.append(20 - whole)
        if damaged != data:
            assert any(isinstance(event, Damage) for event in events)
    assert max(lost) <= 2  # two where the damage lies across a border
    assert sum(n <= 1 for n in lost) >= 0.98 * len(lost)


def test_the_first_frames_of_a_damaged_gop_are_saved(streams: Any) -> None:
    script = streams.make_script(n_gops=2, n_frames=30, audio=False)
    data = bytearray(script.to_bytes())
    last_gop_end = Reader(io.BytesIO(data)).index()[1].offset
    data[last_gop_end - 4 - 8 - 1 - len(script.gops[0].frames[29].data)] ^= 4  # in frame 28
    gop, other = (e for e in streams.read_events(data, conceal=True) if isinstance(e, Gop))
    assert gop.bad_frames == (28, 29)
    assert gop.frames[:28] == script.gops[0].frames[:28]
    assert other == script.gops[1]


def test_damage_tells_where_and_is_told_once(streams: Any) -> None:
    script = streams.make_script(n_gops=5, audio=False)
    data = bytearray(script.to_bytes())
    entries = Reader(io.BytesIO(data)).index()
    data[entries[1].offset + 5] ^= 1  # a chunk head
    data[entries[3].offset + 30] ^= 1  # a payload
    found = [e for e in streams.read_events(data, conceal=True) if isinstance(e, Damage)]
    assert [d.byte_offset for d in found] == [entries[1].offset, entries[3].offset]
    assert all(d.reason for d in found)


def plant(script: Any, step: int, data: bytes) -> Gop:
    """Make bytes the first frame of the GOP that a step of a script writes."""
    method, (gop,) = script.steps[step]
    frame = type(gop.frames[0])(0, data)
    gop = Gop(gop.pts, (frame, *gop.frames[1:]), gop.symbol_hash)
    script.steps[step] = (method, (gop,))
    return gop


def test_damage_is_told_once_for_many_false_sync_words(streams: Any) -> None:
    script = streams.make_script(n_gops=3, audio=False)
    plant(script, -2, b"\xf5gVc" * 50)
    data = bytearray(script.to_bytes())
    offset = Reader(io.BytesIO(data)).index()[1].offset
    data[offset + 8] ^= 1
    events = streams.read_events(data, conceal=True)
    assert [e.byte_offset for e in events if isinstance(e, Damage)] == [offset]
    assert script.assert_nothing_wrong(events) == (2, 0)


def test_a_sound_chunk_out_of_place_is_not_searched(streams: Any) -> None:
    """What stands in its payload is no chunk, however much it looks like one."""
    script = streams.make_script(n_gops=3, audio=False)
    plant(script, -2, streams.frame_chunk(b"GEND", bytes(16), 99))
    chunks = streams.split_chunks(script.to_bytes())
    at = [kind for kind, _ in chunks].index(b"GOPS") + 1
    data = streams.join_chunks([*chunks[: at + 1], chunks[at], chunks[0], *chunks[at + 1 :]])
    events = streams.read_events(data, conceal=True)
    assert script.assert_nothing_wrong(events) == (3, 0)
    assert sum(isinstance(e, Damage) for e in events) == 2, "one for each chunk out of place"
    assert events[-1] == End(18)


def test_damaged_chunks_of_the_past_are_not_salvaged(streams: Any) -> None:
    script = streams.make_script(n_gops=2, n_frames=8, audio=False)
    chunks = streams.split_chunks(script.to_bytes())
    at = [kind for kind, _ in chunks].index(b"GOPS")
    old = bytearray(streams.frame_chunk(*chunks[at + 1], 1))
    old[-13] ^= 1  # the last byte of the last frame
    framed = [streams.frame_chunk(*chunk, i) for i, chunk in enumerate(chunks[: at + 1])]
    events = streams.read_events(b"\x89GVC\r\n\x1a\n" + b"".join(framed) + old, conceal=True)
    assert script.assert_nothing_wrong(events) == (1, 0)
    old = bytearray(streams.frame_chunk(*chunks[at + 1], at + 1))
    old[-13] ^= 1
    events = streams.read_events(b"\x89GVC\r\n\x1a\n" + b"".join(framed) + old, conceal=True)
    assert script.assert_nothing_wrong(events) == (1, 1), "one of the present is"


def test_sync_words_in_payloads_do_not_confuse(streams: Any) -> None:
    """Payloads full of sync words and of whole chunks, and a head damaged in front of them."""
    script = streams.make_script(n_gops=4, audio=False)
    decoy = script.to_bytes()
    plant(script, -3, b"\xf5gVc" * 50 + decoy[8:])
    data = bytearray(script.to_bytes())
    assert [e for e in streams.read_events(data) if isinstance(e, Gop)] == script.gops
    offset = Reader(io.BytesIO(data)).index()[1].offset
    data[offset] ^= 1
    events = streams.read_events(data, conceal=True)
    times = [e.pts[0] for e in events if isinstance(e, Gop)]
    assert times == sorted(set(times))
    assert times[0] == 0
    assert times[-1] == script.gops[-1].pts[0]


def test_nested_heads_cannot_cost_quadratic_time(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunk heads every 24 bytes, each with a sound checksum and a payload up to the end."""
    monkeypatch.setattr(container_reader, "_REREAD_BYTES", 1 << 16)
    n = 4000
    total = 24 * n
    parts = []
    for i in range(n):
        head = struct.pack("<4s4sII", b"\xf5gVc", b"junk", total - 24 * i - 24, i + 2)
        parts.append(head + struct.pack("<II", zlib.crc32(head), 0))
    stream = io.BytesIO()
    Writer(stream, script.header, script.models)
    data = stream.getvalue() + b"".join(parts)
    with pytest.raises(CorruptError, match="too many places"):
        list(Reader(io.BytesIO(data), conceal=True).events())


# ------------------------------------------------------------------ hostile streams


def blind_mutant(rng: random.Random, data: bytes) -> bytes:
    """Bytes changed, removed, doubled or moved anywhere."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(out))
        length = rng.choice((1, 2, 4, 20, 100))
        kind = rng.randrange(4)
        if kind == 0:
            out[at : at + length] = rng.randbytes(length)
        elif kind == 1:
            del out[at : at + length]
        elif kind == 2:
            out[at:at] = out[at : at + length]
        else:
            out[at : at + length] = rng.choice((b"\0", b"\xff")) * length
        if not out:
            break
    return bytes(out)


def clever_mutant(rng: random.Random, data: bytes, streams: Any) -> bytes:
    """Payloads, types and order changed, then every checksum and number made right again."""
    chunks = streams.split_chunks(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        i = rng.randrange(len(chunks))
        kind, payload = chunks[i]
        choice = rng.randrange(8)
        if choice < 4:
            payload = blind_mutant(rng, payload) if payload else b"\xff"
            chunks[i] = (kind, payload)
        elif choice == 4:
            extreme = rng.choice((0, 1, 127, 128, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
            raw = extreme.to_bytes(8, "little")[: rng.choice((1, 2, 4, 8))]
            at = rng.randrange(len(payload) + 1)
            chunks[i] = (kind, payload[:at] + raw + payload[at + len(raw) :])
        elif choice == 5:
            chunks.insert(rng.randrange(len(chunks) + 1), chunks[rng.randrange(len(chunks))])
        elif choice == 6 and len(chunks) > 1:
            del chunks[i]
        else:
            types = [b"GHDR", b"MODL", b"GOPS", b"GEND", b"gIDX", b"aDAT", b"meta", b"zzzz"]
            chunks[i] = (rng.choice(types), payload)
    return streams.join_chunks(chunks)  # type: ignore[no-any-return]


def parse_fully(data: bytes) -> None:
    """Use every way to read a stream; only `BitstreamError` may come out."""
    for concealing in (False, True):
        try:
            reader = Reader(io.BytesIO(data), conceal=concealing)
        except BitstreamError:
            continue
        reader.header.to_dict()
        for event in read_to_the_end(reader)[0]:
            if isinstance(event, Gop):
                assert len(event.pts) == len(event.frames)
        try:
            for entry in reader.index():
                reader.read_gop_at(entry)
        except BitstreamError:
            continue


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(2))
def test_blind_mutants(seed: int, sample: bytes, script: Any, stress_rounds: int) -> None:
    rng = random.Random(seed)
    for _ in range(500 * stress_rounds):
        data = blind_mutant(rng, sample)
        if data == sample:
            continue
        with pytest.raises(BitstreamError):
            list(Reader(io.BytesIO(data)).events())
        parse_fully(data)


@pytest.mark.stress
def test_mutants_with_repaired_checksums(sample: bytes, streams: Any, stress_rounds: int) -> None:
    variable = streams.make_script(rate="variable").to_bytes()
    rng = random.Random(3)
    for i in range(2000 * stress_rounds):
        parse_fully(clever_mutant(rng, (sample, variable)[i % 2], streams))


@contextmanager
def peak_bytes() -> Iterator[list[int]]:
    """The most memory that Python held in the block, beyond what it held before."""
    peak: list[int] = []
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("conceal_", [False, True])
def test_a_lying_length_costs_no_memory(
    conceal_: bool, sample: bytes, streams: Any, tmp_path: Path
) -> None:
    chunks = streams.split_chunks(sample)
    head = struct.pack("<4s4sII", b"\xf5gVc", b"GOPS", 60 << 20, 2)
    head += struct.pack("<I", zlib.crc32(head))
    path = tmp_path / "tiny.gvc"
    path.write_bytes(streams.join_chunks(chunks[:2]) + head + b"tiny")
    # Unbuffered: such a file allocates whatever it is asked to read.
    with peak_bytes() as peak, path.open("rb", buffering=0) as stream:
        events, error = read_to_the_end(Reader(stream, conceal=conceal_))
    assert [type(event) for event in events] == ([Damage] if conceal_ else [])
    assert isinstance(error, type(None) if conceal_ else TruncatedError)
    assert peak[0] < 3 << 20


def test_memory_does_not_grow_with_the_stream(streams: Any) -> None:
    """A reader holds one chunk, however long the stream."""
    script = streams.make_script(n_gops=1, n_frames=1, audio=False)
    payload = dict(streams.split_chunks(script.to_bytes()))[b"GOPS"]
    chunks = streams.split_chunks(script.to_bytes())[:2]

    class Endless:
        """GOP after GOP of 100 kB, 100 MB in all."""

        def __init__(self) -> None:
            self._held = streams.join_chunks(chunks)
            self._n = 2

        def read(self, size: int, /) -> bytes:
            while len(self._held) < size and self._n < 1000:
                body = payload[:1] + struct.pack("<q", self._n * 1001) + frame_entry(self._n)
                self._held += streams.frame_chunk(b"GOPS", body, self._n)
                self._n += 1
            piece, self._held = self._held[:size], self._held[size:]
            return piece

    data = bytes(100_000)

    def frame_entry(n: int) -> bytes:
        crc = zlib.crc32(struct.pack("<qB", n * 1001, 0) + data) & 0xFFFF
        return b"\xa0\x8d\x06" + b"\0" + struct.pack("<H", crc) + data + bytes(8)

    with peak_bytes() as peak:
        reader = Reader(Endless())
        with pytest.raises(TruncatedError):
            deque(reader.events(), maxlen=1)
    assert reader.frames == 998
    assert peak[0] < 2 << 20


def test_not_a_gvc_file() -> None:
    for data in (b"RIFF" + bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(100), b"\x89GVC\n\x1a\n" * 9):
        with pytest.raises(CorruptError, match="not a \\.gvc"):
            Reader(io.BytesIO(data))
    for size in range(8):
        with pytest.raises(TruncatedError):
            Reader(io.BytesIO(b"\x89GVC\r\n\x1a\n"[:size]))
