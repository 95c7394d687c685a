"""Motion vectors that x264 finds: a quick, rate-aware search of another encoder, borrowed.

x264 codes the source on the side, a frame in and a packet out, and libavcodec tells the vectors of
that packet when decoding it. The bytes are thrown away. Ten times as fast as the search of
`gancodec.nn.motion`, and on its own within 1 to 3 % of its files; docs/decisions.md has the table.
"""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import CodecContext

from gancodec.types import Plane

CELL = 8  # luma samples; smaller blocks of x264 are rare, and the last of them counts
_CRF = 26  # of the source on the side: vectors hardly depend on it
_PARAMETERS = "keyint=infinite:scenecut=0:ref=1:bframes=0:weightp=0:mbtree=0:threads=1"


def has_x264() -> bool:
    """Whether this build of PyAV can encode with libx264."""
    return "libx264" in av.codecs_available


class BorrowedVectors:
    """The vectors of one run of frames, each from the frame before it.

    Args:
        width, height: of all frames, multiples of 16.
        preset: x264's, such as "veryfast".
    """

    def __init__(self, width: int, height: int, preset: str) -> None:
        self._size = width, height
        encoder = av.CodecContext.create("libx264", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base = Fraction(1, 25)
        encoder.thread_count = 1  # the same vectors on any number of cores
        encoder.options = {
            "preset": preset,
            "tune": "zerolatency",
            "crf": str(_CRF),
            "x264-params": _PARAMETERS,
        }
        decoder = CodecContext.create("h264", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        decoder.options = {"flags2": "+export_mvs"}
        decoder.thread_count = 1
        self._encoder, self._decoder = encoder, decoder
        self._count = 0

    def push(self, y: Plane, u: Plane, v: Plane) -> npt.NDArray[np.int32]:
        """Field (2, H/8, W/8) of the next frame, quarter samples, x first; zero for the first.

        A block at p resembles the frame before at p plus its vector. Blocks that x264 codes
        without motion have zeros.
        """
        frame = av.VideoFrame.from_ndarray(
            np.concatenate([y.ravel(), u.ravel(), v.ravel()]).reshape(-1, y.shape[1]),
            format="yuv420p",
        )
        frame.pts = self._count
        self._count += 1
        field = np.zeros((2, self._size[1] // CELL, self._size[0] // CELL), np.int32)
        for packet in self._encoder.encode(frame):
            for decoded in self._decoder.decode(packet):
                side = decoded.side_data.get("MOTION_VECTORS")
                if side is not None:
                    _spread(side.to_ndarray(), field)
        return field


def _spread(vectors: npt.NDArray[np.void], field: npt.NDArray[np.int32]) -> None:
    """Write the vectors of blocks of 16x16 and less into a field of 8x8 blocks."""
    rows, cols = field.shape[1:]
    order = np.argsort(-vectors["w"].astype(int) * vectors["h"], kind="stable")
    vectors = vectors[order]  # small blocks overwrite large ones
    for width, height in ((16, 16), (16, 8), (8, 16), (8, 8), (8, 4), (4, 8), (4, 4)):
        some = vectors[(vectors["w"] == width) & (vectors["h"] == height)]
        scale = np.maximum(some["motion_scale"].astype(int), 1)
        x = (some["dst_x"].astype(int) - width // 2) // CELL
        y = (some["dst_y"].astype(int) - height // 2) // CELL
        for dy in range(max(height // CELL, 1)):
            for dx in range(max(width // CELL, 1)):
                inside = (y + dy >= 0) & (y + dy < rows) & (x + dx >= 0) & (x + dx < cols)
                at = (y + dy)[inside], (x + dx)[inside]
                for axis, name in enumerate(("motion_x", "motion_y")):
                    field[axis][at] = (some[name].astype(int) * 4 // scale)[inside]
