"""The suites that ship: they parse, their clips and codecs are there, and `quick` runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gancodec.eval import ClipSpec, read_suite, run
from gancodec.eval.codecs import build_codec
from gancodec.eval.suite import resolve_path, shipped_suites


@pytest.mark.parametrize("name", ["full", "pictures", "quick"])
def test_everything_a_suite_names_is_there(name: str) -> None:
    assert name in shipped_suites()
    suite = read_suite(name)
    for clip in suite.clips:
        assert resolve_path(clip.path).is_file()
    for spec in suite.codecs:
        for quality in spec.qualities:
            for decode in spec.decode:
                build_codec(spec.kind, quality, {**spec.settings, **decode})
    ours = [c for c in suite.codecs if c.kind == "gvc"]
    assert len(ours) == 1
    assert suite.anchor in suite.labels


@pytest.mark.slow
def test_quick_on_a_cut_of_its_clip(tmp_path: Path) -> None:
    suite = read_suite("quick")
    clip = ClipSpec(suite.clips[0].path, frames=2, scale=(224, 128))
    codecs = tuple(dataclasses.replace(c, qualities=c.qualities[-1:]) for c in suite.codecs)
    summary = run(dataclasses.replace(suite, clips=(clip,), codecs=codecs), tmp_path, jobs=1)
    assert [r.errors or r.error for r in summary.failed] == []
    assert {r.codec for r in summary.records} == set(suite.labels)
    for record in summary.records:
        assert set(record.scores) == set(suite.metrics)
