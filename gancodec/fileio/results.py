"""What encodes and decodes say about themselves: while they run, and when they are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

# From and to, in seconds of the clip; None where a file breaks off and nobody knows its length.
LostSpan = tuple[Fraction, Fraction | None]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an encode, decode or enhancement is.

    Attributes:
        frames: done so far.
        total_frames: to be done, as far as the input tells.
        seconds: length of the clip that is done.
        bytes: size of the ``.gvc`` so far.
        stage: what is going on, such as "encode", "decode" or "enhance".
    """

    frames: int
    total_frames: int | None
    seconds: float
    bytes: int
    stage: str


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class EncodeStats:
    """A finished encode.

    Attributes:
        frames, gops: in the file.
        bytes: of the whole file; ``audio_bytes`` of it are sound.
        seconds: length of the clip.
        pixels: of one frame.
        quality: 0 to 63, fractional where a rate was asked for (the mean, from a pipe).
        passes: how often the whole clip was encoded.
        notices: what was changed on the way in, or could not be had, one sentence each.
    """

    frames: int
    gops: int
    bytes: int
    audio_bytes: int
    seconds: Fraction
    pixels: int
    quality: float
    passes: int
    notices: tuple[str, ...]

    @property
    def bpp(self) -> float:
        """Bits a pixel of all but the sound."""
        return (self.bytes - self.audio_bytes) * 8 / (self.frames * self.pixels)

    @property
    def kbps(self) -> float:
        """Thousands of bits a second, of the whole file."""
        return float(self.bytes * 8 / self.seconds / 1000)

    @property
    def video_kbps(self) -> float:
        """The same of all but the sound: what ``bitrate`` asks for."""
        return float((self.bytes - self.audio_bytes) * 8 / self.seconds / 1000)


@dataclass(frozen=True, slots=True)
class DecodeStats:
    """A finished decode.

    Attributes:
        frames: written, filled ones included.
        seconds: length of the clip that was written.
        lost: spans that were filled with a still picture, in seconds of the file's own clock.
        damage: every damaged place that was stepped over, one sentence each.
        notices: what the target could not keep, one sentence each.
    """

    frames: int
    seconds: Fraction
    lost: tuple[LostSpan, ...]
    damage: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def is_intact(self) -> bool:
        """Whether nothing was lost; the command line exits with 3 otherwise."""
        return not self.damage and not self.lost


@dataclass(frozen=True, slots=True)
class EnhanceStats:
    """A finished enhancement.

    Attributes:
        frames: written.
        seconds: length of the clip.
        width, height: of what was written, in luma samples as they are stored.
        model: name of the enhancer.
        bits_per_pixel: what the source spends on a luma sample, where the enhancer minds; None
            where no codec has left a mark, or nobody knows.
        notices: what was changed on the way in, or the target could not keep, one sentence each.
    """

    frames: int
    seconds: Fraction
    width: int
    height: int
    model: str
    bits_per_pixel: float | None
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` has found.

    Attributes:
        frames, gops: that are sound.
        bytes: read.
        seconds: length of the clip as far as it is sound.
        deep: whether every frame was decoded, too.
        problems: everything that is wrong, one sentence each; empty for a good file.
    """

    frames: int
    gops: int
    bytes: int
    seconds: Fraction
    deep: bool
    problems: tuple[str, ...]

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems
