"""Readers of published points, on files of our own making in the shape of theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gancodec.errors import InputError
from gancodec.eval.published import PublishedPoint, read_published, to_compressai_json
from gancodec.eval.records import Record, Score

DCVC_POINT = {
    "frame_pixel_num": 100,
    "i_frame_num": 1,
    "p_frame_num": 3,
    "ave_i_frame_bpp": 0.9,
    "ave_all_frame_bpp": 0.25,
    "ave_all_frame_psnr": 36.5,
    "ave_all_frame_msssim": 0,
    "ave_all_frame_psnr_y": 36.0,
    "ave_all_frame_psnr_u": 38.0,
    "ave_all_frame_psnr_v": 38.0,
    "ave_all_frame_msssim_y": 0.98,
    "qp": 27,
}


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_compressai_pictures(tmp_path: Path) -> None:
    results = {"psnr": [31.0, 29.0], "ms-ssim": [0.97, 0.95], "bpp": [0.5, 0.25]}
    times = {"encoding_time": [1.0, 1.0], "decoding_time": [2.0, 2.0]}
    tree = {"name": "some-net", "description": "toy", "results": {**results, **times}}
    (curve,) = read_published(write(tmp_path / "kodak" / "net.json", tree))
    assert (curve.name, curve.dataset, curve.rate_unit) == ("some-net", "kodak", "bpp")
    assert curve.points == (
        PublishedPoint(0.25, 2, {"psnr-rgb": 29.0, "ms-ssim-rgb": 0.95}),
        PublishedPoint(0.5, 1, {"psnr-rgb": 31.0, "ms-ssim-rgb": 0.97}),
    )
    bare = read_published(write(tmp_path / "kodak" / "bare.json", results))
    assert (bare[0].name, bare[0].points) == ("bare", curve.points)


def test_compressai_video(tmp_path: Path) -> None:
    results = {
        "qp": [22, 32],
        "q": ["net-a", "net-b"],
        "bitrate": [900.5, 300],
        "psnr-y": [40.0, None],
        "psnr-yuv": [41.0, 36.0],
    }
    path = write(tmp_path / "UVG" / "x.json", {"name": "x", "results": results})
    (curve,) = read_published(path)
    assert curve.rate_unit == "kbps"
    assert curve.points == (
        PublishedPoint(300.0, 32.0, {"psnr-yuv-411": 36.0}),
        PublishedPoint(900.5, 22.0, {"psnr-y": 40.0, "psnr-yuv-411": 41.0}),
    )
    first, second = curve.to_records()
    assert (first.codec, first.kind, first.clip, first.quality) == ("x", "published", "UVG", 32)
    assert (first.kbps, first.bpp, first.bytes) == (300.0, 0.0, 0)
    assert second.value("psnr-y") == 40.0
    assert first.value("psnr-y") is None
    assert first.is_complete
    assert first.key != second.key
    assert Record.from_json(first.to_json()) == first


def test_tables_of_generative_codecs(tmp_path: Path) -> None:
    hific = (
        ",dataset,bpp,FID,LPIPS,MS-SSIM,PSNR\n0,clic,0.2,4.5,0.05,0.95,30\n1,kodak,0.3,,0.06,,28\n"
    )
    clic, kodak = read_published(write(tmp_path / "hific" / "data.csv", hific))
    assert (clic.name, clic.dataset, kodak.dataset) == ("hific", "clic", "kodak")
    expected = {"fid": 4.5, "lpips": 0.05, "ms-ssim-rgb": 0.95, "psnr-rgb": 30.0}
    assert clic.points == (PublishedPoint(0.2, 1, expected),)
    assert kodak.points[0].metrics == {"lpips": 0.06, "psnr-rgb": 28.0}

    illm = "model,dataset,bpp,fid_swav,ms_ssim\nA,clic,0.4,1.5,0.97\n"
    illm += "B,clic,0.1,3,0.9\nA,clic,0.2,2,0.95\n"
    a, b = read_published(write(tmp_path / "results.csv", "\ufeff" + illm))
    assert (a.name, b.name) == ("A", "B")
    assert [p.rate for p in a.points] == [0.2, 0.4]
    assert a.points[0].metrics == {"fid-swav": 2.0, "ms-ssim-rgb": 0.95}


def test_dcvc(tmp_path: Path) -> None:
    lower = {**DCVC_POINT, "qp": 37, "ave_all_frame_bpp": 0.1}
    tree = {"UVG": {"Bee_8x8.yuv": {"027": DCVC_POINT, "037": lower}, "Cat.yuv": {"1": lower}}}
    bee, cat = read_published(write(tmp_path / "vtm.json", tree))
    assert (bee.name, bee.dataset, cat.dataset) == ("vtm", "UVG/Bee_8x8", "UVG/Cat")
    assert [(p.rate, p.quality) for p in bee.points] == [(0.1, 37), (0.25, 27)]
    assert bee.points[1].metrics == {
        "psnr-y": 36.0, "psnr-u": 38.0, "psnr-v": 38.0, "psnr-yuv": 36.5, "ms-ssim": 0.98,
    }  # fmt: skip
    rgb = {k: v for k, v in DCVC_POINT.items() if not k.endswith(("_y", "_u", "_v"))}
    (curve,) = read_published(write(tmp_path / "rgb.json", {"UVG": {"Bee": {"027": rgb}}}))
    assert curve.points[0].metrics == {"psnr-rgb": 36.5}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"name": "x"}, "no format that is known"),
        ({"a": {"b": {"c": {"bpp": 1}}}}, "no format that is known"),
        ("a,b\n1,2\n", "columns dataset and bpp"),
        ("", "columns dataset and bpp"),
        ("[1, 2]", "columns dataset and bpp"),
        ("{", "not as its format says"),
        ("dataset,bpp,psnr\n", "no published point"),
        ("dataset,bpp,psnr\nclic,much,30\n", "not as its format says.*much"),
        ("dataset,bpp,psnr\nclic,1\n", "line 2 has another number of cells"),
        ({"results": {"bpp": [1, 2], "psnr": [30]}}, "psnr and bpp are not equally many"),
        ({"results": {"bpp": [None]}}, "not as its format says"),
    ],
)
def test_anything_else_is_an_error(tmp_path: Path, content: object, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_published(write(tmp_path / "file", content))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read published results from"):
        read_published(tmp_path / "nothing.json")


# ── Ours in their format ─────────────────────────────────────────────────────────────────────


def record(clip: str, quality: float, bpp: float, psnr: float, **more: object) -> Record:
    made = Record(
        key=f"{clip} {quality}", codec="ours", kind="gvc", quality=quality, settings={}, decode={},
        clip=clip, frames=10, bpp=bpp, kbps=1000 * bpp, encode_seconds=2.0, decode_seconds=1.0,
        scores={"psnr-y": Score(psnr, (psnr,)), "psnr-yuv": Score(psnr + 1, (psnr + 1,))},
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def test_export_is_the_mean_over_clips(tmp_path: Path) -> None:
    records = [
        record("a", 40, 0.4, 40.0),
        record("b", 40, 0.2, 36.0),
        record("a", 10, 0.1, 30.0),
        record("b", 10, 0.2, 31.0),
        record("a", 50, 0.8, 44.0),  # and b failed there
        record("b", 50, 0.8, 44.0, error="out of order"),
        record("a", 60, 9.0, 50.0, codec="another"),
    ]
    tree = to_compressai_json(records, "ours")
    assert tree["results"] == {
        "q": [10, 40],
        "bpp": pytest.approx([0.15, 0.3]),
        "bitrate": pytest.approx([150, 300]),
        "encoding_time": [2.0, 2.0],
        "decoding_time": [1.0, 1.0],
        "psnr-y": [30.5, 38.0],
        "psnr-yuv-611": [31.5, 39.0],
    }
    assert "2 clips: a, b" in tree["description"]
    (curve,) = read_published(write(tmp_path / "set" / "ours.json", tree))
    assert (curve.name, curve.dataset) == ("ours", "set")
    assert [p.quality for p in curve.points] == [10, 40]
    assert curve.points[0].metrics == {"psnr-y": 30.5, "psnr-yuv-611": 31.5}


def test_export_leaves_out_what_is_not_everywhere() -> None:
    lacking = record("b", 10, 0.2, 31.0, scores={"psnr-y": Score(31.0, (31.0,))})
    tree = to_compressai_json([record("a", 10, 0.1, 30.0), lacking], "ours")
    assert "psnr-yuv-611" not in tree["results"]
    with pytest.raises(InputError, match="no setting of 'theirs'"):
        to_compressai_json([lacking], "theirs")
    with pytest.raises(InputError, match="measured on all clips"):
        to_compressai_json([record("a", 10, 0.1, 30.0), record("b", 20, 0.2, 31.0)], "ours")
