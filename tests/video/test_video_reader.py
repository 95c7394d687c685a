"""Files and pipes in: exact planes, exact times, tags kept, everything else said."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gancodec.errors import InputError, UsageError
from gancodec.types import Color, FrameBatch, VideoInfo
from gancodec.video.reader import open_video
from gancodec.video.synth import (
    clip_info,
    moving_texture,
    still,
    tone,
    write_test_video,
)

VFR_MS = [0, 3, 40, 41, 500, 501, 1000, 2345]


@pytest.mark.parametrize("size", [(64, 48), (17, 33), (2, 2), (1, 1), (130, 66)])
def test_native_planes_pass_bit_exactly(tmp_path, read, same_planes, size):
    batch = moving_texture(*size, 5)
    path = write_test_video(tmp_path / "a.mkv", batch, clip_info(batch))
    clip = read(path)
    same_planes(clip.frames, batch)
    assert (clip.info.width, clip.info.height) == size
    assert clip.notices == []
    assert clip.frames.y.flags.c_contiguous


def test_ntsc_rate_and_times_are_exact(tmp_path, read):
    batch = moving_texture(32, 32, 7)
    info = clip_info(batch, Fraction(30000, 1001))
    clip = read(write_test_video(tmp_path / "a.mp4", batch, info, codec="libx264"))
    assert clip.info.fps == Fraction(30000, 1001)
    assert clip.seconds == [n * Fraction(1001, 30000) for n in range(7)]
    assert clip.info.frames == 7


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_variable_times_are_kept(tmp_path, read, suffix, with_pts):
    batch = with_pts(moving_texture(32, 32, len(VFR_MS)), VFR_MS)
    info = VideoInfo(32, 32, Fraction(25), Fraction(1, 1000))
    codec = "ffv1" if suffix == "mkv" else "libx264"
    clip = read(write_test_video(tmp_path / f"a.{suffix}", batch, info, codec=codec))
    assert clip.seconds == [Fraction(ms, 1000) for ms in VFR_MS]


def test_a_late_start_is_taken_as_zero(tmp_path, read, with_pts):
    batch = with_pts(moving_texture(32, 32, 4), [5000, 5040, 5080, 5120])
    info = VideoInfo(32, 32, Fraction(25), Fraction(1, 1000))
    clip = read(write_test_video(tmp_path / "a.mkv", batch, info))
    assert clip.frames.pts.tolist() == [0, 40, 80, 120]


def test_pictures_that_start_after_the_sound_stay_after_it(tmp_path, read, with_pts):
    batch = with_pts(moving_texture(32, 32, 4), [200, 240, 280, 320])
    info = VideoInfo(32, 32, Fraction(25), Fraction(1, 1000))
    path = write_test_video(tmp_path / "a.mkv", batch, info, [tone(0.5)], audio_codec="flac")
    assert read(path).frames.pts.tolist() == [200, 240, 280, 320]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "webm"])
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation(tmp_path, read, suffix, rotation):
    batch = still(32, 16, 2)
    info = VideoInfo(32, 16, Fraction(25), Fraction(1, 25), rotation=rotation)
    codec = "libvpx-vp9" if suffix == "webm" else "libx264"
    clip = read(write_test_video(tmp_path / f"a.{suffix}", batch, info, codec=codec))
    assert clip.info.rotation == rotation


def test_rotation_of_a_phone_held_upright(tmp_path, read):
    """A phone's mp4 has this tkhd matrix (a=0 b=1 c=-1 d=0), which players turn clockwise by 90."""
    batch = still(32, 16, 2)
    path = write_test_video(tmp_path / "a.mp4", batch, clip_info(batch), codec="libx264")
    data = path.read_bytes()
    one = 0x10000.to_bytes(4, "big")
    zero, minus_one = bytes(4), (-0x10000).to_bytes(4, "big", signed=True)
    upright = one + zero + zero + zero + one
    at = data.index(upright, data.index(b"tkhd"))
    turned = zero + one + zero + minus_one + zero
    path.write_bytes(data[:at] + turned + data[at + len(turned) :])
    assert read(path).info.rotation == 90


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264")])
def test_sample_aspect_ratio(tmp_path, read, suffix, codec):
    batch = still(32, 32, 2)
    info = VideoInfo(32, 32, Fraction(25), Fraction(1, 25), sample_aspect_ratio=Fraction(64, 45))
    clip = read(write_test_video(tmp_path / f"a.{suffix}", batch, info, codec=codec))
    assert clip.info.sample_aspect_ratio == Fraction(64, 45)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mkv", "ffv1"), ("webm", "libvpx-vp9")]
)
def test_color_tags(tmp_path, read, suffix, codec):
    batch = still(32, 32, 2)
    color = Color(primaries=9, transfer=16, matrix=9, full_range=True)
    info = VideoInfo(32, 32, Fraction(25), Fraction(1, 25), color)
    clip = read(write_test_video(tmp_path / f"a.{suffix}", batch, info, codec=codec))
    assert replace(clip.info.color, chroma_location=0) == color
    assert clip.notices == []  # full range is a tag, not a conversion


