"""The one place where compressai is imported: published learned codecs, to compare with.

Checkpoints are given by path, as safetensors. A ``.pth.tar`` of compressai's becomes one by

    state = torch.load("in.pth.tar", map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, "out.safetensors")
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from gancodec.errors import ModelError, UsageError

VIDEO_MODELS = ("ssf2020",)
IMAGE_MODELS = (
    "bmshj2018-factorized",
    "bmshj2018-factorized-relu",
    "bmshj2018-hyperprior",
    "mbt2018-mean",
    "mbt2018",
    "cheng2020-anchor",
    "cheng2020-attn",
)

_MISSING_OPERATOR = re.compile(r"operator (torchvision::\w+) does not exist")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"  # of nms and qnms
_declared: list[torch.library.Library] = []  # operators exist as long as these do


def import_compressai() -> ModuleType:
    """The package compressai, also beside a torchvision whose compiled operators cannot load.

    Its import asks for torchvision's, and that one fails in wheels that were built for another
    torch than is there. What it misses are declarations of operators that no codec calls.

    Raises:
        UsageError: compressai is not installed.
    """
    try:
        with _quiet():
            _import_torchvision()
            return import_module("compressai")
    except ImportError as error:
        raise UsageError(
            f"published learned codecs need compressai, which cannot be imported ({error}); "
            "install it with `pip install gancodec[compressai]`"
        ) from error


def _import_torchvision() -> None:
    while True:
        try:
            import_module("torchvision")
        except RuntimeError as error:
            missing = _MISSING_OPERATOR.search(str(error))
            if missing is None:
                raise
            for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
                del sys.modules[name]  # half of it
            operator = missing[1].removeprefix("torchvision::")
            library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            library.define(operator + _SIGNATURE)  # type: ignore[no-untyped-call]
            _declared.append(library)
        else:
            return


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # torch 2.13 on what torch_geometric and compressai still use
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=DeprecationWarning)
        yield


def build_model(
    name: str, quality: int, weights: Path | None = None, *, seed: int = 0
) -> nn.Module:
    """A codec of compressai's zoo with its entropy coder's tables, in evaluation mode.

    Args:
        name: one of `VIDEO_MODELS` or `IMAGE_MODELS`.
        quality: of the architecture, as compressai counts: 1 to 6, 8 or 9.
        weights: a safetensors file of the model's state; without it the weights are random.
        seed: of random weights.

    Raises:
        UsageError: compressai is missing, or has no such model or quality.
        ModelError: the weights cannot be read, or are another model's.
    """
    import_compressai()
    zoo = import_module("compressai.zoo")
    if name not in (*VIDEO_MODELS, *IMAGE_MODELS):
        known = ", ".join((*VIDEO_MODELS, *IMAGE_MODELS))
        raise UsageError(f"there is no model {name!r} of compressai; there are: {known}")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: nn.Module = zoo.models[name](quality=quality, pretrained=False)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    if weights is not None:
        try:
            model.load_state_dict(zoo.load_state_dict(load_file(weights)))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"the weights {weights} cannot be read: {error}") from error
        except (RuntimeError, KeyError) as error:
            raise ModelError(
                f"the weights {weights} are not those of {name} at quality {quality}: {error}"
            ) from error
    model.update(force=True)  # type: ignore[operator]
    return model.eval().requires_grad_(False)
