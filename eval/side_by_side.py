"""Pictures beside one another with a label over each, sample for sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gancodec.errors import InputError, UsageError

Picture = npt.NDArray[np.uint8]  # (H, W, 3) RGB

_DPI = 100
_LABEL_PX = 28
_GAP_PX = 4


def save_side_by_side(rows: Sequence[Sequence[tuple[str, Picture]]], path: Path) -> None:
    """Write rows of labelled pictures, all of one size, as the file's suffix says.

    Raises:
        UsageError: sizes that differ, or no picture at all.
        InputError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sizes = {picture.shape for row in rows for _, picture in row}
    if len(sizes) != 1:
        raise UsageError(f"pictures side by side are of one size, got {sorted(sizes)}")
    height, width, _ = sizes.pop()
    across, down = width + _GAP_PX, height + _LABEL_PX
    whole_width = max(map(len, rows)) * across - _GAP_PX
    whole_height = len(rows) * down
    # Without pyplot: no window system, no global state.
    figure = Figure(figsize=(whole_width / _DPI, whole_height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for number, row in enumerate(reversed(rows)):  # from the lower edge up
        bottom = number * down
        for column, (label, picture) in enumerate(row):
            left = column * across
            figure.figimage(picture, xo=left, yo=bottom, origin="upper")
            figure.text(
                (left + width / 2) / whole_width,
                (bottom + height + _LABEL_PX / 2) / whole_height,
                label,
                ha="center",
                va="center",
                fontsize=10,
            )
    try:
        figure.savefig(path, dpi=_DPI)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
