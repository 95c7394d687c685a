"""Toy codecs in a module of their own, so that other processes can import them too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gancodec.video.synth import clip_info, noisy_pan
from gancodec.video.writer import open_writer

TOYS = '''
import os, zlib
import numpy as np
from gancodec.types import FrameBatch

class Shift:
    """Drops the lowest bits of every sample and deflates the rest."""
    suffix = ".toy"
    versions = {"toy": "1"}
    def __init__(self, quality, realism=0):
        self.bits, self.realism = int(quality), realism
    def encode(self, clip):
        y, u, v = (p >> self.bits for p in (clip.frames.y, clip.frames.u, clip.frames.v))
        head = np.array([self.bits, *y.shape], np.int32).tobytes()
        return head + zlib.compress(y.tobytes() + u.tobytes() + v.tobytes())
    def decode(self, data):
        bits, n, h, w = map(int, np.frombuffer(data[:16], np.int32))
        c = ((h + 1) // 2, (w + 1) // 2)
        flat = np.frombuffer(zlib.decompress(data[16:]), np.uint8) << bits
        y, u, v = np.split(flat, [n * h * w, n * h * w + n * c[0] * c[1]])
        y = y.reshape(n, h, w) + np.uint8(round(self.realism))
        return FrameBatch(y, u.reshape(n, *c), v.reshape(n, *c), np.arange(n, dtype=np.int64))

class Raising(Shift):
    def encode(self, clip):
        raise RuntimeError("the encoder is out of order")

class Dying(Shift):
    def encode(self, clip):
        os._exit(3)

class Losing(Shift):
    def decode(self, data):
        return super().decode(data)[:-1]

class Cropping(Shift):
    def decode(self, data):
        got = super().decode(data)
        return FrameBatch(got.y[:, :-2], got.u[:, :-1], got.v[:, :-1], got.pts)

class Silent(Shift):
    scores_quality = False
'''

WriteClip = Callable[..., Path]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of the module with the toy codecs."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "toy_codecs.py").write_text(TOYS)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(__import__("sys").modules, "toy_codecs", raising=False)
    return "toy_codecs"


@pytest.fixture
def write_clip(tmp_path: Path) -> WriteClip:
    """Write a small clip losslessly: ``write_clip("name", frames=6, seed=1)``."""

    def write(name: str, frames: int = 6, size: tuple[int, int] = (64, 48), seed: int = 1) -> Path:
        batch = noisy_pan(*size, frames, seed=seed)
        path = tmp_path / "clips" / f"{name}.y4m"
        path.parent.mkdir(exist_ok=True)
        with open_writer(path, clip_info(batch)) as writer:
            writer.write(batch)
        return path

    return write
