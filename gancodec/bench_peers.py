"""Other codecs beside ours in a benchmark: x264, x265, SVT-AV1, and CompressAI's ssf2020."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import av

from gancodec.errors import GancodecError
from gancodec.eval.classic import X264, X265, SvtAv1
from gancodec.eval.clips import Clip
from gancodec.eval.codecs import Codec
from gancodec.eval.neural import CompressAiCodec
from gancodec.fileio.parallel import Meet

NEURAL = "ssf2020"
NEURAL_FRAMES = 5  # it takes seconds for each
_WARM_UP_FRAMES = 2

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Lap:
    """Seconds of one stretch of work: on the clock, and of all this process's threads together."""

    seconds: float
    busy_seconds: float


@dataclass(frozen=True, slots=True)
class PeerTimes:
    """What another codec took for so many frames, in one process."""

    name: str
    frames: int
    encode: Lap
    decode: Lap


def time_peers(
    clip: Clip, threads: int, meet: Meet, *, neural: bool
) -> tuple[list[PeerTimes], list[str]]:
    """Encode and decode a clip with every codec that is here, and say why others are left out.

    Args:
        clip: frames of even size, in memory.
        threads: of each codec; torch is set to as many already.
        meet: called before everything that is timed.
        neural: ssf2020 as well, on its first few frames.

    Raises:
        UsageError: compressai is wanted and missing.
    """
    times, notes = [], []
    for name, encoder, make in _classic(threads):
        if encoder not in av.codecs_available:
            notes.append(f"{name} is left out: this PyAV has no {encoder}")
            continue
        try:
            times.append(_timed(name, make(), clip, meet))
        except GancodecError as error:
            notes.append(f"{name} is left out: {error}")
    if neural:
        few = Clip(clip.name, clip.info, clip.frames[:NEURAL_FRAMES])
        times.append(_timed(NEURAL, CompressAiCodec(1, model=NEURAL, threads=0), few, meet))
    return times, notes


def _classic(threads: int) -> Iterator[tuple[str, str, Callable[[], Codec]]]:
    """At the rate factor that each takes unless told."""
    yield "x264 medium", X264.encoder, lambda: X264(23, threads=threads)
    yield "x265 medium", X265.encoder, lambda: X265(28, threads=threads)
    yield "SVT-AV1 preset 6", SvtAv1.encoder, lambda: SvtAv1(35, threads=threads)


def _timed(name: str, codec: Codec, clip: Clip, meet: Meet) -> PeerTimes:
    # Once over a few frames, untimed: what a codec refuses it refuses here, before any meeting.
    codec.decode(codec.encode(Clip(clip.name, clip.info, clip.frames[:_WARM_UP_FRAMES])))
    meet()
    data, encode = _lap(lambda: codec.encode(clip))
    meet()
    _, decode = _lap(lambda: codec.decode(data))
    return PeerTimes(name, len(clip), encode, decode)


def _lap(work: Callable[[], _Result]) -> tuple[_Result, Lap]:
    begun, busy = time.perf_counter(), time.process_time()
    result = work()
    return result, Lap(time.perf_counter() - begun, time.process_time() - busy)
