"""Features of the Inception-v3 of the Frechet inception distance, with weights from a file.

The net is the one of Heusel et al. (NIPS 2017) as the package pytorch-fid has it: mean pools leave
the padding out, and the last block pools by maximum. Its weights may not be shipped with this
package. Where pytorch-fid is installed, this writes them::

    state = pytorch_fid.inception.fid_inception_v3().state_dict()
    safetensors.torch.save_file(state, "fid.safetensors")

Other tensors in the file (``fc``, ``num_batches_tracked``) are ignored.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch.nn import functional as F

from gancodec.errors import UsageError
from gancodec.eval.rgb import Picture

SIDE = 299  # samples: of the pictures that the net was trained on
FEATURES = 2048
_EPSILON = 1e-3  # of the batch normalisations

Tensors = dict[str, torch.Tensor]
Pool = Literal["mean", "maximum", "halve"]


class _Conv(NamedTuple):
    """Convolution, batch normalisation, ReLU; padded by half its kernel unless told otherwise."""

    name: str
    outputs: int
    rows: int
    columns: int
    stride: int = 1
    padded: bool = True


_Path = tuple[_Conv | Pool, ...]
_Block = tuple[str, tuple[_Path, ...]]  # paths from the same input, joined by channels at the end


def _block_a(name: str, pooled: int) -> _Block:
    return name, (
        (_Conv("branch1x1", 64, 1, 1),),
        (_Conv("branch5x5_1", 48, 1, 1), _Conv("branch5x5_2", 64, 5, 5)),
        (
            _Conv("branch3x3dbl_1", 64, 1, 1),
            _Conv("branch3x3dbl_2", 96, 3, 3),
            _Conv("branch3x3dbl_3", 96, 3, 3),
        ),
        ("mean", _Conv("branch_pool", pooled, 1, 1)),
    )


def _block_c(name: str, inner: int) -> _Block:
    return name, (
        (_Conv("branch1x1", 192, 1, 1),),
        (
            _Conv("branch7x7_1", inner, 1, 1),
            _Conv("branch7x7_2", inner, 1, 7),
            _Conv("branch7x7_3", 192, 7, 1),
        ),
        (
            _Conv("branch7x7dbl_1", inner, 1, 1),
            _Conv("branch7x7dbl_2", inner, 7, 1),
            _Conv("branch7x7dbl_3", inner, 1, 7),
            _Conv("branch7x7dbl_4", inner, 7, 1),
            _Conv("branch7x7dbl_5", 192, 1, 7),
        ),
        ("mean", _Conv("branch_pool", 192, 1, 1)),
    )


def _block_e(name: str, pool: Pool) -> _Block:
    begin = (_Conv("branch3x3dbl_1", 448, 1, 1), _Conv("branch3x3dbl_2", 384, 3, 3))
    return name, (
        (_Conv("branch1x1", 320, 1, 1),),
        (_Conv("branch3x3_1", 384, 1, 1), _Conv("branch3x3_2a", 384, 1, 3)),
        (_Conv("branch3x3_1", 384, 1, 1), _Conv("branch3x3_2b", 384, 3, 1)),
        (*begin, _Conv("branch3x3dbl_3a", 384, 1, 3)),
        (*begin, _Conv("branch3x3dbl_3b", 384, 3, 1)),
        (pool, _Conv("branch_pool", 192, 1, 1)),
    )


_STEM: _Path = (
    _Conv("Conv2d_1a_3x3", 32, 3, 3, 2, False),
    _Conv("Conv2d_2a_3x3", 32, 3, 3, 1, False),
    _Conv("Conv2d_2b_3x3", 64, 3, 3),
    "halve",
    _Conv("Conv2d_3b_1x1", 80, 1, 1),
    _Conv("Conv2d_4a_3x3", 192, 3, 3, 1, False),
    "halve",
)
_BLOCKS: tuple[_Block, ...] = (
    _block_a("Mixed_5b.", 32),
    _block_a("Mixed_5c.", 64),
    _block_a("Mixed_5d.", 64),
    (
        "Mixed_6a.",
        (
            (_Conv("branch3x3", 384, 3, 3, 2, False),),
            (
                _Conv("branch3x3dbl_1", 64, 1, 1),
                _Conv("branch3x3dbl_2", 96, 3, 3),
                _Conv("branch3x3dbl_3", 96, 3, 3, 2, False),
            ),
            ("halve",),
        ),
    ),
    _block_c("Mixed_6b.", 128),
    _block_c("Mixed_6c.", 160),
    _block_c("Mixed_6d.", 160),
    _block_c("Mixed_6e.", 192),
    (
        "Mixed_7a.",
        (
            (_Conv("branch3x3_1", 192, 1, 1), _Conv("branch3x3_2", 320, 3, 3, 2, False)),
            (
                _Conv("branch7x7x3_1", 192, 1, 1),
                _Conv("branch7x7x3_2", 192, 1, 7),
                _Conv("branch7x7x3_3", 192, 7, 1),
                _Conv("branch7x7x3_4", 192, 3, 3, 2, False),
            ),
            ("halve",),
        ),
    ),
    _block_e("Mixed_7b.", "mean"),
    _block_e("Mixed_7c.", "maximum"),
)


# ── Weights ──────────────────────────────────────────────────────────────────────────────────


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """What the weights file has to hold."""
    shapes: dict[str, tuple[int, ...]] = {}

    def follow(prefix: str, path: _Path, channels: int) -> int:
        for step in path:
            if isinstance(step, _Conv):
                name = prefix + step.name
                shapes[f"{name}.conv.weight"] = (step.outputs, channels, step.rows, step.columns)
                for part in ("weight", "bias", "running_mean", "running_var"):
                    shapes[f"{name}.bn.{part}"] = (step.outputs,)
                channels = step.outputs
        return channels

    channels = follow("", _STEM, 3)
    for prefix, paths in _BLOCKS:
        channels = sum(follow(prefix, path, channels) for path in paths)
    return shapes


def check_weights(path: Path) -> None:
    """Check that a file holds all weights; reads only its header.

    Raises:
        UsageError: it is missing, is of another kind, or lacks a tensor.
    """
    how = "the docstring of gancodec.eval.inception says how to write the file"
    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            for name, shape in weight_shapes().items():
                found = tuple(file.get_slice(name).get_shape()) if name in names else None
                if found != shape:
                    raise UsageError(
                        f"fid needs the tensor {name} of shape {shape} in {path}, which has "
                        f"{found or 'none'}; {how}"
                    )
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"fid needs its weights, and {path} is no safetensors file that can be read "
            f"({error}); {how}"
        ) from error


@lru_cache(maxsize=1)
def load_weights(path: Path) -> Tensors:
    """All weights of a file, float32.

    Raises:
        UsageError: as `check_weights`.
    """
    check_weights(path)
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name).float() for name in weight_shapes()}


# ── Features ─────────────────────────────────────────────────────────────────────────────────


def extract_features(weights: Tensors, pictures: list[Picture]) -> torch.Tensor:
    """Features (N, 2048) of N pictures (H, W, 3), each scaled to 299 x 299, bilinear."""
    with torch.inference_mode():
        x = torch.cat([_scale(picture) for picture in pictures])  # (N, 3, 299, 299), -1 to 1
        x = _follow(weights, "", _STEM, x, {})
        for prefix, paths in _BLOCKS:
            known: Tensors = {}  # paths may begin alike
            x = torch.cat([_follow(weights, prefix, path, x, known) for path in paths], 1)
        return x.mean((2, 3))


def _scale(picture: Picture) -> torch.Tensor:
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False) * 2 - 1


def _follow(
    weights: Tensors, prefix: str, path: _Path, x: torch.Tensor, known: Tensors
) -> torch.Tensor:
    for step in path:
        if isinstance(step, _Conv):
            name = prefix + step.name
            if name not in known:
                known[name] = _convolve(weights, name, step, x)
            x = known[name]
        elif step == "mean":
            x = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        elif step == "maximum":
            x = F.max_pool2d(x, 3, stride=1, padding=1)
        else:
            x = F.max_pool2d(x, 3, stride=2)
    return x


def _convolve(weights: Tensors, name: str, conv: _Conv, x: torch.Tensor) -> torch.Tensor:
    padding = (conv.rows // 2, conv.columns // 2) if conv.padded else 0
    x = F.conv2d(x, weights[f"{name}.conv.weight"], None, conv.stride, padding)
    mean, variance, scale, bias = (
        weights[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return F.relu(F.batch_norm(x, mean, variance, scale, bias, eps=_EPSILON))
