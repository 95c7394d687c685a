"""The report in a real browser, without a window: what moves does move, and nothing is loaded.

Needs Chromium and its driver as programs (Debian: ``apt-get install chromium chromium-driver``).
GANCODEC_NO_BROWSER=1 leaves these tests out where they cannot be had.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gancodec.eval.records import read_records

if os.environ.get("GANCODEC_NO_BROWSER") == "1":
    pytest.skip("GANCODEC_NO_BROWSER=1 leaves out the browser", allow_module_level=True)

REMEDY = (
    "the report is tested in Chromium, and there is no {}: apt-get install chromium "
    "chromium-driver, name them with GANCODEC_CHROMIUM and GANCODEC_CHROMEDRIVER, or set "
    "GANCODEC_NO_BROWSER=1 to leave these tests out"
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync "
    "--disable-default-apps --window-size=1000,1000 --force-device-scale-factor=1"
)


def program(variable: str, *names: str) -> str:
    """A program's path; never one that selenium would fetch."""
    for name in (os.environ.get(variable), *names):
        if name and (path := shutil.which(name)):
            return path
    pytest.fail(REMEDY.format(names[0]), pytrace=False)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium = program("GANCODEC_CHROMIUM", "chromium", "chromium-browser", "google-chrome")
    driver = program("GANCODEC_CHROMEDRIVER", "chromedriver")
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        pytest.fail(REMEDY.format("selenium (pip install selenium)"), pytrace=False)
    options = Options()
    options.binary_location = chromium
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(driver))
    running.set_page_load_timeout(60)
    yield running
    running.quit()


