"""Bytes from strangers, by the million: only our own errors may come out.

    python tests/fuzz/fuzz.py --seconds 3600 [--corpus FOLDER]

With atheris installed, inputs are bred by the branches of our parsers that they reach, and the
corpus is kept in the folder. Without it, they are mutations of the golden streams, blind to
coverage; the first line printed says which. A finding is written to the folder and exits with 1;
it becomes a plain test.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import itertools
import os
import random
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STREAMS = ROOT / "tests" / "streams"
SIGNATURE = b"\x89GVC\r\n\x1a\n"
LONGEST = 8192  # bytes of an input: every branch of a parser is nearer than that
SECONDS_EACH = 10


# ── What is tried ────────────────────────────────────────────────────────────────────────────


def parse(data: bytes) -> None:
    """A file as it is, in every way to read one."""
    from gancodec.bitstream import Damage, End, Reader
    from gancodec.errors import BitstreamError

    strict: list[Any] | None = None
    with suppress(BitstreamError):
        strict = list(Reader(io.BytesIO(data)).events())
    with suppress(BitstreamError):
        concealed = list(Reader(io.BytesIO(data), conceal=True).events())
        assert strict is None or concealed == strict, "concealment changes a sound file"
        # A stream that just ends is not damaged, and has no end mark.
        cut = not concealed or not isinstance(concealed[-1], End)
        told = any(isinstance(event, Damage) for event in concealed)
        assert strict is not None or told or cut, "damage is not told"
    with suppress(BitstreamError):
        reader = Reader(io.BytesIO(data))
        reader.header.to_dict()
        for entry in reader.index():
            reader.read_gop_at(entry)


def parse_chunks(data: bytes) -> None:
    """Payloads and types as they come, with every number and checksum right."""
    chunks: list[tuple[bytes, bytes]] = []
    while data:
        kind, size = data[0], int.from_bytes(data[1:3], "little")
        name = KINDS[kind] if kind < len(KINDS) else bytes(65 + (kind + n) % 58 for n in range(4))
        chunks.append((name, data[3 : 3 + size]))
        data = data[3 + size :]
    parse(framed(chunks))


def unpack(data: bytes) -> None:
    """Payloads of single chunks."""
    from gancodec.bitstream import Header, Mastering
    from gancodec.bitstream.descriptions import unpack_metadata, unpack_models
    from gancodec.bitstream.gops import unpack_gop, unpack_index
    from gancodec.errors import BitstreamError

    ways: tuple[Callable[[bytes], Any], ...] = (
        Header.unpack,
        Mastering.unpack,
        unpack_metadata,
        unpack_models,
        unpack_index,
    )
    for way in ways:
        with suppress(BitstreamError):
            way(data)
    with suppress(BitstreamError):
        header = Header.unpack(data)
        assert Header.unpack(header.pack()) == header
        unpack_gop(data[96:], header, 0)


def decode_symbols(data: bytes) -> None:
    """Two stages of symbols from any words; the first bytes say how many, under which tables."""
    import numpy as np

    from gancodec.bitstream import SymbolDecoder
    from gancodec.errors import BitstreamError

    tables = table_set()
    counts, words = data[:2], data[2:]
    with suppress(BitstreamError):
        decoder = SymbolDecoder(tables, words)
        for n, count in enumerate(counts):
            index = (np.arange(count * 8) * (n + 7) % len(tables)).astype(np.uint8)
            values = decoder.decode(index)
            assert values.shape == index.shape
            assert np.abs(values).max(initial=0) <= 32767
        decoder.finish()


TARGETS = (parse, parse_chunks, unpack, decode_symbols)
KINDS = (b"GHDR", b"MODL", b"GOPS", b"GEND", b"gIDX", b"aINI", b"aDAT", b"meta", b"hdrM", b"iccP")
_tables: list[Any] = []


def table_set() -> Any:
    """Narrow, middling and wide tables, made once."""
    from gancodec.bitstream import gaussian_tables

    if not _tables:
        _tables.append(gaussian_tables([0.11, 0.8, 5.0, 40.0]))
    return _tables[0]


def run_one(data: bytes) -> None:
    """Hand an input to the target that its first byte names."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])


