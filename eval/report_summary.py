"""Where our codec wins and where it loses, told with the same weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gancodec.errors import UsageError
from gancodec.eval.bdrate import bd_rate
from gancodec.eval.bdtable import BdTable, ClipDelta, Summary
from gancodec.eval.records import Record
from gancodec.eval.report_tables import cell, escape, metrics_of, number, table

_SHOWN = 12  # sentences in either column before the rest is folded away
_SIGNS = {"win": "▼ wins", "loss": "▲ loses", "even": "◆ undecided", "none": "no number"}


@dataclass(frozen=True, slots=True)
class Comparisons:
    """BD tables of one codec of ours, by anchor and metric; ``missing``: why some are not here."""

    test: str
    tables: dict[tuple[str, str], BdTable]
    missing: tuple[str, ...]


def ours_and_anchors(records: Sequence[Record], anchor: str) -> tuple[list[str], list[str]]:
    """Labels of our codec (kind "gvc") and of all others.

    Where ours is not among them, all are compared with ``anchor``, or with the first.
    """
    labels = list(dict.fromkeys(r.codec for r in records if not r.error))
    kinds = {r.codec: r.kind for r in records}
    ours = [label for label in labels if kinds[label] == "gvc"]
    if not ours and labels:
        against = anchor if anchor in labels else labels[0]
        return [label for label in labels if label != against], [against]
    return ours, [label for label in labels if label not in ours]


def compare_all(records: Sequence[Record], test: str, anchors: Sequence[str]) -> Comparisons:
    """BD-rates of one codec against each anchor by each metric."""
    tables, missing = {}, []
    complete = [r for r in records if not r.error]
    for anchor in anchors:
        for metric in metrics_of(complete):
            try:
                tables[anchor, metric.name] = bd_rate(complete, anchor, test, metric.name)
            except UsageError as error:
                missing.append(f"{anchor}, {metric.title}: {error}")
    return Comparisons(test, tables, tuple(missing))


def summary_html(records: Sequence[Record], compared: Sequence[Comparisons]) -> str:
    """Matrix and sentences of every codec of ours."""
    if not any(c.tables for c in compared):
        return "<p>There is nothing to compare: no two codecs were measured by one metric.</p>"
    return "\n".join(_one(records, c) for c in compared if c.tables)


def _one(records: Sequence[Record], compared: Comparisons) -> str:
    tally = dict.fromkeys(_SIGNS, 0)
    for bd in compared.tables.values():
        tally[verdict(bd)] += 1
    counted = ", ".join(f"{n} {_SIGNS[kind]}" for kind, n in tally.items())
    return (
        f"<h3>{escape(compared.test)}</h3>\n<p>{len(compared.tables)} means: {escape(counted)}.</p>"
        f"\n{_matrix(records, compared)}\n{_reasons(compared)}\n{_sentences(compared)}"
    )


# ── Matrix ───────────────────────────────────────────────────────────────────────────────────


def verdict(bd: BdTable) -> str:
    """ "win", "loss", "even" where the interval holds zero, or "none"; where no quality is reached
    by both codecs, by the quality at equal bytes."""
    rate = _verdict(bd.rate_summary, True)
    return rate if rate != "none" else _verdict(bd.quality_summary, not bd.higher_is_better)


def _verdict(summary: Summary, lower_wins: bool) -> str:
    if summary.mean is None:
        return "none"
    low = summary.mean if summary.low is None else summary.low
    high = summary.mean if summary.high is None else summary.high
    if low <= 0 <= high:
        return "even"
    return "win" if (summary.mean < 0) == lower_wins else "loss"


def _matrix(records: Sequence[Record], compared: Comparisons) -> str:
    """Metrics down, anchors across, both from the most saved to the most spent."""
    anchors = list(dict.fromkeys(anchor for anchor, _ in compared.tables))
    metrics = list(dict.fromkeys(metric for _, metric in compared.tables))
    anchors.sort(key=lambda a: _middle(bd for (x, _), bd in compared.tables.items() if x == a))
    metrics.sort(key=lambda m: _middle(bd for (_, x), bd in compared.tables.items() if x == m))
    head = "".join(f'<th scope="col">against {escape(anchor)}</th>' for anchor in anchors)
    rows = []
    for metric in metrics:
        line = [compared.tables.get((anchor, metric)) for anchor in anchors]
        title = next(bd.title for bd in line if bd is not None)
        cells = "".join(cell("–") if bd is None else _cell(bd) for bd in line)
        rows.append(f'<tr><th scope="row">at equal {escape(title)}</th>{cells}</tr>')
    body = "\n".join([*rows, *_speed_rows(records, compared.test, anchors)])
    return (
        '<div class="wide" tabindex="0"><table class="matrix"><thead><tr>'
        f'<th scope="col">bytes needed</th>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>'
        "</table></div>"
    )


def _middle(tables: Iterable[BdTable]) -> float:
    known = [math.log1p(m / 100) for bd in tables if (m := bd.rate_summary.mean) is not None]
    return sum(known) / len(known) if known else math.inf


def _cell(bd: BdTable) -> str:
    kind = verdict(bd)
    sign = f"<strong>{_SIGNS[kind]}</strong>"
    rate, quality = bd.rate_summary, bd.quality_summary
    if rate.mean is not None:
        text = f"<b>{_signed(rate.mean)} %</b> {_interval(rate, ' %')}"
    elif quality.mean is not None:
        unit = f" {escape(bd.unit)}" if bd.unit else ""
        text = (
            f"<b>{_signed(quality.mean)}{unit}</b> at equal bytes; no quality is reached by both "
            f"{_interval(quality, unit)}"
        )
    else:
        text = "see below"
    return cell(f"{sign} {text}", kind=kind)


def _interval(summary: Summary, unit: str) -> str:
    clips = f"{summary.clips} of {summary.of_clips} clips"
    if summary.low is None or summary.high is None:
        return f"<small>{clips}</small>"
    return f"<small>{_signed(summary.low)} to {_signed(summary.high)}{unit}; {clips}</small>"


def _signed(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 1 else 3
    text = f"{value:+.{digits}f}" if abs(value) >= 1 else f"{value:+.2g}"
    return text.replace("-", "−")


def _reasons(compared: Comparisons) -> str:
    """Why clips have no BD-rate, which may be the strongest wins and losses of all."""
    rows = [
        (anchor, bd.title, delta.clip, delta.rate.reason)
        for (anchor, _), bd in compared.tables.items()
        for delta in bd.clips
        if delta.rate.reason
    ]
    lost = "".join(f"<li>{escape(text)}</li>" for text in compared.missing)
    if not rows and not lost:
        return ""
    return (
        f"<details><summary>{len(rows) + len(compared.missing)} comparisons have no BD-rate"
        f"</summary>{table(('against', 'metric', 'clip', 'why'), rows)}<ul>{lost}</ul></details>"
    )


# ── Speed ────────────────────────────────────────────────────────────────────────────────────


def _speed_rows(records: Sequence[Record], test: str, anchors: Sequence[str]) -> Iterator[str]:
    """Frames a second beside each anchor, on the clips that both coded."""
    for way, name in (("encoding", "encode_fps"), ("decoding", "decode_fps")):
        ours = _speeds(records, test, name)
        cells = []
        for anchor in anchors:
            theirs = _speeds(records, anchor, name)
            shared = ours.keys() & theirs.keys()
            if not shared:
                cells.append(cell("–"))
                continue
            mine, other = (_geometric(side[clip] for clip in shared) for side in (ours, theirs))
            kind, faster = ("win", "faster") if mine > other else ("loss", "slower")
            ratio = number(max(mine / other, other / mine))
            text = f"<strong>{_SIGNS[kind]}</strong> <b>{ratio} times {faster}</b>"
            rates = f"{number(mine)} and {number(other)} frames/s"
            cells.append(cell(f"{text} <small>{rates}</small>", kind=kind))
        yield f'<tr><th scope="row">speed of {way}</th>{"".join(cells)}</tr>'


def _speeds(records: Sequence[Record], label: str, name: str) -> dict[str, float]:
    by_clip: dict[str, list[float]] = {}
    for record in records:
        value = record.value(name)
        if record.codec == label and value and not record.error:
            by_clip.setdefault(record.clip, []).append(value)
    return {clip: _geometric(values) for clip, values in by_clip.items()}


def _geometric(values: Iterable[float]) -> float:
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs))


# ── Sentences ────────────────────────────────────────────────────────────────────────────────


def _sentences(compared: Comparisons) -> str:
    """Two columns of clip, metric, anchor and number, the largest differences first."""
    sides: dict[str, list[tuple[float, str]]] = {"win": [], "loss": []}
    total = 0
    for (anchor, _), bd in compared.tables.items():
        for delta in bd.clips:
            total += 1
            if (said := _sentence(bd, anchor, delta)) is not None:
                sides[said[0]].append(said[1:])
    columns = "".join(
        f'<div class="{kind}"><h4>{_SIGNS[kind]}: {len(said)} of {total} comparisons clip by clip'
        f"</h4>{_list(sorted(said, key=lambda s: (-s[0], s[1])))}</div>"
        for kind, said in sides.items()
    )
    return f'<div class="sides">{columns}</div>'


def _sentence(bd: BdTable, anchor: str, delta: ClipDelta) -> tuple[str, float, str] | None:
    """Which side, how strongly, and the words; None where there is no number."""
    where = f"<b>{escape(delta.clip)}</b>, {escape(bd.title)}"
    percent, difference = delta.rate.percent, delta.quality.difference
    if percent is not None:
        kind, word = ("win", "fewer") if percent < 0 else ("loss", "more")
        text = f"{where}: <b>{abs(percent):.1f} % {word} bytes</b> than {escape(anchor)}"
        if delta.rate.overlap is not None and delta.rate.overlap.is_thin:
            text += ", over less than half of either curve"
        return kind, abs(math.log1p(percent / 100)), text
    if difference is not None:
        kind = "win" if (difference > 0) == bd.higher_is_better else "loss"
        word = "better" if kind == "win" else "worse"
        unit = f" {escape(bd.unit)}" if bd.unit else ""
        text = (
            f"{where}: at equal bytes <b>{number(abs(difference))}{unit} {word}</b> than "
            f"{escape(anchor)}; no quality is reached by both"
        )
        return kind, math.inf, text
    return None


def _list(said: Sequence[tuple[float, str]]) -> str:
    items = [f"<li>{text}</li>" for _, text in said]
    if not items:
        return "<p>None.</p>"
    shown = f"<ol>{''.join(items[:_SHOWN])}</ol>"
    rest = items[_SHOWN:]
    if rest:
        start = _SHOWN + 1
        shown += (
            f"<details><summary>{len(rest)} more</summary>"
            f'<ol start="{start}">{"".join(rest)}</ol></details>'
        )
    return shown
