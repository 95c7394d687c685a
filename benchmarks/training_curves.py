"""How a training run went: every number that a stage logged, smoothed, as small plots.

    python benchmarks/training_curves.py runs/perceptual/joint.jsonl docs/training-joint.svg

A logged line is one batch, so that single values say little; what is drawn is their running median.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from gancodec.eval.plot_style import drawing, save_svg

WINDOW = 25  # logged lines of a median
LEFT_OUT = {"step", "frames", "skipped", "norm", "seconds"}
ACROSS = 3
_COLOUR = "#0072B2"
Values = npt.NDArray[np.float64]


def read_journal(path: Path) -> dict[str, Values]:
    """Every number by name, one a logged line."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    if not lines:
        raise ValueError(f"{path} is empty")
    return {name: np.array([line[name] for line in lines], float) for name in lines[-1]}


def smooth(values: Values, window: int = WINDOW) -> Values:
    """The median of the values around each, fewer of them at the ends."""
    half = window // 2
    return np.array(
        [np.median(values[max(k - half, 0) : k + half + 1]) for k in range(len(values))]
    )


@drawing()
def draw(journal: dict[str, Values]) -> Figure:
    """A small plot a number, steps to the right."""
    names = [name for name in journal if name not in LEFT_OUT]
    down = -(-len(names) // ACROSS)
    figure = Figure(figsize=(2.6 * ACROSS, 1.7 * down), layout="constrained")
    for k, name in enumerate(names):
        axes = figure.add_subplot(down, ACROSS, k + 1)
        axes.plot(journal["step"], smooth(journal[name]), color=_COLOUR, linewidth=1.4)
        axes.set_title(name.replace("_", " "), loc="left", fontsize=9)
        axes.tick_params(labelsize=7)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure


def main(arguments: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("journal", type=Path, help="the .jsonl file of a stage")
    parser.add_argument("plot", type=Path, help=".svg to write")
    chosen = parser.parse_args(arguments)
    try:
        journal = read_journal(chosen.journal)
    except (OSError, ValueError, KeyError) as error:
        print(f"training_curves: {error}", file=sys.stderr)
        return 2
    save_svg(draw(journal), chosen.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
