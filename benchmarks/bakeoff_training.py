"""Training of the bake-off: the same sequences, qualities and optimizers for every variant."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from bakeoff_nets import (
    VARIANTS,
    BakeoffCodec,
    Choice,
    Motion,
    Net,
    after_intra,
    build,
    choose_references,
)
from bakeoff_vectors import parametric_prices
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from gancodec.config import CodecConfig
from gancodec.models.compress import (
    BLOCK_CHANNELS,
    IntraCodec,
    chroma_scaling,
    intra_boost,
    lagrange_weights,
    level_of_step,
)
from gancodec.models.motion_choice import choose_field
from gancodec.nn.motion import QuarterSamples, search_motion
from gancodec.nn.planes import PACKED_CHANNELS, Planes, pack, round_to_8_bit, unpack
from gancodec.registry import load_model
from gancodec.train.data import (
    CROP_LIMIT,
    Sequences,
    planes_from_flat,
    prepare_patches,
    prepare_sequences,
)
from gancodec.train.export import thaw
from gancodec.train.loop import WARM_UP, StageState
from gancodec.train.losses import psnr_y, weighted_mse
from gancodec.train.stages import BASIS_STEP, STEP_SPREAD, balance_of_levels, principal_basis

FRAMES = 2, 5  # of a roll-out after its intra frame: at least, and at most in the end
WINDOW = 3  # frames, or chunks, that gradients flow through
SHIFT = 3  # levels by which a frame may differ from its sequence
CLIP = 1.0  # largest norm of the gradient
BASIS_SEQUENCES = 512  # whose first residuals the fresh transform is fitted to

Log = Callable[[str], None]


def load_intra(name: str) -> IntraCodec:
    """The intra net of a shipped model, with its prior in floats, to be used as it is."""
    intra = thaw(load_model(name)).intra
    return intra.eval().requires_grad_(False)


@torch.no_grad()
def code_intra(
    intra: IntraCodec, x: Planes, quality: Tensor, config: CodecConfig
) -> tuple[Planes, Tensor]:
    """First frames, some levels better than the rest: pictures and bits."""
    level = (quality + intra_boost(config)).clamp(max=config.levels - 1)
    coded = intra.prior(intra.analyse(pack(x), level), level, None)
    return round_to_8_bit(unpack(intra.synthesise(coded.y_hat, level).packed)), coded.bits


def motion_from_first(data: Sequences, file: Path) -> npt.NDArray[np.int16]:
    """As ``data.motion``, but from each sequence's first frame; kept in ``file``."""
    if not file.exists():
        size, prices = data.size, parametric_prices()
        out = np.zeros(data.motion.shape, np.int16)
        for start in range(0, len(out), 16):
            rows = slice(start, start + 16)
            luma = torch.from_numpy(data.patches[rows, :, : size * size].astype(np.float32))
            luma = luma.view(*luma.shape[:2], 1, size, size)
            samples = QuarterSamples(luma[:, 0], CROP_LIMIT)
            before = np.zeros((len(luma), *out.shape[2:]), np.int32)
            for t in range(out.shape[1]):
                found = search_motion(luma[:, t + 1], samples).numpy().astype(np.int32)
                for k in range(len(luma)):
                    current, step = luma[k, t + 1, 0].numpy(), float(data.steps[start + k])
                    before[k] = choose_field(current, samples[k], found[k], before[k], prices, step)
                out[rows, t] = before
        part = file.with_suffix(".part.npy")
        np.save(part, out)
        part.replace(file)
    kept: npt.NDArray[np.int16] = np.load(file, mmap_mode="r")
    return kept


