"""Golden streams: what was written once decodes to the same symbols for ever.

`gancodec.verify` proves the symbols (the file holds their hash); pictures come from float nets and
may differ by one level in a few samples, so they are compared with stored ones. The streams are
made by tests/streams/make.py.
"""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

import gancodec
from gancodec.bitstream import Gop, Reader
from gancodec.codec import Decoder
from gancodec.fileio.headers import info_of
from gancodec.nn.fixed import FixedConv2d
from gancodec.registry import Model, find_model
from gancodec.types import FrameBatch, FrameType

STREAMS = Path(__file__).parent / "streams"
NAMES = sorted(p.stem for p in STREAMS.glob("*.gvc"))


def test_streams_are_there() -> None:
    assert {"pan-sound", "odd-vfr", "dot", "cut-coarsest", "text-finest"} <= set(NAMES)  # base.v1
    assert {"v2-pan", "v2-cut-coarsest", "v2-text-finest"} <= set(NAMES)
    assert {"v3-pan", "v3-moving", "v3-text-finest"} <= set(NAMES)
    assert {"v4-pan", "v4-moving"} <= set(NAMES)
    assert {"v5-pan", "v5-moving"} <= set(NAMES)
    assert {"v6-pan", "v6-moving"} <= set(NAMES)


def tolerance(name: str) -> tuple[int, float]:
    """Levels, and the share of samples, by which another backend's pictures may differ.

    base.v4 and base.v5 code nothing in most places, where pictures are means of whole numbers; on
    halves the last bit of a float decides (`round_half_up` came later), and what differs grows.
    """
    return (2, 0.05) if name.startswith(("v4", "v5")) else (1, 0.001)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("threads", "onednn"), [(1, True), (2, True), (1, False)])
def test_golden_stream(name: str, threads: int, onednn: bool) -> None:
    facts = json.loads((STREAMS / f"{name}.json").read_text())
    data = (STREAMS / f"{name}.gvc").read_bytes()
    assert hashlib.sha256(data).hexdigest() == facts["sha256"]
    stored = np.load(STREAMS / f"{name}.npz")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of TF32 on builds without it
            with torch.backends.mkldnn.flags(enabled=onednn):
                assert gancodec.verify(STREAMS / f"{name}.gvc", jobs=1).is_ok
                with gancodec.open(STREAMS / f"{name}.gvc", realism=0) as video:
                    frames = video[:]
    finally:
        torch.set_num_threads(before)
    assert [int(t) for t in frames.pts] == facts["pts"]
    hashes = [hashlib.sha256(y.tobytes()).hexdigest()[:16] for y in stored["y"]]
    assert hashes == facts["frames"]
    for plane in ("y", "u", "v"):
        off = np.abs(getattr(frames, plane).astype(int) - stored[plane])
        levels, share = tolerance(name)
        assert off.max() <= levels
        assert (off > 0).sum() <= 2 + share * off.size


class Setting(NamedTuple):
    """One way to compute the same."""

    threads: int
    onednn: bool
    channels_last: bool
    nnpack: bool
    wide: bool  # all of the prior in float64, also where float32 is proven to be enough


SETTINGS = [Setting(t, *rest) for t in (1, 2) for rest in product((True, False), repeat=4)]


@contextmanager
def applied(setting: Setting, model: Model) -> Iterator[Model]:
    """A copy of the model as the setting wants it, and torch's flags for the block."""
    layout = torch.channels_last if setting.channels_last else torch.contiguous_format
    nets = copy.deepcopy(model.nets)
    nets.to(memory_format=layout)  # type: ignore[call-overload]
    for part in (nets.intra, nets.inter):
        if setting.wide:
            part.prior.freeze(part.prior.integers(), wide=True)
        for layer in part.prior.modules():
            if isinstance(layer, FixedConv2d):
                layer.lay_out(layout)
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of TF32 on builds without it
            with (
                torch.backends.mkldnn.flags(enabled=setting.onednn),
                torch.backends.nnpack.flags(enabled=setting.nnpack),
            ):
                yield Model(model.name, nets, model.tables, model.references)
    finally:
        torch.set_num_threads(before)


@pytest.mark.stress
@pytest.mark.parametrize("name", NAMES)
def test_golden_stream_on_every_backend(name: str, stress_rounds: int) -> None:
    """Symbols are equal, samples within the tolerance. Each of the 32 settings is
    met by some stream; under stress every stream meets them all."""
    with (STREAMS / f"{name}.gvc").open("rb") as stream:
        reader = Reader(stream)
        gops = [event for event in reader.events() if isinstance(event, Gop)]
    model, info = find_model(reader.models), info_of(reader.header)
    stored = np.load(STREAMS / f"{name}.npz")
    first = NAMES.index(name) * 3
    some = [SETTINGS[(first + n) % len(SETTINGS)] for n in range(3)]
    worst = 0.0
    for setting in SETTINGS if stress_rounds > 1 else some:
        shown = []
        with applied(setting, model) as nets:
            decoder = Decoder(info, nets, realism=0)
            for gop in gops:
                for pts, frame in zip(gop.pts, gop.frames, strict=True):
                    shown.append(decoder.decode(FrameType(frame.kind), pts, frame.data))
                assert decoder.symbol_hash == gop.symbol_hash, setting
        frames = FrameBatch.concatenate(shown)
        for plane in ("y", "u", "v"):
            off = np.abs(getattr(frames, plane).astype(int) - stored[plane])
            worst = max(worst, float((off > 0).mean()))
            levels, share = tolerance(name)
            assert off.max() <= levels, setting
            assert (off > 0).sum() <= 2 + share * off.size, setting
    print(f"{name}: at most {100 * worst:.3f} % of the samples differ")


def test_every_setting_is_met() -> None:
    assert 3 * len(NAMES) >= len(SETTINGS)


def test_decoding_needs_no_compressai_and_no_torchvision() -> None:
    """A fresh process in which they cannot be imported decodes all the same."""
    code = (
        "import sys\n"
        "for name in ('compressai', 'torchvision', 'matplotlib', 'skimage', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "import gancodec\n"
        f"with gancodec.open({str(STREAMS / 'pan-sound.gvc')!r}) as video:\n"
        "    print(len(video[:]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "7"
