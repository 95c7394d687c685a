"""The command line: ``gancodec COMMAND ...``. What went wrong is one sentence and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from gancodec.cli_options import build_parser
from gancodec.errors import GancodecError, InputError, UsageError
from gancodec.terminal import say

_INTERRUPTED = 130  # what shells give for a process that Ctrl-C ended
_DEBUG = "GANCODEC_DEBUG"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code; ``--help`` raises ``SystemExit(0)``.

    Args:
        arguments: the words behind ``gancodec``; those of the process unless given.
    """
    # Threads that wait for one another by spinning stand still when others want the cores: the
    # selftest took a hundred times as long beside a training run. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = _run(arguments)
        sys.stdout.flush()  # here, where a full disk can still be told
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BrokenPipeError:
        code = InputError.exit_code
    except GancodecError as error:
        code = _report(error, str(error), error.exit_code)
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        code = _report(error, f"{what}{error.strerror or error}", InputError.exit_code)
    except MemoryError as error:
        code = _report(
            error, "there is not enough memory; use fewer --jobs or a smaller --scale", 1
        )
    except Exception as error:
        code = _report(
            error,
            f"internal error ({type(error).__name__}: {error}); "
            f"please report it, with what {_DEBUG}=1 in the environment prints",
            1,
        )
    _abandon_closed_pipe()
    return code


def _run(arguments: Sequence[str] | None) -> int:
    parser = build_parser()
    chosen = parser.parse_args(arguments)
    if chosen.version:
        from gancodec import __version__

        print(f"gancodec {__version__}")
        return 0
    if chosen.command is None:
        parser.print_help(sys.stderr)
        return UsageError.exit_code
    from gancodec.cli_commands import COMMANDS

    COMMANDS[chosen.command](chosen)
    return 0


def _report(error: BaseException, sentence: str, code: int) -> int:
    """Say it on stderr, unless it only means that nobody reads our output any more."""
    if not _is_broken_pipe(error):
        if os.environ.get(_DEBUG):
            traceback.print_exception(error)
        with suppress(OSError, ValueError):  # stderr may be closed or full, too
            say(sentence)
    return code


def _is_broken_pipe(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, BrokenPipeError):
            return True
        error = error.__cause__
    return False


def _abandon_closed_pipe() -> None:
    """Keep Python from complaining at exit about what it cannot flush."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
