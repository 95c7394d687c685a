"""GHDR, the first chunk of a ``.gvc`` file, and the limits of a reader.

Every value is checked here, before anything is allocated from it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from gancodec.errors import CorruptError, LimitError, UnsupportedError

MAJOR = 1
MINOR = 0

U16_MAX = (1 << 16) - 1
U32_MAX = (1 << 32) - 1
U64_MAX = (1 << 64) - 1
I64_MIN, I64_MAX = -(1 << 63), (1 << 63) - 1
UNKNOWN_COUNT = U64_MAX  # n_frames of a stream whose length was not known when it began

CHROMA_420 = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader accepts; raise a limit only for files you trust.

    Attributes:
        side, pixels: of one picture, in luma samples.
        gop_frames, frames: frames in one GOP and in the file.
        chunk_bytes: payload of one chunk; ``json_bytes`` and ``icc_bytes`` are tighter ones.
        tracks, chunks: audio tracks and chunks in the file.
    """

    side: int = 16384
    pixels: int = 1 << 26
    gop_frames: int = 1024
    frames: int = 1 << 26
    chunk_bytes: int = 64 << 20
    json_bytes: int = 64 << 10
    icc_bytes: int = 4 << 20
    tracks: int = 8
    chunks: int = 1 << 24

    def payload_bytes(self, kind: bytes) -> int:
        """The longest payload accepted for a chunk of this type."""
        if kind == b"meta":
            return min(self.chunk_bytes, self.json_bytes)
        if kind == b"iccP":
            return min(self.chunk_bytes, self.icc_bytes)
        return self.chunk_bytes


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class _Field:
    """One entry of the GHDR byte layout: a name, its struct code and the values allowed."""

    name: str
    code: str
    low: int = 0
    high: int = 0


# In file order; "II" is a rational. The last eight bytes are reserved: written 0, never read.
_FIELDS = (
    _Field("major", "H", MAJOR, MAJOR),
    _Field("minor", "H", 0, U16_MAX),
    _Field("min_reader_minor", "H", 0, U16_MAX),
    _Field("flags", "H", 0, U16_MAX),
    _Field("width", "I", 1, U32_MAX),
    _Field("height", "I", 1, U32_MAX),
    _Field("bit_depth", "B", 1, 16),
    _Field("chroma", "B", 0, 3),
    _Field("primaries", "B", 0, 255),
    _Field("transfer", "B", 0, 255),
    _Field("matrix", "B", 0, 255),
    _Field("full_range", "B", 0, 1),
    _Field("chroma_location", "B", 0, 6),
    _Field("quarter_turns", "B", 0, 3),
    _Field("sample_aspect_ratio", "II", 1, U32_MAX),
    _Field("time_base", "II", 1, U32_MAX),
    _Field("fps", "II", 1, U32_MAX),
    _Field("n_frames", "Q", 0, U64_MAX),
    _Field("start_pts", "q", I64_MIN, I64_MAX),
    _Field("max_gop_frames", "I", 1, U32_MAX),
    _Field("max_gop_bytes", "I", 1, U32_MAX),
    _Field("stream_id", "Q", 0, U64_MAX),
    _Field("settings_hash", "Q", 0, U64_MAX),
)
_STRUCT = struct.Struct("<" + "".join(f.code for f in _FIELDS) + "8x")
HEADER_BYTES = _STRUCT.size  # 96

# Bit 0, 1, 2, 3 of ``flags``. Other bits are reserved: written 0, ignored by readers.
_FLAGS = ("variable_rate", "has_audio", "frames_known", "deltas_omitted")


