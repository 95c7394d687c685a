"""A way to run the program within the process of the tests, and a small clip to run it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gancodec import cli
from gancodec.video.synth import clip_info, moving_texture, tone, write_test_video

FRAMES = 6


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `main` sets, and what it looks at, as in a new shell."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.delenv("GANCODEC_DEBUG", raising=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What one call of the program left behind."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The message of a failure, which must be the only thing that was said."""
        assert "Traceback" not in self.err
        (line,) = self.err.splitlines()
        assert line.startswith("gancodec: ")
        assert "internal error" not in line
        return line.removeprefix("gancodec: ")


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run the program."""

    def run(*words: object) -> Result:
        capfd.readouterr()
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        seen = capfd.readouterr()
        return Result(code, seen.out, seen.err)

    return run


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of 48x32 with sound."""
    batch = moving_texture(48, 32, FRAMES)
    path = tmp_path_factory.mktemp("cli") / "clip.mkv"
    return write_test_video(path, batch, clip_info(batch), [tone(FRAMES / 25)])


@pytest.fixture(scope="session")
def coded(clip: Path) -> Path:
    """The clip as a .gvc file of two GOPs."""
    path = clip.with_suffix(".gvc")
    words = ["encode", str(clip), str(path), "-q", "30", "--gop", "4", "--jobs", "1", "--quiet"]
    assert cli.main(words) == 0
    return path