@pytest.mark.parametrize(("location", "name"), [(1, "left"), (2, "center"), (3, "topleft")])
def test_chroma_location(tmp_path, read, location, name):
    batch = still(32, 32, 2)
    options = {"chroma_sample_location": name}
    path = tmp_path / "a.mp4"
    write_test_video(path, batch, clip_info(batch), codec="libx264", options=options)
    assert read(path).info.color.chroma_location == location


class TestConversions:
    """Other pixel formats become 8-bit 4:2:0, and say so."""

    def convert(self, read, tmp_path, pix_fmt, full_range=False):
        batch = moving_texture(48, 32, 2)
        color = Color(full_range=full_range, matrix=1)
        info = VideoInfo(48, 32, Fraction(25), Fraction(1, 25), color)
        path = write_test_video(tmp_path / "a.mkv", batch, info, pix_fmt=pix_fmt)
        return batch, read(path)

    @pytest.mark.parametrize("full_range", [False, True])
    def test_10_bit(self, read, tmp_path, same_planes, full_range):
        batch, clip = self.convert(read, tmp_path, "yuv420p10le", full_range)
        assert clip.notices == ["10-bit samples were rounded to 8 bits"]
        assert clip.info.color.full_range is full_range
        for name in ("y", "u", "v"):  # up to swscale's own way of making ten bits of eight
            difference = getattr(clip.frames, name).astype(int) - getattr(batch, name)
            assert np.abs(difference).max() <= 1

    def test_10_bit_is_rounded_and_never_dithered(self, tmp_path, read):
        samples = np.full((48, 32), 513, np.uint16)  # 128.25 in 8 bits
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as output:
            stream = output.add_stream("ffv1", rate=25, width=32, height=32, pix_fmt="yuv420p10le")
            output.mux(stream.encode(av.VideoFrame.from_ndarray(samples, "yuv420p10le")))
            output.mux(stream.encode(None))
        assert np.unique(read(path).frames.y).tolist() == [128]

    @pytest.mark.parametrize(("pix_fmt", "name"), [("yuv422p", "4:2:2"), ("yuv444p", "4:4:4")])
    def test_more_chroma(self, read, tmp_path, pix_fmt, name):
        batch, clip = self.convert(read, tmp_path, pix_fmt)
        assert clip.notices == [f"{name} chroma was reduced to 4:2:0"]
        np.testing.assert_array_equal(clip.frames.y, batch.y)
        assert np.abs(clip.frames.u.astype(int) - batch.u).mean() < 3

    def test_422_10_bit(self, read, tmp_path):
        _, clip = self.convert(read, tmp_path, "yuv422p10le")
        assert clip.notices == [
            "4:2:2 chroma was reduced to 4:2:0",
            "10-bit samples were rounded to 8 bits",
        ]

    @pytest.mark.parametrize(("codec", "pix_fmt"), [("ffv1", "bgr0"), ("libx264rgb", "rgb24")])
    def test_rgb_becomes_bt709_limited(self, tmp_path, read, codec, pix_fmt):
        path = tmp_path / "a.mkv"
        colors = [(255, 255, 255), (0, 0, 0), (255, 0, 0)]
        with av.open(str(path), "w") as output:
            options = {"qp": "0"} if codec == "libx264rgb" else {}
            stream = output.add_stream(
                codec, rate=25, width=32, height=32, pix_fmt=pix_fmt, options=options
            )
            for n, rgb in enumerate(colors):
                picture = np.broadcast_to(np.array(rgb, np.uint8), (32, 32, 3)).copy()
                frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)
                frame.pts = n
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        clip = read(path)
        assert clip.notices == ["RGB was converted to BT.709 limited range 4:2:0"]
        assert clip.info.color.matrix == 1
        assert not clip.info.color.full_range
        got = [
            tuple(int(p[n, 8, 8]) for p in (clip.frames.y, clip.frames.u, clip.frames.v))
            for n in range(3)
        ]
        assert np.abs(np.array(got) - [(235, 128, 128), (16, 128, 128), (63, 102, 240)]).max() <= 1

    def test_grey_keeps_its_values(self, tmp_path, read):
        grey = np.arange(32 * 32, dtype=np.uint32).reshape(32, 32).astype(np.uint8)
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as output:
            stream = output.add_stream("ffv1", rate=25, width=32, height=32, pix_fmt="gray")
            output.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "gray")))
            output.mux(stream.encode(None))
        clip = read(path)
        np.testing.assert_array_equal(clip.frames.y[0], grey)
        assert np.unique(clip.frames.u).tolist() == [128]
        assert clip.info.color.full_range
        assert clip.notices == ["grey pictures were given neutral chroma"]

    def test_transparency_is_dropped(self, read, tmp_path):
        _, clip = self.convert(read, tmp_path, "yuva420p")
        assert clip.notices == ["transparency was dropped"]


