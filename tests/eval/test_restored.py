"""A codec with an enhancer behind it: what a file holds, what is told, and sizes that return."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gancodec import enhancer
from gancodec.enhancer import DEFAULTS, Enhancement, Enhancer, load_enhancer
from gancodec.errors import InputError, ModelError, UsageError
from gancodec.eval import ClipSpec, CodecSpec, Suite, restored, run
from gancodec.eval.clips import Clip
from gancodec.eval.codecs import build_codec
from gancodec.eval.fidelity import psnr_of_planes
from gancodec.eval.suite import read_suite, resolve_path, shipped_suites
from gancodec.models.restore import enlarge, reduce
from gancodec.nn.planes import Planes
from gancodec.types import FrameBatch
from gancodec.video.synth import clip_info, moving_texture

DETAIL = DEFAULTS["detail", 1]
X264 = {"base": "x264", "base_settings": {"preset": "veryfast"}}


def clip_of(width: int = 64, height: int = 48, frames: int = 3) -> Clip:
    batch = moving_texture(width, height, frames)
    return Clip("pan", clip_info(batch, Fraction(25)), batch)


@pytest.fixture
def enhancers(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_stand_ins: Callable[[Path, float], None],
) -> Iterator[Path]:
    """Small enhancers under the names of the shipped ones: faithful changes nothing."""
    folder = tmp_path / "enhancers"
    write_stand_ins(folder, 0.1)
    monkeypatch.setattr(enhancer, "PACKAGED", folder)  # in place of those that ship
    load_enhancer.cache_clear()
    yield folder
    load_enhancer.cache_clear()


def assert_equal(a: FrameBatch, b: FrameBatch) -> None:
    for one, other in zip((a.y, a.u, a.v, a.pts), (b.y, b.u, b.v, b.pts), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_file_is_the_codecs_own_and_the_enhancer_is_named(enhancers: Path) -> None:
    clip = clip_of(128, 96)  # of smaller ones, x264's bytes are not always the same
    base = build_codec("x264", 30, {"preset": "veryfast"})
    codec = build_codec("restored", 30, {**X264, "task": "detail", "strength": 0.0})
    data = codec.encode(clip)
    assert data == base.encode(clip)
    assert_equal(codec.decode(data), base.decode(data))  # a fresh net changes nothing
    entry = load_enhancer(DETAIL)
    versions: dict[str, str] = getattr(codec, "versions")  # noqa: B009
    assert versions["encoder"] == "libx264"
    assert versions["enhancer"] == DETAIL
    assert versions["enhancer weights"] == entry.sha256[:12] != ""
    assert getattr(codec, "suffix") == ".264"  # noqa: B009
    strong = build_codec("restored", 30, {**X264, "task": "detail", "strength": 1.0})
    assert (strong.decode(data).y != base.decode(data).y).any()


@pytest.mark.parametrize(("task", "told"), [("detail", True), ("sr", True), ("denoise", False)])
def test_the_enhancer_is_told_the_rate(
    task: str, told: bool, enhancers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Enhancement] = []

    class Spy(Enhancer):
        def __init__(self, enhancement: Enhancement) -> None:
            seen.append(enhancement)
            super().__init__(enhancement)

    monkeypatch.setattr(restored, "Enhancer", Spy)
    clip, scale = clip_of(), 2 if task == "sr" else 1
    codec = build_codec("restored", 30, {**X264, "task": task, "scale": scale})
    data = codec.encode(clip)
    codec.decode(data)
    inside = len(data) - (4 if task == "sr" else 0)
    rate = 8 * inside / (clip.pixels / scale**2)  # of what the codec coded
    assert [e.bits_per_pixel for e in seen] == [pytest.approx(rate) if told else None]


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", [(128, 96), (71, 65)])
def test_super_resolution_comes_back_to_the_size_it_began_with(
    scale: int, size: tuple[int, int], enhancers: Path
) -> None:
    clip = clip_of(*size)
    settings = {**X264, "task": "sr", "scale": scale, "strength": 0.0}
    codec = build_codec("restored", 20, settings)
    data = codec.encode(clip)
    small = restored.smaller_clip(clip, scale)
    base = build_codec("x264", 20, {"preset": "veryfast"})
    decoded = base.decode(data[4:])
    assert psnr_of_planes(small.frames.y, decoded.y).min() > 30
    assert (small.info.width % 2, small.info.height % 2) == (0, 0)
    assert small.info.width * scale >= size[0] > (small.info.width - 2) * scale
    shown = build_codec("restored", 5, settings).decode(data)  # nothing but the file counts
    assert shown.y.shape == clip.frames.y.shape
    assert shown.u.shape == clip.frames.u.shape
    planes = (torch.from_numpy(p)[:, None] / 255 for p in (decoded.y, decoded.u, decoded.v))
    large = enlarge(Planes(*planes), scale)
    inner = np.s_[:, : size[1] - 8, : size[0] - 8]  # the net pads before it enlarges
    wanted = (large.y[:, 0] * 255).clamp(0, 255).numpy()[inner]
    assert np.abs(shown.y[inner] - wanted).max() < 0.51
    assert str(getattr(codec, "suffix")) == f".sr{scale}.264"  # noqa: B009


def test_clips_are_made_smaller_frame_by_frame() -> None:
    """Several frames at a time are what each one is alone, and what bicubic makes of it."""
    clip = clip_of(128, 64, 10)
    for scale in (2, 4):
        small = restored.reduced(clip.frames, scale)
        assert small.y.shape == (10, 64 // scale, 128 // scale)
        for n in (0, 9):
            assert_equal(small[n : n + 1], restored.reduced(clip.frames[n : n + 1], scale))
        luma = torch.from_numpy(clip.frames.y)[:, None].float() / 255
        grey = torch.full((10, 1, 32, 64), 0.5)
        wanted = reduce(Planes(luma, grey, grey), scale).y[:, 0] * 255
        np.testing.assert_array_equal(small.y, wanted.round().clamp(0, 255).numpy())
    assert len(restored.reduced(clip.frames[:0], 2)) == 0


def test_files_that_are_none(enhancers: Path) -> None:
    codec = build_codec("restored", 30, {**X264, "task": "sr", "scale": 2})
    data = codec.encode(clip_of())
    with pytest.raises(InputError, match="says 999x48, and holds 64x48"):
        codec.decode((999).to_bytes(2, "little") + data[2:])
    with pytest.raises(InputError, match="4 bytes holds no picture"):
        codec.decode(data[:4])
    huge = clip_of()
    huge = replace(huge, info=replace(huge.info, width=70000))
    with pytest.raises(UsageError, match="65535"):
        codec.encode(huge)


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"task": "detial"}, UsageError, "the task is one of"),
        ({"task": "sr"}, UsageError, "2 or 4 times"),
        ({"task": "detail", "scale": 2}, UsageError, "a scale is for sr"),
        ({"task": "detail", "strength": 2}, UsageError, "strength is 0 to 1"),
        ({"task": "detail", "model": "nobody.v1"}, ModelError, "no enhancer 'nobody.v1'"),
        ({"task": "detail", "model": DEFAULTS["denoise", 1]}, ModelError, "is for denoise"),
        ({"task": "detail", "sharpness": 2}, UsageError, "does not take these settings"),
    ],
)
def test_settings_out_of_range(
    settings: dict[str, Any], error: type[Exception], told: str, enhancers: Path
) -> None:
    with pytest.raises(error, match=told):
        build_codec("restored", 30, {**X264, **settings})


def test_a_suite_decodes_one_file_at_several_strengths(
    enhancers: Path, tmp_path: Path, bikes_path: Path
) -> None:
    settings = {**X264, "task": "detail"}
    ways = ({"strength": 0}, {"strength": 1})
    suite = Suite(
        "toy",
        (ClipSpec(str(bikes_path), frames=3, scale=(192, 112)),),
        (
            CodecSpec("x264", "x264", (30,), {"preset": "veryfast"}),
            CodecSpec("x264 + detail", "restored", (30,), settings, ways),
        ),
        ("psnr-y",),
    )
    records = run(suite, tmp_path / "run", jobs=1).records
    assert [r.lacks for r in records] == [{}, {}, {}]
    plain, faithful, detailed = records
    assert plain.bytes == faithful.bytes == detailed.bytes
    assert faithful.file == detailed.file
    assert plain.scores["psnr-y"].mean == faithful.scores["psnr-y"].mean
    assert faithful.scores["psnr-y"].mean > detailed.scores["psnr-y"].mean + 0.1
    assert detailed.codec == "x264 + detail strength 1"
    assert detailed.versions["enhancer"] == DETAIL


def test_everything_the_shipped_suite_names_is_there(enhancers: Path) -> None:
    assert "enhance" in shipped_suites()
    suite = read_suite("enhance")
    assert all(resolve_path(clip.path).is_file() for clip in suite.clips)
    restored_ones = [c for c in suite.codecs if c.kind == "restored"]
    assert {c.settings["base"] for c in restored_ones} == {"x264", "x265", "svtav1"}
    for spec in suite.codecs:
        for way in spec.decode:
            build_codec(spec.kind, spec.qualities[0], {**spec.settings, **way})
        if spec.kind == "restored":  # beside the codec alone, file by file
            alone = next(c for c in suite.codecs if c.kind == spec.settings["base"])
            assert alone.qualities == spec.qualities
            assert alone.settings == spec.settings.get("base_settings", {})
