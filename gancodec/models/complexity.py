"""What the nets cost: multiplications and additions (MAC) of every convolution, by the sample.

Counted by running the nets, so that it holds for any architecture. Convolutions are all that counts
beside the warp (under 0.1 kMAC a luma sample) and what QualityKnots multiply.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gancodec.config import CodecConfig
from gancodec.models.compress import MOTION_CHANNELS, GanCodec
from gancodec.nn.planes import PACKED_CHANNELS

_SIDE = 256  # of the picture that is coded: four whole hyper-latents, so that nothing is padded


def convolution_macs(net: nn.Module, run: Callable[[], object]) -> dict[str, float]:
    """MAC by the name of each convolution of ``net`` that ``run`` passes through, for its batch."""
    macs: dict[str, float] = {}
    handles = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):

            def count(
                layer: nn.Conv2d, _: tuple[Tensor, ...], out: Tensor, name: str = name
            ) -> None:
                macs[name] = macs.get(name, 0.0) + layer.weight[0].numel() * out.numel()

            handles.append(module.register_forward_hook(count))
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return macs


def kmac_per_pixel(config: CodecConfig) -> dict[str, float]:
    """Thousands of MAC a luma sample of each part of an architecture.

    Gives ``intra_encoder``, ``intra_decoder``, ``inter_encoder``, ``inter_decoder`` and ``detail``
    (the synthesis head on inter frames). A decoder is what rebuilds the reference: prior without
    hyper-analysis, and synthesis. An encoder is what goes before: analysis and hyper-analysis;
    it runs the decoder's part, too.
    """
    total = dict.fromkeys(
        ("intra_encoder", "intra_decoder", "inter_encoder", "inter_decoder", "detail"), 0.0
    )
    for name, kmac in _kmac_per_layer(config).items():
        total[part_of(name)] += kmac
    return total


def kmac_per_net(config: CodecConfig) -> dict[str, float]:
    """The same by net: ``intra.analysis``, ``inter.synthesis`` and so on, and ``detail``."""
    total: dict[str, float] = {}
    for name, kmac in _kmac_per_layer(config).items():
        codec, net = name.split(".")[:2]
        key = codec if codec == "detail" else f"{codec}.{net}"
        total[key] = total.get(key, 0.0) + kmac
    return total


def _kmac_per_layer(config: CodecConfig) -> dict[str, float]:
    """Thousands of MAC a luma sample of each convolution, by its name."""
    with torch.random.fork_rng(devices=[]):
        nets = GanCodec(config).eval()
    side = _SIDE // 8
    x = torch.zeros(1, PACKED_CHANNELS, side, side)
    quality = torch.tensor([config.levels // 2])
    context = nets.inter.prior.latents + MOTION_CHANNELS
    temporal = torch.zeros(1, context, side // 2, side // 2)

    def run() -> None:
        y = nets.intra.analyse(x, quality)
        nets.intra.synthesise(nets.intra.prior(y, quality, None).y_hat, quality)
        y = nets.inter.analyse(x, x, quality)
        out = nets.inter.synthesise(nets.inter.prior(y, quality, temporal).y_hat, x, quality)
        nets.detail(x, out.features, quality, intra=False, before=x)

    macs = convolution_macs(nets, run)
    return {name: count / _SIDE**2 / 1000 for name, count in macs.items()}


def part_of(name: str) -> str:
    """The part, as `kmac_per_pixel` calls it, that a layer such as ``inter.prior.z_in`` is of."""
    codec, rest = name.split(".", 1)
    if codec == "detail":
        return codec
    encoder = rest.startswith(("analysis.", "prior.analysis."))
    return f"{codec}_{'encoder' if encoder else 'decoder'}"
