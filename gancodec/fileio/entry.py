"""The calls of a user: what they ask for is checked here, before anything is opened."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from gancodec.bitstream import ByteWriter
from gancodec.config import REALISM, TUNED, EncodeOptions, Engine, Preset, Tune
from gancodec.engine import check_engine
from gancodec.enhancer import Enhancement
from gancodec.errors import UsageError
from gancodec.fileio.cluster import PROCESSES, on_cluster
from gancodec.fileio.decoding import DecodeJob, Playback
from gancodec.fileio.encoding import EncodeJob, OpenClip
from gancodec.fileio.ends import (
    Target,
    check_device,
    check_paths,
    format_of,
    readable,
    recognised,
    sink_of,
)
from gancodec.fileio.enhancing import Enhancing
from gancodec.fileio.footage import Footage, opened_clip
from gancodec.fileio.input_clip import InputClip, Source
from gancodec.fileio.parallel import Workers
from gancodec.fileio.passes import encode_to_goal
from gancodec.fileio.results import DecodeStats, EncodeStats, EnhanceStats, Report
from gancodec.fileio.video_output import decode_to
from gancodec.fileio.writing import write_file, write_stream
from gancodec.models.restore import Task
from gancodec.ratecontrol import RateGoal, parse_amount
from gancodec.registry import list_models, load_model
from gancodec.video.audio import AudioMode
from gancodec.video.times import Time, parse_rate, parse_time

_DEFAULTS = EncodeOptions()
_MAX_DENOMINATOR = 4000  # of a frame rate: 30000/1001 and any decimal people type; fits 32 bits
# Loaded long before this module; the name of the version stands there for the packaging.
_VERSION: str = sys.modules["gancodec"].__version__


def encode(
    source: Source,
    target: Target,
    *,
    quality: float | None = None,
    bitrate: str | float | Fraction | None = None,
    size: str | float | Fraction | None = None,
    gop: int = _DEFAULTS.gop,
    preset: Preset = _DEFAULTS.preset,
    scene_cuts: bool = _DEFAULTS.scene_cuts,
    tune: Tune | None = None,
    model: str | None = None,
    start: Time | None = None,
    duration: Time | None = None,
    scale: tuple[int, int] | None = None,
    fps: Time | None = None,
    audio: AudioMode = "copy",
    metadata: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    executor: Executor | str | None = None,
    device: str = "cpu",
    engine: Engine = "torch",
    resume: bool = False,
    overwrite: bool = False,
    progress: Report | None = None,
) -> EncodeStats:
    """Encode a video to a ``.gvc`` file, which appears under its name when it is complete.

    Args:
        source: a video file, folder of pictures, pattern, picture, ``-`` or binary stream.
        target: a file name, ``-`` for standard output, or a binary stream.
        quality: 0 to 63, 63 best; 32 unless a rate is asked for. Fractions mix two levels.
        bitrate: bits a second of pictures and container (``150_000`` or ``"150k"``).
        size: bytes of the whole file, sound included (``5_000_000`` or ``"5M"``).
        gop: longest distance between intra frames, 1 to 1024.
        preset: "fast", "medium" or "slow".
        scene_cuts: open a GOP where the picture changes altogether.
        tune: "perceptual" for what looks best, which is the default, or "fidelity" for the least
            squared error.
        model: instead of that, the name of weights, or a folder that holds some.
        start: where to begin, in seconds or ``"h:mm:ss"``; ``duration``: how much to take.
        scale: width and height as shown; -1 keeps the shape, -2 does so in even numbers.
        fps: resample to this constant rate.
        audio: "copy", "opus" or "none".
        metadata: JSON to store, such as ``{"title": ...}``.
        jobs: processes to work in; one a core, at most eight, unless given. The bytes do not
            depend on it.
        executor: where to work instead: ``"processes"`` is here, ``"tcp://host:8786"`` the Dask
            scheduler whose workers do it, ``jobs`` GOPs at once or one for each of their threads;
            or any `concurrent.futures.Executor`.
        device: where the float nets run.
        engine: what runs them: "torch", or "onnx" for onnxruntime, which is faster and codes
            a little otherwise, as another machine would.
        resume: take up an interrupted encode of the same input with the same settings.
        overwrite: replace an existing target.
        progress: called with a `Progress` after every GOP.

    Raises:
        UsageError: options that make no sense, or an existing target.
        InputError: the source cannot be read, or the target not be written.
        ModelError: the weights cannot be used here, or are others on a worker.
        CorruptError: what is there to resume is of another input or other settings.
    """
    check_paths(source, target, overwrite)
    if audio not in ("copy", "opus", "none"):
        raise UsageError(f"audio is copy, opus or none, got {audio!r}")
    if check_engine(engine, device) == "auto":
        raise UsageError(
            "engine auto asks a stopwatch, on which the bytes of a file must not depend: "
            "encode with torch or onnx"
        )
    goal = _goal(quality, bitrate, size)
    options = EncodeOptions(
        quality=float(_DEFAULTS.quality if quality is None else quality),
        gop=gop,
        preset=preset,
        scene_cuts=scene_cuts,
        model=_model(tune, model),
    )
    clip = InputClip(
        source,
        start=None if start is None else parse_time(start),
        duration=None if duration is None else parse_time(duration),
        scale=scale,
        fps=None if fps is None else _rate(fps),
        audio=audio,
    )
    job = EncodeJob(
        clip, options, _metadata(metadata), check_device(device), _VERSION, engine=engine
    )
    with ExitStack() as stack:
        if executor == PROCESSES:
            executor = None
        if isinstance(executor, str):
            executor = stack.enter_context(on_cluster(executor, options.model))
            jobs = jobs or executor.threads
        workers = stack.enter_context(Workers(jobs, executor, device=device))
        sink = stack.enter_context(sink_of(target))
        if resume and not isinstance(sink, Path):
            raise UsageError("only an encode to a file can be resumed: name one")
        if goal is not None:
            job = replace(job, goal=str(goal))
            return encode_to_goal(job, goal, sink, workers, resuming=resume, report=progress)
        code = partial(OpenClip.coded, workers=workers)
        if isinstance(sink, Path):
            return write_file(job, sink, code, resuming=resume, report=progress)
        return write_stream(job, sink, code, report=progress)


def decode(
    source: Source,
    target: Target,
    *,
    realism: float = REALISM,
    start: Time | None = None,
    duration: Time | None = None,
    jobs: int | None = None,
    executor: Executor | None = None,
    device: str = "cpu",
    engine: Engine = "torch",
    conceal: bool = False,
    lossless: bool = False,
    enhance: Enhancement | None = None,
    overwrite: bool = False,
    progress: Report | None = None,
) -> DecodeStats:
    """Decode a ``.gvc`` file to a video, which appears under its name when it is complete.

    Args:
        source: a ``.gvc`` file, ``-`` or a binary stream.
        target: ``.y4m``, ``.mkv``, ``.mp4``, ``.mov``, ``.webm``, ``.png`` pattern or folder; ``-``
            or a binary stream get YUV4MPEG2.
        realism: 0 shows the faithful picture, 1 all of the synthesis head.
        start: where to begin, in seconds or ``"h:mm:ss"``; ``duration``: how much to take.
        jobs, executor, device: as for `encode`.
        engine: "torch", or "onnx" for onnxruntime, whose pictures differ by a level here and
            there; "auto" measures which is faster, and so may differ from one time to the next.
        conceal: step over damage: lost frames are filled with the picture before them, so that
            the clip keeps its length; ``lost`` and ``damage`` of the result say where.
        lossless: exact frames also in ``.mkv`` and the like.
        enhance: what to do with the frames before they are written; on ``device``, and told the
            rate of the file unless it names one.
        overwrite: replace an existing target.
        progress: called with a `Progress` as frames are written.

    Raises:
        UsageError: options that make no sense, or an existing target.
        InputError: the source cannot be read, or the target not be written.
        BitstreamError: the file is damaged, needs a newer version, or is beyond the limits.
        ModelError: the weights it was made with are not here.
    """
    check_paths(source, target, overwrite)
    check_engine(engine, device)
    if not 0 <= realism <= 1:
        raise UsageError(f"realism is 0 to 1, got {realism}")
    begin, end = _span(start, duration)
    job = DecodeJob(
        realism=realism,
        start=begin,
        end=end,
        device=check_device(device),
        engine=engine,
        conceal=conceal,
        lossless=lossless,
    )
    with (
        readable(source) as stream,
        Workers(jobs, executor, device=device) as workers,
        sink_of(target) as sink,
    ):
        playback = Playback(stream, job, workers)
        enhancing = None
        if enhance is not None:
            enhancing = Enhancing(replace(enhance, device=device), playback, workers)
        return _write(playback, enhancing, sink, target, progress)


def enhance(
    source: Source,
    target: Target,
    task: Task,
    *,
    scale: int | None = None,
    strength: float | None = None,
    sigma: float | Literal["auto"] | None = None,
    model: str | None = None,
    start: Time | None = None,
    duration: Time | None = None,
    audio: AudioMode = "copy",
    jobs: int | None = None,
    executor: Executor | None = None,
    device: str = "cpu",
    lossless: bool = False,
    overwrite: bool = False,
    progress: Report | None = None,
) -> EnhanceStats:
    """Make more of a video's pictures. The result appears under its name when it is complete.

    Times of frames, colours, shape and sound are kept.

    Args:
        source: what `encode` takes, or a ``.gvc`` file.
        target: what `decode` writes.
        task: "sr" makes pictures larger, "denoise" takes noise away, "deblur" blur, and "detail"
            what a codec has left.
        scale: 2 or 4 for "sr", 2 unless given; others keep the size.
        strength: 0 the most faithful, 1 the most detailed; the task's own unless given.
        sigma: deviation of the noise in 8-bit luma samples, 0 to 60, for "denoise"; "auto"
            estimates it for every frame.
        model: instead of the task's own, the name of an enhancer, or a folder that holds one.
        start, duration, audio: as for `encode`; sound of a ``.gvc`` file is not converted.
        jobs, executor, device: as for `encode`; the frames do not depend on the number of jobs.
        lossless, overwrite: as for `decode`.
        progress: called with a `Progress` as frames are written.

    Raises:
        UsageError: options that make no sense, pictures of less than 16 samples a side, or an
            existing target.
        InputError: the source cannot be read or has no frame, or the target not be written.
        BitstreamError: a ``.gvc`` file is damaged, needs a newer version, or is beyond the limits.
        LimitError: the pictures would become too large.
        ModelError: the weights are missing, not whole, or for something else.
    """
    if scale is None:
        scale = 2 if task == "sr" else 1
    what = Enhancement(
        task,
        scale=scale,
        strength=strength,
        sigma=None if sigma == "auto" else sigma,
        model=model,
        device=check_device(device),
    )
    if sigma is not None and task != "denoise":
        raise UsageError("sigma is for denoise")
    if audio not in ("copy", "opus", "none"):
        raise UsageError(f"audio is copy, opus or none, got {audio!r}")
    check_paths(source, target, overwrite)
    begin, end = _span(start, duration)
    with ExitStack() as stack:
        given, is_gvc = stack.enter_context(recognised(source))
        workers = stack.enter_context(Workers(jobs, executor, device=device))
        footage: Footage
        if is_gvc:
            if audio == "opus":
                raise UsageError("the sound of a .gvc file is kept as it is: audio is copy or none")
            sound = audio == "copy"
            job = DecodeJob(start=begin, end=end, device=device, lossless=lossless, sound=sound)
            footage = Playback(stack.enter_context(readable(given)), job, workers)
        else:
            clip = InputClip(given, start=start, duration=duration, audio=audio)
            footage = stack.enter_context(opened_clip(clip, DecodeJob(lossless=lossless)))
        enhancing = Enhancing(what, footage, workers)
        sink = stack.enter_context(sink_of(target))
        stats = _write(footage, enhancing, sink, target, progress)
    return EnhanceStats(
        frames=stats.frames,
        seconds=stats.seconds,
        width=enhancing.info.width,
        height=enhancing.info.height,
        model=what.load().name,
        bits_per_pixel=enhancing.enhancement.bits_per_pixel,
        notices=stats.notices,
    )


def _write(
    footage: Footage,
    enhancing: Enhancing | None,
    sink: Path | ByteWriter,
    target: Target,
    progress: Report | None,
) -> DecodeStats:
    if isinstance(sink, Path):  # by its own spelling: "name/" is a folder to be made
        return decode_to(footage, os.fspath(cast(Any, target)), progress, enhancing=enhancing)
    kind = format_of(target)
    return decode_to(footage, cast(BinaryIO, sink), progress, format=kind, enhancing=enhancing)


# ── Checks ───────────────────────────────────────────────────────────────────────────────────


def _goal(
    quality: float | None,
    bitrate: str | float | Fraction | None,
    size: str | float | Fraction | None,
) -> RateGoal | None:
    if sum(x is not None for x in (quality, bitrate, size)) > 1:
        raise UsageError("quality, bitrate and size exclude each other: give one of them")
    if bitrate is not None:
        return RateGoal(bits_per_second=parse_amount(bitrate, "bitrate"))
    if size is not None:
        return RateGoal(file_bytes=parse_amount(size, "size"))
    return None


def _model(tune: Tune | None, name: str | None) -> str:
    """The name of a model; a folder's is looked up once, and then known by its name."""
    if tune is not None and tune not in TUNED:
        raise UsageError(f"tune is {' or '.join(TUNED)}, got {tune!r}")
    if name is None:
        return _DEFAULTS.model if tune is None else TUNED[tune]
    if tune is not None:
        raise UsageError(
            f"tune {tune} chooses the weights, and so does model {name}; leave one out"
        )
    if name not in list_models() and Path(name).is_dir():
        return load_model(name).name
    return name


def _span(start: Time | None, duration: Time | None) -> tuple[Fraction | None, Fraction | None]:
    """From when to when in seconds, None for no cut."""
    begin = None if start is None else parse_time(start)
    length = None if duration is None else parse_time(duration)
    if length == 0:
        raise UsageError("a duration of 0 seconds leaves no frame: give a longer one")
    return begin or None, None if length is None else (begin or Fraction(0)) + length


def _rate(fps: Time) -> Fraction:
    """A frame rate that the header can say: long decimals are rounded to a near fraction."""
    rate = parse_rate(fps)
    return (
        rate if rate.denominator <= _MAX_DENOMINATOR else rate.limit_denominator(_MAX_DENOMINATOR)
    )


def _metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is stored: who made the file, and what the user adds."""
    whole = {"encoder": f"gancodec {_VERSION}", **(metadata or {})}
    try:
        json.dumps(whole, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"metadata must be JSON: {error}") from error
    return whole
