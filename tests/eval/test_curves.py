"""Plots: every marker is a record, better is up, grey prints and names are told apart."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes

from gancodec.errors import InputError, UsageError
from gancodec.eval import metrics
from gancodec.eval.curves import (
    Plot,
    plot_all,
    plot_distortion_perception,
    plot_over_time,
    plot_rate,
    plot_rdp,
    plot_speed,
)
from gancodec.eval.iso_rates import draw_iso_rates
from gancodec.eval.metric import FrameMeter, Metric
from gancodec.eval.plot_files import new_plot, place_axes
from gancodec.eval.plot_labels import spread
from gancodec.eval.plot_points import collect
from gancodec.eval.plot_style import styles_of
from gancodec.eval.records import Record, Score

SVG = "{http://www.w3.org/2000/svg}"
CLIPS = ("bikes", "bunny")
# label, kind, how many times the bytes of x265, how many times its toy distance, decode
CODECS = (
    ("x264 medium", "x264", 1.4, 1.3, {}),
    ("x265 medium", "x265", 1.0, 1.0, {}),
    ("gancodec realism 0", "gvc", 1.2, 1.2, {"realism": 0}),
    ("gancodec realism 0.5", "gvc", 1.2, 0.8, {"realism": 0.5}),
    ("gancodec realism 1", "gvc", 1.2, 0.5, {"realism": 1}),
)


def digest(*about: object) -> str:
    return hashlib.sha256(repr(about).encode()).hexdigest()


def make_record(
    codec: tuple[str, str, float, float, dict[str, float]], clip: str, q: int
) -> Record:
    label, kind, rate, distance, decode = codec
    size = int(rate * 5000 * 2**q * (1 + CLIPS.index(clip)))
    psnr = 28 + 3 * q - (1 + decode["realism"] if "realism" in decode else 0)
    toy = distance * 0.5 * 0.7**q
    frames = 6
    return Record(
        key=digest(label, clip, q), codec=label, kind=kind, quality=q, settings={}, decode=decode,
        clip=clip, clip_sha256=digest(clip), width=160, height=90, fps=25, frames=frames,
        bytes=size, bpp=8 * size / (160 * 90 * frames), kbps=8 * size / (frames / 25) / 1000,
        file_sha256=digest(kind, clip, q), encode_seconds=1 + q, decode_seconds=0.5,
        scores={
            "psnr-y": Score(psnr, tuple(psnr + math.sin(i) for i in range(frames))),
            "toy": Score(toy, tuple(toy * (1 + i / 100) for i in range(frames))),
        },
    )  # fmt: skip


@pytest.fixture(autouse=True)
def toy_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric where lower is better, whatever others there are."""
    toy = Metric("toy", "Toy distance", "", False, lambda _: FrameMeter(lambda a, b: a.pts), "")
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, toy))


@pytest.fixture
def records() -> list[Record]:
    return [make_record(codec, clip, q) for codec in CODECS for clip in CLIPS for q in range(5)]


def ids_in(svg: str) -> list[str]:
    tree = ElementTree.fromstring(svg)
    ids = [element.get("id", "") for element in tree.iter(f"{SVG}g")]
    return [i for i in ids if i.startswith(("r-", "m-"))]


def texts_in(svg: str) -> str:
    tree = ElementTree.fromstring(svg)
    return "\n".join("".join(element.itertext()) for element in tree.iter(f"{SVG}text"))


def height_of(plot: Plot, codec: str, axes: Axes | None = None) -> float:
    """Of a codec's third point, upwards in the picture."""
    points = [p for p in plot.points if p.codec == codec]
    return float((axes or plot.figure.axes[0]).transData.transform((points[2].x, points[2].y))[1])


# ---------------------------------------------------------------- points and records


