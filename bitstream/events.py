"""What a reader meets in a ``.gvc`` stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from gancodec.bitstream.descriptions import Mastering
from gancodec.bitstream.gops import Gop


@dataclass(frozen=True, slots=True)
class AudioInit:
    """The Matroska header of an audio track."""

    track: int
    data: bytes


@dataclass(frozen=True, slots=True)
class AudioData:
    """A piece of an audio track's Matroska clusters, to append to its header."""

    track: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Metadata:
    """A descriptive chunk: "meta" gives a dict, "iccP" bytes, "hdrM" a `Mastering`."""

    kind: Literal["meta", "iccP", "hdrM"]
    value: dict[str, Any] | bytes | Mastering


@dataclass(frozen=True, slots=True)
class Damage:
    """Something wrong that a concealing reader has stepped over."""

    byte_offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """The end mark: how many frames were written."""

    frames: int


Event = Gop | AudioInit | AudioData | Metadata | Damage | End
