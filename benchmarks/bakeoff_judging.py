"""Judging of the bake-off: bits and PSNR-Y of recurrent coding, and BD-rates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from bakeoff_nets import Net, after_intra, kmac_of
from bakeoff_training import code_intra, load_intra, load_variant
from bakeoff_vectors import VectorCoder

from gancodec.errors import UsageError
from gancodec.eval.bdrate import bd_rate_of_points
from gancodec.models.compress import IntraCodec, level_of_step
from gancodec.nn.planes import Planes, planes_of
from gancodec.train.data import find_sources
from gancodec.types import FrameBatch
from gancodec.video.reader import open_video

ANCHOR = "motion"
STEPS = 160.0, 96.0, 58.0, 35.0, 21.0  # quantiser steps of inter frames, in sample values

Report = dict[str, Any]


def read_clip(path: Path, frames: int) -> FrameBatch:
    """The first frames of a clip.

    Raises:
        UsageError: when there are fewer than two.
    """
    batches: list[FrameBatch] = []
    with open_video(path) as video:
        for batch in video.batches(8):
            batches.append(batch)
            if sum(map(len, batches)) >= frames:
                break
    if sum(map(len, batches)) < 2:
        raise UsageError(f"{path} has fewer than two frames; nothing there is predicted")
    return FrameBatch.concatenate(batches)[:frames]


@torch.inference_mode()
def judge_clip(net: Net, intra: IntraCodec, clip: FrameBatch, level: int) -> dict[str, Any]:
    """Code a clip as one GOP at one level of inter frames.

    A last chunk that is not full repeats the clip's last frame: these bits count, too.
    """
    device = torch.device("cpu")
    quality = torch.tensor([level])
    frames = [planes_of(clip, k, device) for k in range(len(clip))]
    picture, bits = code_intra(intra, frames[0], quality, net.config)
    point: dict[str, Any] = {"level": level, "intra_bits": float(bits.sum())}
    point |= {"latent_bits": 0.0, "hyper_bits": 0.0, "motion_bits": 0.0}
    shown = [_psnr_y(picture, clip, 0)]
    state, vectors = after_intra(net, picture), VectorCoder(net.choice)
    for begin in range(1, len(frames), net.unit):
        unit = frames[begin : begin + net.unit]
        unit += [frames[-1]] * (net.unit - len(unit))
        motion, motion_bits = vectors.find(unit[0], state, level)
        coded = net.code(unit, state, motion, quality)
        state = coded.state
        point["latent_bits"] += float(coded.bits - coded.hyper_bits)
        point["hyper_bits"] += float(coded.hyper_bits)
        point["motion_bits"] += motion_bits
        for k, picture in enumerate(coded.pictures[: len(frames) - begin]):
            shown.append(_psnr_y(picture, clip, begin + k))
    point["psnr_y_frames"] = [round(x, 3) for x in shown]
    point["inter_bits"] = sum(point[k] for k in ("latent_bits", "hyper_bits", "motion_bits"))
    point["psnr_y_inter"] = sum(shown[1:]) / len(shown[1:])
    point["bits"] = point["intra_bits"] + point["inter_bits"]
    point["psnr_y"] = sum(shown) / len(shown)
    return point


def _psnr_y(picture: Planes, clip: FrameBatch, frame: int) -> float:
    """In dB, of the visible part of a picture in whole sample values."""
    source = torch.from_numpy(clip.y[frame]).float()
    h, w = source.shape
    shown = (picture.y[0, 0, :h, :w] * 255).round()
    mse = float((shown - source).square().mean())
    return 10 * math.log10(255**2 / max(mse, 1e-6))


def judge(files: list[Path], clips: Path, frames: int, steps: tuple[float, ...] = STEPS) -> Report:
    """Code all clips with all variants and compare each with the first file of `ANCHOR`.

    Raises:
        UsageError: when the anchor is missing, files have one name or differ in their intra net.
    """
    nets = {file.stem: load_variant(file) for file in files}
    anchors = [label for label, (_, meta) in nets.items() if meta["variant"] == ANCHOR]
    if not anchors:
        raise UsageError(f"no file is of the variant {ANCHOR!r}, which the others are compared to")
    intras = {meta["intra"] for _, meta in nets.values()}
    if len(nets) < len(files) or len(intras) > 1:
        raise UsageError("files need names of their own and one intra net for all")
    intra = load_intra(intras.pop())
    sources, _ = find_sources([clips])
    report: Report = {"frames": frames, "steps": list(steps), "anchor": anchors[0], "variants": {}}
    for label, (net, meta) in nets.items():
        decoder, encoder = kmac_of(net.choice)
        levels = [round(float(level_of_step(net.config, step))) for step in steps]
        report["variants"][label] = {
            **{k: v for k, v in meta.items() if k != "choice"},
            "decoder_kmac": round(decoder, 4),
            "encoder_kmac": round(encoder, 4),
            "clips": {
                path.stem: [judge_clip(net, intra, clip, level) for level in levels]
                for path in sources
                for clip in [read_clip(path, frames)]
            },
        }
    for entry in report["variants"].values():
        entry["bd_rate"] = _bd_rates(report["variants"][anchors[0]]["clips"], entry["clips"])
    return report


def _bd_rates(anchor: Report, test: Report) -> Report:
    """Percent by clip and their mean: of inter frames alone, and with the intra frame."""
    out: Report = {}
    for kind, rate, quality in (
        ("inter", "inter_bits", "psnr_y_inter"),
        ("all", "bits", "psnr_y"),
    ):
        by_clip = {}
        for clip in anchor:
            curves = [[(p[rate], p[quality]) for p in part[clip]] for part in (anchor, test)]
            by_clip[clip] = bd_rate_of_points(curves[0], curves[1], True).percent
        known = [x for x in by_clip.values() if x is not None]
        mean = sum(known) / len(known) if known else None
        out[kind] = {"clips": by_clip, "mean": mean, "clips_known": len(known)}
    return out


def table_of(report: Report) -> str:
    """The report as text, the best first; every number in it is in the JSON, too."""

    def percent(x: float | None) -> str:
        return "     none" if x is None else f"{x:+8.2f}%"

    def order(label: str) -> float:
        mean = report["variants"][label]["bd_rate"]["inter"]["mean"]
        return math.inf if mean is None else mean

    lines = [
        f"BD-rate (PSNR-Y) against {report['anchor']}, GOP of {report['frames']}",
        f"{'':24} {'inter':>9} {'with intra':>10} {'clips':>6} {'decoder':>8} {'encoder':>8} "
        f"{'steps':>6} {'CPU s':>8}",
    ]
    for label in sorted(report["variants"], key=order):
        entry = report["variants"][label]
        inter, whole = entry["bd_rate"]["inter"], entry["bd_rate"]["all"]
        lines.append(
            f"{label:24} {percent(inter['mean'])} {percent(whole['mean']):>10} "
            f"{inter['clips_known']:>6} {entry['decoder_kmac']:8.3f} {entry['encoder_kmac']:8.3f} "
            f"{entry['steps']:>6} {entry['cpu_seconds']:>8}"
        )
    return "\n".join(lines)
