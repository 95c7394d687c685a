"""Whether the enhancers are what they claim: gates, classic methods and null models beside them.

    python benchmarks/enhancement.py sr4 sr2 detail --clips FOLDER --json runs/enhancement.json
    python benchmarks/enhancement.py denoise --clips FOLDER --twin runs/denoise-clean/model
    python benchmarks/enhancement.py all --clips FOLDER --model sr4=runs/sr4/model ...
    python benchmarks/enhancement.py sr4 denoise deblur detail --clips FOLDER --crops crops.webp

A table a task: means over clips and photographs (of scikit-image), which nothing was trained on.
Exit code 1 if a gate is failed, or if a model that knows nothing passes them all. A gate of which
a source has no number is failed. Large pictures are judged by their middle (--middle).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import enhancement_crops
import enhancement_deblur
import enhancement_denoise
import enhancement_detail
import enhancement_speed
import enhancement_sr
import torch
from enhancement_scores import Judged, Scores, table_of, table_of_gates
from enhancement_sources import ENHANCERS, NAMES, PICTURES, Settings, read_sources

from gancodec.errors import GancodecError, UsageError
from gancodec.eval.clips import Clip
from gancodec.eval.measuring import told


class Bench(NamedTuple):
    """How a task is measured on one source, judged and summed up."""

    measure: Callable[[Clip, Settings], Scores]
    judge: Callable[[Scores], Judged]
    summary: Callable[[Scores], Scores] | None = None


BENCHES: dict[str, Bench] = {
    **{
        f"sr{scale}": Bench(
            partial(enhancement_sr.measure, scale=scale), partial(enhancement_sr.judge, scale=scale)
        )
        for scale in (4, 2)
    },
    "denoise": Bench(enhancement_denoise.measure, enhancement_denoise.judge),
    "deblur": Bench(enhancement_deblur.measure, enhancement_deblur.judge),
    "detail": Bench(
        enhancement_detail.measure, enhancement_detail.judge, enhancement_detail.summary_of
    ),
}


def measure_all(
    task: str, sources: Sequence[Clip], settings: Settings, jobs: int
) -> Iterator[tuple[Clip, Scores]]:
    """Every source, in processes of their own where there are to be several."""
    function = partial(BENCHES[task].measure, settings=settings)
    if jobs == 1:
        yield from ((clip, function(clip)) for clip in sources)
        return
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield from zip(sources, pool.map(function, sources), strict=True)


def run_task(task: str, sources: Sequence[Clip], settings: Settings, jobs: int) -> dict[str, Any]:
    """Measure and judge one task; prints its tables, gives what they are made of."""
    bench, scores, begun = BENCHES[task], Scores(), time.monotonic()
    for clip, found in measure_all(task, sources, settings, jobs):
        scores.add(found)
        print(f"{task}: {clip.name}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    judged = bench.judge(scores)
    summary = None if bench.summary is None else bench.summary(scores)
    print(f"\n{task}: means over sources\n{table_of(scores)}")
    if summary is not None:
        print(f"\n{task}: against the codec alone\n{table_of(summary)}")
    print(f"\n{task}: gates\n{table_of_gates(judged)}", flush=True)
    return {
        "scores": scores.values,
        **({} if summary is None else {"summary": summary.values}),
        **judged.to_dict(),
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "tasks",
        nargs="+",
        choices=(*NAMES, "all"),
        metavar="TASK",
        help=", ".join(NAMES) + " or all",
    )
    parser.add_argument("--clips", type=Path, help="folder of clips, or one; none trained on")
    parser.add_argument("--frames", type=int, default=12, help="of each clip (12)")
    parser.add_argument(
        "--pictures",
        nargs="*",
        default=list(PICTURES),
        metavar="NAME",
        help="photographs of scikit-image (%(default)s)",
    )
    parser.add_argument(
        "--middle",
        type=int,
        nargs=2,
        default=(480, 320),
        metavar=("W", "H"),
        help="judge the middle of larger pictures (480 320); 0 0 for all",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="TASK=NAME",
        help="name or folder of an enhancer, such as sr4=runs/sr4/model",
    )
    parser.add_argument("--twin", metavar="NAME", help="the denoiser that saw clean targets")
    parser.add_argument("--every", type=int, default=6, help="ST-LPIPS judges each n-th frame (6)")
    parser.add_argument("--seed", type=int, default=Settings().seed, help="of noise and cameras")
    parser.add_argument("--jobs", type=int, default=1, help="processes, a source each (1)")
    parser.add_argument("--json", type=Path, help="also write every number there")
    parser.add_argument("--crops", type=Path, help="write a sheet of crops (.webp, .png) instead")
    parser.add_argument(
        "--crop",
        nargs=3,
        action="append",
        metavar=("SOURCE", "LEFT", "TOP"),
        help="a row for each task (the middle of the first clip and of the first photograph)",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(160, 128),
        metavar=("W", "H"),
        help="of crops (160 128)",
    )
    return parser.parse_args(arguments)


def settings_of(chosen: argparse.Namespace) -> Settings:
    """What the command line says.

    Raises:
        UsageError: a model for no task, or a number that is none.
    """
    models = {}
    for words in chosen.model:
        task, equals, name = words.partition("=")
        if task not in ENHANCERS or not equals:
            raise UsageError(
                f"--model is TASK=NAME, the task one of {', '.join(ENHANCERS)}: {words!r}"
            )
        models[task] = name
    if min(chosen.frames, chosen.every, chosen.jobs) < 1:
        raise UsageError("--frames, --every and --jobs are 1 or more")
    return Settings(models, chosen.twin, chosen.every, chosen.seed)


def main(arguments: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    chosen = parse(arguments)
    tasks = list(dict.fromkeys(NAMES if "all" in chosen.tasks else chosen.tasks))
    report: dict[str, Any] = {}
    try:
        settings = settings_of(chosen)
        sources = read_sources(chosen.clips, chosen.frames, chosen.pictures, tuple(chosen.middle))
        if chosen.crops:
            enhancement_crops.write(
                [t for t in tasks if t != "speed"],
                sources,
                settings,
                chosen.crops,
                chosen.crop,
                tuple(chosen.size),
            )
            return 0
        for task in tasks:
            if task != "speed":
                settings.enhancement(task).load()  # before hours of work
        for task in tasks:
            if task == "speed":
                report[task] = enhancement_speed.run(settings)
            else:
                report[task] = run_task(task, sources, settings, chosen.jobs)
            if chosen.json:
                chosen.json.write_text(json.dumps(_about(chosen, sources, report), indent=1) + "\n")
    except (GancodecError, OSError) as error:
        print(f"enhancement: {told(error)}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    return 0 if all(found.get("passed", True) for found in report.values()) else 1


def _about(
    chosen: argparse.Namespace, sources: Sequence[Clip], report: dict[str, Any]
) -> dict[str, Any]:
    """What was measured how, with all numbers."""
    settings = settings_of(chosen)
    weights = {}
    for name in ENHANCERS:
        if name in report:
            model = settings.enhancement(name).load()
            weights[name] = {"name": model.name, "sha256": model.sha256}
    return {
        "sources": {c.name: [c.info.width, c.info.height, len(c)] for c in sources},
        "settings": {
            k: v for k, v in vars(chosen).items() if isinstance(v, int | str | list | tuple)
        },
        "models": weights,
        "tasks": report,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)  # a process a core: nothing waits
    sys.exit(main())
