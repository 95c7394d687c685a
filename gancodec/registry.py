"""Models by name and by hash: weights, probability tables, card.

A model is two safetensors files: ``NAME.codec`` (the loop, the prior and its tables: what a file
must be decoded with) and ``NAME.detail`` (the synthesis head: what a picture is shown with). The
manifest in the package lists their SHA-256, which is compared before a byte of them is parsed.
Weights are never unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from gancodec.bitstream import ModelRef, TableSet
from gancodec.config import CodecConfig, Engine
from gancodec.engine import check_engine, with_onnx
from gancodec.errors import CorruptError, ModelError, UsageError
from gancodec.models.compress import GanCodec
from gancodec.models.motion_coding import TABLES as MOTION_TABLE_COUNT
from gancodec.models.onnx_nets import NETS
from gancodec.nn.fixed import ACTIVATION_ONE, CONTEXT_MAX, exact_arithmetic
from gancodec.nn.prior import SCALES, LatentPrior

ARCHITECTURE = 1  # meaning of the tensors and order of the stages of a frame
ENTROPY, SYNTHESIS = 0, 1  # roles of FORMAT.md

# Where each user's tables start in the one table set of a model
HYPER_TABLES = 0
INTRA_TABLES = HYPER_TABLES + SCALES
INTER_TABLES = INTRA_TABLES + SCALES
MOTION_TABLES = INTER_TABLES + SCALES
TABLE_COUNT = MOTION_TABLES + MOTION_TABLE_COUNT

PACKAGED = Path(__file__).parent / "weights"
FILE_LIMIT = 64 << 20  # bytes; a weights file of ours is a quarter of this
_TABLE_KEYS = ("frequencies", "lengths", "offsets")
_ROLES, _ENTRY_KEYS = ("codec", "detail"), ("file", "sha256")  # of a manifest


@dataclass(frozen=True, slots=True)
class Model:
    """Nets in evaluation mode with frozen priors, their tables and what names them in a file."""

    name: str
    nets: GanCodec
    tables: TableSet
    references: tuple[ModelRef, ...]
    card: dict[str, Any] = field(default_factory=dict)


def list_models() -> dict[str, dict[str, Any]]:
    """Manifest entries of all models in the package and in ``GANCODEC_MODELS``, by name."""
    found: dict[str, dict[str, Any]] = {}
    for folder in _folders():
        path = folder / "manifest.json"
        if not path.is_file():
            continue
        try:
            entries = json.loads(path.read_text())
            for name, entry in entries.items():
                if not all(isinstance(entry[r][k], str) for r in _ROLES for k in _ENTRY_KEYS):
                    raise TypeError(f"the entry of {name!r} is not made of text")
                found.setdefault(name, {**entry, "folder": str(folder)})
        except (ValueError, AttributeError, TypeError, LookupError) as error:
            raise ModelError(f"{path} is no manifest of models: {error}") from error
    return found


def _folders() -> list[Path]:
    extra = os.environ.get("GANCODEC_MODELS", "")
    return [PACKAGED, *(Path(p) for p in extra.split(os.pathsep) if p)]


def load_model(name: str, device: str = "cpu", *, engine: Engine = "torch") -> Model:
    """A model of the package by its name, or of a folder that has a manifest by its path.

    Args:
        device: where its float nets run; give encoders and decoders the same.
        engine: what runs them: "torch", or "onnx" for onnxruntime.

    Raises:
        UsageError: the engine cannot be had; ``auto`` is for whole files, whose size is known.
        ModelError: unknown name, wrong hash, foreign tensors, or a failed known-answer test.
    """
    if name not in list_models() and Path(name).is_dir():
        folder, name = name, _first_of(Path(name))
        known = os.environ.get("GANCODEC_MODELS", "").split(os.pathsep)
        if folder not in known:  # for worker processes, too, and for a decode of what comes out
            os.environ["GANCODEC_MODELS"] = os.pathsep.join(filter(None, [*known, folder]))
        _check_first(name, Path(folder))
    model = _load(name, device)
    if check_engine(engine, device) == "auto":
        raise UsageError("engine auto needs a clip to measure on: load a model for torch or onnx")
    return model if engine == "torch" else running_in_onnx(model)


def running_in_onnx(model: Model, nets: Collection[str] = NETS) -> Model:
    """The same model with the nets of these names, if any, in onnxruntime."""
    return replace(model, nets=with_onnx(model.nets, nets)) if nets else model


def _first_of(folder: Path) -> str:
    """The first name in a folder's manifest."""
    try:
        return str(next(iter(json.loads((folder / "manifest.json").read_text()))))
    except (OSError, ValueError, TypeError, StopIteration) as error:
        raise ModelError(
            f"the folder {folder} has no manifest.json that names a model: {error}"
        ) from error


