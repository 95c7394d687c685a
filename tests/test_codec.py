"""The main path: frames to packets and back, on the packaged weights and on small fresh nets."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
import torch

from gancodec.codec import BEST_STEP, Decoder, Encoder
from gancodec.config import EncodeOptions
from gancodec.errors import BitstreamError, CorruptError, UsageError
from gancodec.models.compress import intra_boost, level_of_step
from gancodec.registry import Model, load_model
from gancodec.types import FrameBatch, FrameType, Packet, VideoInfo


@pytest.fixture(scope="module")
def trained() -> Model:
    return load_model("base.v1")


def info_of(width: int, height: int) -> VideoInfo:
    return VideoInfo(width, height, Fraction(25), Fraction(1, 25))


def clip(width: int, height: int, frames: int, seed: int = 0) -> FrameBatch:
    """A textured picture that pans, one luma sample a frame."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(40, 215, (height // 4 + 2, (width + frames) // 4 + 2)).astype(np.uint8)
    wide = wide.repeat(4, 0).repeat(4, 1)
    y = np.stack([wide[:height, t : t + width] for t in range(frames)])
    shape = (frames, (height + 1) // 2, (width + 1) // 2)
    u = np.full(shape, 110, np.uint8)
    return FrameBatch(y, u, u + 40, np.arange(frames, dtype=np.int64))


def encode(model: Model, batch: FrameBatch, **options: object) -> list[Packet]:
    info = info_of(batch.y.shape[2], batch.y.shape[1])
    encoder = Encoder(info, EncodeOptions(**options), model=model)  # type: ignore[arg-type]
    return [*encoder.encode(batch), *encoder.flush()]


def decode(model: Model, packets: list[Packet], info: VideoInfo, realism: float = 0) -> FrameBatch:
    decoder = Decoder(info, model, realism=realism)
    frames = []
    for p in packets:
        frames.append(decoder.decode(p.kind, p.pts, p.data))
        assert decoder.symbol_hash == p.symbol_hash
    return FrameBatch.concatenate(frames)


def psnr(a: FrameBatch, b: FrameBatch) -> float:
    return float(-10 * np.log10(np.mean((a.y.astype(float) - b.y) ** 2) / 255**2))


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (16, 16), (65, 47), (130, 24), (854, 480)])
def test_any_size_round_trips(small: Model, size: tuple[int, int]) -> None:
    batch = clip(*size, 3)
    packets = encode(small, batch, gop=3, scene_cuts=False)
    out = decode(small, packets, info_of(*size))
    assert out.y.shape == batch.y.shape
    assert out.u.shape == batch.u.shape
    assert np.array_equal(out.pts, batch.pts)
    assert [p.kind for p in packets] == [FrameType.INTRA, FrameType.INTER, FrameType.INTER]


def test_encoder_and_decoder_see_the_same_pictures(small: Model) -> None:
    batch = clip(48, 32, 4)
    encoder = Encoder(info_of(48, 32), EncodeOptions(scene_cuts=False), model=small)
    decoder = Decoder(info_of(48, 32), small, realism=0)
    for k in range(4):
        (packet,) = encoder.encode(batch[k : k + 1])
        shown = decoder.decode(packet.kind, packet.pts, packet.data)
        assert encoder._loop.reference is not None
        reference = (encoder._loop.reference.y[0, 0, :32, :48] * 255).round().numpy()
        assert np.array_equal(shown.y[0], reference)


def test_the_trained_codec_compresses(trained: Model) -> None:
    """A panning texture: small inter frames, a picture close to the source."""
    batch = clip(128, 96, 6)
    packets = encode(trained, batch, quality=40)
    sizes = [len(p.data) for p in packets]
    assert max(sizes[1:]) < 0.25 * sizes[0]
    out = decode(trained, packets, info_of(128, 96))
    assert psnr(out, batch) > 28  # blocks of 4x4 random samples: nothing that nature shows


def test_quality_is_monotone(trained: Model) -> None:
    """Bytes and fidelity rise with the quality, over the whole range."""
    batch = clip(112, 80, 3, seed=4)
    sizes, fidelity = [], []
    for quality in range(0, 64, 7):
        packets = encode(trained, batch, quality=quality)
        sizes.append(sum(len(p.data) for p in packets))
        fidelity.append(psnr(decode(trained, packets, info_of(112, 80)), batch))
    assert sizes == sorted(sizes)
    assert fidelity == sorted(fidelity)
    assert sizes[-1] > 3 * sizes[0]


