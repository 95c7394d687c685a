"""The ``.gvc`` file of an encode: coded GOPs with the sound between them, whole or resumable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from fractions import Fraction
from os import PathLike

from gancodec.bitstream import AtomicFile, ByteWriter, Gop, Writer, resume
from gancodec.bitstream.chunks import FRAMING_BYTES
from gancodec.bitstream.gops import INDEX_ENTRY_BYTES
from gancodec.errors import InputError
from gancodec.fileio.encoding import EncodeJob, OpenClip, opened
from gancodec.fileio.results import EncodeStats, Progress, Report

AUDIO_CHUNK_BYTES = FRAMING_BYTES + 1  # and the track number


# Gives the GOPs of a clip, coded and in order: with `OpenClip.coded`, or from where it has them.
CodeGops = Callable[[OpenClip], Iterable[Gop]]


def write_file(
    job: EncodeJob,
    path: str | PathLike[str],
    code: CodeGops,
    *,
    resuming: bool = False,
    report: Report | None = None,
) -> EncodeStats:
    """Encode to a file that appears when it is complete; ``resuming`` takes up what was left."""
    with opened(job) as clip, ExitStack() as stack:
        if resuming:
            resumed = resume(path, clip.header, clip.models)
            stack.enter_context(resumed.file)
            writer = resumed.writer
            if resumed.gops:
                clip.skip(resumed)
            else:
                _write_preamble(clip, writer)
        else:
            file = stack.enter_context(AtomicFile(path))
            writer = Writer(file, clip.header, clip.models)
            _write_preamble(clip, writer)
        return _write_body(clip, writer, code, report)


def write_stream(
    job: EncodeJob, stream: ByteWriter, code: CodeGops, *, report: Report | None = None
) -> EncodeStats:
    """Encode to a pipe or any other stream."""
    with opened(job) as clip:
        writer = Writer(stream, clip.header, clip.models)
        _write_preamble(clip, writer)
        return _write_body(clip, writer, code, report)


def write_all(stream: ByteWriter, data: bytes) -> None:
    """Write to a stream that may take a part at a time.

    Raises:
        InputError: it takes no more.
    """
    try:
        while data:
            taken = stream.write(data)
            if taken == 0:
                raise InputError("cannot write the output: it takes no more bytes")
            data = b"" if taken is None else data[taken:]
    except OSError as error:
        raise InputError(f"cannot write the output: {error.strerror or error}") from error


def _write_preamble(clip: OpenClip, writer: Writer) -> None:
    if clip.job.metadata:
        writer.write_metadata(dict(clip.job.metadata))
    for chunk in clip.audio_headers:
        writer.write_audio_init(chunk.track, chunk.data)


def _write_body(
    clip: OpenClip, writer: Writer, code: CodeGops, report: Report | None
) -> EncodeStats:
    for gop in code(clip):
        _write_audio(clip, writer, gop.pts[0] * clip.info.time_base)
        writer.write_gop(gop)
        if report is not None:
            report(progress_of(clip, writer, "encode"))
    _write_audio(clip, writer, None)
    writer.close()
    state = writer.state
    assert state.last_pts is not None
    return EncodeStats(
        quality=float(clip.job.options.quality),
        frames=state.frames,
        gops=len(state.index) // INDEX_ENTRY_BYTES,
        bytes=state.position,
        audio_bytes=audio_bytes(clip, writer),
        seconds=clip.seconds_until(state.last_pts),
        pixels=clip.info.width * clip.info.height,
        passes=1,
        notices=tuple(clip.reader.notices),
    )


def _write_audio(clip: OpenClip, writer: Writer, until: Fraction | None) -> None:
    """The clusters that begin before a time: a player has them when it needs them."""
    if clip.audio is not None:
        for chunk in clip.audio.until(until):
            writer.write_audio_data(chunk.track, chunk.data)


def audio_bytes(clip: OpenClip, writer: Writer) -> int:
    """How much of what was written is sound."""
    headers = sum(len(h.data) + AUDIO_CHUNK_BYTES for h in clip.audio_headers)
    tracks = writer.state.audio.values()
    return headers + sum(t.bytes + t.chunks * AUDIO_CHUNK_BYTES for t in tracks)


def progress_of(clip: OpenClip, writer: Writer, stage: str) -> Progress:
    """How far a writer is."""
    state = writer.state
    seconds = 0.0 if state.last_pts is None else float(clip.seconds_until(state.last_pts))
    return Progress(state.frames, clip.total_frames, seconds, state.position, stage)