# ── Where inputs come from ───────────────────────────────────────────────────────────────────


def framed(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A file of these chunks, with right numbers and checksums."""
    from gancodec.bitstream.chunks import pack_chunk

    return SIGNATURE + b"".join(pack_chunk(k, n, payload) for n, (k, payload) in enumerate(chunks))


def split(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a sound file."""
    from gancodec.bitstream import Limits
    from gancodec.bitstream.chunks import Source, read_chunk

    source = Source(io.BytesIO(data))
    source.seek(len(SIGNATURE))
    chunks = []
    while source.position < len(data):
        chunk = read_chunk(source, Limits())
        chunks.append((chunk.kind, chunk.payload))
    return chunks


def seeds() -> list[bytes]:
    """Golden streams as inputs of every target."""
    found = []
    for path in sorted(STREAMS.glob("*.gvc")):
        data = path.read_bytes()
        if len(data) > LONGEST // 2:
            continue
        chunks = split(data)
        found.append(b"\0" + data)
        packed = [bytes([KINDS.index(k)]) + struct.pack("<H", len(p)) + p for k, p in chunks]
        found.append(b"\1" + b"".join(packed))
        found += [b"\2" + payload for _, payload in chunks]
        gop = next(payload for kind, payload in chunks if kind == b"GOPS")
        found += [b"\2" + chunks[0][1] + gop, b"\3\x09\x04" + gop[-8 - len(gop) // 8 * 4 :]]
    return found


def mutated(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """One to five changes: bytes flipped, replaced, removed, doubled, taken from another input."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, size = rng.randrange(1, len(out) + 1), rng.choice((1, 2, 4, 8, 30))
        kind = rng.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + size] = rng.randbytes(size)
        elif kind == 2:
            del out[at : at + size]
        elif kind == 3:
            out[at:at] = out[at : at + size]
        elif kind == 4:
            out[at : at + size] = rng.choice((b"\0", b"\x7f", b"\x80", b"\xff")) * size
        else:
            begin = rng.randrange(len(other))
            out[at : at + size] = other[begin : begin + size]
    return bytes(out[:LONGEST])


def mutate_for(
    seconds: float | None, rounds: int | None, seed: int, keep: Callable[[bytes], object]
) -> tuple[int, float]:
    """Mutations of the seeds until time or rounds are over; how many, and the slowest's seconds.

    What fails is handed to ``keep`` before its error goes on.
    """
    rng, start, slowest = random.Random(seed), time.monotonic(), 0.0
    inputs = seeds()
    for number in itertools.count():
        over = seconds is not None and time.monotonic() - start > seconds
        if over or number == rounds:
            return number, slowest
        data = mutated(rng, rng.choice(inputs), rng.choice(inputs))
        begun = time.process_time()
        try:
            run_one(data)
            spent = time.process_time() - begun
            assert spent < SECONDS_EACH, f"an input took {spent:.1f} s"
        except BaseException:
            keep(data)
            raise
        slowest = max(slowest, spent)
    raise AssertionError("counting never ends")


def main() -> None:
    """Fuzz for as long as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=ROOT / "runs" / "fuzz")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    chosen.corpus.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(ROOT))
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: plain mutations, blind to coverage", flush=True)
        count, slowest = mutate_for(
            chosen.seconds, None, chosen.seed, (chosen.corpus / "finding").write_bytes
        )
        print(f"{count} inputs in {chosen.seconds} s, none failed, slowest {slowest:.2f} s")
        return
    import atheris

    print(f"atheris, guided by coverage; the corpus is in {chosen.corpus}", flush=True)
    with atheris.instrument_imports(include=["gancodec"]):
        import gancodec.bitstream.gops
        import gancodec.bitstream.seeking  # noqa: F401
    for number, data in enumerate(seeds()):
        (chosen.corpus / f"seed{number}").write_bytes(data)
    options = [
        f"-max_total_time={chosen.seconds}",
        f"-timeout={SECONDS_EACH}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={chosen.corpus}{os.sep}finding-",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], str(chosen.corpus), *options], run_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
