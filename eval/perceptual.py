"""How a picture looks beside its source, by models of human judgement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from gancodec.errors import UsageError
from gancodec.eval.metric import Context, Meter, Metric
from gancodec.eval.packages import needs_module, needs_package
from gancodec.eval.rgb import Picture, RgbMeter, per_picture

# The smallest sides are said here too, so that a list of metrics needs neither torch nor packages.
_VMAF_SIDE = 64  # samples: below it the package strays from libvmaf by more than 0.3
_SSIMULACRA2_SIDE = 113  # samples: below it there are fewer than six scales, with others' weights
_ST_LPIPS_SIDE = 24  # samples: in smaller pictures, padding reaches beyond the other side
_LPIPS_SIDE = 31  # samples, so that a feature is left behind AlexNet's poolings
_DISTS_SIDE = 32  # samples, so that the features of VGG16's last stage have a variance


def _start_vmaf(context: Context) -> Meter:
    from gancodec.eval.vmaf import VmafMeter

    return VmafMeter()


def _ssimulacra2(reference: Picture, distorted: Picture) -> float:
    from gancodec.eval.ssimulacra import ssimulacra2

    return ssimulacra2(reference, distorted)


def _st_lpips(net: Literal["alex", "vgg"]) -> Metric:
    def measure(reference: Picture, distorted: Picture) -> float:
        from gancodec.eval.stlpips import st_lpips

        return st_lpips(net, reference, distorted)

    def load() -> object:
        from gancodec.eval.stlpips import import_package

        return import_package()

    name = f"st-lpips-{net}"
    return Metric(
        name,
        f"ST-LPIPS ({'AlexNet' if net == 'alex' else 'VGG16'})",
        "",
        False,
        per_picture(measure),
        "Ghildyal, Liu: Shift-tolerant Perceptual Similarity Metric (ECCV 2022)",
        least_side=_ST_LPIPS_SIDE,
        check=needs_package(name, "stlpips_pytorch", load),
        judges=net == "vgg",  # the other may be trained on
    )


def _check_weights(metric: str, weights: Mapping[str, Path]) -> None:
    if metric not in weights:
        raise UsageError(
            f"{metric} needs its weights: they cannot be shipped, so name a file by --weights "
            f"{metric}=FILE or in a suite's [weights]; the docstring of "
            "gancodec.eval.deep_features says how to write one"
        )
    from gancodec.eval.deep_features import check_weights

    check_weights(metric, weights[metric])


def _by_weights(metric: Literal["lpips", "dists"]) -> Callable[[Context], Meter]:
    def start(context: Context) -> Meter:
        _check_weights(metric, context.weights)
        from gancodec.eval import deep_features

        function = deep_features.lpips if metric == "lpips" else deep_features.dists
        return RgbMeter(partial(function, context.weights[metric]), context)

    return start


PERCEPTUAL: tuple[Metric, ...] = (
    Metric(
        "vmaf",
        "VMAF",
        "",
        True,
        _start_vmaf,
        "Li et al.: Toward a Practical Perceptual Video Quality Metric (Netflix 2016), v0.6.1",
        samples=False,  # motion is looked for in the frames before and after
        least_side=_VMAF_SIDE,
        check=needs_module("vmaf", "vmaf-torch", "vmaf_torch"),
        judges=True,
    ),
    Metric(
        "ssimulacra2",
        "SSIMULACRA 2",
        "",
        True,
        per_picture(_ssimulacra2),
        "Sneyers: SSIMULACRA 2.1 (Cloudinary 2023)",
        least_side=_SSIMULACRA2_SIDE,
        judges=True,
    ),
    _st_lpips("alex"),
    _st_lpips("vgg"),
    Metric(
        "lpips",
        "LPIPS (AlexNet)",
        "",
        False,
        _by_weights("lpips"),
        "Zhang et al.: The Unreasonable Effectiveness of Deep Features (CVPR 2018), v0.1",
        least_side=_LPIPS_SIDE,
        check=partial(_check_weights, "lpips"),
    ),
    Metric(
        "dists",
        "DISTS",
        "",
        False,
        _by_weights("dists"),
        "Ding, Ma, Wang, Simoncelli: Image Quality Assessment (IEEE TPAMI 2022)",
        least_side=_DISTS_SIDE,
        check=partial(_check_weights, "dists"),
        judges=True,
    ),
)
