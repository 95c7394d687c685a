"""Packages that a metric cannot do without, looked for before hours of decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from gancodec.errors import UsageError


def needs_package(
    metric: str, package: str, load: Callable[[], object]
) -> Callable[[Mapping[str, Path]], None]:
    """`Metric.check` that runs ``load``, and tells where to get ``package`` when that fails."""

    def check(weights: Mapping[str, Path]) -> None:
        try:
            load()
        except ImportError as error:
            raise UsageError(
                f"{metric} needs the package {package} ({error}); install it with "
                f"`pip install gancodec[eval]`, or leave {metric} out with -m"
            ) from error

    return check


def needs_module(metric: str, package: str, module: str) -> Callable[[Mapping[str, Path]], None]:
    """The same for a package that only has to be imported, under the name ``module``."""
    return needs_package(metric, package, lambda: import_module(module))
