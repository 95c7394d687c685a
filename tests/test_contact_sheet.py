"""The contact sheet: crops of real files at the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from gancodec.eval.clips import read_clip
from gancodec.video.color import yuv420_to_rgb
from gancodec.video.reader import open_video
from gancodec.video.synth import write_test_video

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "contact_sheet.py"


@pytest.fixture(scope="module")
def sheets(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(SCRIPT)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, bunny_path: Path) -> Path:
    path = tmp_path_factory.mktemp("clip") / "bunny.mkv"
    with open_video(bunny_path, scale=(256, 144)) as video:
        write_test_video(path, next(iter(video.batches(4))), video.info, codec="ffv1")
    return path


def test_a_row_shows_the_same_place_at_the_same_bytes(
    sheets: ModuleType, clip: Path, tmp_path: Path
) -> None:
    still = tmp_path / "still.png"
    source = read_clip(clip)
    picture = yuv420_to_rgb(source.frames[2:3], source.info.color)[0]
    Image.fromarray(picture).save(still)
    out = tmp_path / "sheet.png"
    at = ["30", "16", "32"]
    crops = ["--crop", str(clip), "2", *at, "--crop", str(still), "0", *at]
    assert sheets.main([str(out), *crops, "--size", "96", "64"]) == 0
    sheet = np.asarray(Image.open(out).convert("RGB"))
    assert sheet.shape[1] > 5 * 96
    across, down = (sheet.shape[1] - 96) // 4, sheet.shape[0] // 2
    wanted = picture[32:96, 16:112]
    for row in range(2):
        low = (row + 1) * down
        panels = [sheet[low - 64 : low, k * across : k * across + 96] for k in range(5)]
        errors = [float(np.abs(p.astype(int) - wanted).mean()) for p in panels]
        assert errors[0] <= (0 if row == 0 else 3)  # a still goes through 4:2:0
        assert all(0.2 < error < 25 for error in errors[1:]), errors


@pytest.mark.parametrize("kind", ["VIDEO", "STILL"])
def test_peers_come_near_the_bytes(sheets: ModuleType, clip: Path, kind: str) -> None:
    source = read_clip(clip, frames=None if kind == "VIDEO" else 1)
    for peer in getattr(sheets, kind):
        codec, file = peer.nearest(source, 3000)
        assert 0.8 < len(file) / 3000 < 1.25, (peer.name, len(file))
        assert len(codec.decode(file)) == len(source)


@pytest.mark.parametrize(
    "crop", [["9", "30", "0", "0"], ["0", "30", "200", "0"], ["0", "30", "0", "-1"], ["x"] * 4]
)
def test_a_place_that_is_not_there(
    sheets: ModuleType, clip: Path, tmp_path: Path, crop: list[str]
) -> None:
    out = tmp_path / "sheet.png"
    assert sheets.main([str(out), "--crop", str(clip), *crop, "--size", "96", "64"]) == 1
    assert not out.exists()
