"""Folders, numbered patterns and single pictures as frame sources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from gancodec.errors import InputError

from .demux import Demuxer, describe_failure
from .frames import Timed
from .notices import Notices
from .probe import DEFAULT_FPS, chroma_location_of

PICTURE_SUFFIXES = frozenset(
    f".{kind}"
    for kind in (
        *("png", "jpg", "jpeg", "jpe", "webp", "bmp", "tif", "tiff", "tga", "qoi"),
        *("ppm", "pgm", "pnm", "pam", "jp2", "dpx", "exr"),
    )
)
_PRINTF = re.compile(r"%(0?)(\d*)d")


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key by which ``frame2.png`` comes before ``frame10.png``."""
    parts = re.findall(r"\d+|\D+", name.casefold())
    return tuple((0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts)


def find_pictures(source: Path) -> list[Path] | None:
    """The pictures that ``source`` names, in order; None when it names none of these.

    A folder gives its pictures in natural order, ``frame_%04d.png`` the files of that form by
    number, a picture file itself.

    Raises:
        InputError: for a folder or a pattern without pictures.
    """
    if source.is_dir():
        found = [p for p in source.iterdir() if p.is_file() and _is_picture(p)]
        if not found:
            raise InputError(
                f"{source} is a folder without pictures: put png, jpg or webp files in it, "
                "or name a video file"
            )
        return sorted(found, key=lambda p: natural_key(p.name))
    if source.is_file():
        return [source] if _is_picture(source) else None
    if _PRINTF.search(source.name):
        return _match_pattern(source)
    return None


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def _match_pattern(source: Path) -> list[Path]:
    match = _PRINTF.search(source.name)
    assert match is not None
    width = int(match[2] or 0)
    digits = rf"\d{{{width},}}" if match[1] and width else r"\d+"
    before, after = source.name[: match.start()], source.name[match.end() :]
    pattern = re.compile(
        re.escape(before.replace("%%", "%")) + f"({digits})" + re.escape(after.replace("%%", "%"))
    )
    folder = source.parent
    numbered = [
        (int(found[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (found := pattern.fullmatch(path.name))
    ]
    if not numbered:
        raise InputError(f"no file has the form {source}: check the path and the digits")
    return [path for _, path in sorted(numbered)]


class PictureFrames:
    """One frame a picture file, at a constant rate; ticks are frame numbers."""

    def __init__(self, paths: list[Path], fps: Fraction | None, notices: Notices) -> None:
        self._paths = paths
        self._notices = notices
        self.fps = fps or DEFAULT_FPS
        self.time_base = 1 / self.fps
        self.frame_count: int | None = len(paths)
        self.duration: Fraction | None = len(paths) / self.fps
        self.chroma_location = 0
        self._demuxer: Demuxer | None = None
        self._stream: VideoStream | None = None

    def stream(self) -> VideoStream:
        assert self._stream is not None, "a frame was read before"
        return self._stream

    def start_time(self) -> Fraction:
        return Fraction(0)

    def frames(self, at: int | None = None) -> Iterator[Timed]:
        for number in range(max(at or 0, 0), len(self._paths)):
            yield number, self._load(self._paths[number])

    def _load(self, path: Path) -> VideoFrame:
        self.close()
        demuxer = Demuxer(path, str(path), self._notices)
        self._demuxer, self._stream = demuxer, demuxer.video_stream()
        if self.chroma_location == 0:
            self.chroma_location = chroma_location_of(demuxer.container, self._stream)
        demuxer.want([self._stream])
        try:
            for packet in demuxer.packets(self._stream):
                frames: list[VideoFrame] = packet.decode()
                if frames:
                    return frames[0]
        except (av.FFmpegError, OSError) as error:
            raise describe_failure(str(path), error) from error
        raise InputError(f"{path} holds no picture: remove it or copy it again")

    def close(self) -> None:
        if self._demuxer is not None:
            self._demuxer.close()
            self._demuxer = None
