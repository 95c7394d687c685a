"""Encodes that were killed go on where they were, to the very bytes of an uninterrupted one."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import gancodec
from gancodec.errors import CorruptError, UsageError
from gancodec.fileio import passes, samples
from gancodec.video.synth import clip_info, moving_texture, noisy_pan, tone, write_test_video


@pytest.fixture(scope="module")
def sounding(folder: Path) -> Path:
    """Six seconds with sound at five frames a second: clusters come between the GOPs."""
    batch = moving_texture(16, 16, 30)
    return write_test_video(
        folder / "sounding.mkv", batch, clip_info(batch, 5), [tone(6), tone(6, hertz=300)]
    )


@pytest.fixture(scope="module")
def options(kit: Any) -> dict[str, Any]:
    return {**kit.fast, "gop": 3}


@pytest.fixture(scope="module")
def whole(folder: Path, sounding: Path, options: dict[str, Any]) -> Path:
    path = folder / "whole.gvc"
    gancodec.encode(sounding, path, **options)
    return path


def leave(whole: Path, target: Path, length: int) -> None:
    """What a process that was killed after so many bytes leaves behind."""
    Path(f"{target}.part").write_bytes(whole.read_bytes()[:length])


@pytest.mark.stress
def test_resumed_after_any_byte(
    tmp_path: Path, sounding: Path, whole: Path, options: dict[str, Any], stress_rounds: int
) -> None:
    size = whole.stat().st_size
    rng = random.Random(stress_rounds)
    lengths = [0, 5, 300, size - 30, *(rng.randrange(size) for _ in range(5 * stress_rounds))]
    for length in lengths:
        target = tmp_path / "out.gvc"
        leave(whole, target, length)
        gancodec.encode(sounding, target, **options, resume=True, overwrite=True)
        assert target.read_bytes() == whole.read_bytes(), length
        assert not Path(f"{target}.part").exists()


def test_resuming_does_not_code_again(
    kit: Any, tmp_path: Path, sounding: Path, whole: Path, options: dict[str, Any]
) -> None:
    coded: list[int] = []

    def note(step: gancodec.Progress) -> None:
        coded.append(step.frames)

    target = tmp_path / "out.gvc"
    last = kit.gops_of(whole)[-1].offset
    leave(whole, target, last + 30)
    stats = gancodec.encode(sounding, target, **options, resume=True, progress=note)
    assert coded == [30]
    assert (stats.frames, stats.gops) == (30, 10)
    first = gancodec.encode(sounding, tmp_path / "again.gvc", **options)
    assert first == stats  # the numbers are of the whole file


def test_resumed_pipe(tmp_path: Path, kit: Any) -> None:
    batch = moving_texture(16, 16, 12)
    data = kit.y4m(batch)
    options = {**kit.fast, "gop": 3}
    whole = tmp_path / "whole.gvc"
    gancodec.encode(kit.Pipe(data), whole, **options)
    target = tmp_path / "out.gvc"
    leave(whole, target, whole.stat().st_size * 2 // 3)
    gancodec.encode(kit.Pipe(data), target, **options, resume=True)
    assert target.read_bytes() == whole.read_bytes()
    other = kit.y4m(noisy_pan(16, 16, 12))
    leave(whole, target, whole.stat().st_size * 2 // 3)
    with pytest.raises(CorruptError, match="of another input"):
        gancodec.encode(kit.Pipe(other), target, **options, resume=True, overwrite=True)


@pytest.mark.parametrize("change", [{"quality": 31}, {"gop": 4}, {"start": 0.2}, {"metadata": {}}])
def test_other_settings_are_not_resumed(
    tmp_path: Path, sounding: Path, whole: Path, options: dict[str, Any], change: dict[str, Any]
) -> None:
    target = tmp_path / "out.gvc"
    leave(whole, target, whole.stat().st_size // 2)
    same = change == {"metadata": {}}
    if same:
        gancodec.encode(sounding, target, **{**options, **change}, resume=True)
        return
    with pytest.raises(CorruptError, match="other settings"):
        gancodec.encode(sounding, target, **{**options, **change}, resume=True)
    assert Path(f"{target}.part").stat().st_size == whole.stat().st_size // 2
    assert not target.exists()


def test_another_input_is_not_resumed(
    tmp_path: Path, folder: Path, whole: Path, options: dict[str, Any]
) -> None:
    batch = noisy_pan(16, 16, 30)
    other = write_test_video(tmp_path / "other.mkv", batch, clip_info(batch, 5), [tone(6)] * 2)
    target = tmp_path / "out.gvc"
    leave(whole, target, whole.stat().st_size // 2)
    with pytest.raises(CorruptError, match="another input"):
        gancodec.encode(other, target, **options, resume=True)


def test_streams_cannot_be_resumed(sounding: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="only an encode to a file"):
        gancodec.encode(sounding, io.BytesIO(), **options, resume=True)


class _Killed(BaseException):
    pass


def test_resumed_search_for_a_rate(
    tmp_path: Path, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in either pass, an encode to a rate still comes to the same bytes."""
    batch = moving_texture(16, 16, 20)
    source = write_test_video(tmp_path / "in.mkv", batch, clip_info(batch, 5))
    options = {**kit.fast, "gop": 2, "quality": None}
    sample = gancodec.encode(source, io.BytesIO(), **{**options, "quality": 40})
    options["bitrate"] = 950 * sample.video_kbps
    # A short search, and two passes whatever the first one gives.
    monkeypatch.setattr(samples, "MAX_TRIALS", 2)
    monkeypatch.setattr(passes, "PASS_TOLERANCE", 0.0)
    monkeypatch.setattr(passes, "MAX_PASSES", 2)
    whole = tmp_path / "whole.gvc"
    stats = gancodec.encode(source, whole, **options)
    assert stats.passes == 2
    target = tmp_path / "out.gvc"
    first_pass = Path(f"{target}.pass1")

    def kill_first(step: gancodec.Progress) -> None:
        if step.stage == "encode" and step.frames == 8:
            raise _Killed

    def kill_second(step: gancodec.Progress) -> None:
        if step.stage == "encode" and step.frames == 12 and first_pass.exists():
            raise _Killed

    for kill in (kill_first, kill_second):
        with pytest.raises(_Killed):
            gancodec.encode(source, target, **options, resume=True, progress=kill)
        assert not target.exists()
    again = gancodec.encode(source, target, **options, resume=True)
    assert target.read_bytes() == whole.read_bytes()
    assert again == stats
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.gvc", "whole.gvc"]


