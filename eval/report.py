"""A run as one HTML file: where our codec wins, where it loses, curves, and the pictures.

    records.jsonl ─┬─► tables, BD-rates, curves ───────────────────┐
    run.json ──────┤                                               ├─► report.html
    files/ ────────┴─► decoded ─► frames and squares in WebP ──────┘

The file needs nothing beside it: its security policy forbids it to load anything, and to run any
script but its own, whatever the names of clips and codecs contain.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from gancodec.errors import InputError, UsageError
from gancodec.eval.codecs import Factory
from gancodec.eval.records import RUN, Record, asked_records, read_about
from gancodec.eval.report_curves import curves_html
from gancodec.eval.report_pictures import PLANS, Album, Plan, make_album
from gancodec.eval.report_summary import compare_all, ours_and_anchors, summary_html
from gancodec.eval.report_tables import about_run, clip_tables, escape, failures, metrics_of

MAX_BYTES = 12_000_000
_HERE = Path(__file__).parent


def write_report(
    run: str | Path,
    output: str | Path,
    *,
    anchor: str | None = None,
    codecs: Mapping[str, Factory] | None = None,
    max_bytes: int = MAX_BYTES,
    plans: Sequence[Plan] = PLANS,
) -> list[str]:
    """Write a run's report; what it could not show, as it is told in the report.

    Args:
        run: folder of a run: records, files, and ``run.json``, which says where the clips are.
        output: the HTML file.
        anchor: label of the codec that the others are compared with; the suite's unless given.
        codecs: kinds of your own, as for `gancodec.eval.runner.run`; they decode.
        max_bytes: of the file. Tables and curves are always in; pictures are as many as fit.
        plans: how much of a clip is shown, from the most to the least.

    Raises:
        UsageError: the run has no such anchor.
        InputError: records cannot be read, or the file cannot be written.
    """
    run, output = Path(run), Path(output)
    about = read_about(run)
    notes = (
        []
        if about
        else [f"the run has no {RUN}, so its clips are not known and no pictures are shown"]
    )
    records, left_out = asked_records(run)
    if left_out:
        notes.append(f"{left_out} records of other suites are left out")
    if not records:
        raise InputError(f"{run} has no records to report; run the suite first")
    labels = list(dict.fromkeys(r.codec for r in records))
    if anchor is not None and anchor not in labels:
        raise UsageError(
            f"the anchor {anchor!r} is no codec of the run; there are: {', '.join(labels)}"
        )
    anchor = anchor or str(about.get("anchor", ""))
    ours, anchors = ours_and_anchors(records, anchor)
    compared = [compare_all(records, label, anchors) for label in ours]
    sections = {
        "Summary": summary_html(records, compared),
        "What was run": about_run(records, anchor),
        "Curves": curves_html(records, anchor, notes),
        "Every record": clip_tables(records),
    }
    taken = sum(map(len, sections.values()))
    album = make_album(
        run,
        about.get("clips", {}),
        records,
        ours[0] if ours else "",
        extra=codecs,
        max_bytes=max_bytes - taken - 200_000,  # the page's own text, and the numbers in its data
        plans=plans,
    )
    notes += album.notes
    page = _page(about, records, sections, album, anchor, ours, notes)
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}") from error
    return notes


# ── The page ─────────────────────────────────────────────────────────────────────────────────


def _page(
    about: Mapping[str, Any],
    records: Sequence[Record],
    sections: Mapping[str, str],
    album: Album,
    anchor: str,
    ours: Sequence[str],
    notes: Sequence[str],
) -> str:
    script = (_HERE / "report.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "Summary": _SUMMARY + sections["Summary"],
        "Failures and gaps": _gaps(records, notes),
        "Pictures": "",
        "Flip-book": "",
        **{title: sections[title] for title in ("Curves", "Every record", "What was run")},
    }
    if album.clips:
        pictures = Template((_HERE / "report_viewers.html").read_text("utf-8"))
        viewers = pictures.substitute(images=_honesty(album))
    else:
        viewers = (
            '<section id="slider"><h2>Pictures at equal bytes</h2><p>There are no pictures: '
            "see the notes under failures and gaps.</p></section>"
        )
        del parts["Flip-book"]
    ids = {"Pictures": "slider", "Flip-book": "film"}
    body, links = [], []
    for title, content in parts.items():
        name = ids.get(title, title.lower().replace(" ", "-"))
        links.append(f'<a href="#{name}">{title}</a>')
        if title == "Pictures":
            body.append(viewers)
        elif title != "Flip-book":
            body.append(f'<section id="{name}">\n<h2>{title}</h2>\n{content}\n</section>')
    return Template((_HERE / "report.html").read_text("utf-8")).substitute(
        policy=policy,
        name=escape(about.get("suite") or "a run"),
        lead=_lead(records),
        style=(_HERE / "report.css").read_text("utf-8"),
        contents=" ".join(links),
        sections="\n".join(body),
        data=_data(records, album, anchor, ours),
        script=script,
    )


_SUMMARY = (
    "<p>BD-rate: how many bytes a codec needs for the same value of a metric, averaged over the "
    "values that both reach (Bjøntegaard, VCEG-M33, with piecewise cubic interpolation); negative "
    "is fewer. Below each number, the interval that holds 95 % of bootstrap resamples of the "
    "clips, and how many clips have a number. Where the interval holds zero, it is undecided.</p>\n"
)


def _lead(records: Sequence[Record]) -> str:
    times = sorted(r.time[:10] for r in records if r.time)
    when = "at an unknown time" if not times else f"on {times[0]}"
    if times and times[-1] != times[0]:
        when = f"from {times[0]} to {times[-1]}"
    codecs, clips = len({r.codec for r in records}), len({r.clip for r in records})
    broken = sum(not r.is_complete for r in records)
    gaps = f"{broken} lack something" if broken else "none lacks anything"
    return escape(
        f"{codecs} codecs on {clips} clips, {len(records)} records, measured {when} from real "
        f"files; {gaps}."
    )


def _gaps(records: Sequence[Record], notes: Sequence[str]) -> str:
    failed = failures(records) or "<p>No record failed, and none lacks a metric.</p>"
    if not notes:
        return failed
    return f"{failed}\n<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"


def _honesty(album: Album) -> str:
    """What the report's own compression does to the pictures."""
    exact = sum(clip["exact"] for clip in album.clips)
    text = "Squares are lossless WebP" if exact else "Squares are WebP at quality 95"
    if 0 < exact < len(album.clips):
        text = f"Squares of {exact} clips are lossless WebP, the others WebP at quality 95"
    return (
        f"{text}, the flip-book is WebP at quality 95: over all of them, its own luma PSNR is "
        f"{album.worst_db:.1f} dB or more. Whole frames are WebP at quality 90, for orientation."
    )


def _data(records: Sequence[Record], album: Album, anchor: str, ours: Sequence[str]) -> str:
    """JSON for the page's script, in which nothing can end the element that it stands in."""
    keys = {s["key"] for c in album.clips for steps in c["codecs"].values() for s in steps if s}
    content = {
        "anchor": anchor,
        "lead": ours[0] if ours else "",
        "views": ["where codecs differ most", "where most goes on"],
        "metrics": [
            {"name": m.name, "title": m.title, "unit": m.unit, "higher": m.higher_is_better}
            for m in metrics_of(records)
        ],
        "records": {
            r.key: {
                "bytes": r.bytes,
                "bpp": round(r.bpp, 4),
                "kbps": round(r.kbps, 1),
                "quality": r.quality,
                "means": {name: score.mean for name, score in r.scores.items()},
            }
            for r in records
            if r.key in keys
        },
        "clips": album.clips,
        "images": album.images,
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
