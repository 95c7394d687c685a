"""The end of a recipe: trained nets become a model that ``encode`` and ``decode`` can use."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

import gancodec
from gancodec.enhancer import DETAILED, FAITHFUL
from gancodec.models.compress import GanCodec
from gancodec.models.restore import Restorer, RestorerConfig
from gancodec.registry import Model, parameter_count
from gancodec.train.data import Samples, prepare_patches
from gancodec.train.export import count_tables, freeze, write_model
from gancodec.train.recipe import Recipe
from gancodec.types import FrameBatch, VideoInfo

COUNTED_CLIPS = 192  # sequences behind the probability tables
COUNTED_LEVELS = (4, 10, 16, 22, 28, 34, 40, 46, 52, 58)


def clips_of(
    patches: Samples, size: int, count: int, seed: int = 0
) -> Iterator[tuple[VideoInfo, FrameBatch]]:
    """Some of the prepared sequences, (N, T, 3/2 size^2), as clips."""
    half = size // 2
    info = VideoInfo(size, size, Fraction(25), Fraction(1, 25))
    rng = np.random.default_rng(seed)
    for row in rng.choice(len(patches), min(count, len(patches)), replace=False):
        flat = patches[row]
        y, u, v = np.split(flat, [size * size, size * size + half * half], 1)
        frames = len(flat)
        yield (
            info,
            FrameBatch(
                y.reshape(frames, size, size).copy(),
                u.reshape(frames, half, half).copy(),
                v.reshape(frames, half, half).copy(),
                np.arange(frames, dtype=np.int64),
            ),
        )


def publish(codec: GanCodec, recipe: Recipe) -> dict[str, Any]:
    """Freeze the nets, count the tables, write weights, card and manifest below the run's folder.

    Gives the manifest's entry. `gancodec encode --model FOLDER` takes the folder as it is.
    """
    options = next((s.options for s in recipe.stages if s.name == "inter"), {})
    patch = next((s.patch for s in recipe.stages if s.name == "inter"), recipe.stages[0].patch)
    keys = ("length", "crops")
    numbers = {k: options[k] for k in keys if k in options}
    patches = prepare_patches(recipe.data, recipe.cache, size=patch, **numbers)
    model = freeze(codec, recipe.name)
    tables = count_tables(
        model, clips_of(np.load(patches, mmap_mode="r"), patch, COUNTED_CLIPS), COUNTED_LEVELS
    )
    model = Model(recipe.name, model.nets, tables, ())
    return write_model(model, recipe.folder / "model", card_of(codec, recipe))


def publish_enhancer(
    config: RestorerConfig, stages: list[dict[str, Tensor]], recipe: Recipe
) -> dict[str, Any]:
    """Write an enhancer's weights after its first and its last stage, card and manifest.

    Gives the manifest's entry. `gancodec enhance --model FOLDER` takes the folder as it is.
    """
    sets = {FAITHFUL: stages[0], **({DETAILED: stages[-1]} if len(stages) > 1 else {})}
    card = card_of(Restorer(config), recipe)
    return write_enhancer(recipe.name, config, sets, recipe.folder / "model", card)


def write_enhancer(
    name: str,
    config: RestorerConfig,
    sets: dict[str, dict[str, Tensor]],
    folder: Path,
    card: dict[str, Any],
) -> dict[str, Any]:
    """Write sets of weights as half floats, and the manifest's entry, which it gives."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{kind}.{key}": tensor.half().contiguous()
        for kind, weights in sets.items()
        for key, tensor in weights.items()
    }
    path = folder / f"{name}.safetensors"
    # one entry: safetensors writes several in any order, and the same weights have one SHA-256
    meta = {"config": json.dumps(dataclasses.asdict(config))}
    save_file(tensors, path, meta)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry: dict[str, Any] = {"file": path.name, "sha256": digest, "card": card}
    manifest = folder / "manifest.json"
    entries = json.loads(manifest.read_text()) if manifest.exists() else {}
    entries[name] = entry
    manifest.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n")
    return entry


def card_of(nets: GanCodec | Restorer, recipe: Recipe) -> dict[str, Any]:
    """What anybody must know about weights: how they came about, from what, under which terms."""
    parts = {name: parameter_count(module) for name, module in nets.named_children()}
    return {
        "summary": recipe.summary,
        "licence": recipe.licence,
        "data": recipe.credits,
        "config": dataclasses.asdict(nets.config),
        "parameters": parts,
        "stages": {s.name: stage_card(recipe, s.name) for s in recipe.stages},
        "version": gancodec.__version__,
        "commit": _commit(),
    }


def stage_card(recipe: Recipe, name: str) -> dict[str, Any]:
    """Settings of a stage and the means of its last logged numbers."""
    stage = next(s for s in recipe.stages if s.name == name)
    journal = recipe.folder / f"{name}.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()[-50:]]
    numbers = {
        key: round(float(np.mean([line[key] for line in lines])), 4)
        for key in ("loss", "bpp", "psnr_y", "psnr_y_gain", "seconds")
        if lines and key in lines[0]
    }
    settings = {"batch": stage.batch, "patch": stage.patch, "learning_rate": stage.learning_rate}
    return {
        "steps": lines[-1]["step"] if lines else 0,
        **settings,
        **stage.options,
        "last": numbers,
    }


def _commit() -> str:
    """The commit of the code, or "unknown" outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
