"""Frames through libavcodec and back, in this process and on the planes as they are.

Both ways are for one codec's raw packets: what the codecs of `classic`, `stills` and `external`
share, and what `anchors` is built on.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import av
import numpy as np
from av.codec.context import Flags
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from gancodec.errors import InputError, UsageError
from gancodec.types import FrameBatch, Plane, VideoInfo
from gancodec.video.mux import to_frame
from gancodec.video.probe import CHROMA_LOCATIONS, FULL_RANGE

_LIMITED_RANGE = 1
_EIGHT_BITS = {"yuv420p", "yuvj420p"}  # the second is JPEG's name for full range
_TEN_BITS = "yuv420p10le"
# How the wrappers of x264, x265 and SVT-AV1 say that they leave out one of their own parameters.
_REFUSED = re.compile(r"Error parsing option|Unknown option|Invalid value")


def encode_packets(
    encoder: str,
    frames: FrameBatch,
    info: VideoInfo,
    options: Mapping[str, str],
    *,
    threads: int = 1,
    global_header: bool = False,
) -> tuple[bytes, list[bytes]]:
    """All frames coded: the header (empty unless ``global_header``) and a packet a picture.

    Args:
        encoder: libavcodec's name.
        frames: 8-bit 4:2:0 planes, coded as they are.
        info: size, rate and colours; the colours are written where the format has a place.
        options: of the encoder and of libavcodec, such as ``g`` for the longest GOP.
        threads: 0 lets the encoder choose.
        global_header: take what every key frame would repeat out of the packets.

    Raises:
        UsageError: an option that is not known, or pictures that the encoder cannot code.
    """
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, VideoCodecContext)
    if global_header:
        context.flags |= Flags.global_header
    packets = [bytes(p) for p in _encode(context, frames, info, options, threads)]
    return context.extradata or b"" if global_header else b"", packets


def encode_file(
    format: str,
    encoder: str,
    frames: FrameBatch,
    info: VideoInfo,
    options: Mapping[str, str],
    *,
    threads: int = 1,
) -> bytes:
    """All frames coded, in a container (libavformat's name); otherwise as `encode_packets`."""
    file = io.BytesIO()
    with av.open(file, "w", format=format, options={"fflags": "+bitexact"}) as output:
        stream = output.add_stream(encoder, rate=info.fps)
        assert isinstance(stream, VideoStream)
        for packet in _encode(stream.codec_context, frames, info, options, threads):
            output.mux(packet)
    return file.getvalue()


def _encode(
    context: VideoCodecContext,
    frames: FrameBatch,
    info: VideoInfo,
    options: Mapping[str, str],
    threads: int,
) -> Iterator[Packet[VideoStream]]:
    context.width, context.height, context.pix_fmt = info.width, info.height, "yuv420p"
    context.framerate, context.time_base = info.fps, 1 / info.fps
    context.thread_count = threads
    context.color_primaries = info.color.primaries
    context.color_trc = info.color.transfer
    context.colorspace = info.color.matrix
    context.color_range = FULL_RANGE if info.color.full_range else _LIMITED_RANGE
    context.options = dict(options)
    if location := info.color.chroma_location:
        context.options |= {"chroma_sample_location": CHROMA_LOCATIONS[location]}
    with _messages() as messages:
        try:
            context.open()
            _check_options(context.name, context.options, messages)
            for n in range(len(frames)):
                frame = to_frame(frames, n, info)
                frame.pts, frame.time_base = n, 1 / info.fps  # by number: rate control sees the fps
                yield from context.encode(frame)
            yield from context.encode(None)
        except av.FFmpegError as error:
            said = "; ".join(text.strip() for _, _, text in messages) or error.strerror
            raise UsageError(
                f"{context.name} cannot code {len(frames)} frames of {info.width}x{info.height} "
                f"with {dict(options)}: {said}"
            ) from error


def _check_options(
    encoder: str, left: Mapping[str, str], messages: list[tuple[int, str, str]]
) -> None:
    """libavcodec leaves unknown options where they were; the libraries behind it only warn."""
    refused = [text.strip() for _, _, text in messages if _REFUSED.search(text)]
    refused += [f"unknown option {name!r}" for name in left]
    if refused:
        raise UsageError(f"{encoder} does not take what it was given: {'; '.join(refused)}")


@contextmanager
def _messages() -> Iterator[list[tuple[int, str, str]]]:
    """What libav says in this thread from warnings upwards, instead of on the terminal."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture() as said:
            yield said
    finally:
        av.logging.set_level(before)


def decode_frames(data: bytes, format: str, *, threads: int = 1) -> FrameBatch:
    """All frames of a file in order of presentation, pts 0, 1, 2 ...

    Samples of ten bits are rounded to eight: a quarter of their value.

    Args:
        data: the file.
        format: libavformat's name of it.
        threads: 0 lets the decoder choose.

    Raises:
        InputError: it cannot be decoded, holds no frame, or is not 4:2:0.
    """
    planes: tuple[list[Plane], list[Plane], list[Plane]] = ([], [], [])
    try:
        with av.open(io.BytesIO(data), "r", format=format) as container:
            context = container.streams.video[0].codec_context if container.streams.video else None
            if context is None:
                raise InputError(f"this {format} file holds no video that can be decoded here")
            context.thread_count = threads
            for frame in container.decode(video=0):
                for found, plane in zip(planes, _planes_of(frame), strict=True):
                    found.append(plane)
    except av.FFmpegError as error:
        raise InputError(
            f"a {format} file of {len(data)} bytes breaks off after {len(planes[0])} frames: "
            f"{error.strerror}"
        ) from error
    if not planes[0]:
        raise InputError(f"a {format} file of {len(data)} bytes holds no frame")
    y, u, v = map(np.stack, planes)
    return FrameBatch(y, u, v, np.arange(len(y), dtype=np.int64))


def _planes_of(frame: VideoFrame) -> Iterator[Plane]:
    """Copies of the planes y (H, W), u and v (ceil(H/2), ceil(W/2)), 8 bits."""
    kind = frame.format.name
    if kind not in _EIGHT_BITS and kind != _TEN_BITS:
        raise InputError(f"decoded pictures are {kind}, not 4:2:0 of 8 or 10 bits")
    for plane in frame.planes:
        if kind == _TEN_BITS:
            samples = np.frombuffer(memoryview(plane), "<u2").reshape(plane.height, -1)
            yield to_eight_bits(samples[:, : plane.width])
        else:
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
            yield rows[:, : plane.width].copy()


def to_eight_bits(samples: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> Plane:
    """Ten-bit samples to eight, rounded: the reverse of a shift by two bits to the left."""
    rounded: Plane = np.minimum((samples + np.uint16(2)) >> 2, 255).astype(np.uint8)
    return rounded


def libav_versions() -> dict[str, str]:
    """Of PyAV and of the libavcodec in it, which holds the encoders, too."""
    major, minor, micro = av.library_versions["libavcodec"]
    return {"av": av.__version__, "libavcodec": f"{major}.{minor}.{micro}"}
