"""Every error a user can meet, with the exit code the command line gives it.

A message is one sentence: the value that was seen, and the remedy.
"""

from __future__ import annotations


class GancodecError(Exception):
    """Base of all errors raised on purpose by gancodec."""

    exit_code = 1


class UsageError(GancodecError):
    """The request itself makes no sense (exit 1)."""


class InputError(GancodecError):
    """Something could not be read or written: missing file, not a video, full disk (exit 2)."""

    exit_code = 2


class BitstreamError(GancodecError):
    """The ``.gvc`` bytes are not what FORMAT.md says (exit 3)."""

    exit_code = 3


class TruncatedError(BitstreamError):
    """The bytes end before the file does."""


class CorruptError(BitstreamError):
    """A checksum, a length or a syntax element is wrong."""


class UnsupportedError(BitstreamError):
    """Well-formed, but written for a newer reader (exit 4)."""

    exit_code = 4


class ModelError(GancodecError):
    """Weights are missing, of the wrong hash, or fail their known-answer test (exit 5)."""

    exit_code = 5


class LimitError(BitstreamError):
    """A declared size is beyond the configured limits (exit 6)."""

    exit_code = 6
