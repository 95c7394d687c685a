"""Write golden streams: new ones beside the old with new weights, and a line in CHANGELOG.md.

    python tests/streams/make.py NAME [NAME ...]

A stream that stands is not made again: what an earlier encoder wrote must decode for ever.

Each stream gets a JSON of its symbol hashes and a compressed array of its decoded pictures.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import gancodec
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video import synth

HERE = Path(__file__).parent


def sources() -> Iterator[tuple[str, VideoInfo, FrameBatch, dict[str, Any]]]:
    """Name, clip and options of every stream."""
    pan = synth.moving_texture(64, 48, 7, seed=1)
    yield "pan-sound", synth.clip_info(pan), pan, {"quality": 24, "gop": 4}
    odd = synth.noisy_pan(33, 17, 4, seed=2)
    uneven = FrameBatch(odd.y, odd.u, odd.v, np.array([0, 40, 41, 300], np.int64))
    info = replace(synth.clip_info(odd), time_base=Fraction(1, 1000), fps=Fraction(10))
    yield "odd-vfr", info, uneven, {"quality": 50}
    dot = synth.gradients(1, 1, 2)
    yield "dot", synth.clip_info(dot), dot, {"quality": 10}
    cut = synth.scene_cut(80, 64, 6, seed=3)
    yield "cut-coarsest", synth.clip_info(cut), cut, {"quality": 0}
    text = synth.text_edges(96, 48, 3, seed=4)
    yield "text-finest", synth.clip_info(text), text, {"quality": 63}
    v2: dict[str, Any] = {"model": "base.v2"}
    noisy = synth.noisy_pan(80, 48, 6, seed=5)
    yield "v2-pan", synth.clip_info(noisy), noisy, {"quality": 20, "gop": 4, **v2}
    yield "v2-cut-coarsest", synth.clip_info(cut), cut, {"quality": 0, **v2}
    yield "v2-text-finest", synth.clip_info(text), text, {"quality": 63, "preset": "fast", **v2}
    v3: dict[str, Any] = {"model": "base.v3"}
    yield "v3-pan", synth.clip_info(noisy), noisy, {"quality": 20, "gop": 4, **v3}
    moving = synth.moving_texture(160, 96, 8, seed=6)  # long enough for vectors to be learned
    yield "v3-moving", synth.clip_info(moving), moving, {"quality": 5, **v3}
    yield "v3-text-finest", synth.clip_info(text), text, {"quality": 63, "preset": "slow", **v3}
    v4: dict[str, Any] = {"model": "base.v4"}
    yield "v4-pan", synth.clip_info(noisy), noisy, {"quality": 20, "gop": 4, **v4}
    yield "v4-moving", synth.clip_info(moving), moving, {"quality": 5, **v4}
    v5: dict[str, Any] = {"model": "base.v5"}
    yield "v5-pan", synth.clip_info(noisy), noisy, {"quality": 20, "gop": 4, **v5}
    yield "v5-moving", synth.clip_info(moving), moving, {"quality": 25, **v5}
    v6: dict[str, Any] = {"model": "base.v6"}
    yield "v6-pan", synth.clip_info(noisy), noisy, {"quality": 20, "gop": 4, **v6}
    yield "v6-moving", synth.clip_info(moving), moving, {"quality": 25, **v6}


def main() -> None:
    """Encode, decode, write down."""
    for name, info, batch, options in sources():
        if name not in sys.argv[1:]:
            continue
        target = HERE / f"{name}.gvc"
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source.mkv"
            sound = [synth.tone(0.3)] if name == "pan-sound" else []
            synth.write_test_video(source, batch, info, sound)
            gancodec.encode(source, target, overwrite=True, jobs=1, **options)
        with gancodec.open(target, realism=0) as video:
            frames = video[:]
        np.savez_compressed(HERE / f"{name}.npz", y=frames.y, u=frames.u, v=frames.v)
        facts = {
            "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
            "pts": [int(t) for t in frames.pts],
            "frames": [hashlib.sha256(y.tobytes()).hexdigest()[:16] for y in frames.y],
        }
        (HERE / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
        print(name, target.stat().st_size, "bytes", len(frames), "frames")


if __name__ == "__main__":
    main()
