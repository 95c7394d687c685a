"""360p frames a second of each enhancer: its net alone, and all of it, in one process and in two.

Pictures that come out are 640x360; super-resolution begins with smaller ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from enhancement_scores import Scores, table_of
from enhancement_sources import ENHANCERS, Settings

from gancodec.enhancer import Enhancer
from gancodec.errors import ModelError
from gancodec.fileio.parallel import Meet, one_thread, run_together
from gancodec.models.restore import LEVELS, halved
from gancodec.nn.planes import Planes
from gancodec.video.synth import moving_texture

SIZE = 640, 360
_PADDED = 640, 368  # whole blocks: what the net sees
_RATE = 0.1  # bits a luma sample, of the file that frames are from
_ROUNDS = 3
JOBS = (1, 2)

Task = tuple[str, Settings, int]  # name of an enhancer, and frames a round


def net_alone(task: Task, meet: Meet) -> float:
    """Frames a second of the net, on planes that are there."""
    name, settings, frames = task
    enhancement = settings.enhancement(name)
    model = enhancement.load()
    net, config = model.net(0.0), model.config
    torch.manual_seed(0)
    width, height = _PADDED
    seen = Planes(
        torch.rand(1, 1, height, width), *(torch.rand(1, 1, height // 2, width // 2) for _ in "uv")
    )
    level = torch.tensor([LEVELS / 2])
    before = seen if config.memory else None

    def work() -> None:
        for _ in range(frames):
            sharper = net.sharpen([seen] * config.frames)
            net.restore([halved(seen)] * config.frames, level, before, sharper)

    with torch.inference_mode():
        return _frames_a_second(work, frames, meet)


def whole(task: Task, meet: Meet) -> float:
    """Frames a second of `Enhancer`, from 8-bit frames to 8-bit frames."""
    name, settings, frames = task
    rate = {"bits_per_pixel": _RATE} if name in ("sr4", "sr2", "detail") else {}
    enhancer = Enhancer(settings.enhancement(name, **rate))
    scale = enhancer.config.scale
    clip = moving_texture(SIZE[0] // scale, SIZE[1] // scale, frames)

    def work() -> None:
        enhancer.enhance(clip)

    return _frames_a_second(work, frames, meet)


def _frames_a_second(work: Callable[[], None], frames: int, meet: Meet) -> float:
    """Median of a few rounds that begin when every process is ready."""
    found = []
    with one_thread():
        work()  # the first is slower: nothing is in its place yet
        for _ in range(_ROUNDS):
            meet()
            begun = time.perf_counter()
            work()
            found.append(frames / (time.perf_counter() - begun))
    return median(found)


def measure(name: str, settings: Settings, frames: int) -> Scores:
    """Frames a second of all processes together."""
    scores = Scores()
    for what, function in (("net", net_alone), ("enhancer", whole)):
        for jobs in JOBS:
            rates = run_together(function, [(name, settings, frames)] * jobs)
            processes = f"{jobs} process{'es' * (jobs > 1)}"
            scores.put(name, f"{what}, {processes}", "texture", fps=sum(rates))
    return scores


def run(settings: Settings, frames: int = 6) -> dict[str, Any]:
    """Every enhancer that is there; prints the table, gives what it is made of."""
    scores = Scores()
    for name in ENHANCERS:
        try:
            settings.enhancement(name).load()
        except ModelError as error:
            print(f"speed of {name} is left out: {error}")
            continue
        scores.add(measure(name, settings, frames))
    print(f"\nspeed: {SIZE[0]}x{SIZE[1]} frames a second\n{table_of(scores)}", flush=True)
    return {"scores": scores.values}
