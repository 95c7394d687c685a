"""What a clip is, to and from the header of its file: the one place where the two meet."""

from __future__ import annotations

from fractions import Fraction

from gancodec.bitstream import Header
from gancodec.types import Color, VideoInfo

_U32_MAX = (1 << 32) - 1


def header_of(
    info: VideoInfo,
    *,
    start_pts: int,
    constant_rate: bool,
    max_gop_frames: int,
    has_audio: bool,
    n_frames: int | None,
    stream_id: int,
    settings_hash: int,
) -> Header:
    """The header of a file with these frames.

    Args:
        info: the frames; with ``constant_rate``, one lasts exactly 1 / ``fps``.
        start_pts: time of the first frame, in ticks.
        constant_rate: store no frame times beside the first of each GOP.
        max_gop_frames: no GOP will have more.
        has_audio: whether sound tracks will be written.
        n_frames: how many frames there will be, None unless that is certain.
        stream_id: which input, `settings_hash`: coded how; for resuming.
    """
    color = info.color
    return Header(
        width=info.width,
        height=info.height,
        fps=_in_32_bits(info.fps),
        time_base=info.time_base,
        sample_aspect_ratio=_in_32_bits(info.sample_aspect_ratio),
        primaries=color.primaries,
        transfer=color.transfer,
        matrix=color.matrix,
        full_range=color.full_range,
        chroma_location=color.chroma_location,
        quarter_turns=info.rotation // 90,
        n_frames=n_frames,
        start_pts=start_pts,
        max_gop_frames=max_gop_frames,
        stream_id=stream_id,
        settings_hash=settings_hash,
        variable_rate=not constant_rate,
        has_audio=has_audio,
        deltas_omitted=constant_rate,
    )


def info_of(header: Header, frames: int | None = None) -> VideoInfo:
    """The clip that a header describes; ``frames`` where its true number is known."""
    return VideoInfo(
        width=header.width,
        height=header.height,
        fps=header.fps,
        time_base=header.time_base,
        color=Color(
            primaries=header.primaries,
            transfer=header.transfer,
            matrix=header.matrix,
            full_range=header.full_range,
            chroma_location=header.chroma_location,
        ),
        sample_aspect_ratio=header.sample_aspect_ratio,
        rotation=header.quarter_turns * 90,
        frames=header.n_frames if frames is None else frames,
    )


def ticks_per_frame(info: VideoInfo) -> int:
    """Ticks of the time base that a frame lasts nominally, at least one."""
    return max(round(1 / (info.fps * info.time_base)), 1)


def _in_32_bits(value: Fraction) -> Fraction:
    """The nearest fraction of two 32-bit numbers: scaling can make aspect ratios of many digits."""
    if max(value.numerator, value.denominator) <= _U32_MAX:
        return value
    if value > 1:
        return 1 / (1 / value).limit_denominator(_U32_MAX)
    return value.limit_denominator(_U32_MAX)
