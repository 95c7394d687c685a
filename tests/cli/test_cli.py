"""The command line as a user meets it: words in, files, sentences and exit codes out."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from gancodec import cli, cli_commands
from gancodec.bitstream.chunks import SIGNATURE
from gancodec.config import EncodeOptions
from gancodec.errors import LimitError
from gancodec.video.synth import clip_info, moving_texture, write_test_video

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 6
MODEL = EncodeOptions().model


Run = Callable[..., Any]


def start(*words: object, **options: object) -> subprocess.Popen[bytes]:
    """Run the program in another process, for what needs one."""
    return subprocess.Popen(
        [sys.executable, "-m", "gancodec", *map(str, words)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # type: ignore[call-overload, no-any-return]  # fmt: skip


# ── All is well ──────────────────────────────────────────────────────────────────────────────


def test_encode_sums_up_on_stderr(call: Run, clip: Path, tmp_path: Path) -> None:
    result = call("encode", clip, tmp_path / "out.gvc", "-q", 10, "--jobs", 1)
    assert (result.code, result.out) == (0, "")
    last = result.err.splitlines()[-1]
    assert last.startswith(f"gancodec: encoded {FRAMES} frames (0.2 s) in ")
    assert last.endswith("quality 10")
    assert "\r" not in result.err, "a progress line without a terminal"


def test_decode_writes_what_the_name_says(call: Run, coded: Path, tmp_path: Path) -> None:
    result = call("decode", coded, tmp_path / "out.y4m", "--jobs", 1)
    assert result.code == 0
    assert "gancodec: note: y4m holds no sound" in result.err
    assert f"decoded {FRAMES} frames" in result.err
    header, _, rest = (tmp_path / "out.y4m").read_bytes().partition(b"\n")
    assert header.startswith(b"YUV4MPEG2 W48 H32 F25:1 ")
    assert len(rest) == FRAMES * (len(b"FRAME\n") + 48 * 32 * 3 // 2)


def test_quiet_is_quiet(call: Run, coded: Path, tmp_path: Path) -> None:
    result = call("decode", "-hide_banner", "-i", coded, tmp_path / "out.y4m", "--jobs", 1)
    assert (result.code, result.out, result.err) == (0, "", "")


def test_probe_for_people(call: Run, coded: Path) -> None:
    result = call("probe", coded)
    assert (result.code, result.err) == (0, "")
    for fact in (f"{FRAMES} frames of 48x32, 25 fps", "2, each of 4", "model", "complete  yes"):
        assert fact in result.out
    frames = call("probe", coded, "--packets").out.partition("frame  ")[2].splitlines()[1:]
    assert [line.split()[1] for line in frames] == ["intra", *["inter"] * 3, "intra", "inter"]


def test_probe_for_programs(call: Run, coded: Path) -> None:
    found = json.loads(call("probe", coded, "--json").out)
    assert found["sizes"]["bytes"] == coded.stat().st_size
    assert "packets" not in found
    found = json.loads(call("probe", coded, "--json", "--packets").out)
    assert len(found["packets"]) == FRAMES


def test_probe_escapes_what_strangers_wrote() -> None:
    """Also where nobody meant to write text."""
    from gancodec.bitstream import CodedFrame, Gop, Header, ModelRef, Writer
    from gancodec.cli_probe import describe
    from gancodec.probe import probe

    stream = io.BytesIO()
    header = Header(16, 16, Fraction(30000, 1001), Fraction(1, 90000), variable_rate=True)
    writer = Writer(stream, header, [ModelRef(0, 1, bytes(32), "m")])
    writer.write_metadata({"ti\x1b[2Jtle": "a\nb\x9b31m"})
    writer.write_gop(Gop((0,), (CodedFrame(77, b""),), bytes(8)))
    writer.close()
    stream.seek(0)
    text = describe(probe(stream, packets=True), "evil\x07.gvc")
    assert all(c.isprintable() for c in text.replace("\n", ""))
    for part in ("evil\\x07.gvc", "ti\\x1b[2Jtle: a\\nb\\x9b31m", "29.97 (30000/1001) fps", "77"):
        assert part in text
    assert "variable frame rate" in text


def test_verify(call: Run, coded: Path) -> None:
    result = call("verify", coded, "--jobs", 1)
    assert result.code == 0
    assert result.out.startswith(f"ok   {coded}: {FRAMES} frames in 2 GOPs, 0.24 s")


def test_models(call: Run) -> None:
    text = call("models")
    assert text.code == 0
    assert f"{MODEL} (default)" in text.out
    listed = json.loads(call("models", "--json").out)
    assert listed[MODEL]["default"] is True
    assert len(listed[MODEL]["codec"]["sha256"]) == 64


def test_bench(call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gancodec.bench._STARTUPS", 1)
    result = call("bench", "--size", "32x32", "--frames", 1, "--preset", "fast", "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert (found["width"], found["frames"], found["preset"]) == (32, 1, "fast")


def test_demo_hands_its_options_on(
    call: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gancodec import demo

    seen: dict[str, Any] = {}

    class Report:
        def to_text(self) -> str:
            return "the table"

    def run(source: Path, folder: Path, **options: Any) -> Report:
        seen.update(options, source=source, folder=folder)
        return Report()

    monkeypatch.setattr(demo, "run_demo", run)
    words = ["--input", "a.mp4", "--folder", tmp_path, "-t", "1.5", "--scale", "320x-2", "-q", 9]
    result = call("demo", *words)
    assert (result.code, result.out, result.err) == (0, "the table\n", "")
    del seen["progress"]
    assert seen == {
        "source": Path("a.mp4"),
        "folder": tmp_path,
        "duration": Fraction(3, 2),
        "scale": (320, -2),
        "quality": 9,
    }
    monkeypatch.setattr(demo, "find_clip", lambda: Path("found.mp4"))
    assert call("demo").code == 0
    assert seen["source"] == Path("found.mp4")


@pytest.mark.parametrize(
    ("recipe", "code"),
    [("this is not TOML", 1), ("[run]\nfolder = 'x'\n[[stage]]\nname = 'unknown'", 1), (None, 2)],
)
def test_bad_recipes(call: Run, tmp_path: Path, recipe: str | None, code: int) -> None:
    path = tmp_path / "recipe.toml"
    if recipe is not None:
        path.write_text(recipe)
    result = call("train", path)
    assert result.code == code
    assert str(path) in result.sentence


@contextmanager
def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> Iterator[Callable[[], bytes]]:
    """Standard input and output as real pipes; all of ``data`` must fit in one, as what comes out
    must. Gives a function that closes the output and reads it."""
    (from_in, to_in), (from_out, to_out) = os.pipe(), os.pipe()
    with os.fdopen(to_in, "wb") as stream:
        stream.write(data)
    with (
        os.fdopen(from_in) as stdin,
        os.fdopen(to_out, "w") as stdout,
        os.fdopen(from_out, "rb") as reader,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stdout", stdout)

        def read() -> bytes:
            stdout.close()
            return reader.read()

        yield read


def test_pipes_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """y4m | encode - - | decode - -, as frames and as what a file would have held."""
    batch = moving_texture(48, 32, 3)
    y4m = write_test_video(
        tmp_path / "in.y4m", batch, clip_info(batch), codec="wrapped_avframe", format="yuv4mpegpipe"
    )
    words = ["-", "-", "--jobs", "1", "--quiet"]
    with piped(monkeypatch, y4m.read_bytes()) as read:
        assert cli.main(["encode", *words]) == 0
        coded = read()
    assert coded.startswith(SIGNATURE)
    with piped(monkeypatch, coded) as read:
        assert cli.main(["decode", *words]) == 0
        shown = read()
    assert shown.startswith(b"YUV4MPEG2 W48 H32 F25:1 ")
    assert shown.count(b"FRAME\n") == 3


# ── Bad input ────────────────────────────────────────────────────────────────────────────────


def damaged(path: Path, source: Path, at: int) -> Path:
    data = bytearray(source.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    return path


def forged_header(path: Path, source: Path, offset: int, value: bytes) -> Path:
    """The file with other bytes in GHDR, and the checksum that belongs to them."""
    import struct
    import zlib

    data = bytearray(source.read_bytes())
    payload = len(SIGNATURE) + 20  # behind the head of the first chunk
    (size,) = struct.unpack_from("<I", data, len(SIGNATURE) + 8)
    data[payload + offset : payload + offset + len(value)] = value
    crc = zlib.crc32(data[payload : payload + size], zlib.crc32(b"GHDR"))
    struct.pack_into("<I", data, payload + size, crc)
    path.write_bytes(data)
    return path


def test_missing_input(call: Run, tmp_path: Path) -> None:
    for command, target in (("encode", "o.gvc"), ("decode", "o.y4m")):
        result = call(command, tmp_path / "none.mp4", tmp_path / target, "--jobs", 1)
        assert result.code == 2
        assert "does not exist" in result.sentence
    for command in ("probe", "verify", "train"):
        assert call(command, tmp_path / "none").code == 2
    assert list(tmp_path.iterdir()) == []


def test_not_a_video(call: Run, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("this is not a video\n" * 100)
    result = call("encode", text, tmp_path / "o.gvc", "--jobs", 1)
    assert result.code == 2
    assert "not a video" in result.sentence
    assert list(tmp_path.iterdir()) == [text]


def test_zero_frames(call: Run, tmp_path: Path) -> None:
    empty = tmp_path / "empty.y4m"
    empty.write_bytes(b"YUV4MPEG2 W16 H16 F25:1 C420jpeg\n")
    result = call("encode", empty, tmp_path / "o.gvc", "--jobs", 1)
    assert result.code == 2
    assert result.sentence
    assert list(tmp_path.iterdir()) == [empty]


def test_sound_that_cannot_be_read(call: Run, clip: Path, tmp_path: Path) -> None:
    """A codec identifier that no FFmpeg knows."""
    broken = tmp_path / "broken.mkv"
    data = clip.read_bytes()
    assert b"A_AAC" in data
    broken.write_bytes(data.replace(b"A_AAC", b"A_XYZ"))
    result = call("encode", broken, tmp_path / "o.gvc", "--jobs", 1)
    assert result.code == 2
    assert "--audio none" in result.sentence
    assert not (tmp_path / "o.gvc").exists()
    assert call("encode", broken, tmp_path / "o.gvc", "--audio", "none", "--jobs", 1).code == 0


def test_wrong_weights(
    call: Run, coded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gancodec.bitstream import ModelRef, Reader, Writer

    with coded.open("rb") as stream:
        reader = Reader(stream)
        other = [ModelRef(m.role, m.arch_version, bytes(32), m.name) for m in reader.models]
        foreign = tmp_path / "foreign.gvc"
        with foreign.open("wb") as out:
            Writer(out, reader.header, other).close()
    result = call("decode", foreign, tmp_path / "o.y4m", "--jobs", 1)
    assert result.code == 5
    assert MODEL in result.sentence
    result = call("encode", coded, tmp_path / "o.gvc", "--model", "none-such", "--jobs", 1)
    assert result.code in (2, 5)  # a .gvc is no input either
    assert list(tmp_path.iterdir()) == [foreign]


def test_future_version(call: Run, coded: Path, tmp_path: Path) -> None:
    newer = forged_header(tmp_path / "newer.gvc", coded, 0, b"\x02\x00")
    for words in (["decode", newer, tmp_path / "o.y4m"], ["probe", newer], ["verify", newer]):
        result = call(*words)
        assert result.code == 4
        assert "install a newer gancodec" in result.sentence


def test_absurd_dimensions(call: Run, coded: Path, tmp_path: Path) -> None:
    huge = forged_header(tmp_path / "huge.gvc", coded, 8, b"\xff\xff\xff\x7f")
    for words in (["decode", huge, tmp_path / "o.y4m"], ["probe", huge]):
        result = call(*words)
        assert result.code == LimitError.exit_code == 6
        assert "limit" in result.sentence


def test_damaged_chunk(call: Run, coded: Path, tmp_path: Path) -> None:
    from gancodec.bitstream import Reader

    with coded.open("rb") as stream:
        second = Reader(stream).index()[1].offset
    broken = damaged(tmp_path / "broken.gvc", coded, second + 60)
    result = call("decode", broken, tmp_path / "o.y4m", "--jobs", 1)
    assert result.code == 3
    assert "--conceal" in result.sentence
    assert list(tmp_path.iterdir()) == [broken], "a half-written file"
    result = call("verify", broken, "--jobs", 1)
    assert result.code == 3
    assert "is damaged" in result.err
    result = call("decode", broken, tmp_path / "o.y4m", "--conceal", "--jobs", 1)
    assert result.code == 3, "what was lost must be noticed by scripts"
    assert "still picture" in result.err.splitlines()[-1]
    assert (tmp_path / "o.y4m").read_bytes().count(b"FRAME\n") == FRAMES


def test_cut_short(call: Run, coded: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.gvc"
    short.write_bytes(coded.read_bytes()[:-20])
    assert call("decode", short, tmp_path / "o.y4m", "--jobs", 1).code == 3
    assert not (tmp_path / "o.y4m").exists()


def test_existing_target_is_kept(call: Run, coded: Path, tmp_path: Path) -> None:
    target = tmp_path / "o.y4m"
    target.write_bytes(b"precious")
    result = call("decode", coded, target, "--jobs", 1)
    assert result.code == 1
    assert "-y" in result.sentence
    assert target.read_bytes() == b"precious"
    assert call("decode", coded, target, "-y", "--jobs", 1).code == 0


def test_names_and_metadata_cannot_drive_the_terminal(call: Run, tmp_path: Path) -> None:
    result = call("decode", tmp_path / "\x1b[2Jevil\n.gvc", tmp_path / "o.y4m")
    assert result.code == 2
    assert "\\x1b[2Jevil\\n.gvc" in result.sentence


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", ["encode", "decode", "probe"])
def test_full_disk(
    coded: Path,
    clip: Path,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = {
        "encode": [str(clip), "-", "--jobs", "1"],
        "decode": [str(coded), "-", "--jobs", "1"],
        "probe": [str(coded)],
    }
    full = open("/dev/full", "w")  # noqa: SIM115 - closing it fails, and must not hide the rest
    try:
        monkeypatch.setattr(sys, "stdout", full)
        code = cli.main([command, *words[command]])
    finally:
        with suppress(OSError):
            full.close()
    (sentence,) = capfd.readouterr().err.splitlines()
    assert code == 2
    assert "no space left on device" in sentence.lower()


@pytest.mark.parametrize("command", ["encode", "decode", "probe"])
def test_closed_pipe_is_quiet(
    coded: Path,
    clip: Path,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = {
        "encode": [str(clip), "-", "--jobs", "1"],
        "decode": [str(coded), "-", "--jobs", "1", "--quiet"],
        "probe": [str(coded), "--json", "--packets"],
    }
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert cli.main([command, *words[command]]) == 2
    assert capfd.readouterr().err == ""


def test_closed_pipe_of_a_process_is_quiet(coded: Path) -> None:
    """At exit, too, when Python flushes what is left."""
    with start("probe", coded) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
def test_ctrl_c_is_quiet() -> None:
    code = (
        "import signal, sys, time\n"
        # a runner in the background may have told its children to ignore it
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from gancodec import cli, cli_commands\n"
        "def work(chosen):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "cli_commands.COMMANDS['models'] = work\n"
        "sys.exit(cli.main(['models']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, b"", b"")


# ── Defects ──────────────────────────────────────────────────────────────────────────────────


def fail(error: BaseException) -> Callable[[object], None]:
    def run(_: object) -> None:
        raise error

    return run


def test_a_defect_is_one_sentence_with_a_hint(call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli_commands.COMMANDS, "models", fail(ZeroDivisionError("oops\x1b[2J")))
    result = call("models")
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert "internal error (ZeroDivisionError: oops\\x1b[2J)" in line
    assert "GANCODEC_DEBUG=1" in line
    monkeypatch.setenv("GANCODEC_DEBUG", "1")
    result = call("models")
    assert "Traceback (most recent call last)" in result.err


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (PermissionError(13, "Permission denied", "secret"), 2, "secret: Permission denied"),
        (MemoryError(), 1, "not enough memory"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 2, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_the_system(
    call: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, sentence: str
) -> None:
    monkeypatch.setitem(cli_commands.COMMANDS, "models", fail(error))
    result = call("models")
    assert result.code == code
    assert sentence in result.err
    assert bool(result.err) == bool(sentence)


def test_module_is_the_program() -> None:
    with start("--version") as process:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, b"")
        assert out.startswith(b"gancodec ")
