"""What `gancodec probe` prints for people; `--json` has all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from gancodec.terminal import in_bytes, printable, table

_NAME_WIDTH = 10
_HASH_DIGITS = 12  # enough to tell weights apart


def describe(found: Mapping[str, Any], name: str) -> str:
    """A few lines about a file, and a table of its frames where they were asked for.

    ``found`` is what `gancodec.probe.probe` gives. Text of the file comes out escaped.
    """
    lines = [printable(name)]
    lines += [f"  {key.ljust(_NAME_WIDTH)}{printable(value)}" for key, value in _facts(found)]
    if "packets" in found:
        lines += ["", _packet_table(found["packets"])]
    return "\n".join(lines)


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    header, sizes = found["header"], found["sizes"]
    rate = Fraction(header["fps"])
    exact = "" if rate.denominator == 1 else f" ({rate})"
    yield (
        "pictures",
        f"{found['frames']} frames of {header['width']}x{header['height']}, "
        f"{float(rate):.6g}{exact} fps, {found['duration']:.3f} s",
    )
    yield from _shape(header)
    total = in_bytes(sizes["bytes"])
    if sizes["kbps"] is not None:
        total += f", {sizes['kbps']:.1f} kbps"
    yield "size", total
    if sizes["video_kbps"] is not None:
        yield (
            "",
            f"pictures and container {sizes['video_kbps']:.1f} kbps, "
            f"{sizes['bits_per_pixel']:.4f} bits a pixel",
        )
    yield "", f"sound {sizes['audio_share']:.1%}, container {sizes['container_share']:.1%}"
    if found["mean_quality"] is not None:
        yield "quality", f"{found['mean_quality']:g} on average"
    gops = len(found["gops"])
    yield "GOPs", f"{gops}, each of {header['max_gop_frames']} frames at most"
    tracks = len(found["audio_tracks"])
    yield "sound", f"{tracks} track{'s' * (tracks > 1)}" if tracks else "none"
    for model in found["models"]:
        yield "model", f"{model['name']}, {model['role']}, {model['sha256'][:_HASH_DIGITS]}"
    yield "format", f"{header['major']}.{header['minor']}"
    for key, value in found["metadata"].items():
        yield "metadata", f"{key}: {value}"
    yield "complete", "yes" if found["complete"] else "no"
    for damage in found["damage"]:
        yield "damage", f"{damage['reason']} (byte {damage['offset']})"


def _shape(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is not as usual about the pictures."""
    odd = []
    if header["variable_rate"]:
        odd.append("variable frame rate")
    if Fraction(header["sample_aspect_ratio"]) != 1:
        odd.append(f"samples of {header['sample_aspect_ratio']}")
    if header["quarter_turns"]:
        odd.append(f"shown turned by {90 * header['quarter_turns']} degrees")
    if header["full_range"]:
        odd.append("full range")
    if odd:
        yield "", ", ".join(odd)


def _packet_table(packets: list[dict[str, Any]]) -> str:
    rows = [("frame", "kind", "quality", "bytes", "seconds")]
    rows += [
        (
            str(p["frame"]),
            printable(p["kind"]),
            "" if p["quality"] is None else str(p["quality"]),
            str(p["bytes"]),
            f"{p['seconds']:.3f}",
        )
        for p in packets
    ]
    return table(rows)