DRAW: dict[str, Callable[[list[Record]], Plot]] = {
    "rate of a clip": lambda r: plot_rate(r, "psnr-y", "bikes"),
    "rate by clip": lambda r: plot_rate(r, "toy"),
    "mean rate": lambda r: plot_rate(r, "toy", "mean", rate="kbps"),
    "plane": lambda r: plot_distortion_perception(r, "psnr-y", "toy", "bunny"),
    "views": lambda r: plot_rdp(r, perception="toy"),
    "speed": lambda r: plot_speed(r, "x265 medium", "psnr-y"),
    "time": lambda r: plot_over_time(r, "toy", "bikes"),
}


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW.keys())
def test_every_marker_is_a_group_that_names_its_records(
    draw: Callable[[list[Record]], Plot], records: list[Record], tmp_path: Path
) -> None:
    plot = draw(records)
    svg, png, table = plot.save(tmp_path / "made", "x")
    assert png.read_bytes().startswith(b"\x89PNG")
    ids = ids_in(svg.read_text("utf-8"))
    rows = list(csv.DictReader(io.StringIO(table.read_text("utf-8"))))
    assert len(ids) == len(set(ids))  # ids are unique in a document
    assert set(ids) == {row["gid"] for row in rows}
    assert rows
    by_key = {record.key: record for record in records}
    for row in rows:
        mine = [by_key[key] for key in row["keys"].split()]
        assert {record.codec for record in mine} == {row["codec"]}
        assert row["gid"][2:14] == mine[0].key[:12]
        assert row["gid"].startswith("r-" if len(mine) == 1 else "m-")


def test_a_clips_curve_has_the_records_values(records: list[Record]) -> None:
    plot = plot_rate(records, "psnr-y", "bikes")
    ours = {r.key: (r.bpp, r.scores["psnr-y"].mean) for r in records if r.clip == "bikes"}
    assert {p.keys: (p.x, p.y) for p in plot.points} == ours
    assert sorted(p.gid for p in plot.points) == sorted(f"r-{key[:12]}" for key in ours)
    assert {(p.x_name, p.y_name) for p in plot.points} == {("bpp", "psnr-y")}


def test_every_clip_has_a_panel(records: list[Record]) -> None:
    plot = plot_rate(records, "psnr-y")
    assert len(plot.points) == len(records)
    assert {p.panel for p in plot.points} == set(CLIPS)
    assert all(p.panel == p.clip for p in plot.points)


def test_mean_is_over_clips_at_equal_quality(records: list[Record]) -> None:
    plot = plot_rate(records, "toy", "mean", rate="bytes")
    assert len(plot.points) == 5 * len(CODECS)
    for point in plot.points:
        mine = [r for r in records if r.key in point.keys.split()]
        assert {r.quality for r in mine} == {point.quality}
        assert sorted(r.clip for r in mine) == sorted(CLIPS)
        assert point.x == pytest.approx(sum(r.bytes for r in mine) / 2)
        assert point.y == pytest.approx(sum(r.scores["toy"].mean for r in mine) / 2)


def test_time_has_every_value_of_the_file_nearest_in_bytes(records: list[Record]) -> None:
    plot = plot_over_time(records, "toy", "bikes", bpp=make_record(CODECS[1], "bikes", 2).bpp)
    chosen = {p.keys for p in plot.points}
    assert make_record(CODECS[1], "bikes", 2).key in chosen
    assert len(chosen) == len(CODECS)
    for record in records:
        if record.key in chosen:
            values = [p.y for p in plot.points if p.keys == record.key]
            assert tuple(values) == record.scores["toy"].values
    assert "x265 medium, 20.00 kB" in texts_in(plot.to_svg())
    paired = dataclasses.replace(records[0], scores={"toy": Score(1, (1.0, 2.0, 3.0), every=4)})
    assert [p.x for p in plot_over_time([paired], "toy", "bikes").points] == [0, 4, 8]


def test_speed_is_frames_over_seconds_of_all_files(records: list[Record]) -> None:
    plot = plot_speed(records, "x265 medium", "psnr-y")
    points = {(p.codec, p.panel): p for p in plot.points}
    assert points["x265 medium", "encode_fps"].x == pytest.approx(6 * 10 / 30)  # 1 to 5 s, twice
    assert points["x265 medium", "decode_fps"].x == pytest.approx(12)
    assert points["x265 medium", "encode_fps"].y == pytest.approx(0)
    assert points["x264 medium", "encode_fps"].y == pytest.approx(40, abs=0.1)
    left = plot.figure.axes[0]
    assert height_of_speed(left, 40) < height_of_speed(left, 0)  # more bytes are worse


