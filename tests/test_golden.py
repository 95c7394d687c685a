"""Golden streams: what was written once decodes to the same symbols for ever.

`gancodec.verify` proves the symbols (the file holds their hash); pictures come from float nets and
may differ by one level in a few samples, so they are compared with stored ones. The streams are
made by tests/streams/make.py.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import gancodec

STREAMS = Path(__file__).parent / "streams"
NAMES = sorted(p.stem for p in STREAMS.glob("*.gvc"))


def test_streams_are_there() -> None:
    assert {"pan-sound", "odd-vfr", "dot", "cut-coarsest", "text-finest"} <= set(NAMES)  # base.v1
    assert {"v2-pan", "v2-cut-coarsest", "v2-text-finest"} <= set(NAMES)
    assert {"v3-pan", "v3-moving", "v3-text-finest"} <= set(NAMES)
    assert {"v4-pan", "v4-moving"} <= set(NAMES)


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
        assert off.max() <= 1
        assert (off > 0).sum() <= 2 + 0.002 * off.size


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
