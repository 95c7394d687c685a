"""XPSNR: PSNR with errors weighted by how well a block's detail and motion hide them.

Helmrich, Bosse, Schwarz, Marpe, Wiegand: A Study of the Extended Perceptually Weighted Peak
Signal-to-Noise Ratio (ITU Journal, 2020), by FFmpeg's filter of that name, which runs inside PyAV.
Weights of a frame look at the source one or, from 32 frames/s on, two frames back; before the
first frame the filter sees black.
"""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from gancodec.errors import UsageError
from gancodec.eval.fidelity import PSNR_OF_EQUAL_DB, XPSNR_LEAST_SIDE
from gancodec.eval.metric import Context, Values
from gancodec.types import FrameBatch, Plane

_KEY = "lavfi.xpsnr.xpsnr.y"


def check_filter() -> None:
    """Check that the FFmpeg libraries of PyAV have the filter.

    Raises:
        UsageError: they have not.
    """
    if "xpsnr" not in av.filter.filters_available:
        raise UsageError(
            "xpsnr needs a PyAV whose FFmpeg has the filter xpsnr (7.1 or newer); install its "
            "wheel with `pip install --force-reinstall av`, or leave xpsnr out with -m"
        )


class XpsnrMeter:
    """XPSNR of luma in dB, a value a frame; `PSNR_OF_EQUAL_DB` where planes are equal."""

    def __init__(self, context: Context) -> None:
        self._fps = context.info.fps
        self._graph: _Graph | None = None
        self._values: list[float] = []

    def add(self, reference: FrameBatch, distorted: FrameBatch) -> None:
        """The next frames of both clips."""
        if self._graph is None:
            height, width = reference.y.shape[1:]
            if min(width, height) < XPSNR_LEAST_SIDE:  # the filter would end the process
                raise UsageError(
                    f"xpsnr needs pictures of at least {XPSNR_LEAST_SIDE} samples a side, "
                    f"these are {width}x{height}"
                )
            self._graph = _Graph(width, height, self._fps)
        for a, b in zip(reference.y, distorted.y, strict=True):
            self._values += self._graph.put(a, b)

    def finish(self) -> Values:
        """A value a frame."""
        if self._graph is not None:
            self._values += self._graph.close()
            self._graph = None
        return np.minimum(np.array(self._values, np.float64), PSNR_OF_EQUAL_DB)


class _Graph:
    """The filter with a source for each clip and a sink."""

    def __init__(self, width: int, height: int, fps: Fraction) -> None:
        graph = Graph()
        graph.threads = 1
        # The filter takes the rate from its input; Graph.add_buffer cannot give one.
        source = f"video_size={width}x{height}:pix_fmt=gray:time_base={1 / fps}:frame_rate={fps}"
        self._distorted = graph.add("buffer", source)
        self._reference = graph.add("buffer", source)
        compare, self._sink = graph.add("xpsnr"), graph.add("buffersink")
        # Weights are taken from the first input, whatever the filter's own names for them say.
        self._reference.link_to(compare, 0, 0)
        self._distorted.link_to(compare, 0, 1)
        compare.link_to(self._sink)
        graph.configure()
        self._graph = graph  # owns the contexts
        self._time_base = 1 / fps
        self._count = 0

    def put(self, reference: Plane, distorted: Plane) -> list[float]:
        """One more pair of luma planes; the values that are known by now."""
        self._push(self._reference, reference)
        self._push(self._distorted, distorted)
        self._count += 1
        return self._pull()

    def close(self) -> list[float]:
        """The values that were still to come."""
        self._reference.push(None)
        self._distorted.push(None)
        return self._pull()

    def _push(self, source: FilterContext, plane: Plane) -> None:
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(plane), format="gray")
        frame.pts, frame.time_base = self._count, self._time_base
        source.push(frame)

    def _pull(self) -> list[float]:
        values: list[float] = []
        while True:
            try:
                frame = self._sink.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return values  # it wants more frames, or has given all
            values.append(float(frame.metadata[_KEY]))
