"""Many decoders at once, in threads and processes: what each alone would give, no flag touched."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import gancodec
from gancodec.bitstream import Gop, Reader
from gancodec.codec import Decoder, Encoder
from gancodec.config import EncodeOptions
from gancodec.fileio.headers import info_of
from gancodec.registry import Model, find_model, load_model
from gancodec.types import FrameBatch, FrameType
from gancodec.video.synth import clip_info, moving_texture

THREADS = 4


def flags() -> dict[str, Any]:
    """Every global of torch that our code might touch."""
    backends = torch.backends
    return {
        "nnpack": torch._C._get_nnpack_enabled(),
        "onednn": backends.mkldnn.enabled,
        "cudnn": (backends.cudnn.enabled, backends.cudnn.allow_tf32, backends.cudnn.benchmark),
        "tf32": backends.cuda.matmul.allow_tf32,
        "precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """What each of four threads gives, all let go at the same moment."""
    gate = threading.Barrier(THREADS)
    found: list[Any] = [None] * THREADS
    wrong: list[BaseException] = []

    def run(number: int) -> None:
        try:
            gate.wait(60)
            found[number] = work(number)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    return found


def digest(batch: FrameBatch) -> str:
    parts = (batch.y, batch.u, batch.v)
    return hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest()


def two_decoders(model: Model, source: Path) -> list[tuple[bytes, str]]:
    """Symbol hash and pictures, frame by frame, of two decoders that take turns."""
    with source.open("rb") as stream:
        reader = Reader(stream)
        gops = [event for event in reader.events() if isinstance(event, Gop)]
    info = info_of(reader.header)
    pair = [Decoder(info, model, realism=realism) for realism in (0.0, 0.7)]
    found = []
    for gop in gops:
        for pts, frame in zip(gop.pts, gop.frames, strict=True):
            for decoder in pair:
                shown = decoder.decode(FrameType(frame.kind), pts, frame.data)
                found.append((decoder.symbol_hash, digest(shown)))
        assert {decoder.symbol_hash for decoder in pair} == {gop.symbol_hash}
    return found


def test_four_threads_with_two_decoders_each(gvc: Path) -> None:
    """One model object serves all eight."""
    with gvc.open("rb") as stream:
        model = find_model(Reader(stream).models)
    before = flags()
    alone = two_decoders(model, gvc)
    assert len(alone) == 48
    for found in at_once(lambda _: two_decoders(model, gvc)):
        assert found == alone
    assert flags() == before
    with gvc.open("rb") as stream:
        assert find_model(Reader(stream).models) is model


def test_four_threads_encode(kit: Any) -> None:
    """Encoders and decoders side by side, of one model object."""
    model = load_model("tiny.v0")
    batch = moving_texture(48, 32, 4)
    info = clip_info(batch)

    def work(number: int) -> list[tuple[bytes, bytes, str]]:
        options = EncodeOptions(quality=20 + 10 * (number % 2), preset="fast", scene_cuts=False)
        encoder, decoder = Encoder(info, options, model=model), Decoder(info, model)
        found = []
        for packet in encoder.encode(batch):
            shown = decoder.decode(packet.kind, packet.pts, packet.data)
            assert decoder.symbol_hash == packet.symbol_hash
            found.append((packet.symbol_hash, packet.data, digest(shown)))
        return found

    before = flags()
    alone = [work(n) for n in range(THREADS)]
    assert alone[0] == alone[2] != alone[1]
    assert at_once(work) == alone
    assert flags() == before


def test_files_in_threads(kit: Any, gvc: Path, mp4: Path, tmp_path: Path) -> None:
    """Whole encodes and decodes at once; torch's number of threads comes back."""
    before = flags()
    gancodec.decode(gvc, tmp_path / "alone.y4m", jobs=1)

    def work(number: int) -> None:
        if number % 2:
            gancodec.encode(mp4, tmp_path / f"{number}.gvc", **kit.fast)
        else:
            gancodec.decode(gvc, tmp_path / f"{number}.y4m", jobs=1)

    at_once(work)
    for number in (1, 3):
        assert (tmp_path / f"{number}.gvc").read_bytes() == gvc.read_bytes()
    for number in (0, 2):
        assert (tmp_path / f"{number}.y4m").read_bytes() == (tmp_path / "alone.y4m").read_bytes()
    assert flags() == before


SCRIPT = """
import sys, gancodec
gancodec.encode(sys.argv[1], sys.argv[3] + ".gvc", quality=30, gop=6, preset="fast",
    model="tiny.v0", jobs=1)
gancodec.decode(sys.argv[2], sys.argv[3] + ".y4m", jobs=1)
"""


def test_two_processes(gvc: Path, mp4: Path, tmp_path: Path) -> None:
    gancodec.decode(gvc, tmp_path / "alone.y4m", jobs=1)
    root = str(Path(gancodec.__file__).parents[1])
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(mp4), str(gvc)]
    environment = {**os.environ, "PYTHONPATH": root}
    running = [
        subprocess.Popen([*command, str(tmp_path / f"p{n}")], env=environment) for n in range(2)
    ]
    assert [process.wait(300) for process in running] == [0, 0]
    for n in range(2):
        assert (tmp_path / f"p{n}.y4m").read_bytes() == (tmp_path / "alone.y4m").read_bytes()
        assert (tmp_path / f"p{n}.gvc").read_bytes() == gvc.read_bytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_bytes_do_not_depend_on_torchs_threads(
    kit: Any, gvc: Path, mp4: Path, tmp_path: Path, threads: int
) -> None:
    """The same settings on the same machine give the same file, however many threads torch has."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        gancodec.encode(mp4, tmp_path / "out.gvc", **kit.fast)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert (tmp_path / "out.gvc").read_bytes() == gvc.read_bytes()
