"""Hostile files: every checksum is right and what they say is not. One of our errors, soon, or a
picture; no other exception, no hang, no growth. Parsers alone: tests/bitstream/test_damage.py.
"""

from __future__ import annotations

import dataclasses
import io
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import gancodec
from gancodec.bitstream import AudioData, AudioInit, CodedFrame, Gop, Header, Reader, Writer
from gancodec.errors import GancodecError
from gancodec.probe import probe


def changed_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bytes flipped, replaced, cut off or appended; often in whole words, which the coder wants."""
    out = bytearray(data)
    kind = rng.randrange(5)
    at = rng.randrange(len(out)) if out else 0
    if kind == 0 and out:
        out[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        out[at : at + 20] = rng.randbytes(len(out[at : at + 20]))
    elif kind == 2:
        del out[1 + at // 4 * 4 :]
    elif kind == 3:
        out += rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", rng.randbytes(8)))
    else:
        out = out[:1] + rng.choice((b"\0", b"\xff")) * (len(out) - 1)
    return bytes(out)


def changed_gop(rng: random.Random, gop: Gop) -> Gop:
    """Other bytes, kinds, order or hash, in a GOP whose checksums will be right."""
    frames = list(gop.frames)
    n = rng.randrange(len(frames))
    kind = rng.randrange(8)
    if kind < 4:
        frames[n] = CodedFrame(frames[n].kind, changed_bytes(rng, frames[n].data))
    elif kind == 4:
        frames[n] = CodedFrame(rng.choice((0, 1, 2, 77, 255)), frames[n].data)
    elif kind == 5:
        frames[n] = CodedFrame(frames[n].kind, bytes([rng.randrange(256)]) + frames[n].data[1:])
    elif kind == 6:
        frames.reverse()
    else:
        return dataclasses.replace(gop, symbol_hash=rng.randbytes(8))
    return dataclasses.replace(gop, frames=tuple(frames))


def changed_header(rng: random.Random, header: Header) -> Header:
    """Another header that is possible; small pictures, for a large one is only a matter of time."""
    change: dict[str, Any] = rng.choice(
        [
            {"width": rng.randrange(1, 200)},
            {"height": rng.randrange(1, 200)},
            {"quarter_turns": rng.randrange(4)},
            {"primaries": rng.randrange(256), "transfer": rng.randrange(256)},
            {"matrix": rng.randrange(256), "full_range": True},
            {"chroma_location": rng.randrange(7)},
            {"n_frames": rng.randrange(1 << 26)},
            {"start_pts": rng.randrange(-(1 << 63), 1 << 63)},
        ]
    )
    return dataclasses.replace(header, **change)


def mutant(rng: random.Random, data: bytes) -> bytes:
    """The file written anew by our own writer, with one to three things in it changed."""
    reader = Reader(io.BytesIO(data))
    events = [e for e in reader.events() if isinstance(e, Gop | AudioInit | AudioData)]
    header = reader.header
    for _ in range(rng.choice((1, 1, 2, 3))):
        n = rng.randrange(len(events) + 1)
        if n == len(events):
            header = changed_header(rng, header)
            continue
        event = events[n]
        if isinstance(event, Gop):
            events[n] = changed_gop(rng, event)
        else:
            events[n] = dataclasses.replace(event, data=changed_bytes(rng, event.data))
    out = io.BytesIO()
    writer = Writer(out, header, reader.models)
    for event in events:
        if isinstance(event, Gop):
            writer.write_gop(event)
        elif isinstance(event, AudioInit):
            writer.write_audio_init(event.track, event.data)
        else:
            writer.write_audio_data(event.track, event.data)
    writer.close()
    return out.getvalue()


def use_fully(data: bytes, target: Path, frames: int) -> bool:
    """Every way to use a file; whether an ordinary decode accepted it."""
    accepted = True
    try:
        gancodec.decode(io.BytesIO(data), target, jobs=1, overwrite=True)
    except GancodecError:
        accepted = False
        assert not target.exists(), "a file of a decode that failed"
    target.unlink(missing_ok=True)
    assert not list(target.parent.glob(f"{target.name}*"))
    for use in (
        lambda: gancodec.verify(io.BytesIO(data), jobs=1),
        lambda: probe(io.BytesIO(data), packets=True),
        lambda: gancodec.decode(io.BytesIO(data), io.BytesIO(), jobs=1, realism=0.5, conceal=True),
    ):
        try:
            found = use()
        except GancodecError:
            continue
        if isinstance(found, gancodec.DecodeStats):
            assert found.frames == frames, "a concealed clip lost its length"
            assert found.is_intact or not accepted
    return accepted


@pytest.mark.stress
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_mutants_through_the_whole_decoder(
    kit: Any, gvc: Path, tmp_path: Path, stress_rounds: int
) -> None:
    data = gvc.read_bytes()
    assert use_fully(data, tmp_path / "whole.mkv", kit.frames)
    rng = random.Random(stress_rounds)
    accepted, slowest = 0, 0.0
    count = 25 * stress_rounds
    with kit.Peak() as peak:
        for number in range(count):
            begun = time.process_time()  # of this process: others may be busy
            accepted += use_fully(mutant(rng, data), tmp_path / f"{number}.mkv", kit.frames)
            slowest = max(slowest, time.process_time() - begun)
    print(
        f"{count} mutants: {accepted} accepted, slowest {slowest:.2f} s, {peak.grown_mib:.1f} MiB"
    )
    assert accepted < count / 2, "the mutants are too tame to tell anything"
    assert slowest < 10
    assert peak.grown_mib < 64
