"""The progress line and what is printed: correct, quiet without a terminal, harmless with one."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest

from gancodec.progress import ProgressLine, TaskLine, progress_text, summary_text
from gancodec.terminal import in_bytes, printable, table


@dataclass
class Step:
    frames: int
    total_frames: int | None = 100
    seconds: float = 0.0
    bytes: int = 0
    stage: str = "encode"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_line_is_redrawn_in_place_and_cleared() -> None:
    stream, clock = Terminal(), Clock()
    line = ProgressLine(stream=stream, clock=clock)
    clock.now += 2
    line(Step(20, seconds=0.8, bytes=10_000))
    clock.now += 0.1
    line(Step(21))  # too soon after the last
    clock.now += 2
    line(Step(40, seconds=1.6, bytes=20_000))
    line.clear()
    first, second, last = stream.getvalue().split("\r")[1:]
    assert first == "encode  frame 20/100  10.0 fps  0.40x  100.0 kbps  0:00:08 left\x1b[K"
    assert second.startswith("encode  frame 40/100  9.8 fps")
    assert last == "\x1b[K"
    assert "\n" not in stream.getvalue()
    assert line.elapsed_seconds == pytest.approx(4.1)


def test_a_new_stage_is_shown_at_once_with_its_own_rate() -> None:
    stream, clock = Terminal(), Clock()
    line = ProgressLine(stream=stream, clock=clock)
    clock.now += 10
    line(Step(100, stage="search"))
    clock.now += 0.01
    line(Step(1, stage="encode"))
    clock.now += 1
    line(Step(11, stage="encode"))
    shown = stream.getvalue().split("\r")
    assert shown[1].startswith("search  frame 100/100  10.0 fps")
    assert shown[3].startswith("encode  frame 11/100  11.0 fps")


@pytest.mark.parametrize(
    "stream", [io.StringIO(), Terminal()], ids=["no terminal", "quiet terminal"]
)
def test_nothing_is_shown_where_nobody_looks(stream: io.StringIO) -> None:
    line = ProgressLine(stream=stream, quiet=isinstance(stream, Terminal))
    line(Step(1))
    line.clear()
    assert stream.getvalue() == ""


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    ProgressLine(stream=stream)(Step(1))


def test_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    ProgressLine(stream=stream)(Step(12345, total_frames=99999))
    assert stream.getvalue() == "\rencode  frame 12345\x1b[K"


@pytest.mark.parametrize(
    ("step", "elapsed", "text"),
    [
        (Step(0), 0.0, "encode  frame 0/100"),
        (Step(5, None), 2.0, "encode  frame 5  2.5 fps"),
        (Step(5, 5, 0.2), 2.0, "encode  frame 5/5  2.5 fps  0.10x"),
        (Step(1, 7201), 1.0, "encode  frame 1/7201  1.0 fps  2:00:00 left"),
    ],
)
def test_what_is_unknown_is_left_out(step: Step, elapsed: float, text: str) -> None:
    assert progress_text(step, elapsed) == text


def test_summary() -> None:
    assert summary_text("encoded", 250, 10.0, 125_000, 20.0) == (
        "encoded 250 frames (10.0 s) in 20.0 s: 12.5 fps, 0.50x, 125.00 kB, 100.0 kbps"
    )
    assert summary_text("decoded", 1, 0.04, None, 0.0) == "decoded 1 frame (0.0 s) in 0.0 s"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain text, ünïcödé, 日本語 and emoji 🎬", None),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("\x9b31m", r"\x9b31m"),  # CSI in one character
        ("abc\u202egpj.exe", r"abc\u202egpj.exe"),  # writes backwards
        ("\u2028\ud800\ufeff", r"\u2028\ud800\ufeff"),
    ],
)
def test_nothing_printed_moves_the_cursor(text: str, safe: str | None) -> None:
    assert printable(text) == (text if safe is None else safe)


def test_sizes_and_tables() -> None:
    sizes = (0, 999, 1000, 1_234_567, 5e9)
    assert [in_bytes(n) for n in sizes] == ["0 B", "999 B", "1.00 kB", "1.23 MB", "5.00 GB"]
    assert table([("", "fps"), ("encode", "9"), ("x", "1000")]) == (
        "         fps\nencode     9\nx       1000"
    )


def test_tasks_are_counted_in_place() -> None:
    stream, clock = Terminal(), Clock()
    line = TaskLine("eval", stream=stream, clock=clock)
    clock.now += 10
    line(2, 10, 0, "x265 medium 27 city")
    line(3, 10, 1, "evil\x1b[2J")
    line.clear()
    first, second, last = stream.getvalue().split("\r")[1:]
    assert first == "eval  2/10  x265 medium 27 city  0:00:40 left\x1b[K"
    assert second == "eval  3/10  1 failed  evil\\x1b[2J  0:00:23 left\x1b[K"
    assert last == "\x1b[K"
    quiet = io.StringIO()
    TaskLine("eval", stream=quiet, clock=clock)(1, 2, 0, "a")
    assert quiet.getvalue() == ""
