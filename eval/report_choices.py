"""What a report shows of a run: sizes, frames and squares, chosen from records and pictures.

The choice is deterministic, and no codec has a say in it but by its files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gancodec.eval.metrics import find_metric
from gancodec.eval.records import Record

Box = tuple[int, int, int, int]  # x, y, width, height in luma samples

_GRID = 16  # squares begin at multiples of it: chroma samples stay whole
_NEAR = math.log(1.2)  # sizes that differ by less are fair to compare


def choose_sizes(records: Sequence[Record], lead: str, steps: int) -> list[int]:
    """At most ``steps`` sizes in bytes to compare at, rising: of the lead's own files.

    Those for which every codec has a file of about that size; if there are too few, the best ones.
    """
    by_label = _by_label(records)
    own = sorted({r.bytes for r in by_label.get(lead) or next(iter(by_label.values()), [])})

    def worst_mismatch(size: int) -> float:
        return max(_distance(nearest(rs, size), size) for rs in by_label.values())

    fair = [size for size in own if worst_mismatch(size) <= _NEAR]
    if len(fair) < steps:
        fair = sorted(sorted(own, key=worst_mismatch)[:steps])
    count = min(steps, len(fair))
    if count < 2:
        return fair[:count]
    return [fair[round(i * (len(fair) - 1) / (count - 1))] for i in range(count)]


def match_sizes(records: Sequence[Record], size: int) -> dict[str, Record]:
    """Of each codec the record nearest in bytes, by label."""
    return {label: nearest(rs, size) for label, rs in _by_label(records).items()}


def nearest(records: Sequence[Record], size: int) -> Record:
    """The record whose file is nearest by ratio; of equal ones the smaller file."""
    return min(records, key=lambda r: (_distance(r, size), r.bytes))


def value_at(record: Record, metric: str, frame: int) -> float | None:
    """What a metric says of one frame, from 0; None where it was not judged by itself."""
    score = record.scores[metric]
    per = find_metric(metric).per
    if per == "clip":
        return None
    index, rest = divmod(frame, score.every)
    if per == "pair":
        index -= 1
    return score.values[index] if rest == 0 and 0 <= index < len(score.values) else None


def _distance(record: Record, size: int) -> float:
    return abs(math.log(record.bytes / size))


def _by_label(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.bytes > 0:
            found.setdefault(record.codec, []).append(record)
    return found


def choose_frames(count: int, wanted: int, every: int = 1) -> list[int]:
    """Frames spread over a clip, on multiples of ``every``, where dear metrics have values."""
    spread = [round((i + 1) * count / (wanted + 1)) for i in range(wanted)]
    last = (count - 1) // every * every
    return sorted({min(round(n / every) * every, last) for n in spread})


def film_range(count: int, around: int, wanted: int) -> range:
    """Consecutive frames that hold ``around``, a third of the way in where there is room."""
    wanted = min(wanted, count)
    first = min(max(around - wanted // 3, 0), count - wanted)
    return range(first, first + wanted)


def choose_crops(
    source: npt.NDArray[np.uint8],
    decoded: Sequence[npt.NDArray[np.uint8]],
    side: int,
    wanted: int,
) -> list[Box]:
    """Squares of luma (N, H, W): first where the codecs differ most, then where most goes on.

    The second sort is by the source's own contrast between neighbours in place and time; squares
    overlap by half at most. Small pictures have one square, as large as they are.
    """
    _, height, width = source.shape
    side_x, side_y = min(side, width), min(side, height)
    reference = source.astype(np.float32)
    spread = np.var(np.stack([reference, *(d.astype(np.float32) for d in decoded)]), axis=0)
    busy = np.abs(np.diff(reference, axis=2, prepend=reference[:, :, :1]))
    busy += np.abs(np.diff(reference, axis=1, prepend=reference[:, :1]))
    busy += np.abs(np.diff(reference, axis=0, prepend=reference[:1]))
    boxes: list[Box] = []
    for amount in (spread, *[busy] * (wanted - 1)):
        best: tuple[float, Box] | None = None
        for box, total in _squares(amount.sum(axis=0), side_x, side_y):
            apart = all(_shared(box, other) <= side_x * side_y / 2 for other in boxes)
            if apart and (best is None or total > best[0]):
                best = total, box
        if best is not None:
            boxes.append(best[1])
    return boxes


def _squares(
    amount: npt.NDArray[np.float32], width: int, height: int
) -> Iterator[tuple[Box, float]]:
    sums = np.zeros((amount.shape[0] + 1, amount.shape[1] + 1))
    sums[1:, 1:] = amount.cumsum(0, np.float64).cumsum(1)
    for y in range(0, amount.shape[0] - height + 1, _GRID):
        for x in range(0, amount.shape[1] - width + 1, _GRID):
            corners = sums[y + height, x + width] - sums[y, x + width] - sums[y + height, x]
            yield (x, y, width, height), float(corners + sums[y, x])


def _shared(a: Box, b: Box) -> int:
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(across, 0) * max(down, 0)