def height_of_speed(axes: Axes, percent: float) -> float:
    return float(axes.transData.transform((1, percent))[1])


# ---------------------------------------------------------------- reading a plot


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        ("psnr-y", "PSNR-Y (dB), higher is better →"),
        ("toy", "Toy distance, lower is better →"),
    ],
)
def test_worse_is_drawn_lower(records: list[Record], metric: str, title: str) -> None:
    worse = [
        dataclasses.replace(
            r, codec="worse", key=r.key[::-1],
            scores={"psnr-y": Score(r.scores["psnr-y"].mean - 2, ()),
                    "toy": Score(r.scores["toy"].mean + 0.2, ())},
        )
        for r in records if r.codec == "x265 medium"
    ]  # fmt: skip
    plot = plot_rate([*records, *worse], metric, "bikes")
    assert height_of(plot, "worse") < height_of(plot, "x265 medium")
    assert plot.figure.axes[0].get_ylabel() == title
    assert plot.figure.axes[0].get_xlabel() == "← bits per luma sample, lower is better"
    assert plot.figure.axes[0].get_xscale() == "log"


def test_every_codec_is_named_in_every_panel(records: list[Record]) -> None:
    texts = texts_in(plot_rate(records, "psnr-y").to_svg()).split("\n")
    for label, *_ in CODECS:
        assert texts.count(label) == len(CLIPS)


def test_labels_lie_apart_and_within_the_picture(records: list[Record]) -> None:
    plot = plot_rate(records, "psnr-y", "bikes")
    plot.figure.draw_without_rendering()
    labels = {label for label, *_ in CODECS}
    boxes = [
        text.get_window_extent() for text in plot.figure.axes[0].texts if text.get_text() in labels
    ]
    assert len(boxes) == len(CODECS)
    boxes.sort(key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))
    assert all(box.x1 <= plot.figure.bbox.x1 for box in boxes)


@given(st.lists(st.floats(-50, 150), max_size=12))
def test_spread_labels(wanted: list[float]) -> None:
    wanted.sort()
    found = spread(wanted, 8, 100)
    gaps = [b - a for a, b in pairwise(found)]
    assert all(gap >= 8 - 1e-9 for gap in gaps)
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in found)
    clear = all(b - a >= 8 for a, b in pairwise(wanted))
    if clear and all(0 <= place <= 100 for place in wanted):
        assert found == pytest.approx(wanted)


def test_spread_keeps_what_does_not_collide_and_centres_what_does() -> None:
    assert spread([10, 50, 90], 8, 100) == [10, 50, 90]
    assert spread([50, 50, 50], 8, 100) == [42, 50, 58]
    assert spread([], 8, 100) == []


def test_codecs_differ_in_grey(records: list[Record]) -> None:
    many = [
        dataclasses.replace(records[0], codec=f"codec {i}", kind="gvc" if i < 3 else "x")
        for i in range(60)
    ]
    styles = styles_of(many)
    assert len({(repr(s.line), s.marker) for s in styles.values()}) == 60
    assert styles["codec 0"].width_pt > styles["codec 3"].width_pt
    assert styles_of(reversed(many)) == styles
    more = [dataclasses.replace(records[0], codec=str(i)) for i in range(70)]
    with pytest.raises(UsageError, match="70 codecs are too many"):
        styles_of(more)


def test_equal_records_give_equal_files(records: list[Record]) -> None:
    first, second = (plot_rdp(records, perception="toy").to_svg() for _ in range(2))
    assert first == second
    assert first == plot_rdp(list(records), perception="toy").to_svg()


def test_the_users_own_settings_neither_matter_nor_change(records: list[Record]) -> None:
    import matplotlib

    expected = plot_rate(records, "toy").to_svg()
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.grid": False}):
        assert plot_rate(records, "toy").to_svg() == expected
        assert matplotlib.rcParams["font.size"] == 30


def test_strange_names_stay_text(records: list[Record]) -> None:
    strange = [dataclasses.replace(r, codec="a $x^2$ <b>&\x1b", kind="x") for r in records[:10]]
    assert "a $x^2$ <b>&\\x1b" in texts_in(plot_rate(strange, "psnr-y", "bikes").to_svg())


