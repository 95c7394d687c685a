"""Enhancers by name and frames through them: tiles, scenes, segments, strengths, and bad files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gancodec import enhancer as module
from gancodec.enhancer import Enhancement, Enhancer, list_enhancers, load_enhancer, tiles_of
from gancodec.errors import ModelError, UsageError
from gancodec.models.degradation import noise_level
from gancodec.models.restore import Restorer, RestorerConfig
from gancodec.scene import is_scene_cut
from gancodec.train.publish import write_enhancer
from gancodec.types import FrameBatch
from gancodec.video.synth import moving_texture, noisy_pan, scene_cut

SMALL: dict[str, Any] = {"widths": (6, 8, 10), "depths": (1, 0, 1, 0, 1)}
CONFIGS = {
    "sr2": RestorerConfig("sr", 2, memory=True, **SMALL),
    "sr4": RestorerConfig("sr", 4, memory=True, **SMALL),
    "denoise": RestorerConfig("denoise", frames=5, **SMALL),
    "deblur": RestorerConfig("deblur", frames=5, guesses=True, **SMALL),
    "detail": RestorerConfig("detail", frames=3, **SMALL),
}


def random_weights(config: RestorerConfig, seed: int) -> dict[str, Tensor]:
    """Of a net that changes pictures by some levels, and by others for each of its layers."""
    torch.manual_seed(seed)
    net = Restorer(config)
    for name, p in net.named_parameters():
        last = name.startswith(("leave.", "take.", "guess."))  # more of them saturates
        nn.init.normal_(p, std=0.04 if last else 0.2)
    return {name: p.detach() for name, p in net.named_parameters()}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder for each of `CONFIGS`."""
    made = {}
    for name, config in CONFIGS.items():
        folder = tmp_path_factory.mktemp(name)
        sets = {"faithful": random_weights(config, 1), "detailed": random_weights(config, 2)}
        write_enhancer(f"{name}.test", config, sets, folder, {"summary": "random"})
        made[name] = str(folder)
    return made


@pytest.fixture
def make(folders: dict[str, str]) -> Callable[..., Enhancer]:
    def make(name: str, **options: Any) -> Enhancer:
        config = CONFIGS[name]
        return Enhancer(Enhancement(config.task, config.scale, model=folders[name], **options))

    return make


def distance(a: FrameBatch, b: FrameBatch) -> int:
    """The most that a sample differs by."""
    pairs = ((a.y, b.y), (a.u, b.u), (a.v, b.v))
    return max(int(np.abs(x.astype(int) - y).max()) for x, y in pairs)


def same(a: FrameBatch, b: FrameBatch) -> bool:
    return a.y.shape == b.y.shape and distance(a, b) == 0


