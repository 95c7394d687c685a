"""The training loop: one recipe, one command, resumable to the step.

    gancodec train recipe.toml                                   one process
    torchrun --nproc_per_node=2 -m gancodec train recipe.toml    data parallel, any backend

Two one-thread processes beat one two-thread process on a busy CPU, where OpenMP's barriers spin.
Everything a run needs to go on lies in one safetensors file a stage: weights, their moving
average, the optimizer's moments, the step. Random numbers come from (seed, step, rank), so a
resumed run sees the batches that an unbroken one would have seen.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gancodec.enhancer import load_enhancer
from gancodec.errors import UsageError
from gancodec.models.compress import GanCodec
from gancodec.models.restore import Restorer, RestorerConfig
from gancodec.registry import load_model
from gancodec.train.export import thaw
from gancodec.train.muon import Muon, is_matrix
from gancodec.train.publish import publish, publish_enhancer
from gancodec.train.recipe import Recipe, StageRecipe
from gancodec.train.stages import Stage

Log = Callable[[str], None]
EMA_DECAY = 0.999
WARM_UP = 100  # steps
HELPERS = "helpers."  # names of what trains along and does not ship


class Workers:
    """The processes of torchrun, or just this one."""

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """One all-reduce of all gradients."""
        if self.count == 1:
            return
        flat = torch.cat([_gradient(p).flatten() for p in parameters])
        dist.all_reduce(flat)
        flat /= self.count
        start = 0
        for p in parameters:
            p.grad = flat[start : start + p.numel()].view_as(p)
            start += p.numel()

    def wait(self) -> None:
        """Until all processes are here: the first one may still be writing."""
        if self.count > 1:
            dist.barrier()

    def close(self) -> None:
        if self.count > 1:
            dist.destroy_process_group()


def _gradient(p: nn.Parameter) -> Tensor:
    return torch.zeros_like(p) if p.grad is None else p.grad


class StageState:
    """What a stage must remember to go on exactly where it stopped."""

    def __init__(
        self,
        module: nn.Module,
        parameters: list[nn.Parameter],
        lr: float,
        helpers: nn.Module | None = None,
    ) -> None:
        names = {id(p): n for n, p in module.named_parameters()}
        if helpers is not None:
            names |= {id(p): f"{HELPERS}{n}" for n, p in helpers.named_parameters()}
        self.names = [names[id(p)] for p in parameters]
        self.parameters = parameters
        matrices = [p for p in parameters if is_matrix(p)]
        taken = {id(p) for p in matrices}
        others = [p for p in parameters if id(p) not in taken]
        # other names for the state of the two, so that a checkpoint says which made it
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        if matrices:  # a narrow net has none
            self.optimizers["muon"] = Muon(matrices, lr, weight_decay=1e-4)
        if others:
            self.optimizers["adam"] = torch.optim.AdamW(others, lr, weight_decay=1e-4)
        self.average = [p.detach().clone() for p in parameters]
        self.step = 0
        self.skipped = 0

    def set_learning_rate(self, lr: float) -> None:
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = lr

    def update_average(self) -> None:
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)

    def save(self, path: Path) -> None:
        """Write all state to ``path`` at once (through a temporary name)."""
        tensors: dict[str, Tensor] = {}
        for name, p, a in zip(self.names, self.parameters, self.average, strict=True):
            tensors[f"weight/{name}"] = p.detach().contiguous()
            tensors[f"average/{name}"] = a.contiguous()
            for kind, optimizer in self.optimizers.items():
                for key, value in optimizer.state.get(p, {}).items():
                    tensors[f"{kind}/{key}/{name}"] = value.contiguous()
        part = path.with_suffix(".part")
        save_file(tensors, part, {"step": str(self.step), "skipped": str(self.skipped)})
        part.replace(path)

    def load(self, path: Path) -> None:
        """Go back to what `save` wrote."""
        with safe_open(path, "pt") as file:
            meta = file.metadata()
            self.step, self.skipped = int(meta["step"]), int(meta["skipped"])
            keys = set(file.keys())
            for name, p, a in zip(self.names, self.parameters, self.average, strict=True):
                with torch.no_grad():
                    p.copy_(file.get_tensor(f"weight/{name}"))
                    a.copy_(file.get_tensor(f"average/{name}"))
                for kind, optimizer in self.optimizers.items():
                    state = {
                        # AdamW counts its steps on the CPU, its moments live where the weights do
                        key: file.get_tensor(f"{kind}/{key}/{name}").to(
                            "cpu" if key == "step" else p.device
                        )
                        for key in ("step", "exp_avg", "exp_avg_sq", "momentum")
                        if f"{kind}/{key}/{name}" in keys
                    }
                    if state:
                        optimizer.state[p] = state


def load_average(module: nn.Module, path: Path) -> int:
    """Put a stage's averaged weights into ``module``; gives the step they are from."""
    own = dict(module.named_parameters())
    with safe_open(path, "pt") as file, torch.no_grad():
        for key in file.keys():  # noqa: SIM118  (safe_open is no mapping)
            name = key.removeprefix("average/")
            if name != key and not name.startswith(HELPERS):
                own[name].copy_(file.get_tensor(key))
        return int(file.metadata()["step"])


def is_finished(recipe: StageRecipe, checkpoint: Path) -> bool:
    """Whether an earlier run has trained this stage to its end."""
    if not checkpoint.exists():
        return False
    with safe_open(checkpoint, "pt") as file:
        return int(file.metadata()["step"]) >= recipe.steps


