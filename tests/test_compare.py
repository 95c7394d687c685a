"""`gancodec compare`: any two files, frame by frame, with numbers that can be worked out."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import gancodec
from gancodec import cli
from gancodec.errors import InputError, UsageError
from gancodec.eval.compare import Comparison, compare
from gancodec.eval.fidelity import PSNR_OF_EQUAL_DB, psnr_of_planes
from gancodec.eval.metrics import select_metrics
from gancodec.types import FrameBatch
from gancodec.video.synth import clip_info, moving_texture, write_test_video

FRAMES = 11  # no multiple of what is read at a time
Write = Callable[[str, FrameBatch], Path]


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """Frames as a lossless file."""
    folder = tmp_path_factory.mktemp("compare")

    def run(name: str, batch: FrameBatch) -> Path:
        path = folder / name
        return path if path.exists() else write_test_video(path, batch, clip_info(batch))

    return run


@pytest.fixture(scope="module")
def clip() -> FrameBatch:
    """Frames with head room for a brighter copy."""
    batch = moving_texture(48, 32, FRAMES)
    return FrameBatch(batch.y // 2, batch.u // 2, batch.v // 2, batch.pts)


def brighter(batch: FrameBatch) -> FrameBatch:
    """Two levels everywhere, but eight in frame 9."""
    y = batch.y + np.uint8(2)
    y[9] += np.uint8(6)
    return FrameBatch(y, batch.u, batch.v, batch.pts)


def scores(found: Comparison) -> dict[str, tuple[float, float, int]]:
    return {s.metric: (s.mean, s.worst, s.worst_frame) for s in found.scores}


def test_known_errors(write: Write, clip: FrameBatch) -> None:
    found = compare(
        write("a.mkv", clip), write("b.mkv", brighter(clip)), select_metrics("psnr,ssim")
    )
    few, many = (20 * np.log10(255 / d) for d in (2, 8))
    by = scores(found)
    assert by["psnr-y"] == pytest.approx((few - (few - many) / FRAMES, many, 9))
    assert by["psnr-u"] == (PSNR_OF_EQUAL_DB, PSNR_OF_EQUAL_DB, 0)
    assert by["psnr-yuv"][1] == pytest.approx((6 * many + 2 * PSNR_OF_EQUAL_DB) / 8)
    assert 0.9 < by["ssim"][1] < by["ssim"][0] < 1
    assert found.frames == FRAMES
    assert found.notices == ()


def test_file_facts(write: Write, clip: FrameBatch) -> None:
    path = write("a.mkv", clip)
    facts = compare(path, path, select_metrics("psnr-y")).distorted
    seconds = Fraction(FRAMES, 25)
    assert (facts.bytes, facts.frames) == (path.stat().st_size, FRAMES)
    assert facts.seconds == pytest.approx(float(seconds), abs=1e-3)
    assert facts.kbps == pytest.approx(path.stat().st_size * 8 / facts.seconds / 1000)


def test_gvc_is_decoded(write: Write, clip: FrameBatch, tmp_path: Path) -> None:
    source, coded = write("a.mkv", clip), tmp_path / "a.gvc"
    gancodec.encode(source, coded, quality=40, gop=4, preset="fast", jobs=1)
    with gancodec.open(coded) as video:
        decoded = video[:]
    by = scores(compare(source, coded, select_metrics("psnr-y")))
    values = psnr_of_planes(clip.y, decoded.y)
    assert by["psnr-y"] == pytest.approx((values.mean(), values.min(), values.argmin()))
    again = compare(coded, coded, select_metrics("psnr"))
    assert {s.mean for s in again.scores} == {PSNR_OF_EQUAL_DB}


def test_shorter_file_is_told(write: Write, clip: FrameBatch) -> None:
    found = compare(write("a.mkv", clip), write("short.mkv", clip[:9]), select_metrics("psnr-y"))
    assert found.frames == 9
    assert (found.reference.frames, found.distorted.frames) == (FRAMES, 9)
    assert "the first 9 were compared" in found.notices[0]


def test_sizes_must_agree(write: Write, clip: FrameBatch) -> None:
    other = write("other.mkv", moving_texture(64, 32, 2))
    with pytest.raises(UsageError, match="48x32 and 64x32"):
        compare(write("a.mkv", clip), other, select_metrics("psnr"))
    tiny = write("tiny.mkv", moving_texture(8, 8, 2))
    with pytest.raises(UsageError, match="ssim needs pictures of at least 11"):
        compare(tiny, tiny, select_metrics("ssim"))
    with pytest.raises(InputError, match="does not exist"):
        compare("none.mkv", "none.mkv", select_metrics("psnr"))


def test_command(
    write: Write,
    clip: FrameBatch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    files = [str(write("a.mkv", clip)), str(write("short.mkv", clip[:9]))]
    assert cli.main(["compare", *files, "-m", "psnr-y"]) == 0
    seen = capsys.readouterr()
    assert f"PSNR-Y  {PSNR_OF_EQUAL_DB:.2f} dB  {PSNR_OF_EQUAL_DB:.2f} dB      0" in seen.out
    assert seen.out.startswith(f"REF   {files[0]}: {FRAMES} frames, ")
    assert seen.err.startswith("gancodec: note: ")
    assert cli.main(["compare", *files, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [s["metric"] for s in found["scores"]] == [
        *("psnr-y", "psnr-u", "psnr-v", "psnr-yuv"),
        "ssim",
    ]
    assert found["distorted"]["frames"] == 9
