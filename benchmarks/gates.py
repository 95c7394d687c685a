"""Whether the GAN decoder wins where people look: gates that weights must pass.

    gancodec eval run benchmarks/gates.toml --clip FOLDER -o runs/gates
    python benchmarks/gates.py runs/gates                 exit code 1 if one fails
    python benchmarks/gates.py runs/ours eval/results/0.1.0-clips.csv     peers from an earlier run

Rates are file sizes. BD-rates are means over clips; a clip whose curves do not meet, or a metric
that was not measured, fails its gate rather than being left out.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from gancodec.errors import GancodecError
from gancodec.eval.bdrate import at_equal_rate, bd_rate
from gancodec.eval.records import Record, asked_records, curves
from gancodec.terminal import table

SHOWN, FAITHFUL = "gancodec realism 1", "gancodec realism 0"
X264, X265, SVT = "x264 medium", "x265 medium", "SVT-AV1 preset 6"
DISTANCE = "st-lpips-vgg"  # judges, and is never trained on
LIMITS = {X265: -30.0, SVT: -30.0, X264: -25.0}  # per cent of bytes at equal distance
WORST_CLIP = 0.0
STRUCTURE_LIMIT = 20.0  # SSIMULACRA 2 at equal bytes: who cheats the distance loses here
PATCH_LIMIT = 0.6  # Frechet distance of patches against x265's at equal bytes
WARP_LIMIT = 1.3  # warping error, times the source's own
FLICKER_LIMIT = 1.15  # times the faithful output's


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing asked for: what was found (None if it could not be), and the most allowed."""

    name: str
    found: float | None
    limit: float
    clips: dict[str, float | None]

    @property
    def passed(self) -> bool:
        """Whether every clip has a number, and their mean (or worst) is within the limit."""
        known = bool(self.clips) and all(v is not None for v in self.clips.values())
        return known and self.found is not None and self.found <= self.limit


def judge(records: Iterable[Record], shown: str = SHOWN, faithful: str = FAITHFUL) -> list[Gate]:
    """Every gate, for the codec that is called ``shown``.

    Raises:
        UsageError: there is no such codec, or no such anchor, among the records.
    """
    records = list(records)
    gates: list[Gate] = []
    for anchor, limit in LIMITS.items():
        clips = _bd_rates(records, anchor, shown, DISTANCE)
        gates.append(_mean(f"BD-rate % {DISTANCE} / {anchor}", limit, clips))
        gates.append(_worst(f"worst clip, {DISTANCE} / {anchor}", WORST_CLIP, clips))
    clips = _bd_rates(records, X265, shown, "ssimulacra2")
    gates.append(_mean(f"BD-rate % ssimulacra2 / {X265}", STRUCTURE_LIMIT, clips))
    clips = _ratios(records, X265, shown, "fd-patch")
    gates.append(_mean(f"fd-patch, times that of {X265}", PATCH_LIMIT, clips))
    clips = _means(records, shown, "warp-error-ratio")
    gates.append(_mean("warping error, times the source's", WARP_LIMIT, clips))
    clips = _same_files(records, faithful, shown, "flicker")
    gates.append(_mean("flicker, times the faithful output's", FLICKER_LIMIT, clips))
    return gates


def _mean(name: str, limit: float, clips: dict[str, float | None]) -> Gate:
    known = [v for v in clips.values() if v is not None]
    return Gate(name, fmean(known) if known else None, limit, clips)


def _worst(name: str, limit: float, clips: dict[str, float | None]) -> Gate:
    return Gate(name, max((v for v in clips.values() if v is not None), default=None), limit, clips)


def _bd_rates(
    records: Sequence[Record], anchor: str, test: str, metric: str
) -> dict[str, float | None]:
    deltas = bd_rate(records, anchor, test, metric, "bpp").clips
    return {delta.clip: delta.rate.percent for delta in deltas}


def _means(records: Sequence[Record], codec: str, metric: str) -> dict[str, float | None]:
    points = curves(records, "bpp", metric)
    return {
        clip: fmean(p[1] for p in points[codec, clip]) if (codec, clip) in points else None
        for clip in _clips_of(records, codec)
    }


def _ratios(
    records: Sequence[Record], anchor: str, test: str, metric: str
) -> dict[str, float | None]:
    """Geometric mean over a clip's points of the metric by the anchor's at the same bytes."""
    points = curves(records, "bpp", metric)
    found: dict[str, float | None] = {}
    for clip in _clips_of(records, test):
        known = [(rate, value) for rate, value, _ in points.get((anchor, clip), [])]
        logs = []
        for rate, value, _ in points.get((test, clip), []):
            other = at_equal_rate(known, rate, higher_is_better=False) if known else None
            if other is not None and other > 0 and value > 0:
                logs.append(math.log(value / other))
        found[clip] = math.exp(fmean(logs)) if logs else None
    return found


def _same_files(
    records: Sequence[Record], anchor: str, test: str, metric: str
) -> dict[str, float | None]:
    """Geometric mean over a clip's files of the metric by that of the same file shown otherwise.

    What does not fall or rise with rate has no curve to read off.
    """
    values = {
        (r.codec, r.clip, r.quality): r.scores[metric].mean for r in records if metric in r.scores
    }
    found: dict[str, float | None] = {}
    for clip in _clips_of(records, test):
        logs = [
            math.log(value / other)
            for (codec, name, quality), value in values.items()
            if (codec, name) == (test, clip)
            and (other := values.get((anchor, clip, quality), 0.0)) > 0 < value
        ]
        found[clip] = math.exp(fmean(logs)) if logs else None
    return found


def _clips_of(records: Sequence[Record], codec: str) -> list[str]:
    return sorted({r.clip for r in records if r.codec == codec})


def main(arguments: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder, JSONL or CSV")
    parser.add_argument("--shown", default=SHOWN, help=f"label of the codec ({SHOWN})")
    parser.add_argument("--faithful", default=FAITHFUL, help=f"of its realism 0 ({FAITHFUL})")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        records = [record for run in options.runs for record in asked_records(run)[0]]
        gates = judge(records, options.shown, options.faithful)
    except GancodecError as error:
        print(f"gates: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps([{**asdict(g), "passed": g.passed} for g in gates], indent=1))
    else:
        names = sorted({clip for gate in gates for clip in gate.clips})
        rows = [
            [
                gate.name,
                _number(gate.found),
                f"<= {gate.limit:g}",
                "yes" if gate.passed else "NO",
                *(_number(gate.clips.get(name)) for name in names),
            ]
            for gate in gates
        ]
        print(table([["gate", "found", "limit", "passed", *names], *rows]))
    return 0 if all(gate.passed for gate in gates) else 1


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
