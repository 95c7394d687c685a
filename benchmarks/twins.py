"""What each ingredient of the adversarial stage buys: heads trained alike but for one thing.

    python benchmarks/twins.py train TWIN --data FOLDER --cache runs/cache --out runs/twins/TWIN
    python benchmarks/twins.py judge runs/twins/* --clips FOLDER --out runs/twins/judged

Every twin starts from the same loop with a fresh head and sees the same frames in the same order.
They are judged on files, GOP 32, at a few qualities. The loop is the same for all but the twin that
predicts from what it shows, so equal qualities are equal bytes, and metrics compare as they are;
``loop`` is its own picture, without a head.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from gancodec import codec
from gancodec.config import CodecConfig, EncodeOptions
from gancodec.errors import GancodecError
from gancodec.eval.clips import Clip
from gancodec.eval.own import GvcCodec
from gancodec.eval.records import Record
from gancodec.eval.runner import run
from gancodec.models.compress import GanCodec, Reconstruction
from gancodec.models.synthesis import Show
from gancodec.nn.planes import Planes, round_to_8_bit
from gancodec.registry import load_model
from gancodec.terminal import table
from gancodec.train.adversarial import AdversarialStage
from gancodec.train.export import freeze, thaw, write_model
from gancodec.train.loop import Workers, load_average, run_stage
from gancodec.train.recipe import StageRecipe
from gancodec.types import FrameBatch

METRICS = "st-lpips-vgg", "ssimulacra2", "fd-patch", "psnr-y", "flicker", "warp-error-ratio"
PATCH = 128


class InsideStage(AdversarialStage):
    """Frames are predicted from what was shown: the head is a part of the loop."""

    def reference(self, picture: Planes, shown: Planes) -> Planes:
        """What is shown, as an 8-bit picture that no gradient flows through."""
        return round_to_8_bit(Planes(*(p.detach() for p in shown)))


@dataclass(frozen=True, slots=True)
class Twin:
    """How a twin differs: options of the stage, fields of the architecture, where the head is."""

    options: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    inside: bool = False


TWINS = {
    "all": Twin(),
    "no-gan": Twin({"adversarial": 0.0, "matching": 0.0}),
    "no-statistics": Twin({"statistics": 0.0}),
    "no-noise": Twin(changes={"synthesis_noise": 0}),
    "frame-by-frame": Twin({"neighbours": False, "temporal": 0.0}),
    "in-loop": Twin(inside=True),
}


def fresh_head(model: str, **changes: Any) -> GanCodec:
    """The nets of a model with a head that knows nothing."""
    names = [f.name for f in dataclasses.fields(CodecConfig) if f.name.startswith("synthesis_")]
    default = CodecConfig()
    return thaw(load_model(model), **{**{n: getattr(default, n) for n in names}, **changes})


def train(name: str, chosen: argparse.Namespace) -> None:
    """Train one twin and write it as a model that ``gancodec encode --model`` takes."""
    twin = TWINS[name]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nets = fresh_head(chosen.model, **twin.changes)
    nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    recipe = StageRecipe("adversarial", chosen.steps, chosen.batch, chosen.learning_rate)
    kind = InsideStage if twin.inside else AdversarialStage
    stage = kind(nets, [chosen.data], chosen.cache, batch=chosen.batch, patch=PATCH, **twin.options)
    folder: Path = chosen.out
    folder.mkdir(parents=True, exist_ok=True)
    run_stage(nets, stage, recipe, folder, Workers(), print, fresh=False)
    load_average(nets, folder / "adversarial.safetensors")
    number = list(TWINS).index(name)  # names are in the files: all as long
    model = freeze(nets, f"twin{number}.v1", load_model(chosen.model).tables)
    write_model(model, folder / "model", {"twin": name})


class InsideLoop(codec.Loop):
    """The codec's loop, whose reference is what the head shows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        nets = self.model.nets
        self.show = Show(nets.detail)

    def intra(self, *arguments: Any) -> Reconstruction:
        """As the codec's."""
        out = super().intra(*arguments)
        return self._through_the_head(out, arguments[2])

    def inter(self, *arguments: Any) -> Reconstruction:
        """As the codec's."""
        out = super().inter(*arguments)
        return self._through_the_head(out, arguments[3])

    def _through_the_head(self, out: Reconstruction, quality: Tensor) -> Reconstruction:
        assert self.reference is not None
        self.reference = self.show.frame(
            self.reference, out.features, quality, self.motion, realism=1.0
        )
        return out