def y4m_bytes(batch: FrameBatch, header: str) -> bytes:
    planes = b"".join(
        b"FRAME\n" + batch.y[n].tobytes() + batch.u[n].tobytes() + batch.v[n].tobytes()
        for n in range(len(batch))
    )
    return header.encode() + b"\n" + planes


class TestPipes:
    """Streams that cannot seek."""

    HEADER = "YUV4MPEG2 W17 H33 F30000:1001 Ip A4:3 C420mpeg2 XCOLORRANGE=FULL"

    def test_y4m_through_a_real_pipe(self, read, same_planes):
        batch = moving_texture(17, 33, 6)
        read_end, write_end = os.pipe()

        def feed() -> None:
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(y4m_bytes(batch, self.HEADER))

        feeder = threading.Thread(target=feed)
        feeder.start()
        with os.fdopen(read_end, "rb") as pipe:
            clip = read(pipe)
        feeder.join()
        same_planes(clip.frames, batch)
        assert clip.info == VideoInfo(
            17,
            33,
            Fraction(30000, 1001),
            Fraction(1001, 30000),
            Color(full_range=True, chroma_location=1),
            Fraction(4, 3),
        )

    def test_standard_input(self):
        batch = moving_texture(16, 16, 3)
        code = (
            "from gancodec.video.reader import open_video\n"
            "with open_video('-') as reader:\n"
            "    print(sum(len(b) for b in reader.batches(2)), reader.info.frames)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=y4m_bytes(batch, "YUV4MPEG2 W16 H16 F25:1 Ip A1:1 C420jpeg"),
            capture_output=True,
            check=True,
        )
        assert done.stdout.split() == [b"3", b"None"]

    def test_cut_of_a_pipe(self, read, same_planes):
        batch = moving_texture(16, 16, 8)
        data = y4m_bytes(batch, "YUV4MPEG2 W16 H16 F25:1 Ip A1:1 C420jpeg")
        clip = read(io.BytesIO(data), start="0.08", duration=0.12)
        same_planes(clip.frames, batch[2:5])
        assert clip.frames.pts.tolist() == [0, 1, 2]

    def test_matroska_in_a_pipe(self, tmp_path, read, same_planes):
        batch = moving_texture(32, 32, 6)
        path = write_test_video(tmp_path / "a.mkv", batch, clip_info(batch))

        class Unseekable(io.RawIOBase):
            def __init__(self) -> None:
                self.file = path.open("rb")

            def readable(self) -> bool:
                return True

            def read(self, size: int = -1) -> bytes:
                return self.file.read(size)

            def close(self) -> None:
                self.file.close()
                super().close()

        source = Unseekable()
        clip = read(source)
        same_planes(clip.frames, batch)
        source.close()


