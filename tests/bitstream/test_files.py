"""Whole files or none, and encodes that go on where they were killed."""

from __future__ import annotations

import dataclasses
import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from gancodec.bitstream import AtomicFile, Reader, Writer, part_path, resume
from gancodec.errors import CorruptError, InputError, UnsupportedError


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.gvc"


def test_the_name_appears_when_the_file_is_whole(target: Path, script: Any, sample: bytes) -> None:
    with AtomicFile(target) as file:
        script.run(Writer(file, script.header, script.models))
        assert not target.exists()
        assert Path(part_path(target)).read_bytes() == sample
    assert target.read_bytes() == sample
    assert not Path(part_path(target)).exists()


def test_an_old_file_stays_until_the_new_one_is_whole(target: Path, script: Any) -> None:
    target.write_bytes(b"old")

    def fail() -> None:
        with AtomicFile(target) as file:
            Writer(file, script.header, script.models)
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("steps", range(12))
def test_a_part_is_kept_only_if_it_holds_a_gop(target: Path, script: Any, steps: int) -> None:
    def fail() -> None:
        with AtomicFile(target) as file:
            writer = Writer(file, script.header, script.models)
            for method, arguments in script.steps[:steps]:
                getattr(writer, method)(*arguments)
            file.write(b"half a chunk")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    has_gop = any(method == "write_gop" for method, _ in script.steps[:steps])
    assert Path(part_path(target)).exists() == has_gop
    assert not target.exists()


def test_a_full_disk(target: Path, script: Any) -> None:
    os.symlink("/dev/full", part_path(target))

    def encode() -> None:
        with AtomicFile(target) as file:
            script.run(Writer(file, script.header, script.models))

    with pytest.raises(InputError, match=r"cannot write .*out\.gvc: No space left on device"):
        encode()
    assert os.listdir(target.parent) == []


def test_devices_are_written_and_never_replaced(script: Any) -> None:
    with AtomicFile("/dev/null") as file:
        script.run(Writer(file, script.header, script.models))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)

    def encode() -> None:
        with AtomicFile("/dev/full") as file:
            script.run(Writer(file, script.header, script.models))

    with pytest.raises(InputError, match="No space left"):
        encode()
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        AtomicFile(tmp_path / "missing" / "out.gvc")
    with pytest.raises(InputError, match="directory"):
        AtomicFile(tmp_path)


def test_a_name_taken_by_a_folder_meanwhile(target: Path) -> None:
    def encode() -> None:
        with AtomicFile(target) as file:
            file.write(b"x")
            target.mkdir()

    with pytest.raises(InputError, match="cannot write"):
        encode()


def test_a_link_keeps_pointing_at_the_new_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    real, link = tmp_path / "folder" / "real.gvc", tmp_path / "link.gvc"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with AtomicFile(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def steps_behind_gop(script: Any, n_gops: int) -> int:
    """Where in the script the moment right behind its n-th GOP is."""
    gop_steps = [i for i, (method, _) in enumerate(script.steps) if method == "write_gop"]
    return gop_steps[n_gops - 1] + 1 if n_gops else 0


def assert_resumes(target: Path, script: Any, whole: bytes, left: bytes) -> int:
    """Resume from what a kill left behind, and get the same bytes; gives the GOPs kept."""
    Path(part_path(target)).write_bytes(left)
    taken = resume(target, script.header, script.models)
    first = steps_behind_gop(script, len(taken.gops))
    before = script.steps[:first]
    gops = [arguments[0] for method, arguments in before if method == "write_gop"]
    assert [(e.pts, e.frames) for e in taken.gops] == [(g.pts[0], len(g.frames)) for g in gops]
    assert taken.frames == sum(len(g.frames) for g in gops)
    assert taken.last_pts == (gops[-1].pts[-1] if gops else None)
    for track, progress in taken.audio.items():
        data = [a[1] for m, a in before if m == "write_audio_data" and a[0] == track]
        assert (progress.chunks, progress.bytes) == (len(data), sum(map(len, data)))
    assert sorted(taken.audio) == sorted(a[0] for m, a in before if m == "write_audio_init")
    with taken.file:
        script.run(taken.writer, first)
    assert target.read_bytes() == whole
    target.unlink()
    return len(taken.gops)


def test_resuming_from_any_cut_gives_the_same_bytes(target: Path, streams: Any) -> None:
    script = streams.make_script(n_gops=5, n_frames=3)
    whole = script.to_bytes()
    entries = Reader(io.BytesIO(whole)).index()
    kept = [assert_resumes(target, script, whole, whole[:n]) for n in range(0, len(whole) + 1, 11)]
    assert kept == sorted(kept)
    assert set(kept) == set(range(len(entries) + 1))


def test_resuming_behind_damage_gives_the_same_bytes(target: Path, streams: Any) -> None:
    script = streams.make_script(n_gops=5, n_frames=3)
    whole = script.to_bytes()
    offset = Reader(io.BytesIO(whole)).index()[3].offset
    damaged = bytearray(whole)
    damaged[offset + 40] ^= 1
    assert assert_resumes(target, script, whole, bytes(damaged)) == 3
    assert assert_resumes(target, script, whole, whole[: offset + 9] + bytes(500)) == 3
    assert assert_resumes(target, script, whole, b"something else entirely") == 0


def test_resuming_twice(target: Path, script: Any, sample: bytes) -> None:
    Path(part_path(target)).write_bytes(sample[:-300])
    first = resume(target, script.header, script.models)
    n = len(first.gops)
    with pytest.raises(RuntimeError), first.file:
        raise RuntimeError("killed again")
    assert assert_resumes(target, script, sample, Path(part_path(target)).read_bytes()) == n


def test_nothing_to_resume_begins_anew(target: Path, script: Any, sample: bytes) -> None:
    taken = resume(target, script.header, script.models)
    assert (taken.gops, taken.frames, taken.last_pts, taken.audio) == ((), 0, None, {})
    with taken.file:
        script.run(taken.writer)
    assert target.read_bytes() == sample


@pytest.mark.parametrize("change", [{"stream_id": 1}, {"settings_hash": 1}, {"width": 32}, {}])
def test_another_encode_is_not_continued(
    change: dict[str, int], target: Path, script: Any, sample: bytes
) -> None:
    part = Path(part_path(target))
    part.write_bytes(sample[:-100])
    header = dataclasses.replace(script.header, **change)
    models = script.models if change else script.models[:1]
    with pytest.raises(CorruptError, match="another input, other settings or other weights"):
        resume(target, header, models)
    assert part.read_bytes() == sample[:-100]


def test_a_part_of_a_newer_version_is_left_alone(
    target: Path, script: Any, sample: bytes, streams: Any
) -> None:
    chunks = streams.split_chunks(sample)
    chunks[0] = (b"GHDR", b"\x02\0" + chunks[0][1][2:])
    part = Path(part_path(target))
    part.write_bytes(streams.join_chunks(chunks))
    with pytest.raises(UnsupportedError):
        resume(target, script.header, script.models)
    assert part.exists()


def test_a_part_that_cannot_be_read(target: Path, script: Any) -> None:
    Path(part_path(target)).mkdir()
    with pytest.raises(InputError, match="cannot read"):
        resume(target, script.header, script.models)