def test_scene_cut_opens_a_gop(small: Model) -> None:
    a, b = clip(64, 48, 3, seed=1), clip(64, 48, 3, seed=2)
    dark = FrameBatch((b.y // 8).astype(np.uint8), b.u, b.v, b.pts + 3)
    batch = FrameBatch.concatenate([a, dark])
    kinds = [int(p.kind) for p in encode(small, batch)]
    assert kinds == [0, 1, 1, 0, 1, 1]
    kinds = [int(p.kind) for p in encode(small, batch, scene_cuts=False, gop=4)]
    assert kinds == [0, 1, 1, 1, 0, 1]


def test_a_gop_decodes_alone(small: Model) -> None:
    packets = encode(small, clip(48, 48, 6), gop=3, scene_cuts=False)
    whole = decode(small, packets, info_of(48, 48))
    tail = decode(small, packets[3:], info_of(48, 48))
    assert np.array_equal(whole.y[3:], tail.y)


def test_qualities_between_two_levels_alternate(small: Model) -> None:
    level = 63 / float(level_of_step(small.nets.config, BEST_STEP))  # in units of quality

    def levels(wanted: float) -> list[int]:
        packets = encode(small, clip(32, 32, 16), quality=wanted * level, gop=16)
        return [p.quality for p in packets]

    lower, upper, between = levels(20), levels(21), levels(20.5)
    assert [q - 20 for q in lower[:5]] == [intra_boost(small.nets.config), 0, -1, 1, -1]
    assert {a - b for a, b in zip(upper, lower, strict=True)} == {1}
    extra = [a - b for a, b in zip(between, lower, strict=True)]
    assert set(extra) == {0, 1}
    assert sum(extra) == 8


def test_pictures_on_their_own_have_all_levels(small: Model) -> None:
    for quality in (0, 17, 63):
        packets = encode(small, clip(32, 32, 2), quality=quality, gop=1)
        assert [p.quality for p in packets] == [quality, quality]


@contextmanager
def backend(threads: int, onednn: bool) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of TF32 on builds without it
            with torch.backends.mkldnn.flags(enabled=onednn):
                yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("threads", "onednn"), [(1, False), (2, True), (2, False)])
def test_symbols_do_not_depend_on_the_backend(trained: Model, threads: int, onednn: bool) -> None:
    """Another float arithmetic on the decoding side: same symbols, pictures within one level."""
    batch = clip(80, 64, 4, seed=7)
    packets = encode(trained, batch, quality=35)
    here = decode(trained, packets, info_of(80, 64))
    with backend(threads, onednn):
        there = decode(trained, packets, info_of(80, 64))  # compares every symbol hash
    off = np.abs(here.y.astype(int) - there.y)
    assert off.max() <= 1
    assert (off > 0).mean() < 0.01


def test_realism_blends_smoothly(small: Model) -> None:
    batch = clip(48, 32, 2)
    packets = encode(small, batch)
    info = info_of(48, 32)
    zero, half, one = (decode(small, packets, info, r).y.astype(int) for r in (0, 0.5, 1))
    assert (one != zero).any()
    clipped = (one == 0) | (one == 255)
    assert (np.abs(half - (zero + one) / 2)[~clipped] <= 1).all()


def test_realism_never_touches_the_loop(small: Model) -> None:
    """The faithful pictures are the same whatever is shown in between."""
    packets = encode(small, clip(48, 32, 3), scene_cuts=False)
    info = info_of(48, 32)
    shown = Decoder(info, small, realism=1)
    plain = Decoder(info, small, realism=0)
    for p in packets:
        shown.decode(p.kind, p.pts, p.data)
        plain.decode(p.kind, p.pts, p.data)
    assert shown._loop.reference is not None
    assert plain._loop.reference is not None
    assert torch.equal(shown._loop.reference.y, plain._loop.reference.y)


def test_damaged_frames_raise_only_our_errors(small: Model) -> None:
    """Any bytes: a wrong picture or one of our errors, never another exception."""
    packets = encode(small, clip(48, 32, 2), scene_cuts=False)
    rng = np.random.default_rng(0)
    info = info_of(48, 32)
    for trial in range(150):
        decoder = Decoder(info, small, realism=0)
        for p in packets:
            data = bytearray(p.data)
            if trial % 3 == 0:
                data = data[: rng.integers(len(data) + 1)]
            elif trial % 3 == 1:
                data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            else:
                data[1:] = rng.integers(0, 256, len(data) - 1).astype(np.uint8).tobytes()
            try:
                decoder.decode(p.kind, p.pts, bytes(data))
            except BitstreamError:
                break


def test_inter_before_intra_is_damage(small: Model) -> None:
    packets = encode(small, clip(48, 32, 2), scene_cuts=False)
    with pytest.raises(CorruptError, match="before any intra"):
        Decoder(info_of(48, 32), small).decode(FrameType.INTER, 0, packets[1].data)


def test_frames_of_another_size_are_refused(small: Model) -> None:
    encoder = Encoder(info_of(48, 32), model=small)
    with pytest.raises(UsageError, match="scale them"):
        next(encoder.encode(clip(32, 32, 1)))


def test_options_are_checked() -> None:
    for bad in ({"quality": 64}, {"quality": -1}, {"gop": 0}, {"gop": 2000}, {"preset": "best"}):
        with pytest.raises(UsageError):
            EncodeOptions(**bad)  # type: ignore[arg-type]
