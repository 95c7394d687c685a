"""Crops of the same place at the same bytes: source, peers, and gancodec without and with its head.

    python benchmarks/contact_sheet.py docs/crops.webp \\
        --crop rafting.mkv 20 12 200 90 --crop kodim23.webp 0 20 300 150

A row a ``--crop CLIP FRAME QUALITY LEFT TOP``. gancodec codes the clip at that quality; x265 medium
and SVT-AV1 preset 6 (AVIF and WebP for a single picture) code it at the rate factor whose file is
nearest in size. Over each crop stand the bytes of its whole file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gancodec.config import EncodeOptions
from gancodec.errors import GancodecError, UsageError
from gancodec.eval.classic import X265, SvtAv1
from gancodec.eval.clips import Clip, read_clip
from gancodec.eval.codecs import Codec
from gancodec.eval.own import GvcCodec
from gancodec.eval.side_by_side import Picture, save_side_by_side
from gancodec.eval.stills import Avif, WebP
from gancodec.types import FrameBatch
from gancodec.video.color import yuv420_to_rgb

Maker = Callable[[int], Codec]


@dataclass(frozen=True, slots=True)
class Peer:
    """A codec whose ``best`` to ``worst`` quality numbers are searched for a size."""

    name: str
    make: Maker
    best: int
    worst: int

    def nearest(self, clip: Clip, size: int) -> tuple[Codec, bytes]:
        """The setting whose file is nearest to ``size`` bytes, and that file."""
        low, high = sorted((self.best, self.worst))
        files: dict[int, bytes] = {}

        def file(number: int) -> bytes:
            if number not in files:
                files[number] = self.make(number).encode(clip)
            return files[number]

        while high - low > 1:
            middle = (low + high) // 2
            smaller = len(file(middle)) < size
            if smaller == (self.best < self.worst):
                high = middle
            else:
                low = middle
        number = min((low, high), key=lambda k: abs(len(file(k)) - size))
        return self.make(number), files[number]


VIDEO = Peer("x265", X265, 10, 51), Peer("SVT-AV1", lambda q: SvtAv1(q, preset=6), 10, 63)
STILL = Peer("AVIF", Avif, 10, 63), Peer("WebP", WebP, 100, 0)


@dataclass(frozen=True, slots=True)
class Place:
    """What a row shows."""

    clip: Path
    frame: int
    quality: float
    left: int
    top: int

    @classmethod
    def parse(cls, words: list[str]) -> Place:
        """Of the five words after ``--crop``."""
        try:
            return cls(Path(words[0]), int(words[1]), float(words[2]), int(words[3]), int(words[4]))
        except ValueError as error:
            raise UsageError(f"--crop is CLIP FRAME QUALITY LEFT TOP: {error}") from error


def crops_of(place: Place, size: tuple[int, int], model: str) -> list[tuple[str, Picture]]:
    """The labelled crops of a row: source, two peers, realism 0 and 1."""
    clip = read_clip(place.clip)
    still = len(clip) == 1
    width, height = size
    inside = 0 <= place.left <= clip.info.width - width
    if not inside or not 0 <= place.top <= clip.info.height - height:
        raise UsageError(
            f"a crop of {width}x{height} at {place.left}, {place.top} leaves {clip.name}"
        )
    if not 0 <= place.frame < len(clip):
        raise UsageError(f"{clip.name} has {len(clip)} frames, there is no frame {place.frame}")

    def crop(frames: FrameBatch) -> Picture:
        rgb: Picture = yuv420_to_rgb(frames[place.frame : place.frame + 1], clip.info.color)[0]
        return rgb[place.top : place.top + height, place.left : place.left + width]

    def own(realism: float) -> GvcCodec:
        gop = 1 if still else EncodeOptions().gop
        return GvcCodec(place.quality, gop=gop, model=model, realism=realism)

    data = own(0).encode(clip)
    shown = [("source", crop(clip.frames))]
    for peer in STILL if still else VIDEO:
        codec, file = peer.nearest(clip, len(data))
        shown.append((f"{peer.name}, {len(file):,}", crop(codec.decode(file))))
    for realism in (0, 1):
        label = f"gancodec, {len(data):,}" if realism == 0 else "realism 1"
        shown.append((label, crop(own(realism).decode(data))))
    return shown


def main(arguments: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = ("CLIP", "FRAME", "QUALITY", "LEFT", "TOP")
    parser.add_argument("sheet", type=Path, help="picture to write: .webp, .jpg or .png")
    parser.add_argument("--crop", nargs=5, action="append", required=True, metavar=words)
    parser.add_argument("--size", type=int, nargs=2, default=(176, 144), metavar=("W", "H"))
    parser.add_argument("--model", default=EncodeOptions().model, help="name or folder of weights")
    chosen = parser.parse_args(arguments)
    try:
        places = [Place.parse(words) for words in chosen.crop]
        rows = [crops_of(place, tuple(chosen.size), chosen.model) for place in places]
        save_side_by_side(rows, chosen.sheet)
    except GancodecError as error:
        print(f"contact_sheet: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
