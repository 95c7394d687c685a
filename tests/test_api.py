"""What ``import gancodec`` offers, as the README and the docstrings spell it."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import gancodec
from gancodec import errors

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_names_are_loaded_when_they_are_used(fresh_python: Run) -> None:
    code = """
import sys, gancodec
assert "torch" not in sys.modules and "numpy" not in sys.modules
gancodec.EncodeOptions(quality=20), gancodec.UsageError, gancodec.VideoInfo
assert "torch" not in sys.modules
from gancodec import open as open_gvc, encode
assert "torch" in sys.modules
assert gancodec.encode is encode and "encode" in vars(gancodec)
"""
    fresh_python(code)


def test_probe_needs_no_torch(fresh_python: Run) -> None:
    fresh_python("import gancodec.probe, sys; assert 'torch' not in sys.modules")


def test_every_public_name_is_there_and_listed() -> None:
    wanted = {
        *("encode", "decode", "open", "Encoder", "Decoder", "EncodeOptions", "VideoInfo"),
        *("FrameBatch", "Packet", "FrameType", "GancodecError", "list_models", "__version__"),
    }
    assert wanted <= set(gancodec.__all__)
    assert set(gancodec.__all__) <= set(dir(gancodec))
    assert list(gancodec.__all__) == sorted(gancodec.__all__)
    for name in gancodec.__all__:
        assert getattr(gancodec, name) is not None
        assert name == "__version__" or inspect.getdoc(getattr(gancodec, name))
    with pytest.raises(AttributeError, match="no attribute 'encoed'"):
        gancodec.encoed  # noqa: B018


def test_all_errors_are_public() -> None:
    own = {n for n, x in vars(errors).items() if isinstance(x, type) and issubclass(x, Exception)}
    assert own <= set(gancodec.__all__)
    assert {getattr(gancodec, n).exit_code for n in own} == {1, 2, 3, 4, 5, 6}


def test_arguments_are_spelled_as_designed() -> None:
    encode = inspect.signature(gancodec.encode).parameters
    assert {"quality", "bitrate", "size", "gop", "preset", "model", "start", "duration"} <= {
        *encode
    }
    assert {"scale", "fps", "audio", "jobs", "device", "resume", "overwrite"} <= {*encode}
    decode = inspect.signature(gancodec.decode).parameters
    assert {"realism", "start", "duration", "jobs", "device", "conceal", "lossless"} <= {*decode}
    for parameters in (encode, decode):
        assert [p.name for p in parameters.values() if p.default is p.empty] == ["source", "target"]
        assert all(
            p.kind is p.KEYWORD_ONLY for n, p in parameters.items() if n not in ("source", "target")
        )
    assert encode["gop"].default == gancodec.EncodeOptions().gop
    assert encode["tune"].default is encode["model"].default is None


def test_options_and_infos_check_themselves() -> None:
    with pytest.raises(gancodec.UsageError):
        gancodec.EncodeOptions(quality=99)
    with pytest.raises(ValueError, match="at least one sample"):
        gancodec.VideoInfo(0, 1, Fraction(25), Fraction(1, 25))
    assert gancodec.FrameType.INTRA == 0


def test_open_refuses_what_it_cannot_search(tmp_path: Path) -> None:
    with pytest.raises(gancodec.InputError, match="does not exist"):
        gancodec.open(tmp_path / "none.gvc")
    with pytest.raises(gancodec.InputError, match="cannot be read"):
        gancodec.open(tmp_path)
    no_gvc = tmp_path / "text.gvc"
    no_gvc.write_text("not a video at all")
    with pytest.raises(gancodec.CorruptError, match=r"not a \.gvc file"):
        gancodec.open(no_gvc)
    no_gvc.write_text("")
    with pytest.raises(gancodec.TruncatedError):
        gancodec.open(no_gvc)
    with pytest.raises(gancodec.UsageError, match="realism"):
        gancodec.open(no_gvc, realism=-1)

    class Pipe:
        def read(self, size: int) -> bytes:
            return b""

    pipe: Any = Pipe()
    with pytest.raises(gancodec.UsageError, match="a pipe cannot be searched"):
        gancodec.open(pipe)
