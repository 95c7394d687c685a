"""`gancodec eval` on the records of a small run: every command a user would type behind `run`."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gancodec import cli
from gancodec.eval.records import Record, Score, append_record

WriteClip = Callable[..., Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folder(toys: str, write_clip: WriteClip, tmp_path: Path, capsys: Capture) -> Path:
    """A run of two codecs on two clips: toy, and x264."""
    write_clip("one")
    write_clip("two", seed=5)
    suite = tmp_path / "suite.toml"
    suite.write_text(
        f"""metrics = ["psnr-y", "ssim"]
        anchor = "x264"
        [[clip]]
        path = "clips"
        [[codec]]
        name = "x264"
        kind = "x264"
        qualities = [10, 20, 30, 40, 50]
        [[codec]]
        name = "toy"
        kind = "{toys}:Shift"
        qualities = [1, 2, 3, 4, 5]
        """
    )
    run = tmp_path / "run"
    assert cli.main(["eval", "run", str(suite), "-o", str(run), "--jobs", "1"]) == 0
    capsys.readouterr()
    return run


def test_bd(folder: Path, capsys: Capture) -> None:
    assert cli.main(["eval", "bd", str(folder), "-m", "psnr-y"]) == 0
    text = capsys.readouterr().out
    assert "toy against x264 by PSNR-Y" in text
    assert "mean over 2 of 2 clips" in text
    head, row = (line.split() for line in text.splitlines()[-2:])
    assert head == ["codec", "psnr-y"]
    assert row[0] == "toy"
    assert row[1].startswith("+")
    assert cli.main(["eval", "bd", str(folder), "--json", "--anchor", "toy"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert [t["metric"] for t in tables] == ["psnr-y", "ssim"]
    assert all(t["rate_summary"]["mean"] < 0 for t in tables)  # x264 needs fewer bytes than the toy
    assert cli.main(["eval", "bd", str(folder), "--anchor", "nobody"]) == 1
    assert "nobody" in capsys.readouterr().err


def test_bd_of_curves_that_do_not_meet(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "records.jsonl"
    for codec, first in (("low", 20), ("high", 40)):
        for n in range(4):
            score = Score(float(first + n), (float(first + n),))
            record = Record(f"{codec}{n}", codec, "x264", n, {}, {}, "clip", bytes=100 * (n + 1))
            append_record(path, dataclasses.replace(record, scores={"psnr-y": score}))
    assert cli.main(["eval", "bd", str(path), "--anchor", "low"]) == 2
    seen = capsys.readouterr()
    assert "no overlap" in seen.out
    assert "1 of 1 comparisons have no BD-rate" in seen.err


def test_plot_report_and_export(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    published = tmp_path / "published.json"
    results = {"bpp": [0.5, 1.0, 2.0, 4.0], "psnr-rgb": [25.0, 28.0, 31.0, 34.0]}
    published.write_text(json.dumps({"name": "theirs", "results": results}))
    plots = tmp_path / "plots"
    words = ["eval", "plot", str(folder), "-o", str(plots), "--published", str(published)]
    assert cli.main(words) == 0
    assert {".svg", ".png", ".csv"} == {p.suffix for p in plots.iterdir()}
    assert "files written" in capsys.readouterr().err
    assert cli.main(["eval", "report", str(folder)]) == 0
    page = (folder / "report.html").read_text("utf-8")
    assert "toy" in page
    assert "report.html written" in capsys.readouterr().err
    table = tmp_path / "table.csv"
    assert cli.main(["eval", "export", str(folder), "-o", str(table)]) == 0
    with table.open(newline="") as lines:
        assert len(list(csv.DictReader(lines))) == 20
    words = ["eval", "export", str(folder), "--format", "compressai", "--test", "toy"]
    assert cli.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "toy"
    assert len(found["results"]["bpp"]) == 5


def test_export_of_some(folder: Path, capsys: Capture) -> None:
    assert cli.main(["eval", "export", str(folder), "--test", "toy", "-m", "ssim"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["codec"] for row in rows} == {"toy"}
    assert "ssim" in rows[0]
    assert "psnr-y" not in rows[0]
    assert cli.main(["eval", "export", str(folder), "--test", "nobody"]) == 1
    assert "there is no codec 'nobody'; there are: x264, toy" in capsys.readouterr().err


def test_records_of_earlier_suites_are_left_out(
    folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    suite = tmp_path / "suite.toml"
    lines = suite.read_text().replace("[10, 20, 30, 40, 50]", "[10, 20]")
    suite.write_text(lines[: lines.index('[[codec]]\n        name = "toy"')])
    assert cli.main(["eval", "run", str(suite), "-o", str(folder), "--jobs", "1"]) == 0
    capsys.readouterr()
    assert cli.main(["eval", "export", str(folder)]) == 0
    seen = capsys.readouterr()
    assert len(list(csv.DictReader(seen.out.splitlines()))) == 4
    assert f"16 records of other suites in {folder} are left out" in seen.err
    # One codec alone has nothing to be compared with.
    assert cli.main(["eval", "bd", str(folder)]) == 1
    assert "no codec but x264 in the records" in capsys.readouterr().err
    # The file holds everything, and plots go beside it.
    assert cli.main(["eval", "bd", str(folder / "records.jsonl"), "-m", "psnr-y"]) == 0
    assert "toy against x264" in capsys.readouterr().out
    assert cli.main(["eval", "plot", str(folder / "records.jsonl"), "-m", "psnr-y"]) == 0
    assert list((folder / "plots").glob("*.svg"))


def test_metrics_are_listed_with_what_they_need(capsys: Capture) -> None:
    assert cli.main(["eval", "metrics"]) == 0
    text = capsys.readouterr().out
    table, papers, *needs = text.split("\n\n")
    by_name = {line.split()[0]: line for line in table.splitlines()}
    assert "lower" in by_name["st-lpips-vgg"]
    assert by_name["psnr-y"].endswith("yes")
    assert by_name["lpips"].endswith("no")
    assert needs[0].startswith("lpips needs its weights: they cannot be shipped")
    assert [line.split(":")[0] for line in papers.splitlines()] == list(by_name)[1:]
    assert "st-lpips-vgg: Ghildyal, Liu" in papers


def test_records_that_are_not_there(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["eval", "bd", str(tmp_path)]) == 2
    assert "cannot read records" in capsys.readouterr().err
    assert cli.main(["eval", "report", str(tmp_path)]) == 2
    (tmp_path / "video.mkv").write_bytes(b"\xff\xd8\xff\xe0")
    capsys.readouterr()
    assert cli.main(["eval", "bd", str(tmp_path / "video.mkv")]) == 2
    assert "holds no records: it is no text" in capsys.readouterr().err
