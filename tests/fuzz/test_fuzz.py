"""The fuzzer's targets, for some thousand inputs and without coverage; `make stress` goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).with_name("fuzz.py")


@pytest.fixture(scope="module")
def fuzz(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(FILE)


def test_seeds_reach_what_is_behind_the_checks(fuzz: ModuleType) -> None:
    """Else the mutations would be of nothing."""
    seeds = fuzz.seeds()
    assert {seed[0] for seed in seeds} == set(range(len(fuzz.TARGETS)))
    for seed in seeds:
        fuzz.run_one(seed)
    from gancodec.bitstream import Reader

    whole = [seed[1:] for seed in seeds if seed[0] == 0]
    assert len(whole) >= 8
    for data in whole:
        assert fuzz.framed(fuzz.split(data)) == data
        assert list(Reader(fuzz.io.BytesIO(data)).events())


@pytest.mark.stress
def test_mutations(fuzz: ModuleType, stress_rounds: int) -> None:
    kept: list[bytes] = []
    count, slowest = fuzz.mutate_for(None, 20_000 * stress_rounds, stress_rounds, kept.append)
    print(f"{count} inputs, slowest {slowest:.3f} s")
    assert not kept


def test_a_defect_is_found_and_kept(fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that trusts one byte: the loop stops, with the input in hand."""

    def trusting(data: bytes) -> None:
        assert data[:4] == fuzz.SIGNATURE[:4], "it trusts the signature"

    monkeypatch.setattr(fuzz, "TARGETS", (trusting, *fuzz.TARGETS[1:]))
    kept: list[bytes] = []
    with pytest.raises(AssertionError, match="trusts"):
        fuzz.mutate_for(None, 20_000, 1, kept.append)
    assert len(kept) == 1
