"""What may be typed: options and values, and the manual that describes them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gancodec import cli_commands
from gancodec.cli_options import build_parser, files_of

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    *("encode", "decode", "enhance", "probe", "verify", "selftest"),
    *("models", "compare", "bench", "demo", "eval", "prepare", "train", "export"),
)


Run = Callable[..., Any]


def test_commands_are_those_of_the_parser() -> None:
    assert tuple(subparsers()) == COMMANDS == tuple(cli_commands.COMMANDS)


def subparsers() -> dict[str, argparse.ArgumentParser]:
    actions = build_parser()._actions
    (action,) = [a for a in actions if isinstance(a, argparse._SubParsersAction)]
    return dict(action.choices)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(call: Run, command: str) -> None:
    result = call(command, "--help")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"usage: gancodec {command} ")


def test_version(call: Run) -> None:
    result = call("--version")
    assert (result.code, result.err) == (0, "")
    assert re.fullmatch(r"gancodec \d+\.\d+\.\d+\S*\n", result.out)


def test_no_command_prints_help_and_fails(call: Run) -> None:
    result = call()
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("usage: gancodec ")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["encod"], "invalid choice: 'encod'"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["encode"], "needs two files, INPUT and OUT.gvc, got none"),
        (["encode", "in.mp4"], "needs two files, INPUT and OUT.gvc, got in.mp4"),
        (["decode", "a", "b", "c"], "got a, b, c"),
        (["encode", "-i", "a", "b", "c"], "got a, b, c"),
        (["encode", "a", "b", "--qual", "3"], "unrecognized arguments: --qual"),
        (["encode", "a", "b", "-q", "64"], "quality is 0 to 63, got '64'"),
        (["encode", "a", "b", "-q", "nan"], "quality is 0 to 63, got 'nan'"),
        (["encode", "a", "b", "-q", "5", "--size", "5M"], "not allowed with argument"),
        (["encode", "a", "b", "--bitrate", "0"], "bitrate is a positive number"),
        (["encode", "a", "b", "--size", "many"], "size is a positive number"),
        (["encode", "a", "b", "--gop", "1025"], "1 to 1024 is needed, got '1025'"),
        (["encode", "a", "b", "--jobs", "0"], "1 or more is needed, got '0'"),
        (["encode", "a", "b", "--preset", "placebo"], "invalid choice: 'placebo'"),
        (["encode", "a", "b", "--tune", "grain"], "invalid choice: 'grain'"),
        (
            ["encode", "a", "b", "--tune", "fidelity", "--model", "base.v3"],
            "not allowed with argument",
        ),
        (["encode", "a", "b", "-ss", "1:2:3:4"], "'1:2:3:4' is not a time"),
        (["encode", "a", "b", "-t", "-5"], "is not a time"),
        (["encode", "a", "b", "--fps", "0"], "'0' is not a frame rate"),
        (["encode", "a", "b", "--scale", "640"], "'640' is no picture size"),
        (["encode", "a", "b", "--audio", "mp3"], "invalid choice: 'mp3'"),
        (["encode", "a", "b", "--engine", "auto"], "invalid choice: 'auto'"),
        (["decode", "a", "b", "--realism", "1.5"], "realism is 0 to 1, got '1.5'"),
        (["decode", "a", "b", "--enhance", "denoise"], "invalid choice: 'denoise'"),
        (["decode", "a", "b", "--scale", "2"], "--scale is for --enhance"),
        (["enhance", "a", "b"], "argument TASK: invalid choice: 'a'"),
        (["enhance", "sr", "a"], "needs two files, IN and OUT, got a"),
        (["enhance", "sr", "a", "b", "--scale", "3"], "invalid choice: 3"),
        (["enhance", "sr", "a", "b", "--strength", "2"], "strength is 0 to 1, got '2'"),
        (["enhance", "denoise", "a", "b", "--sigma", "61"], "sigma is 0 to 60, got '61'"),
        (["compare", "a", "b", "-m", "beauty"], "there is no metric 'beauty'"),
        (["bench", "--size", "640x-2"], "'640x-2' is no picture size"),
        (["probe"], "required: FILE"),
        (["prepare", "sr", "out"], "required: OUT"),
        (["train"], "required: RECIPE.toml"),
        (["export"], "required: --onnx"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_mistakes_exit_with_1(call: Run, words: list[str], complaint: str) -> None:
    result = call(*words)
    assert result.code == 1
    assert complaint in result.sentence


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["in.mp4", "out.gvc", "-q", "20", "-y"], ("in.mp4", "out.gvc")),
        (["-q", "20", "-y", "in.mp4", "out.gvc"], ("in.mp4", "out.gvc")),
        (["in.mp4", "-q", "20", "out.gvc", "-y"], ("in.mp4", "out.gvc")),
        (["-y", "-i", "in.mp4", "-q", "20", "out.gvc"], ("in.mp4", "out.gvc")),
        (["-hide_banner", "-y", "-q", "20", "-i", "in.mp4", "out.gvc"], ("in.mp4", "out.gvc")),
        (["-", "-q", "20", "-", "-y"], ("-", "-")),
        (["-i", "-", "-y", "-q", "20", "-"], ("-", "-")),
        (["-q", "20", "-y", "--", "-in.mp4", "-out.gvc"], ("./-in.mp4", "./-out.gvc")),
    ],
)
def test_options_stand_anywhere(words: list[str], files: tuple[str, str]) -> None:
    chosen = build_parser().parse_args(["encode", *words])
    assert files_of(chosen, ("INPUT", "OUT.gvc")) == files
    assert (chosen.quality, chosen.overwrite) == (20, True)


def test_every_option_of_encode_arrives() -> None:
    words = (
        "encode a b --bitrate 150k --gop 12 --preset slow --model m -ss 1:02.5 -t 500ms --scale "
        "640x-2 --fps 30000/1001 --audio opus --jobs 3 --executor tcp://host:8786 "
        "--device cuda --engine onnx --resume"
    )
    chosen = vars(build_parser().parse_args(words.split()))
    assert {key: value for key, value in chosen.items() if value not in (None, False)} == {
        "command": "encode",
        "files": ["a", "b"],
        "bitrate": Fraction(150_000),
        "gop": 12,
        "preset": "slow",
        "model": "m",
        "start": Fraction(125, 2),
        "duration": Fraction(1, 2),
        "scale": (640, -2),
        "fps": Fraction(30000, 1001),
        "audio": "opus",
        "jobs": 3,
        "executor": "tcp://host:8786",
        "device": "cuda",
        "engine": "onnx",
        "resume": True,
    }


# ── The manual ───────────────────────────────────────────────────────────────────────────────


def sections() -> dict[str, str]:
    """What docs/cli.md says about each command."""
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    return dict(re.findall(r"^## gancodec (\w+)$(.*?)(?=^## |\Z)", text, re.M | re.S))


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """What a command takes, those of its own commands included."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for part in action.choices.values():
                yield from actions_of(part)


def test_manual_describes_every_command() -> None:
    assert tuple(sections()) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_manual_and_parser_know_the_same_options(command: str) -> None:
    documented = set()
    for row in re.findall(r"^\| (`-.*?) \|", sections()[command], re.M):
        documented |= set(re.findall(r"`(--?[A-Za-z_]+)`", row))
    known = {s for a in actions_of(subparsers()[command]) for s in a.option_strings}
    assert documented == known - {"-h", "--help"}


def test_manual_names_every_exit_code() -> None:
    from gancodec import errors

    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    codes = {c.exit_code for c in classes if issubclass(c, errors.GancodecError)}
    manual = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert {0, 130} | codes == {int(n) for n in re.findall(r"^\| (\d+) \|", manual, re.M)}
