"""Detail after x264, x265 and SVT-AV1 at rates, on clips and with presets that no training used."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from enhancement_scores import (
    Gate,
    Judged,
    Scores,
    at_least,
    at_most,
    less,
    mean_over,
    over,
)
from enhancement_sources import Settings, psnr_y, st_lpips, warp_error, with_luma
from enhancement_sr import sharpened

from gancodec.eval.bdrate import bd_rate_of_points
from gancodec.eval.clips import Clip
from gancodec.eval.codecs import build_codec
from gancodec.types import FrameBatch

STRENGTHS = (0.0, 0.5, 1.0)
FAITHFUL, DETAILED, PLAIN = "strength 0", "strength 1", "plain"
IDENTITY, SHARPENED, GRAIN = "null: identity", "null: sharpened", "null: grain"
NULLS = (IDENTITY, SHARPENED, GRAIN)
GAIN = 0.0  # dB of strength 0 over plain
RATE = -20.0  # per cent of bytes at equal ST-LPIPS, strength 1; an identity has 0
STEADY = 1.2  # warping error of strength 1, times plain's
_SURE = 1e-9
_SHARPEN = 1.0, 0.4  # radius and amount of an unsharp mask
_GRAIN = 1.5  # deviation: a little noise looks like detail to a distance of features


class Peer(NamedTuple):
    """A codec, and its rate factors: training drew its own, on other clips."""

    name: str
    kind: str
    qualities: tuple[float, ...]
    settings: dict[str, Any]


PEERS = (
    Peer("x264", "x264", (26.5, 31.5, 36.5, 41.5), {"preset": "medium"}),
    Peer("x265", "x265", (26.5, 31.5, 36.5, 41.5), {"preset": "medium"}),
    Peer("SVT-AV1", "svtav1", (32, 40, 48, 56), {"preset": 6}),
)


def measure(clip: Clip, settings: Settings, peers: tuple[Peer, ...] = PEERS) -> Scores:
    """Every codec, rate and strength on one clip."""
    scores = Scores()
    if len(clip) < 2:
        return scores  # one frame has no rate to speak of
    for peer in peers:
        for quality in peer.qualities:
            codec = build_codec(peer.kind, quality, peer.settings)
            data = codec.encode(clip)
            decoded = codec.decode(data)
            rate = 8 * len(data) / clip.pixels
            shown = {
                PLAIN: decoded,
                SHARPENED: sharpened(decoded, *_SHARPEN),
                GRAIN: with_grain(decoded, settings.rng(clip.name, peer.name, quality)),
            }
            for strength in STRENGTHS:
                shown[f"strength {strength:g}"] = settings.enhance(
                    "detail", decoded, strength=strength, bits_per_pixel=rate
                )
            for method, frames in shown.items():
                found = {
                    "bpp": rate,
                    "psnr_y": psnr_y(clip.frames, frames),
                    "st_lpips_vgg": st_lpips(clip, frames, settings.every),
                    "warp_error": warp_error(clip, frames),
                }
                methods = (PLAIN, IDENTITY) if method == PLAIN else (method,)
                for name in methods:
                    scores.put(f"{peer.name} {quality:g}", name, clip.name, **found)
    return scores


def with_grain(frames: FrameBatch, rng: np.random.Generator) -> FrameBatch:
    """Luma with a little noise of its own in every frame."""
    return with_luma(frames, frames.y + _GRAIN * rng.standard_normal(frames.y.shape))


def summary_of(scores: Scores, peers: tuple[Peer, ...] = PEERS) -> Scores:
    """By codec: gain of PSNR-Y, BD-rate of ST-LPIPS and ratio of warping error against plain."""
    found = Scores()
    for peer in peers:
        cases = [f"{peer.name} {q:g}" for q in peer.qualities]
        for method in (*(f"strength {s:g}" for s in STRENGTHS), *NULLS):
            gain, steady = (
                mean_over([combine(scores.of(c, method, m), scores.of(c, PLAIN, m)) for c in cases])
                for combine, m in ((less, "psnr-y"), (over, "warp-error"))
            )
            for source, value in gain.items():
                found.put(
                    peer.name,
                    method,
                    source,
                    psnr_y_gain=value,
                    bd_rate=_bd_rate(scores, cases, method, source),
                    warp_ratio=steady.get(source),
                )
    return found


def _bd_rate(scores: Scores, cases: list[str], method: str, source: str) -> float | None:
    """Per cent of bytes at equal ST-LPIPS, against the codec alone."""

    def points(name: str) -> list[tuple[float, float]]:
        pairs = [
            (scores.of(c, name, "bpp").get(source), scores.of(c, name, "st-lpips-vgg").get(source))
            for c in cases
        ]
        return [(rate, value) for rate, value in pairs if rate is not None and value is not None]

    return bd_rate_of_points(points(PLAIN), points(method), higher_is_better=False).percent


def gates_of(
    summary: Scores,
    faithful: str = FAITHFUL,
    detailed: str = DETAILED,
    peers: tuple[Peer, ...] = PEERS,
) -> list[Gate]:
    """The gates of methods that claim to be the faithful and the detailed one."""
    gates = []
    for peer in peers:
        name = peer.name
        gates += [
            at_least(
                f"{name} PSNR-Y, strength 0 - plain",
                GAIN - _SURE,
                summary.of(name, faithful, "psnr-y-gain"),
            ),
            at_most(
                f"{name} BD-rate % of ST-LPIPS, strength 1",
                RATE,
                summary.of(name, detailed, "bd-rate"),
            ),
            at_most(
                f"{name} warping error, strength 1 / plain",
                STEADY,
                summary.of(name, detailed, "warp-ratio"),
            ),
        ]
    return gates


def judge(scores: Scores, peers: tuple[Peer, ...] = PEERS) -> Judged:
    """Ours, and models that must fail: one that changes nothing, sharpening, and noise."""
    summary = summary_of(scores, peers)
    return Judged(
        gates_of(summary, peers=peers),
        {name: gates_of(summary, name, name, peers) for name in NULLS},
    )