SCRIPT = """
import sys, gancodec
gancodec.open  # all is imported before the clock of the test starts
print("ready", flush=True)
gancodec.encode(sys.argv[1], sys.argv[2], quality=30, gop=3, preset="fast", model="tiny.v0",
    jobs=1, resume=True)
"""


# From the call to the end of such an encode, and a little more, so that some are not caught.
LONGEST_SECONDS = 1.0


@pytest.mark.stress
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_kill_dash_nine(
    tmp_path: Path, sounding: Path, whole: Path, options: dict[str, Any], stress_rounds: int
) -> None:
    """Real processes, killed at any moment: no half file, and what is left leads to the same bytes.

    Every other one goes on from what the one before it left.
    """
    root = str(Path(gancodec.__file__).parents[1])
    expected = whole.read_bytes()
    rng = random.Random(stress_rounds)
    left = {"complete": 0, "part": 0, "nothing": 0}
    count = 4 if stress_rounds == 1 else 5 * stress_rounds
    for number in range(count):
        target = tmp_path / f"{number // 2}.gvc"
        part = Path(f"{target}.part")
        command = [sys.executable, "-c", SCRIPT, str(sounding), str(target)]
        with subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(rng.random() * LONGEST_SECONDS)
            process.kill()
        assert process.returncode in (0, -9, 1)  # 1: the pair's first one had finished
        if target.exists():
            left["complete"] += 1
            assert target.read_bytes() == expected, "half a file under the final name"
            assert not part.exists()
            continue
        assert process.returncode == -9
        left["part" if part.exists() else "nothing"] += 1
        if number % 2 or number == count - 1:
            gancodec.encode(sounding, target, **options, resume=True)
            assert target.read_bytes() == expected
            assert not part.exists()
    print(f"{count} processes killed; they left: {left}")
    assert not list(tmp_path.glob("*.part"))