def _check_first(name: str, folder: Path) -> None:
    """Refuse a folder's model where the name means other weights: those would be used, silently.

    Raises:
        ModelError: naming the folder that comes first.
    """
    found = list_models()[name]
    if Path(found["folder"]) == folder:
        return
    own = json.loads((folder / "manifest.json").read_text())[name]
    if any(own[role]["sha256"] != found[role]["sha256"] for role in _ROLES):
        raise ModelError(
            f"the model in {folder} is called {name!r}, as other weights in {found['folder']} are; "
            "give it a name of its own (`name` under [run] of its recipe)"
        )


def find_model(
    references: Iterable[ModelRef], device: str = "cpu", *, engine: Engine = "torch"
) -> Model:
    """The model that a file names, found by its entropy weights' hash; loaded as `load_model` does.

    A synthesis head of another hash is an error too: the picture would not be what was encoded.

    Raises:
        ModelError: when no model at hand has these hashes.
    """
    wanted = {ref.role: ref for ref in references}
    if ENTROPY not in wanted:
        raise ModelError("the file names no entropy model; it was not written by a codec of ours")
    ref, head = wanted[ENTROPY], wanted.get(SYNTHESIS)
    same_codec = ""
    for name, entry in list_models().items():
        if entry["codec"]["sha256"] == ref.sha256.hex():
            same_codec = name
            if head is None or entry["detail"]["sha256"] == head.sha256.hex():
                return load_model(name, device, engine=engine)
    if head is not None and same_codec:
        raise ModelError(
            f"the file was made with the synthesis head of {head.name!r} "
            f"({head.sha256.hex()[:12]}...), and {same_codec!r} has another; put it in a folder "
            "and name it in GANCODEC_MODELS"
        )
    raise ModelError(
        f"the file was made with weights {ref.name!r} ({ref.sha256.hex()[:12]}...), which are not "
        f"here; put them in a folder and name it in GANCODEC_MODELS"
    )


@lru_cache(maxsize=4)
def _load(name: str, device: str) -> Model:
    entry = list_models().get(name)
    if entry is None:
        known = ", ".join(sorted(list_models())) or "none"
        raise ModelError(f"there is no model {name!r}; there are: {known}")
    folder = Path(entry["folder"])
    codec, meta, codec_hash = _read(folder, entry["codec"])
    detail, _, detail_hash = _read(folder, entry["detail"])
    try:
        config = CodecConfig.from_dict(json.loads(meta["config"]))
        known_answer = meta["known_answer"]
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(f"the weights of {name!r} carry no valid architecture: {error}") from error
    try:
        nets = GanCodec(config)
    except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
        raise ModelError(f"the architecture of {name!r} cannot be built: {error}") from error
    tables = _take_tables(codec)
    integers = {p: _take_integers(codec, p) for p in ("intra", "inter")}
    _fill(nets, {**codec, **detail}, name)
    nets.to(device).eval().requires_grad_(False)
    nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for wide in (False, True):
        for part, stored in integers.items():
            _freeze(getattr(nets, part).prior, stored, name, wide=wide)
        if known_answer_of(nets) == known_answer:
            break
    else:
        raise ModelError(
            f"this machine computes another prior than {name!r} was made with "
            "(known-answer test failed), so it cannot decode exactly; see `gancodec selftest`"
        )
    references = (
        ModelRef(ENTROPY, ARCHITECTURE, codec_hash, name),
        ModelRef(SYNTHESIS, ARCHITECTURE, detail_hash, name),
    )
    return Model(name, nets, tables, references, entry.get("card", {}))


