"""All metrics by name. What each one is stands in the module that defines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gancodec.errors import UsageError
from gancodec.eval.fidelity import FIDELITY
from gancodec.eval.frechet import FRECHET
from gancodec.eval.metric import Metric, Values
from gancodec.eval.perceptual import PERCEPTUAL
from gancodec.eval.temporal import TEMPORAL

METRICS: tuple[Metric, ...] = (*FIDELITY, *PERCEPTUAL, *TEMPORAL, *FRECHET)

# Names that stand for several.
GROUPS: dict[str, tuple[str, ...]] = {"psnr": ("psnr-y", "psnr-u", "psnr-v", "psnr-yuv")}


def find_metric(name: str) -> Metric:
    """One metric by its name.

    Raises:
        UsageError: there is none of that name.
    """
    for metric in METRICS:
        if metric.name == name:
            return metric
    known = ", ".join([*GROUPS, *(m.name for m in METRICS)])
    raise UsageError(f"there is no metric {name!r}; there are: {known}")


def select_metrics(names: str, weights: Mapping[str, Path] | None = None) -> list[Metric]:
    """The metrics of a list such as ``psnr,ssim``, each once; ``psnr`` stands for all four.

    What they need is looked for, so that a missing package is told before hours of decoding.

    Raises:
        UsageError: an unknown name, or a metric whose package or weights are missing.
    """
    chosen = parse_metrics(names)
    for metric in chosen:
        metric.check(weights or {})
    return chosen


def parse_metrics(names: str) -> list[Metric]:
    """The metrics of a list, whether or not they can run here.

    Raises:
        UsageError: an unknown name, or none at all.
    """
    chosen: dict[str, Metric] = {}
    for name in filter(None, (part.strip().lower() for part in names.split(","))):
        for member in GROUPS.get(name, (name,)):
            chosen[member] = find_metric(member)
    if not chosen:
        raise UsageError("no metric was named; try -m psnr,ssim")
    return list(chosen.values())


def check_length(metric: Metric, values: Values) -> None:
    """Check that a clip was long enough to have a value.

    Raises:
        UsageError: it was not.
    """
    if not len(values):
        raise UsageError(
            f"{metric.name} has no value for so few frames; leave it out with -m, or take more"
        )


def check_size(metrics: Sequence[Metric], width: int, height: int) -> None:
    """Check that every metric is defined for pictures of this size.

    Raises:
        UsageError: naming the first that is not.
    """
    for metric in metrics:
        if min(width, height) < metric.least_side:
            raise UsageError(
                f"{metric.name} needs pictures of at least {metric.least_side} samples a side, "
                f"these are {width}x{height}; leave it out with -m"
            )
