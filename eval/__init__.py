"""Evaluation: what a file costs, how the picture fares, and what others give for the bytes.

    from gancodec.eval import bd_rate, plot_rdp, run

    summary = run("quick", "runs/quick")
    print(bd_rate(summary.records, anchor="x265 medium", test="gancodec").to_text())
    plot_rdp(summary.records).savefig("rdp.svg")

Every name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gancodec.eval.bdrate import bd_rate
    from gancodec.eval.clips import Clip, read_clip
    from gancodec.eval.curves import plot_all, plot_rdp
    from gancodec.eval.records import Record, read_records
    from gancodec.eval.report import write_report
    from gancodec.eval.runner import RunSummary, run
    from gancodec.eval.suite import ClipSpec, CodecSpec, Suite, read_suite

__all__ = [
    "Clip",
    "ClipSpec",
    "CodecSpec",
    "Record",
    "RunSummary",
    "Suite",
    "bd_rate",
    "plot_all",
    "plot_rdp",
    "read_clip",
    "read_records",
    "read_suite",
    "run",
    "write_report",
]

_HOMES = {
    "bd_rate": "bdrate",
    **dict.fromkeys(("Clip", "read_clip"), "clips"),
    **dict.fromkeys(("plot_all", "plot_rdp"), "curves"),
    **dict.fromkeys(("Record", "read_records"), "records"),
    "write_report": "report",
    **dict.fromkeys(("RunSummary", "run"), "runner"),
    **dict.fromkeys(("ClipSpec", "CodecSpec", "Suite", "read_suite"), "suite"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gancodec.eval' has no attribute {name!r}")
    value = getattr(import_module(f"gancodec.eval.{_HOMES[name]}"), name)
    globals()[name] = value  # so that this is asked once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
