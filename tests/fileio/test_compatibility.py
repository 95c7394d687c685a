"""Files of other versions, through the whole program: what may be skipped, and what may not."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gancodec import cli

Chunks = list[tuple[bytes, bytes]]


def with_chunk(kind: bytes) -> Callable[[Chunks], None]:
    """A chunk from the future between the last GOP and the index, which moves by its length."""

    def change(chunks: Chunks) -> None:
        at = [name for name, _ in chunks].index(b"gIDX")
        payload = b"from the future"
        chunks.insert(at, (kind, payload))
        offset, frames = struct.unpack("<QQ", chunks[-1][1])
        chunks[-1] = (b"GEND", struct.pack("<QQ", offset + 24 + len(payload), frames))

    return change


def with_version(*numbers: int, more: bytes = b"") -> Callable[[Chunks], None]:
    """Major, minor, and the minor version of the oldest reader."""

    def change(chunks: Chunks) -> None:
        chunks[0] = (b"GHDR", struct.pack("<3H", *numbers) + chunks[0][1][6:] + more)

    return change


CASES: dict[str, tuple[Callable[[Chunks], None], int]] = {
    "nothing": (lambda chunks: None, 0),
    "a chunk that may be skipped": (with_chunk(b"neWs"), 0),
    "a chunk that may not": (with_chunk(b"NEWs"), 4),
    "a newer minor version": (with_version(1, 1, 0), 0),
    "one that needs a newer reader": (with_version(1, 1, 1), 4),
    "a newer major version": (with_version(2, 0, 0), 4),
    "and with a longer header": (with_version(2, 0, 0, more=b"more"), 4),
}


@pytest.mark.parametrize("name", CASES)
def test_files_of_the_future(
    kit: Any, gvc: Path, linear: Any, tmp_path: Path, name: str,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    change, code = CASES[name]
    chunks = kit.split_chunks(gvc.read_bytes())
    change(chunks)
    source = tmp_path / "future.gvc"
    source.write_bytes(kit.join_chunks(chunks))
    for number, more in enumerate(([], ["--conceal"])):
        target = tmp_path / f"{number}.y4m"
        assert cli.main(["decode", str(source), str(target), "--jobs", "1", *more]) == code
        if code:
            assert "install a newer gancodec" in capfd.readouterr().err
            assert not list(tmp_path.glob(f"{number}.y4m*"))
        else:
            kit.assert_same(kit.read_all(target), linear, times=False)
    assert cli.main(["verify", str(source), "--jobs", "1"]) == code
