"""Runs of suites with toy codecs: what is measured, resumed, counted, and what goes wrong."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gancodec import cli
from gancodec.errors import InputError, UsageError
from gancodec.eval import ClipSpec, CodecSpec, Record, RunSummary, Suite, metrics, read_records, run
from gancodec.eval.clips import read_clip
from gancodec.eval.fidelity import psnr_of_planes
from gancodec.eval.metric import Context, FrameMeter, Metric
from gancodec.eval.records import RECORDS, append_record, asked_records, to_csv
from gancodec.eval.runner import RunProgress, reasons
from gancodec.fileio.parallel import usable_cores
from gancodec.types import Color

WriteClip = Callable[..., Path]


def suite_of(
    clips: list[Path], *codecs: CodecSpec, metrics: tuple[str, ...] = ("psnr-y",), **more: Any
) -> Suite:
    return Suite("test", tuple(ClipSpec(str(c)) for c in clips), codecs, metrics, **more)


def by_point(summary: RunSummary) -> dict[tuple[str, str, float], Record]:
    return {(r.codec, r.clip, r.quality): r for r in summary.records}


def test_a_record_a_codec_clip_and_quality(
    toys: str, write_clip: WriteClip, tmp_path: Path
) -> None:
    clips = [write_clip("one", frames=5), write_clip("two", frames=7, seed=2)]
    suite = suite_of(clips, CodecSpec("toy", f"{toys}:Shift", (4, 2)), metrics=("psnr-y", "ssim"))
    summary = run(suite, tmp_path / "run", jobs=1)
    found = by_point(summary)
    assert set(found) == {("toy", c, q) for c in ("one", "two") for q in (4, 2)}
    assert not summary.failed
    for (_, clip, quality), record in found.items():
        source = read_clip(tmp_path / "clips" / f"{clip}.y4m")
        file = tmp_path / "run" / record.file
        assert file.stat().st_size == record.bytes > 0
        assert record.bpp == pytest.approx(8 * record.bytes / source.pixels, abs=1e-6)
        assert record.kbps == pytest.approx(record.bytes * 8 * 25 / len(source) / 1000, abs=1e-3)
        dropped = source.frames.y >> int(quality) << int(quality)
        want = psnr_of_planes(source.frames.y, dropped)
        assert record.scores["psnr-y"].values == pytest.approx(want, rel=1e-5)
        assert record.scores["psnr-y"].mean == pytest.approx(want.mean(), rel=1e-5)
        assert (record.frames, record.width, record.height) == (len(source), 64, 48)
        assert record.clip_sha256 == source.sha256
        assert record.versions["toy"] == "1"
        assert record.encode_seconds > 0
        assert record.decode_seconds > 0
    assert found["toy", "one", 2].bytes > found["toy", "one", 4].bytes
    assert read_records(tmp_path / "run") == list(summary.records)


def test_processes_and_executors_measure_the_same(
    toys: str, write_clip: WriteClip, tmp_path: Path
) -> None:
    suite = suite_of([write_clip("one")], CodecSpec("toy", f"{toys}:Shift", (1, 2, 3, 4)))
    alone = run(suite, tmp_path / "a", jobs=1)
    processes = run(suite, tmp_path / "b", jobs=2)
    with ThreadPoolExecutor(2) as executor:
        threads = run(suite, tmp_path / "c", executor=executor)
    facts = [
        [(r.key, r.bytes, r.scores, r.file_sha256) for r in s.records]
        for s in (alone, processes, threads)
    ]
    assert facts[0] == facts[1] == facts[2]


def test_resumes_and_measures_only_what_is_new(
    toys: str, write_clip: WriteClip, tmp_path: Path
) -> None:
    clip = write_clip("one")
    spec = CodecSpec("toy", f"{toys}:Shift", (1, 2))
    first = run(suite_of([clip], spec), tmp_path / "run", jobs=1)
    assert first.measured == 2
    assert run(suite_of([clip], spec), tmp_path / "run", jobs=1).measured == 0
    more = CodecSpec("toy", f"{toys}:Shift", (1, 2, 3))
    assert run(suite_of([clip], more), tmp_path / "run", jobs=1).measured == 1
    # Another metric: the files are there, and so are the old values, to the last digit.
    marked = [p for p in (tmp_path / "run" / "files").iterdir() if p.suffix == ".toy"]
    times = {p: p.stat().st_mtime_ns for p in marked}
    summary = run(suite_of([clip], more, metrics=("psnr-y", "ssim")), tmp_path / "run", jobs=1)
    assert summary.measured == 3
    assert {p: p.stat().st_mtime_ns for p in marked} == times
    assert all(set(r.scores) == {"psnr-y", "ssim"} for r in summary.records)
    assert by_point(summary)["toy", "one", 1].encode_seconds == first.records[0].encode_seconds
    # Another picture under the same name is other work.
    write_clip("one", seed=9)
    assert run(suite_of([clip], spec), tmp_path / "run", jobs=1).measured == 2
    assert run(suite_of([clip], spec), tmp_path / "run", jobs=1, force=True).measured == 2


def test_a_kill_in_the_middle_of_a_line_costs_that_line(
    toys: str, write_clip: WriteClip, tmp_path: Path
) -> None:
    suite = suite_of([write_clip("one")], CodecSpec("toy", f"{toys}:Shift", (1, 2, 3)))
    whole = run(suite, tmp_path / "run", jobs=1)
    journal = tmp_path / "run" / RECORDS
    journal.write_text(journal.read_text()[:-40])
    again = run(suite, tmp_path / "run", jobs=1)
    assert again.measured == 1
    assert [r.scores for r in again.records] == [r.scores for r in whole.records]
    assert len(read_records(tmp_path / "run")) == 3
    lines = journal.read_text().split("\n")
    journal.write_text("\n".join(["{broken", *lines]))
    with pytest.raises(InputError, match="line 1"):
        read_records(journal)


def test_a_clip_is_its_pictures_their_rate_and_their_colours(write_clip: WriteClip) -> None:
    clip = read_clip(write_clip("one"))
    faster = dataclasses.replace(clip.info, fps=2 * clip.info.fps)
    full = dataclasses.replace(clip.info, color=Color(full_range=True))
    others = [dataclasses.replace(clip, info=info) for info in (faster, full)]
    assert len({clip.sha256, *(other.sha256 for other in others)}) == 3
    assert dataclasses.replace(clip, name="two").sha256 == clip.sha256


def test_ways_of_decoding_share_a_file(toys: str, write_clip: WriteClip, tmp_path: Path) -> None:
    spec = CodecSpec("toy", f"{toys}:Shift", (2,), decode=({"realism": 0}, {"realism": 1}))
    records = run(suite_of([write_clip("one")], spec), tmp_path / "run", jobs=1).records
    assert [r.codec for r in records] == ["toy realism 0", "toy realism 1"]
    assert records[0].file == records[1].file
    assert records[0].scores["psnr-y"] != records[1].scores["psnr-y"]


def test_failures_are_records_and_the_run_goes_on(
    toys: str, write_clip: WriteClip, tmp_path: Path
) -> None:
    broken = tmp_path / "clips" / "broken.mkv"
    good = write_clip("good", size=(64, 48))
    broken.write_bytes(b"this is no video")
    kinds = ("Raising", "Losing", "Cropping", "Silent", "Shift")
    codecs = [CodecSpec(k.lower(), f"{toys}:{k}", (2,)) for k in kinds]
    codecs.append(CodecSpec("unknown", "nobody", (2,)))
    codecs.append(CodecSpec("wrong", f"{toys}:Shift", (2,), {"speed": 3}))
    suite = suite_of([good, broken], *codecs, metrics=("psnr-y", "ms-ssim", "lpips"))
    summary = run(suite, tmp_path / "run", jobs=1)
    found = {(r.codec, r.clip): r for r in summary.records}
    assert len(found) == 2 * len(codecs)
    assert found["raising", "good"].error == "RuntimeError: the encoder is out of order"
    assert "5 of 6 frames came back" in found["losing", "good"].error
    assert "64x46 came back" in found["cropping", "good"].error
    assert "random weights" in found["silent", "good"].unscored
    assert not found["silent", "good"].scores
    assert found["silent", "good"].is_complete  # it was asked for its speed, and that is there
    assert "there is no codec 'nobody'" in found["unknown", "good"].error
    assert "does not take these settings" in found["wrong", "good"].error
    assert all(r.error for (_, clip), r in found.items() if clip == "broken")
    shift = found["shift", "good"]
    assert set(shift.scores) == {"psnr-y"}
    assert "at least 161" in shift.errors["ms-ssim"]
    assert "lpips" in shift.errors["lpips"]
    assert summary.measured == len(summary.records)
    told = "\n".join(reasons(summary))
    assert "1 x raising: RuntimeError: the encoder is out of order" in told
    assert "1 x silent: scores: random weights" in told
    # What failed is tried again, what is complete is not.
    assert run(suite, tmp_path / "run", jobs=1).measured > 0


def test_a_codec_that_kills_its_process(toys: str, write_clip: WriteClip, tmp_path: Path) -> None:
    codecs = [
        CodecSpec("dying", f"{toys}:Dying", (1,)),
        CodecSpec("toy", f"{toys}:Shift", (1, 2, 3, 4, 5, 6)),
    ]
    summary = run(suite_of([write_clip("one")], *codecs), tmp_path / "run", jobs=2)
    errors = {r.codec: r.error for r in summary.failed}
    assert set(errors) == {"dying"}
    assert "the process died" in errors["dying"]
    assert len(summary.records) == 7


def test_every_nth_frame(toys: str, write_clip: WriteClip, tmp_path: Path) -> None:
    clip = write_clip("one", frames=20)
    spec = CodecSpec("toy", f"{toys}:Shift", (3,))
    suite = suite_of([clip], spec, metrics=("psnr-y", "psnr-u"), every={"psnr-u": 6})
    (record,) = run(suite, tmp_path / "run", jobs=1).records
    assert len(record.scores["psnr-y"].values) == 20
    source = read_clip(clip).frames
    want = psnr_of_planes(source.u[::6], source.u[::6] >> 3 << 3)
    assert record.scores["psnr-u"].values == pytest.approx(want, rel=1e-5)
    assert record.scores["psnr-u"].every == 6


def test_own_codec_in_ten_lines(write_clip: WriteClip, tmp_path: Path) -> None:
    class Raw:
        def __init__(self, quality: float) -> None:
            self.quality = quality

        def encode(self, clip: Any) -> bytes:
            return np.array(clip.frames.y.shape, np.int32).tobytes() + clip.frames.y.tobytes()

        def decode(self, data: bytes) -> Any:
            from gancodec import FrameBatch

            n, h, w = np.frombuffer(data[:12], np.int32)
            y = np.frombuffer(data[12:], np.uint8).reshape(n, h, w)
            grey = np.full((n, h // 2, w // 2), 128, np.uint8)
            return FrameBatch(y, grey, grey, np.arange(n, dtype=np.int64))

    suite = suite_of([write_clip("one")], CodecSpec("raw", "raw", (0,)))
    (record,) = run(suite, tmp_path / "run", jobs=1, codecs={"raw": Raw}).records
    assert record.scores["psnr-y"].mean == 120
    assert record.bytes == 12 + 6 * 64 * 48


def test_other_metrics_keep_the_values_that_are_there(
    toys: str, write_clip: WriteClip, tmp_path: Path
) -> None:
    clip, spec = write_clip("one"), CodecSpec("toy", f"{toys}:Shift", (2,))
    (first,) = run(suite_of([clip], spec), tmp_path / "run", jobs=1).records
    (then,) = run(suite_of([clip], spec, metrics=("ssim",)), tmp_path / "run", jobs=1).records
    assert set(then.scores) == {"psnr-y", "ssim"}
    assert then.scores["psnr-y"] == first.scores["psnr-y"]


def test_other_weights_are_other_values(
    toys: str, write_clip: WriteClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(context: Context) -> FrameMeter:
        value = float(context.weights["toy"].read_text())
        return FrameMeter(lambda reference, _: np.full(len(reference), value))

    monkeypatch.setattr(metrics, "METRICS", (Metric("toy", "Toy", "", True, start, ""),))
    file = tmp_path / "weights"
    suite = suite_of(
        [write_clip("one")],
        CodecSpec("toy", f"{toys}:Shift", (2,)),
        metrics=("toy",),
        weights={"toy": str(file)},
    )
    for value, measured in ((3, 1), (3, 0), (4, 1)):
        file.write_text(str(value))
        summary = run(suite, tmp_path / "run", jobs=1)
        assert summary.measured == measured
        assert summary.records[0].scores["toy"].mean == value
        assert summary.records[0].scores["toy"].weights


def test_a_clip_that_is_too_short_for_a_metric(
    toys: str, write_clip: WriteClip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, spec = write_clip("one", frames=1), CodecSpec("toy", f"{toys}:Shift", (2,))
    suite = suite_of([clip], spec, metrics=("psnr-y", "flicker"))
    (record,) = run(suite, tmp_path / "run", jobs=1).records
    assert set(record.scores) == {"psnr-y"}
    assert "flicker has no value for so few frames; leave it out" in record.errors["flicker"]
    assert cli.main(["compare", str(clip), str(clip), "-m", "flicker"]) == 1
    assert "flicker has no value for so few frames; leave it out" in capsys.readouterr().err


def test_every_missing_clip_has_its_own_error(toys: str, tmp_path: Path) -> None:
    suite = suite_of(
        [tmp_path / "one.mkv", tmp_path / "two.mkv"], CodecSpec("toy", f"{toys}:Shift", (2,))
    )
    records = run(suite, tmp_path / "run", jobs=1).records
    assert [r.clip for r in records] == ["one", "two"]
    assert all(f"{r.clip}.mkv" in r.error for r in records)


def test_the_same_pictures_under_another_name(
    toys: str, write_clip: WriteClip, tmp_path: Path
) -> None:
    one, spec = write_clip("one"), CodecSpec("toy", f"{toys}:Shift", (2,))
    run(suite_of([one], spec), tmp_path / "run", jobs=1)
    two = one.rename(one.with_name("two.y4m"))
    assert run(suite_of([two], spec), tmp_path / "run", jobs=1).measured == 0
    assert [r.clip for r in read_records(tmp_path / "run")] == ["two"]
    write_clip("one")
    with pytest.raises(UsageError, match="one and two of the suite are the same pictures"):
        run(suite_of([one, two], spec), tmp_path / "run", jobs=1)


def test_records_of_an_earlier_suite_do_not_mix(
    toys: str, write_clip: WriteClip, tmp_path: Path
) -> None:
    clip = write_clip("one")
    for realism in (1, 0):  # the same label, another picture
        spec = CodecSpec("toy", f"{toys}:Shift", (1, 2), {"realism": realism})
        summary = run(suite_of([clip], spec), tmp_path / "run", jobs=1)
    assert asked_records(tmp_path / "run") == (list(summary.records), 2)
    everything, left_out = asked_records(tmp_path / "run" / RECORDS)
    assert (len(everything), left_out) == (4, 0)


def test_any_executor_gets_all_tasks(write_clip: WriteClip, tmp_path: Path) -> None:
    count = usable_cores() + 4
    together = threading.Barrier(count)

    def make(quality: float) -> Any:
        class Meeting:
            def encode(self, clip: Any) -> bytes:
                together.wait(timeout=20)
                raise RuntimeError("we met")

        return Meeting()

    suite = suite_of([write_clip("one")], CodecSpec("meeting", "meeting", tuple(range(count))))
    with ThreadPoolExecutor(count) as executor:
        records = run(suite, tmp_path, executor=executor, codecs={"meeting": make}).records
    assert {r.error for r in records} == {"RuntimeError: we met"}


def test_an_interrupt_leaves_no_task_behind(write_clip: WriteClip, tmp_path: Path) -> None:
    begun: list[float] = []
    go_on = threading.Event()

    def make(quality: float) -> Any:
        class Waiting:
            def encode(self, clip: Any) -> bytes:
                begun.append(quality)
                if quality > 0:
                    go_on.wait(20)
                raise RuntimeError("no file")

        return Waiting()

    def interrupt(progress: RunProgress) -> None:
        raise KeyboardInterrupt

    suite = suite_of([write_clip("one")], CodecSpec("waiting", "waiting", (0, 1, 2, 3, 4)))
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(KeyboardInterrupt):
            run(suite, tmp_path, executor=executor, codecs={"waiting": make}, progress=interrupt)
        go_on.set()
    assert len(begun) <= 2  # the first, and the one that was under way


def test_two_may_make_the_same_file_at_once(
    toys: str, write_clip: WriteClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2)
    write = Path.write_bytes

    def write_and_wait(self: Path, data: bytes) -> int:
        count = write(self, data)
        together.wait(timeout=20)
        return count

    specs = [CodecSpec(name, f"{toys}:Shift", (2,)) for name in ("one", "two")]
    suite = suite_of([write_clip("clip")], *specs)
    monkeypatch.setattr(Path, "write_bytes", write_and_wait)
    with ThreadPoolExecutor(2) as executor:
        summary = run(suite, tmp_path / "run", executor=executor)
    assert not summary.failed
    assert len({r.file for r in summary.records}) == 1


def test_two_may_append_to_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / RECORDS
    mine, other = (Record(key, "c", "x264", 20, {"at": tmp_path}, {}, "clip") for key in "ab")
    line = other.to_json()

    def to_json(record: Record) -> str:  # meanwhile, another process
        with path.open("a") as file:
            file.write(line + "\n")
        return line.replace('"b"', '"a"')

    monkeypatch.setattr(Record, "to_json", to_json)
    append_record(path, mine)
    assert [r.key for r in read_records(path)] == ["b", "a"]
    assert read_records(path)[0].settings == {"at": str(tmp_path)}


def test_command(
    toys: str, write_clip: WriteClip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clip("one")
    suite = tmp_path / "mine.toml"
    suite.write_text(
        f"""metrics = "psnr"
        [[clip]]
        path = "clips"
        frames = 4
        [[codec]]
        name = "toy"
        kind = "{toys}:Shift"
        qualities = [1, 2]
        """
    )
    folder = str(tmp_path / "run")
    assert cli.main(["eval", "run", str(suite), "-o", folder, "--jobs", "1"]) == 0
    seen = capsys.readouterr()
    assert "toy          2         2       0               0" in seen.out
    assert "2 records measured" in seen.err
    assert cli.main(["eval", "export", folder]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["quality"] for row in rows] == ["1", "2"]
    assert rows[0]["frames"] == "4"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["clips"]["one"]["frames"] == 4
    suite.write_text(suite.read_text().replace("Shift", "Losing"))
    assert cli.main(["eval", "run", str(suite), "-o", folder, "--jobs", "1"]) == 2
    assert "2 x toy: ValueError: 3 of 4 frames came back" in capsys.readouterr().err
    suite.write_text("metrics = ['nonsense']")
    assert cli.main(["eval", "run", str(suite), "-o", folder]) == 1
    assert "there is no metric 'nonsense'" in capsys.readouterr().err
    assert cli.main(["eval", "run", str(tmp_path / "none.toml")]) == 2
    assert cli.main(["eval"]) == 1


def test_csv_tells_failures() -> None:
    text = to_csv([Record("k", "c", "x264", 20, {}, {}, "clip", error="it broke")])
    assert "it broke" in text
