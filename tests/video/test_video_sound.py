"""Sound: bit-exact copies through Matroska clusters, the same bytes every time, and back."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gancodec.errors import CorruptError, InputError
from gancodec.types import VideoInfo
from gancodec.video.audio import AudioChunk
from gancodec.video.matroska import (
    EMPTY_CLUSTER,
    codec_delay_ns,
    split_clusters,
    with_codec_delay,
)
from gancodec.video.reader import open_video
from gancodec.video.sound import SoundTrack, packets_from_matroska
from gancodec.video.synth import clip_info, moving_texture, tone, write_test_video

# container, codec, sample rate; the containers hold these codecs as FFmpeg writes them
SOURCES = [
    ("mp4", "aac", 48000),
    ("mp4", "aac", 44100),
    ("mkv", "aac", 48000),
    ("mp4", "libmp3lame", 44100),
    ("mkv", "libopus", 48000),
    ("mp4", "libopus", 48000),
    ("mkv", "flac", 44100),
    ("mp4", "flac", 48000),
    ("mov", "pcm_s16le", 48000),
    ("mov", "pcm_s16be", 44100),
    ("mov", "pcm_s24le", 48000),
    ("mp4", "ac3", 48000),
    ("mp4", "alac", 44100),
]


def make(
    folder: Path,
    suffix: str = "mp4",
    codec: str = "aac",
    rate: int = 48000,
    tracks: int = 1,
    seconds: float = 5.3,
    name: str = "in",
) -> Path:
    batch = moving_texture(16, 16, 25)
    info = VideoInfo(16, 16, Fraction(5), Fraction(1, 5))
    sounds = [tone(seconds, rate, hertz=440 + 100 * n) for n in range(tracks)]
    return write_test_video(
        folder / f"{name}.{suffix}", batch, info, sounds,
        codec="mpeg4", audio_codec=codec, audio_rate=rate,
    )  # fmt: skip


def chunks_of(source, mode="copy", **options) -> list[AudioChunk]:
    with open_video(source, audio=mode, **options) as reader:
        assert reader.audio is not None
        return list(reader.audio)


def back(chunks: list[AudioChunk], track: int = 0) -> list[tuple[Fraction, str]]:
    header = next(c.data for c in chunks if c.track == track and c.time is None)
    clusters = [c.data for c in chunks if c.track == track and c.time is not None]
    return [
        (p.pts * p.time_base, hashlib.md5(bytes(p)).hexdigest())
        for p in packets_from_matroska(header, clusters)
    ]


@pytest.mark.parametrize(("suffix", "codec", "rate"), SOURCES)
def test_copies_are_bit_exact_and_times_exact_to_the_sample(
    tmp_path, sound_of, suffix, codec, rate
):
    path = make(tmp_path, suffix, codec, rate)
    expected = sound_of(path)
    chunks = chunks_of(path)
    got = back(chunks)
    assert [h for _, h in got] == [h for _, h in expected]
    tolerance = Fraction(1, 1000) if suffix == "mkv" else 0  # there the source has milliseconds
    for (time, _), (wanted, _) in zip(got, expected, strict=True):
        assert abs(time - wanted) <= tolerance
    times = [c.time for c in chunks if c.time is not None]
    assert times == sorted(times)
    assert len(times) >= 3
    assert times[0] == pytest.approx(float(expected[0][0]), abs=0.001)
    assert chunks_of(path) == chunks


def test_sound_that_starts_later_stays_later(tmp_path, sound_of):
    batch = moving_texture(16, 16, 25)
    path = write_test_video(
        tmp_path / "a.mkv", batch, clip_info(batch), [tone(1)], audio_codec="flac",
        audio_start=Fraction(1, 2),
    )  # fmt: skip
    assert back(chunks_of(path))[0][0] == Fraction(1, 2)
    assert back(chunks_of(path)) == sound_of(path)


def test_priming_is_told_by_the_codec_delay(tmp_path):
    chunks = chunks_of(make(tmp_path))
    assert codec_delay_ns(chunks[0].data) == round(1024 * 10**9 / 48000)
    with av.open(io.BytesIO(chunks[0].data + chunks[1].data), format="matroska") as container:
        packet = next(container.demux())
        assert packet.pts == -21
        assert packet.has_sidedata("skip_samples")  # so players leave the priming out


def test_any_order_of_pulling_gives_the_same(tmp_path):
    path = make(tmp_path, "mkv", tracks=3)
    whole = chunks_of(path)
    rng = random.Random(7)
    for _ in range(3):
        pulled = []
        with open_video(path, audio="copy") as reader:
            sound = reader.audio
            assert sound is not None
            pulled += sound.headers
            frames = reader.batches(2)
            time = Fraction(0)
            while time < 6:
                if rng.random() < 0.5:
                    next(frames, None)
                time += Fraction(rng.randrange(0, 1500), 1000)
                new = list(sound.until(time))
                assert all(c.time < time for c in new)
                pulled += new
            pulled += sound.until(None)
        assert pulled == whole


def test_clusters_interleave_by_time(tmp_path):
    path = make(tmp_path, "mkv", tracks=2)
    with open_video(path, audio="copy") as reader:
        sound = reader.audio
        assert sound is not None
        assert [c.track for c in sound.headers] == [0, 1]
        first = list(sound.until(Fraction(1, 10)))
        assert [c.track for c in first] == [0, 1]
        assert all(abs(c.time + Fraction(1024, 48000)) < Fraction(1, 1000) for c in first)
        starts = [c.time for c in sound.until(None)]
        assert starts == sorted(starts)


def test_two_tracks_keep_their_names(tmp_path, sound_of):
    path = make(tmp_path, "mkv", tracks=2)
    chunks = chunks_of(path)
    assert back(chunks, 0) != back(chunks, 1)
    for track in (0, 1):
        assert [h for _, h in back(chunks, track)] == [h for _, h in sound_of(path, track)]


def test_language_and_title_are_kept(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        video = output.add_stream("ffv1", rate=25, width=16, height=16, pix_fmt="yuv420p")
        sound = output.add_stream("flac", rate=8000)
        sound.metadata.update({"language": "deu", "title": "Kommentar"})
        frame = av.VideoFrame(16, 16)
        output.mux(video.encode(frame))
        output.mux(video.encode(None))
        piece = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "stereo")
        piece.sample_rate, piece.pts, piece.time_base = 8000, 0, Fraction(1, 8000)
        output.mux(sound.encode(piece))
        output.mux(sound.encode(None))
    track = SoundTrack(chunks_of(path)[0].data)
    assert track.stream.metadata["language"] == "deu"
    assert track.stream.metadata["title"] == "Kommentar"
    track.close()


def test_from_any_cluster_on(tmp_path):
    chunks = chunks_of(make(tmp_path))
    whole = back(chunks)
    for k in range(1, len(chunks)):
        tail = back([chunks[0], *chunks[k:]])
        assert [h for _, h in tail] == [h for _, h in whole[-len(tail) :]]
        # in the middle of a stream the start is known to the millisecond
        assert abs(tail[0][0] - whole[-len(tail)][0]) <= Fraction(1, 1000)


def test_adts_of_broadcast_streams(tmp_path, sound_of):
    path = tmp_path / "a.ts"
    batch = moving_texture(16, 16, 25)
    write_test_video(
        path, batch, clip_info(batch), [tone(1.0)], codec="mpeg2video", format="mpegts"
    )
    chunks = chunks_of(path)
    packets = list(packets_from_matroska(chunks[0].data, [c.data for c in chunks[1:]]))
    with av.open(str(path)) as container:
        raw = [bytes(p) for p in container.demux(audio=0) if p.size]
    assert [bytes(p) for p in packets] == [r[7:] for r in raw]  # less the ADTS head
    first = next(p.pts * p.time_base for p in packets)
    with open_video(path) as reader:
        pictures = [int(t) * reader.info.time_base for b in reader.batches(9) for t in b.pts]
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        distance = audio.start_time * audio.time_base - video.start_time * video.time_base
    assert abs((first - pictures[0]) - distance) <= Fraction(1, 1000)


class TestCuts:
    def test_start_and_duration(self, tmp_path, sound_of):
        path = make(tmp_path, "mp4", "aac")
        everything = sound_of(path)
        got = back(chunks_of(path, start=2, duration="1.5"))
        expected = [(time - 2, h) for time, h in everything if 2 <= time < Fraction(7, 2)]
        assert [h for _, h in got] == [h for _, h in expected]
        assert abs(got[0][0] - expected[0][0]) <= Fraction(1, 1000)
        assert 0 <= got[0][0] < Fraction(1, 40)

    def test_only_a_duration(self, tmp_path, sound_of):
        path = make(tmp_path, "mkv", "aac")
        got = back(chunks_of(path, duration=1))
        expected = [h for time, h in sound_of(path) if time < 1]
        assert [h for _, h in got] == expected

    def test_without_sound_in_the_span(self, tmp_path):
        batch = moving_texture(16, 16, 50)
        path = write_test_video(
            tmp_path / "a.mkv", batch, clip_info(batch), [tone(0.5)], audio_codec="flac"
        )
        chunks = chunks_of(path, start=1.5)
        assert [c.time for c in chunks] == [None]
        assert back(chunks) == []


class TestTranscoding:
    @pytest.mark.parametrize(("codec", "rate"), [("aac", 44100), ("flac", 48000)])
    def test_opus(self, tmp_path, codec, rate):
        path = make(tmp_path, "mp4", codec, rate)
        chunks = chunks_of(path, mode="opus")
        track = SoundTrack(chunks[0].data)
        assert (track.context.name, track.rate) == ("opus", 48000)
        track.close()
        stream = b"".join(c.data for c in chunks)
        assert len(stream) < 5.3 * 96_000 / 8 * 1.6  # a pure tone is costly
        with av.open(io.BytesIO(stream), format="matroska") as container:
            sound = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=-1)[0]
        reference = tone(5.3)[0]
        length = min(len(sound), len(reference)) - 4800
        assert abs(len(sound) - len(reference)) < 4800
        assert np.corrcoef(sound[:length], reference[:length])[0, 1] > 0.99  # and in time
        assert chunks_of(path, mode="opus") == chunks

    def test_gaps_become_silence(self, tmp_path):
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as output:
            video = output.add_stream("ffv1", rate=25, width=16, height=16, pix_fmt="yuv420p")
            sound = output.add_stream("pcm_s16le", rate=8000)
            for n in range(50):
                frame = av.VideoFrame(16, 16)
                frame.pts = n
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
            loud = (np.repeat(tone(0.1, 8000, 1)[0], 2)[None] * 30000).astype(np.int16)
            for pts in (0, 800, 12000):
                piece = av.AudioFrame.from_ndarray(loud, "s16", "stereo")
                piece.sample_rate, piece.pts = 8000, pts
                piece.time_base = Fraction(1, 8000)
                output.mux(sound.encode(piece))
            output.mux(sound.encode(None))
        stream = b"".join(c.data for c in chunks_of(path, mode="opus"))
        with av.open(io.BytesIO(stream), format="matroska") as container:
            decoded = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=-1)
        level = np.abs(decoded[0])
        assert level[48000 * 3 // 10 : 48000 * 14 // 10].max() < 0.01
        assert level[int(48000 * 1.52) : int(48000 * 1.58)].max() > 0.1

    def test_pcm_matroska_cannot_hold_stays_lossless(self, tmp_path):
        path = make(tmp_path, "mov", "pcm_s8", 48000, seconds=1.0)
        with open_video(path, audio="copy") as reader:
            assert reader.audio is not None
            chunks = list(reader.audio)
            assert reader.notices == ["pcm_s8 sound cannot be copied and was converted to flac"]
        with av.open(str(path)) as container:
            before = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=-1)
        stream = b"".join(c.data for c in chunks)
        with av.open(io.BytesIO(stream), format="matroska") as container:
            after = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=-1)
        signed = before.astype(np.int16) - 128  # decoded as u8
        np.testing.assert_array_equal(after, signed << 8)


class TestPipes:
    def test_the_same_bytes_as_from_a_file(self, tmp_path):
        path = make(tmp_path, "mkv", "aac")
        whole = chunks_of(path)

        class Unseekable(io.BytesIO):
            def seekable(self) -> bool:
                return False

        assert chunks_of(Unseekable(path.read_bytes())) == whole
        with open_video(Unseekable(path.read_bytes()), audio="copy") as reader:
            sound = reader.audio
            assert sound is not None
            pulled = sound.headers
            count = 0
            for batch in reader.batches(4):
                count += len(batch)
                pulled += sound.until(int(batch.pts[-1]) * reader.info.time_base)
            pulled += sound.until(None)
        assert pulled == whole
        assert count == 25


def test_at_most_eight_tracks(tmp_path):
    path = make(tmp_path, "mkv", tracks=9, seconds=1.0)
    with open_video(path, audio="copy") as reader:
        assert reader.audio is not None
        assert len(reader.audio.headers) == 8
        assert reader.notices == ["only the first 8 of 9 sound tracks are kept"]
    chunks = chunks_of(io.BytesIO(path.read_bytes()))
    assert {c.track for c in chunks} == set(range(8))


def test_damaged_sound_is_skipped(tmp_path):
    """Transport stream packets of the sound lost in the middle, as by a bad antenna."""
    path = tmp_path / "a.ts"
    batch = moving_texture(16, 16, 50)
    write_test_video(
        path, batch, clip_info(batch), [tone(2.0)], codec="mpeg2video", format="mpegts"
    )
    data = path.read_bytes()
    cells = [data[k : k + 188] for k in range(0, len(data), 188)]
    sound = [k for k, cell in enumerate(cells) if (cell[1] & 31) << 8 | cell[2] == 0x101]
    for k in sound[20:23]:
        cells[k] = cells[k][:20] + bytes(168)
    path.write_bytes(b"".join(cells))
    for mode in ("copy", "opus"):
        with open_video(path, audio=mode) as reader:
            assert reader.audio is not None
            assert len(list(reader.audio.until(None))) >= 1


def test_no_sound(tmp_path):
    batch = moving_texture(16, 16, 3)
    path = write_test_video(tmp_path / "a.mkv", batch, clip_info(batch))
    with open_video(path, audio="copy") as reader:
        assert reader.audio is None
    with open_video(make(tmp_path)) as reader:
        assert reader.audio is None  # not asked for


def test_unreadable_sound_names_the_remedy(tmp_path):
    path = make(tmp_path, "mkv", "libopus")
    path.write_bytes(path.read_bytes().replace(b"A_OPUS", b"A_OOPS"))
    with open_video(path, audio="copy") as reader, pytest.raises(InputError, match="--audio none"):
        _ = reader.audio


@pytest.fixture(scope="module")
def chunks(tmp_path_factory):
    return chunks_of(make(tmp_path_factory.mktemp("sound")))


class TestDamage:
    """Whatever the bytes are, the answer is packets or a CorruptError."""

    def test_cut_short(self, chunks):
        cluster = chunks[1].data
        for size in (1, 4, 5, 10, len(cluster) // 2, len(cluster) - 1):
            with pytest.raises(CorruptError):
                list(packets_from_matroska(chunks[0].data, [cluster[:size]]))

    def test_every_flipped_bit_in_a_cluster_is_noticed(self, chunks):
        cluster = bytearray(chunks[1].data)
        rng = random.Random(3)
        for _ in range(150):
            at, bit = rng.randrange(len(cluster)), 1 << rng.randrange(8)
            cluster[at] ^= bit
            with pytest.raises(CorruptError):
                split_clusters(bytes(cluster))
            cluster[at] ^= bit

    def test_garbage(self, chunks):
        rng = random.Random(5)
        for size in (0, 1, 8, 100, 1000):
            garbage = rng.randbytes(size)
            with pytest.raises(CorruptError):
                SoundTrack(garbage)
            if size:
                with pytest.raises(CorruptError):
                    list(packets_from_matroska(chunks[0].data, [garbage]))

    def test_damaged_headers(self, chunks):
        header = bytearray(chunks[0].data)
        rng = random.Random(11)
        for _ in range(100):
            at = rng.randrange(len(header))
            old = header[at]
            header[at] = rng.randrange(256)
            with contextlib.suppress(CorruptError):
                list(packets_from_matroska(bytes(header), [chunks[1].data]))
            header[at] = old

    def test_a_header_with_pictures_is_refused(self, tmp_path):
        batch = moving_texture(16, 16, 3)
        path = write_test_video(tmp_path / "a.mkv", batch, clip_info(batch))
        data = path.read_bytes()
        with pytest.raises(CorruptError):
            SoundTrack(data[: data.index(b"\x1fC\xb6u")])

    def test_an_empty_cluster_is_fine(self, chunks):
        assert list(packets_from_matroska(chunks[0].data, [EMPTY_CLUSTER])) == []


def test_the_delay_can_be_set_again(tmp_path):
    header = chunks_of(make(tmp_path))[0].data
    for delay in (0, 1, 10**9):
        changed = with_codec_delay(header, delay)
        assert codec_delay_ns(changed) == delay
        track = SoundTrack(changed)
        assert track.context.delay == round(delay * 48000 / 10**9)
        track.close()
