"""Tables of a report: what was run, what failed, and every record's numbers.

All text comes from records, and so from strangers: it is escaped here, where it becomes HTML.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gancodec.eval.metric import Metric
from gancodec.eval.metrics import METRICS
from gancodec.eval.records import Record
from gancodec.terminal import printable


def escape(text: object) -> str:
    """Text as it may stand in HTML and in attributes; control characters become visible."""
    return html.escape(printable(text), quote=True)


def cell(content: str, *, kind: str = "", tag: str = "td") -> str:
    """A cell of HTML; ``kind`` is its class."""
    return f'<{tag} class="{kind}">{content}</{tag}>' if kind else f"<{tag}>{content}</{tag}>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    """A table of texts, which are escaped, in a box that scrolls sideways when it is too wide.

    Numbers stand to the right: of class "numbers", all columns but the first.
    """
    top = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(map(cell, map(escape, rest)))}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="wide" tabindex="0"><table class="{kind}"><thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def metrics_of(records: Iterable[Record]) -> list[Metric]:
    """The metrics that any record has a score for, in the order of `METRICS`."""
    named = {name for record in records for name in record.scores}
    return [metric for metric in METRICS if metric.name in named]


def number(value: float | None, metric: Metric | None = None) -> str:
    """A value with the digits that its unit deserves."""
    if value is None:
        return "–"
    if metric is not None and metric.unit == "dB":
        return f"{value:.2f}"
    if abs(value) >= 1000:
        return size(value)
    return (f"{value:#.3g}" if metric is None else f"{value:#.4g}").rstrip(".")


def size(count: float) -> str:
    """Bytes with thousands apart."""
    return f"{count:,.0f}".replace(",", " ")  # a narrow space that does not break


# ── What was run ─────────────────────────────────────────────────────────────────────────────


def about_run(records: Sequence[Record], anchor: str) -> str:
    """Clips, codecs and machines."""
    parts = [
        table(("clip", "size", "frames", "rate", "pictures (SHA-256)"), _clip_rows(records)),
        table(("codec", "kind", "qualities", "settings", "coded by"), _codec_rows(records, anchor)),
        table(("machine", "records"), _machine_rows(records)),
    ]
    return "\n".join(parts)


def _clip_rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    found: dict[tuple[str, ...], None] = {}
    for r in sorted(records, key=lambda r: not r.width):  # first those that know the clip
        row = (r.clip, f"{r.width}×{r.height}", str(r.frames), f"{r.fps:.4g} frames/s")
        if r.width:
            found.setdefault((*row, r.clip_sha256[:12]))
        elif r.clip not in {known[0] for known in found}:
            found.setdefault((r.clip, "–", "–", "–", r.clip_sha256[:12] or "–"))
    return sorted(found)


def _codec_rows(records: Sequence[Record], anchor: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for label in dict.fromkeys(r.codec for r in records):
        mine = [r for r in records if r.codec == label]
        settings = {pairs({**r.settings, **r.decode}): None for r in mine}
        versions = {pairs(r.versions): None for r in mine}
        rows.append(
            (
                f"{label} (anchor)" if label == anchor else label,
                mine[0].kind,
                ", ".join(f"{q:g}" for q in sorted({r.quality for r in mine})),
                "; ".join(settings) or "–",
                "; ".join(versions) or "–",
            )
        )
    return rows


def _machine_rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    count: dict[str, int] = {}
    for record in records:
        text = pairs(record.machine) or "not recorded"
        count[text] = count.get(text, 0) + 1
    return [(text, str(n)) for text, n in count.items()]


def pairs(values: Mapping[str, Any]) -> str:
    """``a 1, b 2`` of a dict."""
    return ", ".join(f"{key} {value}" for key, value in values.items())


def failures(records: Sequence[Record]) -> str:
    """Records that lack something, grouped by reason; empty where nothing does."""
    groups: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for r in records:
        for what, why in r.lacks.items():
            clips = groups.setdefault((r.codec, what, why), {})
            clips.setdefault(r.clip, []).append(f"{r.quality:g}")
    rows = [
        (
            codec,
            what,
            str(sum(map(len, clips.values()))),
            "; ".join(f"{clip}: {', '.join(dict.fromkeys(q))}" for clip, q in clips.items()),
            why,
        )
        for (codec, what, why), clips in groups.items()
    ]
    return table(("codec", "lacks", "records", "clip: qualities", "why"), rows) if rows else ""


# ── Every record ─────────────────────────────────────────────────────────────────────────────


def clip_tables(records: Sequence[Record]) -> str:
    """A table a clip, folded but for the first."""
    metrics = metrics_of(records)
    head = ["codec", "quality", "bytes", "bits/pixel", "kbit/s"]
    head += [f"{m.title} {'↑' if m.higher_is_better else '↓'}" for m in metrics]
    head += ["encoded, frames/s", "decoded, frames/s", "record"]
    parts: list[str] = []
    for clip in sorted({r.clip for r in records}):
        mine = [r for r in records if r.clip == clip and not r.error]
        mine.sort(key=lambda r: (r.codec, r.bytes))
        rows = [_record_row(r, metrics) for r in mine]
        is_open = "" if parts else " open"
        parts.append(
            f"<details{is_open}><summary>{escape(clip)}</summary>\n"
            f"{table(head, rows, kind='numbers')}</details>"
        )
    return "\n".join(parts)


def _record_row(r: Record, metrics: Sequence[Metric]) -> list[str]:
    rates = [f"{r.quality:g}", size(r.bytes), f"{r.bpp:.4f}", f"{r.kbps:.1f}"]
    values = [number(r.value(m.name), m) for m in metrics]
    speed = [number(r.value(name)) for name in ("encode_fps", "decode_fps")]
    return [r.codec, *rates, *values, *speed, r.key[:12]]
