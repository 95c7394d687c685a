"""GOPs on a real Dask cluster: the bytes of one process, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import gancodec
from gancodec.cli import main
from gancodec.errors import ModelError, UsageError
from gancodec.fileio import cluster as cluster_module
from gancodec.fileio.parallel import one_thread
from gancodec.video.synth import clip_info, moving_texture, write_test_video

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def film(folder: Path) -> Path:
    batch = moving_texture(48, 32, 60)
    return write_test_video(folder / "cluster.mkv", batch, clip_info(batch))


@pytest.fixture(scope="module")
def options(kit: Any) -> dict[str, Any]:
    return {**kit.fast, "gop": 4, "jobs": None}


@pytest.fixture(scope="module")
def whole(folder: Path, film: Path, options: dict[str, Any]) -> bytes:
    path = folder / "cluster.gvc"
    gancodec.encode(film, path, **{**options, "jobs": 1})
    return path.read_bytes()


@pytest.fixture(scope="module")
def dask(known_weights: None) -> Iterator[Any]:
    """Two worker processes of one thread, which find the weights as this process does."""
    from distributed import LocalCluster

    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def test_same_bytes_and_resumed(
    tmp_path: Path, dask: Any, film: Path, options: dict[str, Any], whole: bytes
) -> None:
    target = tmp_path / "out.gvc"
    where = {**options, "executor": dask.scheduler_address}
    stats = gancodec.encode(film, target, **where)
    assert target.read_bytes() == whole
    assert stats.gops == 15
    target.unlink()
    Path(f"{target}.part").write_bytes(whole[: len(whole) // 2])
    coded: list[int] = []
    gancodec.encode(film, target, **where, resume=True, progress=lambda p: coded.append(p.frames))
    assert target.read_bytes() == whole
    assert coded[0] > 4
    words = ["-y", "--quiet", "-q", "30", "--gop", "4", "--preset", "fast", "--model", "tiny.v0"]
    place = ["--executor", dask.scheduler_address]
    assert main(["encode", str(film), str(target), *words, *place]) == 0
    assert target.read_bytes() == whole


def test_workers_that_would_code_otherwise_are_refused(
    tmp_path: Path,
    dask: Any,
    film: Path,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = {**options, "executor": dask.scheduler_address}
    target = tmp_path / "out.gvc"
    with monkeypatch.context() as patch:
        patch.setattr(cluster_module, "_VERSION", "9.9")
        with pytest.raises(ModelError, match=r"has gancodec .* and this is 9\.9"):
            gancodec.encode(film, target, **where)
    listed = cluster_module.list_models()
    other = {**listed["tiny.v0"], "codec": {**listed["tiny.v0"]["codec"], "sha256": "00"}}
    with monkeypatch.context() as patch:
        patch.setattr(cluster_module, "list_models", lambda: {**listed, "tiny.v0": other})
        with pytest.raises(ModelError, match=r"has other weights under the name 'tiny\.v0'"):
            gancodec.encode(film, target, **where)
    # One that came after the look at all of them answers for itself.
    ours = cluster_module.Identity("9.9", ())
    with pytest.raises(ModelError, match="a worker has gancodec"):
        cluster_module._run(ours, "tiny.v0", abs, -1)
    assert not list(tmp_path.iterdir())


def test_interrupted_encode_leaves_nothing_on_the_cluster(
    tmp_path: Path, dask: Any, film: Path, options: dict[str, Any]
) -> None:
    def interrupt(_: gancodec.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gancodec.encode(
            film, tmp_path / "out.gvc", **options,
            executor=dask.scheduler_address, progress=interrupt,
        )  # fmt: skip
    deadline = time.monotonic() + 20
    while dask.scheduler.tasks and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not dask.scheduler.tasks
    assert not (tmp_path / "out.gvc").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_killed_worker(
    tmp_path: Path, dask: Any, film: Path, options: dict[str, Any], whole: bytes
) -> None:
    killed: list[int] = []

    def kill_a_busy_one(_: gancodec.Progress) -> None:
        if killed:
            return
        for nanny in list(dask.workers.values()):
            os.kill(nanny.pid, signal.SIGSTOP)  # so that what it is at stays as it is
            time.sleep(0.2)
            state = dask.scheduler.workers.get(nanny.worker_address)
            if state is not None and state.processing:
                killed.append(nanny.pid)
                os.kill(nanny.pid, signal.SIGKILL)
                return
            os.kill(nanny.pid, signal.SIGCONT)

    place = {"executor": dask.scheduler_address, "progress": kill_a_busy_one}
    for number in range(6):  # on a loaded machine workers may be idle whenever one looks
        target = tmp_path / f"{number}.gvc"
        gancodec.encode(film, target, **options, **place)
        assert target.read_bytes() == whole
        if killed:
            break
    assert killed


def test_nobody_answers(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster_module, "_CONNECT_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]  # nobody listens there
        begin = time.monotonic()
        where = f"tcp://127.0.0.1:{port}"
        code = main(["encode", str(film), str(tmp_path / "out.gvc"), "--executor", where])
        assert time.monotonic() - begin < 10
    assert code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"no Dask scheduler answers at {where}" in said
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_asked_for(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="such as tcp://host:8786, got 'cloud'"):
        gancodec.encode(film, tmp_path / "out.gvc", executor="cloud")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install gancodec\[dask\]"):
        gancodec.encode(film, tmp_path / "out.gvc", executor="tcp://127.0.0.1:1")
    assert not list(tmp_path.iterdir())


def test_dask_stays_out_unless_asked_for(fresh_python: Run) -> None:
    fresh_python(
        "import sys, gancodec.fileio.entry, gancodec.cli\n"
        "assert not {'dask', 'distributed'} & set(sys.modules)"
    )


def test_one_thread_in_every_thread() -> None:
    """A worker may have several: whoever enters first must not set it for himself alone."""
    from threading import Event, Thread

    seen: list[int] = []
    first, second = Event(), Event()

    def late() -> None:
        torch.set_num_threads(2)
        first.wait(60)
        with one_thread():
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())
        second.set()

    before = torch.get_num_threads()
    thread = Thread(target=late)
    thread.start()
    with one_thread():
        first.set()
        assert second.wait(60)
    thread.join()
    torch.set_num_threads(before)
    assert seen == [1, 2]
