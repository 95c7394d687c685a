"""The selftest passes here, and notices what it is there to notice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gancodec import cli, selftest
from gancodec.bitstream import CodedFrame, Gop, Reader, Writer
from gancodec.codec import Encoder
from gancodec.config import EncodeOptions
from gancodec.registry import Model, load_model
from gancodec.types import FrameType

ROOT = Path(__file__).resolve().parents[1]
MODEL = EncodeOptions().model


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(MODEL)


@pytest.fixture
def one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread only: two spin for seconds on a busy machine, unless told so before torch is."""
    only = selftest._Setting(1, True, True)
    monkeypatch.setattr(selftest, "_SETTINGS", [only])
    monkeypatch.setattr(selftest._Setting, "opposite", only)


@pytest.fixture(scope="module")
def golden(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("selftest") / "golden.gvc"
    selftest.write_golden(path, model)
    return path


def test_command_prints_a_line_a_check_and_passes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gancodec", "selftest"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 3
    assert all(line.startswith("ok ") for line in lines), done.stdout
    for name in ("range coder", f"model {MODEL}", f"settings {MODEL}"):
        assert any(name in line for line in lines)


def test_range_coder_writes_the_bytes_of_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "4000 numbers" in selftest.check_range_coder()
    tables, values, index = selftest._coder_input()
    escaped = (values < tables.offsets[index]) | (
        values > tables.offsets[index] + tables.lengths[index] - 2
    )
    assert 0.02 < escaped.mean() < 0.5  # both ways of coding a number are in the test
    monkeypatch.setattr(selftest, "_coder_input", lambda: (tables, -values, index))
    check = selftest._checked("range coder", selftest.check_range_coder)
    assert not check.passed
    assert "reinstall constriction" in check.detail


@pytest.mark.usefixtures("one_setting")
def test_golden_file_decodes(golden: Path) -> None:
    assert f"8 frames of {MODEL}" in selftest.check_golden(golden)


def test_golden_file_is_the_same_every_time(golden: Path, model: Model, tmp_path: Path) -> None:
    selftest.write_golden(tmp_path / "again.gvc", model)
    assert (tmp_path / "again.gvc").read_bytes() == golden.read_bytes()


@pytest.mark.usefixtures("one_setting")
def test_other_symbols_than_promised_are_noticed(golden: Path, tmp_path: Path) -> None:
    with golden.open("rb") as stream:
        reader = Reader(stream)
        (first, *_) = [event for event in reader.events() if isinstance(event, Gop)]
    forged = tmp_path / "forged.gvc"
    with forged.open("wb") as stream:
        writer = Writer(stream, reader.header, reader.models)
        writer.write_gop(Gop(first.pts, first.frames, b"\0" * 8))
        writer.close()
    check = selftest._checked("golden file", lambda: selftest.check_golden(forged))
    assert not check.passed
    assert "other symbols" in check.detail


@pytest.mark.usefixtures("one_setting")
def test_settings_notice_a_decoder_that_differs(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the machine rounded differently: the encoder's hash is of other symbols."""
    honest = Encoder._note

    def note(encoder: Encoder, values: np.ndarray, index: np.ndarray) -> None:
        honest(encoder, values + 1, index)

    monkeypatch.setattr(Encoder, "_note", note)
    check = selftest._checked("settings", lambda: selftest.check_settings(model))
    assert not check.passed
    assert "other symbols" in check.detail


def test_every_setting_is_met_from_both_sides() -> None:
    met = [*selftest._SETTINGS, *(s.opposite for s in selftest._SETTINGS)]
    assert len({str(s) for s in met}) == 8
    assert {s.threads for s in met} == {1, 2}


@pytest.mark.usefixtures("one_setting")
def test_one_failure_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the checks behind it still run."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr(selftest, "_CODER_BYTES", "others")
    assert cli.main(["selftest"]) == 5
    seen = capsys.readouterr()
    assert seen.out.startswith("FAIL range coder")
    assert f"\nok   model {MODEL}" in seen.out
    assert seen.err == "gancodec: 1 check failed; files may not decode on this machine\n"


def test_golden_has_two_scenes(golden: Path) -> None:
    with golden.open("rb") as stream:
        gops = [event for event in Reader(stream).events() if isinstance(event, Gop)]
    kinds = [frame.kind for gop in gops for frame in gop.frames]
    assert kinds.count(int(FrameType.INTRA)) == len(gops) >= 2
    assert all(isinstance(frame, CodedFrame) for gop in gops for frame in gop.frames)
