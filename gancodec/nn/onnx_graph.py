"""Nets as ONNX: a graph that grows layer by layer, and the bytes of its file.

torch's own exporter is not used: it needs the package onnx, which nothing else here does, and it
works through globals of torch that other threads would meet. What our blocks are made of is little.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gancodec.nn.blocks import DepthwiseBlock, QualityKnots

OPSET = 17
_IR_VERSION = 8  # that of opset 17
_FLOAT, _INT64 = 1, 7  # of TensorProto.DataType
_KIND_FLOAT, _KIND_INT, _KIND_STRING, _KIND_INTS = 1, 2, 3, 7  # of AttributeProto.AttributeType

Attribute = float | int | str | Sequence[int]


class Port(NamedTuple):
    """An input or output of a net; a side of ``shape`` is a number, or a name where any will do.

    Attributes:
        shift: 3 where height and width are the picture's by 8, 4 where by 16; 0 for the quality.
    """

    name: str
    channels: int
    shift: int

    @property
    def dtype(self) -> str:
        """``float32``, or ``int64`` of the quality."""
        return "float32" if self.shift else "int64"

    @property
    def shape(self) -> tuple[int | str, ...]:
        """(B, C, H, W), or (B,) of the quality."""
        if not self.shift:
            return ("batch",)
        return "batch", self.channels, f"height/{1 << self.shift}", f"width/{1 << self.shift}"


class _Node(NamedTuple):
    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Attribute]


class Graph:
    """A net that grows: methods add a layer to the value of a name, and give the name of another.

    Attributes:
        inputs, outputs: in the order in which they were declared.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self._nodes: list[_Node] = []
        self._constants: list[bytes] = []
        self._public: dict[str, str] = {}  # names of outputs by those of their values

    def input(self, name: str, channels: int, shift: int) -> str:
        """An input (B, channels, H, W) of floats at 1/2^shift of the picture's size."""
        self.inputs.append(Port(name, channels, shift))
        return name

    def quality(self) -> str:
        """The input that is the level of each picture, (B,) whole numbers."""
        self.inputs.append(Port("quality", 1, 0))
        return "quality"

    def output(self, name: str, value: str, channels: int, shift: int) -> None:
        """Give a value, which is no input, to the outside."""
        self._public[value] = name
        self.outputs.append(Port(name, channels, shift))

    def add(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """A node with one output."""
        output = f"value{len(self._nodes)}"
        self._nodes.append(_Node(operator, inputs, output, attributes))
        return output

    def constant(self, values: Tensor) -> str:
        """Floats that belong to the net."""
        name = f"weight{len(self._constants)}"
        data = values.detach().cpu().contiguous().numpy().astype("<f4").tobytes()
        sides = b"".join(_field(1, side) for side in values.shape)
        self._constants.append(sides + _field(2, _FLOAT) + _field(8, name) + _field(9, data))
        return name

    def convolution(self, layer: nn.Conv2d, x: str) -> str:
        """A layer that keeps the size, or halves it if its stride is 2."""
        return self.filter(x, layer.weight, layer.bias, layer.stride[0], layer.groups)

    def filter(
        self, x: str, weight: Tensor, bias: Tensor | None = None, stride: int = 1, groups: int = 1
    ) -> str:
        """A convolution with ``weight`` (O, C, K, K), padded for odd K, not for even ones."""
        side = weight.shape[-1]
        pad = side // 2 if side % 2 else 0
        constants = [self.constant(t) for t in (weight, bias) if t is not None]
        return self.add(
            "Conv", x, *constants, kernel_shape=[side] * 2, strides=[stride] * 2, pads=[pad] * 4,
            group=groups,
        )  # fmt: skip

    def tuned(self, x: str, knots: QualityKnots, quality: str) -> str:
        """``x`` times the vector of its quality."""
        table = self.constant(knots.table()[:, :, None, None])
        return self.add("Mul", x, self.add("Gather", table, quality, axis=0))

    def stack(self, blocks: Iterable[nn.Module], x: str) -> str:
        """What `gancodec.nn.blocks.depthwise_stack` makes."""
        for number, block in enumerate(blocks):
            assert isinstance(block, DepthwiseBlock)
            if number == 0:
                # Times 1, for nothing but speed: onnxruntime has an order of the samples of its
                # own, into which a convolution leads, and then need not leave it in the stack.
                width = block.mix_in.in_channels
                x = self.filter(x, torch.ones(width, 1, 1, 1), groups=width)
            inner = self.add("LeakyRelu", self.convolution(block.mix_in, x), alpha=0.125)
            inner = self.convolution(block.mix_out, self.convolution(block.depthwise, inner))
            x = self.add("Add", inner, x)
            # Two convolutions instead of one and a split, which knows nothing of that order.
            assert block.expand.bias is not None
            halves = zip(block.expand.weight.chunk(2), block.expand.bias.chunk(2), strict=True)
            gate, value = (self.filter(x, weight, bias) for weight, bias in halves)
            gated = self.add("Mul", self.add("Relu", gate), value)
            x = self.add("Add", self.convolution(block.reduce, gated), x)
        return x

    def to_bytes(self, about: Mapping[str, str] | None = None) -> bytes:
        """An ``.onnx`` file; ``about`` is stored with it for whoever asks."""
        graph = b"".join(
            [
                *(_field(1, self._node(node)) for node in self._nodes),
                _field(2, self.name),
                *(_field(5, constant) for constant in self._constants),
                *(_field(11, _value_info(port)) for port in self.inputs),
                *(_field(12, _value_info(port)) for port in self.outputs),
            ]
        )
        notes = (_field(1, key) + _field(2, text) for key, text in (about or {}).items())
        return b"".join(
            [
                _field(1, _IR_VERSION),
                _field(2, "gancodec"),
                _field(7, graph),
                _field(8, _field(2, OPSET)),
                *(_field(14, note) for note in notes),
            ]
        )

    def _node(self, node: _Node) -> bytes:
        return b"".join(
            [
                *(_field(1, self._public.get(name, name)) for name in node.inputs),
                _field(2, self._public.get(node.output, node.output)),
                _field(4, node.operator),
                *(_field(5, _attribute(name, value)) for name, value in node.attributes.items()),
            ]
        )


# ── Messages of onnx.proto, by the numbers of their fields ───────────────────────────────────


def _field(number: int, value: float | str | bytes) -> bytes:
    """A field: whole numbers (not negative) as varints, floats in 4 bytes, all else by length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, float):
        kind, stored = _KIND_FLOAT, _field(2, value)
    elif isinstance(value, int):
        kind, stored = _KIND_INT, _field(3, value)
    elif isinstance(value, str):
        kind, stored = _KIND_STRING, _field(4, value)
    else:
        kind, stored = _KIND_INTS, b"".join(_field(8, number) for number in value)
    return _field(1, name) + stored + _field(20, kind)


def _value_info(port: Port) -> bytes:
    sides = (_field(1, _field(1 if isinstance(side, int) else 2, side)) for side in port.shape)
    kind = _FLOAT if port.dtype == "float32" else _INT64
    tensor = _field(1, kind) + _field(2, b"".join(sides))
    return _field(1, port.name) + _field(2, _field(1, tensor))
