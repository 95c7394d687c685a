"""What each subcommand does with its options; what is heavy is imported by those that need it."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gancodec.cli_eval import run_eval
from gancodec.cli_options import files_of
from gancodec.errors import CorruptError, InputError, ModelError, UsageError
from gancodec.progress import ProgressLine, summary_text
from gancodec.terminal import in_bytes, note, printable, say, table

if TYPE_CHECKING:
    from gancodec.enhancer import Enhancement


def run_encode(chosen: Namespace) -> None:
    """``gancodec encode``."""
    source, target = files_of(chosen, ("INPUT", "OUT.gvc"))
    from gancodec.fileio import encode

    line = ProgressLine(quiet=chosen.quiet)
    wanted = _given(
        chosen,
        *("quality", "bitrate", "size", "gop", "preset", "tune", "model", "start", "duration"),
        *("scale", "fps", "audio", "jobs", "executor", "device", "engine"),
    )
    try:
        stats = encode(
            source,
            target,
            **wanted,
            resume=chosen.resume,
            overwrite=chosen.overwrite,
            progress=line,
        )
    finally:
        line.clear()
    if chosen.quiet:
        return
    _tell(stats.notices)
    done = summary_text(
        "encoded", stats.frames, float(stats.seconds), stats.bytes, line.elapsed_seconds
    )
    pictures = f", pictures {stats.video_kbps:.1f} kbps" if stats.audio_bytes else ""
    say(f"{done}{pictures}, quality {stats.quality:g}")


def run_decode(chosen: Namespace) -> None:
    """``gancodec decode``."""
    source, target = files_of(chosen, ("IN.gvc", "OUTPUT"))
    from gancodec.fileio import decode

    line = ProgressLine(quiet=chosen.quiet)
    wanted = _given(chosen, "realism", "start", "duration", "jobs", "device", "engine")
    try:
        stats = decode(
            source,
            target,
            **wanted,
            enhance=_enhancement(chosen),
            conceal=chosen.conceal,
            lossless=chosen.lossless,
            overwrite=chosen.overwrite,
            progress=line,
        )
    finally:
        line.clear()
    if not chosen.quiet:
        _tell(stats.notices)
        say(summary_text("decoded", stats.frames, float(stats.seconds), None, line.elapsed_seconds))
    if not stats.is_intact:
        _tell(stats.damage)
        raise CorruptError(_describe_loss(stats.damage, stats.lost))


def _enhancement(chosen: Namespace) -> Enhancement | None:
    """What decode is to do with the frames."""
    if chosen.enhance is None:
        for name in ("strength", "scale", "enhancer"):
            if getattr(chosen, name) is not None:
                raise UsageError(f"--{name} is for --enhance; name what is to be done")
        return None
    from gancodec.enhancer import Enhancement

    scale = chosen.scale or (2 if chosen.enhance == "sr" else 1)
    return Enhancement(chosen.enhance, scale=scale, strength=chosen.strength, model=chosen.enhancer)


def run_enhance(chosen: Namespace) -> None:
    """``gancodec enhance``."""
    source, target = files_of(chosen, ("IN", "OUT"))
    from gancodec.fileio import enhance

    line = ProgressLine(quiet=chosen.quiet)
    wanted = _given(
        chosen,
        *("scale", "strength", "sigma", "model", "start", "duration", "audio", "jobs", "device"),
    )
    try:
        stats = enhance(
            source,
            target,
            chosen.task,
            **wanted,
            lossless=chosen.lossless,
            overwrite=chosen.overwrite,
            progress=line,
        )
    finally:
        line.clear()
    if not chosen.quiet:
        _tell(stats.notices)
        done = summary_text(
            "enhanced", stats.frames, float(stats.seconds), None, line.elapsed_seconds
        )
        say(f"{done}, {stats.width}x{stats.height} by {stats.model}")


def _given(chosen: Namespace, *names: str) -> dict[str, Any]:
    """Options by name; what was not asked for is left to the defaults."""
    return {name: value for name in names if (value := getattr(chosen, name)) is not None}


def _describe_loss(damage: Sequence[str], lost: Sequence[tuple[Fraction, Fraction | None]]) -> str:
    """What a concealing decode has to say at the end, its exit code being that of damage."""
    spans = ", ".join(
        f"{float(begin):.2f} s to {'the end' if end is None else f'{float(end):.2f} s'}"
        for begin, end in lost
    )
    shown = f"a still picture stands for {spans}" if spans else "no picture is missing"
    return f"the file is damaged in {len(damage)} place{'s' * (len(damage) != 1)}; {shown}"


def _tell(notices: Iterable[str]) -> None:
    for sentence in notices:
        note(sentence)


# ── What a file is, and whether all is well ──────────────────────────────────────────────────


def run_probe(chosen: Namespace) -> None:
    """``gancodec probe``; torch stays out of it."""
    from gancodec.probe import probe

    found = probe(chosen.file, packets=chosen.packets)
    if chosen.json:
        _print_json(found)
    else:
        from gancodec.cli_probe import describe

        print(describe(found, chosen.file))


def run_verify(chosen: Namespace) -> None:
    """``gancodec verify``."""
    from gancodec.fileio import verify

    line = ProgressLine()
    try:
        report = verify(chosen.file, jobs=chosen.jobs, device=chosen.device or "cpu", progress=line)
    finally:
        line.clear()
    for problem in report.problems:
        print(f"FAIL {printable(problem)}")
    if not report.is_ok:
        problems = f"{len(report.problems)} problem{'s' * (len(report.problems) != 1)}"
        raise CorruptError(f"{chosen.file} is damaged: {problems}, {report.frames} sound frames")
    print(
        f"ok   {printable(chosen.file)}: {report.frames} frames in {report.gops} GOPs, "
        f"{float(report.seconds):.2f} s, {in_bytes(report.bytes)}"
    )


def run_selftest(chosen: Namespace) -> None:
    """``gancodec selftest``."""
    from gancodec import selftest

    failed = 0
    for check in selftest.run_selftest(chosen.device or "cpu"):
        failed += not check.passed
        mark = "ok  " if check.passed else "FAIL"
        print(f"{mark} {check.name}: {printable(check.detail)}", flush=True)
    if failed:
        raise ModelError(
            f"{failed} check{'s' * (failed > 1)} failed; files may not decode on this machine"
        )


def run_models(chosen: Namespace) -> None:
    """``gancodec models``."""
    from gancodec.config import EncodeOptions
    from gancodec.enhancer import DEFAULTS, list_enhancers
    from gancodec.registry import list_models

    found, enhancers = list_models(), list_enhancers()
    default, used = EncodeOptions().model, frozenset(DEFAULTS.values())
    if chosen.json:
        _print_json(
            {
                **{name: {**entry, "default": name in used} for name, entry in enhancers.items()},
                **{name: {**entry, "default": name == default} for name, entry in found.items()},
            }
        )
        return
    if not found:
        raise ModelError("no model is installed; reinstall gancodec, or set GANCODEC_MODELS")
    rows = [("name", "size", "weights", "summary")]
    for name, entry in sorted(found.items()):
        files = [Path(entry["folder"]) / entry[role]["file"] for role in ("codec", "detail")]
        size = sum(file.stat().st_size for file in files if file.is_file())
        summary = printable(entry.get("card", {}).get("summary", ""))
        shown = f"{printable(name)}{' (default)' * (name == default)}"
        rows.append((shown, in_bytes(size), entry["codec"]["sha256"][:12], summary))
    print(table(rows))
    if enhancers:
        head = ("enhancer", "task", "scale", "parameters", "summary")
        print(f"\n{table([head, *(_enhancer_row(*item) for item in sorted(enhancers.items()))])}")


def _enhancer_row(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    """What the card of an enhancer says; a stranger's may say nothing."""
    card = entry.get("card", {})
    config, parts = card.get("config", {}), card.get("parameters", {})
    parameters = f"{sum(parts.values()) / 1e6:.2f} M" if parts else ""
    task, scale = config.get("task", ""), config.get("scale", "")
    return tuple(map(printable, (name, task, scale, parameters, card.get("summary", ""))))


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=1, default=str)  # ASCII: nothing a terminal would obey
    print()


