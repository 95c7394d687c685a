"""From an open clip to the bytes of a ``.gvc`` file.

    input clip ─► GOPs ─► coded, each on its own, on any number of cores ─► in order ─► writer
            └──► sound clusters, each before the first GOP that begins after it ─────────┘

The bytes depend on the clip, the options and the machine, never on the number of jobs, on where
they are written, or on how often the encode was interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from itertools import chain
from typing import Any

from gancodec.bitstream import (
    AudioProgress,
    CodedFrame,
    Gop,
    Header,
    ModelRef,
    Resumed,
)
from gancodec.bitstream.chunks import FRAMING_BYTES
from gancodec.bitstream.gops import INDEX_ENTRY_BYTES, pack_gop
from gancodec.codec import Encoder
from gancodec.config import EncodeOptions, Engine
from gancodec.errors import CorruptError, InputError, ModelError
from gancodec.fileio.headers import header_of, ticks_per_frame
from gancodec.fileio.input_clip import InputClip, expected_frames, gop_bytes, paced, read_gops
from gancodec.fileio.parallel import Work, Workers
from gancodec.registry import load_model
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.audio import AudioSource
from gancodec.video.pictures import find_pictures
from gancodec.video.reader import VideoReader


@dataclass(frozen=True, slots=True)
class EncodeJob:
    """Everything that decides about the bytes of a file."""

    clip: InputClip
    options: EncodeOptions
    metadata: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    version: str = ""  # of gancodec: another one may code differently
    goal: str = ""  # the rate that the quality was chosen for
    engine: Engine = "torch"

    def at_quality(self, quality: float) -> EncodeJob:
        """The same with another quality."""
        return replace(self, options=replace(self.options, quality=quality))

    def settings_hash(self) -> int:
        """64 bits over all settings; not over the input, nor over what leaves the bytes alone."""
        clip = self.clip
        # Floats decide, and engines differ in their last bits as devices do.
        engine = [] if self.engine == "torch" else [self.engine]
        settings = [
            *(self.version, self.goal, asdict(self.options), self.device.partition(":")[0]),
            *engine,
            *(clip.start, clip.duration, clip.scale, clip.fps, clip.audio, dict(self.metadata)),
        ]
        return _hash_64(json.dumps(settings, sort_keys=True, default=str).encode())


def _hash_64(*parts: bytes) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest(), "little")


# ── One GOP, wherever it runs ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class GopTask:
    """One GOP's frames, and all that a worker must know to code them."""

    info: VideoInfo
    options: EncodeOptions
    references: tuple[ModelRef, ...]
    device: str
    engine: Engine
    frames: FrameBatch


def encode_gop(task: GopTask) -> Gop:
    """Code one GOP from a fresh state.

    Raises:
        ModelError: this machine's weights of that name are others.
    """
    model = load_model(task.options.model, task.device, engine=task.engine)
    if model.references != task.references:
        raise ModelError(
            f"the weights {task.options.model!r} differ between the machines of this encode; "
            "install the same gancodec everywhere"
        )
    options = replace(task.options, gop=len(task.frames), scene_cuts=False)  # it is one GOP
    encoder = Encoder(task.info, options, model=model, device=task.device)
    packets = [*encoder.encode(task.frames), *encoder.flush()]
    return Gop(
        tuple(p.pts for p in packets),
        tuple(CodedFrame(int(p.kind), p.data) for p in packets),
        packets[-1].symbol_hash,
    )


def gop_cost(gop: Gop, header: Header) -> int:
    """How many bytes of the file are this GOP's."""
    return len(pack_gop(gop, header)) + FRAMING_BYTES + INDEX_ENTRY_BYTES


# ── A clip that is ready to be coded ─────────────────────────────────────────────────────────


