"""The end of a recipe: trained nets become a model that ``encode`` and ``decode`` can use."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import gancodec
from gancodec.models.compress import GanCodec
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


def card_of(codec: GanCodec, recipe: Recipe) -> dict[str, Any]:
    """What anybody must know about weights: how they came about, from what, under which terms."""
    parts = {name: parameter_count(module) for name, module in codec.named_children()}
    return {
        "summary": recipe.summary,
        "licence": recipe.licence,
        "data": recipe.credits,
        "config": dataclasses.asdict(codec.config),
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
