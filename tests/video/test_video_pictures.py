"""Folders, patterns and single pictures in."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gancodec.errors import InputError
from gancodec.video.pictures import find_pictures, natural_key
from gancodec.video.reader import open_video

RED, GREY = (200, 40, 40), (128, 128, 128)


def picture(path: Path, rgb=GREY, size=(32, 24), codec="png") -> Path:
    pixels = np.broadcast_to(np.array(rgb, np.uint8), (size[1], size[0], 3)).copy()
    frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
    context = av.CodecContext.create(codec, "w")
    context.width, context.height = size
    context.time_base = Fraction(1, 25)
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
    frame = frame.reformat(format=context.pix_fmt, dst_color_range=2)
    frame.pts = 0
    packets = [*context.encode(frame), *context.encode(None)]
    path.write_bytes(b"".join(bytes(p) for p in packets))
    return path


def test_natural_order():
    names = ["f10.png", "f2.png", "F1.png", "a.png", "f2b.png", "f02.png"]
    ordered = sorted(names, key=natural_key)
    assert ordered[0] == "a.png"
    assert ordered[-1] == "f10.png"
    assert ordered[1] == "F1.png"


class TestSources:
    def test_folder(self, tmp_path, read):
        for n, level in ((1, 50), (2, 100), (10, 200)):
            picture(tmp_path / f"f{n}.png", (level,) * 3)
        (tmp_path / "notes.txt").write_text("not a picture")
        (tmp_path / ".hidden.png").write_text("nor is this")
        clip = read(tmp_path)
        assert [int(y[0, 0]) for y in clip.frames.y] == [59, 102, 188]
        assert clip.info.fps == 25
        assert clip.info.frames == 3
        assert clip.frames.pts.tolist() == [0, 1, 2]
        assert clip.notices == ["RGB was converted to BT.709 limited range 4:2:0"]

    def test_pattern_and_rate(self, tmp_path, read):
        for n in (8, 9, 10, 11):
            picture(tmp_path / f"f_{n:04d}.png", (n * 10,) * 3)
        picture(tmp_path / "f_1.png")  # too few digits for the pattern
        clip = read(tmp_path / "f_%04d.png", fps="30000/1001")
        assert len(clip.frames) == 4
        assert (np.diff(clip.frames.y[:, 0, 0].astype(int)) > 0).all()
        assert clip.info.fps == Fraction(30000, 1001)
        assert clip.info.time_base == Fraction(1001, 30000)

    def test_one_picture(self, tmp_path, read):
        clip = read(picture(tmp_path / "a.png", size=(31, 17)))
        assert clip.frames.y.shape == (1, 17, 31)

    def test_jpeg_keeps_its_planes(self, tmp_path, read):
        clip = read(picture(tmp_path / "a.jpg", RED, codec="mjpeg"))
        assert clip.info.color.full_range
        assert clip.info.color.matrix in (5, 6)
        assert clip.notices == []

    def test_sizes_follow_the_first(self, tmp_path, read):
        picture(tmp_path / "1.png", size=(32, 24))
        picture(tmp_path / "2.png", size=(64, 64))
        picture(tmp_path / "3.png", size=(16, 10))
        clip = read(tmp_path)
        assert clip.frames.y.shape == (3, 24, 32)
        assert "2 frames of another size were scaled to that of the first" in clip.notices

    def test_cut_scale_and_skip(self, tmp_path):
        for n in range(10):
            picture(tmp_path / f"{n}.png", (n * 20,) * 3)
        with open_video(tmp_path, start="0.08", duration=0.2, scale=(16, -1)) as reader:
            (batch,) = reader.batches(99)
            assert batch.y.shape == (5, 12, 16)
            reader.skip_to(3)
            assert next(reader.batches(1)).pts.tolist() == [3]


class TestErrors:
    def test_damaged_picture(self, tmp_path):
        picture(tmp_path / "1.png")
        (tmp_path / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
        with open_video(tmp_path) as reader, pytest.raises(InputError, match=r"2\.png"):
            list(reader.batches(4))

    def test_text_called_png(self, tmp_path):
        (tmp_path / "a.png").write_text("hello")
        with pytest.raises(InputError, match=r"a\.png"):
            open_video(tmp_path / "a.png")

    def test_a_percent_sign_in_a_name_is_no_pattern(self, tmp_path, read):
        assert len(read(picture(tmp_path / "100%d.png")).frames) == 1

    def test_a_video_is_no_picture(self, tmp_path):
        (tmp_path / "a.mkv").write_bytes(b"x")
        assert find_pictures(tmp_path / "a.mkv") is None
