"""What a ``.gvc`` file says about itself, without decoding it and without torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from typing import Any, BinaryIO

from gancodec.bitstream import AudioData, AudioInit, Damage, End, Gop, Mastering, Reader
from gancodec.bitstream.chunks import FRAMING_BYTES
from gancodec.errors import InputError

_ROLES = {0: "entropy", 1: "synthesis"}
_KINDS = {0: "intra", 1: "inter"}
_CHUNK_BYTES = FRAMING_BYTES + 1  # around a piece of sound, with its track number


def probe(source: str | os.PathLike[str] | BinaryIO, *, packets: bool = False) -> dict[str, Any]:
    """Header, models, metadata, GOPs, sound and sizes of a file, ready for JSON.

    Damage does not stop it: ``complete`` is then false, and ``damage`` says what is wrong. Text
    in the file comes from a stranger: escape it before printing.

    Args:
        source: a file, or a binary stream that is open for reading.
        packets: list every frame, too: kind, bytes, quality, time.

    Raises:
        InputError: it cannot be read.
        BitstreamError: it is not even the beginning of a ``.gvc`` file, or needs a newer version.
    """
    if not isinstance(source, str | os.PathLike):
        return _Survey(Reader(source, conceal=True), packets).to_dict()
    name = os.fspath(source)
    try:
        with open(name, "rb") as stream:
            return _Survey(Reader(stream, conceal=True), packets).to_dict()
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist: check the path") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error


class _Survey:
    """Counts what passes by."""

    def __init__(self, reader: Reader, packets: bool) -> None:
        self._reader = reader
        self._header = reader.header
        self._gops: list[dict[str, Any]] = []
        self._packets: list[dict[str, Any]] | None = [] if packets else None
        self._tracks: dict[int, dict[str, int]] = {}
        self._damage: list[dict[str, Any]] = []
        self._complete = False
        self._frames = self._intra_frames = self._frame_bytes = 0
        self._quality_sum = 0
        self._last_pts: int | None = None
        for event in reader.events():
            if isinstance(event, Gop):
                self._add_gop(event)
            elif isinstance(event, AudioInit):
                self._tracks[event.track] = {"track": event.track, "bytes": 0, "chunks": 0}
                self._add_sound(event.track, len(event.data))
            elif isinstance(event, AudioData):
                self._add_sound(event.track, len(event.data))
            elif isinstance(event, Damage):
                self._damage.append({"offset": event.byte_offset, "reason": event.reason})
            elif isinstance(event, End):
                self._complete = True

    def _add_sound(self, track: int, size: int) -> None:
        self._tracks[track]["bytes"] += size + _CHUNK_BYTES
        self._tracks[track]["chunks"] += 1

    def _add_gop(self, gop: Gop) -> None:
        size = sum(len(frame.data) for frame in gop.frames)
        self._gops.append(
            {
                "first_frame": self._frames,
                "frames": len(gop.frames),
                "pts": gop.pts[0],
                "seconds": float(gop.pts[0] * self._header.time_base),
                "offset": gop.offset,
                "bytes": size,
                "sound": not gop.bad_frames,
            }
        )
        for record in self._packets_of(gop):
            self._quality_sum += record["quality"] or 0
            self._intra_frames += record["kind"] == "intra"
            if self._packets is not None:
                self._packets.append(record)
        self._frames += len(gop.frames)
        self._frame_bytes += size
        self._last_pts = gop.pts[-1]

    def _packets_of(self, gop: Gop) -> Iterator[dict[str, Any]]:
        for n, (pts, frame) in enumerate(zip(gop.pts, gop.frames, strict=True)):
            yield {
                "frame": self._frames + n,
                "kind": _KINDS.get(frame.kind, str(frame.kind)),
                "bytes": len(frame.data),
                "quality": frame.data[0] if frame.data else None,
                "pts": pts,
                "seconds": float(pts * self._header.time_base),
            }

    def _seconds(self) -> Fraction:
        if self._last_pts is None:
            return Fraction(0)
        h = self._header
        return (self._last_pts - h.start_pts) * h.time_base + 1 / h.fps

    def to_dict(self) -> dict[str, Any]:
        """All of it under plain names."""
        reader, seconds = self._reader, self._seconds()
        found: dict[str, Any] = {
            "complete": self._complete and not self._damage,
            "frames": self._frames,
            "intra_frames": self._intra_frames,
            "duration": float(seconds),
            "mean_quality": round(self._quality_sum / self._frames, 2) if self._frames else None,
            "sizes": self._sizes(seconds),
            "header": self._header.to_dict(),
            "models": [
                {
                    "role": _ROLES.get(ref.role, str(ref.role)),
                    "name": ref.name,
                    "architecture": ref.arch_version,
                    "sha256": ref.sha256.hex(),
                }
                for ref in reader.models
            ],
            "metadata": reader.metadata,
            "icc_bytes": None if reader.icc is None else len(reader.icc),
            "mastering": _mastering(reader.mastering),
            "audio_tracks": [self._tracks[track] for track in sorted(self._tracks)],
            "gops": self._gops,
            "damage": self._damage,
        }
        if self._packets is not None:
            found["packets"] = self._packets
        return found

    def _sizes(self, seconds: Fraction) -> dict[str, Any]:
        """Bytes of pictures, sound and what holds them together, and the rates they make."""
        total = self._reader.position
        audio = sum(track["bytes"] for track in self._tracks.values())
        kbps = [float(n * 8 / seconds / 1000) if seconds else None for n in (total, total - audio)]
        samples = self._frames * self._header.width * self._header.height
        return {
            "bytes": total,
            "frame_bytes": self._frame_bytes,
            "audio_bytes": audio,
            "container_bytes": total - audio - self._frame_bytes,
            "kbps": kbps[0],
            "video_kbps": kbps[1],
            "bits_per_pixel": (total - audio) * 8 / samples if samples else None,
            "audio_share": audio / total,
            "container_share": (total - audio - self._frame_bytes) / total,
        }


def _mastering(mastering: Mastering | None) -> dict[str, Any] | None:
    return None if mastering is None else asdict(mastering)
