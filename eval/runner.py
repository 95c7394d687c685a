"""Every codec on every clip at every quality, from real files, into records.

    suite ─► tasks: (codec, quality, clip) ─► executor ─► encode ─► file ─► decode ways ─► metrics
                 └── done before? not again ◄── records.jsonl ◄──────────── records ◄──────┘

A task that fails gives records that say why; the run goes on. Files are kept below the run's
folder, named by a hash of what made them, so a run with more metrics encodes nothing again.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from gancodec.errors import InputError, UsageError
from gancodec.eval.clips import Clip, find_clips, read_clip
from gancodec.eval.codecs import Factory, build_codec
from gancodec.eval.measuring import Task, has_score, hash_weights, measure, task_keys, told
from gancodec.eval.records import RECORDS, RUN, Record, append_record, read_records
from gancodec.eval.suite import ClipSpec, Suite, read_suite, resolve_path
from gancodec.fileio.parallel import Workers, usable_cores

_AHEAD = 2  # tasks handed to an executor beyond one a worker


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is: told after every task."""

    done: int
    total: int  # tasks that this run had to do
    records: int
    failed: int  # records with an error of any kind
    label: str  # of the task that has just ended


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run left behind.

    Attributes:
        folder: with ``records.jsonl``, ``run.json`` and ``files/``.
        records: all that the suite asks for, old and new, in its order.
        measured: how many of them this run made.
    """

    folder: Path
    records: tuple[Record, ...]
    measured: int

    @property
    def failed(self) -> tuple[Record, ...]:
        """Records that lack something."""
        return tuple(r for r in self.records if not r.is_complete)


@dataclass(slots=True)
class _Source:
    """A clip of the suite as the tasks see it."""

    name: str
    path: Path
    spec: ClipSpec
    sha256: str = ""
    error: str = ""


def run(
    suite: Suite | str | Path,
    folder: str | Path,
    *,
    jobs: int | None = None,
    executor: Executor | None = None,
    codecs: Mapping[str, Factory] | None = None,
    force: bool = False,
    progress: Callable[[RunProgress], None] | None = None,
) -> RunSummary:
    """Measure a suite, or what is missing of it in ``folder``.

    Args:
        suite: a `Suite`, a TOML file, or the name of one that ships ("quick", "full").
        folder: where records and files go; an earlier run's folder is continued.
        jobs: processes; one a usable core unless given. 1 measures in this process.
        executor: any `concurrent.futures.Executor` instead; its workers see the same files.
        codecs: kinds of your own, by the name that the suite's codecs have as ``kind``.
        force: measure and encode again what is there already.
        progress: told after every task.

    Raises:
        UsageError: the suite makes no sense.
        InputError: the suite or the folder cannot be read or written.
    """
    if not isinstance(suite, Suite):
        suite = read_suite(suite)
    folder = Path(folder)
    try:
        (folder / "files").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
    sources = list(_sources(suite))
    tasks = list(_tasks(suite, sources, folder, codecs or {}, force))
    wanted = [key for task, _ in tasks for key in task_keys(task)]
    _write_run(folder, suite, sources, wanted)
    journal = folder / RECORDS
    known = {r.key: r for r in read_records(journal)} if journal.exists() and not force else {}
    found: dict[str, Record] = {}
    waiting: list[Task] = []
    for task, failures in tasks:
        if failures:
            _store(journal, failures, found)
            continue
        old = [known[key] for key in task_keys(task) if key in known]
        if len(old) == len(task.labels) and all(_has_all(r, task) for r in old):
            found.update((r.key, r) for r in old)
            # The same pictures, whose file has a new name.
            renamed = [replace(r, clip=task.clip) for r in old if r.clip != task.clip]
            _store(journal, renamed, found)
        else:
            waiting.append(replace(task, known=tuple(old)))
    measured = sum(len(failures) for _, failures in tasks)
    failed = sum(not r.is_complete for r in found.values())
    with closing(_measured(waiting, jobs, executor, codecs or {})) as results:
        for done, (task, records) in enumerate(results, 1):
            _store(journal, records, found)
            measured += len(records)
            failed += sum(not r.is_complete for r in records)
            if progress is not None:
                label = f"{task.codec} {task.quality:g} {task.clip}"
                progress(RunProgress(done, len(waiting), measured, failed, label))
    return RunSummary(folder, tuple(found[key] for key in wanted), measured)


def _store(journal: Path, records: list[Record], found: dict[str, Record]) -> None:
    for record in records:
        append_record(journal, record)
        found[record.key] = record


def _has_all(record: Record, task: Task) -> bool:
    scored = all(has_score(record.scores, name, task) for name in task.metrics)
    return record.is_complete and (scored or bool(record.unscored))


def _sources(suite: Suite) -> Iterator[_Source]:
    """The clips, read once for their hashes. One that cannot be read keeps its place.

    Raises:
        UsageError: two clips of one name, or of the same pictures.
    """
    names: set[str] = set()
    hashes: dict[str, str] = {}
    for spec in suite.clips:
        try:
            paths = find_clips([resolve_path(spec.path)])
        except Exception as error:
            path = Path(spec.path)
            yield _Source(path.stem, path, spec, error=told(error))
            continue
        for path in paths:
            if path.stem in names:
                raise UsageError(f"two clips of the suite are called {path.stem}; rename one")
            names.add(path.stem)
            source = _Source(path.stem, path, spec)
            try:
                source.sha256 = _read(source).sha256
            except Exception as error:
                source.error = told(error)
            else:
                if (twin := hashes.setdefault(source.sha256, source.name)) != source.name:
                    raise UsageError(
                        f"the clips {twin} and {source.name} of the suite are the same pictures; "
                        "leave one out"
                    )
            yield source


def _read(source: _Source) -> Clip:
    return read_clip(source.path, frames=source.spec.frames, scale=source.spec.scale)


def _write_run(folder: Path, suite: Suite, sources: list[_Source], keys: list[str]) -> None:
    """What the records do not say: which were asked for, where the clips are, who is the anchor."""
    clips = {
        s.name: {
            "path": str(s.path.resolve()),
            "frames": s.spec.frames,
            "scale": s.spec.scale,
        }
        for s in sources
    }
    about = {
        "suite": suite.name,
        "anchor": suite.anchor,
        "labels": suite.labels,
        "metrics": suite.metrics,
        "every": suite.every,
        "clips": clips,
        "keys": keys,
    }
    try:
        (folder / RUN).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {folder / RUN}: {error.strerror}") from error


def _tasks(
    suite: Suite,
    sources: list[_Source],
    folder: Path,
    extra: Mapping[str, Factory],
    force: bool,
) -> Iterator[tuple[Task, list[Record]]]:
    """Tasks clip by clip, each with the failures that are known before it begins."""
    hashes = hash_weights(suite.weights)
    for source in sources:
        for spec in suite.codecs:
            for quality in spec.qualities:
                task = Task(
                    codec=spec.name,
                    kind=spec.kind,
                    quality=quality,
                    settings=spec.settings,
                    labels=tuple(spec.label(d) for d in spec.decode),
                    decode=spec.decode,
                    clip=source.name,
                    path=source.path,
                    frames=source.spec.frames,
                    scale=source.spec.scale,
                    clip_sha256=source.sha256,
                    metrics=suite.metrics,
                    every=suite.every,
                    weights=suite.weights,
                    weights_sha256=hashes,
                    folder=folder,
                    force=force,
                )
                if source.error:
                    yield task, task.failures(source.error)
                    continue
                try:
                    codec = build_codec(
                        spec.kind, quality, {**spec.settings, **spec.decode[0]}, extra
                    )
                except Exception as error:
                    yield task, task.failures(told(error))
                    continue
                yield replace(task, versions=dict(getattr(codec, "versions", {}))), []


# ── Where tasks run ──────────────────────────────────────────────────────────────────────────

_Done = tuple[Task, list[Record]]


def _measured(
    tasks: list[Task],
    jobs: int | None,
    executor: Executor | None,
    extra: Mapping[str, Factory],
) -> Generator[_Done, None, None]:
    """Every task with its records, as they end."""
    if executor is not None:
        yield from _on(executor, tasks, extra, len(tasks))  # nobody knows how many workers it has
        return
    if jobs is None:
        # A class of the user's own script is unknown to other processes.
        at_home = any(getattr(f, "__module__", "") == "__main__" for f in extra.values())
        jobs = 1 if at_home else min(usable_cores(), max(len(tasks), 1))
    if jobs < 1:
        raise UsageError(f"jobs is 1 or more, got {jobs}")
    if jobs == 1:
        for task in tasks:
            yield task, measure(task, extra)
        return
    while tasks:
        suspects: list[Task] = []
        rest: list[Task] = []
        with Workers(jobs) as workers:
            yield from _on(workers.start(), tasks, extra, jobs, suspects, rest)
        for task in suspects:  # each in a process of its own: one of them killed the pool
            with Workers(1) as workers:
                yield from _on(workers.start(), [task], extra, 1)
        tasks = rest


def _on(
    executor: Executor,
    tasks: list[Task],
    extra: Mapping[str, Factory],
    workers: int,
    suspects: list[Task] | None = None,
    rest: list[Task] | None = None,
) -> Iterator[_Done]:
    """Run tasks on an executor, a few more at a time than it has workers.

    If it dies, tasks that ran go to ``suspects`` and the others to ``rest``; without such lists
    they all fail.
    """
    waiting = deque(tasks)
    running: dict[Future[list[Record]], Task] = {}
    died: list[Task] = []
    broken = ""
    try:
        while running or (waiting and not broken):
            while waiting and len(running) < workers + _AHEAD and not broken:
                try:
                    running[executor.submit(measure, waiting[0], dict(extra))] = waiting[0]
                    waiting.popleft()
                except RuntimeError as error:  # broken, or shut down by its owner
                    broken = str(error)
            if not running:
                break
            future = _first_done(running)
            task = running.pop(future)
            try:
                records = future.result()
            except BrokenExecutor as error:
                broken = broken or str(error) or "a process of the pool died"
                died.append(task)
                continue
            except Exception as error:  # it could not be sent there, or not sent back
                records = task.failures(told(error))
            yield task, records
    finally:  # after Ctrl-C nobody wants the rest
        for future in running:
            future.cancel()
    if suspects is not None and rest is not None:
        suspects += died
        rest += waiting
        return
    for task in [*died, *waiting]:
        yield task, task.failures(f"the process died in the middle of it: {broken}")


def _first_done(running: Mapping[Future[list[Record]], Task]) -> Future[list[Record]]:
    """Some future that has ended. Polled: executors of other makers know no common wait."""
    while True:
        for future in running:
            if future.done():
                return future
        time.sleep(0.02)


def describe(summary: RunSummary) -> list[tuple[str, ...]]:
    """Rows of a table: records by codec, and how many lack something."""
    rows: list[tuple[str, ...]] = [("codec", "records", "complete", "failed", "metric missing")]
    by_codec: dict[str, list[Record]] = {}
    for record in summary.records:
        by_codec.setdefault(record.codec, []).append(record)
    for codec, records in by_codec.items():
        failed = sum(bool(r.error) for r in records)
        missing = sum(bool(r.errors) and not r.error for r in records)
        whole = len(records) - failed - missing
        rows.append((codec, *(str(n) for n in (len(records), whole, failed, missing))))
    return rows


def reasons(summary: RunSummary) -> list[str]:
    """Why records lack something, each reason once with its count, the commonest first."""
    count: dict[str, int] = {}
    for record in summary.records:
        for what, why in record.lacks.items():
            text = f"{record.codec}: {why if record.error else f'{what}: {why}'}"
            count[text] = count.get(text, 0) + 1
    ordered = sorted(count.items(), key=lambda item: -item[1])
    return [f"{n} x {why}" for why, n in ordered]
