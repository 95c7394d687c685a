"""PSNR-Y of gancodec and of x264 medium at equal bytes, from files, on any clips.

    python benchmarks/rate_distortion.py CLIPS_OR_FOLDERS... [-q 4,16,28,40,52] [--json OUT]

Each clip is encoded to a .gvc (no sound), decoded from it and compared with its source, frame by
frame. x264 (default settings but for its rate factor) codes the same frames at a ladder of rate
factors; its PSNR at our bytes is read off that ladder by interpolation over log bytes. Where our
file is outside the ladder there is no number. Prints one line a clip and quality.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import gancodec
from gancodec.eval.anchors import decode_h264, encode_x264
from gancodec.eval.fidelity import psnr_of_planes
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.reader import open_video

LADDER = (18, 23, 28, 33, 38, 43, 48, 51)  # rate factors of x264


def read(path: Path) -> tuple[VideoInfo, FrameBatch]:
    """All frames of a clip."""
    with open_video(path) as video:
        return video.info, FrameBatch.concatenate(list(video.batches(16)))


def x264_ladder(info: VideoInfo, frames: FrameBatch) -> list[tuple[int, float]]:
    """(bytes, PSNR-Y) by falling rate factor."""
    points = []
    for crf in sorted(LADDER, reverse=True):
        data = encode_x264(frames, info, crf)
        points.append((len(data), float(psnr_of_planes(frames.y, decode_h264(data).y).mean())))
    return points


def at_bytes(ladder: list[tuple[int, float]], size: int) -> float | None:
    """x264's PSNR-Y at ``size`` bytes, None outside the ladder."""
    sizes = [s for s, _ in ladder]
    if not sizes[0] <= size <= sizes[-1]:
        return None
    return float(np.interp(np.log(size), np.log(sizes), [p for _, p in ladder]))


def measure(path: Path, qualities: list[int], jobs: int | None) -> list[dict[str, object]]:
    """One record a quality."""
    info, frames = read(path)
    ladder = x264_ladder(info, frames)
    records: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for quality in qualities:
            file = Path(folder) / f"{quality}.gvc"
            gancodec.encode(path, file, quality=quality, audio="none", jobs=jobs)
            size = file.stat().st_size
            record: dict[str, object] = {"clip": path.name, "quality": quality, "bytes": size}
            record["bpp"] = 8 * size / frames.y.size
            for realism in (0.0, 1.0):
                with gancodec.open(file, realism=realism) as video:
                    shown = video[:]
                values = [
                    float(psnr_of_planes(a, b).mean())
                    for a, b in ((frames.y, shown.y), (frames.u, shown.u), (frames.v, shown.v))
                ]
                record[f"psnr_{realism:g}"] = values
            record["x264"] = at_bytes(ladder, size)
            records.append(record)
            print(_line(record), flush=True)
    return records


def _line(record: dict[str, object]) -> str:
    y, u, v = record["psnr_0"]  # type: ignore[misc]
    shown, x264 = record["psnr_1"][0], record["x264"]  # type: ignore[index]
    gap = "x264 out of range" if x264 is None else f"x264 {x264:5.2f}  gap {x264 - y:+5.2f} dB"  # type: ignore[operator]
    return (
        f"{record['clip']!s:32} q {record['quality']:2}  {record['bytes']:8} bytes  "
        f"{record['bpp']:.4f} bpp  Y {y:5.2f} U {u:5.2f} V {v:5.2f}  "
        f"realism 1: Y {shown:5.2f}  {gap}"
    )


def main() -> int:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("-q", "--qualities", default="4,16,28,40,52")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    qualities = [int(q) for q in options.qualities.split(",")]
    files = [f for c in options.clips for f in (sorted(c.iterdir()) if c.is_dir() else [c])]
    records = [r for f in files for r in measure(f, qualities, options.jobs)]
    if options.json:
        options.json.write_text(json.dumps(records, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
