"""A small stream that has every kind of chunk, and how to write, read and compare such streams."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest

from gancodec.bitstream import (
    ROLE_ENTROPY,
    ROLE_SYNTHESIS,
    AudioData,
    AudioInit,
    CodedFrame,
    Damage,
    Gop,
    Header,
    Mastering,
    ModelRef,
    Reader,
    Writer,
)

MODELS = (
    ModelRef(ROLE_ENTROPY, 1, bytes(range(32)), "base.v1"),
    ModelRef(ROLE_SYNTHESIS, 1, bytes(range(32, 64)), "base.v1-gan"),
)
MASTERING = Mastering(
    (34000, 16000), (13250, 34500), (7500, 3000), (15635, 16450), 10_000_000, 50, 1000, 400
)


@dataclass
class Script:
    """What is written to a stream, in order, and who compares it with what is read."""

    header: Header
    steps: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    models: tuple[ModelRef, ...] = MODELS

    def run(self, writer: Writer, first: int = 0) -> None:
        for method, arguments in self.steps[first:]:
            getattr(writer, method)(*arguments)
        writer.close()

    def to_bytes(self) -> bytes:
        stream = io.BytesIO()
        self.run(Writer(stream, self.header, self.models))
        return stream.getvalue()

    @property
    def gops(self) -> list[Gop]:
        return [arguments[0] for method, arguments in self.steps if method == "write_gop"]

    @property
    def audio(self) -> list[AudioInit | AudioData]:
        kinds = {"write_audio_init": AudioInit, "write_audio_data": AudioData}
        return [kinds[m](*arguments) for m, arguments in self.steps if m in kinds]

    def assert_nothing_wrong(self, events: list[Any]) -> tuple[int, int]:
        """Every GOP read is one that was written; gives how many are whole and how many in part."""
        by_time = {gop.pts[0]: gop for gop in self.gops}
        whole = part = 0
        last = None
        for event in events:
            if isinstance(event, Gop):
                assert last is None or event.pts[0] > last, "GOPs out of order"
                last = event.pts[-1]
                if not event.bad_frames:
                    assert event == by_time[event.pts[0]]
                    whole += 1
                    continue
                sound = event.bad_frames[0]
                assert sound > 0, "a GOP without a sound frame tells nothing"
                assert event.bad_frames == tuple(range(sound, len(event.frames)))
                written = by_time[event.pts[0]]
                assert event.pts[:sound] == written.pts[:sound]
                assert event.frames[:sound] == written.frames[:sound]
                part += 1
            elif isinstance(event, AudioInit | AudioData):
                assert event in self.audio
        return whole, part


def make_gop(
    rng: random.Random, first_pts: int, n_frames: int, ticks: int = 1001, size: int = 40
) -> Gop:
    """A GOP of random bytes, its first frame the longest."""
    sizes = [4 * size] + [rng.randrange(size) for _ in range(n_frames - 1)]
    frames = tuple(CodedFrame(int(i > 0), rng.randbytes(n)) for i, n in enumerate(sizes))
    pts = tuple(first_pts + i * ticks for i in range(n_frames))
    return Gop(pts, frames, rng.randbytes(8))


def make_script(
    n_gops: int = 3, n_frames: int = 6, size: int = 40, rate: str = "constant", audio: bool = True
) -> Script:
    """A stream with descriptions, two audio tracks and GOPs."""
    rng = random.Random(n_gops * 1000 + n_frames)
    header = Header(
        width=64,
        height=48,
        fps=Fraction(30000, 1001),
        time_base=Fraction(1, 30000),
        has_audio=audio,
        deltas_omitted=rate == "constant",
        variable_rate=rate == "variable",
        stream_id=0x1122334455667788,
        settings_hash=0x99AABBCCDDEEFF00,
    )
    script = Script(header)
    add = script.steps.append
    add(("write_metadata", ({"title": "Bäume", "encoder": "gancodec"},)))
    add(("write_mastering", (MASTERING,)))
    add(("write_icc", (rng.randbytes(50),)))
    if audio:
        add(("write_audio_init", (0, rng.randbytes(60))))
        add(("write_audio_init", (3, rng.randbytes(20))))
    for i in range(n_gops):
        ticks = 1001 if rate == "constant" else 900 + i
        gop = make_gop(rng, i * n_frames * 1001, n_frames, ticks, size)
        add(("write_gop", (gop,)))
        for _ in range(i % 3 if audio else 0):
            add(("write_audio_data", (rng.choice((0, 3)), rng.randbytes(30))))
    return script


def read_events(data: bytes, **options: Any) -> list[Any]:
    """All events of a stream."""
    return list(Reader(io.BytesIO(data), **options).events())


class Streams:
    """What the tests of this folder share."""

    Script = Script
    make_gop = staticmethod(make_gop)
    make_script = staticmethod(make_script)
    read_events = staticmethod(read_events)
    models = MODELS
    mastering = MASTERING
    Damage = Damage


@pytest.fixture(scope="session")
def streams(framing: type[Any]) -> type[Streams]:
    return type("StreamsAndFraming", (Streams, framing), {})


@pytest.fixture(scope="session")
def script() -> Script:
    """Three GOPs, audio and all descriptions in about 2 KB."""
    return make_script()


@pytest.fixture(scope="session")
def sample(script: Script) -> bytes:
    return script.to_bytes()
