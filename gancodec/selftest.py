"""Proof that this machine codes exactly: what a user runs first, and what a bug report begins with.

    models        every installed one loads, and its prior gives the answers stored with it
    range coder   what goes in comes out, and in between are the bytes of every other machine
    settings      a clip decodes to the same symbols over threads, memory layouts and oneDNN
    golden file   the shipped file, coded elsewhere, decodes to the symbols it promises

The golden file is made anew only together with new weights, after the packaged manifest names them:

    python -m gancodec.selftest gancodec/weights/selftest.gvc
"""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from gancodec.bitstream import (
    AtomicFile,
    CodedFrame,
    Gop,
    Header,
    Reader,
    SymbolDecoder,
    SymbolEncoder,
    TableSet,
    Writer,
)
from gancodec.codec import Decoder, Encoder
from gancodec.config import EncodeOptions
from gancodec.errors import GancodecError
from gancodec.nn.fixed import FixedConv2d
from gancodec.registry import Model, find_model, list_models, load_model
from gancodec.types import FrameType, VideoInfo
from gancodec.video.synth import clip_info, scene_cut

GOLDEN = Path(__file__).parent / "weights" / "selftest.gvc"

_SIZE = (112, 70)  # no multiple of 16: padding and cropping are in the path
_FRAMES = 4  # two scenes: an intra and an inter frame of each
_OPTIONS = EncodeOptions(quality=24, preset="fast")
_GOLDEN_OPTIONS = EncodeOptions(quality=28, gop=5)

# BLAKE2b of the range coder's bytes for `_coder_input`; they are the file format, so this never
# changes.
_CODER_BYTES = "faedfcecdcecdf9ecddfa8d5ec342cb3"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report: what was tested, whether it held, and what was seen."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class _Setting:
    """One way to run the same nets."""

    threads: int
    channels_last: bool
    onednn: bool

    @property
    def opposite(self) -> _Setting:
        """The setting that differs in everything."""
        threads = 3 - self.threads  # 1 and 2
        return _Setting(threads, not self.channels_last, not self.onednn)

    def __str__(self) -> str:
        layout = "channels last" if self.channels_last else "contiguous"
        return f"{self.threads} threads, {layout}, oneDNN {'on' if self.onednn else 'off'}"


# Half of the eight there are, chosen so that the opposites of these are the other half.
_SETTINGS = (
    _Setting(1, channels_last=True, onednn=True),
    _Setting(1, channels_last=False, onednn=False),
    _Setting(2, channels_last=True, onednn=False),
    _Setting(2, channels_last=False, onednn=True),
)


def run_selftest(device: str = "cpu") -> Iterator[Check]:
    """Every check, each as soon as it is done; a failed one does not stop those behind it."""
    yield _checked("range coder", check_range_coder)
    models: list[Model] = []

    def load(name: str) -> str:
        model = load_model(name, device)
        models.append(model)
        digest = model.references[0].sha256.hex()
        return f"known answers match, weights {digest[:12]}"

    names = sorted(list_models())
    if not names:
        yield Check("models", False, "none is installed; reinstall gancodec")
    for name in names:
        yield _checked(f"model {name}", partial(load, name))
    for model in models:
        yield _checked(f"settings {model.name}", partial(check_settings, model, device))
    if GOLDEN.is_file():
        yield _checked("golden file", partial(check_golden, GOLDEN, device))


