"""Any codec with a function of your own after its decoder: restoration, denoising, a GAN.

    [[codec]]
    kind = "enhanced"
    base = "svtav1"
    base_settings = { preset = 6 }
    enhance = "mypackage.filters:sharpen"

The function takes the decoded `FrameBatch` and gives one of equal size. It sees nothing else: what
is not in the file, a decoder does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from gancodec.errors import UsageError
from gancodec.eval.clips import Clip
from gancodec.eval.codecs import build_codec
from gancodec.types import FrameBatch


class EnhancedCodec:
    """A codec, and what is done to its pictures after decoding.

    Args:
        quality: of the codec beneath.
        base: its kind, or ``module:Class``.
        base_settings: what it is told.
        enhance: ``module:function``, from the decoded frames to those that are shown.

    Raises:
        UsageError: there is no such codec or function.
    """

    def __init__(
        self,
        quality: float,
        *,
        base: str,
        enhance: str,
        base_settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._base = build_codec(base, quality, base_settings)
        module, _, name = enhance.partition(":")
        try:
            self._enhance = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UsageError(
                f"enhance is module:function, and {enhance!r} cannot be imported: {error}"
            ) from error
        self._name = enhance
        self.suffix = getattr(self._base, "suffix", ".bin")
        self.scores_quality = getattr(self._base, "scores_quality", True)
        self.versions = {**getattr(self._base, "versions", {}), "enhance": enhance}

    def encode(self, clip: Clip) -> bytes:
        """The file of the codec beneath."""
        return self._base.encode(clip)

    def decode(self, data: bytes) -> FrameBatch:
        """Its frames, enhanced.

        Raises:
            UsageError: the function gives something else than as many frames of this size.
        """
        frames = self._base.decode(data)
        shown = self._enhance(frames)
        if not isinstance(shown, FrameBatch) or shown.y.shape != frames.y.shape:
            raise UsageError(f"{self._name} gave {shown!r} for {frames!r}, not its equal in size")
        return shown
