"""The float nets of a codec as ONNX graphs: the same layers and weights, written down once more.

The prior is not among them. What picks a probability table is integers, and stays with torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from gancodec.models.compress import Analysis, GanCodec, Synthesis
from gancodec.models.synthesis import DetailSynthesis
from gancodec.nn.onnx_graph import Graph, Port
from gancodec.nn.planes import PACKED_CHANNELS

DECODER_NETS = ("intra.synthesis", "inter.synthesis", "detail.intra", "detail.inter")
NETS = ("intra.analysis", "inter.analysis", *DECODER_NETS)
_PACKED, _LATENTS = 3, 4  # 1/8 and 1/16 of the picture's height and width, as shifts


def graph_of(nets: GanCodec, name: str) -> Graph:
    """The net of a name out of `NETS`, with the weights of ``nets``.

    Inputs are those of the net's ``forward`` in order, or of `DetailSynthesis.paint`, without those
    that it has no use for.
    """
    part, _, stage = name.partition(".")
    graph = Graph(name)
    if part == "detail":
        _detail(graph, nets.detail, intra=stage == "intra")
    elif stage == "analysis":
        _analysis(graph, getattr(nets, part).analysis)
    else:
        _synthesis(graph, getattr(nets, part).synthesis)
    return graph


def in_torch(nets: GanCodec, name: str, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """The outputs of the same net in torch, for the inputs of its graph by their names."""
    part, _, stage = name.partition(".")
    quality = given["quality"]
    if part == "detail":
        before, noise = given.get("before"), given.get("noise")
        shown = nets.detail.paint(
            given["picture"], given["features"], before, noise, quality, intra=stage == "intra"
        )
        return (shown,)
    net = getattr(getattr(nets, part), stage)
    if stage == "analysis":
        return (net(given["signal"], given["inputs"], quality),)
    return tuple(net(given["y"], given.get("context"), quality))


def example_inputs(ports: Iterable[Port], height: int, width: int) -> dict[str, Tensor]:
    """Noise for the inputs of a graph, by name, for a picture of whole 16x16 blocks."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for port in ports:
        if not port.shift:
            found[port.name] = torch.tensor([31])
            continue
        size = (1, port.channels, height >> port.shift, width >> port.shift)
        noise = torch.rand(size, generator=generator) - 0.5
        found[port.name] = noise.contiguous(memory_format=torch.channels_last)
    return found


def _analysis(graph: Graph, net: Analysis) -> None:
    signal = graph.input("signal", PACKED_CHANNELS, _PACKED)
    inputs = graph.input("inputs", net.enter.in_channels, _PACKED)
    x = graph.tuned(graph.convolution(net.enter, inputs), net.tune, graph.quality())
    x = graph.convolution(net.leave, graph.stack(net.blocks, x))
    # Four samples to a pixel and a 1x1 convolution of them: a 2x2 convolution of stride 2.
    weight = net.linear.weight.reshape(-1, PACKED_CHANNELS, 2, 2)
    y = graph.add("Add", x, graph.filter(signal, weight, stride=2))
    graph.output("y", y, net.leave.out_channels, _LATENTS)


def _synthesis(graph: Graph, net: Synthesis) -> None:
    y = graph.input("y", net.enter.in_channels, _LATENTS)
    x = _shuffled(graph, graph.convolution(net.enter, y))
    if net.context is not None:
        context = graph.input("context", net.context.in_channels, _PACKED)
        x = graph.add("Add", x, graph.convolution(net.context, context))
    features = graph.stack(net.blocks, graph.tuned(x, net.tune, graph.quality()))
    linear = _shuffled(graph, graph.convolution(net.linear, y))
    packed = graph.add("Add", linear, graph.convolution(net.leave, features))
    graph.output("packed", packed, PACKED_CHANNELS, _PACKED)
    graph.output("features", features, net.leave.in_channels, _PACKED)


def _shuffled(graph: Graph, x: str) -> str:
    return graph.add("DepthToSpace", x, blocksize=2, mode="CRD")


def _detail(graph: Graph, net: DetailSynthesis, *, intra: bool) -> None:
    entries = {"picture": net.picture, "features": net.intra if intra else net.inter}
    if net.memory is not None and not intra:  # at the start of a GOP there is nothing before
        entries["before"] = net.memory
    if net.noise is not None:
        entries["noise"] = net.noise
    values = [
        graph.convolution(layer, graph.input(name, layer.in_channels, _PACKED))
        for name, layer in entries.items()
    ]
    x = values[0]
    for value in values[1:]:
        x = graph.add("Add", x, value)
    x = graph.stack(net.blocks, graph.tuned(x, net.tune, graph.quality()))
    graph.output("detail", graph.convolution(net.leave, x), PACKED_CHANNELS, _PACKED)
