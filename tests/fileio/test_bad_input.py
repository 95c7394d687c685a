"""What cannot work: one sentence, the right class, and nothing half written."""

from __future__ import annotations

import dataclasses
import errno
import io
import zlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import gancodec
from gancodec.bitstream import AudioData, AudioInit, Gop, ModelRef, Reader, Writer
from gancodec.errors import (
    CorruptError,
    GancodecError,
    InputError,
    LimitError,
    ModelError,
    UnsupportedError,
    UsageError,
)
from gancodec.probe import probe
from gancodec.video.synth import clip_info, moving_texture, noisy_pan, tone, write_test_video


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.mp4"
    path.write_text("this is no video\n" * 100)
    return path


def test_encode_refuses_bad_sources(tmp_path: Path, text: Path) -> None:
    for source, sentence in [
        (tmp_path / "missing.mp4", "does not exist"),
        (text, "not a video"),
        (tmp_path, "without pictures"),
        (io.BytesIO(b"junk" * 100), "not a video"),
    ]:
        with pytest.raises(InputError, match=sentence):
            gancodec.encode(source, tmp_path / "out.gvc", jobs=1)
    sound = tmp_path / "sound.mka"
    with av.open(str(sound), "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="no picture track"):
        gancodec.encode(sound, tmp_path / "out.gvc", jobs=1)
    assert not list(tmp_path.glob("out.gvc*"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"quality": 64}, "quality is 0 to 63"),
        ({"quality": 30, "bitrate": "100k"}, "exclude each other"),
        ({"bitrate": "fast"}, "bitrate is a positive number"),
        ({"size": -5}, "size is a positive number"),
        ({"gop": 0}, "gop is 1 to 1024"),
        ({"preset": "best"}, "preset is"),
        ({"start": "soon"}, "not a time"),
        ({"duration": 0}, "0 seconds"),
        ({"fps": "often"}, "not a frame rate"),
        ({"audio": "loud"}, "audio is copy, opus or none"),
        ({"jobs": 0}, "jobs is 1 or more"),
        ({"device": "abacus"}, "'abacus' is not to be had"),
        ({"scale": (0, 0)}, "cannot scale"),
    ],
)
def test_encode_refuses_bad_options(
    tmp_path: Path, mp4: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        gancodec.encode(mp4, tmp_path / "out.gvc", **options)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_targets(tmp_path: Path, mp4: Path, gvc: Path) -> None:
    there = tmp_path / "there.gvc"
    there.write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"exists already.*-y"):
        gancodec.encode(mp4, there)
    with pytest.raises(UsageError, match=r"exists already.*-y"):
        gancodec.decode(gvc, there)
    assert there.read_bytes() == b"precious"
    with pytest.raises(UsageError, match="is the input as well"):
        gancodec.encode(mp4, mp4, overwrite=True)
    with pytest.raises(UsageError, match="is the input as well"):
        gancodec.decode(gvc, gvc.parent / "." / gvc.name, overwrite=True)
    for call in (gancodec.encode, gancodec.decode):
        with pytest.raises(InputError, match="does not exist: make it first"):
            call(mp4 if call is gancodec.encode else gvc, tmp_path / "no" / "folder.mkv")
    with pytest.raises(UsageError, match="does not say what to write"):
        gancodec.decode(gvc, tmp_path / "what.xyz", jobs=1)
    with pytest.raises(UsageError, match="realism"):
        gancodec.decode(gvc, tmp_path / "x.mkv", realism=2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_full_disk(kit: Any, mp4: Path, gvc: Path) -> None:
    with pytest.raises(InputError, match=r"[Nn]o space left") as caught:
        gancodec.encode(mp4, "/dev/full", **kit.fast)
    assert caught.value.exit_code == 2
    with pytest.raises(InputError, match=r"[Nn]o space left"):
        gancodec.encode(mp4, "/dev/full", **{**kit.fast, "quality": None}, bitrate="20k")
    with pytest.raises(InputError, match=r"[Nn]o space left"):
        gancodec.decode(gvc, "/dev/full", jobs=1)


class _Gone(io.RawIOBase):
    """A pipe whose reader has gone."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_closed_pipe(kit: Any, mp4: Path, gvc: Path) -> None:
    with pytest.raises(InputError, match="the reader of the pipe has closed it"):
        gancodec.encode(mp4, _Gone(), **kit.fast)
    with pytest.raises(InputError, match="the reader of the pipe has closed it"):
        gancodec.decode(gvc, _Gone(), jobs=1)


def test_wrong_weights(folder: Path, gvc: Path, tmp_path: Path) -> None:
    out = io.BytesIO()
    with gvc.open("rb") as stream:
        reader = Reader(stream)
        other = ModelRef(0, 1, bytes(32), "other.v9")
        writer = Writer(out, dataclasses.replace(reader.header, has_audio=False), [other])
        for event in reader.events():
            if isinstance(event, Gop):
                writer.write_gop(event)
        writer.close()
    for call in (
        lambda s: gancodec.decode(s, tmp_path / "x.mkv", jobs=1),
        lambda s: gancodec.verify(s, jobs=1),
        lambda s: gancodec.open(s)[0],
    ):
        with pytest.raises(ModelError, match=r"other\.v9") as caught:
            call(io.BytesIO(out.getvalue()))
        assert caught.value.exit_code == 5
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModelError, match="there is no model"):
        gancodec.encode(folder / "in.mp4", tmp_path / "x.gvc", model="none.v0")
    for words, complaint in (
        ({"tune": "grain"}, "perceptual or fidelity, got 'grain'"),
        ({"tune": "fidelity", "model": "base.v3"}, "leave one out"),
    ):
        with pytest.raises(UsageError, match=complaint):
            gancodec.encode(folder / "in.mp4", tmp_path / "x.gvc", **words)


def test_headers_of_the_future_and_of_giants(gvc: Path, tmp_path: Path) -> None:
    def with_header(at: int, value: bytes) -> io.BytesIO:

        data = bytearray(gvc.read_bytes())
        payload = 8 + 20  # signature, chunk head
        data[payload + at : payload + at + len(value)] = value
        crc = zlib.crc32(data[payload : payload + 96], zlib.crc32(b"GHDR"))
        data[payload + 96 : payload + 100] = crc.to_bytes(4, "little")
        return io.BytesIO(data)

    cases: list[tuple[int, bytes, type[GancodecError]]] = [
        (0, b"\x02\x00", UnsupportedError),
        (2, b"\x05\x00\x05\x00", UnsupportedError),
        (8, b"\xff\xff\xff\xff", LimitError),
        (12, b"\x00\x00\x00\x00", CorruptError),
    ]
    for at, value, kind in cases:
        for call in (
            lambda s: gancodec.decode(s, tmp_path / "x.mkv", jobs=1),
            gancodec.open,
            gancodec.verify,
            probe,
        ):
            with pytest.raises(kind):
                call(with_header(at, value))
    assert not list(tmp_path.iterdir())


def test_unreadable_sound_names_the_remedy(
    kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = moving_texture(16, 16, 3)
    source = write_test_video(tmp_path / "in.mp4", batch, clip_info(batch), [tone(0.2)])

    def broken(*_: Any) -> None:
        raise ValueError("no such sound")

    monkeypatch.setattr("gancodec.video.audio.choose_muxer", broken)
    with pytest.raises(InputError, match="--audio none"):
        gancodec.encode(source, tmp_path / "out.gvc", **kit.fast)
    assert not list(tmp_path.glob("out.gvc*"))
    assert gancodec.encode(source, tmp_path / "out.gvc", **kit.fast, audio="none").frames == 3


@pytest.mark.parametrize("header_too", [False, True])
def test_damaged_sound(kit: Any, folder: Path, gvc: Path, header_too: bool) -> None:
    """Sound that does not parse, in chunks whose checksums hold."""
    out, target = io.BytesIO(), folder / f"sound{header_too}.mkv"
    with gvc.open("rb") as stream:
        reader = Reader(stream)
        writer = Writer(out, reader.header, reader.models)
        for event in reader.events():
            if isinstance(event, Gop):
                writer.write_gop(event)
            elif isinstance(event, AudioInit):
                writer.write_audio_init(event.track, event.data[9 * header_too :])
            elif isinstance(event, AudioData):
                writer.write_audio_data(event.track, b"\x1f\x43" + event.data[40:])
        writer.close()
    for part in ({}, {"duration": 0.5}):
        with pytest.raises(CorruptError):
            gancodec.decode(io.BytesIO(out.getvalue()), target, jobs=1, **part)
    assert not list(folder.glob(f"{target.name}*"))
    stats = gancodec.decode(io.BytesIO(out.getvalue()), target, conceal=True, jobs=1)
    assert (stats.frames, stats.lost) == (kit.frames, ())
    assert any("sound track 1" in sentence for sentence in stats.damage)


def test_nothing_is_left_of_an_encode_that_failed_early(kit: Any, tmp_path: Path) -> None:
    batch = noisy_pan(16, 16, 9)
    data = kit.y4m(batch)

    def fail(_: gancodec.Progress) -> None:
        raise RuntimeError

    for stop, left in ((1, ["out.gvc.part"]), (0, [])):
        source = io.BytesIO(data if stop else data[:100])
        with pytest.raises((RuntimeError, InputError)):
            gancodec.encode(source, tmp_path / "out.gvc", **kit.fast, progress=fail)
        assert [p.name for p in tmp_path.iterdir()] == left
        for path in tmp_path.iterdir():
            path.unlink()
