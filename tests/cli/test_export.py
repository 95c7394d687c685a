"""``gancodec export --onnx``: files that onnxruntime runs, and what is said when they cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from gancodec.models.onnx_nets import NETS, example_inputs, graph_of, in_torch
from gancodec.registry import Model, load_model
from gancodec.train.export import write_model

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, make_small: Callable[..., Model]) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_model(make_small("export.v0"), folder, {})
    return folder


@pytest.fixture
def model(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("GANCODEC_MODELS", str(weights))
    return load_model("export.v0")


def test_files_give_what_torch_gives(call: Run, model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "nets"
    result = call("export", "--onnx", folder, "--model", model.name)
    assert (result.code, result.out) == (0, "")
    assert result.err.startswith(f"gancodec: wrote 7 files to {folder}, ")
    about = json.loads((folder / "nets.json").read_text())
    assert {path.name for path in folder.iterdir()} == {f"{n}.onnx" for n in NETS} | {"nets.json"}
    assert about["model"] == model.name
    assert about["sha256"]["codec"] == model.references[0].sha256.hex()
    assert about["opset"] >= 17
    for name, entry in about["nets"].items():
        session = onnxruntime.InferenceSession(
            str(folder / entry["file"]), providers=["CPUExecutionProvider"]
        )
        for kind, found in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
            assert [(p["name"], p["shape"]) for p in entry[kind]] == [
                (value.name, value.shape) for value in found
            ]
        stored = session.get_modelmeta().custom_metadata_map
        assert stored["net"] == name
        assert stored["sha256"] == about["sha256"]["detail" if "detail" in name else "codec"]
        for size in ((32, 32), (48, 80)):
            given = example_inputs(graph_of(model.nets, name).inputs, *size)
            given = {key: torch.cat([value, value.flip(-1)]) for key, value in given.items()}
            with torch.inference_mode():
                expected = in_torch(model.nets, name, given)
            found = session.run(None, {key: value.numpy() for key, value in given.items()})
            for one, other in zip(expected, found, strict=True):
                assert (one - torch.from_numpy(other)).abs().max() < 1e-4


def test_files_are_replaced_only_if_asked(call: Run, model: Model, tmp_path: Path) -> None:
    words = ("export", "--onnx", tmp_path, "--model", model.name)
    (tmp_path / "nets.json").write_text("mine")
    result = call(*words)
    assert result.code == 1
    assert (
        result.sentence
        == f"{tmp_path / 'nets.json'} exists already: replace it with --force (overwrite=True)"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["nets.json"]
    assert (tmp_path / "nets.json").read_text() == "mine"
    assert call(*words, "--force").code == 0
    assert json.loads((tmp_path / "nets.json").read_text())["model"] == model.name


def test_what_cannot_be_exported(call: Run, model: Model, tmp_path: Path) -> None:
    result = call("export", "--onnx", tmp_path / "no" / "where", "--model", model.name)
    assert (result.code, result.sentence) == (
        2, f"cannot write to {tmp_path / 'no' / 'where'}: No such file or directory"
    )  # fmt: skip
    result = call("export", "--onnx", tmp_path, "--model", "nobody.v9")
    assert result.code == 5
    assert "there is no model 'nobody.v9'" in result.sentence
    assert not list(tmp_path.iterdir())


def test_engine_of_the_command_line(call: Run, coded: Path, clip: Path, tmp_path: Path) -> None:
    for engine in ("torch", "onnx", "auto"):
        words = ("decode", coded, tmp_path / f"{engine}.y4m", "--jobs", 1, "--engine", engine)
        assert call(*words).code == 0
    assert (tmp_path / "auto.y4m").read_bytes() == (tmp_path / "torch.y4m").read_bytes()
    words = ("encode", clip, tmp_path / "out.gvc", "--jobs", 1, "--engine", "onnx", "--quiet")
    assert call(*words).code == 0
    assert call("verify", tmp_path / "out.gvc", "--jobs", 1).code == 0
    result = call("decode", coded, tmp_path / "x.y4m", "--engine", "onnx", "--device", "cuda")
    assert (result.code, "engine onnx works on the CPU alone" in result.sentence) == (1, True)
