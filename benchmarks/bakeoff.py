"""Compare inter-frame architectures at equal decoder kMAC, equal data and equal training time.

    python benchmarks/bakeoff.py kmac
    python benchmarks/bakeoff.py train VARIANT --data FOLDER --cache runs/cache --seconds 3600 \\
        --out runs/bakeoff/VARIANT.safetensors
    python benchmarks/bakeoff.py judge runs/bakeoff/*.safetensors --clips FOLDER --json OUT

Every variant starts fresh, sees the same sequences at the same qualities, and predicts from the
same frozen intra net. Rates are estimates: of the float priors on rounded symbols (`quantise`), and
of vectors by the codec's parametric tables; one byte a frame and the like are left out for all.
Train `motion` twice, with another --seed: what differs less than these two differs by chance.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from bakeoff_judging import STEPS, judge, table_of
from bakeoff_nets import VARIANTS, kmac_of
from bakeoff_training import train

from gancodec.errors import GancodecError


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("kmac", help="what decoding and encoding cost, in kMAC a luma sample")
    trained = commands.add_parser("train", help="train a variant from scratch")
    trained.add_argument("variant", choices=VARIANTS)
    trained.add_argument("--data", type=Path, required=True, help="folder of videos and pictures")
    trained.add_argument("--cache", type=Path, default=Path("runs/cache"))
    trained.add_argument("--out", type=Path, required=True, help="FILE.safetensors")
    trained.add_argument("--steps", type=int)
    trained.add_argument("--seconds", type=float, help="CPU time of this process")
    trained.add_argument("--seed", type=int, default=0)
    trained.add_argument("--batch", type=int, default=8)
    trained.add_argument("--size", type=int, default=128, help="sides of training patches")
    trained.add_argument("--learning-rate", type=float, default=1e-3)
    trained.add_argument("--intra", default="base.v3", help="model whose intra net is used")
    judged = commands.add_parser("judge", help="compare trained variants on clips")
    judged.add_argument("files", type=Path, nargs="+")
    judged.add_argument("--clips", type=Path, required=True, help="folder; none trained on")
    judged.add_argument(
        "--frames",
        type=int,
        default=25,
        help="of each clip, one GOP; one more than a multiple of 8 is fair to the chunks (25)",
    )
    judged.add_argument(
        "--quantisers", type=float, nargs="+", default=list(STEPS), help="quantiser steps"
    )
    judged.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    if chosen.command == "train" and not (chosen.steps or chosen.seconds):
        parser.error("train needs --steps or --seconds above 0")
    if chosen.command == "judge" and len(chosen.quantisers) < 4:
        parser.error("judge needs four --quantisers or more; a BD-rate of fewer means nothing")
    return chosen


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit status."""
    chosen = parse(arguments)
    try:
        if chosen.command == "kmac":
            anchor = kmac_of(VARIANTS["motion"])[0]
            print(f"{'':24} decoder encoder, kMAC a luma sample")
            for name, choice in VARIANTS.items():
                decoder, encoder = kmac_of(choice)
                print(f"{name:24} {decoder:7.3f} {encoder:7.3f} {decoder / anchor - 1:+7.1%}")
        elif chosen.command == "train":
            chosen.out.parent.mkdir(parents=True, exist_ok=True)
            train(
                chosen.variant,
                chosen.data,
                chosen.cache,
                chosen.out,
                steps=chosen.steps,
                seconds=chosen.seconds,
                seed=chosen.seed,
                batch=chosen.batch,
                size=chosen.size,
                learning_rate=chosen.learning_rate,
                intra=chosen.intra,
                log=lambda line: print(line, flush=True),
            )
        else:
            report = judge(chosen.files, chosen.clips, chosen.frames, tuple(chosen.quantisers))
            if chosen.json:
                chosen.json.write_text(json.dumps(report, indent=1) + "\n")
            print(table_of(report))
    except GancodecError as error:
        print(f"bakeoff: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)  # a process a core: CPU time is comparable, and nothing waits
    sys.exit(main())