def _read(folder: Path, entry: dict[str, str]) -> tuple[dict[str, Tensor], dict[str, str], bytes]:
    path = folder / entry["file"]
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise ModelError(
                f"{path} is larger than {FILE_LIMIT >> 20} MiB; it is no model of ours"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the weights {path} cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(data).digest()
    if digest.hex() != entry["sha256"]:
        raise ModelError(
            f"{path} is not the file its manifest lists (SHA-256 differs); reinstall it"
        )
    try:
        length = int.from_bytes(data[:8], "little")
        meta = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        return load_safetensors(data), meta, digest
    except Exception as error:
        raise ModelError(f"{path} is not a safetensors file: {error}") from error


def _take_tables(tensors: dict[str, Tensor]) -> TableSet:
    try:
        tables = TableSet.from_arrays({k: tensors.pop(f"tables.{k}").numpy() for k in _TABLE_KEYS})
    except (KeyError, CorruptError) as error:
        raise ModelError(f"the weights hold no valid probability tables: {error}") from error
    if len(tables) != TABLE_COUNT:
        raise ModelError(f"the weights hold {len(tables)} probability tables, not {TABLE_COUNT}")
    return tables


def _take_integers(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f"integers.{part}."
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}


def float_names(nets: GanCodec) -> list[str]:
    """Parameters that are stored as floats: all but those the integer prior replaces."""
    integer = set()
    for part in ("intra", "inter"):
        prior: LatentPrior = getattr(nets, part).prior
        inside = {n for n, _ in prior.named_parameters() if not n.startswith("analysis.")}
        integer |= {f"{part}.prior.{n}" for n in inside}
    return [n for n, _ in nets.named_parameters() if n not in integer]


def _fill(nets: GanCodec, tensors: dict[str, Tensor], name: str) -> None:
    expected = set(float_names(nets))
    if set(tensors) != expected:
        odd = sorted(set(tensors) ^ expected)[:3]
        raise ModelError(
            f"the weights of {name!r} do not fit the architecture, e.g. {', '.join(odd)}"
        )
    own = dict(nets.named_parameters())
    with torch.no_grad():
        for key, value in tensors.items():
            kind, wanted = (value.dtype, value.shape), (own[key].dtype, own[key].shape)
            if kind != wanted or not torch.isfinite(value).all():
                raise ModelError(
                    f"tensor {key} of {name!r} has a wrong shape or type, or is not finite"
                )
            own[key].copy_(value)


def _freeze(prior: LatentPrior, stored: dict[str, Tensor], name: str, *, wide: bool) -> None:
    own = {k: v.shape for k, v in prior.integers().items()}
    if {k: v.shape for k, v in stored.items()} != own:
        raise ModelError(f"the integer prior of {name!r} does not fit the architecture")
    if any(v.dtype != torch.int32 for v in stored.values()):
        raise ModelError(f"the integer prior of {name!r} is not made of 32-bit integers")
    try:
        prior.cpu().freeze(stored, wide=wide)
    except OverflowError as error:
        raise ModelError(f"the integer prior of {name!r} cannot be exact: {error}") from error


# ── The known-answer test ────────────────────────────────────────────────────────────────────


def known_answer_of(nets: GanCodec) -> str:
    """SHA-256 of every mean and scale that frozen priors give for pseudo-random integers."""
    digest = hashlib.sha256()
    for part in ("intra", "inter"):
        prior: LatentPrior = getattr(nets, part).prior
        for quality in (0, 31, 63):
            _hash_walk(prior, quality, digest)
    return digest.hexdigest()


def _hash_walk(prior: LatentPrior, quality: int, digest: hashlib._Hash) -> None:
    rng = np.random.default_rng(quality)  # PCG64: the same integers for ever
    size = (13, 18)
    z = torch.from_numpy(rng.integers(-9, 10, (1, prior.hyper, 4, 5))).double()
    temporal = None
    channels = prior.temporal_channels
    if channels:
        limit = int(CONTEXT_MAX) * ACTIVATION_ONE // 8
        values = rng.integers(-limit, limit + 1, (1, channels, *size))
        temporal = torch.from_numpy(values).double()

    def code(mean: Tensor, scale: Tensor, mask: Tensor, part: slice) -> Tensor:
        for x in (mean, scale):
            digest.update(x.contiguous().to(torch.int64).numpy().astype("<i8").tobytes())
        symbols = torch.from_numpy(rng.integers(-20, 21, tuple(mean.shape))).double()
        return (symbols * ACTIVATION_ONE + mean) * mask

    level = torch.tensor([quality])
    digest.update(prior.z_index(level).numpy().astype("<i8").tobytes())
    with exact_arithmetic():
        prior.walk(z * ACTIVATION_ONE, level, temporal, size, code)


def parameter_count(module: nn.Module) -> int:
    """Learned numbers in a module."""
    return sum(p.numel() for p in module.parameters())