class OpenClip:
    """An input whose first GOP is read, so that everything in the header is known.

    Raises:
        ModelError: the weights cannot be used.
        InputError: the input cannot be read.
    """

    def __init__(self, job: EncodeJob, reader: VideoReader) -> None:
        self.job = job
        self.reader = reader
        self.info, constant = paced(job.clip, reader.info)
        self.models = load_model(job.options.model, job.device).references
        self._step = ticks_per_frame(self.info) if constant else None
        self._gops = read_gops(reader, job.options, self._step)
        first = next(self._gops, None)
        if first is None:
            raise InputError(f"{reader.name} holds no frame: check that the file is complete")
        self._first: FrameBatch | None = first
        self.audio: AudioSource | None = reader.audio
        self.audio_headers = [] if self.audio is None else self.audio.headers
        fingerprint = job.clip.fingerprint()
        identity = [fingerprint] if fingerprint else [p.tobytes() for p in _arrays(first)]
        path = job.clip.path
        pictures = path is not None and find_pictures(path) is not None
        self.header = header_of(
            self.info,
            start_pts=int(first.pts[0]),
            constant_rate=constant,
            max_gop_frames=job.options.gop,
            has_audio=bool(self.audio_headers),
            n_frames=reader.info.frames if pictures else None,
            stream_id=_hash_64(*identity),
            settings_hash=job.settings_hash(),
        )

    @property
    def total_frames(self) -> int | None:
        """How many frames there will be, as far as the input tells."""
        return expected_frames(self.reader, self.info)

    def seconds_until(self, pts: int) -> Fraction:
        """Length of the clip up to and with the frame of this time."""
        return (pts - self.header.start_pts) * self.info.time_base + 1 / self.info.fps

    def gops(self) -> Iterator[FrameBatch]:
        """The GOPs that are left. None is held here once it was given out."""
        return chain(self._first_gop(), self._gops)

    def _first_gop(self) -> Iterator[FrameBatch]:
        if self._first is not None:
            held, self._first = [self._first], None
            yield held.pop()

    def tasks(self, options: EncodeOptions | None = None) -> Iterator[GopTask]:
        """The GOPs that are left, for workers."""
        for frames in self.gops():
            yield self.task(frames, options or self.job.options)

    def task(self, frames: FrameBatch, options: EncodeOptions) -> GopTask:
        """One GOP for a worker."""
        job = self.job
        return GopTask(self.info, options, self.models, job.device, job.engine, frames)

    def coded(self, workers: Workers) -> Iterator[Gop]:
        """The GOPs that are left, coded, in order."""
        weight = gop_bytes(self.info, self.job.options.gop)
        work: Iterable[Work[GopTask, None]] = (Work(task, None) for task in self.tasks())
        for gop, _ in workers.run(encode_gop, work, weight):
            assert gop is not None
            yield gop

    def skip(self, resumed: Resumed) -> None:
        """Go to the frame behind those that are in the file, and with the sound to its place.

        Raises:
            InputError, CorruptError: the input is not the one the file was begun from.
        """
        assert resumed.last_pts is not None
        if self.job.clip.path is None:
            gops = self.gops()
            for entry in resumed.gops:
                frames = next(gops, None)
                if frames is None or (int(frames.pts[0]), len(frames)) != (entry.pts, entry.frames):
                    raise _not_the_same(self.reader.name)
                self._skip_audio(entry.pts, resumed.audio)
        else:
            self._first = None
            self.reader.skip_to(resumed.last_pts)
            next(self.reader.batches(1), None)
            self._gops = read_gops(self.reader, self.job.options, self._step)
            self._skip_audio(resumed.gops[-1].pts, resumed.audio)
        if any(left.chunks or left.bytes for left in resumed.audio.values()):
            raise _not_the_same(self.reader.name)

    def _skip_audio(self, pts: int, there: dict[int, AudioProgress]) -> None:
        """Pull the sound before a GOP again, and strike it off what is in the file."""
        if self.audio is not None:
            for chunk in self.audio.until(pts * self.info.time_base):
                there[chunk.track].chunks -= 1
                there[chunk.track].bytes -= len(chunk.data)


def _arrays(batch: FrameBatch) -> tuple[Any, ...]:
    return batch.y, batch.u, batch.v, batch.pts


def _not_the_same(name: str) -> CorruptError:
    return CorruptError(
        f"{name} is not the input this encode was begun with; encode without --resume"
    )


@contextmanager
def opened(job: EncodeJob) -> Iterator[OpenClip]:
    """Open the clip of a job."""
    with job.clip.open() as reader:
        yield OpenClip(job, reader)
