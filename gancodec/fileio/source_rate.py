"""How many bits a source spends on a luma sample, which enhancers of coded pictures are told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gancodec.bitstream import Gop
from gancodec.errors import InputError
from gancodec.types import VideoInfo
from gancodec.video.demux import Demuxer
from gancodec.video.pictures import find_pictures
from gancodec.video.reader import VideoReader

MAX_RATE = 2.0  # bits a luma sample; beyond, no codec has left a mark that could be seen


def rate_of_video(path: Path | None, reader: VideoReader) -> float | None:
    """Bits a luma sample of a video's pictures; None if nothing was lost, or nobody knows.

    Files are looked through, all of them whatever part is wanted; ``path`` None is a pipe, of
    which the container may say how many bits a second its pictures have.
    """
    info = reader.info
    if path is None:
        declared = reader.declared_bit_rate
        return None if declared is None else _plausible(float(declared / info.fps), info)
    if find_pictures(path) is not None:
        return None
    size = _mean_packet(path)
    return None if size is None else _plausible(8 * size, info)


def rate_of_gops(gops: Iterable[Gop], info: VideoInfo) -> float | None:
    """The same of coded GOPs, without what holds them together; None if there is none."""
    size = frames = 0
    for gop in gops:
        size += sum(len(frame.data) for frame in gop.frames)
        frames += len(gop.frames)
    return _plausible(8 * size / frames, info) if frames else None


def _plausible(bits_per_frame: float, info: VideoInfo) -> float | None:
    rate = bits_per_frame / (info.width * info.height)
    return rate if 0 < rate <= MAX_RATE else None


def _mean_packet(path: Path) -> float | None:
    """Bytes a picture of a file; None if its codec loses nothing."""
    demuxer = Demuxer(path, str(path))
    size = count = 0
    try:
        stream = demuxer.video_stream()
        if not stream.codec_context.codec.lossy:
            return None
        demuxer.want([stream])
        for packet in demuxer.packets(stream):
            if packet.size and not packet.is_discard:
                size += packet.size
                count += 1
    except InputError:
        pass  # a broken end: what came before it tells enough
    finally:
        demuxer.close()
    return size / count if count else None