# ---------------------------------------------------------------- three views


def test_views_share_axes(records: list[Record]) -> None:
    top, middle, last = plot_rdp(records, perception="toy", clip="bikes").figure.axes
    assert top.get_xlim() == middle.get_xlim()
    assert last.get_ylim() == middle.get_ylim()
    assert middle.get_ylim()[0] > middle.get_ylim()[1]  # lower is better, and so is up
    assert (top.get_yscale(), last.get_xscale()) == ("log", "log")


def test_realism_is_a_path_of_one_file(records: list[Record]) -> None:
    plot = plot_rdp(records, perception="toy", clip="bikes")
    assert len(plot.points) == 3 * 5 * len(CODECS)  # three panels, no point left out
    arrows = [t for t in plot.figure.axes[1].texts if getattr(t, "arrow_patch", None)]
    heads = {t.xy for t in arrows}  # type: ignore[attr-defined]
    ends = [r for r in records if r.clip == "bikes" and r.decode.get("realism") == 1]
    assert heads == {(r.scores["psnr-y"].mean, r.scores["toy"].mean) for r in ends}
    texts = texts_in(plot.to_svg())
    assert "gancodec realism 1" in texts
    assert "gancodec realism 0.5" not in texts  # a step of the arrows, not a curve
    without = [r for r in records if r.kind != "gvc"]
    assert "Arrows" not in texts_in(plot_rdp(without, perception="toy").to_svg())


def test_line_of_equal_rate_is_what_nothing_beats(records: list[Record]) -> None:
    """Of those that reach a rate, x265 before x264 has the best PSNR, realism 1 the least toy."""
    plot = new_plot(4, 4)
    axes = place_axes(plot, 1, 1, 2, 2)
    found = collect(records, ("bpp", "psnr-y", "toy"), "bikes")
    rates = draw_iso_rates(axes, found, "psnr-y", "toy")
    assert 1 <= len(rates) <= 3
    for rate, line in zip(rates, axes.lines, strict=True):
        xs, ys = line.get_xdata(), line.get_ydata()
        best = CODECS[1] if rate <= make_record(CODECS[1], "bikes", 4).bpp else CODECS[0]
        steps = math.log2(rate / make_record(best, "bikes", 0).bpp)
        assert max(xs) == pytest.approx(28 + 3 * steps)
        assert (list(xs), list(ys)) == (sorted(xs), sorted(ys))  # better PSNR, worse distance
        ours = next(r for r in records if r.bpp == rate and r.decode.get("realism") == 1)
        assert min(ys) == pytest.approx(ours.scores["toy"].mean)


# ---------------------------------------------------------------- little or odd input


def test_nothing_to_plot(records: list[Record]) -> None:
    failed = [dataclasses.replace(r, error="killed", scores={}) for r in records]
    for bad in ([], failed):
        for draw in DRAW.values():
            if draw is DRAW["speed"] and bad:
                assert not draw(bad).points
                assert "x264 medium has no BD-rate" in texts_in(draw(bad).to_svg())
                continue
            with pytest.raises(UsageError):
                draw(bad)
    with pytest.raises(UsageError, match="no record has bpp and psnr-y"):
        plot_rate(failed, "psnr-y")
    with pytest.raises(UsageError, match=r"no clip 'cats'.*bikes, bunny"):
        plot_rate(records, "psnr-y", "cats")
    with pytest.raises(UsageError, match="there is nothing to plot"):
        plot_rate(records, "beauty")


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW.keys())
def test_one_point_is_drawn(draw: Callable[[list[Record]], Plot], records: list[Record]) -> None:
    single = [r for r in records if r.codec == "x265 medium" and r.quality == 2]
    assert ElementTree.fromstring(draw(single).to_svg()) is not None


def test_codecs_without_overlap_are_named_in_the_speed_plot(records: list[Record]) -> None:
    def shifted(record: Record) -> Record:
        return dataclasses.replace(record, scores={"psnr-y": Score(record.quality, ())})

    odd = [shifted(r) if r.codec == "x264 medium" else r for r in records]
    plot = plot_speed(odd, "x265 medium", "psnr-y")
    assert "x264 medium" not in {p.codec for p in plot.points}
    assert "x264 medium has no BD-rate" in texts_in(plot.to_svg())


