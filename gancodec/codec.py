"""The codec: frames to packets and back. Read it top to bottom as the story of a frame.

                                 (8-bit 4:2:0 planes, padded to multiples of 16)
  frame ──► scene cut or GOP full? ── yes ─► intra: analysis ──────────────────► latents y
                    │ no                                                            │
                    ▼                                                               │
            motion search ─► field ─► entropy coder                                 │
                    ▼                                                               │
            warp(reference) = prediction ─► inter: analysis(frame, prediction) ─► latents y
                                                                                    ▼
      integers only:   z = hyper-latents of y ─► prior ─► mean, table ─► symbol = round(y - mean)
                                                                                    │
  packet ◄── quality byte + range coder's words ◄───────────────────────────────────┤
                                                                                    ▼
      floats, any machine:   y_hat = symbol + mean ─► synthesis (+ prediction) ─► 8-bit picture
                                                      │                              │
                                      detail head, outside the loop           next reference
                                                      ▼
                                               picture to show

Everything that picks a probability table is integer arithmetic on integers already decoded, so a
file decodes to the same symbols on every machine; only the pictures may differ by one level.
Encoder and decoder walk the same functions; they differ in one callback, which either writes the
symbols it is given or gives back the symbols it reads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gancodec.bitstream import AdaptiveTables, SymbolDecoder, SymbolEncoder, SymbolHasher
from gancodec.config import QUALITY_LEVELS, REALISM, EncodeOptions
from gancodec.effort import MotionFinder
from gancodec.errors import CorruptError, UsageError
from gancodec.models.compress import (
    FrameCodec,
    Reconstruction,
    intra_boost,
    level_of_step,
    step_sizes,
    temporal_context,
)
from gancodec.models.motion_choice import VectorPrices
from gancodec.models.motion_coding import code_field, decode_field
from gancodec.models.synthesis import Show
from gancodec.nn.fixed import ACTIVATION_ONE, CONTEXT_MAX, exact_arithmetic
from gancodec.nn.motion import MOTION_LIMIT, Displacement, warp
from gancodec.nn.planes import BLOCK, Planes, frame_of, pack, planes_of, round_to_8_bit, unpack
from gancodec.nn.prior import ERROR_WEIGHT, HYPER_ERROR_WEIGHT, SCALES
from gancodec.refine import Latents, Refiner, refined
from gancodec.registry import (
    HYPER_TABLES,
    INTER_TABLES,
    INTRA_TABLES,
    MOTION_TABLES,
    Model,
    load_model,
)
from gancodec.scene import is_scene_cut
from gancodec.types import FrameBatch, FrameType, Packet, Plane, VideoInfo

Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.uint8]
# The one difference between the two sides: (values, or None when decoding; tables) -> values
Coder = Callable[[Ints | None, Indices], Ints]

BEST_STEP = 12.0  # quantiser step of inter frames at quality 63, in 8-bit sample values
INTER_PATTERN = (-1, 0, -1, 1)  # levels by position in the GOP; the better ones serve the others
SKIP_BELOW = 6  # table index; below, a non-zero is rarer than 0.4 % and is never coded
HYPER_LIMIT = int(CONTEXT_MAX) - 1


# ── 1. Latents to symbols and back: integers only ────────────────────────────────────────────


def code_latents(
    net: FrameCodec,
    tables: int,
    wanted: Latents,
    quality: Tensor,
    temporal: Tensor | None,
    size: tuple[int, int],
    code: Coder,
) -> Tensor:
    """Code the latents ``wanted.y`` (1, M, h, w), or decode them when it is None.

    Gives the decoded latents as whole numbers, in 1/ACTIVATION_ONE of a quantiser step.
    """
    prior, (y, z, rounding) = net.prior, wanted
    index = prior.z_index(quality).expand(1, prior.hyper, -(-size[0] // 4), -(-size[1] // 4))
    if y is not None:
        y = y.cpu()  # where priors live, whatever the device of the other nets
        z = prior.analysis(y) if z is None else z.cpu()
        z = rounding(z, index, HYPER_TABLES, HYPER_ERROR_WEIGHT).clamp(-HYPER_LIMIT, HYPER_LIMIT)
        y = y.double()
    z_hat = _through(code, z, (index + HYPER_TABLES).numpy())

    def step(mean: Tensor, scale: Tensor, mask: Tensor, part: slice) -> Tensor:
        level = torch.floor((scale + ACTIVATION_ONE // 2) / ACTIVATION_ONE).clamp(0, SCALES - 1)
        coded = (mask.bool() & (level >= SKIP_BELOW)).numpy()
        symbols = np.zeros(level.shape, np.int32)
        chosen = (level.numpy()[coded] + tables).astype(np.uint8)
        wanted = None
        if y is not None:
            whole = rounding(y[:, part] - mean / ACTIVATION_ONE, level, tables, ERROR_WEIGHT)
            wanted = whole.numpy()[coded].astype(np.int32)
        symbols[coded] = code(wanted, chosen)
        return (torch.from_numpy(symbols).double() * ACTIVATION_ONE + mean) * mask

    with exact_arithmetic():
        return prior.walk(z_hat.double() * ACTIVATION_ONE, quality, temporal, size, step)


def _through(code: Coder, values: Tensor | None, index: npt.NDArray[np.int64]) -> Tensor:
    flat = None if values is None else values.numpy().astype(np.int32).ravel()
    decoded = code(flat, index.astype(np.uint8).ravel())
    return torch.from_numpy(decoded.reshape(index.shape)).clamp(-HYPER_LIMIT, HYPER_LIMIT)


# ── 2. The loop: what encoder and decoder both do to get the next reference ──────────────────


@dataclass(slots=True)
class Loop:
    """State of a closed GOP: the last picture, its latents and its motion."""

    model: Model
    device: torch.device
    reference: Planes | None = None
    latents: Tensor | None = None  # integers, (1, M, h, w)
    field: Ints | None = None
    motion: Displacement | None = None  # that of an inter frame
    refiner: Refiner | None = None  # of a patient encoder
    vectors: AdaptiveTables = dataclasses.field(init=False)  # tables, of which motion's learn

    def __post_init__(self) -> None:
        learning = self.model.nets.config.learning_vectors
        self.vectors = AdaptiveTables(self.model.tables, MOTION_TABLES, learning=learning)

    def intra(
        self, x: Planes | None, size: tuple[int, int], quality: Tensor, code: Coder
    ) -> Reconstruction:
        """Code ``x`` (or decode) on its own. ``size`` is in 16x16 blocks."""
        net = self.model.nets.intra
        y = None if x is None else net.analyse(pack(x), quality)
        wanted = refined(self.refiner, net, x, y, quality)
        y_hat = code_latents(net, INTRA_TABLES, wanted, quality, None, size, code)
        out = net.synthesise(self._steps(y_hat), quality)
        latents = self.model.nets.inter.prior.latents
        self.latents = y_hat.new_zeros(1, latents, *size)  # other latents: no context yet
        self.field = np.zeros((2, 2 * size[0], 2 * size[1]), np.int32)
        self.motion = None
        self.vectors.reset()
        self.reference = self._rounded(out)
        return out

    def inter(
        self,
        x: Planes | None,
        field: Ints | None,
        size: tuple[int, int],
        quality: Tensor,
        code: Coder,
    ) -> Reconstruction:
        """Code ``x`` with ``field`` (or decode both) from the reference."""
        if self.reference is None or self.latents is None or self.field is None:
            raise CorruptError("an inter frame comes before any intra frame; the GOP is damaged")
        if field is None:
            field = decode_field(*size, self.field, self.vectors.coder(code))
            if np.abs(field).max(initial=0) > MOTION_LIMIT:
                raise CorruptError("a motion vector points beyond the limit; the frame is damaged")
        else:
            code_field(field, self.field, self.vectors.coder(code))
        self.vectors.learn()
        vectors = torch.from_numpy(field)[None]
        net, config = self.model.nets.inter, self.model.nets.config
        self.motion = Displacement(vectors.to(self.device), overlap=config.overlap)
        predicted = pack(warp(self.reference, self.motion))
        before = (self.latents / ACTIVATION_ONE).clamp(-CONTEXT_MAX, CONTEXT_MAX)
        temporal = temporal_context(before, vectors, moving=config.moving_latents) * ACTIVATION_ONE
        y = None if x is None else net.analyse(pack(x), predicted, quality)
        wanted = refined(self.refiner, net, x, y, quality, predicted, temporal)
        y_hat = code_latents(net, INTER_TABLES, wanted, quality, temporal, size, code)
        out = net.synthesise(self._steps(y_hat), predicted, quality)
        self.latents, self.field = y_hat, field
        self.reference = self._rounded(out)
        return out

    def _rounded(self, out: Reconstruction) -> Planes:
        return round_to_8_bit(unpack(out.packed), half_up=self.model.nets.config.round_half_up)

    def _steps(self, y_hat: Tensor) -> Tensor:
        x = (y_hat / ACTIVATION_ONE).to(self.device, torch.float32)
        return x.contiguous(memory_format=torch.channels_last)


def _blocks(info: VideoInfo) -> tuple[int, int]:
    return -(-info.height // BLOCK), -(-info.width // BLOCK)


# ── 3. The encoder ───────────────────────────────────────────────────────────────────────────


def opens_gop(options: EncodeOptions, position: int, previous: Plane | None, luma: Plane) -> bool:
    """Whether the frame that would be number ``position`` of a GOP opens the next one instead."""
    if position == 0 or position >= options.gop:
        return True
    return options.scene_cuts and previous is not None and is_scene_cut(previous, luma)


class Encoder:
    """Frames in, packets out; one packet a frame, in order, no delay.

    Args:
        info: size, times and colours of the clip.
        options: quality, GOP and preset; see `EncodeOptions`. ``quality`` here goes before.
        device: where the float nets run; the entropy path stays on the CPU.

    Raises:
        ModelError: when the weights cannot be used on this machine.
    """

    def __init__(
        self,
        info: VideoInfo,
        options: EncodeOptions | None = None,
        *,
        quality: float | None = None,
        model: Model | None = None,
        device: str = "cpu",
    ) -> None:
        self.info = info
        self.options = options or EncodeOptions()
        if quality is not None:
            self.options = replace(self.options, quality=quality)
        self.device = torch.device(device)
        self.model = model or load_model(self.options.model, device)
        self._steps = step_sizes(self.model.nets.config)
        self._finder = MotionFinder(self.options.preset)
        self._loop = Loop(self.model, self.device)
        if self.options.preset == "slow":
            self._loop.refiner = Refiner(self.model, SKIP_BELOW)
        self._hasher = SymbolHasher()
        self._position = 0  # in the GOP
        self._previous_luma: Plane | None = None
        self._residue = 0.0  # of a fractional quality, carried from frame to frame

    def encode(self, batch: FrameBatch) -> Iterator[Packet]:
        """Code every frame of a batch of the clip's size.

        Raises:
            UsageError: when the frames have another size than the clip.
        """
        if batch.y.shape[1:] != (self.info.height, self.info.width):
            raise UsageError(
                f"frames are {batch.y.shape[2]}x{batch.y.shape[1]}, "
                f"the clip is {self.info.width}x{self.info.height}; scale them first"
            )
        for frame in range(len(batch)):
            yield self._encode_frame(batch, frame)

    def flush(self) -> Iterator[Packet]:
        """Nothing is delayed: gives no packet, and the next frame opens a new GOP."""
        self._position = 0
        self._previous_luma = None
        self._residue = 0.0
        return iter(())

    @torch.inference_mode()
    def _encode_frame(self, batch: FrameBatch, frame: int) -> Packet:
        luma = batch.y[frame]
        if opens_gop(self.options, self._position, self._previous_luma, luma):
            self._position, self._residue = 0, 0.0
            self._hasher = SymbolHasher()
        self._previous_luma = luma
        level = self._level()
        quality = torch.tensor([level])
        coder = SymbolEncoder(self._loop.vectors.tables)

        def code(values: Ints | None, index: Indices) -> Ints:
            assert values is not None
            coder.encode(values, index)
            self._note(values, index)
            return values

        x = planes_of(batch, frame, self.device)
        size = _blocks(self.info)
        if self._position == 0:
            kind = FrameType.INTRA
            self._finder.begin(x)
            self._loop.intra(x, size, quality, code)
        else:
            kind = FrameType.INTER
            self._loop.inter(x, self._search(x, level), size, quality, code)
        self._position += 1
        data = bytes([level]) + coder.finish()
        return Packet(kind, int(batch.pts[frame]), level, data, self._hasher.digest())

    def _note(self, values: Ints, index: Indices) -> None:
        """Every symbol passes here; `index` is for those who count them."""
        self._hasher.update(values)

    def _level(self) -> int:
        """Level of this frame: what is between two levels becomes now the lower, now the upper."""
        config = self.model.nets.config
        if self.options.gop == 1:  # every picture on its own: all 64 levels, nothing leans on them
            wanted, offset = self.options.quality, 0
        else:
            best = float(level_of_step(config, BEST_STEP))
            wanted = self.options.quality * best / (QUALITY_LEVELS - 1)
            intra = self._position == 0
            offset = (
                intra_boost(config) if intra else INTER_PATTERN[self._position % len(INTER_PATTERN)]
            )
        wanted += self._residue
        level = int(np.floor(wanted + 0.5))
        self._residue = wanted - level
        return int(np.clip(level + offset, 0, QUALITY_LEVELS - 1))

    def _search(self, x: Planes, level: int) -> Ints:
        assert self._loop.reference is not None
        assert self._loop.field is not None
        step = float(self._steps[level])
        tables = self._loop.vectors.tables
        prices = VectorPrices(tables.frequencies[MOTION_TABLES:], tables.offsets[MOTION_TABLES:])
        return self._finder.find(x, self._loop.reference, self._loop.field, prices, step)


# ── 4. The decoder ───────────────────────────────────────────────────────────────────────────


class Decoder:
    """Packets in, frames out; the reverse of `Encoder`, one frame a packet.

    Args:
        info: what the file's header says.
        model: the weights the file names (see `gancodec.registry.find_model`).
        realism: 0 gives the faithful picture of the loop, 1 all of the synthesis head.
        device: where the float nets run.
    """

    def __init__(
        self, info: VideoInfo, model: Model, *, realism: float = REALISM, device: str = "cpu"
    ) -> None:
        if not 0 <= realism <= 1:
            raise UsageError(f"realism is 0 to 1, got {realism}")
        self.info = info
        self.model = model
        self.realism = realism
        self.device = torch.device(device)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next packet must be an intra frame."""
        self._loop = Loop(self.model, self.device)
        self._hasher = SymbolHasher()
        self._show = Show(self.model.nets.detail)

    @property
    def symbol_hash(self) -> bytes:
        """Of the GOP's symbols so far; equals the packet's and the file's when all is well."""
        return self._hasher.digest()

    @torch.inference_mode()
    def decode(self, kind: FrameType, pts: int, data: bytes) -> FrameBatch:
        """Decode one frame.

        Raises:
            CorruptError: when the bytes are not a frame.
        """
        if not data or data[0] >= QUALITY_LEVELS or kind not in tuple(FrameType):
            raise CorruptError("a frame has no valid quality or kind; the GOP is damaged")
        quality = torch.tensor([data[0]])
        coder = SymbolDecoder(self._loop.vectors.tables, data[1:])

        def code(_: Ints | None, index: Indices) -> Ints:
            values = coder.decode(index)
            self._hasher.update(values)
            return values

        size = _blocks(self.info)
        if kind == FrameType.INTRA:
            self.reset()
            out = self._loop.intra(None, size, quality, code)
        else:
            out = self._loop.inter(None, None, size, quality, code)
        coder.finish()
        assert self._loop.reference is not None
        shown = self._loop.reference
        if self.realism > 0:
            moved = self._loop.motion
            shown = self._show.frame(shown, out.features, quality, moved, realism=self.realism)
        return frame_of(shown, self.info, pts)
