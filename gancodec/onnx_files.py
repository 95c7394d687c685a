"""A model's float nets as ``.onnx`` files, for whoever wants to run them elsewhere."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from gancodec.config import EncodeOptions
from gancodec.errors import InputError, UsageError
from gancodec.models.onnx_nets import NETS, graph_of
from gancodec.nn.onnx_graph import OPSET, Port
from gancodec.registry import ENTROPY, SYNTHESIS, load_model

DESCRIPTION = "nets.json"


def export_onnx(
    folder: str | os.PathLike[str],
    model: str = EncodeOptions().model,
    *,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write each float net of a model as ``NAME.onnx``, and ``nets.json`` that describes them.

    Heights and widths are any; the integer prior is not among them.

    Args:
        folder: where to; made if its parent is there.
        model: name of weights, or a folder that holds some.
        overwrite: replace what is there.

    Returns:
        What was written, the description last.

    Raises:
        UsageError: a file is there already.
        InputError: the folder cannot be made or written.
        ModelError: there is no such model.
    """
    folder = Path(folder)
    names = [f"{name}.onnx" for name in NETS]
    for path in (folder / name for name in (*names, DESCRIPTION)):
        if path.exists() and not overwrite:
            raise UsageError(f"{path} exists already: replace it with --force (overwrite=True)")
    loaded = load_model(model)
    roles = {ref.role: ref.sha256.hex() for ref in loaded.references}
    hashes = {"codec": roles[ENTROPY], "detail": roles[SYNTHESIS]}
    version = sys.modules["gancodec"].__version__
    about = {
        "model": loaded.name,
        "sha256": hashes,
        "gancodec": version,
        "opset": OPSET,
        "nets": {},
    }
    files: dict[str, bytes] = {}
    for net in NETS:
        graph = graph_of(loaded.nets, net)
        weights = hashes["detail" if net.startswith("detail.") else "codec"]
        stored = {"model": loaded.name, "net": net, "sha256": weights, "gancodec": version}
        files[f"{net}.onnx"] = graph.to_bytes(stored)
        about["nets"][net] = {
            "file": f"{net}.onnx",
            "inputs": [_described(port) for port in graph.inputs],
            "outputs": [_described(port) for port in graph.outputs],
        }
    files[DESCRIPTION] = (json.dumps(about, indent=1) + "\n").encode()
    try:
        folder.mkdir(exist_ok=True)
        return tuple(_write(folder / name, data) for name, data in files.items())
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error


def _described(port: Port) -> dict[str, Any]:
    return {"name": port.name, "type": port.dtype, "shape": port.shape}


def _write(path: Path, data: bytes) -> Path:
    """A file that is whole or not there."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