class TestCuts:
    """-ss and -t are accurate to the frame."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        batch = moving_texture(48, 32, 60)
        options = {"g": "12", "bf": "3", "qp": "0"}
        return write_test_video(
            tmp_path / "a.mp4", batch, clip_info(batch), codec="libx264", options=options
        )

    @pytest.mark.parametrize(
        ("start", "duration", "first", "count"),
        [
            ("0.04", None, 1, 59),
            (1.0, None, 25, 35),
            ("0:01.52", 0.4, 38, 10),
            (Fraction(13, 25), "120ms", 13, 3),
            (None, 0.2, 0, 5),
            (0.41, 0.1, 11, 2),
            (0, 0.04, 0, 1),
        ],
    )
    def test_frames(self, path, read, same_planes, start, duration, first, count):
        whole = read(path).frames
        part = read(path, start=start, duration=duration)
        same_planes(part.frames, whole[first : first + count])
        assert len(part.frames) == count
        assert part.frames.pts[0] == 0
        assert part.info.frames is None

    @pytest.mark.parametrize("muxer", ["mpegts", "avi"])
    def test_without_an_index(self, tmp_path, read, same_planes, muxer):
        batch = moving_texture(32, 32, 40)
        path = tmp_path / f"a.{muxer}"
        write_test_video(
            path, batch, clip_info(batch), codec="mpeg4", format=muxer, options={"g": "10"}
        )
        whole, part = read(path), read(path, start="0.9")
        same_planes(part.frames, whole.frames[-len(part.frames) :])
        assert len(part.frames) in (17, 18)

    def test_ntsc_times_as_typed(self, tmp_path, read):
        batch = moving_texture(32, 32, 10)
        info = clip_info(batch, Fraction(30000, 1001))
        path = write_test_video(tmp_path / "a.mp4", batch, info, codec="libx264")
        assert len(read(path, start=0.0333667).frames) == 9
        assert len(read(path, start="0.033366", duration=0.0333667).frames) == 1

    def test_beyond_the_end(self, path):
        with pytest.raises(InputError, match="no frame at 99 s or later: start earlier"):
            open_video(path, start=99)

    @pytest.mark.parametrize("bad", ["1:2:3:4", "abc", -1, "", float("nan")])
    def test_bad_times(self, path, bad):
        with pytest.raises(UsageError, match="time"):
            open_video(path, start=bad)

    def test_no_duration(self, path):
        with pytest.raises(UsageError, match="longer"):
            open_video(path, duration=0)


class TestScale:
    @pytest.mark.parametrize(
        ("scale", "size"),
        [((32, 16), (32, 16)), ((32, -1), (32, 21)), ((-2, 11), (16, 11)), ((-1, 64), (96, 64))],
    )
    def test_sizes(self, tmp_path, read, scale, size):
        batch = still(48, 32, 2)
        clip = read(write_test_video(tmp_path / "a.mkv", batch, clip_info(batch)), scale=scale)
        assert (clip.info.width, clip.info.height) == size
        assert clip.frames.y.shape[1:] == size[::-1]
        # the shape on the screen stays
        assert clip.info.sample_aspect_ratio * Fraction(*size) == Fraction(48, 32)

    def test_means_the_picture_as_shown(self, tmp_path, read):
        batch = still(48, 32, 2)
        info = VideoInfo(48, 32, Fraction(25), Fraction(1, 25), rotation=90)
        clip = read(write_test_video(tmp_path / "a.mkv", batch, info), scale=(16, 24))
        assert (clip.info.width, clip.info.height, clip.info.rotation) == (24, 16, 90)

    @pytest.mark.parametrize("bad", [(0, 10), (-1, -1), (-3, 10), (99999, 10)])
    def test_nonsense(self, tmp_path, bad):
        batch = still(48, 32, 1)
        path = write_test_video(tmp_path / "a.mkv", batch, clip_info(batch))
        with pytest.raises(UsageError, match="cannot scale"):
            open_video(path, scale=bad)


class TestFrameRate:
    @pytest.mark.parametrize("fps", [10, 25, 50, "30000/1001"])
    def test_constant_rate(self, tmp_path, read, fps):
        batch = moving_texture(32, 32, 25)
        clip = read(write_test_video(tmp_path / "a.mkv", batch, clip_info(batch)), fps=fps)
        rate = Fraction(fps)
        assert clip.info.fps == rate
        assert clip.info.time_base == 1 / rate
        pts = clip.frames.pts.tolist()
        assert pts == list(range(len(pts)))
        for n in range(len(pts)):  # every frame is the nearest one before its half tick
            shown = max(k for k in range(25) if (k / Fraction(25)) * rate < n + Fraction(1, 2))
            np.testing.assert_array_equal(clip.frames.y[n], batch.y[shown])

    def test_gaps_are_filled(self, tmp_path, read, with_pts):
        batch = with_pts(moving_texture(32, 32, 3), [0, 40, 400])
        info = VideoInfo(32, 32, Fraction(25), Fraction(1, 1000))
        clip = read(write_test_video(tmp_path / "a.mkv", batch, info), fps=25)
        assert clip.frames.pts.tolist() == list(range(11))
        np.testing.assert_array_equal(clip.frames.y[9], batch.y[1])

    @pytest.mark.parametrize("bad", [0, -5, "x", "1/0"])
    def test_nonsense(self, tmp_path, bad):
        with pytest.raises(UsageError, match="not a frame rate"):
            open_video(tmp_path / "a.mkv", fps=bad)


class TestResume:
    """skip_to continues as if everything before had been read."""

    @pytest.mark.parametrize("options", [{}, {"fps": 10}, {"start": 0.5}, {"fps": 60, "start": 1}])
    def test_file(self, tmp_path, same_planes, options):
        batch = moving_texture(32, 32, 60)
        encoder = {"g": "12", "bf": "2", "qp": "0"}
        path = write_test_video(
            tmp_path / "a.mp4", batch, clip_info(batch), codec="libx264", options=encoder
        )
        with open_video(path, **options) as reader:
            whole = FrameBatch.concatenate(list(reader.batches(7)))
        for n in (0, 1, len(whole) // 2, len(whole) - 1):
            with open_video(path, **options) as reader:
                next(reader.batches(2))
                reader.skip_to(int(whole.pts[n]))
                rest = FrameBatch.concatenate(list(reader.batches(50)))
            np.testing.assert_array_equal(rest.pts, whole.pts[n:])
            same_planes(rest, whole[n:])

    def test_pipe(self, same_planes):
        batch = moving_texture(16, 16, 8)
        data = y4m_bytes(batch, "YUV4MPEG2 W16 H16 F25:1 Ip A1:1 C420jpeg")
        pipe = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert pipe.stdin is not None
        assert pipe.stdout is not None
        pipe.stdin.write(data)
        pipe.stdin.close()
        with open_video(pipe.stdout) as reader:
            reader.skip_to(5)
            same_planes(FrameBatch.concatenate(list(reader.batches(9))), batch[5:])
        pipe.stdout.close()
        assert pipe.wait() == 0

    def test_another_input(self, tmp_path):
        batch = moving_texture(32, 32, 5)
        path = write_test_video(tmp_path / "a.mkv", batch, clip_info(batch))
        with open_video(path) as reader, pytest.raises(InputError, match="not the same input"):
            reader.skip_to(17)


def test_unknown_sound_mode():
    with pytest.raises(UsageError, match="none, copy or opus"):
        open_video("a.mkv", audio="mp3")


def test_batches_continue_and_check(tmp_path):
    batch = moving_texture(16, 16, 7)
    path = write_test_video(tmp_path / "a.mkv", batch, clip_info(batch))
    with open_video(path) as reader:
        assert reader.duration == Fraction(7, 25)
        assert len(next(reader.batches(2))) == 2
        assert [len(b) for b in reader.batches(3)] == [3, 2]
        with pytest.raises(UsageError, match="at least one frame"):
            next(reader.batches(0))


@pytest.mark.skipif("GANCODEC_DATA" not in os.environ, reason="GANCODEC_DATA names no folder")
def test_every_clip_of_a_collection():
    kinds = {".mkv", ".mp4", ".webm", ".mov", ".y4m", ".avi"}
    paths = sorted(
        p for p in Path(os.environ["GANCODEC_DATA"]).rglob("*") if p.suffix.lower() in kinds
    )
    assert paths
    for path in paths:
        with open_video(path) as reader:
            last = -1
            for batch in reader.batches(16):
                assert (np.diff(batch.pts) > 0).all()
                assert batch.pts[0] > last
                last = int(batch.pts[-1])
