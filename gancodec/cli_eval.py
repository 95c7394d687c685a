"""``gancodec eval ...``: rate, distortion and perception of codecs, from real files."""

from __future__ import annotations

import dataclasses
import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gancodec.errors import InputError, UsageError
from gancodec.progress import TaskLine
from gancodec.terminal import note, printable, say, table

if TYPE_CHECKING:
    from gancodec.eval.bdtable import BdTable
    from gancodec.eval.records import Record


def run_eval(chosen: Namespace) -> None:
    """``gancodec eval COMMAND``."""
    if chosen.eval_command is None:
        raise UsageError("eval needs a command; see `gancodec eval --help`")
    _COMMANDS[chosen.eval_command](chosen)


def _run(chosen: Namespace) -> None:
    from gancodec.eval.runner import describe, reasons, run
    from gancodec.eval.suite import ClipSpec, read_suite

    suite = read_suite(chosen.suite)
    changes: dict[str, Any] = {}
    if chosen.clip:
        first = suite.clips[0]
        changes["clips"] = tuple(
            ClipSpec(path, frames=first.frames, scale=first.scale) for path in chosen.clip
        )
    if chosen.metrics is not None:
        from gancodec.eval.metrics import parse_metrics

        changes["metrics"] = tuple(m.name for m in parse_metrics(chosen.metrics))
    suite = dataclasses.replace(suite, **changes)
    if chosen.frames is not None:
        clips = tuple(dataclasses.replace(c, frames=chosen.frames) for c in suite.clips)
        suite = dataclasses.replace(suite, clips=clips)
    line = TaskLine("eval")
    try:
        summary = run(
            suite,
            chosen.output,
            jobs=chosen.jobs,
            force=chosen.force,
            progress=lambda p: line(p.done, p.total, p.failed, p.label),
        )
    finally:
        line.clear()
    print(table(describe(summary)))
    total, failed = len(summary.records), len(summary.failed)
    say(f"{summary.measured} records measured, {total - summary.measured} were there already")
    for reason in reasons(summary):
        note(reason)
    if failed:
        raise InputError(f"{failed} of {total} records are incomplete; run it again to try those")


def _records(chosen: Namespace) -> list[Record]:
    from gancodec.eval.records import asked_records

    found: list[Record] = []
    for path in chosen.records:
        asked, left_out = asked_records(Path(path))
        found += asked
        if left_out:
            note(f"{left_out} records of other suites in {path} are left out")
    for path in getattr(chosen, "published", None) or ():
        from gancodec.eval.published import read_published

        found += [r for curve in read_published(Path(path)) for r in curve.to_records()]
    if not any(not r.error for r in found):
        raise InputError("there is no record without an error; run the suite first")
    failed = sum(not r.is_complete for r in found)
    if failed:
        note(f"{failed} of {len(found)} records are incomplete and leave gaps")
    return found


def _anchor(chosen: Namespace, records: Sequence[Record]) -> str:
    """Who the others are compared with: asked for, or what the run says."""
    if chosen.anchor:
        return str(chosen.anchor)
    from gancodec.eval.records import read_about

    for path in chosen.records:
        if anchor := read_about(Path(path)).get("anchor"):
            return str(anchor)
    known = ", ".join(dict.fromkeys(r.codec for r in records))
    raise UsageError(f"name the codec to compare with by --anchor; there are: {known}")


def _metrics(chosen: Namespace, records: Sequence[Record]) -> list[str]:
    """Metrics that were asked for, or all that the records have."""
    if chosen.metrics is not None:
        from gancodec.eval.metrics import parse_metrics

        return [m.name for m in parse_metrics(chosen.metrics)]
    from gancodec.eval.metrics import METRICS

    measured = {name for r in records for name in r.scores}
    return [m.name for m in METRICS if m.name in measured]  # published ones have names of their own