@dataclass(frozen=True, slots=True)
class Header:
    """What GHDR says about the video. Times are exact fractions.

    Attributes:
        width, height: of the stored picture in luma samples, before ``quarter_turns``.
        fps: nominal rate; ``time_base`` is the length of one pts tick in seconds.
        chroma: 0 grey, 1 4:2:0, 2 4:2:2, 3 4:4:4. ``primaries``, ``transfer``, ``matrix`` are
            CICP code points; ``chroma_location`` is 0 unspecified, 1 left, 2 centre, 3 top-left ...
        quarter_turns: clockwise turns of 90 degrees that show the picture upright.
        n_frames: how many frames the encoder expected, None if it could not know. GEND has the
            true number.
        start_pts: time of the first frame.
        max_gop_frames, max_gop_bytes: no GOP of the file has more frames or a longer payload.
        stream_id, settings_hash: what was encoded and how; an encode is resumed only if equal.
        variable_rate: frames are not evenly spaced.
        deltas_omitted: every frame lasts exactly ``frame_ticks``, so GOPS stores no deltas.

    Raises:
        ValueError: a value does not fit its field or contradicts another.
    """

    width: int
    height: int
    fps: Fraction
    time_base: Fraction
    sample_aspect_ratio: Fraction = Fraction(1)
    bit_depth: int = 8
    chroma: int = CHROMA_420
    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    full_range: bool = False
    chroma_location: int = 0
    quarter_turns: int = 0
    n_frames: int | None = None
    start_pts: int = 0
    max_gop_frames: int = 1024
    max_gop_bytes: int = 64 << 20
    stream_id: int = 0
    settings_hash: int = 0
    variable_rate: bool = False
    has_audio: bool = False
    deltas_omitted: bool = False
    minor: int = MINOR
    min_reader_minor: int = 0

    def __post_init__(self) -> None:
        for field, value in zip(_FIELDS, self._values(), strict=True):
            for number in value:
                if not field.low <= number <= field.high:
                    raise ValueError(f"{field.name} is {field.low} to {field.high}, got {number}")
        if self.n_frames == UNKNOWN_COUNT:
            raise ValueError("an unknown number of frames is None")
        if self.min_reader_minor > self.minor:
            raise ValueError(
                f"version 1.{self.minor} cannot ask for a reader of 1.{self.min_reader_minor}"
            )
        if self.deltas_omitted and (self.variable_rate or self.frame_ticks is None):
            raise ValueError(
                f"deltas can be omitted only where a frame lasts a whole number of ticks, "
                f"got fps {self.fps} and time base {self.time_base}"
            )

    def _values(self) -> list[tuple[int, ...]]:
        """The numbers of every field in file order."""
        values: list[tuple[int, ...]] = []
        for field in _FIELDS:
            value = getattr(self, field.name)
            if field.code == "II":
                values.append((value.numerator, value.denominator))
            else:
                values.append((UNKNOWN_COUNT if value is None else int(value),))
        return values

    @property
    def major(self) -> int:
        """The version of the format; readers of another major version refuse the file."""
        return MAJOR

    @property
    def frames_known(self) -> bool:
        """Whether the encoder knew how many frames it would get."""
        return self.n_frames is not None

    @property
    def flags(self) -> int:
        """The flag word of GHDR."""
        return sum(getattr(self, name) << bit for bit, name in enumerate(_FLAGS))

    @property
    def frame_ticks(self) -> int | None:
        """How many ticks of the time base one frame lasts, None where that is not whole."""
        ticks = 1 / (self.fps * self.time_base)
        return ticks.numerator if ticks.denominator == 1 else None

    def pack(self) -> bytes:
        """The 96-byte GHDR payload."""
        return _STRUCT.pack(*(number for value in self._values() for number in value))

    @classmethod
    def unpack(cls, payload: bytes, limits: Limits = DEFAULT_LIMITS) -> Header:
        """Read a GHDR payload; what a newer minor version appended is ignored.

        Raises:
            UnsupportedError: a newer version, or a picture format this reader does not know.
            LimitError: a picture or GOP size beyond ``limits``.
            CorruptError: anything impossible.
        """
        _check_version(payload)
        numbers = iter(_STRUCT.unpack_from(payload))
        fields: dict[str, Any] = {}
        for field in _FIELDS:
            value = next(numbers)
            if field.code == "II":
                denominator = next(numbers)
                if not value or not denominator:
                    raise CorruptError(
                        f"the header says {field.name} is {value}/{denominator}; "
                        "fetch the file again"
                    )
                value = Fraction(value, denominator)
            fields[field.name] = value
        flags = fields.pop("flags")
        fields.pop("major")
        fields.update({name: bool(flags >> bit & 1) for bit, name in enumerate(_FLAGS)})
        if fields.pop("frames_known") != (fields["n_frames"] != UNKNOWN_COUNT):
            raise CorruptError("the header contradicts itself about the number of frames")
        if fields["n_frames"] == UNKNOWN_COUNT:
            fields["n_frames"] = None
        try:
            header = cls(**fields)
        except ValueError as error:
            raise CorruptError(f"the header is impossible: {error}") from error
        header._check_support(limits)
        return header

    def _check_support(self, limits: Limits) -> None:
        """Refuse what is well-formed but more than this reader, or its limits, can take."""
        if self.bit_depth != 8 or self.chroma != CHROMA_420:
            raise UnsupportedError(
                f"the video has {self.bit_depth} bits and chroma format {self.chroma}, this "
                "version decodes 8-bit 4:2:0 only; install a newer gancodec"
            )
        for name, value, most in (
            ("width", self.width, limits.side),
            ("height", self.height, limits.side),
            ("picture size in samples", self.width * self.height, limits.pixels),
            ("number of frames", self.n_frames or 0, limits.frames),
            ("number of frames in a GOP", self.max_gop_frames, limits.gop_frames),
            ("size of a GOP in bytes", self.max_gop_bytes, limits.chunk_bytes),
        ):
            if value > most:
                raise LimitError(
                    f"the {name} is {value}, the limit {most}; raise it if you trust the file"
                )

    def to_dict(self) -> dict[str, Any]:
        """All fields under their names, ready for JSON: rationals and hashes become text."""
        shown: dict[str, Any] = {}
        for field in _FIELDS:
            value = getattr(self, field.name)
            if field.name == "flags":
                shown.update({name: getattr(self, name) for name in _FLAGS})
            elif field.code == "II":
                shown[field.name] = f"{value.numerator}/{value.denominator}"
            elif field.name in ("stream_id", "settings_hash"):
                shown[field.name] = f"{value:016x}"
            else:
                shown[field.name] = value
        return shown


def _check_version(payload: bytes) -> None:
    """Raise unless this reader may interpret the GHDR payload."""
    if len(payload) < 6:
        raise CorruptError(f"the header has {len(payload)} bytes, {HEADER_BYTES} are needed")
    major, minor, min_reader = struct.unpack_from("<3H", payload)
    if major > MAJOR or (major == MAJOR and min_reader > MINOR):
        raise UnsupportedError(
            f"the file is version {major}.{minor} and needs a reader of {major}.{min_reader}, "
            f"this one is {MAJOR}.{MINOR}; install a newer gancodec"
        )
    if major < MAJOR:
        raise CorruptError(f"the header says version {major}.{minor}, there is no such version")
    if len(payload) < HEADER_BYTES:
        raise CorruptError(f"the header has {len(payload)} bytes, {HEADER_BYTES} are needed")