def learning_rate(recipe: StageRecipe, step: int) -> float:
    """Warm-up, then a cosine down to 2 % of the peak."""
    warm = min(1.0, (step + 1) / WARM_UP)
    wave = 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.steps)))
    return recipe.learning_rate * warm * (0.02 + 0.98 * wave)


def run_stage(
    nets: nn.Module,
    stage: Stage,
    recipe: StageRecipe,
    folder: Path,
    workers: Workers,
    log: Log,
    *,
    fresh: bool = True,
) -> None:
    """Train one stage to its end, or go on where an earlier run stopped.

    ``fresh`` nets are initialised from the data first; others are trained on as they are.
    """
    state = StageState(nets, stage.parameters(), recipe.learning_rate, stage.helpers)
    checkpoint = folder / f"{recipe.name}.safetensors"
    if checkpoint.exists():
        state.load(checkpoint)
    elif fresh:
        stage.start()
        state.average = [p.detach().clone() for p in state.parameters]
    last_save = time.monotonic()
    with (folder / f"{recipe.name}.jsonl").open("a") as journal:
        while state.step < recipe.steps:
            begun = time.monotonic()
            state.set_learning_rate(learning_rate(recipe, state.step))
            seeds = np.random.SeedSequence([recipe.seed, state.step, workers.rank])
            rng = np.random.default_rng(seeds)
            # the noise that stands for rounding comes from torch
            torch.manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
            for p in state.parameters:
                p.grad = None
            with torch.autocast("cuda", torch.bfloat16, enabled=recipe.device.startswith("cuda")):
                loss, numbers = stage.loss(rng, state.step / recipe.steps)
            loss.backward()  # type: ignore[no-untyped-call]
            workers.average_gradients(state.parameters)
            norm = torch.nn.utils.clip_grad_norm_(state.parameters, recipe.clip)
            if torch.isfinite(norm):
                for optimizer in state.optimizers.values():
                    optimizer.step()
            else:
                state.skipped += 1
            state.step += 1
            state.update_average()
            if workers.rank == 0 and (state.step % 20 == 0 or state.step in (1, recipe.steps)):
                entry = {
                    "step": state.step,
                    "loss": round(float(loss.detach()), 5),
                    **{k: round(v, 5) for k, v in numbers.items()},
                    "norm": round(float(norm), 3),
                    "seconds": round(time.monotonic() - begun, 3),
                    "skipped": state.skipped,
                }
                journal.write(json.dumps(entry) + "\n")
                journal.flush()
                if state.step % 100 == 0:
                    log(f"{recipe.name} {json.dumps(entry)}")
            if workers.rank == 0 and time.monotonic() - last_save > recipe.save_seconds:
                state.save(checkpoint)
                last_save = time.monotonic()
    if workers.rank == 0:
        state.save(checkpoint)


def train(recipe: Recipe, log: Log = print) -> dict[str, Any]:
    """Run every stage of a recipe that is not finished yet, then write the model.

    Gives the manifest's entry of the model (an empty one on the ranks that only help).
    """
    torch.set_num_threads(recipe.threads)
    workers = Workers()
    recipe.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    nets = build_nets(recipe)
    nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    nets.to(recipe.device)
    for stage_recipe in recipe.stages:
        checkpoint = checkpoint_of(recipe, stage_recipe)
        if not is_finished(stage_recipe, checkpoint):
            if workers.rank == 0:
                stage = stage_recipe.build(nets, recipe)  # prepares data that the others map
            workers.wait()
            if workers.rank > 0:
                stage = stage_recipe.build(nets, recipe)
            fresh = not recipe.start_from
            run_stage(nets, stage, stage_recipe, recipe.folder, workers, log, fresh=fresh)
        workers.wait()
        load_average(nets, checkpoint)  # the stages after stand on it
    entry: dict[str, Any] = {}
    if workers.rank == 0:
        if isinstance(nets, Restorer):
            # a strength is between stages that restore; the one that guesses comes before them
            restoring = [s for s in recipe.stages if s.name != "blur-kernel"] or recipe.stages
            stages = [restored_by(nets, checkpoint_of(recipe, s)) for s in restoring]
            entry = publish_enhancer(nets.config, stages, recipe)
        elif isinstance(nets, GanCodec):
            entry = publish(nets.cpu(), recipe)
    workers.close()
    return entry


def build_nets(recipe: Recipe) -> nn.Module:
    """Fresh nets of a recipe, or those that it starts from."""
    if isinstance(recipe.config, RestorerConfig):
        nets = Restorer(recipe.config)
        if recipe.start_from:  # an enhancer's name or folder, or what a stage left behind
            if Path(recipe.start_from).is_file():
                load_average(nets, Path(recipe.start_from))
            else:
                start_from_enhancer(nets, recipe.start_from)
        return nets
    if recipe.start_from:
        return thaw(load_model(recipe.start_from), **recipe.changes)
    return GanCodec(recipe.config)


def start_from_enhancer(nets: Restorer, name: str) -> None:
    """Take the faithful weights of an enhancer of the same shape.

    Raises:
        ModelError: there is none of that name.
        UsageError: it has other layers.
    """
    weights = load_enhancer(name).faithful
    try:
        nets.load_state_dict(weights)
    except RuntimeError as error:
        raise UsageError(f"the recipe cannot start from {name}: {error}") from error


def checkpoint_of(recipe: Recipe, stage: StageRecipe) -> Path:
    """Where a stage keeps its state."""
    return recipe.folder / f"{stage.name}.safetensors"


def restored_by(nets: Restorer, checkpoint: Path) -> dict[str, Tensor]:
    """An enhancer's weights after a stage."""
    load_average(nets, checkpoint)
    return {name: p.detach().cpu().clone() for name, p in nets.named_parameters()}
