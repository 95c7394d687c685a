"""Weights from strangers: refused with one sentence before a tensor of them is used."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from gancodec import cli, registry
from gancodec.errors import ModelError
from gancodec.registry import Model, find_model, load_model
from gancodec.train.export import write_model
from gancodec.types import FrameBatch
from gancodec.video.synth import clip_info, moving_texture, write_test_video

NAME = "stranger.v0"
Tensors = dict[str, Tensor]
Meta = dict[str, str]


class Weights:
    """A folder with a model, to be changed; the manifest agrees with every change."""

    def __init__(self, folder: Path, name: str = NAME) -> None:
        self.folder, self.name = folder, name

    def path(self, role: str) -> Path:
        return self.folder / f"{self.name}.{role}.safetensors"

    def read(self, role: str) -> tuple[Tensors, Meta]:
        data = self.path(role).read_bytes()
        length = int.from_bytes(data[:8], "little")
        meta: Meta = json.loads(data[8 : 8 + length])["__metadata__"]
        return safetensors.torch.load(data), meta

    def put(self, role: str, data: bytes) -> None:
        self.path(role).write_bytes(data)
        manifest = json.loads((self.folder / "manifest.json").read_text())
        manifest[self.name][role]["sha256"] = hashlib.sha256(data).hexdigest()
        (self.folder / "manifest.json").write_text(json.dumps(manifest))

    def write(self, role: str, tensors: Tensors, meta: Meta) -> None:
        self.put(role, safetensors.torch.save(tensors, meta))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, make_small: Callable[..., Model]) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_model(make_small(NAME, spread=0.05, widest=2), folder, {})
    return folder


@pytest.fixture
def weights(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """A copy of the sound ones, which this process finds."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in sound.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("GANCODEC_MODELS", str(folder))
    registry._load.cache_clear()  # what was loaded by this name in another test
    return Weights(folder)


def test_the_sound_ones_load(weights: Weights) -> None:
    """Otherwise the refusals below would tell nothing; written again by `Weights`, too."""
    assert load_model(NAME).name == NAME
    registry._load.cache_clear()
    for role in ("codec", "detail"):
        weights.write(role, *weights.read(role))
    assert load_model(NAME).name == NAME


# ── Bytes ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", ["codec", "detail"])
def test_another_hash_is_refused_before_anything_is_parsed(
    weights: Weights, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = weights.path(role).read_bytes()
    parsed: list[int] = []

    def note(data: bytes) -> Any:
        parsed.append(len(data))
        return safetensors.torch.load(data)

    monkeypatch.setattr(registry, "load_safetensors", note)
    places = (0, 9, len(data) // 2, len(data) - 1)
    flipped = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in places]
    changed = [data[:-1], data + b"\0", data[:100], b"", PICKLE, *flipped]
    for bad in changed:
        weights.path(role).write_bytes(bad)
        with pytest.raises(ModelError, match="SHA-256 differs"):
            load_model(NAME)
    others = len(weights.path("codec").read_bytes())
    assert set(parsed) <= {others}, "a file of a wrong hash was parsed"
    assert bool(parsed) == (role == "detail")  # the codec's file comes first


# What `os.system("touch ...")` is to an unpickler.
PICKLE = b"cposix\nsystem\n(S'touch %s'\ntR."


def huge_header() -> bytes:
    """A hundred thousand tensors without a single number."""
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"t{n}": entry for n in range(100_000)}).encode()
    return struct.pack("<Q", len(header)) + header


NO_SAFETENSORS: dict[str, Callable[[bytes, Path], bytes]] = {
    "nothing": lambda data, trap: b"",
    "seven bytes": lambda data, trap: data[:7],
    "cut in the header": lambda data, trap: data[:100],
    "cut in the numbers": lambda data, trap: data[:-1],
    "a lying length": lambda data, trap: b"\xff" * 8 + data[8:],
    "more than is listed": lambda data, trap: data + b"\0",
    "no JSON": lambda data, trap: data[:8] + b"#" * 20 + data[28:],
    "a pickle": lambda data, trap: PICKLE % str(trap).encode(),
    "a zip, as torch writes": lambda data, trap: b"PK\x03\x04" + data,
    "a hundred thousand tensors": lambda data, trap: huge_header(),
}


@pytest.mark.parametrize("kind", NO_SAFETENSORS)
@pytest.mark.parametrize("role", ["codec", "detail"])
def test_files_that_a_manifest_vouches_for(
    weights: Weights, tmp_path: Path, kind: str, role: str
) -> None:
    trap = tmp_path / "trap"
    weights.put(role, NO_SAFETENSORS[kind](weights.path(role).read_bytes(), trap))
    with pytest.raises(ModelError):
        load_model(NAME)
    assert not trap.exists(), "the weights ran a program"


