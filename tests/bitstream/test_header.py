"""GHDR and the other descriptions: bytes fixed for ever, and nothing impossible accepted."""

from __future__ import annotations

import dataclasses
import json
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gancodec.bitstream import Header, Limits, Mastering, ModelRef
from gancodec.bitstream.descriptions import (
    pack_metadata,
    pack_models,
    unpack_metadata,
    unpack_models,
)
from gancodec.errors import BitstreamError, CorruptError, LimitError, UnsupportedError

HEADER = Header(
    width=1920,
    height=1080,
    fps=Fraction(30000, 1001),
    time_base=Fraction(1, 90000),
    sample_aspect_ratio=Fraction(4, 3),
    primaries=1,
    transfer=13,
    matrix=6,
    full_range=True,
    chroma_location=1,
    quarter_turns=3,
    n_frames=1234,
    start_pts=-5,
    max_gop_frames=64,
    max_gop_bytes=1 << 20,
    stream_id=0x0123456789ABCDEF,
    settings_hash=0xFEDCBA9876543210,
    has_audio=True,
    deltas_omitted=True,
)

# Laid out by hand from the table of FORMAT.md.
GOLDEN = bytes.fromhex(
    "0100 0000 0000 0e00"  # major, minor, min_reader_minor, flags: audio, count known, no deltas
    "80070000 38040000"  # width, height
    "08 01 01 0d 06 01 01 03"  # bits, chroma, primaries, transfer, matrix, range, location, turns
    "04000000 03000000"  # sample aspect ratio
    "01000000 905f0100"  # time base
    "30750000 e9030000"  # fps
    "d204000000000000"  # frames
    "fbffffffffffffff"  # start
    "40000000 00001000"  # frames and bytes of a GOP
    "efcdab8967452301"  # stream
    "1032547698badcfe"  # settings
    "0000000000000000"  # reserved
)


def patched(offset: int, code: str, *values: int) -> bytes:
    data = bytearray(GOLDEN)
    struct.pack_into("<" + code, data, offset, *values)
    return bytes(data)


def test_golden_bytes() -> None:
    assert len(GOLDEN) == 96
    assert HEADER.pack() == GOLDEN
    assert Header.unpack(GOLDEN) == HEADER


def test_newer_minor_may_append_and_reserved_bits_are_ignored() -> None:
    longer = patched(2, "H", 7) + b"what 1.7 knows"
    assert Header.unpack(longer) == dataclasses.replace(HEADER, minor=7)
    assert Header.unpack(patched(88, "Q", 1)) == HEADER
    assert Header.unpack(patched(6, "H", 0xFFF0 | 0x0E)) == HEADER


U32 = st.integers(1, 2**32 - 1)
RATIONALS = st.builds(Fraction, U32, U32)
U64 = st.integers(0, 2**64 - 1)
HEADERS = st.builds(
    Header,
    width=st.integers(1, 8192),
    height=st.integers(1, 8192),
    fps=RATIONALS,
    time_base=RATIONALS,
    sample_aspect_ratio=RATIONALS,
    primaries=st.integers(0, 255),
    transfer=st.integers(0, 255),
    matrix=st.integers(0, 255),
    full_range=st.booleans(),
    chroma_location=st.integers(0, 6),
    quarter_turns=st.integers(0, 3),
    n_frames=st.none() | st.integers(0, 2**26),
    start_pts=st.integers(-(2**63), 2**63 - 1),
    max_gop_frames=st.integers(1, 1024),
    max_gop_bytes=st.integers(1, 64 << 20),
    stream_id=U64,
    settings_hash=U64,
    variable_rate=st.booleans(),
    has_audio=st.booleans(),
)


@given(HEADERS)
def test_roundtrip(header: Header) -> None:
    assert len(header.pack()) == 96
    assert Header.unpack(header.pack()) == header
    shown = json.loads(json.dumps(header.to_dict()))
    assert shown["width"] == header.width
    assert Fraction(shown["fps"]) == header.fps
    assert int(shown["stream_id"], 16) == header.stream_id


@given(st.binary(max_size=200))
def test_any_bytes_give_a_header_or_a_bitstream_error(data: bytes) -> None:
    for payload in (data, GOLDEN[:16] + data, GOLDEN[: 96 - len(data) % 97] + data):
        try:
            Header.unpack(payload)
        except BitstreamError:
            continue


@pytest.mark.parametrize("size", range(96))
def test_short_headers(size: int) -> None:
    with pytest.raises(CorruptError):
        Header.unpack(GOLDEN[:size])


@pytest.mark.parametrize(
    ("offset", "code", "values"),
    [
        (0, "H", (0,)),  # major
        (8, "I", (0,)),  # width
        (12, "I", (0,)),  # height
        (16, "B", (0,)),  # bit depth
        (17, "B", (4,)),  # chroma
        (21, "B", (2,)),  # range
        (22, "B", (7,)),  # chroma location
        (23, "B", (4,)),  # quarter turns
        (24, "II", (0, 1)),
        (24, "II", (1, 0)),
        (32, "II", (0, 1)),
        (32, "II", (1, 0)),
        (40, "II", (0, 0)),
        (40, "II", (25, 0)),
        (40, "II", (7, 3)),  # a frame of 38571.4 ticks, without deltas
        (48, "Q", (2**64 - 1,)),  # unknown, although the flag says it is known
        (6, "H", (0x0A,)),  # known, although the flag says it is not
        (6, "H", (0x0F,)),  # variable rate without deltas
        (64, "I", (0,)),
        (68, "I", (0,)),
    ],
)
def test_impossible_headers(offset: int, code: str, values: tuple[int, ...]) -> None:
    with pytest.raises(CorruptError):
        Header.unpack(patched(offset, code, *values))


