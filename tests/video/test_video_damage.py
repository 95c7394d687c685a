"""Damaged files are read as far as they are sound; what is no video gets one sentence."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from gancodec.errors import InputError, LimitError
from gancodec.types import FrameBatch, VideoInfo
from gancodec.video.demux import Demuxer
from gancodec.video.notices import Notices
from gancodec.video.reader import open_video
from gancodec.video.synth import (
    clip_info,
    moving_texture,
    still,
    tone,
    write_test_video,
)


class TestDamage:
    def test_repeated_times_move_by_a_tick(self, tmp_path, read, with_pts):
        batch = with_pts(moving_texture(32, 32, 4), [0, 40, 40, 80])
        info = VideoInfo(32, 32, Fraction(25), Fraction(1, 1000))
        clip = read(write_test_video(tmp_path / "a.mkv", batch, info))
        assert clip.frames.pts.tolist() == [0, 40, 41, 80]
        assert clip.notices == [
            "1 frames repeated the time of the one before and were moved by one tick"
        ]

    def test_joined_recordings_go_on(self, tmp_path, read):
        """Two transport streams glued together: the clock starts over in the middle."""
        batch = moving_texture(32, 32, 50)
        part = tmp_path / "part.ts"
        write_test_video(
            part, batch, clip_info(batch), [tone(2.0)], codec="mpeg2video", format="mpegts"
        )
        path = tmp_path / "whole.ts"
        path.write_bytes(part.read_bytes() * 2)
        clip = read(path)
        assert len(clip.frames) in (99, 100)
        assert clip.notices == ["times started over 1 times and were joined"]
        steps = set(np.diff(clip.frames.pts).tolist())
        assert steps == {3600}
        with open_video(path, audio="copy") as reader:
            assert reader.audio is not None
            times = [c.time for c in reader.audio.until(None) if c.time is not None]
            assert times == sorted(times)
            assert 2 < times[-1] < 4.2
            reader.skip_to(int(clip.frames.pts[80]))
            rest = FrameBatch.concatenate(list(reader.batches(50)))
        np.testing.assert_array_equal(rest.pts, clip.frames.pts[80:])

    def test_damaged_pictures_are_skipped(self, tmp_path, read):
        batch = moving_texture(64, 64, 20)
        path = write_test_video(
            tmp_path / "a.mov", batch, clip_info(batch), codec="png", pix_fmt="rgb24"
        )
        data = bytearray(path.read_bytes())
        at = -1
        for _ in range(5):  # the fifth picture
            at = data.index(b"\x89PNG", at + 1)
        data[at : at + 40] = bytes(40)
        path.write_bytes(data)
        clip = read(path)
        assert len(clip.frames) == 19
        assert "1 damaged pictures of the input were skipped" in clip.notices

    def test_a_torn_page_is_skipped(self, tmp_path, read):
        batch = moving_texture(64, 64, 50)
        path = write_test_video(
            tmp_path / "a.mkv", batch, clip_info(batch), options={"g": "5"}, codec="libx264"
        )
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 200] = bytes(200)
        path.write_bytes(data)
        clip = read(path)
        assert 25 < len(clip.frames) <= 50

    @pytest.mark.parametrize(("failures", "read_on"), [(3, True), (1000, False)])
    def test_the_demuxer_is_asked_again(self, tmp_path, failures, read_on):
        batch = moving_texture(16, 16, 5)
        path = write_test_video(tmp_path / "a.mkv", batch, clip_info(batch))
        notices = Notices()
        demuxer = Demuxer(path, "a.mkv", notices)
        container, left = demuxer.container, [failures]

        class Damaged:
            streams = container.streams

            def demux(self, *streams):
                if left[0]:
                    left[0] -= 1
                    raise av.error.InvalidDataError(1, "Invalid data", "a.mkv")
                yield from container.demux(*streams)

        demuxer.container = Damaged()
        stream = demuxer.video_stream()
        demuxer.want([stream])
        if read_on:
            assert sum(p.size > 0 for p in demuxer.packets(stream)) == 5
            assert notices.sentences() == ["3 damaged places of the input were skipped"]
        else:
            with pytest.raises(InputError, match=r"a\.mkv breaks off in the middle"):
                list(demuxer.packets(stream))
        container.close()

    def test_nothing_but_damage(self, tmp_path):
        batch = moving_texture(16, 16, 120)
        path = write_test_video(
            tmp_path / "a.mov", batch, clip_info(batch), codec="png", pix_fmt="rgb24"
        )
        path.write_bytes(path.read_bytes().replace(b"\x89PNG", b"\0\0\0\0"))
        with pytest.raises(InputError, match=r"damaged pictures in a row|no frame that can be"):
            open_video(path)

    def test_size_change_in_the_middle(self, tmp_path, read, with_pts):
        path = tmp_path / "a.ts"
        parts = []
        for n, size in enumerate([(64, 48), (32, 32)]):
            batch = moving_texture(*size, 5)
            batch = with_pts(batch, [n * 5 + k for k in range(5)])
            part = tmp_path / f"{n}.ts"
            write_test_video(part, batch, clip_info(batch), codec="mpeg2video", format="mpegts")
            parts.append(part.read_bytes())
        path.write_bytes(b"".join(parts))
        clip = read(path)
        assert clip.frames.y.shape[1:] == (48, 64)
        assert any("frames of another size were scaled" in n for n in clip.notices)


class TestErrors:
    """One sentence that names the file and the remedy; nothing of libav's."""

    def expect(self, source, pattern, **options):
        with pytest.raises(InputError, match=pattern) as caught:
            open_video(source, **options)
        assert "\n" not in str(caught.value)
        assert "Errno" not in str(caught.value)

    def test_missing(self, tmp_path):
        self.expect(tmp_path / "no.mp4", r"no\.mp4 does not exist: check the path")

    def test_text(self, tmp_path):
        path = tmp_path / "notes.txt"
        path.write_text("hello\n" * 100)
        self.expect(path, r"notes\.txt is text, not a video")
        other = path.rename(tmp_path / "notes.mp4")
        self.expect(other, r"notes\.mp4 is not a video FFmpeg can read")

    def test_empty(self, tmp_path):
        path = tmp_path / "a.mp4"
        path.touch()
        self.expect(path, "is empty")

    def test_cut_short(self, tmp_path):
        batch = moving_texture(64, 64, 10)
        path = write_test_video(tmp_path / "a.mp4", batch, clip_info(batch), codec="libx264")
        path.write_bytes(path.read_bytes()[:2000])  # the index is at the end
        self.expect(path, "check that the file is complete")

    def test_sound_only(self, tmp_path):
        path = tmp_path / "a.wav"
        with av.open(str(path), "w") as output:
            stream = output.add_stream("pcm_s16le", rate=8000)
            frame = av.AudioFrame(format="s16", layout="stereo", samples=800)
            frame.sample_rate = 8000
            output.mux(stream.encode(frame))
        self.expect(path, "no picture track: a video is needed")

    def test_folder_without_pictures(self, tmp_path):
        (tmp_path / "notes.txt").write_text("x")
        self.expect(tmp_path, "folder without pictures: put png")

    def test_pattern_without_pictures(self, tmp_path):
        self.expect(tmp_path / "f_%04d.png", "no file has the form")

    def test_empty_pipe(self):
        self.expect(io.BytesIO(b""), "the stream is not a video")

    def test_playlist_must_not_reach_the_network(self, tmp_path):
        path = tmp_path / "a.m3u8"
        path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
        self.expect(path, "a.m3u8")

    def test_limits(self, tmp_path):
        batch = still(64, 32, 1)
        path = write_test_video(tmp_path / "a.mkv", batch, clip_info(batch))
        for options in ({"max_side": 63}, {"max_pixels": 2047}):
            with pytest.raises(LimitError, match="64x32 pictures"):
                open_video(path, **options)

    def test_a_name_with_a_colon_is_a_file(self, tmp_path, read):
        batch = still(16, 16, 2)
        path = write_test_video(tmp_path / "a.mkv", batch, clip_info(batch))
        assert len(read(path.rename(tmp_path / "http:b.mkv")).frames) == 2
