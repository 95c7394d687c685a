"""Whole files with onnxruntime: every job chooses the same, and files say what coded them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gancodec
from gancodec import engine
from gancodec.fileio.parallel import Workers
from gancodec.types import FrameBatch


def within_a_level(a: FrameBatch, b: FrameBatch) -> bool:
    return all(
        np.abs(getattr(a, plane).astype(int) - getattr(b, plane)).max() <= 1 for plane in "yuv"
    )


def test_decode(kit: Any, gvc: Path, linear: FrameBatch, tmp_path: Path) -> None:
    gancodec.decode(gvc, tmp_path / "out.y4m", engine="onnx", jobs=1)
    found = kit.read_all(tmp_path / "out.y4m")
    assert within_a_level(found, linear)
    with gancodec.open(gvc, engine="onnx") as video:
        kit.assert_same(video[:], found, times=False)


def test_workers_get_what_was_chosen(
    gvc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of one decode must not measure for themselves, and choose otherwise."""
    monkeypatch.setattr(engine, "FEWEST_FRAMES", 1)
    monkeypatch.setattr(engine, "_seconds_of", lambda *_: (1.0, 0.5))
    tasks: list[Any] = []

    def run(self: Workers, function: Any, work: Any, *_: Any) -> Any:
        for task, tag in work:
            tasks.append(task)
            yield None if task is None else function(task), tag

    monkeypatch.setattr(Workers, "run", run)
    gancodec.decode(gvc, tmp_path / "out.y4m", engine="auto", jobs=1, realism=1)
    chosen = {task.onnx_nets for task in tasks if task is not None}
    assert chosen == {("inter.synthesis", "detail.inter")}


def test_auto_leaves_short_clips_to_torch(kit: Any, gvc: Path, linear: FrameBatch) -> None:
    with gancodec.open(gvc, engine="auto") as video:
        kit.assert_same(video[:], linear)


def test_encode(kit: Any, gvc: Path, mp4: Path, tmp_path: Path) -> None:
    for name, jobs in (("a", 1), ("b", 2)):
        options = {**kit.fast, "jobs": jobs}
        gancodec.encode(mp4, tmp_path / f"{name}.gvc", engine="onnx", **options)
    assert (tmp_path / "a.gvc").read_bytes() == (tmp_path / "b.gvc").read_bytes()
    assert gancodec.verify(tmp_path / "a.gvc", jobs=1).is_ok
    ours, theirs = (gancodec.open(path) for path in (tmp_path / "a.gvc", gvc))
    with ours, theirs:
        assert ours._header.settings_hash != theirs._header.settings_hash, "resumed by the other"
    gancodec.encode(mp4, tmp_path / "c.gvc", engine="torch", **kit.fast)
    assert (tmp_path / "c.gvc").read_bytes() == gvc.read_bytes()


def test_a_file_must_not_depend_on_a_stopwatch(kit: Any, mp4: Path, tmp_path: Path) -> None:
    with pytest.raises(gancodec.UsageError, match="encode with torch or onnx"):
        gancodec.encode(mp4, tmp_path / "out.gvc", engine="auto", **kit.fast)
    assert not list(tmp_path.iterdir())


def test_engines_are_checked_before_anything_is_opened(tmp_path: Path) -> None:
    absent: Any = tmp_path / "none.gvc"
    calls: tuple[Any, ...] = (
        lambda: gancodec.open(absent, engine="cuda"),  # type: ignore[arg-type]
        lambda: gancodec.decode(absent, tmp_path / "out.y4m", engine="cuda"),  # type: ignore[arg-type]
        lambda: gancodec.encode(absent, tmp_path / "out.gvc", engine="cuda"),  # type: ignore[arg-type]
    )
    for call in calls:
        with pytest.raises(gancodec.UsageError, match="engine is torch, onnx or auto, got 'cuda'"):
            call()
