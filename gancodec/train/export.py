"""From a finished run to the weights that ship: integer priors, probability tables, card.

The tables are counted: the real encoder runs over training clips at all qualities, with parametric
tables first, and what it codes under each table index becomes that table, smoothed by the
parametric one. Nothing is computed from floats on the machine that decodes.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor

from gancodec.bitstream import TableSet, laplace_tables, logistic_tables, tables_from_histograms
from gancodec.codec import Encoder
from gancodec.config import CodecConfig, EncodeOptions
from gancodec.errors import UsageError
from gancodec.models.compress import GanCodec
from gancodec.models.motion_coding import CONTEXTS
from gancodec.nn.prior import SCALES, logistic_scale
from gancodec.registry import (
    ARCHITECTURE,
    ENTROPY,
    SYNTHESIS,
    TABLE_COUNT,
    Model,
    float_names,
    known_answer_of,
)
from gancodec.types import FrameBatch, VideoInfo

TAIL = 2.0**-14  # of a latent's distribution, left to the escape symbol
_ACTIVITIES = 3
_MOTION_SCALES = (0.5, 1.5, 4.0, 10.0, 25.0, 40.0)  # a context each, quarter samples
_SPLIT_CHANCES = (0.02, 0.05, 0.15, 0.25, 0.35, 0.2)


def parametric_tables() -> TableSet:
    """Tables to start from: logistic latents, Laplacian motion residuals, coin-flip splits."""
    latents = logistic_tables([float(logistic_scale(k)) for k in range(SCALES)], TAIL)
    motion = [s for s in _MOTION_SCALES for _ in range(_ACTIVITIES)]
    vectors = laplace_tables([*_MOTION_SCALES, *motion], TAIL)
    splits = [
        np.array([round((1 - p) * 65530), 65535 - round((1 - p) * 65530), 1])
        for p in _SPLIT_CHANCES
    ]
    subs = laplace_tables([6.0] * (1 + _ACTIVITIES), TAIL)
    assert len(splits) == CONTEXTS
    frequencies = [*latents.frequencies * 3, *vectors.frequencies, *splits, *subs.frequencies]
    offsets = [*list(latents.offsets) * 3, *vectors.offsets, *[0] * CONTEXTS, *subs.offsets]
    tables = TableSet(frequencies, np.array(offsets, np.int32))
    assert len(tables) == TABLE_COUNT
    return tables


class _Counter(Encoder):
    """The real encoder, which also counts what it codes under each table."""

    def __init__(self, info: VideoInfo, options: EncodeOptions, model: Model) -> None:
        super().__init__(info, options, model=model)
        self.counts: list[npt.NDArray[np.int64]] = [
            np.zeros(len(f), np.int64) for f in model.tables.frequencies
        ]

    def _note(self, values: npt.NDArray[np.int32], index: npt.NDArray[np.uint8]) -> None:
        super()._note(values, index)
        for total, seen in zip(
            self.counts, self.model.tables.histograms(values, index), strict=True
        ):
            total += seen


def count_tables(
    model: Model, clips: Iterable[tuple[VideoInfo, FrameBatch]], qualities: Iterable[float]
) -> TableSet:
    """Tables fitted to what the encoder codes on ``clips`` at ``qualities``."""
    levels = list(qualities)
    totals = [np.zeros(len(f), np.int64) for f in model.tables.frequencies]
    for number, (info, batch) in enumerate(clips):
        quality = levels[number % len(levels)]
        counter = _Counter(info, EncodeOptions(quality=quality, gop=16), model)
        for _ in counter.encode(batch):
            pass
        for total, seen in zip(totals, counter.counts, strict=True):
            total += seen
    return tables_from_histograms(totals, parametric_tables())


def freeze(nets: GanCodec, name: str = "unnamed", tables: TableSet | None = None) -> Model:
    """A model in memory from trained nets: integer priors, parametric tables unless given."""
    nets.eval().requires_grad_(False)
    for part in (nets.intra, nets.inter):
        part.prior.freeze()
    return Model(name, nets, tables or parametric_tables(), ())


def thaw(model: Model, **changes: object) -> GanCodec:
    """Nets to train on from, copied from a frozen model.

    Args:
        changes: fields of the architecture to set anew; tensors must keep their shapes. With any of
            the synthesis head's, the head starts fresh.

    Raises:
        UsageError: they do not, or there is no such field.
    """
    nets = copy.deepcopy(model.nets)
    for part in (nets.intra, nets.inter):
        part.prior.thaw()
    if changes:
        try:
            config = CodecConfig.from_dict({**dataclasses.asdict(nets.config), **changes})
            changed = GanCodec(config)
            state = nets.state_dict()
            if any(name.startswith("synthesis_") for name in changes):
                new = changed.detail.state_dict(prefix="detail.")
                state = {n: t for n, t in state.items() if not n.startswith("detail.")} | new
            changed.load_state_dict(state)
        except (ValueError, RuntimeError) as error:
            raise UsageError(f"{model.name} cannot be changed so: {error}") from error
        nets = changed
    return nets.train().requires_grad_(True)


def write_model(model: Model, folder: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Write both weights files and the manifest's entry of a frozen model; gives the entry."""
    folder.mkdir(parents=True, exist_ok=True)
    own = dict(model.nets.named_parameters())
    floats = {n: own[n].detach().float().contiguous() for n in float_names(model.nets)}
    detail = {n: t for n, t in floats.items() if n.startswith("detail.")}
    codec: dict[str, Tensor] = {n: t for n, t in floats.items() if n not in detail}
    for part in ("intra", "inter"):
        prior = getattr(model.nets, part).prior
        codec.update({f"integers.{part}.{n}": t.contiguous() for n, t in prior.integers().items()})
    codec.update({f"tables.{k}": torch.from_numpy(v) for k, v in model.tables.to_arrays().items()})
    meta = {
        "format": "gancodec",
        "architecture": str(ARCHITECTURE),
        "config": json.dumps(dataclasses.asdict(model.nets.config)),
        "known_answer": known_answer_of(model.nets),
    }
    entry: dict[str, Any] = {"architecture": ARCHITECTURE}
    for role, tensors in (("codec", codec), ("detail", detail)):
        path = folder / f"{model.name}.{role}.safetensors"
        save_file(tensors, path, {**meta, "role": str(ENTROPY if role == "codec" else SYNTHESIS)})
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        entry[role] = {"file": path.name, "sha256": digest}
    entry["card"] = card
    manifest = folder / "manifest.json"
    entries = json.loads(manifest.read_text()) if manifest.exists() else {}
    entries[model.name] = entry
    manifest.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n")
    return entry