@contextmanager
def _head_inside() -> Iterator[None]:
    with mock.patch.object(codec, "Loop", InsideLoop):
        yield


class InsideCodec(GvcCodec):
    """gancodec with the head in the loop; realism 0 shows the loop's picture, the head in it."""

    def encode(self, clip: Clip) -> bytes:
        """See `GvcCodec.encode`."""
        with _head_inside():
            return super().encode(clip)

    def decode(self, data: bytes) -> FrameBatch:
        """See `GvcCodec.decode`."""
        with _head_inside():
            return super().decode(data)


def suite_of(chosen: argparse.Namespace) -> str:
    """The suite that judges all twins."""
    numbers = ", ".join(f"{q:g}" for q in chosen.qualities)
    lines = [
        'name = "twins"',
        'metrics = ["psnr", "st-lpips-vgg", "ssimulacra2", "fd-patch", "flicker",'
        ' "warp-error-ratio"]',
        f'anchor = "{chosen.twins[0].name}"',
        "[every]\nst-lpips-vgg = 12\nssimulacra2 = 4\nfd-patch = 4",
        f'[[clip]]\npath = "{chosen.clips}"\nframes = {chosen.frames}',
    ]
    for folder in chosen.twins:
        inside = folder.name in TWINS and TWINS[folder.name].inside
        kind, realism = ("twins:InsideCodec", 0) if inside else ("gvc", 1)
        lines.append(
            f'[[codec]]\nname = "{folder.name}"\nkind = "{kind}"\nmodel = "{folder / "model"}"\n'
            f"qualities = [{numbers}]\ngop = 32\ndecode = [{{ realism = {realism} }}]"
        )
    lines.append(
        f'[[codec]]\nname = "loop"\nkind = "gvc"\nmodel = "{chosen.twins[0] / "model"}"\n'
        f"qualities = [{numbers}]\ngop = 32\ndecode = [{{ realism = 0 }}]"
    )
    return "\n".join(lines) + "\n"


def judge(chosen: argparse.Namespace) -> None:
    """Print a line a twin: means over clips and qualities."""
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = chosen.out / "twins.toml"
    path.write_text(suite_of(chosen))
    records = run(path, chosen.out, jobs=chosen.jobs).records
    names = list(dict.fromkeys(record.codec for record in records))
    rows = [["twin", "bytes", *METRICS], *(_row(name, records) for name in names)]
    print(table(rows))


def _row(name: str, records: Sequence[Record]) -> list[str]:
    own = [record for record in records if record.codec == name]
    shown = []
    for metric in METRICS:
        known = [value for record in own if (value := record.value(metric)) is not None]
        shown.append(f"{fmean(known):.4g}" if len(known) == len(own) else "-")
    return [name, f"{fmean(r.bytes for r in own):.0f}", *shown]


def main(arguments: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    trained = commands.add_parser("train", help="train a twin")
    trained.add_argument("twin", choices=TWINS)
    trained.add_argument("--data", type=Path, required=True, help="folder of videos and pictures")
    trained.add_argument("--cache", type=Path, default=Path("runs/cache"))
    trained.add_argument("--out", type=Path, required=True, help="folder")
    trained.add_argument("--model", default=EncodeOptions().model, help="whose loop it is")
    trained.add_argument("--steps", type=int, default=200)
    trained.add_argument("--batch", type=int, default=4)
    trained.add_argument("--learning-rate", type=float, default=1e-3)
    judged = commands.add_parser("judge", help="compare trained twins on clips")
    judged.add_argument("twins", type=Path, nargs="+", help="folders that `train` wrote")
    judged.add_argument("--clips", type=Path, required=True, help="a clip or a folder of them")
    judged.add_argument("--frames", type=int, default=33)
    judged.add_argument("--qualities", type=float, nargs="+", default=[5, 20, 35])
    judged.add_argument("--out", type=Path, required=True, help="folder of the run")
    judged.add_argument("--jobs", type=int, default=1)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "train":
            train(chosen.twin, chosen)
        else:
            judge(chosen)
    except GancodecError as error:
        print(f"twins: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
