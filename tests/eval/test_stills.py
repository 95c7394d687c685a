"""Picture codecs on a photograph, against Pillow's decoders and by their sizes."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from gancodec.errors import UsageError
from gancodec.eval.clips import Clip
from gancodec.eval.codecs import build_codec
from gancodec.eval.fidelity import psnr_of_planes
from gancodec.types import Color, FrameBatch
from gancodec.video.color import rgb_to_yuv420
from gancodec.video.synth import clip_info

# kind, qualities from best to worst
STILLS = [("jpeg", (100, 85, 20)), ("webp", (100, 80, 5)), ("avif", (1, 20, 60))]
BT601_FULL = Color(primaries=1, transfer=13, matrix=6, full_range=True, chroma_location=2)
BT601 = replace(BT601_FULL, full_range=False)


def photograph(width: int, height: int, color: Color = BT601) -> Clip:
    rgb = skimage.data.astronaut()[None, 20 : 20 + height, 160 : 160 + width]
    frames = FrameBatch(*rgb_to_yuv420(np.ascontiguousarray(rgb), color), np.zeros(1, np.int64))
    return Clip("astronaut", replace(clip_info(frames), color=color), frames)


@pytest.mark.parametrize(("kind", "qualities"), STILLS)
@pytest.mark.parametrize("size", [(128, 96), (65, 51)])
def test_round_trip(kind: str, qualities: tuple[int, int, int], size: tuple[int, int]) -> None:
    clip = photograph(*size)
    sizes, found = [], []
    for quality in qualities:
        data = build_codec(kind, quality).encode(clip)
        decoded = build_codec(kind, qualities[1]).decode(data)
        sizes.append(len(data))
        found.append(psnr_of_planes(clip.frames.y, decoded.y)[0])
        assert decoded.u.shape == clip.frames.u.shape
    assert sizes[0] > sizes[1] > sizes[2]
    assert found[0] > found[1] > found[2]
    assert found[0] > 48
    assert found[1] > 35
    # No conversion stands in the way: chroma is as near as luma, far beyond what RGB would leave.
    best = build_codec(kind, qualities[0])
    decoded = best.decode(best.encode(clip))
    assert min(psnr_of_planes(getattr(clip.frames, p), getattr(decoded, p))[0] for p in "uv") > 49


@pytest.mark.parametrize(
    ("kind", "quality", "color"),
    [("jpeg", 95, BT601_FULL), ("webp", 95, BT601), ("avif", 5, BT601)],
)
def test_other_programs_see_the_same_picture(kind: str, quality: int, color: Color) -> None:
    clip = photograph(128, 96, color)
    codec = build_codec(kind, quality)
    data = codec.encode(clip)
    image = Image.open(io.BytesIO(data))
    assert image.format is not None
    assert image.format.lower() == kind
    rgb = np.asarray(image.convert("RGB"))[None]
    theirs = rgb_to_yuv420(rgb, color)
    ours = codec.decode(data)
    for mine, other in zip((ours.y, ours.u, ours.v), theirs, strict=True):
        assert np.abs(mine.astype(int) - other).mean() < 1.5
    assert getattr(codec, "suffix")[1:] in (kind, "jpg")  # noqa: B009


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_a_film_is_refused(kind: str) -> None:
    one = photograph(64, 64)
    two = Clip("film", one.info, FrameBatch.concatenate([one.frames, one.frames]))
    with pytest.raises(UsageError, match="for pictures, and film has 2 frames"):
        build_codec(kind, 50).encode(two)


@pytest.mark.parametrize(
    ("kind", "quality", "settings", "complaint"),
    [
        ("jpeg", 0, {}, "1 to 100, got 0"),
        ("jpeg", 50.5, {}, "whole number"),
        ("webp", 101, {}, "0 to 100"),
        ("avif", 0, {}, "1 to 63"),
        ("avif", 30, {"params": "bogus=1"}, "bogus"),
        ("webp", 50, {"method": 9}, "method of a WebP is 0 to 6, got 9"),
    ],
)
def test_settings_out_of_range(
    kind: str, quality: float, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        build_codec(kind, quality, settings).encode(photograph(64, 64))
