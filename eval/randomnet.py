"""A fixed net of random 3-D convolutions and the short windows of video that it describes.

Nets for video that were trained (I3D) may not be shipped, and what a random one measures is good
enough to tell kinds of damage apart: see `null_ladder`. Its weights are uniform, from the raw bits
of PCG64 and nothing else, so no version of any library changes them; `SHA256` is checked.
"""

from __future__ import annotations

import hashlib
from collections import deque
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from gancodec.errors import UsageError
from gancodec.eval.rgb import Picture

FRAMES, SIDE = 16, 32  # of a window; every window is 16 x 32 x 32
STEP = 8  # frames from one window to the next at the same place: half of both is the same
_MOST_ROWS, _MOST_COLUMNS = 16, 24  # of windows: enough, and pictures of any size cost the same
_SEED = 20260101
_WIDTHS = (3, 32, 64, 96)
_KERNEL = 3
FEATURES = 3 * sum(_WIDTHS[1:])  # 576
SHA256 = "c598e399511b87285984ce79f8377e41a7c6e7d0f5736951a5e5084ee19ab7bd"
_BATCH = 64  # windows at a time: 64 x 3 x 16 x 32 x 32 floats are 12 MiB
_MOTION_GAIN = 4.0  # brings differences of frames to about the range of frames

Kind = Literal["frames", "motion"]
Windows = npt.NDArray[np.uint8]  # (N, 16, 32, 32, 3) RGB


@cache
def load_weights() -> tuple[torch.Tensor, ...]:
    """Weights of the three layers, (outputs, inputs, 3, 3, 3), of He variance 2 / fan-in.

    Raises:
        UsageError: they are not those that they were when this was written.
    """
    bits = np.random.PCG64(_SEED)
    digest = hashlib.sha256()
    layers = []
    for inputs, outputs in pairwise(_WIDTHS):
        shape = (outputs, inputs, _KERNEL, _KERNEL, _KERNEL)
        drawn = bits.random_raw(int(np.prod(shape))) >> np.uint64(40)  # 24 bits: exact floats
        uniform = (drawn.astype(np.float64) + 0.5) / 2**23 - 1  # variance 1/3
        layer = (uniform * np.sqrt(6 / (inputs * _KERNEL**3))).astype("<f4").reshape(shape)
        digest.update(layer.tobytes())
        layers.append(torch.from_numpy(layer))
    if digest.hexdigest() != SHA256:
        raise UsageError(
            f"the random net of fd-a and fd-m came out as {digest.hexdigest()[:16]}..., not as "
            f"{SHA256[:16]}...: NumPy {np.__version__} draws other bits; use another version"
        )
    return tuple(layers)


def extract_features(windows: Windows, kind: Kind) -> npt.NDArray[np.float64]:
    """Features (N, 576) of windows: mean, deviation and deviation in time of each channel."""
    batches = [windows[n : n + _BATCH] for n in range(0, len(windows), _BATCH)]
    found = [describe(to_tensor(batch), kind) for batch in batches]
    return np.concatenate([np.empty((0, FEATURES)), *found])


def to_tensor(windows: Windows) -> torch.Tensor:
    """Windows as the net takes them: (N, 3, 16, 32, 32), -1 to 1."""
    return torch.from_numpy(windows).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def describe(x: torch.Tensor, kind: Kind) -> npt.NDArray[np.float64]:
    """Features (N, 576) of (N, 3, 16, 32, 32), of the frames or of their differences."""
    with torch.inference_mode():
        if kind == "motion":
            x = _MOTION_GAIN * (x[:, :, 1:] - x[:, :, :-1])
        found = []
        for n, weight in enumerate(load_weights()):
            stride = (1 if n == 0 else 2, 2, 2)
            x = F.relu(F.conv3d(x, weight, stride=stride, padding=_KERNEL // 2))
            found += [x.mean((2, 3, 4)), x.std((2, 3, 4)), x.mean((3, 4)).std(2)]
        return torch.cat(found, 1).double().numpy()


class WindowCutter:
    """Frames in, windows out: 16 frames of each tile of the picture, every 8 frames.

    Tiles are 32 x 32, do not overlap, and are spread evenly: 13 x 7 of them at 416x240, so that 32
    frames give 273 windows; never more than 24 x 16.
    """

    def __init__(self) -> None:
        self._tiles: deque[npt.NDArray[np.uint8]] = deque(maxlen=FRAMES)
        self._seen = 0

    def push(self, picture: Picture) -> Windows | None:
        """The windows that end with this frame; None when no windows end here."""
        self._tiles.append(_cut_tiles(picture))
        self._seen += 1
        if self._seen < FRAMES or (self._seen - FRAMES) % STEP:
            return None
        return np.stack(self._tiles, axis=1)


def _cut_tiles(picture: Picture) -> npt.NDArray[np.uint8]:
    """Tiles (N, 32, 32, 3) of a picture, row by row."""
    height, width, _ = picture.shape
    rows, columns = _starts(height, _MOST_ROWS), _starts(width, _MOST_COLUMNS)
    return np.stack([picture[y : y + SIDE, x : x + SIDE] for y in rows for x in columns])


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of windows of a picture."""
    return len(_starts(height, _MOST_ROWS)), len(_starts(width, _MOST_COLUMNS))


def _starts(length: int, most: int) -> list[int]:
    count = min(length // SIDE, most)
    return [n * (length - SIDE) // max(count - 1, 1) for n in range(count)]