@pytest.mark.parametrize(
    ("offset", "code", "value"),
    [
        (8, "I", 2**32 - 1),
        (12, "I", 16385),
        (48, "Q", 2**64 - 2),
        (48, "Q", 2**26 + 1),
        (64, "I", 1025),
        (68, "I", (64 << 20) + 1),
        (68, "I", 2**32 - 1),
    ],
)
def test_huge_headers(offset: int, code: str, value: int) -> None:
    with pytest.raises(LimitError):
        Header.unpack(patched(offset, code, value))


def test_pixels_are_limited_beside_sides() -> None:
    data = bytearray(patched(8, "II", 16384, 16384))
    with pytest.raises(LimitError, match="picture size"):
        Header.unpack(bytes(data))
    assert Header.unpack(bytes(data), Limits(pixels=1 << 28)).width == 16384


@pytest.mark.parametrize(
    ("offset", "code", "value"),
    [(0, "H", 2), (4, "H", 1), (16, "B", 10), (16, "B", 12), (17, "B", 0), (17, "B", 3)],
)
def test_unsupported_headers(offset: int, code: str, value: int) -> None:
    with pytest.raises(UnsupportedError):
        Header.unpack(patched(offset, code, value))


def test_a_newer_major_version_may_have_any_length() -> None:
    with pytest.raises(UnsupportedError):
        Header.unpack(struct.pack("<3H", 2, 0, 0))


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"height": 2**32},
        {"fps": Fraction(0)},
        {"time_base": Fraction(-1, 25)},
        {"fps": Fraction(2**32, 1)},
        {"quarter_turns": 4},
        {"n_frames": 2**64 - 1},
        {"start_pts": 2**63},
        {"stream_id": -1},
        {"min_reader_minor": 1},
        {"variable_rate": True},
        {"fps": Fraction(7, 3)},
    ],
)
def test_writers_cannot_make_impossible_headers(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"is|cannot|can be"):
        dataclasses.replace(HEADER, **change)  # type: ignore[arg-type]


def test_frame_ticks() -> None:
    assert HEADER.frame_ticks == 3003
    assert dataclasses.replace(HEADER, deltas_omitted=False, fps=Fraction(7)).frame_ticks is None


MODEL_REFS = st.builds(
    ModelRef,
    role=st.integers(0, 255),
    arch_version=st.integers(0, 65535),
    sha256=st.binary(min_size=32, max_size=32),
    name=st.from_regex(r"[A-Za-z0-9._-]{1,255}", fullmatch=True).filter(str.isascii),
)


@given(st.lists(MODEL_REFS, min_size=1, max_size=4))
def test_models_roundtrip(models: list[ModelRef]) -> None:
    assert unpack_models(pack_models(models)) == tuple(models)


def test_models_bytes() -> None:
    packed = pack_models([ModelRef(1, 0x0203, bytes(range(32)), "a.b")])
    assert packed == b"\x01" + b"\x01\x03\x03\x02" + bytes(range(32)) + b"a.b"


@given(st.binary(max_size=120))
def test_any_bytes_give_models_or_corrupt(data: bytes) -> None:
    for payload in (data, bytes([len(data) // 40 + 1]) + data):
        try:
            unpack_models(payload)
        except CorruptError:
            continue


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "x\n", "\u0661", "n" * 256])
def test_model_names_are_never_paths(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        ModelRef(0, 1, bytes(32), name)
    raw = name.encode()[:255]
    if len(name) < 256:
        with pytest.raises(CorruptError):
            unpack_models(struct.pack("<BBBH32s", 1, 0, len(raw), 1, bytes(32)) + raw)


def test_mastering_roundtrip_and_refusals() -> None:
    light = Mastering((34000, 16000), (13250, 34500), (7500, 3000), (15635, 16450), 10**7, 50, 9, 4)
    packed = light.pack()
    assert len(packed) == 28
    assert packed[:4] == struct.pack("<2H", 34000, 16000)
    assert packed[16:] == struct.pack("<2I2H", 10**7, 50, 9, 4)
    assert Mastering.unpack(packed) == light
    for wrong in (packed[:-1], packed + b"\0", b"\xff" * 28, packed[:20] + b"\xff" * 8):
        with pytest.raises(CorruptError):
            Mastering.unpack(wrong)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).filter(lambda v: "Infinity" not in json.dumps(v) and "\\ud" not in json.dumps(v))


@given(st.dictionaries(st.text(alphabet=st.characters(codec="utf-8")), JSON, max_size=4))
def test_metadata_roundtrip(metadata: dict[str, object]) -> None:
    assert unpack_metadata(pack_metadata(metadata)) == metadata


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"a":' * 60000 + b"1" + b"}" * 60000,
        b"[" * 65536,
    ],
    ids=lambda p: repr(p[:12]),
)
def test_metadata_that_is_no_json_object(payload: bytes) -> None:
    with pytest.raises(CorruptError):
        unpack_metadata(payload)
