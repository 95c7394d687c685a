"""Files out: exact y4m, containers with times, tags and sound, pictures; never half a file."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path

import av
import numpy as np
import pytest

from gancodec.errors import InputError, UsageError
from gancodec.types import Color, FrameBatch, VideoInfo
from gancodec.video.color import yuv420_to_rgb
from gancodec.video.reader import open_video
from gancodec.video.synth import clip_info, gradients, moving_texture, tone, write_test_video
from gancodec.video.writer import open_writer
from gancodec.video.y4m import y4m_header

VFR_MS = [0, 3, 40, 41, 500, 501, 1000, 2345]
KINDS = ["mkv", "mp4", "mov", "webm"]


def save(path, batch, info, **options) -> list[str]:
    with open_writer(path, info, **options) as writer:
        for n in range(0, len(batch), 3):
            writer.write(batch[n : n + 3])
    return writer.notices


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


class TestY4m:
    def test_header(self):
        info = VideoInfo(
            17, 33, Fraction(30000, 1001), Fraction(1, 90000), sample_aspect_ratio=Fraction(4, 3)
        )
        assert y4m_header(info) == (
            b"YUV4MPEG2 W17 H33 F30000:1001 Ip A4:3 C420jpeg XCOLORRANGE=LIMITED\n"
        )
        left = replace(info, color=Color(chroma_location=1, full_range=True))
        assert y4m_header(left).endswith(b"C420mpeg2 XCOLORRANGE=FULL\n")

    @pytest.mark.parametrize("size", [(16, 16), (17, 33), (1, 1), (2, 3)])
    def test_exact_both_ways(self, tmp_path, read, same_planes, size):
        batch = moving_texture(*size, 5)
        color = Color(full_range=True, chroma_location=3)
        info = replace(clip_info(batch, Fraction(24000, 1001)), color=color)
        path = tmp_path / "a.y4m"
        assert save(path, batch, info) == []
        clip = read(path)
        same_planes(clip.frames, batch)
        assert clip.info == info
        assert clip.frames.pts.tolist() == [0, 1, 2, 3, 4]

    def test_standard_output(self):
        code = (
            "from gancodec.video.synth import clip_info, moving_texture\n"
            "from gancodec.video.writer import open_writer\n"
            "batch = moving_texture(16, 16, 3)\n"
            "with open_writer('-', clip_info(batch)) as writer: writer.write(batch)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        batch = moving_texture(16, 16, 3)
        planes = b"".join(
            b"FRAME\n" + batch.y[n].tobytes() + batch.u[n].tobytes() + batch.v[n].tobytes()
            for n in range(3)
        )
        assert done.stdout == y4m_header(clip_info(batch)) + planes
        assert done.stderr == b""

    def test_closed_pipe_is_one_quiet_error(self):
        code = (
            "from gancodec.errors import InputError\n"
            "from gancodec.video.synth import clip_info, moving_texture\n"
            "from gancodec.video.writer import open_writer\n"
            "batch = moving_texture(256, 256, 3)\n"
            "try:\n"
            "    with open_writer('-', clip_info(batch)) as writer:\n"
            "        while True: writer.write(batch)\n"
            "except InputError as error: import sys; sys.exit(f'clean: {error}')\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr.read() == b"clean: the reader of the pipe has closed it\n"
        process.stderr.close()
        assert process.wait() == 1

    def test_says_what_it_cannot_hold(self, tmp_path):
        batch = moving_texture(16, 16, len(VFR_MS))
        batch = FrameBatch(batch.y, batch.u, batch.v, np.array(VFR_MS, np.int64))
        info = VideoInfo(16, 16, Fraction(25), Fraction(1, 1000), rotation=90)
        notices = save(tmp_path / "a.y4m", batch, info, audio={0: b""})
        assert notices == [
            "y4m holds no sound: it was left out",
            "y4m cannot say that the picture is shown turned by 90 degrees",
            "y4m has a constant rate: varying frame times were lost",
        ]


@pytest.mark.parametrize("kind", KINDS)
class TestContainers:
    def test_visually_lossless(self, tmp_path, read, kind):
        batch = moving_texture(64, 48, 10)
        path = tmp_path / f"a.{kind}"
        assert save(path, batch, clip_info(batch)) == []
        clip = read(path)
        assert len(clip.frames) == 10
        assert psnr(clip.frames.y, batch.y) > 40
        assert psnr(clip.frames.u, batch.u) > 40
        assert not list(tmp_path.glob("*.part"))

    def test_lossless(self, tmp_path, read, same_planes, kind):
        batch = moving_texture(64, 48, 6)
        path = tmp_path / f"a.{kind}"
        assert save(path, batch, clip_info(batch), lossless=True) == []
        same_planes(read(path).frames, batch)

    @pytest.mark.parametrize("lossless", [False, True])
    def test_variable_times(self, tmp_path, read, kind, lossless):
        batch = moving_texture(32, 32, len(VFR_MS))
        batch = FrameBatch(batch.y, batch.u, batch.v, np.array(VFR_MS, np.int64))
        info = VideoInfo(32, 32, Fraction(25), Fraction(1, 1000))
        save(tmp_path / f"a.{kind}", batch, info, lossless=lossless)
        clip = read(tmp_path / f"a.{kind}")
        assert clip.seconds == [Fraction(ms, 1000) for ms in VFR_MS]

    def test_ntsc(self, tmp_path, read, kind):
        batch = moving_texture(32, 32, 30)
        save(tmp_path / f"a.{kind}", batch, clip_info(batch, Fraction(30000, 1001)))
        clip = read(tmp_path / f"a.{kind}")
        assert clip.info.fps == Fraction(30000, 1001)
        exact = [n * Fraction(1001, 30000) for n in range(30)]
        if kind in ("mp4", "mov"):
            assert clip.seconds == exact
        else:  # Matroska holds milliseconds
            assert clip.seconds == [Fraction(floor(t * 1000 + Fraction(1, 2)), 1000) for t in exact]

    @pytest.mark.parametrize("lossless", [False, True])
    def test_tags(self, tmp_path, read, kind, lossless):
        batch = moving_texture(32, 32, 3)
        color = Color(primaries=9, transfer=16, matrix=9, full_range=True)
        info = replace(
            clip_info(batch), color=color, rotation=270, sample_aspect_ratio=Fraction(64, 45)
        )
        assert save(tmp_path / f"a.{kind}", batch, info, lossless=lossless) == []
        clip = read(tmp_path / f"a.{kind}")
        assert replace(clip.info.color, chroma_location=0) == color
        assert clip.info.rotation == 270
        assert clip.info.sample_aspect_ratio == Fraction(64, 45)

    def test_odd_sizes(self, tmp_path, read, kind):
        batch = moving_texture(17, 33, 3)
        if kind == "mov":
            with pytest.raises(UsageError, match="only even sizes: write to mkv or mp4"):
                open_writer(tmp_path / "a.mov", clip_info(batch))
            assert not list(tmp_path.iterdir())
            return
        notices = save(tmp_path / f"a.{kind}", batch, clip_info(batch))
        assert bool(notices) == (kind != "webm")
        clip = read(tmp_path / f"a.{kind}")
        assert clip.frames.y.shape == (3, 33, 17)
        assert psnr(clip.frames.y, batch.y) > 38

    def test_tiny(self, tmp_path, read, kind):
        for size in ((2, 2), (1, 1)) if kind != "mov" else ((2, 2),):
            batch = moving_texture(*size, 2)
            save(tmp_path / f"a.{kind}", batch, clip_info(batch))
            assert read(tmp_path / f"a.{kind}").frames.y.shape == (2, size[1], size[0])

    def test_into_a_pipe(self, tmp_path, read, kind):
        class Unseekable(io.RawIOBase):
            def __init__(self) -> None:
                self.data = bytearray()

            def writable(self) -> bool:
                return True

            def write(self, data) -> int:
                self.data += data
                return len(data)

        batch = moving_texture(32, 32, 8)
        pipe = Unseekable()
        save(pipe, batch, clip_info(batch), format=kind)
        path = tmp_path / f"a.{kind}"
        path.write_bytes(pipe.data)
        assert len(read(path).frames) == 8

    def test_same_file_every_time(self, tmp_path, kind):
        batch = moving_texture(32, 32, 4)
        hashes = set()
        for n in range(2):
            save(tmp_path / f"{n}.{kind}", batch, clip_info(batch))
            hashes.add(hashlib.sha256((tmp_path / f"{n}.{kind}").read_bytes()).digest())
        assert len(hashes) == 1


@pytest.mark.parametrize("location", [1, 2, 3])
def test_chroma_location(tmp_path, read, location):
    batch = moving_texture(32, 32, 2)
    info = replace(clip_info(batch), color=Color(chroma_location=location))
    for kind in ("mp4", "mkv", "y4m"):
        save(tmp_path / f"a.{kind}", batch, info)
        assert read(tmp_path / f"a.{kind}").info.color.chroma_location == location


class TestSound:
    """Packets go in and out as they are."""

    def source(self, folder: Path, suffix: str, codec: str, rate: int, tracks: int = 1) -> Path:
        batch = moving_texture(16, 16, 25)
        info = VideoInfo(16, 16, Fraction(10), Fraction(1, 10))
        sounds = [tone(2.6, rate, hertz=440 + 110 * n) for n in range(tracks)]
        return write_test_video(
            folder / f"in.{suffix}", batch, info, sounds,
            codec="mpeg4", audio_codec=codec, audio_rate=rate,
        )  # fmt: skip

    def copy(self, source: Path, target: Path, mode="copy") -> list[str]:
        with open_video(source, audio=mode) as reader:
            sound = reader.audio
            assert sound is not None
            headers = {c.track: c.data for c in sound.headers}
            with open_writer(target, reader.info, audio=headers) as writer:
                for batch in reader.batches(4):
                    for chunk in sound.until(int(batch.pts[-1]) * reader.info.time_base):
                        writer.write_audio(chunk.track, chunk.data)
                    writer.write(batch)
                for chunk in sound.until(None):
                    writer.write_audio(chunk.track, chunk.data)
            return writer.notices

    @pytest.mark.parametrize("target", ["mkv", "mp4"])
    @pytest.mark.parametrize(
        ("suffix", "codec", "rate"),
        [
            ("mp4", "aac", 48000),
            ("mp4", "aac", 44100),
            ("mp4", "libmp3lame", 44100),
            ("mp4", "libopus", 48000),
            ("mp4", "flac", 48000),
            ("mp4", "alac", 44100),
            ("mp4", "ac3", 48000),
        ],
    )
    def test_identical(self, tmp_path, read, sound_of, suffix, codec, rate, target):
        source = self.source(tmp_path, suffix, codec, rate)
        out = tmp_path / f"out.{target}"
        assert self.copy(source, out) == []
        expected, got = sound_of(source), sound_of(out)
        assert [h for _, h in got] == [h for _, h in expected]
        if target == "mp4":
            assert [t for t, _ in got] == [t for t, _ in expected]
        else:
            worst = max(abs(a - b) for (a, _), (b, _) in zip(got, expected, strict=True))
            assert worst <= Fraction(1, 1000)
        assert read(out).seconds == read(source).seconds

    @pytest.mark.parametrize("target", ["mkv", "mp4", "mov"])
    @pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le"])
    def test_pcm(self, tmp_path, sound_of, codec, target):
        source = self.source(tmp_path, "mov", codec, 48000)
        out = tmp_path / f"out.{target}"
        assert self.copy(source, out) == []
        samples = []
        for path in (source, out):
            with av.open(str(path)) as container:
                samples.append(b"".join(bytes(p) for p in container.demux(audio=0) if p.size))
        assert samples[0] == samples[1]  # containers cut PCM into packets as they like
        assert sound_of(out)[0][0] == 0

    def test_two_tracks(self, tmp_path, sound_of):
        source = self.source(tmp_path, "mkv", "aac", 48000, tracks=2)
        for kind in ("mkv", "mp4"):
            out = tmp_path / f"out.{kind}"
            self.copy(source, out)
            for track in (0, 1):
                assert [h for _, h in sound_of(out, track)] == [
                    h for _, h in sound_of(source, track)
                ]

    @pytest.mark.parametrize(
        ("target", "codec", "became"), [("webm", "aac", "opus"), ("mov", "flac", "aac")]
    )
    def test_what_the_container_cannot_hold(self, tmp_path, read, target, codec, became):
        source = self.source(tmp_path, "mp4", codec, 48000)
        out = tmp_path / f"out.{target}"
        assert self.copy(source, out) == [
            f"{target} cannot hold {codec} sound: it was converted to {became}"
        ]
        with av.open(str(out)) as container:
            assert container.streams.audio[0].codec_context.name == became
            sound = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=-1)[0]
        reference = tone(2.6)[0]
        length = min(len(sound), len(reference)) - 4800
        assert np.corrcoef(sound[:length], reference[:length])[0, 1] > 0.99
        assert read(out).seconds == read(source).seconds

    def test_opus_copies_into_webm(self, tmp_path, sound_of):
        source = self.source(tmp_path, "mkv", "libopus", 48000)
        out = tmp_path / "out.webm"
        assert self.copy(source, out) == []
        for (time, packet), (wanted, same) in zip(sound_of(out), sound_of(source), strict=True):
            assert packet == same
            assert abs(time - wanted) <= Fraction(1, 1000)

    def test_sound_in_a_pipe(self, tmp_path):
        source = self.source(tmp_path, "mp4", "aac", 48000)
        pipe = io.BytesIO()
        with open_video(source, audio="copy") as reader:
            sound = reader.audio
            assert sound is not None
            headers = {c.track: c.data for c in sound.headers}
            with open_writer(pipe, reader.info, audio=headers, format="mkv") as writer:
                for batch in reader.batches(30):
                    writer.write(batch)
                for chunk in sound.until(None):
                    writer.write_audio(chunk.track, chunk.data)
        pipe.seek(0)
        with av.open(pipe) as container:
            assert sum(1 for p in container.demux(audio=0) if p.size) == 123

    @pytest.mark.parametrize("kind", ["mp4", "mov", "mkv"])
    def test_pictures_that_start_later_keep_their_distance(self, tmp_path, read, sound_of, kind):
        batch = moving_texture(32, 32, 20)
        pts = 5005 + 1001 * np.arange(20, dtype=np.int64)
        batch = FrameBatch(batch.y, batch.u, batch.v, pts)
        info = VideoInfo(32, 32, Fraction(30000, 1001), Fraction(1, 30000))
        source = tmp_path / "in.mp4"
        options = {"movie_timescale": "30000"}
        write_test_video(source, batch, info, [tone(1)], codec="libx264", options=options)
        assert read(source).seconds[0] in (Fraction(5005, 30000), Fraction(166, 1000))
        out = tmp_path / f"out.{kind}"
        self.copy(source, out)
        exact = kind != "mkv"
        for a, b in zip(read(out).seconds, read(source).seconds, strict=True):
            assert abs(a - b) <= (0 if exact else Fraction(1, 1000))
        assert abs(sound_of(out)[0][0] - sound_of(source)[0][0]) <= (
            0 if exact else Fraction(1, 1000)
        )

    def test_unannounced_track(self, tmp_path):
        batch = moving_texture(16, 16, 1)
        with (
            open_writer(tmp_path / "a.mkv", clip_info(batch)) as writer,
            pytest.raises(UsageError, match="track 3"),
        ):
            writer.write_audio(3, b"x")


class TestPictures:
    @pytest.mark.parametrize("color", [Color(), Color(matrix=6), Color(matrix=9, full_range=True)])
    def test_pattern(self, tmp_path, color):
        batch = moving_texture(33, 17, 3)
        info = replace(clip_info(batch), color=color)
        assert save(tmp_path / "out_%03d.png", batch, info) == []
        names = sorted(p.name for p in tmp_path.iterdir())
        assert names == ["out_001.png", "out_002.png", "out_003.png"]
        rgb = yuv420_to_rgb(batch, color)
        for n, name in enumerate(names):
            with av.open(str(tmp_path / name)) as container:
                frame = next(container.decode(video=0))
                np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), rgb[n])

    def test_folder_and_back(self, tmp_path, read):
        batch = gradients(64, 48, 3)
        batch = FrameBatch(batch.y, batch.u // 8 + 112, batch.v // 8 + 112, batch.pts)  # in gamut
        save(str(tmp_path / "frames") + "/", batch, clip_info(batch))
        clip = read(tmp_path / "frames", fps=25)
        assert clip.info.frames == 3
        assert psnr(clip.frames.y, batch.y) > 45

    def test_single(self, tmp_path):
        batch = moving_texture(16, 16, 2)
        save(tmp_path / "one.png", batch[:1], clip_info(batch))
        assert (tmp_path / "one.png").exists()
        with pytest.raises(UsageError, match=r"write to two_%04d\.png"):
            save(tmp_path / "two.png", batch, clip_info(batch))
        assert [p.name for p in tmp_path.iterdir()] == ["one.png"]  # nothing is left of it

    @pytest.mark.parametrize("rotation", [0, 90, 180, 270])
    def test_upright(self, tmp_path, rotation):
        batch = moving_texture(32, 16, 1)
        info = replace(clip_info(batch), rotation=rotation)
        save(tmp_path / "a.png", batch, info)
        with av.open(str(tmp_path / "a.png")) as container:
            got = next(container.decode(video=0)).to_ndarray(format="rgb24")
        rgb = yuv420_to_rgb(batch, info.color)[0]
        for _ in range(rotation // 90):  # a quarter turn clockwise
            rgb = rgb[::-1].transpose(1, 0, 2)
        np.testing.assert_array_equal(got, rgb)


class TestNeverHalfAFile:
    @pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.y4m", "a_%d.png"])
    def test_an_error_inside_leaves_nothing(self, tmp_path, name):
        batch = moving_texture(16, 16, 3)

        def fail_half_way() -> None:
            with open_writer(tmp_path / name, clip_info(batch)) as writer:
                writer.write(batch)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail_half_way()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.y4m"])
    def test_the_old_file_stays_until_the_end(self, tmp_path, name):
        path = tmp_path / name
        path.write_bytes(b"old")
        batch = moving_texture(16, 16, 3)
        with open_writer(path, clip_info(batch)) as writer:
            writer.write(batch)
            assert path.read_bytes() == b"old"
        assert path.read_bytes() != b"old"

    def test_missing_folder(self, tmp_path):
        batch = moving_texture(16, 16, 1)
        for name in ("a.mkv", "a.y4m", "a.png"):
            with pytest.raises(InputError, match=r"does not exist: make it first"):
                open_writer(tmp_path / "no" / name, clip_info(batch))

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    @pytest.mark.parametrize("kind", ["y4m", "mkv"])
    def test_full_disk(self, kind):
        batch = moving_texture(64, 64, 30)
        with (
            open("/dev/full", "wb", buffering=0) as full,
            pytest.raises(InputError, match="no space left"),
            open_writer(full, clip_info(batch), format=kind) as writer,
        ):
            writer.write(batch)

    def test_impossible_folder(self, tmp_path):
        batch = moving_texture(16, 16, 1)
        with pytest.raises(InputError, match="cannot make the folder"):
            open_writer(f"{tmp_path}/no/such/", clip_info(batch))

    def test_unknown_kind(self, tmp_path):
        batch = moving_texture(16, 16, 1)
        with pytest.raises(UsageError, match=r"one of .*\.mkv"):
            open_writer(tmp_path / "a.xyz", clip_info(batch))
        with pytest.raises(UsageError, match="to a pipe"):
            open_writer(io.BytesIO(), clip_info(batch), format="png")

    def test_wrong_size_and_closed(self, tmp_path):
        batch = moving_texture(16, 16, 2)
        writer = open_writer(tmp_path / "a.mkv", clip_info(batch))
        with pytest.raises(UsageError, match="8x8 in a clip of 16x16"):
            writer.write(moving_texture(8, 8, 1))
        writer.write(batch)
        writer.close()
        writer.close()
        with pytest.raises(UsageError, match="closed"):
            writer.write(batch)