# ── Measuring ────────────────────────────────────────────────────────────────────────────────


def run_compare(chosen: Namespace) -> None:
    """``gancodec compare``."""
    from gancodec.eval.metrics import select_metrics

    weights = {name: Path(path) for name, path in chosen.weights}
    metrics = select_metrics(chosen.metrics, weights)
    from gancodec.eval.compare import compare  # with torch, so only where there is work to do

    line = ProgressLine()
    try:
        found = compare(
            chosen.reference,
            chosen.distorted,
            metrics,
            weights=weights,
            device=chosen.device or "cpu",
            progress=line,
        )
    finally:
        line.clear()
    _tell(found.notices)
    if chosen.json:
        _print_json(found.to_dict())
    else:
        print(printable_lines(found.to_text()))


def printable_lines(text: str) -> str:
    """Text of several lines, each made safe to print."""
    return "\n".join(map(printable, text.split("\n")))


def run_bench(chosen: Namespace) -> None:
    """``gancodec bench``."""
    from gancodec import bench

    report = bench.run_bench(
        chosen.size,
        chosen.frames,
        preset=chosen.preset,
        threads=chosen.threads,
        jobs=chosen.jobs,
        device=chosen.device or "cpu",
        neural=chosen.neural,
    )
    if chosen.json:
        _print_json(report.to_dict())
    else:
        print(report.to_text())


