"""A recipe: one TOML file that says everything a training run depends on."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from gancodec.config import CodecConfig
from gancodec.errors import InputError, UsageError
from gancodec.models.restore import RestorerConfig
from gancodec.train.adversarial import AdversarialStage
from gancodec.train.joint import JointStage
from gancodec.train.kernels import KernelStage
from gancodec.train.restoring import RestoreAdversarialStage, RestoreStage
from gancodec.train.stages import InterStage, IntraStage, Stage

# Of the codec, and of an enhancer, whose [model] names its task.
CODEC_STAGES: dict[str, Any] = {
    "intra": IntraStage,
    "inter": InterStage,
    "joint": JointStage,
    "adversarial": AdversarialStage,
}
ENHANCER_STAGES: dict[str, Any] = {
    "blur-kernel": KernelStage,
    "restore": RestoreStage,
    "restore-adversarial": RestoreAdversarialStage,
}
STAGES = CODEC_STAGES | ENHANCER_STAGES


@dataclass(frozen=True, slots=True)
class StageRecipe:
    """Optimisation of one stage. ``options`` go to the stage itself (frames, window ...)."""

    name: str
    steps: int
    batch: int
    learning_rate: float
    patch: int = 128
    clip: float = 1.0
    seed: int = 0
    save_seconds: float = 180.0
    device: str = "cpu"
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, nets: nn.Module, recipe: Recipe) -> Stage:
        """The stage, with its data opened."""
        stage: Stage = STAGES[self.name](
            nets,
            recipe.data,
            recipe.cache,
            batch=self.batch,
            patch=self.patch,
            **self.options,
        )
        return stage


@dataclass(frozen=True, slots=True)
class Recipe:
    """Data, architecture and stages of a run."""

    folder: Path
    data: list[Path]
    stages: list[StageRecipe]
    cache: Path
    config: CodecConfig | RestorerConfig = field(default_factory=CodecConfig)
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    name: str = "trained.v1"
    summary: str = ""
    licence: str = "unknown"
    credits: tuple[str, ...] = ()
    start_from: str = ""  # a model to train on from, instead of fresh nets
    changes: dict[str, Any] = field(default_factory=dict)  # of its architecture, or the default

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Parse a recipe; relative folders are relative to where the command runs.

        Raises:
            InputError: when the file cannot be read.
            UsageError: naming what is wrong in it.
        """
        try:
            raw = tomllib.loads(path.read_text())
        except OSError as error:
            raise InputError(f"cannot read the recipe {path}: {error.strerror}") from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{path} is not valid TOML: {error}") from error
        try:
            return cls._from_dict(raw)
        except (TypeError, KeyError, ValueError) as error:
            raise UsageError(f"{path}: {error}") from error

    @classmethod
    def _from_dict(cls, raw: dict[str, Any]) -> Recipe:
        run = raw["run"]
        device = run.get("device", "cpu")
        names = {f.name for f in dataclasses.fields(StageRecipe)}
        stages = []
        changes: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in raw.get("model", {}).items()
        }
        enhances = "task" in changes
        known_stages = ENHANCER_STAGES if enhances else CODEC_STAGES
        for entry in raw["stage"]:
            if entry.get("name") not in known_stages:
                raise ValueError(
                    f"a stage is one of {', '.join(known_stages)}, got {entry.get('name')!r}"
                )
            known = {k: v for k, v in entry.items() if k in names}
            options = {
                k: tuple(v) if isinstance(v, list) else v
                for k, v in entry.items()
                if k not in names
            }
            stages.append(
                StageRecipe(**known, seed=run.get("seed", 0), device=device, options=options)
            )
        return cls(
            folder=Path(run["folder"]),
            data=[Path(p) for p in run["data"]],
            cache=Path(run.get("cache", "runs/cache")),
            stages=stages,
            config=RestorerConfig(**changes)
            if enhances
            else dataclasses.replace(CodecConfig(), **changes),
            changes=changes,
            seed=run.get("seed", 0),
            threads=run.get("threads", 1),
            device=device,
            name=run.get("name", "trained.v1"),
            summary=run.get("summary", ""),
            licence=run.get("licence", "unknown"),
            credits=tuple(run.get("credits", ())),
            start_from=run.get("start_from", ""),
        )
