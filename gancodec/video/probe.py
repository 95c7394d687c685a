"""What a stream and its first frame say about a clip."""

from __future__ import annotations

import re
import threading
from fractions import Fraction

import av
import av.logging
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from gancodec.types import Color

from .times import exact

DEFAULT_FPS = Fraction(25)
# A rate above this is the tick rate of a variable frame rate file, not a frame rate.
MAX_PLAUSIBLE_FPS = 480

UNSPECIFIED = 2  # in CICP primaries, transfer and matrix
FULL_RANGE = 2  # AVColorRange; 1 is limited, 0 unspecified
CHROMA_LOCATIONS = ("unspecified", "left", "center", "topleft", "top", "bottomleft", "bottom")

_log_lock = threading.Lock()


def nominal_fps(stream: VideoStream) -> Fraction:
    """The frame rate to call the clip by; 25 where the container says nothing usable."""
    guessed, average = exact(stream.guessed_rate), exact(stream.average_rate)
    if guessed is not None and guessed > MAX_PLAUSIBLE_FPS and average is not None:
        return average
    return guessed or average or DEFAULT_FPS


def rotation_of(frame: VideoFrame) -> int:
    """Degrees clockwise that show the frame upright: 0, 90, 180 or 270.

    FFmpeg's display matrix turns counter-clockwise; odd angles go to the nearest quarter turn.
    """
    return round(-frame.rotation / 90) % 4 * 90


def sample_aspect_ratio_of(stream: VideoStream) -> Fraction:
    """Width of a sample over its height, 1 where unknown.

    Some codecs say it in their bitstream alone, so the decoder is asked too (after a frame).
    """
    from_stream = exact(stream.sample_aspect_ratio)
    from_decoder = exact(stream.codec_context.sample_aspect_ratio)
    ratio = from_stream or from_decoder or Fraction(1)
    return ratio if ratio > 0 else Fraction(1)


def color_of(frame: VideoFrame, stream: VideoStream, chroma_location: int) -> Color:
    """The colour tags of the frame, or of its stream where the frame has none."""
    context = stream.codec_context

    def tag(of_frame: int, of_stream: int) -> int:
        return of_frame if of_frame != UNSPECIFIED else of_stream

    return Color(
        primaries=tag(frame.color_primaries, context.color_primaries),
        transfer=tag(frame.color_trc, context.color_trc),
        matrix=tag(frame.colorspace, context.colorspace),
        full_range=(frame.color_range or context.color_range) == FULL_RANGE
        or frame.format.name.startswith("yuvj"),
        chroma_location=chroma_location,
    )


def chroma_location_of(container: InputContainer, stream: VideoStream) -> int:
    """AVChromaLocation of the stream, 0 where unknown.

    PyAV has no property for it; FFmpeg's own description of the stream names it, at the verbose
    log level only. Called once after opening, before any decoder thread runs.
    """
    with _log_lock:
        level, skip = av.logging.get_level(), av.logging.get_skip_repeated()
        av.logging.set_level(av.logging.VERBOSE)
        av.logging.set_libav_level(av.logging.VERBOSE)
        av.logging.set_skip_repeated(False)
        try:
            text = str(container.dumps_format())  # type: ignore[attr-defined]  # PyAV's stubs lack it
        finally:
            av.logging.set_skip_repeated(skip)
            av.logging.set_libav_level(av.logging.INFO)
            av.logging.set_level(level)
    line = re.search(rf"Stream #\d+:{stream.index}\b[^\n]*: Video: ([^\n]*)", text)
    if line is None:
        return 0
    for group in re.findall(r"\(([^()]*)\)", line[1]):
        for word in group.split(","):
            if word.strip() in CHROMA_LOCATIONS[1:]:
                return CHROMA_LOCATIONS.index(word.strip())
    return 0
