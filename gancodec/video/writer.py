"""Video out: exact frames, visually lossless files with sound, or pictures, by the target's name.

out.y4m, -             exact frames (YUV4MPEG2)
out.mkv .mp4 .mov      H.264, visually lossless, with the sound; lossless: FFV1 (mkv), H.264
out.webm               VP9, with the sound
out_%04d.png, folder/  RGB pictures
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from gancodec.errors import InputError, UsageError
from gancodec.types import VideoInfo

from .mux import CONTAINERS, MuxWriter
from .partial import PartialFile
from .stills import StillsWriter
from .targets import PipeTarget, VideoWriter
from .y4m import Y4mWriter

_KINDS = {
    **{f".{kind}": kind for kind in CONTAINERS},
    ".m4v": "mp4",
    ".y4m": "y4m",
    ".png": "png",
}

Target = str | Path | BinaryIO


def open_writer(
    target: Target,
    info: VideoInfo,
    *,
    lossless: bool = False,
    audio: Mapping[int, bytes] | None = None,
    format: str | None = None,
) -> VideoWriter:
    """Open a target for frames of ``info``; an existing file is replaced when the writer closes.

    Args:
        target: a file name, ``-`` for standard output, or a binary stream open for writing.
        info: size, times, colour and shape of the frames to come.
        lossless: exact frames also in a container (FFV1, or H.264 and VP9 without loss).
        audio: the Matroska header of every sound track that ``write_audio`` will bring.
        format: y4m, mkv, mp4, mov, webm or png, where the name does not say it.

    Raises:
        UsageError: when the kind of file is unknown or cannot go there.
        InputError: when the target cannot be written.
        CorruptError: when a sound header is damaged.
    """
    tracks = dict(audio or {})
    stream = _stream_of(target)
    if stream is not None:
        kind = format or "y4m"
        pipe = PipeTarget(stream)
        if kind == "y4m":
            return Y4mWriter(pipe, info, bool(tracks))
        if kind not in CONTAINERS:
            raise UsageError(f"cannot write {kind} to a pipe: use y4m, {', '.join(CONTAINERS)}")
        return MuxWriter(pipe, info, kind, lossless=lossless, audio=tracks)
    assert isinstance(target, str | Path)
    path = Path(target)
    kind = format or _kind_of(target, path)
    if kind == "png":
        return StillsWriter(path, info, bool(tracks))
    if kind == "y4m":
        return Y4mWriter(PartialFile(path), info, bool(tracks))
    if kind not in CONTAINERS:
        raise UsageError(f"cannot write {kind}: use y4m, png, {', '.join(CONTAINERS)}")
    return MuxWriter(PartialFile(path), info, kind, lossless=lossless, audio=tracks)


def _stream_of(target: Target) -> BinaryIO | None:
    if isinstance(target, str | Path):
        return sys.stdout.buffer if target == "-" else None
    return target


def _kind_of(target: str | Path, path: Path) -> str:
    if path.is_dir() or str(target).endswith("/"):
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {path}: {error.strerror}") from error
        return "png"
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        known = " ".join(_KINDS)
        raise UsageError(f"{path.name} does not say what to write: use one of {known}")
    return kind
