"""Videos through an enhancer: segments, times, sound, what a source is known to have lost."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gancodec
from gancodec.bitstream import AudioData
from gancodec.enhancer import Enhancement, Enhancer
from gancodec.errors import InputError, LimitError, ModelError, UsageError
from gancodec.fileio import enhancing, source_rate
from gancodec.fileio.enhancing import Segment, segment_frames, split_segments
from gancodec.fileio.input_clip import InputClip
from gancodec.types import FrameBatch
from gancodec.video.reader import open_video
from gancodec.video.synth import (
    clip_info,
    moving_texture,
    noisy_pan,
    scene_cut,
    tone,
    write_test_video,
)
from gancodec.video.writer import open_writer

Weights = dict[str, str]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, make_enhancer: Callable[..., str]) -> Weights:
    """Folders of small enhancers: by window, and with memory."""
    return {
        "sr": make_enhancer(tmp_path_factory.mktemp("sr"), "sr", 2, memory=True),
        "sr4": make_enhancer(tmp_path_factory.mktemp("sr4"), "sr", 4, memory=True),
        "denoise": make_enhancer(tmp_path_factory.mktemp("denoise"), "denoise", frames=5),
        "deblur": make_enhancer(tmp_path_factory.mktemp("deblur"), "deblur", frames=5),
        "detail": make_enhancer(tmp_path_factory.mktemp("detail"), "detail", frames=3),
    }


@pytest.fixture(autouse=True)
def own_nets() -> Iterator[None]:
    """Nets of other tests are not kept: folders differ, names do not."""
    enhancing.enhancer_of.cache_clear()
    yield
    enhancing.enhancer_of.cache_clear()


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enhancing, "_SEGMENT_FRAMES", (5, 5))


def at_once(frames: FrameBatch, task: Any, model: str, **options: Any) -> FrameBatch:
    return Enhancer(Enhancement(task, model=model, **options)).enhance(frames)


# ── Segments ─────────────────────────────────────────────────────────────────────────────────


def numbered(count: int) -> FrameBatch:
    """Frames that can be told apart by their times."""
    planes = np.zeros((count, 2, 2), np.uint8), np.zeros((count, 1, 1), np.uint8)
    return FrameBatch(planes[0], planes[1], planes[1], np.arange(count, dtype=np.int64))


@pytest.mark.parametrize(("before", "after"), [(0, 0), (4, 0), (1, 1), (2, 2), (9, 3)])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 7, 8, 23])
def test_every_frame_counts_once_and_sees_those_around_it(
    count: int, before: int, after: int
) -> None:
    for parts in (1, 3, 50):
        batches = [numbered(count)[n : n + parts] for n in range(0, count, parts)]
        counted: list[int] = []
        for segment in split_segments(iter(batches), 5, before, after):
            assert isinstance(segment, Segment)
            start, stop = len(counted), len(counted) + segment.count
            counted += segment.frames.pts[segment.first : segment.first + segment.count].tolist()
            seen = range(max(start - before, 0), min(stop + after, count))
            assert segment.frames.pts.tolist() == list(seen)
            last = stop == count
            assert 0 < segment.count <= 5 + after if last else segment.count == 5
        assert counted == list(range(count))


def test_sound_stays_in_its_place() -> None:
    items = [AudioData(0, b"a"), numbered(12)[:6], AudioData(0, b"b"), numbered(12)[6:]]
    kinds = [
        piece.count if isinstance(piece, Segment) else piece
        for piece in split_segments(iter(items), 5, 1, 1)
    ]
    assert kinds == [AudioData(0, b"a"), 5, AudioData(0, b"b"), 5, 2]


@pytest.mark.parametrize(
    ("width", "height", "frames"),
    [(48, 32, 32), (1280, 720, 32), (1920, 1080, 23), (3840, 2160, 8), (7680, 4320, 8)],
)
def test_segments_are_as_long_as_pictures_allow(width: int, height: int, frames: int) -> None:
    info = replace(clip_info(numbered(1)), width=width, height=height)
    assert segment_frames(info) == frames


# ── Frames ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("task", ["denoise", "deblur", "detail"])
@pytest.mark.usefixtures("short_segments")
def test_segments_of_a_window_are_the_whole(
    kit: Any, tiny: Weights, task: Any, tmp_path: Path
) -> None:
    batch = noisy_pan(48, 32, 14)
    batch = FrameBatch.concatenate([batch[:7], scene_cut(48, 32, 14, seed=3)[7:]])
    source, target = tmp_path / "in.y4m", tmp_path / "out.y4m"
    source.write_bytes(kit.y4m(batch))
    stats = gancodec.enhance(source, target, task, model=tiny[task], jobs=1)
    assert (stats.frames, stats.seconds) == (14, Fraction(14, 25))
    assert (stats.width, stats.height, stats.model) == (48, 32, f"tiny-{task}1")
    kit.assert_same(kit.read_all(target), at_once(batch, task, tiny[task]))
    assert (kit.read_all(target).y != batch.y).any()


@pytest.mark.usefixtures("short_segments")
def test_segments_with_memory_are_nearly_the_whole(kit: Any, tiny: Weights, tmp_path: Path) -> None:
    """A few frames before the segment bring the memory up to what it would have been."""
    batch = moving_texture(32, 32, 12)
    out = io.BytesIO()
    gancodec.enhance(io.BytesIO(kit.y4m(batch)), out, "sr", model=tiny["sr"], jobs=1)
    out.seek(0)
    parts = kit.read_all(out).y.astype(int)
    whole = at_once(batch, "sr", tiny["sr"], scale=2).y.astype(int)
    fresh = at_once(batch[5:10], "sr", tiny["sr"], scale=2).y.astype(int)
    np.testing.assert_array_equal(parts[:5], whole[:5])
    assert np.abs(parts - whole).max() <= 2
    assert np.abs(fresh[0] - whole[5]).mean() > np.abs(parts[5] - whole[5]).mean()


def test_the_same_bytes_for_any_jobs(kit: Any, tiny: Weights, tmp_path: Path) -> None:
    batch = moving_texture(32, 16, 40)
    source = write_test_video(tmp_path / "in.mkv", batch, clip_info(batch), [tone(1.6)])
    for name, options in (
        ("one", {"jobs": 1}),
        ("two", {"jobs": 2}),
        ("threads", {"jobs": 3, "executor": ThreadPoolExecutor(2)}),
    ):
        gancodec.enhance(
            source, tmp_path / f"{name}.mkv", "sr", model=tiny["sr"], lossless=True, **options
        )
    one = (tmp_path / "one.mkv").read_bytes()
    assert one == (tmp_path / "two.mkv").read_bytes()
    assert one == (tmp_path / "threads.mkv").read_bytes()
    assert kit.read_all(tmp_path / "one.mkv").y.shape == (40, 32, 64)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 33)])
@pytest.mark.parametrize(("name", "scale"), [("sr", 2), ("sr4", 4), ("detail", 1)])
def test_sizes(kit: Any, tiny: Weights, name: str, scale: int, width: int, height: int) -> None:
    batch = moving_texture(width, height, 2)
    out = io.BytesIO()
    task: Any = name.rstrip("4")
    stats = gancodec.enhance(
        io.BytesIO(kit.y4m(batch)),
        out,
        task,
        scale=None if scale == 2 else scale,
        model=tiny[name],
        jobs=1,
    )
    out.seek(0)
    assert kit.read_all(out).y.shape == (2, height * scale, width * scale)
    assert (stats.width, stats.height) == (width * scale, height * scale)


def test_strength_and_sigma_arrive(kit: Any, tiny: Weights) -> None:
    batch = noisy_pan(32, 32, 3)
    found = set()
    for options in ({}, {"strength": 1}, {"sigma": 30}, {"sigma": "auto"}):
        out = io.BytesIO()
        chosen: dict[str, Any] = dict(options)
        gancodec.enhance(
            io.BytesIO(kit.y4m(batch)), out, "denoise", model=tiny["denoise"], jobs=1, **chosen
        )
        found.add(out.getvalue())
        out.seek(0)
        given = {k: v for k, v in chosen.items() if v != "auto"}
        kit.assert_same(kit.read_all(out), at_once(batch, "denoise", tiny["denoise"], **given))
    assert len(found) == 3  # auto is what happens without a word


# ── What surrounds them ──────────────────────────────────────────────────────────────────────


def test_sound_is_kept_bit_for_bit(kit: Any, mp4: Path, tiny: Weights, tmp_path: Path) -> None:
    for kind in ("mkv", "mp4"):
        out = tmp_path / f"out.{kind}"
        stats = gancodec.enhance(mp4, out, "detail", model=tiny["detail"], jobs=1)
        assert stats.notices == ()
        kept, whole = kit.sound_of(out), kit.sound_of(mp4)
        assert [data for _, data in kept] == [data for _, data in whole]
        for (a, _), (b, _) in zip(kept, whole, strict=True):
            assert abs(a - b) <= Fraction(1, 1000)
    silent = tmp_path / "silent.mkv"
    gancodec.enhance(mp4, silent, "detail", model=tiny["detail"], jobs=1, audio="none")
    with pytest.raises(IndexError):
        kit.sound_of(silent)
    notices = gancodec.enhance(
        mp4, tmp_path / "out.y4m", "detail", model=tiny["detail"], jobs=1
    ).notices
    assert notices == ("y4m holds no sound: it was left out",)


@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_times_shape_and_colours_are_kept(
    kit: Any, tiny: Weights, tmp_path: Path, kind: str
) -> None:
    batch = moving_texture(32, 48, 9)
    pts = np.array([0, 33, 67, 68, 500, 501, 1200, 1201, 1300], np.int64)
    batch = FrameBatch(batch.y, batch.u, batch.v, pts)
    info = replace(
        clip_info(batch),
        time_base=Fraction(1, 1000),
        sample_aspect_ratio=Fraction(4, 3),
        rotation=90,
        color=gancodec.Color(1, 1, 1, full_range=True),
    )
    source = tmp_path / f"in.{kind}"
    with open_writer(source, info) as writer:
        writer.write(batch)
    out = tmp_path / f"out.{kind}"
    gancodec.enhance(source, out, "sr", model=tiny["sr"], jobs=1)
    with open_video(source) as before, open_video(out) as after:
        a, b = before.info, after.info
        times = [
            [pts * r.info.time_base for batch in r.batches(4) for pts in batch.pts.tolist()]
            for r in (before, after)
        ]
    assert times[0] == times[1] == [Fraction(t, 1000) for t in pts.tolist()]
    assert (b.width, b.height) == (64, 96)
    for name in ("rotation", "sample_aspect_ratio"):
        assert getattr(a, name) == getattr(b, name) != getattr(clip_info(batch), name)
    assert replace(a.color, chroma_location=0) == replace(b.color, chroma_location=0)


def test_a_part(kit: Any, tiny: Weights, mp4: Path, tmp_path: Path) -> None:
    out = tmp_path / "part.mkv"
    stats = gancodec.enhance(
        mp4, out, "detail", model=tiny["detail"], start=0.2, duration="0.4", lossless=True, jobs=1
    )
    part = kit.read_all(out)
    assert (stats.frames, stats.seconds, part.pts[0]) == (10, Fraction(2, 5), 0)
    frames = kit.read_all(mp4)[5:15]
    told = at_once(frames, "detail", tiny["detail"], bits_per_pixel=stats.bits_per_pixel)
    kit.assert_same(part, told, times=False)


def test_pictures_in_and_out(kit: Any, tiny: Weights, tmp_path: Path) -> None:
    batch = moving_texture(16, 16, 3)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with open_writer(pictures, clip_info(batch)) as writer:
        writer.write(batch)
    stats = gancodec.enhance(pictures, f"{tmp_path}/large/", "sr", model=tiny["sr"], jobs=1)
    assert (stats.frames, stats.bits_per_pixel) == (3, None)
    assert kit.read_all(tmp_path / "large").y.shape == (3, 32, 32)


def test_progress(tiny: Weights, mp4: Path, tmp_path: Path) -> None:
    steps: list[gancodec.Progress] = []
    gancodec.enhance(
        mp4, tmp_path / "o.mkv", "detail", model=tiny["detail"], jobs=1, progress=steps.append
    )
    assert {(s.stage, s.total_frames, s.bytes) for s in steps} == {("enhance", 24, 0)}
    assert (steps[-1].frames, steps[-1].seconds) == (24, pytest.approx(0.96))


# ── Files of our own ─────────────────────────────────────────────────────────────────────────


def rate_of(gops: list[gancodec.bitstream.Gop]) -> float:
    sizes = [len(frame.data) for gop in gops for frame in gop.frames]
    return 8 * sum(sizes) / (len(sizes) * 48 * 32)


def test_gvc_is_decoded_and_enhanced(
    kit: Any, tiny: Weights, gvc: Path, linear: FrameBatch, mp4: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "enhanced.mkv", tmp_path / "decoded.mkv"
    stats = gancodec.enhance(gvc, one, "detail", model=tiny["detail"], lossless=True, jobs=1)
    assert stats.bits_per_pixel == pytest.approx(rate_of(kit.gops_of(gvc)))
    what = Enhancement("detail", model=tiny["detail"])
    decoded = gancodec.decode(gvc, two, enhance=what, lossless=True, jobs=1)
    assert (decoded.frames, decoded.seconds) == (stats.frames, stats.seconds)
    assert one.read_bytes() == two.read_bytes()
    told = Enhancer(replace(what, bits_per_pixel=stats.bits_per_pixel)).enhance(linear)
    kit.assert_same(kit.read_all(one), told, times=False)
    assert [p for _, p in kit.sound_of(one)] == [p for _, p in kit.sound_of(mp4)]


def test_gvc_from_a_pipe_tells_the_rate_of_its_first_gop(
    kit: Any, tiny: Weights, gvc: Path
) -> None:
    out = kit.Pipe()
    stats = gancodec.enhance(
        kit.Pipe(gvc.read_bytes()), out, "detail", model=tiny["detail"], audio="none", jobs=1
    )
    assert stats.bits_per_pixel == pytest.approx(rate_of(kit.gops_of(gvc)[:1]))
    assert stats.notices == ()  # nor was there any sound
    assert len(kit.read_all(out.result())) == kit.frames


def test_a_part_of_a_gvc(
    kit: Any, tiny: Weights, gvc: Path, linear: FrameBatch, tmp_path: Path
) -> None:
    out = tmp_path / "part.mkv"
    what = Enhancement("detail", model=tiny["detail"], bits_per_pixel=0.1)
    gancodec.decode(gvc, out, enhance=what, start="0.28", duration=0.4, lossless=True, jobs=1)
    kit.assert_same(kit.read_all(out), Enhancer(what).enhance(linear[7:17]), times=False)


def test_damage_is_concealed_and_enhanced(
    kit: Any, tiny: Weights, gvc: Path, tmp_path: Path
) -> None:
    chunks = kit.split_chunks(gvc.read_bytes())
    third = [n for n, (kind, _) in enumerate(chunks) if kind == b"GOPS"][2]
    broken = tmp_path / "broken.gvc"
    broken.write_bytes(kit.join_chunks(chunks[:third] + chunks[third + 1 :]))
    out = tmp_path / "out.mkv"
    what = Enhancement("detail", model=tiny["detail"])
    with pytest.raises(gancodec.BitstreamError):
        gancodec.decode(broken, out, enhance=what, jobs=1)
    assert not out.exists()
    stats = gancodec.decode(broken, out, enhance=what, conceal=True, jobs=1)
    assert not stats.is_intact
    assert len(kit.read_all(out)) == kit.frames


# ── What a source has lost ───────────────────────────────────────────────────────────────────


def rate(path: Path) -> float | None:
    clip = InputClip(path)
    with clip.open() as reader:
        return source_rate.rate_of_video(clip.path, reader)


def test_the_rate_of_a_file_is_that_of_its_pictures(mp4: Path) -> None:
    import av

    with av.open(str(mp4)) as container:
        sizes = [p.size for p in container.demux(container.streams.video[0]) if p.size]
    found = rate(mp4)
    assert found == pytest.approx(8 * sum(sizes) / (24 * 48 * 32))
    assert 0.05 < found < 2


def test_what_has_lost_nothing_has_no_rate(kit: Any, mp4: Path, tmp_path: Path) -> None:
    batch = noisy_pan(48, 32, 4, noise=60)
    (tmp_path / "a.y4m").write_bytes(kit.y4m(batch))
    write_test_video(tmp_path / "a.mkv", batch, clip_info(batch), codec="ffv1")
    finest = {"qp": "4", "preset": "veryfast"}
    write_test_video(tmp_path / "a.mp4", batch, clip_info(batch), codec="libx264", options=finest)
    with open_writer(tmp_path / "a.png", clip_info(batch)) as writer:
        writer.write(batch[:1])
    for path in tmp_path.iterdir():
        assert rate(path) is None, path.name


def test_a_pipe_has_the_rate_that_it_declares(mp4: Path) -> None:
    with open_video(io.BytesIO(mp4.read_bytes())) as reader:
        declared = reader.declared_bit_rate
        assert declared is not None
        found = source_rate.rate_of_video(None, reader)
        assert found == pytest.approx(declared / 25 / (48 * 32))
        assert found == pytest.approx(rate(mp4), rel=0.05)


@pytest.mark.parametrize(("task", "minds"), [("sr", True), ("detail", True), ("denoise", False)])
def test_who_minds_is_told(
    tiny: Weights, mp4: Path, tmp_path: Path, task: Any, minds: bool
) -> None:
    stats = gancodec.enhance(mp4, tmp_path / "out.mkv", task, model=tiny[task], jobs=1)
    assert stats.bits_per_pixel == (rate(mp4) if minds else None)


# ── What cannot be done leaves nothing ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("task", "options", "complaint"),
    [
        ("sr", {"scale": 3}, "2 or 4 times as large, not 3"),
        ("sr", {"scale": 1}, "2 or 4 times as large, not 1"),
        ("detail", {"scale": 2}, "keeps the size"),
        ("sharpen", {}, "the task is one of"),
        ("sr", {"strength": 1.5}, "strength is 0 to 1"),
        ("sr", {"sigma": 5}, "sigma is for denoise"),
        ("sr", {"sigma": "auto"}, "sigma is for denoise"),
        ("denoise", {"sigma": 61}, "sigma is 0 to 60"),
        ("sr", {"audio": "mp3"}, "audio is copy, opus or none"),
        ("sr", {"duration": 0}, "0 seconds"),
        ("sr", {"device": "abacus"}, "'abacus' is not to be had"),
        ("sr", {"jobs": 0}, "jobs is 1 or more"),
    ],
)
def test_what_makes_no_sense(
    mp4: Path, tiny: Weights, tmp_path: Path, task: Any, options: dict[str, Any], complaint: str
) -> None:
    chosen = {"jobs": 1, "model": tiny["sr"], **options}
    with pytest.raises(UsageError, match=complaint):
        gancodec.enhance(mp4, tmp_path / "out.mkv", task, **chosen)
    assert list(tmp_path.iterdir()) == []


def test_sound_of_our_own_files_is_not_converted(gvc: Path, tiny: Weights, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="copy or none"):
        gancodec.enhance(gvc, tmp_path / "o.mkv", "sr", model=tiny["sr"], audio="opus", jobs=1)


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("none-such", "no enhancer 'none-such'"),
        ("changed", "SHA-256 differs"),
        ("gone", "cannot be read"),
        ("listless", "lists no enhancer"),
        ("detail", "is for detail x1, not for sr x2"),
        ("sr4", "is for sr x4, not for sr x2"),
    ],
)
def test_wrong_weights(
    mp4: Path,
    tiny: Weights,
    make_enhancer: Callable[..., str],
    tmp_path: Path,
    model: str,
    complaint: str,
) -> None:
    folder = tmp_path / "weights"
    name = tiny.get(model, model)
    if model in ("changed", "gone", "listless"):
        name = make_enhancer(folder, "sr", 2)
        (weights,) = folder.glob("*.safetensors")
        if model == "changed":
            weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
        elif model == "gone":
            weights.unlink()
        else:
            (folder / "manifest.json").write_text(json.dumps({}))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ModelError, match=complaint):
        gancodec.enhance(mp4, out / "o.mkv", "sr", model=name, jobs=1)
    assert list(out.iterdir()) == []


def test_sources_that_cannot_be(
    kit: Any, tiny: Weights, mp4: Path, gvc: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mkv"
    options: dict[str, Any] = {"model": tiny["sr"], "jobs": 1}
    for side in ((15, 40), (40, 15)):
        small = io.BytesIO(kit.y4m(moving_texture(*side, 2)))
        with pytest.raises(UsageError, match="too small to enhance"):
            gancodec.enhance(small, out, "sr", **options)
    empty = io.BytesIO(b"YUV4MPEG2 W16 H16 F25:1 C420jpeg\n")
    with pytest.raises(InputError):
        gancodec.enhance(empty, out, "sr", **options)
    with pytest.raises(InputError, match="does not exist"):
        gancodec.enhance(tmp_path / "none.mp4", out, "sr", **options)
    for source in (mp4, gvc):
        with pytest.raises(InputError, match="no frame at 100 s"):
            gancodec.enhance(source, out, "sr", start=100, **options)
    wide = io.BytesIO(b"YUV4MPEG2 W9000 H16 F25:1 C420jpeg\nFRAME\n" + bytes(9000 * 24))
    with pytest.raises(LimitError, match="18000x32"):
        gancodec.enhance(wide, out, "sr", **options)
    with pytest.raises(UsageError, match="does not say what to write"):
        gancodec.enhance(mp4, tmp_path / "out.xyz", "sr", **options)
    assert list(tmp_path.iterdir()) == []


def test_targets_are_not_lost(tiny: Weights, mp4: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    out.write_bytes(b"before")
    with pytest.raises(UsageError, match="exists already"):
        gancodec.enhance(mp4, out, "sr", model=tiny["sr"], jobs=1)
    with pytest.raises(UsageError, match="is the input as well"):
        gancodec.enhance(mp4, mp4, "sr", model=tiny["sr"], jobs=1, overwrite=True)
    assert out.read_bytes() == b"before"
    gancodec.enhance(mp4, out, "sr", model=tiny["sr"], jobs=1, overwrite=True, duration=0.1)
    assert out.read_bytes() != b"before"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.usefixtures("short_segments")
def test_an_interruption_leaves_nothing(
    tiny: Weights, mp4: Path, gvc: Path, tmp_path: Path, error: type[BaseException]
) -> None:
    def stop(step: gancodec.Progress) -> None:
        assert [p.name for p in tmp_path.iterdir()] == ["out.mkv.part"]
        raise error

    for source in (mp4, gvc):
        with pytest.raises(error):
            gancodec.enhance(
                source, tmp_path / "out.mkv", "sr", model=tiny["sr"], jobs=1, progress=stop
            )
        assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_no_file_under_the_name(
    tiny: Weights, mp4: Path, tmp_path: Path, fresh_python: Any
) -> None:
    code = (
        "import os, sys, gancodec\n"
        "gancodec.enhance(sys.argv[1], sys.argv[2], 'sr', model=sys.argv[3], jobs=1,\n"
        "    progress=lambda step: os.kill(os.getpid(), 9))"
    )
    done = fresh_python(code, str(mp4), str(tmp_path / "out.mkv"), tiny["sr"], check=False)
    assert done.returncode == -9, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["out.mkv.part"]