# ── Tiles ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CONFIGS)
def test_tiled_is_as_at_once(
    name: str, make: Callable[..., Enhancer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a seam: sums of floats may round otherwise, once in a while, and no more than that."""
    side = 128 // CONFIGS[name].scale
    batch = moving_texture(side + 40, side, 2, seed=1)
    whole = make(name).enhance(batch)
    counted: list[int] = []

    def count(*arguments: int) -> Any:
        found = list(tiles_of(*arguments))
        counted.append(len(found))
        return found

    monkeypatch.setattr(module, "TILE_SAMPLES", 48 * 48)
    monkeypatch.setattr(module, "tiles_of", count)
    tiled = make(name).enhance(batch)
    assert min(counted) >= 4
    assert distance(whole, tiled) <= 1
    assert np.mean(whole.y != tiled.y) < 0.001


def test_tiles_that_overlap_too_little_show(
    make: Callable[..., Enhancer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above would see it."""
    batch = moving_texture(168, 128, 1, seed=1)
    whole = make("detail").enhance(batch)
    monkeypatch.setattr(module, "TILE_SAMPLES", 48 * 48)
    monkeypatch.setattr(Restorer, "reach", 0)
    assert np.mean(whole.y != make("detail").enhance(batch).y) > 0.01


@given(
    st.integers(1, 40), st.integers(1, 40), st.sampled_from([256, 999, 5000, 1 << 20]),
    st.integers(0, 6),
)  # fmt: skip
def test_tiles_cover_all_once(rows: int, columns: int, samples: int, reach: int) -> None:
    height, width, reach = 16 * rows, 16 * columns, 16 * reach
    seen = np.zeros((height, width), int)
    for outer, inner in tiles_of(height, width, samples, reach):
        seen[inner] += 1
        for out, inside, side in zip(outer, inner, (height, width), strict=True):
            assert out.start == max(inside.start - reach, 0)
            assert out.stop == min(inside.stop + reach, side)
            assert inside.start % 16 == inside.stop % 16 == 0
        area = np.prod([s.stop - s.start for s in inner])
        assert area <= max(4 * samples, 16 * 16)  # about as many as were asked for
    assert (seen == 1).all()


# ── Time ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["sr2", "denoise", "detail"])
def test_scenes_do_not_see_each_other(name: str, make: Callable[..., Enhancer]) -> None:
    batch = scene_cut(80, 64, 6, seed=2)
    assert is_scene_cut(batch.y[2], batch.y[3])
    enhancer = make(name)
    out = enhancer.enhance(batch)
    assert same(out[:3], enhancer.enhance(batch[:3]))
    assert same(out[3:], enhancer.enhance(batch[3:]))
    scene = moving_texture(80, 64, 6, seed=2)  # in one scene they do
    assert not same(enhancer.enhance(scene)[3:4], enhancer.enhance(scene[3:])[:1])


@pytest.mark.parametrize("name", ["denoise", "deblur", "detail"])
def test_a_segment_is_a_part_of_the_whole(name: str, make: Callable[..., Enhancer]) -> None:
    batch = moving_texture(48, 32, 9, seed=4)
    enhancer = make(name)
    whole = enhancer.enhance(batch)
    assert same(enhancer.enhance(batch, first=3, count=2), whole[3:5])
    before, after = enhancer.before, enhancer.after
    assert before == after == CONFIGS[name].frames // 2
    part = batch[3 - before : 5 + after]
    seen = enhancer.enhance(part, first=before, count=2)
    assert same(seen, whole[3:5])
    assert seen.pts.tolist() == [3, 4]
    less = enhancer.enhance(part[1:], first=before - 1, count=2)
    assert not same(less, whole[3:5])  # all of the margin is needed
    assert same(enhancer.enhance(batch, first=7), whole[7:])


def test_memory_is_of_the_frame_before(make: Callable[..., Enhancer]) -> None:
    batch = moving_texture(48, 32, 4, seed=4)
    recurrent, alone = make("sr2"), make("sr2", recurrent=False)
    with_memory, without = recurrent.enhance(batch), alone.enhance(batch)
    assert same(with_memory[:1], without[:1])
    for n in range(1, 4):
        assert distance(with_memory[n : n + 1], without[n : n + 1]) > 1
    assert (recurrent.before, recurrent.after) == (module.WARM_UP, 0)
    assert (alone.before, alone.after) == (0, 0)
    for n in range(4):  # without memory, a frame is all there is to see
        assert same(alone.enhance(batch[n : n + 1]), without[n : n + 1])
    # the run before the first wanted frame counts, and gives no frames
    part = recurrent.enhance(batch, first=2, count=1)
    assert part.pts.tolist() == [2]
    assert same(part, with_memory[2:3])


def test_a_window_s_middle_is_the_frame_itself(make: Callable[..., Enhancer]) -> None:
    """Of frames that are all alike, each comes out the same; a lone frame, too."""
    picture = moving_texture(48, 32, 1, seed=4)
    repeated = FrameBatch.concatenate([picture] * 4)
    enhancer = make("denoise", sigma=10)
    out = enhancer.enhance(repeated)
    for n in range(1, 4):
        assert same(out[n : n + 1], out[:1])
    assert same(enhancer.enhance(picture), out[:1])


def test_time_is_mirrored_where_it_ends(make: Callable[..., Enhancer]) -> None:
    batch = moving_texture(48, 32, 3, seed=4)
    enhancer = make("denoise", sigma=10)
    out = enhancer.enhance(batch)
    for end, order in ((0, (2, 1, 0, 1, 2)), (2, (0, 1, 2, 1, 0))):
        there_and_back = FrameBatch.concatenate([batch[n : n + 1] for n in order])
        assert same(enhancer.enhance(there_and_back)[2:3], out[end : end + 1])


def test_no_frames_give_no_frames(make: Callable[..., Enhancer]) -> None:
    batch = moving_texture(35, 33, 2, seed=4)
    for enhancer, scale in ((make("sr2"), 2), (make("denoise"), 1)):
        for out in (enhancer.enhance(batch[:0]), enhancer.enhance(batch, first=1, count=0)):
            assert len(out) == 0
            assert out.y.shape == (0, 33 * scale, 35 * scale)
            assert out.u.shape == out.v.shape == (0, (33 * scale + 1) // 2, (35 * scale + 1) // 2)


# ── Sizes and levels ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("size", [(16, 16), (33, 17), (31, 50)])
def test_any_size_from_16_on(
    name: str, size: tuple[int, int], make: Callable[..., Enhancer]
) -> None:
    width, height = size
    scale = CONFIGS[name].scale
    batch = moving_texture(width, height, 2, seed=5)
    out = make(name).enhance(batch)
    assert out.y.shape == (2, height * scale, width * scale)
    shape = (2, (height * scale + 1) // 2, (width * scale + 1) // 2)
    assert out.u.shape == out.v.shape == shape
    assert out.pts.tolist() == [0, 1]
    difference = out.y[:, ::scale, ::scale].astype(int) - batch.y
    assert np.abs(difference).mean() < 60  # still the picture


def test_padding_is_not_seen_as_more_than_an_edge(make: Callable[..., Enhancer]) -> None:
    """A picture that ends inside a block is one whose edge goes on to the end of that block."""
    batch = moving_texture(48, 32, 3, seed=5)
    odd = FrameBatch(batch.y[:, :31, :33], batch.u[:, :16, :17], batch.v[:, :16, :17], batch.pts)
    wide = [
        np.pad(p, ((0, 0), (0, rows - p.shape[1]), (0, columns - p.shape[2])), "edge")
        for p, rows, columns in ((odd.y, 32, 48), (odd.u, 16, 24), (odd.v, 16, 24))
    ]
    enhancer = make("denoise", sigma=10)
    padded = enhancer.enhance(FrameBatch(wide[0], wide[1], wide[2], batch.pts))
    out = enhancer.enhance(odd)
    assert np.array_equal(out.y, padded.y[:, :31, :33])
    assert np.array_equal(out.u, padded.u[:, :16, :17])


@pytest.mark.parametrize("size", [(15, 64), (64, 15), (1, 1)])
def test_smaller_pictures_are_refused(size: tuple[int, int], make: Callable[..., Enhancer]) -> None:
    with pytest.raises(UsageError, match=rf"pictures of {size[0]}x{size[1]} are too small"):
        make("denoise").enhance(moving_texture(*size, 1))


def test_the_level_is_what_was_said_or_found(
    make: Callable[..., Enhancer], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    real = Restorer.forward

    def forward(self: Restorer, frames: Tensor, level: Tensor, *more: Tensor | None) -> Tensor:
        told.append(float(level))
        return real(self, frames, level, *more)

    monkeypatch.setattr(Restorer, "forward", forward)
    clean = moving_texture(64, 48, 3, seed=5)
    rng = np.random.default_rng(0)
    y = np.clip(np.round(clean.y + 20 * rng.standard_normal(clean.y.shape)), 0, 255)
    noisy = FrameBatch(y.astype(np.uint8), clean.u, clean.v, clean.pts)

    def levels(name: str, batch: FrameBatch, **options: Any) -> list[float]:
        told.clear()
        make(name, **options).enhance(batch)
        return list(told)

    expected = float(noise_level(torch.tensor(20.0)))
    assert levels("denoise", clean, sigma=20) == pytest.approx([expected] * 3)
    assert levels("denoise", noisy) == pytest.approx([expected] * 3, rel=0.08)
    assert max(levels("denoise", clean)) < 0.6 * expected
    assert levels("sr2", clean) == [63] * 3
    assert levels("sr2", clean, bits_per_pixel=1 / 64) == [8] * 3
    assert levels("detail", clean, bits_per_pixel=0) == [0] * 3
    soft = FrameBatch(clean.y.copy(), clean.u, clean.v, clean.pts)
    soft.y[1] = np.asarray(
        nn.functional.avg_pool2d(
            nn.functional.pad(torch.from_numpy(clean.y[1:2]).float(), (4,) * 4, "reflect"), 9, 1
        )
    ).astype(np.uint8)
    found = levels("deblur", soft)
    assert found[1] > found[0] + 5  # of every frame by itself


# ── Strengths ────────────────────────────────────────────────────────────────────────────────


def test_strength_leads_from_one_set_of_weights_to_the_other(
    folders: dict[str, str], make: Callable[..., Enhancer], tmp_path: Path
) -> None:
    config, batch = CONFIGS["detail"], noisy_pan(48, 32, 3, seed=6)
    ends = {}
    for kind, seed in (("faithful", 1), ("detailed", 2)):
        folder = tmp_path / kind  # an enhancer of one set: any strength is that
        write_enhancer(kind, config, {"faithful": random_weights(config, seed)}, folder, {})
        for strength in (0, 0.3, 1):
            one = Enhancement("detail", model=str(folder), strength=strength)
            ends[kind, strength] = Enhancer(one).enhance(batch)
        assert same(ends[kind, 0], ends[kind, 0.3])
        assert same(ends[kind, 0], ends[kind, 1])
    assert distance(ends["faithful", 0], ends["detailed", 0]) > 5
    assert same(make("detail", strength=0).enhance(batch), ends["faithful", 0])
    assert same(make("detail", strength=1).enhance(batch), ends["detailed", 0])
    between = make("detail", strength=0.5).enhance(batch)
    assert distance(between, ends["faithful", 0]) > 1
    assert distance(between, ends["detailed", 0]) > 1
    model = load_enhancer(folders["detail"])
    for name, p in model.net(0.25).named_parameters():
        mean = 0.75 * model.faithful[name] + 0.25 * model.detailed[name]
        assert torch.allclose(p, mean, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "strength"),
    [("sr2", 0.5), ("sr4", 0.5), ("denoise", 0), ("deblur", 0), ("detail", 1)],
)
def test_strength_of_a_task_unless_told(
    name: str, strength: float, make: Callable[..., Enhancer]
) -> None:
    batch = moving_texture(32, 32, 1, seed=6)
    assert same(make(name).enhance(batch), make(name, strength=strength).enhance(batch))
    assert not same(
        make(name).enhance(batch), make(name, strength=1 - round(strength)).enhance(batch)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "dream"}, "the task is one of sr, denoise, deblur, detail, got 'dream'"),
        ({"task": "sr"}, "2 or 4 times as large, not 1 times"),
        ({"task": "sr", "scale": 3}, "not 3 times"),
        ({"task": "denoise", "scale": 2}, "denoise keeps the size"),
        ({"task": "detail", "strength": 1.01}, "strength is 0 to 1, got 1.01"),
        ({"task": "detail", "strength": -0.5}, "strength is 0 to 1, got -0.5"),
        ({"task": "detail", "strength": float("nan")}, "strength is 0 to 1, got nan"),
        ({"task": "detail", "sigma": 5.0}, "sigma is for denoise"),
        ({"task": "denoise", "sigma": 61.0}, "sigma is 0 to 60 in 8-bit samples, got 61"),
        ({"task": "denoise", "sigma": -1.0}, "got -1"),
        ({"task": "denoise", "sigma": float("nan")}, "got nan"),
        ({"task": "sr", "scale": 2, "bits_per_pixel": -0.1}, "bits_per_pixel is 0 or more"),
        ({"task": "detail", "bits_per_pixel": float("nan")}, "got nan"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Enhancement(**options)


# ── Files ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An enhancer that a test may damage; its own path, as what was loaded is remembered."""
    config = CONFIGS["detail"]
    sets = {"faithful": random_weights(config, 1), "detailed": random_weights(config, 2)}
    write_enhancer("mine.v1", config, sets, tmp_path / "mine", {"licence": "CC0-1.0"})
    return tmp_path / "mine"


def rewrite(
    folder: Path,
    change: Callable[[dict[str, Tensor], dict[str, str]], None],
) -> None:
    """Write a changed file that the manifest agrees with."""
    path = folder / "mine.v1.safetensors"
    tensors = load_file(path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    meta = json.loads(data[8 : 8 + length])["__metadata__"]
    change(tensors, meta)
    save_file(tensors, path, meta)
    list_again(folder)


def list_again(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / "mine.v1.safetensors").read_bytes()
    manifest["mine.v1"]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_what_is_written_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By folder and, where the environment names it, by name; halves of what was in floats."""
    monkeypatch.setenv("GANCODEC_ENHANCERS", "")
    with pytest.raises(ModelError, match=r"there is no enhancer 'mine\.v1'; there are: "):
        load_enhancer("mine.v1")
    model = load_enhancer(str(folder))
    assert (model.name, model.config) == ("mine.v1", CONFIGS["detail"])
    assert model.card == {"licence": "CC0-1.0"}
    for seed, weights in ((1, model.faithful), (2, model.detailed)):
        for name, p in random_weights(CONFIGS["detail"], seed).items():
            assert torch.equal(weights[name], p.half().float())
    monkeypatch.setenv("GANCODEC_ENHANCERS", str(folder))
    assert list_enhancers()["mine.v1"]["folder"] == str(folder)
    assert load_enhancer("mine.v1").name == "mine.v1"
    load_enhancer.cache_clear()


def test_two_enhancers_share_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS["denoise"]
    write_enhancer("other.v1", config, {"faithful": random_weights(config, 3)}, folder, {})
    monkeypatch.setenv("GANCODEC_ENHANCERS", str(folder))
    assert {"mine.v1", "other.v1"} <= set(list_enhancers())
    assert load_enhancer("other.v1").config == config
    load_enhancer.cache_clear()


def test_another_file_is_refused(folder: Path) -> None:
    path = folder / "mine.v1.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_enhancer(str(folder))


def test_no_file_is_refused(folder: Path) -> None:
    (folder / "mine.v1.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        load_enhancer(str(folder))


@pytest.mark.parametrize("data", [b"", b"abc", b"\xff" * 64, b"\x02" + bytes(7) + b"{}"])
def test_what_is_no_safetensors_file_is_refused(folder: Path, data: bytes) -> None:
    (folder / "mine.v1.safetensors").write_bytes(data)
    list_again(folder)
    with pytest.raises(ModelError, match=r"is not a safetensors file|no valid architecture"):
        load_enhancer(str(folder))


def test_a_file_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_LIMIT", 1000)
    with pytest.raises(ModelError, match="none of ours"):
        load_enhancer(str(folder))


Change = Callable[[dict[str, Tensor], dict[str, str]], None]


def _foreign(tensors: dict[str, Tensor], meta: dict[str, str]) -> None:
    tensors["faithful.novel"] = torch.zeros(3)


def _missing(tensors: dict[str, Tensor], meta: dict[str, str]) -> None:
    del tensors["detailed.leave.bias"]


def _misshapen(tensors: dict[str, Tensor], meta: dict[str, str]) -> None:
    tensors["faithful.leave.bias"] = torch.zeros(7)


def _of_integers(tensors: dict[str, Tensor], meta: dict[str, str]) -> None:
    tensors["faithful.leave.bias"] = torch.zeros(6, dtype=torch.int32)


def _not_finite(tensors: dict[str, Tensor], meta: dict[str, str]) -> None:
    tensors["detailed.leave.bias"][3] = float("nan")


def _endless(tensors: dict[str, Tensor], meta: dict[str, str]) -> None:
    tensors["faithful.enter.weight"][0, 0, 0, 0] = float("inf")


def _of_another_net(tensors: dict[str, Tensor], meta: dict[str, str]) -> None:
    meta["config"] = json.dumps({**json.loads(meta["config"]), "widths": [6, 8, 12]})


def _of_no_net(tensors: dict[str, Tensor], meta: dict[str, str]) -> None:
    meta["config"] = json.dumps({"task": "detail"})


def _without_a_net(tensors: dict[str, Tensor], meta: dict[str, str]) -> None:
    del meta["config"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_foreign, r"holds foreign tensors, e\.g\. faithful\.novel"),
        (_missing, r"tensor detailed\.leave\.bias of 'mine\.v1' is missing"),
        (_misshapen, r"tensor faithful\.leave\.bias of 'mine\.v1' is missing or has a wrong"),
        (_of_integers, r"tensor faithful\.leave\.bias"),
        (_not_finite, r"tensor detailed\.leave\.bias of 'mine\.v1' is not finite"),
        (_endless, r"tensor faithful\.enter\.weight of 'mine\.v1' is not finite"),
        (_of_another_net, "wrong shape"),
        (_of_no_net, "no valid architecture: fields of the architecture differ"),
        (_without_a_net, "no valid architecture"),
    ],
)
def test_files_that_do_not_fit_are_refused(folder: Path, change: Change, message: str) -> None:
    rewrite(folder, change)
    with pytest.raises(ModelError, match=message):
        load_enhancer(str(folder))


@pytest.mark.parametrize(
    "manifest",
    [
        *("", "[]", "{}", "[1]", '{"a": 3}', '{"a": {"file": "x"}}'),
        '{"a": {"file": 3, "sha256": "x"}}',
    ],
)
def test_manifests_that_are_none_are_refused(
    tmp_path: Path, manifest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(ModelError, match=r"no manifest of enhancers|lists no enhancer"):
        load_enhancer(str(tmp_path))
    monkeypatch.setenv("GANCODEC_ENHANCERS", str(tmp_path))
    if manifest != "{}":
        with pytest.raises(ModelError, match="no manifest of enhancers"):
            list_enhancers()


def test_an_enhancer_for_something_else_is_refused(folders: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=r"'sr2\.test' is for sr x2, not for denoise x1"):
        Enhancer(Enhancement("denoise", model=folders["sr2"]))
    with pytest.raises(ModelError, match=r"is for sr x4, not for sr x2"):
        Enhancer(Enhancement("sr", 2, model=folders["sr4"]))


@pytest.mark.parametrize("name", ["none.v9", "/nowhere/at/all", ""])
def test_there_is_no_such_enhancer(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no enhancer"):
        load_enhancer(name)
    with pytest.raises(ModelError, match="there is no enhancer"):
        load_enhancer(str(tmp_path))  # a folder without a manifest


def test_every_task_has_an_enhancer_of_its_own() -> None:
    assert set(module.DEFAULTS) == {(c.task, c.scale) for c in CONFIGS.values()}
