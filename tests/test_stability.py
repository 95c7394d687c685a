"""A long GOP neither drifts nor shimmers: every picture leans on the one before, for minutes."""

from __future__ import annotations

import numpy as np
import pytest

from gancodec.codec import Decoder, Encoder
from gancodec.config import EncodeOptions
from gancodec.registry import load_model
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video import synth


def decoded(batch: FrameBatch, quality: float) -> FrameBatch:
    """All frames in one GOP, as realism 0 shows them."""
    info: VideoInfo = synth.clip_info(batch)
    options = EncodeOptions(quality=quality, gop=1024, scene_cuts=False)
    encoder = Encoder(info, options)
    decoder = Decoder(info, load_model(options.model), realism=0)
    return FrameBatch.concatenate(
        [decoder.decode(p.kind, p.pts, p.data) for p in encoder.encode(batch)]
    )


def psnr(a: FrameBatch, b: FrameBatch, part: slice) -> float:
    error = a.y[part].astype(float) - b.y[part]
    return float(10 * np.log10(255**2 / np.square(error).mean((1, 2)).clip(1e-6)).mean())


@pytest.mark.parametrize("quality", [8, 40])
def test_no_drift_in_three_hundred_frames(quality: float) -> None:
    batch = synth.moving_texture(80, 64, 300, seed=7)
    shown = decoded(batch, quality)
    # The first second still lives on the intra frame, which is better; then nothing may be lost.
    start, end = (psnr(shown, batch, part) for part in (slice(32, 96), slice(236, 300)))
    assert end > start - 0.5 * 2  # dB; half a decibel for every hundred frames


def test_still_scenes_do_not_shimmer() -> None:
    """A camera's noise over a picture that stands still: no more change than the source's own."""
    rng = np.random.default_rng(8)
    picture = synth.moving_texture(96, 64, 1, seed=8)
    noisy = np.clip(picture.y + rng.normal(0, 2, (24, 64, 96)), 0, 255).round().astype(np.uint8)
    chroma = np.repeat(picture.u, 24, 0), np.repeat(picture.v, 24, 0)
    batch = FrameBatch(noisy, *chroma, np.arange(24, dtype=np.int64))
    for quality in (0, 30, 63):
        shown = decoded(batch, quality)
        changes = np.square(np.diff(shown.y.astype(float), axis=0)).mean()
        assert changes < 1.05 * np.square(np.diff(noisy.astype(float), axis=0)).mean()


def test_a_frozen_picture_stays() -> None:
    """Without any noise, what changes from frame to frame is below what can be seen."""
    picture = synth.moving_texture(96, 64, 1, seed=9)
    planes = (np.repeat(p, 24, 0) for p in (picture.y, picture.u, picture.v))
    batch = FrameBatch(*planes, np.arange(24, dtype=np.int64))
    shown = decoded(batch, 20)
    assert np.abs(np.diff(shown.y[2:].astype(float), axis=0)).mean() < 1.0
