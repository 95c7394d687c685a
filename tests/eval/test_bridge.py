"""CompressAI's models as codecs: real bytes there and back, with weights that are made here."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gancodec.errors import InputError, ModelError, UsageError
from gancodec.eval.clips import Clip
from gancodec.eval.codecs import build_codec
from gancodec.eval.neural import CompressAiCodec, _strings, _varint
from gancodec.eval.published import to_compressai_json
from gancodec.eval.records import Record, Score
from gancodec.train.compressai_bridge import build_model, import_compressai
from gancodec.types import Color, FrameBatch
from gancodec.video.color import rgb_to_yuv420, yuv420_to_rgb
from gancodec.video.synth import clip_info, moving_texture

LOUD = 50  # times random weights of an analysis net: latents far from zero

# There are no wheels of it elsewhere (pyproject.toml); where there are, it must be here.
HAS_WHEELS = sys.platform != "win32" and sys.version_info < (3, 13)
needs_compressai = pytest.mark.skipif(
    not HAS_WHEELS and importlib.util.find_spec("compressai") is None,
    reason="compressai has no wheel for this platform",
)


def clip_of(width: int = 64, height: int = 64, frames: int = 3) -> Clip:
    batch = moving_texture(width, height, frames)
    return Clip("pan", clip_info(batch), batch)


def assert_equal(a: FrameBatch, b: FrameBatch) -> None:
    for one, other in zip((a.y, a.u, a.v, a.pts), (b.y, b.u, b.v, b.pts), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def weights(tmp_path: Path) -> Callable[[str, str], str]:
    """Write the weights of a model with random nets whose latents are far from zero."""

    def make(name: str, louder: str) -> str:
        model = build_model(name, 1)
        state = {k: v.contiguous() for k, v in model.state_dict().items()}
        for key in state:
            if louder in key and key.endswith("weight"):
                state[key] = LOUD * state[key]
        path = tmp_path / f"{name}-1.safetensors"
        save_file(state, path)
        return str(tmp_path / f"{name}-{{quality}}.safetensors")

    return make


@needs_compressai
def test_import_survives_a_torchvision_without_operators() -> None:
    assert import_compressai().__version__
    assert import_compressai() is sys.modules["compressai"]


@needs_compressai
def test_random_weights_code_a_video_but_score_nothing() -> None:
    state = torch.random.get_rng_state()
    codec = CompressAiCodec(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    clip = clip_of()
    data = codec.encode(clip)
    decoded = codec.decode(data)
    assert decoded.y.shape == clip.frames.y.shape
    assert_equal(CompressAiCodec(1).decode(data), decoded)
    assert not codec.scores_quality
    assert "speed only" in codec.versions["weights"]
    with pytest.raises(InputError, match="another model, quality or weights"):
        CompressAiCodec(1, seed=1).decode(data)


@needs_compressai
def test_video_decodes_to_what_the_nets_predict(weights: Callable[[str, str], str]) -> None:
    path = weights("ssf2020", "_encoder.6.")
    clip = clip_of(66, 50, 3)
    codec = CompressAiCodec(1, weights=path)
    assert codec.scores_quality
    data = codec.encode(clip)
    decoded = CompressAiCodec(1, weights=path).decode(data)
    assert (
        min(len(s) for s in _strings(data[18:])) > 100
    )  # of every latent: the test tests something
    model = build_model("ssf2020", 1, Path(path.replace("{quality}", "1")))
    frames = []
    for n in range(3):
        rgb = np.pad(
            yuv420_to_rgb(clip.frames[n : n + 1], Color())[0], ((0, 78), (0, 62), (0, 0)), "edge"
        )
        frames.append(torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255)
    with torch.inference_mode():
        expected = model(frames)["x_hat"]
    for n, picture in enumerate(expected):
        rgb = (picture[0, :, :50, :66].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        y, u, v = rgb_to_yuv420(np.ascontiguousarray(rgb)[None], Color())
        for ours, theirs in ((decoded.y, y), (decoded.u, u), (decoded.v, v)):
            assert np.abs(ours[n].astype(int) - theirs[0]).max() <= 1  # other order of sums
    intra = CompressAiCodec(1, weights=path, gop=1)
    alone = intra.decode(intra.encode(clip))
    last = codec.decode(codec.encode(Clip("last", clip.info, clip.frames[2:])))
    np.testing.assert_array_equal(alone.y[2], last.y[0])
    assert (alone.y[2] != decoded.y[2]).any()
    with pytest.raises(InputError, match="damaged"):
        codec.decode(data[:-1])
    with pytest.raises(InputError, match="too few for a header"):
        codec.decode(data[:8])


@needs_compressai
@pytest.mark.parametrize(
    ("name", "largest", "mean"),
    [
        ("bmshj2018-factorized", 1, 0.01),
        ("mbt2018-mean", 1, 0.01),
        # with an autoregressive prior, `forward` rounds other latents than `compress` does
        ("cheng2020-anchor", 255, 4),
    ],
)
def test_pictures_decode_to_what_the_nets_predict(
    name: str, largest: int, mean: float, weights: Callable[[str, str], str]
) -> None:
    path = weights(name, "g_a.6")
    clip = clip_of(64, 64, 2)
    data = CompressAiCodec(1, model=name, weights=path).encode(clip)
    decoded = CompressAiCodec(1, model=name, weights=path).decode(data)
    model = build_model(name, 1, Path(path.replace("{quality}", "1")))
    for n in range(2):
        rgb = torch.from_numpy(yuv420_to_rgb(clip.frames[n : n + 1], Color()))
        with torch.inference_mode():
            out = model(rgb.permute(0, 3, 1, 2) / 255)["x_hat"]
        picture = (out.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        y, _, _ = rgb_to_yuv420(picture, Color())
        off = np.abs(decoded.y[n].astype(int) - y[0])
        assert off.max() <= largest
        assert off.mean() < mean < decoded.y.std() / 4


@needs_compressai
def test_models_and_weights_that_do_not_fit(
    tmp_path: Path, weights: Callable[[str, str], str]
) -> None:
    with pytest.raises(UsageError, match=r"no model 'vtm'.*ssf2020"):
        build_codec("compressai", 1, {"model": "vtm"})
    for quality in (0, 10):
        with pytest.raises(UsageError, match="ssf2020: Invalid quality"):
            build_codec("compressai", quality)
    with pytest.raises(UsageError, match=r"whole number, got 1\.5"):
        build_codec("compressai", 1.5)
    with pytest.raises(UsageError, match="gop"):
        build_codec("compressai", 1, {"gop": 0})
    with pytest.raises(UsageError, match="threads is 1, or 0"):
        build_codec("compressai", 1, {"threads": 2})
    with pytest.raises(ModelError, match="cannot be read"):
        build_codec("compressai", 1, {"weights": str(tmp_path / "nothing")})
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(ModelError, match="cannot be read"):
        build_codec("compressai", 1, {"weights": str(tmp_path / "junk")})
    path = weights("bmshj2018-factorized", "g_a").replace("{quality}", "1")
    with pytest.raises(ModelError, match="are not those of mbt2018 at quality 1"):
        build_codec("compressai", 1, {"model": "mbt2018", "weights": path})


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compressai", None)
    with pytest.raises(UsageError, match=r"pip install gancodec\[compressai\]"):
        build_codec("compressai", 1)


@needs_compressai
def test_their_plots_read_our_export(tmp_path: Path) -> None:
    import_compressai()
    from compressai.utils.plot.__main__ import parse_json_file
    from compressai.utils.video.plot.__main__ import parse_json_file as parse_video_file

    record = Record(
        key="", codec="ours", kind="gvc", quality=20, settings={}, decode={}, clip="a", frames=1,
        bpp=0.5, kbps=300.0, scores={"psnr-y": Score(35.0, (35.0,)), "ms-ssim": Score(0.9, (0.9,))},
    )  # fmt: skip
    path = tmp_path / "ours.json"
    path.write_text(json.dumps(to_compressai_json([record], "ours")))
    assert parse_json_file(path, "psnr-y") == {"name": "ours", "xs": [0.5], "ys": [35.0]}
    assert parse_video_file(path, "psnr-y") == {"name": "ours", "xs": [300.0], "ys": [35.0]}
    assert parse_json_file(path, "ms-ssim-y")["ys"].tolist() == pytest.approx([10.0])


def test_lengths() -> None:
    assert [_varint(n) for n in (0, 127, 128, 300)] == [b"\0", b"\x7f", b"\x80\x01", b"\xac\x02"]
    strings = [b"", b"a", bytes(1000)]
    assert list(_strings(b"".join(_varint(len(s)) + s for s in strings))) == strings
    for damaged in (b"\x80", b"\x05abcd"):
        with pytest.raises(InputError, match="damaged"):
            list(_strings(damaged))