def run_demo(chosen: Namespace) -> None:
    """``gancodec demo``."""
    from gancodec import demo

    line = ProgressLine()
    try:
        report = demo.run_demo(
            Path(chosen.input) if chosen.input is not None else demo.find_clip(),
            Path(chosen.folder),
            quality=chosen.quality,
            duration=chosen.duration,
            scale=chosen.scale,
            progress=line,
        )
    finally:
        line.clear()
    print(report.to_text())


def run_prepare(chosen: Namespace) -> None:
    """``gancodec prepare``."""
    from gancodec.fileio.parallel import Workers
    from gancodec.train.degrade import Preparation, prepare

    target = Path(chosen.output)
    if (target / "pairs.json").exists():
        raise UsageError(f"{target} holds pairs already: name another folder, or remove it")
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist: make it first")
    wanted = _given(chosen, "scale", "size", "takes", "seed")
    scale = wanted.pop("scale", 2 if chosen.task == "sr" else 1)
    what = Preparation(chosen.task, scale=scale, clean=chosen.clean, **wanted)
    jobs = Workers(chosen.jobs).jobs
    made = prepare(what, [Path(folder) for folder in chosen.folders], target, jobs=jobs)
    say(f"prepared {made} pairs in {printable(target)}")


def run_train(chosen: Namespace) -> None:
    """``gancodec train``."""
    path = Path(chosen.recipe)
    if not path.is_file():
        raise InputError(f"there is no recipe {path}; check the path")
    from gancodec.train.loop import train
    from gancodec.train.recipe import Recipe

    train(Recipe.read(path))


def run_export(chosen: Namespace) -> None:
    """``gancodec export``."""
    from gancodec.onnx_files import export_onnx

    wanted = {} if chosen.model is None else {"model": chosen.model}
    files = export_onnx(chosen.onnx, **wanted, overwrite=chosen.overwrite)
    size = sum(file.stat().st_size for file in files)
    say(f"wrote {len(files)} files to {printable(chosen.onnx)}, {in_bytes(size)}")


COMMANDS: dict[str, Callable[[Namespace], None]] = {
    "encode": run_encode,
    "decode": run_decode,
    "enhance": run_enhance,
    "probe": run_probe,
    "verify": run_verify,
    "selftest": run_selftest,
    "models": run_models,
    "compare": run_compare,
    "bench": run_bench,
    "demo": run_demo,
    "eval": run_eval,
    "prepare": run_prepare,
    "train": run_train,
    "export": run_export,
}
