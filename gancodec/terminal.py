"""Text for a terminal: nothing in it may move the cursor, whoever wrote it."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence

# Other than printing characters and spaces: control, format (it turns the writing direction),
# surrogate, private use, unassigned, line and paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: object) -> str:
    """``text`` on one line, with everything that a terminal would obey written as an escape.

    File names and metadata come from strangers, and ``ESC ]`` in them can do harm.
    """
    return "".join(
        c.encode("unicode_escape").decode("ascii") if unicodedata.category(c) in _UNSAFE else c
        for c in str(text)
    )


def say(text: object) -> None:
    """One line on stderr that begins with our name, as every message of the command line does."""
    print(f"gancodec: {printable(text)}", file=sys.stderr, flush=True)


def note(text: object) -> None:
    """Something the user should know, though all went well."""
    say(f"note: {text}")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def in_bytes(size: float) -> str:
    """A size with a decimal unit, as drives and networks count: ``1.23 MB``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.2f} {unit}"
    return f"{size:.0f} B"
