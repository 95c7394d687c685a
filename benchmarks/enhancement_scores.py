"""What was found of enhancers, the gates that it must pass, and tables of both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from gancodec.terminal import table

Values = dict[str, float | None]  # by source


class Scores:
    """Numbers by case ("x4", "sigma 25"), method ("bicubic", "strength 1"), measure and source."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, dict[str, Values]]] = {}

    def put(self, case: str, method: str, source: str, **measures: float | None) -> None:
        """Note measures of a source; a name of Python's stands for one with dashes."""
        found = self.values.setdefault(case, {}).setdefault(method, {})
        for name, value in measures.items():
            found.setdefault(name.replace("_", "-"), {})[source] = value

    def add(self, other: Scores) -> None:
        """All of another's."""
        for case, methods in other.values.items():
            for method, measures in methods.items():
                for name, values in measures.items():
                    mine = self.values.setdefault(case, {}).setdefault(method, {})
                    mine.setdefault(name, {}).update(values)

    def of(self, case: str, method: str, measure: str) -> Values:
        """A measure by source; empty if it was not taken."""
        return self.values.get(case, {}).get(method, {}).get(measure, {})

    def mean(self, case: str, method: str, measure: str) -> float | None:
        """Over all sources that have it."""
        return mean_of(self.of(case, method, measure))


def mean_of(values: Mapping[str, float | None]) -> float | None:
    """Mean of what is known; None of nothing."""
    known = [v for v in values.values() if v is not None]
    return fmean(known) if known else None


def mean_over(cases: Sequence[Values]) -> Values:
    """Mean of several cases by source; None where one of them is not known."""
    names = dict.fromkeys(name for values in cases for name in values)
    found: Values = {}
    for name in names:
        all_of = [values.get(name) for values in cases]
        known = [v for v in all_of if v is not None]
        found[name] = fmean(known) if len(known) == len(cases) else None
    return found


def less(a: Values, b: Values) -> Values:
    """a - b by source; None where one of them is not known."""
    return {name: _both(x, b.get(name), lambda p, q: p - q) for name, x in a.items()}


def over(a: Values, b: Values) -> Values:
    """a / b by source; None where one of them is not known, or b is nothing."""
    return {
        name: _both(x, b.get(name), lambda p, q: p / q if q > 0 else None) for name, x in a.items()
    }


def _both(x: float | None, y: float | None, combine: Any) -> float | None:
    if x is None or y is None:
        return None
    result: float | None = combine(x, y)
    return result


# ── Gates ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Gate:
    """One thing asked for.

    Attributes:
        name: what is compared with what.
        found: the number that counts; None if it could not be found, which fails.
        limit: the least, or else the most that passes.
        least: which of them it is.
        sources: what ``found`` is made of.
    """

    name: str
    found: float | None
    limit: float
    least: bool
    sources: Values = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every source has a number, and the one that counts is within the limit."""
        known = bool(self.sources) and all(v is not None for v in self.sources.values())
        if not known or self.found is None or not math.isfinite(self.found):
            return False
        return self.found >= self.limit if self.least else self.found <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "found": self.found,
            "limit": self.limit,
            "least": self.least,
            "passed": self.passed,
            "sources": self.sources,
        }


def at_least(name: str, limit: float, sources: Values) -> Gate:
    """The mean over sources is at least so much."""
    return Gate(name, mean_of(sources), limit, True, sources)


def at_most(name: str, limit: float, sources: Values) -> Gate:
    """The mean over sources is at most so much."""
    return Gate(name, mean_of(sources), limit, False, sources)


def each_at_least(name: str, limit: float, sources: Values) -> Gate:
    """The worst source is at least so much."""
    known = [v for v in sources.values() if v is not None]
    return Gate(name, min(known) if known else None, limit, True, sources)


@dataclass(frozen=True, slots=True)
class Judged:
    """Gates of an enhancer, and what models that must fail make of the same gates.

    Attributes:
        nulls: gates by the name of the model.
    """

    gates: list[Gate]
    nulls: dict[str, list[Gate]]

    @property
    def passed(self) -> bool:
        """Whether every gate is passed, and every null model fails one."""
        caught = all(any(not g.passed for g in gates) for gates in self.nulls.values())
        return caught and all(g.passed for g in self.gates)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "passed": self.passed,
            "gates": [g.to_dict() for g in self.gates],
            "nulls": {name: [g.to_dict() for g in gates] for name, gates in self.nulls.items()},
        }


# ── Tables ───────────────────────────────────────────────────────────────────────────────────

_DIGITS = {"psnr-y": 2, "back-projection": 2, "st-lpips-vgg": 4, "fps": 2}


def table_of(scores: Scores, cases: Iterable[str] | None = None) -> str:
    """A row a case and method, a column a measure: means over the sources that have it."""
    chosen = list(scores.values if cases is None else cases)
    measures = list(
        dict.fromkeys(m for c in chosen for found in scores.values[c].values() for m in found)
    )
    rows = [["case", "method", "sources", *measures]]
    for case in chosen:
        for method, found in scores.values[case].items():
            sources = max((len(v) for v in found.values()), default=0)
            cells = [shown(mean_of(found.get(m, {})), _DIGITS.get(m, 3)) for m in measures]
            rows.append([case, method, str(sources), *cells])
    width = max(len(row[0]) for row in rows)
    return table([[f"{case:{width}}  {method}", *rest] for case, method, *rest in rows])


def table_of_gates(judged: Judged) -> str:
    """A row a gate; under them, what null models fail."""
    rows = [["gate", "found", "limit", "passed", "worst source"]]
    for gate in judged.gates:
        sign = ">=" if gate.least else "<="
        rows.append(
            [
                gate.name,
                shown(gate.found, 3),
                f"{sign} {gate.limit:g}",
                "yes" if gate.passed else "NO",
                _worst(gate),
            ]
        )
    lines = [table(rows)]
    for name, gates in judged.nulls.items():
        failed = [g for g in gates if not g.passed]
        told = "; ".join(f"{g.name} {shown(g.found, 3)}" for g in failed) or "PASSES ALL"
        null = name.removeprefix("null: ")
        lines.append(f"null model ({null}): fails {len(failed)} of {len(gates)}: {told}")
    return "\n".join(lines)


def _worst(gate: Gate) -> str:
    missing = [name for name, value in gate.sources.items() if value is None]
    if missing or not gate.sources:
        return f"no number for {', '.join(missing) or 'any'}"
    known = {name: value for name, value in gate.sources.items() if value is not None}
    name = (min if gate.least else max)(known, key=lambda n: known[n])
    return f"{name} {known[name]:.3f}"


def shown(value: float | None, digits: int) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"
