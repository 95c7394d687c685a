"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from gancodec.errors import InputError


class PartialFile:
    """``NAME.part`` in the same folder, renamed to ``NAME`` by ``commit``.

    Raises:
        InputError: when the folder does not exist or may not be written to.
    """

    def __init__(self, path: Path) -> None:
        self.final = path
        self.path = path.with_name(path.name + ".part")
        if not path.parent.is_dir():
            raise InputError(f"the folder {path.parent} does not exist: make it first")
        if path.is_dir():
            raise InputError(f"{path} is a folder: name a file in it")
        try:
            self.path.write_bytes(b"")
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from error

    def commit(self) -> None:
        """Make it durable and visible."""
        try:
            descriptor = os.open(self.path, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(self.path, self.final)
        except OSError as error:
            raise InputError(f"cannot write {self.final}: {error.strerror}") from error

    def discard(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(OSError):
            self.path.unlink()
