"""gancodec: a learned video codec for people. See README.md.

    import gancodec

    stats = gancodec.encode("in.mp4", "out.gvc", quality=20)
    gancodec.decode("out.gvc", "out.mp4")
    gancodec.enhance("small.mp4", "large.mp4", "sr", scale=2)
    with gancodec.open("out.gvc") as video:
        clip = video[120:150]

Every name is loaded when it is first used, so the import itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gancodec.codec import Decoder, Encoder
    from gancodec.config import EncodeOptions
    from gancodec.enhancer import Enhancement, Enhancer, list_enhancers, load_enhancer
    from gancodec.errors import (
        BitstreamError,
        CorruptError,
        GancodecError,
        InputError,
        LimitError,
        ModelError,
        TruncatedError,
        UnsupportedError,
        UsageError,
    )
    from gancodec.fileio import (
        DecodeStats,
        EncodeStats,
        EnhanceStats,
        Progress,
        VerifyReport,
        Video,
        decode,
        encode,
        enhance,
        open,
        verify,
    )
    from gancodec.registry import find_model, list_models, load_model
    from gancodec.types import Color, FrameBatch, FrameType, Packet, VideoInfo

__version__ = "0.1.0"

__all__ = [
    "BitstreamError",
    "Color",
    "CorruptError",
    "DecodeStats",
    "Decoder",
    "EncodeOptions",
    "EncodeStats",
    "Encoder",
    "EnhanceStats",
    "Enhancement",
    "Enhancer",
    "FrameBatch",
    "FrameType",
    "GancodecError",
    "InputError",
    "LimitError",
    "ModelError",
    "Packet",
    "Progress",
    "TruncatedError",
    "UnsupportedError",
    "UsageError",
    "VerifyReport",
    "Video",
    "VideoInfo",
    "__version__",
    "decode",
    "encode",
    "enhance",
    "find_model",
    "list_enhancers",
    "list_models",
    "load_enhancer",
    "load_model",
    "open",
    "verify",
]

_HOMES = {
    **dict.fromkeys(("Decoder", "Encoder"), "gancodec.codec"),
    **dict.fromkeys(
        ("Enhancement", "Enhancer", "list_enhancers", "load_enhancer"), "gancodec.enhancer"
    ),
    "EncodeOptions": "gancodec.config",
    **dict.fromkeys(("Color", "FrameBatch", "FrameType", "Packet", "VideoInfo"), "gancodec.types"),
    **dict.fromkeys(("find_model", "list_models", "load_model"), "gancodec.registry"),
    **dict.fromkeys(
        ("DecodeStats", "EncodeStats", "EnhanceStats", "Progress", "VerifyReport", "Video"),
        "gancodec.fileio",
    ),
    **dict.fromkeys(("decode", "encode", "enhance", "open", "verify"), "gancodec.fileio"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gancodec' has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "gancodec.errors")), name)
    globals()[name] = value  # so that this is asked once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
