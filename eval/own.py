"""gancodec itself, as a user has it: the bytes of a real ``.gvc`` file, and frames from them."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import numpy as np

from gancodec import fileio
from gancodec.config import REALISM, EncodeOptions, Preset
from gancodec.errors import UsageError
from gancodec.eval.clips import Clip
from gancodec.registry import list_models, load_model
from gancodec.types import FrameBatch
from gancodec.video.writer import open_writer

_DEFAULTS = EncodeOptions()


class GvcCodec:
    """``gancodec encode`` and ``gancodec.open``.

    Args:
        quality: 0 (worst) to 63.
        preset, gop, scene_cuts, model: as for `gancodec.encode`.
        realism: of the decoder: 0 shows the faithful picture, 1 all of the synthesis head.
        jobs: processes to encode in; the bytes do not depend on it.

    Raises:
        UsageError: a setting out of range.
        ModelError: there is no such model.
    """

    suffix = ".gvc"

    def __init__(
        self,
        quality: float,
        *,
        preset: Preset = _DEFAULTS.preset,
        gop: int = _DEFAULTS.gop,
        scene_cuts: bool = _DEFAULTS.scene_cuts,
        model: str = _DEFAULTS.model,
        realism: float = REALISM,
        jobs: int = 1,
    ) -> None:
        if model not in list_models():
            model = load_model(model).name  # of a folder
        if not 0 <= realism <= 1:
            raise UsageError(f"realism is 0 to 1, got {realism}")
        self._options = EncodeOptions(
            quality=float(quality), gop=gop, preset=preset, scene_cuts=scene_cuts, model=model
        )
        self._realism = realism
        self._jobs = jobs
        entry = list_models()[model]
        self.versions = {
            "gancodec": sys.modules["gancodec"].__version__,
            "torch": sys.modules["torch"].__version__,
            "model": model,
            **{f"model {part}": entry[part]["sha256"][:12] for part in ("codec", "detail")},
        }

    def encode(self, clip: Clip) -> bytes:
        """The whole file of a clip, without sound.

        The clip reaches the encoder as a lossless mp4: its times are exact, so they cost no more
        than those of the usual source, and it keeps colours, aspect ratio and rotation.
        """
        options = self._options
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "clip.mp4"), Path(folder, "clip.gvc")
            with open_writer(source, clip.info, lossless=True) as writer:
                writer.write(clip.frames)
            fileio.encode(
                source,
                target,
                quality=options.quality,
                preset=options.preset,
                gop=options.gop,
                scene_cuts=options.scene_cuts,
                model=options.model,
                audio="none",
                jobs=self._jobs,
            )
            return target.read_bytes()

    def decode(self, data: bytes) -> FrameBatch:
        """The frames of a file with this object's realism, pts 0, 1, 2 ..."""
        with fileio.open(io.BytesIO(data), realism=self._realism) as video:
            shown = video[:]
        return FrameBatch(shown.y, shown.u, shown.v, np.arange(len(shown), dtype=np.int64))
