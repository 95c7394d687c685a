"""What a ``.gvc`` file says about itself besides its header: models, HDR light levels, metadata."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gancodec.bitstream.header import U16_MAX, U32_MAX
from gancodec.errors import CorruptError

ROLE_ENTROPY = 0  # nothing decodes without exactly these weights
ROLE_SYNTHESIS = 1
ROLE_OTHER = 2

_MODEL = struct.Struct("<BBH32s")
_MODEL_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which weights a file was made with.

    Attributes:
        role: ROLE_ENTROPY, ROLE_SYNTHESIS or ROLE_OTHER.
        arch_version: version of the architecture the weights belong to.
        sha256: 32 bytes, of the whole safetensors file.
        name: letters, digits, ``.``, ``_`` and ``-``; never a path.
    """

    role: int
    arch_version: int
    sha256: bytes
    name: str

    def __post_init__(self) -> None:
        if not 0 <= self.role <= 255 or not 0 <= self.arch_version <= U16_MAX:
            raise ValueError(f"role {self.role} or version {self.arch_version} does not fit")
        if len(self.sha256) != 32:
            raise ValueError(f"a SHA-256 has 32 bytes, got {len(self.sha256)}")
        if not _MODEL_NAME.fullmatch(self.name):
            raise ValueError(f"a model's name has letters, digits, . _ and -, got {self.name!r}")


def pack_models(models: Sequence[ModelRef]) -> bytes:
    """The MODL payload."""
    if not 1 <= len(models) <= 255:
        raise ValueError(f"a file names 1 to 255 models, got {len(models)}")
    parts = [bytes([len(models)])]
    for m in models:
        name = m.name.encode("ascii")
        parts += [_MODEL.pack(m.role, len(name), m.arch_version, m.sha256), name]
    return b"".join(parts)


def unpack_models(payload: bytes) -> tuple[ModelRef, ...]:
    """Read a MODL payload.

    Raises:
        CorruptError: it is not what FORMAT.md says.
    """
    models: list[ModelRef] = []
    at = 1
    for _ in range(payload[0] if payload else 0):
        if at + _MODEL.size > len(payload):
            raise CorruptError("the list of models ends early; fetch the file again")
        role, name_bytes, arch_version, sha256 = _MODEL.unpack_from(payload, at)
        at += _MODEL.size
        name = payload[at : at + name_bytes].decode("ascii", errors="replace")
        at += name_bytes
        try:
            models.append(ModelRef(role, arch_version, sha256, name))
        except ValueError as error:
            raise CorruptError(f"the list of models is impossible: {error}") from error
    if not models or at != len(payload):
        raise CorruptError("the list of models has a wrong length; fetch the file again")
    return tuple(models)


_MASTERING = struct.Struct("<8H2I2H")


@dataclass(frozen=True, slots=True)
class Mastering:
    """Mastering display (SMPTE ST 2086) and light levels (CTA-861.3), in their integer units.

    ``red``, ``green``, ``blue``, ``white`` are (x, y) in 1/50000; luminances in 1/10000 cd/m2;
    ``max_cll`` and ``max_fall`` in cd/m2, 0 if unknown.
    """

    red: tuple[int, int]
    green: tuple[int, int]
    blue: tuple[int, int]
    white: tuple[int, int]
    max_luminance: int
    min_luminance: int
    max_cll: int = 0
    max_fall: int = 0

    def __post_init__(self) -> None:
        for xy in (self.red, self.green, self.blue, self.white):
            if len(xy) != 2 or not all(0 <= v <= 50000 for v in xy):
                raise ValueError(f"a chromaticity is two numbers of 0 to 50000, got {xy}")
        if not 0 <= self.min_luminance <= self.max_luminance <= U32_MAX:
            raise ValueError(f"luminance {self.min_luminance} to {self.max_luminance} is no range")
        if not (0 <= self.max_cll <= U16_MAX and 0 <= self.max_fall <= U16_MAX):
            raise ValueError(f"light levels {self.max_cll}, {self.max_fall} do not fit 16 bits")

    def pack(self) -> bytes:
        """The 28-byte hdrM payload."""
        points = (*self.red, *self.green, *self.blue, *self.white)
        light = (self.max_luminance, self.min_luminance, self.max_cll, self.max_fall)
        return _MASTERING.pack(*points, *light)

    @classmethod
    def unpack(cls, payload: bytes) -> Mastering:
        """Read an hdrM payload.

        Raises:
            CorruptError: wrong length or impossible numbers.
        """
        if len(payload) != _MASTERING.size:
            raise CorruptError(f"hdrM has {len(payload)} bytes instead of {_MASTERING.size}")
        v = _MASTERING.unpack(payload)
        try:
            return cls((v[0], v[1]), (v[2], v[3]), (v[4], v[5]), (v[6], v[7]), *v[8:])
        except ValueError as error:
            raise CorruptError(f"hdrM is impossible: {error}") from error


def pack_metadata(metadata: dict[str, Any]) -> bytes:
    """The meta payload: canonical JSON, so that equal metadata gives equal bytes.

    Raises:
        ValueError, TypeError: it cannot be written as JSON.
    """
    text = json.dumps(
        metadata, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    return text.encode("utf-8")


def unpack_metadata(payload: bytes) -> dict[str, Any]:
    """Read a meta payload. The text comes from a stranger: escape it before printing.

    Raises:
        CorruptError: not a JSON object in UTF-8.
    """
    try:
        value = json.loads(
            payload.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite
        )
        # Lone surrogates parse but cannot be printed or written back.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"the metadata is not readable JSON ({type(error).__name__})") from error
    if not isinstance(value, dict):
        raise CorruptError(f"the metadata is a JSON {type(value).__name__}, not an object")
    return value


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value
