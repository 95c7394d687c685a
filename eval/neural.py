"""Published learned codecs of CompressAI: `ssf2020` for video, image models frame by frame.

A file is a small header and the entropy coder's strings, each after its length; model, quality and
weights are the decoder's own, as with every published learned codec, and only named by a checksum:

    u32 checksum | u16 width, height, frames | u8 primaries, transfer, matrix, range and siting
    u16 height, width of the hyperlatent | strings of all frames: LEB128 length, bytes

The nets work on RGB, and their entropy models on floats: a file decodes where it was made, with
equal versions of everything. Both directions run on one thread unless told otherwise.
"""

from __future__ import annotations

import hashlib
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from gancodec.errors import InputError, UsageError
from gancodec.eval.clips import Clip
from gancodec.fileio.parallel import one_thread
from gancodec.train.compressai_bridge import VIDEO_MODELS, build_model
from gancodec.types import Color, FrameBatch, Plane
from gancodec.video.color import rgb_to_yuv420, yuv420_to_rgb

_HEADER = struct.Struct("<I3H4B2H")
_MULTIPLE = {"ssf2020": 128}  # of the sides of a picture that the nets take
_IMAGE_MULTIPLE = 64
_INTER_PARTS = ("motion", "residual")


class CompressAiCodec:
    """A model of CompressAI's zoo.

    Args:
        quality: of the architecture, as CompressAI counts, from 1.
        model: its name, such as "ssf2020", "mbt2018-mean" or "cheng2020-anchor".
        weights: a safetensors file (`compressai_bridge` says how to make one); ``{quality}`` in
            its name stands for the quality. Without it the weights are random: that shows speed,
            and `scores_quality` is False, because neither rate nor picture mean anything.
        gop: distance between intra frames of a video model; the whole clip unless given, as in
            CompressAI's own evaluation.
        seed: of random weights.
        threads: 1, or 0 for as many as torch is set to.

    Raises:
        UsageError: compressai is missing, or has no such model or quality.
        ModelError: the weights cannot be used.
    """

    suffix: ClassVar[str] = ".cai"

    def __init__(
        self,
        quality: float,
        *,
        model: str = "ssf2020",
        weights: str | None = None,
        gop: int | None = None,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        if quality != int(quality):
            raise UsageError(f"the quality of {model} is a whole number, got {quality:g}")
        if gop is not None and gop < 1:
            raise UsageError(f"gop is the distance between intra frames, at least 1, got {gop}")
        if threads not in (0, 1):
            raise UsageError(f"threads is 1, or 0 for torch's own number, got {threads}")
        level = int(quality)
        path = None if weights is None else Path(weights.replace("{quality}", f"{level}"))
        self._nets = build_model(model, level, path, seed=seed)
        self._video = model in VIDEO_MODELS
        self._multiple = _MULTIPLE.get(model, _IMAGE_MULTIPLE)
        self._gop = gop
        self._threads = one_thread if threads else nullcontext
        self.scores_quality = path is not None
        named = "random weights: speed only"
        if path is not None:
            named = f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        self._checksum = zlib.crc32(f"{model} {level} {named} {seed}".encode())
        self.versions = {
            "compressai": sys.modules["compressai"].__version__,
            "torch": torch.__version__,
            "model": f"{model} {level}",
            "weights": named,
        }

    def encode(self, clip: Clip) -> bytes:
        """The whole file of a clip."""
        color = clip.info.color
        shapes: list[tuple[int, int]] = []
        strings: list[bytes] = []
        with self._threads(), torch.inference_mode():
            for first in self._gops(len(clip)):
                frames = clip.frames[first : first + (self._gop or len(clip))]
                pictures = [self._to_tensor(frames[n : n + 1], color) for n in range(len(frames))]
                shapes.append(self._compress(pictures, strings))
        head = _HEADER.pack(
            self._checksum,
            *(clip.info.width, clip.info.height, len(clip)),
            *(color.primaries, color.transfer, color.matrix),
            color.full_range | color.chroma_location << 1,
            *shapes[0],  # all pictures are of one size
        )
        return head + b"".join(_varint(len(s)) + s for s in strings)

    def decode(self, data: bytes) -> FrameBatch:
        """The frames of a file.

        Raises:
            InputError: it was made with another model, quality or weights, or is damaged.
        """
        if len(data) < _HEADER.size:
            raise InputError(f"{len(data)} bytes are too few for a header; the file is damaged")
        head = _HEADER.unpack_from(data)
        checksum, width, height, count, primaries, transfer, matrix, tags, *shape = head
        if checksum != self._checksum:
            raise InputError("the file was made with another model, quality or weights")
        color = Color(primaries, transfer, matrix, bool(tags & 1), tags >> 1)
        strings = _strings(data[_HEADER.size :])
        batches: list[tuple[Plane, Plane, Plane]] = []
        with self._threads(), torch.inference_mode():
            for first in self._gops(count):
                frames = min(self._gop or count, count - first)
                pictures = self._decompress(strings, frames, tuple(shape))
                batches += [_to_planes(p[..., :height, :width], color) for p in pictures]
        y, u, v = (np.concatenate(planes) for planes in zip(*batches, strict=True))
        return FrameBatch(y, u, v, np.arange(count, dtype=np.int64))

    def _gops(self, count: int) -> range:
        return range(0, count, self._gop or count)

    def _compress(self, pictures: list[Tensor], strings: list[bytes]) -> tuple[int, int]:
        """Add the strings of a GOP; the height and width of the latents that come first."""
        nets: Any = self._nets
        if self._video:
            (intra, *inter), (shape, *_) = nets.compress(pictures)
            strings += [s[0] for s in intra]
            strings += [s[0] for frame in inter for part in _INTER_PARTS for s in frame[part]]
            return tuple(shape)
        for picture in pictures:
            coded = nets.compress(picture)
            strings += [s[0] for s in coded["strings"]]
        return tuple(coded["shape"])

    def _decompress(
        self, strings: Iterator[bytes], count: int, shape: tuple[int, ...]
    ) -> list[Tensor]:
        """Pictures (1, 3, H, W) of a GOP, in 0..1 and a little beyond."""
        nets: Any = self._nets

        def take(number: int) -> list[list[bytes]]:
            return [[next(strings)] for _ in range(number)]

        try:
            if not self._video:
                number = 2 if hasattr(nets, "gaussian_conditional") else 1
                return [nets.decompress(take(number), shape)["x_hat"] for _ in range(count)]
            coded: list[Any] = [take(2)]
            shapes: list[Any] = [shape]
            for _ in range(count - 1):
                coded.append({part: take(2) for part in _INTER_PARTS})
                shapes.append(dict.fromkeys(_INTER_PARTS, shape))
            pictures: list[Tensor] = nets.decompress(coded, shapes)
            return pictures
        except StopIteration:
            raise InputError("the file ends before its last frame; it is damaged") from None

    def _to_tensor(self, frame: FrameBatch, color: Color) -> Tensor:
        """RGB (1, 3, H, W) in 0..1, its last row and column repeated up to what the nets take."""
        rgb = torch.from_numpy(yuv420_to_rgb(frame, color)).permute(0, 3, 1, 2).float() / 255
        height, width = rgb.shape[-2:]
        below, right = -height % self._multiple, -width % self._multiple
        return nn.functional.pad(rgb, (0, right, 0, below), mode="replicate")


def _to_planes(picture: Tensor, color: Color) -> tuple[Plane, Plane, Plane]:
    rgb = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return rgb_to_yuv420(np.ascontiguousarray(rgb.numpy()), color)


def _varint(value: int) -> bytes:
    """LEB128: seven bits a byte, the lowest first, a set top bit where more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _strings(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length = shift = 0
        while True:
            if at == len(data):
                raise InputError("a length breaks off at the end of the file; it is damaged")
            length |= (data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                break
        if at + length > len(data):
            raise InputError(f"a string of {length} bytes goes beyond the file; it is damaged")
        yield data[at : at + length]
        at += length