def test_mean_says_what_is_left_out(records: list[Record]) -> None:
    published = [
        dataclasses.replace(
            r, codec="VTM", clip="UVG", clip_sha256="", bytes=0, key=r.key[::-1],
            scores={"psnr-y": Score(30 + r.quality, ())},
        )
        for r in records[:5]
    ]  # fmt: skip
    gap = next(r for r in records if r.codec == "x264 medium" and r.quality == 3)
    kept = [r for r in records if r is not gap]
    plot = plot_rate([*kept, *published], "psnr-y", "mean")
    assert len(plot.points) == 5 * len(CODECS) - 1
    texts = texts_in(plot.to_svg())
    assert "PSNR-Y (dB) over rate, mean over 2 clips" in texts
    assert "x264 medium: points that lack one of these clips are left out (1)" in texts
    assert "VTM lacks some of these clips and is left out" in texts
    assert "not in the mean, because not all have them: UVG" in texts


def test_a_clip_that_one_codec_lacks_is_in_nobodys_mean(records: list[Record]) -> None:
    third = [dataclasses.replace(r, clip="zoo", clip_sha256="z") for r in records[:5]]
    found = collect([*records, *third], ("bpp", "psnr-y"))
    assert found.clips == CLIPS
    assert len(found.curves) == len(CODECS)


def test_clips_that_differ_are_not_mixed(records: list[Record]) -> None:
    odd = [dataclasses.replace(records[0], clip_sha256="other", key="k"), *records]
    with pytest.raises(UsageError, match="two different clips are called 'bikes'"):
        plot_rate(odd, "psnr-y", "mean")


def test_frames_need_a_clip_and_values(records: list[Record]) -> None:
    with pytest.raises(UsageError, match="name one"):
        plot_over_time(records, "toy", "mean")
    bare = [dataclasses.replace(r, scores={"toy": Score(1, (1.0,))}) for r in records]
    with pytest.raises(UsageError, match="no record has values of toy for frames"):
        plot_over_time(bare, "toy", "bikes")


# ---------------------------------------------------------------- files


def test_all_plots_of_a_run(records: list[Record], tmp_path: Path) -> None:
    def renamed(record: Record) -> Record:
        return dataclasses.replace(
            record, scores={"psnr-y": record.scores["psnr-y"], "ssimulacra2": record.scores["toy"]}
        )

    files = plot_all([renamed(r) for r in records], tmp_path / "plots", "x265 medium")
    assert all(file.is_file() for file in files)
    assert sorted(files) == sorted((tmp_path / "plots").iterdir())
    assert sorted(file.stem for file in files if file.suffix == ".svg") == [
        "plane-psnr-y-ssimulacra2",
        *(f"rate-{m}-{what}" for m in ("psnr-y", "ssimulacra2") for what in ("clips", "mean")),
        "rdp-psnr-y-ssimulacra2",
        *("speed-psnr-y", "time-psnr-y-bikes", "time-psnr-y-bunny"),
        *("time-ssimulacra2-bikes", "time-ssimulacra2-bunny"),
    ]


def test_clips_of_like_names_keep_their_files(records: list[Record], tmp_path: Path) -> None:
    names = {"bikes": "a b", "bunny": "a-b"}
    both = [dataclasses.replace(r, clip=names[r.clip]) for r in records]
    files = plot_all(both, tmp_path, "x265 medium", ["psnr-y"])
    assert len(files) == len(set(files))
    assert {"time-psnr-y-a-b.csv", "time-psnr-y-a-b-2.csv"} < {file.name for file in files}


def test_unwritable_and_unknown_pictures(records: list[Record], tmp_path: Path) -> None:
    plot = plot_rate(records, "psnr-y", "bikes")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        plot.save(tmp_path / "file", "x")
    with pytest.raises(InputError, match="cannot write"):
        plot.savefig(tmp_path / "absent" / "x.svg")
    with pytest.raises(UsageError, match="no picture of kind 'docx'"):
        plot.savefig(tmp_path / "x.docx")
    plot.savefig(tmp_path / "x.pdf")
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")
