"""Measure a codec of one's own beside gancodec and x264, on any clip.

    python examples/evaluate.py CLIP [FOLDER]

Prints BD-rates against x264 and leaves the rate-distortion-perception plot in the folder.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import numpy as np

from gancodec import FrameBatch
from gancodec.eval import Clip, ClipSpec, CodecSpec, Suite, bd_rate, plot_rdp, run


class Deflated:
    """Drops the lowest bits of every sample and deflates the rest: a codec in ten lines."""

    def __init__(self, quality: float) -> None:
        self.dropped = 8 - int(quality)

    def encode(self, clip: Clip) -> bytes:
        planes = (clip.frames.y, clip.frames.u, clip.frames.v)
        head = np.array([self.dropped, *clip.frames.y.shape], np.int32).tobytes()
        return head + zlib.compress(b"".join((p >> self.dropped).tobytes() for p in planes), 9)

    def decode(self, data: bytes) -> FrameBatch:
        dropped, count, height, width = map(int, np.frombuffer(data[:16], np.int32))
        flat = np.frombuffer(zlib.decompress(data[16:]), np.uint8) << dropped
        luma, rows, columns = count * height * width, (height + 1) // 2, (width + 1) // 2
        y, u, v = np.split(flat, [luma, luma + count * rows * columns])
        shape = (count, rows, columns)
        pts = np.arange(count, dtype=np.int64)
        return FrameBatch(y.reshape(count, height, width), u.reshape(shape), v.reshape(shape), pts)


def main(clip: str, folder: str = "runs/example", frames: int = 8) -> None:
    """Three codecs at a few qualities each, then BD-rate and a plot."""
    suite = Suite(
        name="example",
        clips=(ClipSpec(clip, frames=frames, scale=(192, -2)),),
        codecs=(
            CodecSpec("x264 medium", "x264", (20, 26, 32, 38, 44), {"preset": "medium"}),
            CodecSpec("gancodec", "gvc", (0, 20, 40, 63)),
            CodecSpec("deflated", "deflated", (1, 2, 3, 4, 5)),
        ),
        metrics=("psnr-y", "ssim"),
        anchor="x264 medium",
    )
    summary = run(suite, folder, jobs=1, codecs={"deflated": Deflated})
    for test in ("gancodec", "deflated"):
        print(bd_rate(summary.records, anchor="x264 medium", test=test, metric="psnr-y").to_text())
    figure = plot_rdp(summary.records, distortion="psnr-y", perception="ssim")
    figure.savefig(Path(folder) / "rdp.svg")


if __name__ == "__main__":
    main(*sys.argv[1:3])
