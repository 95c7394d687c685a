"""How the command line reads words: numbers with units, sizes, and options among files.

Values are checked as far as they can be without the input, so that a typing mistake costs no time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Literal, NoReturn

from gancodec.errors import UsageError
from gancodec.ratecontrol import parse_amount
from gancodec.video.scale import parse_size

Convert = Callable[[str], Any]


class Parser(argparse.ArgumentParser):
    """Reports mistakes as a `UsageError`, and takes options before, between and behind files."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "allow_abbrev": False})
        self._intermixing = False

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting with 2, which says that something could not be read."""
        raise UsageError(f"{message}; see `{self.prog} --help`")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but ``encode in.mp4 -q 20 out.gvc`` is understood too."""
        if self._subparsers is not None:
            words = _without_dashes(sys.argv[1:] if args is None else list(args))
            return super().parse_known_args(words, namespace)
        if self._intermixing:
            return super().parse_known_args(args, namespace)
        self._intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False


def _without_dashes(words: list[str]) -> list[str]:
    """The words without ``--``, those behind it written so that none looks like an option.

    All of them are files; argparse's own reading of ``--`` differs between versions of Python.
    """
    if "--" not in words:
        return words
    at = words.index("--")
    files = (f"./{w}" if w.startswith("-") and w != "-" else w for w in words[at + 1 :])
    return [*words[:at], *files]


def checked(convert: Callable[[str], Any]) -> Convert:
    """A converter for argparse whose own sentence is what the user reads."""

    def run(text: str) -> Any:
        try:
            return convert(text)
        except (UsageError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return run


def parse_picture_size(text: str) -> tuple[int, int]:
    """Width and height, both given.

    Raises:
        ValueError: for anything else.
    """
    width, height = parse_size(text)
    if width < 1 or height < 1:
        raise ValueError(f"{text!r} is no picture size: write 640x360")
    return width, height


def amount_of(what: str) -> Convert:
    """Bits or bytes, such as ``150k``, ``5M``, or ``5Mi`` by 1024s."""
    return checked(lambda text: parse_amount(text, what))


def number_in(low: float, high: float, what: str) -> Convert:
    """Numbers within bounds."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"{what} is {low:g} to {high:g}, got {text!r}")
        return value

    return checked(convert)


def count(most: int | None = None) -> Convert:
    """Whole numbers from 1 on."""

    def convert(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() else 0
        if value < 1 or (most is not None and value > most):
            reach = "1 or more" if most is None else f"1 to {most}"
            raise ValueError(f"a whole number of {reach} is needed, got {text!r}")
        return value

    return checked(convert)


def parse_sigma(text: str) -> float | Literal["auto"]:
    """Deviation of noise in 8-bit samples, or "auto"."""
    return "auto" if text == "auto" else number_in(0, 60, "sigma")(text)
