"""Clips and sound from nothing but integers and a seed, for tests and for the demo.

The textures are bit-exact on every machine: hashed lattice noise, integer interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from gancodec.types import FrameBatch, Plane, VideoInfo

from .mux import to_frame

_Ints = npt.NDArray[np.int64]
_SUBPEL = 16


def _hash_noise(height: int, width: int, seed: int) -> _Ints:
    """Uniform 0..255 by position and seed (SplitMix64), the same with every NumPy."""
    x = np.arange(height * width, dtype=np.uint64) + (np.uint64(seed) << np.uint64(32))
    with np.errstate(over="ignore"):
        x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(56)).astype(np.int64).reshape(height, width)


def _stretch(lattice: _Ints, step: int, height: int, width: int) -> _Ints:
    """Bilinear interpolation of a lattice with ``step`` samples a cell."""
    for axis, size in ((0, height), (1, width)):
        at = np.arange(size)
        cell, part = at // step, at % step
        shape = (-1, 1) if axis == 0 else (1, -1)
        part = part.reshape(shape)
        low, high = lattice.take(cell, axis), lattice.take(cell + 1, axis)
        lattice = (low * (step - part) + high * part) // step
    return lattice


def texture(height: int, width: int, seed: int) -> _Ints:
    """A natural-looking (H, W) texture of 16..235: coarse forms with finer ones on top."""
    total = np.zeros((height, width), np.int64)
    for octave, (step, weight) in enumerate(((64, 8), (24, 4), (8, 3), (3, 1))):
        lattice = _hash_noise(height // step + 2, width // step + 2, seed * 8 + octave)
        total += weight * _stretch(lattice, step, height, width)
    spread = (total // 16 - 128) * 2 + 126
    return np.clip(spread, 16, 235)


def _window(canvas: _Ints, x: int, y: int, height: int, width: int) -> Plane:
    """The canvas seen through a window at (x, y) in 1/16 samples, wrapping round."""
    rows, columns = canvas.shape
    fx, fy = x % _SUBPEL, y % _SUBPEL
    row = (np.arange(height + 1) + y // _SUBPEL) % rows
    column = (np.arange(width + 1) + x // _SUBPEL) % columns
    part = canvas[row][:, column]
    across = part[:, :-1] * (_SUBPEL - fx) + part[:, 1:] * fx
    both = across[:-1] * (_SUBPEL - fy) + across[1:] * fy
    seen: Plane = (both // (_SUBPEL * _SUBPEL)).astype(np.uint8)
    return seen


def _batch(y: list[Plane], u: list[Plane], v: list[Plane]) -> FrameBatch:
    return FrameBatch(np.stack(y), np.stack(u), np.stack(v), np.arange(len(y), dtype=np.int64))


def moving_texture(
    width: int, height: int, frames: int, seed: int = 0, velocity: tuple[int, int] = (19, 7)
) -> FrameBatch:
    """A texture that pans by ``velocity`` (x, y) in 1/16 luma samples a frame; pts 0, 1, 2 ..."""
    canvas = texture(height + 64, width + 64, seed)
    chroma = [texture(height + 64, width + 64, seed + 1000 * k) // 2 + 64 for k in (1, 2)]
    y: list[Plane] = []
    u: list[Plane] = []
    v: list[Plane] = []
    for n in range(frames):
        x_at, y_at = velocity[0] * n, velocity[1] * n
        y.append(_window(canvas, x_at, y_at, height, width))
        for planes, source in ((u, chroma[0]), (v, chroma[1])):
            planes.append(
                _window(source, x_at // 2, y_at // 2, (height + 1) // 2, (width + 1) // 2)
            )
    return _batch(y, u, v)


def still(width: int, height: int, frames: int, seed: int = 0) -> FrameBatch:
    """One picture, repeated."""
    return moving_texture(width, height, frames, seed, velocity=(0, 0))


def noisy_pan(width: int, height: int, frames: int, seed: int = 0, noise: int = 12) -> FrameBatch:
    """A pan under fresh luma noise of +-``noise``/2 levels in every frame, as from a dark room."""
    clip = moving_texture(width, height, frames, seed)
    grain = np.stack([_hash_noise(height, width, seed + 77 + n) for n in range(frames)])
    y = np.clip(clip.y + (grain * (noise + 1) // 256 - noise // 2), 0, 255).astype(np.uint8)
    return FrameBatch(y, clip.u, clip.v, clip.pts)


def scene_cut(
    width: int, height: int, frames: int, seed: int = 0, cut_at: int | None = None
) -> FrameBatch:
    """Two scenes; the second, darker one begins with frame ``cut_at`` (by default in the middle).

    Scenes of a film differ in tones as well as in forms.
    """
    at = frames // 2 if cut_at is None else cut_at
    first = moving_texture(width, height, frames, seed)
    second = moving_texture(width, height, frames, seed + 500, velocity=(-11, 3))
    dusk = (16 + (second.y.astype(np.int64) - 16) * 9 // 16).astype(np.uint8)
    second = FrameBatch(dusk, second.u, second.v, second.pts)
    whole = FrameBatch.concatenate([first[:at], second[at:]])
    return FrameBatch(whole.y, whole.u, whole.v, first.pts)


def gradients(width: int, height: int, frames: int) -> FrameBatch:
    """Slow ramps that show banding: luma across, blue down, red along time."""
    rows, columns = (height + 1) // 2, (width + 1) // 2
    y, u, v = [], [], []
    for n in range(frames):
        ramp = 16 + (np.arange(width) * 219 // max(width - 1, 1) + n) % 220
        y.append(np.broadcast_to(ramp, (height, width)).astype(np.uint8))
        down = 64 + np.arange(rows) * 128 // max(rows - 1, 1)
        u.append(np.broadcast_to(down[:, None], (rows, columns)).astype(np.uint8))
        v.append(np.full((rows, columns), 64 + 2 * n % 128, np.uint8))
    return _batch(y, u, v)


def text_edges(width: int, height: int, frames: int, seed: int = 0) -> FrameBatch:
    """Rows of hard black strokes on white that scroll up one sample a frame, as end titles."""
    cells = _hash_noise((height + frames) // 4 + 1, width // 2 + 1, seed) > 150
    page = np.repeat(np.repeat(cells, 4, axis=0), 2, axis=1)
    page &= (np.arange(page.shape[0]) % 16 < 10)[:, None]  # lines with space between
    ink = np.where(page, 16, 235).astype(np.uint8)
    y = [ink[n : n + height, :width] for n in range(frames)]
    grey = np.full(((height + 1) // 2, (width + 1) // 2), 128, np.uint8)
    return _batch(y, [grey] * frames, [grey] * frames)


def clip_info(batch: FrameBatch, fps: Fraction | int = 25) -> VideoInfo:
    """The description of a synthetic clip at a constant rate, one tick a frame."""
    _, height, width = batch.y.shape
    rate = Fraction(fps)
    return VideoInfo(width, height, rate, 1 / rate, frames=len(batch))


def tone(
    seconds: float, rate: int = 48000, channels: int = 2, hertz: int = 440
) -> npt.NDArray[np.float32]:
    """A (channels, samples) tone, a fifth higher in every further channel, with a slow beat."""
    t = np.arange(round(seconds * rate)) / rate
    beat = 0.2 + 0.1 * np.sin(2 * np.pi * 1.5 * t)
    waves = np.stack([beat * np.sin(2 * np.pi * hertz * 1.5**c * t) for c in range(channels)])
    samples: npt.NDArray[np.float32] = waves.astype(np.float32)
    return samples


def write_test_video(
    path: Path,
    batch: FrameBatch,
    info: VideoInfo,
    audio: Sequence[npt.NDArray[np.float32]] = (),
    *,
    codec: str = "ffv1",
    pix_fmt: str = "yuv420p",
    audio_codec: str = "aac",
    audio_rate: int = 48000,
    audio_start: Fraction = Fraction(0),
    format: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A real file by PyAV, with the sound interleaved; for tests and the demo, not for output."""
    with av.open(str(path), "w", format=format) as output:
        video = output.add_stream(
            codec,
            rate=info.fps,
            options=options or {},
            width=info.width,
            height=info.height,
            pix_fmt=pix_fmt,
            time_base=info.time_base,
        )
        assert isinstance(video, VideoStream)
        context = video.codec_context
        context.color_primaries, context.color_trc = info.color.primaries, info.color.transfer
        context.colorspace = info.color.matrix
        context.color_range = 2 if info.color.full_range else 1
        video.sample_aspect_ratio = info.sample_aspect_ratio
        if info.rotation:
            video.set_display_rotation(-info.rotation)
        sounds = [_SoundEncoder(output, s, audio_codec, audio_rate, audio_start) for s in audio]
        for n in range(len(batch)):
            frame = to_frame(batch, n, info)
            if pix_fmt != "yuv420p":
                frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = int(batch.pts[n]), info.time_base
            output.mux(video.encode(frame))
            for sound in sounds:
                sound.write(int(batch.pts[n]) * info.time_base)
        output.mux(video.encode(None))
        for sound in sounds:
            sound.write(None)
    return path


