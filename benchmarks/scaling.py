"""What a film costs: memory and processor time by the size of its pictures and by its length.

    python benchmarks/scaling.py docs/scaling.svg

Each point is one `gancodec encode` and one `gancodec decode` of a synthetic clip, in a process of
its own with one job. Memory is the largest the process ever was, time is the processor's, not the
clock's, so that other work on the machine disturbs little. The start-up, measured with one frame of
the smallest size, is part of every point.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from gancodec.eval.plot_style import drawing, save_svg
from gancodec.terminal import table
from gancodec.video.synth import clip_info, noisy_pan, write_test_video

SIZES = ((320, 180), (640, 360), (960, 540), (1280, 720), (1920, 1080))
SIZE_FRAMES = 6
LENGTHS = (16, 64, 256, 1024)
LENGTH_SIZE = (192, 112)
_COLOURS = {"encode": "#0072B2", "decode": "#D55E00"}


class Cost(NamedTuple):
    """Of one command."""

    command: str
    width: int
    height: int
    frames: int
    peak_mib: float
    seconds: float  # of processor time

    @property
    def megapixels(self) -> float:
        """All frames together."""
        return self.width * self.height * self.frames / 1e6


# The kernel counts what a process was before it became gancodec towards the peak that it tells the
# parent; the process itself knows better.
_TELL_PEAK = """
import sys
from gancodec.cli import main
code = main(sys.argv[1:])
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(code)
"""


def run(*arguments: str) -> tuple[float, float]:
    """Peak resident memory (MiB) and processor seconds of a gancodec command.

    Raises:
        RuntimeError: when the command fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", _TELL_PEAK, *arguments, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"gancodec {' '.join(arguments)} fails: {done.stderr.strip()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return int(done.stdout.split()[-1]) / 1024, seconds


def measure(width: int, height: int, frames: int, folder: Path) -> list[Cost]:
    """Encode and decode one clip."""
    source, coded, shown = (folder / name for name in ("clip.mkv", "clip.gvc", "shown.mkv"))
    batch = noisy_pan(width, height, frames, noise=4)
    write_test_video(source, batch, clip_info(batch))
    costs = []
    for command, *files in (("encode", source, coded), ("decode", coded, shown)):
        peak, seconds = run(command, *map(str, files), "--jobs", "1", "-y")
        costs.append(Cost(command, width, height, frames, peak, seconds))
    return costs


@drawing()
def draw(by_size: list[Cost], by_length: list[Cost]) -> Figure:
    """Memory above, time below; sizes on the left, lengths on the right."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    for column, costs in enumerate((by_size, by_length)):
        for row, label in enumerate(("peak memory, MiB", "processor time, s")):
            axes = figure.add_subplot(2, 2, 2 * row + column + 1)
            for command, colour in _COLOURS.items():
                own = [c for c in costs if c.command == command]
                x = [c.megapixels / c.frames if column == 0 else c.frames for c in own]
                y = [c.peak_mib if row == 0 else c.seconds for c in own]
                axes.plot(x, y, marker="o", color=colour, label=command)
            axes.set_title(label, loc="left", fontsize=10)
            axes.set_ylim(bottom=0)
            axes.set_xlim(left=0)
            width, height = LENGTH_SIZE
            axes.set_xlabel(
                f"megapixels a frame, {SIZE_FRAMES} frames"
                if column == 0
                else f"frames of {width}x{height}"
            )
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
            if row == column == 0:
                axes.legend(frameon=False)
    return figure


def main(arguments: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plot", type=Path, help=".svg to write")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        by_size = [c for size in SIZES for c in measure(*size, SIZE_FRAMES, folder)]
        by_length = [c for n in LENGTHS for c in measure(*LENGTH_SIZE, n, folder)]
    save_svg(draw(by_size, by_length), chosen.plot)
    rows = [("", "size", "frames", "peak MiB", "processor s", "s a megapixel")]
    rows += [
        (
            c.command,
            f"{c.width}x{c.height}",
            str(c.frames),
            f"{c.peak_mib:.0f}",
            f"{c.seconds:.1f}",
            f"{c.seconds / c.megapixels:.2f}",
        )
        for c in by_size + by_length
    ]
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
