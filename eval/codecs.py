"""What a codec is to the evaluation: frames to the bytes of a file, and back.

    class Mine:
        suffix = ".bin"                                          # optional, of stored files
        def __init__(self, quality: float, **settings): ...
        def encode(self, clip: Clip) -> bytes: ...               # the whole file
        def decode(self, data: bytes) -> FrameBatch: ...         # from nothing but the file

That is all: name it in a suite as ``kind = "package.module:Mine"``, or hand it to `run` in Python.
One object is a codec at one setting. ``decode`` may be called on another object, in another
process, so whatever it needs travels in the file. What a user would have to store counts, so rates
are the length of ``encode``'s bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol

from gancodec.errors import UsageError
from gancodec.eval.clips import Clip
from gancodec.types import FrameBatch


class Codec(Protocol):
    """A codec at one setting. See the module's example.

    Optional attributes: ``suffix`` (str, of stored files, ".bin" unless given), ``versions`` (dict
    of str to str: what coded it, for the records) and ``scores_quality`` (bool; False where only
    the seconds mean something, as with nets of random weights).
    """

    def encode(self, clip: Clip) -> bytes:
        """The whole file of a clip."""

    def decode(self, data: bytes) -> FrameBatch:
        """The frames of a file, pts 0, 1, 2 ..."""


# Called as factory(quality=..., **settings of the suite's entry)
Factory = Callable[..., Codec]

# By the name that a suite's `kind = "..."` uses; imported when first asked for.
KINDS: dict[str, str] = {
    "gvc": "gancodec.eval.own:GvcCodec",
    "x264": "gancodec.eval.classic:X264",
    "x265": "gancodec.eval.classic:X265",
    "svtav1": "gancodec.eval.classic:SvtAv1",
    "vp9": "gancodec.eval.classic:Vp9",
    "vvenc": "gancodec.eval.external:VvEnc",
    "libaom": "gancodec.eval.external:LibAom",
    "jpeg": "gancodec.eval.stills:Jpeg",
    "webp": "gancodec.eval.stills:WebP",
    "avif": "gancodec.eval.stills:Avif",
    "compressai": "gancodec.eval.neural:CompressAiCodec",
    "enhanced": "gancodec.eval.enhanced:EnhancedCodec",
    "restored": "gancodec.eval.restored:RestoredCodec",
}


def find_factory(kind: str, extra: Mapping[str, Factory] | None = None) -> Factory:
    """The maker of a kind of codec: one of ``extra``, one of `KINDS`, or ``module:name``.

    Raises:
        UsageError: there is none of that name.
    """
    if extra and kind in extra:
        return extra[kind]
    target = KINDS.get(kind, kind)
    module, colon, name = target.partition(":")
    if not colon:
        known = ", ".join(sorted({*KINDS, *(extra or {})}))
        raise UsageError(
            f"there is no codec {kind!r}; there are: {known}; or name your own as module:Class"
        )
    try:
        factory: Factory = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"the codec {kind!r} cannot be imported: {error}; install its package, or name the "
            "folder of its module in PYTHONPATH"
        ) from error
    return factory


def build_codec(
    kind: str,
    quality: float,
    settings: Mapping[str, Any] | None = None,
    extra: Mapping[str, Factory] | None = None,
) -> Codec:
    """A codec at one quality.

    Raises:
        UsageError: no such codec, or settings that it does not know or take.
    """
    factory = find_factory(kind, extra)
    try:
        return factory(quality=quality, **(settings or {}))
    except TypeError as error:
        raise UsageError(f"the codec {kind!r} does not take these settings: {error}") from error
