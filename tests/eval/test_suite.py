"""Suites that cannot be measured: each is told in a sentence, before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from gancodec.errors import InputError, UsageError
from gancodec.eval import ClipSpec, CodecSpec, Suite
from gancodec.eval.suite import read_suite


def test_suites_that_make_no_sense() -> None:
    clip, codec = ClipSpec("x"), CodecSpec("a", "x264", (1,))
    with pytest.raises(UsageError, match="called 'a'"):
        Suite("s", (clip,), (codec, codec), ("psnr-y",))
    with pytest.raises(UsageError, match="anchor 'b'"):
        Suite("s", (clip,), (codec,), ("psnr-y",), anchor="b")
    with pytest.raises(UsageError, match="at least one clip"):
        Suite("s", (), (codec,), ("psnr-y",))
    with pytest.raises(UsageError, match="every 4"):
        Suite("s", (clip,), (codec,), ("flicker",), every={"flicker": 4})


BAD = [
    ("qualities = 5", "qualities is a list such as"),
    ("qualities = ['a']", "qualities of toy are numbers, got 'a'"),
    ("qualities = []", "toy needs qualities"),
    ("qualities = [nan]", "all finite"),
    ("qualities = [2, 2.0]", "toy has a quality twice"),
    ("qualities = [1]\nname = 5", "the name of a codec is a text, got 5"),
    ("qualities = [1]\ndecode = []", "decode of toy is a list of tables"),
    ("qualities = [1]\ndecode = {realism = 1}", "decode is a list such as"),
    ("qualities = [1]\n[[clip]]\npath = 'x'\nframes = 0", "frames of the clip .* from 1, got 0"),
    ("qualities = [1]\n[[clip]]\npath = 'x'\nframes = -3", "from 1, got -3"),
    ("qualities = [1]\n[[clip]]\npath = 'x'\nframes = '4'", "from 1, got '4'"),
    ("qualities = [1]\n[[clip]]\npath = 'x'\nscale = 480", "'480' is no picture size"),
    ("qualities = [1]\n[[clip]]\npath = 3", "the path of a clip is a text, got 3"),
    ("qualities = [1]\n[every]\npsnr = 1.5", "psnr-y cannot judge every 1.5. frame"),
    ("qualities = [1]\n[weights]\nlpisp = 'x'", "there is no metric 'lpisp'"),
    ("qualities = [1]\n[weights]\nlpips = 4", r"the file of lpips in \[weights\] is a text"),
]


@pytest.mark.parametrize(("lines", "told"), BAD)
def test_suites_with_wrong_values(lines: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    named = "" if "name" in lines else "name = 'toy'\n"
    begin = "metrics = 'psnr'\n[[clip]]\npath = 'clip'\n[[codec]]\nkind = 'toy'\n"
    path.write_text(begin + named + lines)
    with pytest.raises(UsageError, match=told):
        read_suite(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("metrics = 5", "metrics is a list such as"),
        ("metrics = 'psnr'\nevery = 4", r"write \[every\] above its lines"),
        ("metrics = 'psnr'\n[clip]\npath = 'x'", r"write \[\[clip\]\] above each"),
        ("metrics = 'psnr'\ncodec = 'x264'", r"write \[\[codec\]\] above each"),
    ],
)
def test_suites_of_the_wrong_shape(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        read_suite(path)


def test_a_folder_called_like_a_suite_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quick").mkdir()
    assert read_suite("quick").name == "quick"
    with pytest.raises(InputError, match="cannot read the suite"):
        read_suite(tmp_path)