@pytest.fixture
def page(browser: Any, reported: Any) -> Iterator[Any]:
    """The report, freshly loaded; afterwards nothing was complained of, and nothing was loaded."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(reported.path.as_uri())
    yield browser
    assert browser.get_log("browser") == []
    assert browser.title == "Evaluation: trial & error"  # which hostile names would change
    events = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    asked = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    urls = [a["request"]["url"] for a in asked if a["documentURL"].startswith("file:")]
    assert [url for url in urls if not url.startswith("data:image/")] == [reported.path.as_uri()]


def find(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def choose(page: Any, selector: str, text: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(find(page, selector)).select_by_visible_text(text)


def options(page: Any, selector: str) -> list[str]:
    return [o.text for o in find(page, selector).find_elements("css selector", "option")]


def digits(text: str) -> int:
    return int("".join(c for c in text if c.isdigit()))


def picture(element: Any) -> np.ndarray[Any, Any]:
    """What is on the screen there, always at the same place of the window, without its edge,
    which is blended with what is behind it."""
    page = element.parent
    loaded = "return [...document.images].every((image) => image.complete)"
    wait(lambda: page.execute_script(loaded))
    page.execute_script("arguments[0].scrollIntoView()", element)
    data = element.screenshot_as_png
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)[4:-4, 4:-4]


def wait(condition: Callable[[], object], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def press(page: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(page).send_keys(*keys).perform()


# ── Whole page ───────────────────────────────────────────────────────────────────────────────


def test_page_shows_wins_and_losses_of_one_size(page: Any, reported: Any) -> None:
    sides = page.find_elements("css selector", ".sides > div")
    heads = [side.find_element("css selector", "h4").text for side in sides]
    assert [head.split(":")[0] for head in heads] == ["▼ wins", "▲ loses"]
    assert sides[0].size == sides[1].size
    assert sides[0].location["y"] == sides[1].location["y"]
    assert reported.hostile_codec in sides[0].text
    assert "thrifty" in sides[1].text


def test_page_fits_into_900_pixels(page: Any) -> None:
    page.set_window_size(900, 900)
    try:
        width = page.execute_script("return document.documentElement.scrollWidth")
        assert width <= page.execute_script("return innerWidth")
    finally:
        page.set_window_size(1000, 1000)


def test_policy_stops_what_could_be_put_in(browser: Any, reported: Any) -> None:
    """Even a script and a picture that got into the page would neither run nor load."""
    browser.get(reported.path.as_uri())
    browser.get_log("browser")
    browser.execute_script(
        """
        const script = document.createElement("script");
        script.textContent = "document.title = 'broken in'";
        const image = document.createElement("img");
        image.src = "file:///etc/hostname";
        document.body.append(script, image);
        """
    )
    image = find(browser, "body > img")
    wait(lambda: image.get_property("complete"))
    assert image.get_property("naturalWidth") == 0
    told = [entry["message"] for entry in browser.get_log("browser")]
    assert len(told) == 2
    assert all("Content Security Policy" in message for message in told)
    assert browser.title == "Evaluation: trial & error"


# ── Slider ───────────────────────────────────────────────────────────────────────────────────


def test_slider_moves_by_keys_and_by_dragging(page: Any) -> None:
    from selenium.webdriver import ActionChains

    left, stage = find(page, "#slider img.left"), find(page, "#slider .stage")
    divider = find(page, "#slider .divider")
    choose(page, "#slider [name=left]", "source")

    def shown() -> float:
        """Percent of the width at which the left picture ends."""
        clip: str = left.value_of_css_property("clip-path")
        return 100 - float(clip.removeprefix("inset(").split()[1].removesuffix("%"))

    assert shown() == 50
    before = picture(stage)
    divider.click()  # in its middle
    press(page, "\ue012" * 40)  # arrow left, half a percent each
    assert shown() == pytest.approx(30, abs=0.5)
    middle = picture(stage)
    width = before.shape[1]
    assert np.array_equal(before[60:, : width // 5], middle[60:, : width // 5])
    changed = (slice(60, None), slice(width * 33 // 100, width * 48 // 100))
    assert not np.array_equal(before[changed], middle[changed])
    drag = ActionChains(page).move_to_element(stage).click_and_hold()
    drag.move_by_offset(width // 4, 0).release().perform()
    assert shown() == pytest.approx(75, abs=1)
    assert float(divider.get_property("value")) == pytest.approx(75, abs=1)


def test_slider_shows_the_codec_that_is_chosen(page: Any, reported: Any) -> None:
    stage, values = find(page, "#slider .stage"), find(page, "#slider .values")
    assert options(page, "#slider [name=left]") == [
        "source", "ours", reported.hostile_codec, "thrifty",
    ]  # fmt: skip
    choose(page, "#slider [name=left]", "source")
    choose(page, "#slider [name=right]", "ours")
    assert "–" in values.text
    sizes = options(page, "#slider [name=step]")
    seen = []
    for text in sizes:
        choose(page, "#slider [name=step]", text)
        seen.append(picture(stage))
        assert f"{text}, +0.0 %" in values.text  # of our own files, so of exactly that size
    half = seen[0].shape[1] // 2
    for other in seen[1:]:
        assert np.array_equal(seen[0][:, : half - 4], other[:, : half - 4])  # the source
        assert not np.array_equal(seen[0][:, half + 4 :], other[:, half + 4 :])
    choose(page, "#slider [name=right]", reported.hostile_codec)
    assert find(page, "#slider .name.right").text == reported.hostile_codec
    find(page, "#slider [name=swap]").click()
    assert find(page, "#slider .name.left").text == reported.hostile_codec
    assert not np.array_equal(picture(stage)[:, : half - 4], seen[-1][:, : half - 4])


def test_slider_takes_the_nearest_file_and_says_how_far_it_is_off(page: Any, reported: Any) -> None:
    sizes: dict[str, list[int]] = {}
    for record in read_records(reported.run):
        if record.clip == options(page, "#slider [name=clip]")[0] and record.bytes:
            sizes.setdefault(record.codec, []).append(record.bytes)
    unequal = []
    for text in options(page, "#slider [name=step]"):
        choose(page, "#slider [name=step]", text)
        asked = digits(text)
        for codec in ("thrifty", reported.hostile_codec):
            choose(page, "#slider [name=left]", codec)
            size = min(sizes[codec], key=lambda size: max(size / asked, asked / size))
            percent = 100 * (size / asked - 1)
            line = find(page, "#slider .values").text.split("\n")[1]
            told = line.removeprefix("file, and how far it is off ").split(" bytes, ")
            assert digits(told[0]) == size
            assert told[1].startswith(f"{percent:+.1f} %".replace("-", "−"))
            unequal.append("unequal" in told[1])
            assert unequal[-1] == (abs(percent) > 10)
    assert set(unequal) == {True, False}


def test_slider_shows_values_of_the_frame(page: Any, reported: Any) -> None:
    records = read_records(reported.run)
    clip = find(page, "#slider [name=clip]").find_element("css selector", "option:checked").text
    for frame in options(page, "#slider [name=frame]"):
        choose(page, "#slider [name=frame]", frame)
        for text in options(page, "#slider [name=step]"):
            choose(page, "#slider [name=step]", text)
            mine = ("ours", clip, digits(text))
            (record,) = [r for r in records if (r.codec, r.clip, r.bytes) == mine]
            row = find(page, "#slider .values").text.split("PSNR-Y ↑ ")[1].split("\n")[0].split()
            score = record.scores["psnr-y"]
            expected = [score.values[int(frame.split()[0])], score.mean]
            assert row[2:] == [f"{value:.2f}" for value in expected]


def test_slider_shows_parts_and_whole_frames(page: Any, reported: Any) -> None:
    stage, parts = find(page, "#slider .stage"), options(page, "#slider [name=view]")
    assert [p.split(",")[0] for p in parts] == [
        "where codecs differ most", "where most goes on", "whole frame",
    ]  # fmt: skip
    shots = []
    for part in parts:
        choose(page, "#slider [name=view]", part)
        shots.append(picture(stage))
    assert not np.array_equal(shots[0], shots[1])
    assert stage.size == {"width": 336, "height": 176}
    assert not find(page, "#slider .map").is_displayed()
    choose(page, "#slider [name=view]", parts[1])
    assert find(page, "#slider .map span").is_displayed()
    choose(page, "#slider [name=zoom]", "2")
    assert stage.size == {"width": 320, "height": 320}
    choose(page, "#slider [name=clip]", reported.hostile_clip)
    other = picture(stage)
    assert find(page, "#slider img.left").get_property("alt").endswith(reported.hostile_clip)
    choose(page, "#slider [name=clip]", "pan")
    assert not np.array_equal(picture(stage), other)


# ── Curves ───────────────────────────────────────────────────────────────────────────────────


def test_marker_under_the_mouse_is_described(page: Any, reported: Any) -> None:
    from selenium.webdriver import ActionChains

    tip = find(page, "#tip")
    assert not tip.is_displayed()
    records = {r.key[:12]: r for r in read_records(reported.run)}
    points = page.find_elements("css selector", "#curves details[open] .point")
    of_clips = [p for p in points if "quality" in p.get_attribute("aria-label").split("\n")[1]]
    assert len(of_clips) == 30  # three codecs, two clips, five qualities
    for point in of_clips[::7]:
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
        time.sleep(0.1)  # scrolling hides the note
        mouse = ActionChains(page).move_to_element(point).move_by_offset(3, 0)
        mouse.move_by_offset(-3, 0).perform()
        wait(tip.is_displayed)
        assert tip.text == point.get_attribute("aria-label")
        lines = tip.text.split("\n")
        record = records[lines[-1].removeprefix("record ")]
        assert lines[0] == record.codec
        assert lines[1] == f"{record.clip}, quality {record.quality:g}"
        assert f"PSNR-Y {record.scores['psnr-y'].mean:.2f} dB" in lines
    ActionChains(page).move_to_element(find(page, "#curves h2")).perform()
    wait(lambda: not tip.is_displayed())


def test_markers_are_reached_by_keys(page: Any) -> None:
    first = find(page, "#curves details[open] .point[tabindex='0']")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", first)
    time.sleep(0.1)
    page.execute_script("arguments[0].focus({preventScroll: true})", first)
    tip = find(page, "#tip")
    assert tip.text == first.get_attribute("aria-label")
    press(page, "\ue014")  # arrow right
    second = page.switch_to.active_element
    assert second.get_attribute("id") != first.get_attribute("id")
    assert tip.text == second.get_attribute("aria-label")
    page.execute_script("scrollTo(0, 0)")
    press(page, "\ue014")  # which scrolls back to it
    third = page.switch_to.active_element
    assert third.get_attribute("id") not in (first.get_attribute("id"), second.get_attribute("id"))
    time.sleep(0.3)
    assert tip.text == third.get_attribute("aria-label")
    press(page, "\ue00c")  # escape
    assert not tip.is_displayed()


def test_codecs_are_hidden_and_shown(page: Any) -> None:
    def displayed(codec: str) -> list[bool]:
        found: list[bool] = page.execute_script(
            """
            const parts = document.querySelectorAll("#curves details[open] [data-codec]");
            const mine = [...parts].filter((part) => part.dataset.codec === arguments[0]);
            const boxes = mine.map((part) => part.getBoundingClientRect());
            return boxes.map((box) => box.width + box.height > 0);
            """,
            codec,
        )
        return found

    assert len(displayed("thrifty")) > 15  # markers of three panels, lines, names
    assert all(displayed("thrifty"))
    box = find(page, ".series input[value=thrifty]")
    box.click()
    assert not any(displayed("thrifty"))
    assert all(displayed("ours"))
    box.click()
    assert all(displayed("thrifty"))


# ── Flip-book ────────────────────────────────────────────────────────────────────────────────


def test_flip_book_plays_pauses_and_steps(page: Any) -> None:
    count, play = find(page, "#film .count"), find(page, "#film [name=play]")
    panels = find(page, "#film .panels")
    page.execute_script("arguments[0].scrollIntoView()", find(page, "#film"))
    assert count.text == "Frame 0 of the clip (1 of 10)"
    first = picture(panels)
    play.click()
    assert play.text == "Pause"
    numbers: list[str] = []

    def seen() -> bool:
        if count.text not in numbers:
            numbers.append(count.text)
        return len(numbers) >= 4

    wait(seen)
    play.click()
    assert play.text == "Play"
    stopped = count.text
    time.sleep(0.4)
    assert count.text == stopped
    find(page, "#film .at").click()  # the middle of ten frames
    assert count.text in ("Frame 4 of the clip (5 of 10)", "Frame 5 of the clip (6 of 10)")
    middle = picture(panels)
    third = first.shape[1] // 3
    for panel in range(3):  # the source, A and B have all moved
        part = slice(panel * third + 10, (panel + 1) * third - 10)
        assert not np.array_equal(first[:200, part], middle[:200, part])
    find(page, "#film [name=next]").click()
    find(page, "#film [name=back]").click()
    assert np.array_equal(picture(panels), middle)


def test_flip_book_flips_in_one_place(page: Any) -> None:
    page.execute_script("arguments[0].scrollIntoView()", find(page, "#film"))
    choose(page, "#film [name=layout]", "in one place")
    panels = find(page, "#film .panels")
    shots = []
    for which in range(3):
        find(page, f"#film [name=which][value='{which}']").click()
        (caption,) = [
            c.text for c in panels.find_elements("css selector", "figcaption") if c.is_displayed()
        ]
        assert caption.startswith(["source", "A: thrifty", "B: ours"][which])
        shots.append(picture(panels))
    assert not np.array_equal(shots[0], shots[2])


def test_report_without_pictures_still_works(browser: Any, reported: Any, tmp_path: Path) -> None:
    from gancodec.eval.report import write_report

    path = tmp_path / "bare.html"
    write_report(reported.run, path, codecs=reported.codecs, max_bytes=1)
    browser.get_log("browser")
    browser.get(path.as_uri())
    assert browser.get_log("browser") == []
    assert "There are no pictures" in find(browser, "#slider").text
    point = find(browser, "#curves details[open] .point[tabindex='0']")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    time.sleep(0.1)
    browser.execute_script("arguments[0].focus({preventScroll: true})", point)
    assert find(browser, "#tip").is_displayed()