def test_a_file_too_large_is_not_even_read(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "FILE_LIMIT", 1000)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(ModelError, match="larger than"):
        load_model(NAME)


def test_a_file_that_is_gone(weights: Weights) -> None:
    weights.path("detail").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(NAME)


# ── Tensors ──────────────────────────────────────────────────────────────────────────────────


def some(tensors: Tensors, *, integers: bool = False) -> str:
    """The name of a tensor that is not small."""
    found = [n for n in tensors if n.startswith("integers.") == integers and "tables" not in n]
    return max(found, key=lambda n: tensors[n].numel())


def spoil(
    change: Callable[[Tensor], Tensor], *, integers: bool = False
) -> Callable[[Tensors], Any]:
    def run(tensors: Tensors) -> None:
        name = some(tensors, integers=integers)
        tensors[name] = change(tensors[name]).contiguous()

    return run


def poison(value: float) -> Callable[[Tensor], Tensor]:
    def run(tensor: Tensor) -> Tensor:
        out = tensor.clone()
        out.view(-1)[out.numel() // 2] = value
        return out

    return run


BOTH: dict[str, Callable[[Tensors], Any]] = {
    "NaN": spoil(poison(float("nan"))),
    "infinity": spoil(poison(float("inf"))),
    "another shape": spoil(lambda t: t.flatten()),
    "one row less": spoil(lambda t: t[:-1]),
    "half precision": spoil(lambda t: t.half()),
    "double precision": spoil(lambda t: t.double()),
    "whole numbers": spoil(lambda t: t.to(torch.int32)),
    "one missing": lambda tensors: tensors.pop(some(tensors)),
    "one more": lambda tensors: tensors.update(other=torch.zeros(3)),
    "a name like a path": lambda tensors: tensors.update({"../../x": torch.zeros(3)}),
    "another name": lambda tensors: tensors.update(x=tensors.pop(some(tensors))),
}
INTEGERS: dict[str, Callable[[Tensors], Any]] = {
    "wide": spoil(lambda t: t.to(torch.int64), integers=True),
    "floats": spoil(lambda t: t.float(), integers=True),
    "another shape": spoil(lambda t: t.flatten(), integers=True),
    "too large to be exact": spoil(lambda t: torch.full_like(t, 2**31 - 1), integers=True),
    "others": spoil(lambda t: t + 512, integers=True),
    "missing": lambda tensors: tensors.pop(some(tensors, integers=True)),
    "more": lambda tensors: tensors.update({"integers.intra.x": torch.zeros(3)}),
    "no tables": lambda tensors: tensors.pop("tables.lengths"),
    "tables of floats": lambda tensors: tensors.update(
        {"tables.frequencies": tensors["tables.frequencies"].float()}
    ),
    "negative frequencies": lambda tensors: tensors["tables.frequencies"].neg_(),
    "too few tables": lambda tensors: tensors.update(
        {f"tables.{k}": tensors[f"tables.{k}"][:-1] for k in ("frequencies", "lengths", "offsets")}
    ),
}


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("role", ["codec", "detail"])
def test_foreign_tensors(weights: Weights, kind: str, role: str) -> None:
    tensors, meta = weights.read(role)
    BOTH[kind](tensors)
    weights.write(role, tensors, meta)
    with pytest.raises(ModelError):
        load_model(NAME)


@pytest.mark.parametrize("kind", INTEGERS)
def test_foreign_priors_and_tables(weights: Weights, kind: str) -> None:
    tensors, meta = weights.read("codec")
    INTEGERS[kind](tensors)
    weights.write("codec", tensors, meta)
    with pytest.raises(ModelError):
        load_model(NAME)


@pytest.mark.parametrize(
    "change",
    [
        {"config": None},
        {"config": "{"},
        {"config": "[]"},
        {"config": "7"},
        {"config": '{"intra_width": 16}'},
        {"config": ("intra_width", 17)},
        {"config": ("intra_width", -1)},
        {"config": ("intra_width", "many")},
        {"config": ("intra_width", 10**12)},
        {"config": ("intra_groups", [])},
        {"config": ("intra_groups", [0, 4])},
        {"config": ("prior_kernel", 4)},
        {"config": ("surprise", 1)},
        {"known_answer": None},
        {"known_answer": "0" * 64},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_foreign_descriptions(weights: Weights, change: dict[str, Any]) -> None:
    tensors, meta = weights.read("codec")
    for key, value in change.items():
        if isinstance(value, tuple):
            config = json.loads(meta[key])
            config[value[0]] = value[1]
            meta[key] = json.dumps(config)
        elif value is None:
            del meta[key]
        else:
            meta[key] = value
    weights.write("codec", tensors, meta)
    with pytest.raises(ModelError):
        load_model(NAME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "\udcff",
        '{"stranger.v0": 7}',
        '{"stranger.v0": {}}',
        '{"stranger.v0": {"codec": "x", "detail": "y"}}',
        '{"stranger.v0": {"codec": {"file": 7, "sha256": 8}, "detail": {}}}',
    ],
)
def test_manifests_that_are_none(
    weights: Weights, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = weights.folder / "manifest.json"
    manifest.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError):
        load_model(NAME)
    monkeypatch.delenv("GANCODEC_MODELS")
    with pytest.raises(ModelError):
        load_model(str(weights.folder))


@pytest.mark.parametrize("text", [None, "{}"])
def test_folders_without_a_model(
    weights: Weights, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GANCODEC_MODELS")
    manifest = weights.folder / "manifest.json"
    manifest.unlink()
    if text is not None:
        manifest.write_text(text)
    with pytest.raises(ModelError):
        load_model(str(weights.folder))


def test_a_folder_whose_name_is_taken_is_refused(
    weights: Weights, make_small: Callable[..., Model], tmp_path: Path
) -> None:
    """The weights of that name which come first would be used, and nobody told."""
    other = tmp_path / "other"
    write_model(make_small(NAME, spread=0.09, widest=2), other, {})
    with pytest.raises(ModelError, match=f"is called '{NAME}'"):
        load_model(str(other))
    same = tmp_path / "same"
    shutil.copytree(weights.folder, same)
    assert load_model(str(same)).name == NAME  # a copy is no other


# ── By the hashes in a file ──────────────────────────────────────────────────────────────────


def test_a_file_is_decoded_with_the_very_weights_it_names(
    weights: Weights, make_small: Callable[..., Model], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The codec's weights decide about symbols, the head's about what realism shows: both count."""
    model = load_model(NAME)
    assert find_model(model.references) is model
    assert find_model(model.references[:1]) is model  # a file may name no head
    other = tmp_path / "other"
    write_model(make_small("other.v0", spread=0.05, widest=2), other, {})
    changed = Weights(other, "other.v0")
    changed.put("codec", weights.path("codec").read_bytes())
    tensors, meta = changed.read("detail")
    name = some(tensors)
    changed.write("detail", {**tensors, name: tensors[name] + 1}, meta)
    monkeypatch.setenv("GANCODEC_MODELS", f"{weights.folder}{os.pathsep}{other}")
    twin = load_model("other.v0")
    assert twin.references[0].sha256 == model.references[0].sha256, "the same codec"
    assert find_model(twin.references) is twin
    assert find_model(model.references) is model
    monkeypatch.setenv("GANCODEC_MODELS", str(weights.folder))
    with pytest.raises(ModelError, match=r"synthesis head of 'other\.v0'"):
        find_model(twin.references)
    for references in ((), model.references[1:]):
        with pytest.raises(ModelError, match="no entropy model"):
            find_model(references)


# ── What a user sees ─────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    batch: FrameBatch = moving_texture(32, 32, 3)
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    return write_test_video(path, batch, clip_info(batch))


def test_a_wrong_known_answer_ends_both_ways_without_a_file(
    weights: Weights,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As on a machine that computes other integers: exit 5, a sentence, nothing written."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    coded, out = tmp_path / "out.gvc", tmp_path / "out.y4m"
    encode = ["encode", str(clip), str(coded), "--model", NAME, "--jobs", "1"]
    decode = ["decode", str(coded), str(out), "--jobs", "1"]
    assert cli.main(encode) == 0
    answer = registry.known_answer_of

    def wrong(nets: Any) -> str:
        return answer(nets)[::-1]

    monkeypatch.setattr(registry, "known_answer_of", wrong)
    registry._load.cache_clear()
    capfd.readouterr()
    for words in (decode, [*encode, "-y"]):
        before = coded.read_bytes()
        assert cli.main(words) == 5
        (sentence,) = capfd.readouterr().err.splitlines()
        assert "known-answer test failed" in sentence
        assert "selftest" in sentence
        assert not list(tmp_path.glob("out.y4m*"))
        assert coded.read_bytes() == before
        assert not list(tmp_path.glob("*.part"))


def test_weights_that_were_changed_end_with_exit_5(
    weights: Weights, clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    path = weights.path("codec")
    path.write_bytes(path.read_bytes()[:-1])
    words = ["encode", str(clip), str(tmp_path / "x.gvc"), "--model", NAME, "--jobs", "1"]
    assert cli.main(words) == 5
    (sentence,) = capfd.readouterr().err.splitlines()
    assert "SHA-256 differs" in sentence
    assert not list(tmp_path.glob("x.gvc*"))
