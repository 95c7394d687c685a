"""The report as text: whole, escaped, honest about what is missing, within its size."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gancodec.errors import InputError, UsageError
from gancodec.eval.bdrate import bd_rate
from gancodec.eval.clips import read_clip
from gancodec.eval.curves import plot_rate
from gancodec.eval.fidelity import psnr_of_planes
from gancodec.eval.records import Record, Score, append_record, read_records
from gancodec.eval.report import write_report
from gancodec.eval.report_choices import (
    choose_crops,
    choose_frames,
    choose_sizes,
    film_range,
    match_sizes,
    value_at,
)
from gancodec.eval.report_curves import inline
from gancodec.eval.report_images import decode_webp, encode_webp, luma_psnr, to_rgb
from gancodec.eval.report_pictures import Plan, make_album
from gancodec.eval.report_summary import compare_all, verdict
from gancodec.eval.report_tables import number, size
from gancodec.types import Color
from gancodec.video.color import yuv420_to_rgb
from gancodec.video.synth import moving_texture

VOID = {"meta", "img", "input", "br", "link", "hr"}
LIGHT = (Plan(False, 1, 1, "none", 3),)


class Page(HTMLParser):
    """Elements in order; fails on a tag that is not closed, or an id that is there twice."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []
        ids = [a["id"] for _, a in self.elements if "id" in a]
        assert len(ids) == len(set(ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(t for tag, t in self.texts if tag != "script").split())

    @property
    def data(self) -> Any:
        (script,) = [t for tag, t in self.texts if tag == "script" and t.startswith("{")]
        return json.loads(script)


@pytest.fixture(scope="session")
def page(reported: Any) -> Page:
    return Page(reported.text)


# ── The file ─────────────────────────────────────────────────────────────────────────────────


def test_it_is_one_file_that_names_no_other(page: Page, reported: Any) -> None:
    assert "http://" not in reported.text
    assert "https://" not in reported.text
    assert not re.search(r"@import|url\((?!#)", reported.text)
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert {tag for tag, _ in page.elements} & {
        "link",
        "iframe",
        "object",
        "embed",
        "base",
    } == set()


def test_policy_allows_this_script_and_nothing_else(page: Page) -> None:
    (policy,) = [m["content"] for m in page.of("meta") if "http-equiv" in m]
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
    (script,) = [t for tag, t in page.texts if tag == "script" and not t.startswith("{")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_own_script_is_short(page: Page) -> None:
    (script,) = [t for tag, t in page.texts if tag == "script" and not t.startswith("{")]
    assert len(script.encode()) < 15_000


def test_hostile_names_are_text(page: Page, reported: Any) -> None:
    assert reported.hostile_clip in page.text
    assert reported.hostile_codec in page.text
    assert "the <b>encoder</b> is out of order" in page.text
    assert "trial & error" in page.text
    assert len(page.of("script")) == 2
    assert all("onerror" not in attributes for _, attributes in page.elements)
    assert reported.hostile_codec in page.data["clips"][0]["codecs"]


def test_equal_runs_give_equal_files(reported: Any, tmp_path: Path) -> None:
    write_report(reported.run, tmp_path / "again.html", codecs=reported.codecs)
    assert (tmp_path / "again.html").read_bytes() == reported.path.read_bytes()


def test_size_is_bounded(reported: Any, tmp_path: Path) -> None:
    bare = tmp_path / "bare.html"
    notes = write_report(reported.run, bare, codecs=reported.codecs, max_bytes=1)
    assert not Page(bare.read_text("utf-8")).data["images"]
    assert sum("no pictures: the least of them would take more" in n for n in notes) == 2
    limit = bare.stat().st_size + 200_000 + 1_000_000
    small = tmp_path / "small.html"
    assert write_report(reported.run, small, codecs=reported.codecs, max_bytes=limit) == []
    assert bare.stat().st_size + 20_000 < small.stat().st_size <= limit
    assert reported.path.stat().st_size > limit  # which shows more where there is room
    clips = Page(small.read_text("utf-8")).data["clips"]
    assert [len(clip["boxes"]) for clip in clips] == [1, 1]


def test_a_place_that_cannot_be_written_is_told(reported: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_report(reported.run, tmp_path / "no" / "r.html", codecs=reported.codecs, plans=LIGHT)


# ── What it says ─────────────────────────────────────────────────────────────────────────────


def test_wins_and_losses_stand_beside_one_another(page: Page, reported: Any) -> None:
    """Equal pictures: ours needs 1/1.5 of the bytes of one codec, and 1/0.5 of the other's."""
    text = page.text
    for side, of in (("▼ wins", reported.hostile_codec), ("▲ loses", "thrifty")):
        assert f"{side}: 4 of 8 comparisons clip by clip" in text
        percent = "33.3 % fewer" if side == "▼ wins" else "100.0 % more"
        for clip in ("pan", reported.hostile_clip):
            for metric in ("PSNR-Y", "SSIM"):
                assert re.search(re.escape(f"{clip} , {metric}: {percent} bytes than {of}"), text)
    cells = [a.get("class") for tag, a in page.elements if tag == "td" and a.get("class")]
    assert cells[:4] == ["win", "loss"] * 2  # anchors from the most saved to the most spent
    assert "4 means: 2 ▼ wins, 2 ▲ loses, 0 ◆ undecided, 0 no number." in text


def test_numbers_in_the_matrix_are_those_of_bd_rate(page: Page, reported: Any) -> None:
    records = [r for r in read_records(reported.run) if not r.error]
    table = bd_rate(records, reported.hostile_codec, "ours", "ssim")
    assert table.rate_summary.mean == pytest.approx(100 * (1 / 1.5 - 1), abs=0.1)
    assert f"▼ wins −{-table.rate_summary.mean:.1f} %" in page.text


def curve(codec: str, clip: str, factor: float, shift: float = 0.0) -> list[Record]:
    """Five points of PSNR over bytes, rising by 3 dB for twice the bytes."""
    kind = "gvc" if codec == "ours" else "other"
    records = []
    for i in range(5):
        key = hashlib.sha256(f"{codec} {clip} {i}".encode()).hexdigest()[:24]
        psnr = 30.0 + 3 * i + shift
        record = Record(key, codec, kind, i, {}, {}, clip, scores={"psnr-y": Score(psnr, (psnr,))})
        records.append(dataclasses.replace(record, bytes=round(1000 * 2**i * factor), frames=4))
    return records


def judge(*records: list[Record]) -> str:
    compared = compare_all([r for rs in records for r in rs], "ours", ["theirs"])
    return verdict(compared.tables["theirs", "psnr-y"])


def test_verdicts() -> None:
    same = [*curve("theirs", "a", 1), *curve("theirs", "b", 1)]
    assert judge(same, curve("ours", "a", 0.8), curve("ours", "b", 0.9)) == "win"
    assert judge(same, curve("ours", "a", 1.2), curve("ours", "b", 1.1)) == "loss"
    # -20 % and +30 %: resampled means lie on both sides of zero
    assert judge(same, curve("ours", "a", 0.8), curve("ours", "b", 1.3)) == "even"
    # no quality in common, 40 dB apart at equal bytes
    assert judge(same, curve("ours", "a", 1, 40), curve("ours", "b", 1, 40)) == "win"
    assert judge(same, curve("ours", "a", 1, -40), curve("ours", "b", 1, -40)) == "loss"
    assert judge(same, curve("ours", "a", 1)[:3], curve("ours", "b", 1)[:3]) == "none"


def test_failures_are_listed_with_their_reason(page: Page) -> None:
    match = re.search(r"Failures and gaps codec lacks .*?Pictures at equal", page.text)
    assert match is not None
    assert "raising everything 2" in match[0]
    assert "RuntimeError: the <b>encoder</b> is out of order" in match[0]
    assert "2 lack something" in page.text


def test_a_metric_that_is_missing_is_listed(reported: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(reported.run / "run.json", run)
    for record in read_records(reported.run):
        if record.codec == "thrifty" and record.quality == 2 and record.clip == "pan":
            scores = {"psnr-y": record.scores["psnr-y"]}
            why = {"ssim": "gave a value that is not <finite>"}
            record = dataclasses.replace(record, scores=scores, errors=why)
        append_record(run / "records.jsonl", record)
    write_report(run, tmp_path / "r.html", codecs=reported.codecs, plans=LIGHT)
    text = Page((tmp_path / "r.html").read_text("utf-8")).text
    assert "thrifty ssim 1 pan: 2 gave a value that is not <finite>" in text
    assert "3 lack something" in text


def test_every_record_has_its_row(page: Page, reported: Any) -> None:
    for record in read_records(reported.run):
        assert (record.key[:12] in page.text) == (not record.error)
        if not record.error:
            value = number(record.value("ssim"), None)
            assert size(record.bytes) in page.text, value
            assert f"{record.scores['psnr-y'].mean:.2f}" in page.text


def test_every_marker_of_a_clip_names_its_record(page: Page, reported: Any) -> None:
    labels = [a["aria-label"] or "" for _, a in page.elements if a.get("class") == "point"]
    for record in read_records(reported.run):
        if record.error:
            continue
        mine = [label for label in labels if label.endswith(f"record {record.key[:12]}")]
        psnr = f"PSNR-Y {record.scores['psnr-y'].mean:.2f} dB"
        (found,) = [label for label in mine if psnr in label]
        assert found.split("\n")[0] == record.codec
        assert found.split("\n")[1] == f"{record.clip}, quality {record.quality:g}"
        assert f"{size(record.bytes)} bytes, {record.bpp:.4f} bits a pixel" in found


def test_lines_and_names_say_whose_they_are_even_in_one_colour() -> None:
    """Several of our own curves share a colour and differ in marker and dashes."""
    labels = ("ours", "ours & more", "theirs")
    records = [r for i, label in enumerate(labels) for r in curve(label, "a", 1 + i)]
    records = [
        dataclasses.replace(r, bpp=r.bytes / 1000, kind="gvc" if "ours" in r.codec else "other")
        for r in records
    ]
    page = Page(inline(plot_rate(records, "psnr-y"), "p1", records))
    stops = [a["tabindex"] for _, a in page.elements if a.get("class") == "point"]
    assert sorted(stops) == ["-1"] * 14 + ["0"]  # one stop of the tab key a plot
    for label in labels:
        mine = [a for _, a in page.elements if a.get("data-codec") == label]
        points = [a for a in mine if a.get("class") == "point"]
        assert len(points) == 5
        assert len(mine) - len(points) == 3  # the line, its name, and the sample beside the name


def test_records_of_other_suites_are_left_out(reported: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(reported.run / "run.json", run)
    records = read_records(reported.run)
    for record in [
        dataclasses.replace(records[0], key="0" * 24, bytes=999_999_999),
        dataclasses.replace(records[0], key="1" * 24, codec="of another suite"),
        *records,
    ]:
        append_record(run / "records.jsonl", record)
    notes = write_report(run, tmp_path / "r.html", codecs=reported.codecs, plans=LIGHT)
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "of another suite" not in text
    assert size(999_999_999) not in text
    assert "2 records of other suites are left out" in notes


def test_anchor_that_is_not_there_is_refused(reported: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the anchor 'x266' is no codec .*: ours, "):
        write_report(reported.run, tmp_path / "r.html", anchor="x266", codecs=reported.codecs)


# ── Pictures ─────────────────────────────────────────────────────────────────────────────────


def test_pictures_are_those_of_the_files(page: Page, reported: Any) -> None:
    """Every square of the slider is what the codec decodes there, within what WebP does to it."""
    data, about = page.data, json.loads((reported.run / "run.json").read_text("utf-8"))
    records = {r.key: r for r in read_records(reported.run)}
    for clip in data["clips"]:
        source = read_clip(Path(about["clips"][clip["name"]]["path"]))
        for label, steps in clip["codecs"].items():
            for at, shot in enumerate(steps):
                record = records[shot["key"]]
                assert record.codec == label
                assert clip["bytes"][at] / 2 < record.bytes < clip["bytes"][at] * 2
                codec = reported.codecs[record.kind](record.quality)
                frames = codec.decode((reported.run / record.file).read_bytes())
                for view, (x, y, w, h) in enumerate(clip["boxes"]):
                    for i, frame in enumerate(clip["frames"]):
                        rgb = yuv420_to_rgb(frames[frame : frame + 1], source.info.color)[0]
                        image = base64.b64decode(data["images"][shot["views"][view][i]])
                        got = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
                        assert np.array_equal(got, rgb[y : y + h, x : x + w]) == clip["exact"]


def test_values_beside_the_pictures_are_of_that_frame(page: Page, reported: Any) -> None:
    records = {r.key: r for r in read_records(reported.run)}
    for clip in page.data["clips"]:
        for steps in clip["codecs"].values():
            for shot in steps:
                for frame, scores in zip(clip["frames"], shot["scores"], strict=True):
                    assert frame % 2 == 0  # SSIM was judged on every second frame
                    record = records[shot["key"]]
                    assert scores["psnr-y"] == record.scores["psnr-y"].values[frame]
                    assert scores["ssim"] == record.scores["ssim"].values[frame // 2]


def test_film_shows_consecutive_frames_of_every_codec(page: Page) -> None:
    for clip in page.data["clips"]:
        film = clip["film"]
        assert film["first"] + film["count"] <= clip["length"]
        for strip in [film["source"], *film["codecs"].values()]:
            assert len(strip) == film["count"] == 10
            assert len(set(strip)) == 10  # it moves


def test_missing_clips_are_told(reported: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(reported.run, run)
    about = json.loads((run / "run.json").read_text("utf-8"))
    about["clips"]["pan"]["path"] = "gone.mkv"
    (run / "run.json").write_text(json.dumps(about))
    notes = write_report(run, tmp_path / "r.html", codecs=reported.codecs, plans=LIGHT)
    assert notes == [
        "no pictures of the clip pan: there is no file gone.mkv where the run found it"
    ]
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert notes[0] in page.text
    assert [clip["name"] for clip in page.data["clips"]] == [reported.hostile_clip]
    (run / "run.json").unlink()
    notes = write_report(run, tmp_path / "r.html", codecs=reported.codecs, plans=LIGHT)
    assert "the run has no run.json, so its clips are not known and no pictures are shown" in notes
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert page.data["clips"] == []
    assert "There are no pictures: see the notes" in page.text
    assert "▼ wins: 4 of 8" in page.text


def test_a_file_that_does_not_decode_is_told(reported: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(reported.run, run)
    for record in read_records(run):
        if record.kind == "wasteful":
            (run / record.file).write_bytes(b"not what was coded, by far")
    notes = write_report(run, tmp_path / "r.html", codecs=reported.codecs, plans=LIGHT)
    assert len(notes) == 2
    assert all(f"no pictures of {reported.hostile_codec}, quality" in note for note in notes)
    clips = Page((tmp_path / "r.html").read_text("utf-8")).data["clips"]
    assert [sorted(clip["codecs"]) for clip in clips] == [["ours", "thrifty"]] * 2


def test_pictures_that_changed_since_the_run_are_not_compared(
    reported: Any, tmp_path: Path
) -> None:
    about = json.loads((reported.run / "run.json").read_text("utf-8"))["clips"]
    about["pan"] = about[reported.hostile_clip]
    records = [r for r in read_records(reported.run) if r.clip == "pan"]
    album = make_album(reported.run, about, records, "ours", extra=reported.codecs)
    assert album.clips == []
    assert album.notes == [
        "clip pan: 15 records have no file, or are of other pictures by that name",
        "clip pan: nothing was coded that could be shown",
    ]


def test_loss_of_the_own_compression_is_told(reported: Any, tmp_path: Path) -> None:
    write_report(reported.run, tmp_path / "r.html", codecs=reported.codecs, plans=LIGHT)
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    match = re.search(r"Squares are WebP at quality 95, .* luma PSNR is ([0-9.]+) dB", page.text)
    assert match is not None
    assert 40 < float(match[1]) < 60


# ── Choices ──────────────────────────────────────────────────────────────────────────────────

Make = Callable[..., Record]


def sized(codec: str, *sizes: int) -> list[Record]:
    return [Record(f"{codec}{s}", codec, "k", s, {}, {}, "clip", bytes=s) for s in sizes]


def test_sizes_are_the_leads_where_all_have_one_nearby() -> None:
    lead = sized("lead", 100, 200, 400, 800, 1600, 3200)
    other = sized("other", 210, 390, 810, 1500)
    assert choose_sizes([*lead, *other], "lead", 3) == [200, 800, 1600]
    assert choose_sizes([*lead, *other], "lead", 4) == [200, 400, 800, 1600]
    assert choose_sizes(lead, "lead", 2) == [100, 3200]
    assert choose_sizes([*lead, *sized("far", 90_000)], "lead", 2) == [1600, 3200]
    assert choose_sizes([], "lead", 3) == []
    found = match_sizes([*lead, *other], 400)
    assert {label: r.bytes for label, r in found.items()} == {"lead": 400, "other": 390}


def test_frames_are_spread_and_were_judged() -> None:
    assert choose_frames(30, 2) == [10, 20]
    assert choose_frames(30, 2, every=8) == [8, 16]
    assert choose_frames(29, 2, every=12) == [12, 24]
    assert choose_frames(24, 2, every=12) == [12]
    assert choose_frames(1, 2) == [0]
    assert list(film_range(30, 10, 12)) == list(range(6, 18))
    assert list(film_range(30, 28, 12)) == list(range(18, 30))
    assert list(film_range(5, 2, 12)) == [0, 1, 2, 3, 4]


def test_values_of_frames_pairs_and_clips() -> None:
    scores = {
        "ssim": Score(0.5, (0.1, 0.2, 0.3), every=4),
        "psnr-y": Score(30.0, (30.0, 31.0, 32.0)),
    }
    record = Record("k", "c", "k", 1, {}, {}, "clip", scores=scores)
    assert [value_at(record, "ssim", n) for n in (0, 4, 5, 8, 12)] == [0.1, 0.2, None, 0.3, None]
    assert [value_at(record, "psnr-y", n) for n in (0, 2, 3)] == [30.0, 32.0, None]


def test_crops_are_where_codecs_differ_and_where_it_is_busy() -> None:
    source = np.full((2, 256, 320), 100, np.uint8)
    source[:, 160:256, 0:96] = np.random.default_rng(0).integers(0, 256, (2, 96, 96))
    decoded = [source.copy(), source.copy()]
    decoded[0][:, 32:96, 208:272] = 140
    decoded[1][:, 32:96, 208:272] = 60
    first, second = choose_crops(source, decoded, 96, 2)
    assert first[0] <= 208
    assert first[0] + 96 >= 272
    assert first[1] <= 32
    assert first[1] + 96 >= 96
    assert second == (0, 160, 96, 96)
    assert choose_crops(source[:, :50, :40], [], 96, 2) == [(0, 0, 40, 50)]  # small: one, whole


@pytest.mark.parametrize("location", range(7))
@pytest.mark.parametrize("box", [(0, 0, 32, 32), (16, 32, 32, 32), (43 - 27, 16, 27, 21)])
def test_a_box_has_the_samples_of_the_whole(box: tuple[int, int, int, int], location: int) -> None:
    frame = moving_texture(75 if box[2] == 32 else 43, 64 if box[2] == 32 else 37, 1, seed=3)
    color = Color(matrix=1, chroma_location=location)
    x, y, w, h = box
    assert np.array_equal(to_rgb(frame, color, box), to_rgb(frame, color)[y : y + h, x : x + w])


def test_images_come_back() -> None:
    rgb = to_rgb(moving_texture(64, 48, 1, seed=4), Color())
    assert np.array_equal(decode_webp(encode_webp(rgb, "lossless")), rgb)
    lossy = decode_webp(encode_webp(rgb, "crop"))
    assert 38 < luma_psnr(rgb, lossy) < 60
    grey = np.repeat(rgb[..., :1], 3, axis=2)  # luma is what the channels have in common
    other = np.repeat(lossy[..., :1], 3, axis=2)
    expected = psnr_of_planes(grey[None, ..., 0], other[None, ..., 0])[0]
    assert luma_psnr(grey, other) == pytest.approx(expected)