def _checked(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except (GancodecError, _MismatchError) as error:
        return Check(name, False, str(error))
    except Exception as error:  # whatever this machine does wrong is a finding, not a crash
        return Check(name, False, f"{type(error).__name__}: {error}")


class _MismatchError(Exception):
    """Two things that must be equal are not."""


# ── The range coder ──────────────────────────────────────────────────────────────────────────


def check_range_coder() -> str:
    """Code numbers inside and outside their tables, and compare the bytes with the known ones."""
    tables, values, index = _coder_input()
    encoder = SymbolEncoder(tables)
    encoder.encode(values, index)
    data = encoder.finish()
    decoder = SymbolDecoder(tables, data)
    if not np.array_equal(decoder.decode(index), values):
        raise _MismatchError("numbers come back changed; reinstall constriction")
    decoder.finish()
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    if digest != _CODER_BYTES:
        raise _MismatchError(f"its bytes are {digest}, not {_CODER_BYTES}; reinstall constriction")
    return f"{len(values)} numbers come back from the expected {len(data)} bytes"


def _coder_input() -> tuple[TableSet, npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Tables, numbers and table choices from integer arithmetic alone, so the same everywhere."""
    frequencies, offsets = [], []
    for k in range(12):
        side = [max((1 << 14) // (i + 2) ** 2 // (12 - k), 1) for i in range(4 * k + 1)]
        around = [*side[::-1], *side]
        frequencies.append([*around, (1 << 16) - sum(around)])
        offsets.append(-len(side))
    state = np.arange(1, 4001, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    noise = (state >> np.uint64(40)).astype(np.int64)
    index = (noise % 12).astype(np.uint8)
    values = (noise // 12 % 41 - 20) ** 3 // 500  # mostly small, up to +-16
    return TableSet(frequencies, offsets), values.astype(np.int32), index


# ── The same symbols whatever the setting ────────────────────────────────────────────────────


def check_settings(model: Model, device: str = "cpu") -> str:
    """Encode a clip in every setting, and decode it in the opposite one.

    Raises:
        GancodecError: when a decoder meets something that no encoder writes.
    """
    clip = scene_cut(*_SIZE, _FRAMES)
    info = clip_info(clip)
    for setting in _SETTINGS:
        opposite = setting.opposite
        with _applied(setting, model) as nets:
            encoder = Encoder(info, _OPTIONS, model=nets, device=device)
            packets = list(encoder.encode(clip))
        with _applied(opposite, model) as nets:
            decoder = Decoder(info, nets, device=device)
            for packet in packets:
                decoder.decode(packet.kind, packet.pts, packet.data)
                if decoder.symbol_hash != packet.symbol_hash:
                    raise _MismatchError(
                        f"frame {packet.pts} was coded with {setting} and decodes to other symbols "
                        f"with {opposite}; please report it"
                    )
    return (
        f"{len(clip)} frames have the same symbols with 1 and 2 threads, in both memory layouts, "
        "with and without oneDNN"
    )


@contextmanager
def _applied(setting: _Setting, model: Model) -> Iterator[Model]:
    """The model in the setting's memory layout, with torch's flags set for the block."""
    layout = torch.channels_last if setting.channels_last else torch.contiguous_format
    nets = copy.deepcopy(model.nets)
    nets.to(memory_format=layout)  # type: ignore[call-overload]
    for module in nets.modules():
        if isinstance(module, FixedConv2d):
            module.lay_out(layout)
    onednn = torch.backends.mkldnn
    before = torch.get_num_threads(), onednn.enabled
    torch.set_num_threads(setting.threads)
    onednn.enabled = setting.onednn  # type: ignore[assignment]  # a property in disguise
    try:
        yield Model(model.name, nets, model.tables, model.references)
    finally:
        torch.set_num_threads(before[0])
        onednn.enabled = before[1]


# ── The golden file ──────────────────────────────────────────────────────────────────────────


def check_golden(path: Path, device: str = "cpu") -> str:
    """Decode a file in every setting and compare each GOP with the symbol hash it carries."""
    with path.open("rb") as stream:
        reader = Reader(stream)
        gops = [event for event in reader.events() if isinstance(event, Gop)]
    model = find_model(reader.models, device)
    header = reader.header
    info = VideoInfo(header.width, header.height, header.fps, header.time_base)
    for setting in _SETTINGS:
        with _applied(setting, model) as nets:
            decoder = Decoder(info, nets, device=device)
            for gop in gops:
                for pts, frame in zip(gop.pts, gop.frames, strict=True):
                    decoder.decode(FrameType(frame.kind), pts, frame.data)
                if decoder.symbol_hash != gop.symbol_hash:
                    raise _MismatchError(
                        f"the GOP at {gop.pts[0]} decodes to other symbols than it was made "
                        f"with ({setting}); please report it"
                    )
    return f"{reader.frames} frames of {model.name} decode to the symbols they were made with"


def write_golden(path: Path, model: Model) -> None:
    """Code two scenes with ``model`` into the file that `check_golden` decodes."""
    clip = scene_cut(144, 90, 8, seed=3)
    info = clip_info(clip)
    encoder = Encoder(info, _GOLDEN_OPTIONS, model=model)
    packets = list(encoder.encode(clip))
    starts = [i for i, packet in enumerate(packets) if packet.kind == FrameType.INTRA]
    header = Header(info.width, info.height, Fraction(25), Fraction(1, 25), n_frames=len(packets))
    with AtomicFile(path) as file:
        writer = Writer(file, header, model.references)
        for low, high in pairwise([*starts, len(packets)]):
            group = packets[low:high]
            frames = tuple(CodedFrame(int(p.kind), p.data) for p in group)
            writer.write_gop(Gop(tuple(p.pts for p in group), frames, group[-1].symbol_hash))
        writer.close()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    write_golden(target, load_model(EncodeOptions().model))