class Training:
    """The loss of one variant on random sequences."""

    def __init__(
        self, net: Net, intra: IntraCodec, folder: Path, cache: Path, *, batch: int, size: int
    ) -> None:
        self.net, self.intra, self.batch = net, intra, batch
        self.data = prepare_sequences([folder], cache, size=size)
        self.weights = lagrange_weights(net.config)
        self.balance = balance_of_levels(net.config)
        self.first: npt.NDArray[np.int16] | None = None
        if net.choice.first_frame:
            name = prepare_patches([folder], cache, size=size).name
            self.first = motion_from_first(self.data, cache / name.replace("patches", "first"))

    @torch.no_grad()
    def start(self) -> None:
        """Fit the linear transform to what the prediction leaves over."""
        net, size, rng = self.net, self.data.size, np.random.default_rng(0)
        count = min(BASIS_SEQUENCES, len(self.data.patches))
        rows = np.sort(rng.choice(len(self.data.patches), count, replace=False))
        flats = torch.from_numpy(self.data.patches[rows][:, : net.unit + 1])
        reference = planes_from_flat(flats[:, 0], size)
        if isinstance(net, BakeoffCodec):
            motion = Motion(self._field(self.data.motion[rows, 0]))
            reference = net.predict(after_intra(net, reference), motion)
        predicted = pack(reference)
        residuals = [
            pack(planes_from_flat(flats[:, k], size)) - predicted for k in range(1, net.unit + 1)
        ]
        blocks = torch.stack([_blocks_of(x) for x in residuals], 1)
        basis, deviation = _separable_basis(blocks, sum(net.config.inter_groups))
        # the reference will be a decoded picture: its error adds to the residual
        deviation = (deviation.square() + (20 / 255) ** 2).sqrt()
        level = round(float(level_of_step(net.config, BASIS_STEP)))
        net.start_from_basis(basis, deviation, level)

    def loss(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Rate and error of a roll-out; as `gancodec.train.stages.InterStage`."""
        net, size, data, batch = self.net, self.data.size, self.data, self.batch
        last = data.patches.shape[1] - 1
        least, most = FRAMES if net.unit == 1 else (1, 2)
        longest = least + round((most - least) * progress)
        count = int(rng.integers(least, longest + 1))
        rows = rng.choice(len(data.patches), batch, replace=len(data.patches) < batch)
        span = count if net.unit == 1 else net.unit  # a second chunk turns back at the end
        start = int(rng.integers(last + 1 - span))
        steps = data.steps[rows] * STEP_SPREAD ** rng.uniform(-1, 1, batch)
        levels = level_of_step(net.config, steps).round().clip(0, net.config.levels - 1)
        quality = torch.from_numpy(levels).long()

        def frame(t: int) -> Planes:
            t = last - abs(last - t)
            return planes_from_flat(torch.from_numpy(data.patches[rows, t]), size)

        picture, _ = code_intra(self.intra, frame(start), quality, net.config)
        first = None
        if net.choice.first_frame and start:
            first, _ = code_intra(self.intra, frame(0), quality, net.config)
        state = after_intra(net, picture, first)
        total = torch.zeros(())
        logs = {"bpp": 0.0, "psnr_y": 0.0}
        for k in range(count):
            if k % WINDOW == 0:
                state = state.detached()
            begin = start + 1 + k * net.unit
            frames = [frame(begin + i) for i in range(net.unit)]
            shift = torch.from_numpy(rng.integers(-SHIFT, SHIFT + 1, batch))
            level = (quality + shift).clamp(0, net.config.levels - 1)
            motion = Motion(torch.zeros(batch, 2, size // 8, size // 8))
            if net.choice.motion:
                motion = Motion(self._field(data.motion[rows, begin - 1]))
            if self.first is not None:
                other = self._field(self.first[rows, begin - 1])
                flags = choose_references(frames[0], state, motion.field, other, level, net.config)
                motion = Motion(motion.field, other, flags)
            coded = net.code(frames, state, motion, level)
            state = coded.state
            pairs = list(zip(coded.pictures, frames, strict=True))
            error = torch.stack([weighted_mse(a, b) for a, b in pairs]).mean(0)
            bpp = coded.bits / (size**2 * net.unit)
            total = total + (self.balance[level] * (self.weights[level] * error + bpp)).mean()
            shown = torch.stack([psnr_y(a, b) for a, b in pairs])
            logs["bpp"] += float(bpp.detach().mean()) / count
            logs["psnr_y"] += float(shown.detach().mean()) / count
        return total / count, logs

    def _field(self, motion: npt.NDArray[np.int16]) -> Tensor:
        field = torch.from_numpy(motion).float()
        if not self.net.choice.split:  # a block's own vector is that of its first quarter
            field = field[..., ::2, ::2].repeat_interleave(2, -2).repeat_interleave(2, -1)
        return field


def _blocks_of(packed: Tensor) -> Tensor:
    """(B, 96, h, w) -> (N, 384) weighted 16x16 blocks, as the linear shortcut sees them."""
    assert packed.shape[1] == PACKED_CHANNELS
    folded = F.pixel_unshuffle(packed, 2) * chroma_scaling()[:, None, None]
    return folded.permute(0, 2, 3, 1).flatten(0, 2)


def _separable_basis(blocks: Tensor, latents: int) -> tuple[Tensor, Tensor]:
    """As `principal_basis` for blocks (N, frames, 384): rows of frames x 384, and deviations.

    A basis in space, and for each of its coefficients one over time.
    """
    spatial, _ = principal_basis(blocks.flatten(0, 1), BLOCK_CHANNELS)
    coefficients = (blocks @ spatial.T).double()
    covariance = torch.einsum("nsc,ntc->cst", coefficients, coefficients) / len(blocks)
    energy, vectors = torch.linalg.eigh(covariance)
    order = energy.flatten().argsort(descending=True)[:latents]
    temporal = vectors.mT.flatten(0, 1)[order].float()
    basis = temporal[:, :, None] * spatial[order // blocks.shape[1]][:, None]
    return basis.flatten(1), energy.flatten()[order].clamp_min(0).sqrt().float()


def train(
    name: str,
    folder: Path,
    cache: Path,
    out: Path,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    batch: int = 8,
    size: int = 128,
    learning_rate: float = 1e-3,
    intra: str = "base.v3",
    choice: Choice | None = None,
    log: Log = print,
) -> list[float]:
    """Train a variant from scratch and write the average of its weights; gives the losses.

    Args:
        steps, seconds: where to stop, at what comes first; seconds are this process's CPU time in
            training steps, so that preparing data and waiting for other processes do not count.
        choice: another architecture than the variant's own, for tests.
    """
    choice = choice or VARIANTS[name]
    torch.manual_seed(seed)
    net = build(choice)
    training = Training(net, load_intra(intra), folder, cache, batch=batch, size=size)
    training.start()
    parameters = list(net.parameters())
    state = StageState(net, parameters, learning_rate)
    begun, progress = time.process_time(), 0.0
    losses: list[float] = []
    while progress < 1:
        warm = min(1.0, (state.step + 1) / WARM_UP)
        wave = 0.5 * (1 + math.cos(math.pi * progress))
        state.set_learning_rate(learning_rate * warm * (0.02 + 0.98 * wave))
        seeds = np.random.SeedSequence([seed, state.step])
        torch.manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
        net.zero_grad()
        loss, numbers = training.loss(np.random.default_rng(seeds), progress)
        loss.backward()  # type: ignore[no-untyped-call]
        if torch.isfinite(nn.utils.clip_grad_norm_(parameters, CLIP)):
            for optimizer in state.optimizers.values():
                optimizer.step()
        else:
            state.skipped += 1
        state.step += 1
        state.update_average()
        losses.append(float(loss.detach()))
        spent = time.process_time() - begun
        shares = (steps and state.step / steps, seconds and spent / seconds)
        progress = max(share for share in shares if share)
        if state.step % 50 == 0 or progress >= 1:
            recent = sum(losses[-50:]) / len(losses[-50:])
            entry = {"step": state.step, "loss": recent, **numbers, "cpu_seconds": spent}
            log(f"{name} {json.dumps({k: round(v, 4) for k, v in entry.items()})}")
    meta = {
        "variant": name,
        "choice": json.dumps(dataclasses.asdict(choice)),
        "steps": str(state.step),
        "skipped": str(state.skipped),
        "cpu_seconds": f"{spent:.1f}",
        "seed": str(seed),
        "intra": intra,
    }
    tensors = zip(state.names, state.average, strict=True)
    save_file({n: t.contiguous() for n, t in tensors}, out, meta)
    return losses


def load_variant(file: Path) -> tuple[Net, dict[str, str]]:
    """A trained net in evaluation mode, and what was written beside it."""
    with safe_open(file, "pt") as stored:
        meta: dict[str, str] = stored.metadata()
        values = json.loads(meta["choice"])
        choice = Choice(**{**values, "config": CodecConfig.from_dict(values["config"])})
        net = build(choice)
        net.load_state_dict({key: stored.get_tensor(key) for key in stored.keys()})  # noqa: SIM118
    return net.eval().requires_grad_(False), meta
