"""The twins of the adversarial stage: each trains, codes and is judged by the real thing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from gancodec.video.reader import open_video
from gancodec.video.synth import clip_info, moving_texture, write_test_video

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def twins() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    try:
        import twins

        yield twins
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("twins", None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, bunny_path: Path) -> Path:
    """A clip to train on, and beside it a small one of real pictures to judge on."""
    folder = tmp_path_factory.mktemp("data")
    batch = moving_texture(192, 144, 12, seed=1)
    write_test_video(folder / "clip.mkv", batch, clip_info(batch), codec="ffv1")
    with open_video(bunny_path, scale=(256, 144)) as video:
        first = next(iter(video.batches(5)))
        write_test_video(folder.parent / "bunny.mkv", first, video.info, codec="ffv1")
    return folder


def test_twins_differ_in_one_thing_and_are_judged(
    twins: ModuleType,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GANCODEC_MODELS", "")
    start = ["--data", str(data), "--cache", str(data.parent / "cache")]
    start += ["--steps", "2", "--batch", "2", "--learning-rate", "0.5"]
    names = ["all", "no-gan", "no-noise", "in-loop"]
    for name in names:
        assert twins.main(["train", name, *start, "--out", str(tmp_path / "twins" / name)]) == 0
    folders = [str(tmp_path / "twins" / name) for name in names]
    judged = ["--clips", str(data.parent / "bunny.mkv"), "--frames", "5", "--qualities", "20"]
    assert twins.main(["judge", *folders, *judged, "--out", str(tmp_path / "judged")]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("twin"))
    rows = {line.split()[0]: line.split()[1:] for line in lines[at + 1 :]}
    assert set(rows) == {*names, "loop"}
    assert all("-" not in row for row in rows.values())
    assert rows["all"][0] == rows["no-gan"][0] == rows["loop"][0]  # the same loop, the same bytes
    assert len({tuple(row[1:]) for row in rows.values()}) == len(rows)