class _SoundEncoder:
    """Feeds one track of samples into the file as the pictures go by."""

    def __init__(
        self,
        output: OutputContainer,
        samples: npt.NDArray[np.float32],
        codec: str,
        rate: int,
        start: Fraction,
    ) -> None:
        self._output = output
        self._samples = samples
        self._rate = rate
        self._start = round(start * rate)
        self._at = 0
        self._layout = "mono" if samples.shape[0] == 1 else "stereo"
        options = {"aac_coder": "fast"} if codec == "aac" else {}
        stream = output.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, AudioStream)
        self._stream = stream
        self._stream.layout = self._layout

    def write(self, until: Fraction | None) -> None:
        """Encode up to a time in seconds; None for the rest."""
        total = self._samples.shape[1]
        stop = total if until is None else min(round(until * self._rate) - self._start, total)
        while self._at < stop:
            piece = np.ascontiguousarray(self._samples[:, self._at : min(self._at + 1024, total)])
            frame = AudioFrame.from_ndarray(piece, "fltp", self._layout)
            frame.sample_rate, frame.pts = self._rate, self._start + self._at
            frame.time_base = Fraction(1, self._rate)
            self._at += piece.shape[1]
            self._output.mux(self._stream.encode(frame))
        if until is None:
            self._output.mux(self._stream.encode(None))