def _bd(chosen: Namespace) -> None:
    from gancodec.eval.bdrate import bd_rate

    records = _records(chosen)
    anchor = _anchor(chosen, records)
    labels = dict.fromkeys(r.codec for r in records if r.codec != anchor)
    tests = [chosen.test] if chosen.test else list(labels)
    metrics = _metrics(chosen, records)
    if not tests or not metrics:
        lacking = "value of a metric" if tests else f"codec but {anchor}"
        raise UsageError(f"there is nothing to compare: no {lacking} in the records; measure more")
    tables = [
        bd_rate(records, anchor=anchor, test=test, metric=metric)
        for metric in metrics
        for test in tests
    ]
    if chosen.json:
        json.dump([t.to_dict() for t in tables], sys.stdout, indent=1)
        print()
    else:
        text = "\n\n".join([*(t.to_text() for t in tables), _overview(tables)])
        print("\n".join(map(printable, text.split("\n"))))
    silent = sum(t.rate_summary.mean is None for t in tables)
    if silent:  # in the exit status, too, for whoever reads no tables
        raise InputError(
            f"{silent} of {len(tables)} comparisons have no BD-rate on any clip; their tables say "
            "why: measure qualities whose curves overlap"
        )


def _overview(tables: Sequence[BdTable]) -> str:
    """Means of all BD-rates: a row a codec, a column a metric."""
    metrics = list(dict.fromkeys(t.metric for t in tables))
    rows = {t.test: dict.fromkeys(metrics, "-") for t in tables}
    for t in tables:
        if t.rate_summary.mean is not None:
            rows[t.test][t.metric] = f"{t.rate_summary.mean:+.1f} %"
    body = [(name, *cells.values()) for name, cells in rows.items()]
    title = f"mean BD-rates against {tables[0].anchor}; below zero, fewer bytes are enough"
    return f"{title}\n{table([('codec', *metrics), *body])}"


def _plot(chosen: Namespace) -> None:
    from gancodec.eval.curves import plot_all

    records = _records(chosen)
    first = Path(chosen.records[0])
    folder = Path(chosen.output or (first if first.is_dir() else first.parent) / "plots")
    files = plot_all(records, folder, _anchor(chosen, records), _metrics(chosen, records))
    say(f"{len(files)} files written to {folder}")


def _report(chosen: Namespace) -> None:
    from gancodec.eval.report import write_report

    run = Path(chosen.run)
    output = Path(chosen.output or run / "report.html")
    for sentence in write_report(run, output, anchor=chosen.anchor):
        note(sentence)
    say(f"{output} written: {output.stat().st_size / 1e6:.1f} MB")


def _export(chosen: Namespace) -> None:
    from gancodec.eval.records import to_csv

    records = _records(chosen)
    labels = list(dict.fromkeys(r.codec for r in records))
    if chosen.test is not None:
        if chosen.test not in labels:
            raise UsageError(f"there is no codec {chosen.test!r}; there are: {', '.join(labels)}")
        records = [r for r in records if r.codec == chosen.test]
    if chosen.metrics is not None:
        names = _metrics(chosen, records)
        kept = ({n: r.scores[n] for n in names if n in r.scores} for r in records)
        records = [dataclasses.replace(r, scores=s) for r, s in zip(records, kept, strict=True)]
    if chosen.format == "csv":
        text = to_csv(records)
    else:
        from gancodec.eval.published import to_compressai_json

        text = json.dumps(to_compressai_json(records, chosen.test or labels[0]), indent=1) + "\n"
    if chosen.output in (None, "-"):
        sys.stdout.write(text)
        return
    try:
        Path(chosen.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {chosen.output}: {error.strerror}") from error


def _list_metrics(chosen: Namespace) -> None:
    from gancodec.eval.metrics import METRICS

    rows = [("metric", "unit", "better", "a value a", "runs here")]
    missing = []
    for metric in METRICS:
        try:
            metric.check({})
            here = "yes"
        except UsageError as error:
            here = "no"
            missing.append(str(error))
        better = "higher" if metric.higher_is_better else "lower"
        rows.append((metric.name, metric.unit or "-", better, metric.per, here))
    print(table(rows))
    print()
    for metric in METRICS:
        print(printable(f"{metric.name}: {metric.paper}"))
    for sentence in missing:
        print(f"\n{printable(sentence)}")


_COMMANDS = {
    "run": _run,
    "bd": _bd,
    "plot": _plot,
    "report": _report,
    "export": _export,
    "metrics": _list_metrics,
}
