"""The report in a browser: with the keyboard alone, by a link, on a phone, and saved to files."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from browsing import focused, open_browser, open_page, press, tab_to

from declutch.report.build import build_report
from declutch.report.drawers.csv import draw_csv
from declutch.report.sections import mean_phases, phase_sheet
from declutch.runs.folder import RunFolder
from declutch.runs.read import read_run

pytestmark = pytest.mark.slow

# What somebody sees of the episodes, and where the keyboard is.
SEEN = """() => ({
  filters: [...document.querySelectorAll(".filters input, .filters select")].map((e) => e.value),
  list: [...document.querySelectorAll(".item")].map((e) => [e.textContent, e.className,
    e.getAttribute("aria-selected"), e.tabIndex]),
  panes: [...document.querySelectorAll(".episode")].map((pane) => [pane.className,
    pane.querySelector("h3").textContent,
    [...pane.querySelectorAll(".step:not(.ending)")].map((e) => [e.getAttribute("aria-label"),
      e.getAttribute("aria-current"), [...e.querySelectorAll("details")].map((d) => d.open)])]),
  focus: document.activeElement.getAttribute("aria-label"),
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as found:
        yield found


def choose(page: Any, name: str, option: str) -> None:
    """Choose an option of the list of that name by the arrow keys."""
    tab_to(page, name)
    for _ in range(12):
        if page.evaluate("document.activeElement.selectedOptions[0].textContent") == option:
            return
        press(page, "ArrowDown")
    raise AssertionError(f"no option {option!r} in {name!r}")


def test_an_episode_that_broke_off_says_why(
    browser: Any, run_dir: Path, episode_maker: Callable[..., dict]
) -> None:
    broken = {**episode_maker(20, 1), "outcome": "env_error", "error": "OSError: <b>gone</b>"}
    episodes = (broken, episode_maker(20, 2))
    path = RunFolder(run_dir).episodes_path(20)
    path.write_text("".join(json.dumps(each) + "\n" for each in episodes))
    page = open_page(browser, build_report(run_dir))
    endings = []
    for number, episode in enumerate(episodes):
        page.goto(f"{page.url.split('#')[0]}#episode=20.{number}")
        page.wait_for_selector(f".episode h3:text-is({json.dumps(episode['task']['name'])})")
        endings.append(page.locator(".episode .ending").inner_text())
    assert "It broke off: OSError: <b>gone</b>" in endings[0]
    assert "broke off" not in endings[1]


def test_episodes_are_read_by_keyboard_alone_and_a_link_shows_the_same(
    browser: Any, run_dir: Path, episode_maker: Callable[..., dict]
) -> None:
    page = open_page(browser, build_report(run_dir))
    tab_to(page, "Episodes")
    press(page, "Enter")
    tab_to(page, "Keyboard")
    tab_to(page, "search task names")
    page.keyboard.type("desk")
    choose(page, "outcome", "not won")
    choose(page, "label of steps", "bad by the oracle")
    choose(page, "iteration", "iteration 20")
    wanted = [
        (index, episode)
        for index, episode in ((index, episode_maker(20, index)) for index in range(1, 16))
        if episode["outcome"] != "won" and any(s["label_oracle"] == 0 for s in episode["steps"])
    ]
    assert page.locator(".item").count() == len(wanted) > 2

    # In the list an arrow opens the next episode, Enter goes to its steps.
    tab_to(page, wanted[0][1]["task"]["name"])
    press(page, "ArrowDown", "Enter")
    index, episode = wanted[1]
    bad = [place for place, step in enumerate(episode["steps"]) if step["label_oracle"] == 0]
    assert page.locator(".step:not(.ending)").count() == len(bad)
    assert focused(page).startswith(f"step {bad[0] + 1}: ")
    press(page, "ArrowRight", "ArrowRight", "ArrowLeft")
    assert focused(page).startswith(f"step {bad[1] + 1}: ")
    tab_to(page, "copy a link")
    tab_to(page, "prompt")
    press(page, "Enter")

    # A second episode beside it, of which the key for the next one opens another.
    press(page, "b")
    page.locator(".episode .strip").nth(1).wait_for()
    page.locator(".active .step:focus").wait_for()
    second = page.locator(".active h3").inner_text()
    press(page, "n")
    page.locator(".active h3", has_not_text=second).wait_for()
    page.locator(".active .step:focus").wait_for()
    press(page, "j", "o")
    assert focused(page).startswith(f"step {bad[1] + 1}: ")
    press(page, "o", "l")
    page.locator(".status", has_text="copied").wait_for()
    seen = page.evaluate(SEEN)
    assert len(seen["panes"]) == 2
    assert seen["panes"][0][1] == episode["task"]["name"]
    address = page.evaluate("location.href")
    assert f"episode=20.{index}&step={bad[1] + 1}&open=prompt" in address

    again = open_page(browser, address)
    again.locator(".step:focus").wait_for()
    assert again.evaluate(SEEN) == seen
    assert again.evaluate("location.href") == address
    box = again.evaluate("document.activeElement.getBoundingClientRect().top")
    assert 0 <= box < 900

    # Escape leads back to the list, and nothing keeps the focus.
    press(page, "Escape")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "option"
    tab_to(page, "cold_start")
    press(page, "Shift+Tab")
    assert page.evaluate("Boolean(document.activeElement.closest('.episode'))")
    assert page.problems == again.problems == []


def test_a_link_to_an_episode_that_is_not_there_says_so(browser: Any, run_dir: Path) -> None:
    page = open_page(browser, build_report(run_dir).as_uri() + "#episode=20.99&step=3")
    assert page.locator(".episode").inner_text() == (
        "The link is to an episode that is not on this page."
    )
    page.evaluate("location.hash = '#episode=10.4&step=2'")
    page.locator(".step:focus").wait_for()
    assert focused(page).startswith("step 2: ")
    assert page.problems == []


def test_every_stop_of_the_tab_key_is_named_and_seen(browser: Any, run_dir: Path) -> None:
    page = open_page(browser, build_report(run_dir), dark=True)
    page.evaluate(
        """() => { window.stops = []; addEventListener("focusin", ({ target }) => {
        const style = getComputedStyle(target), box = target.getBoundingClientRect();
        stops.push([target.getAttribute("aria-label") || target.textContent, style.outlineStyle,
          style.outlineWidth, box.width > 1 && box.bottom > 0 && box.top < innerHeight]); }); }"""
    )
    for _ in range(10):
        press(page, *["Tab"] * 20)
        stops = page.evaluate("stops")
        names = [stop[0] for stop in stops]
        if names.count("Skip to the content") == 2:
            break
    else:
        raise AssertionError("200 tabs do not get through the page")
    stops = stops[: names.index("Skip to the content", 1)]
    assert len(stops) > 50
    for name, style, width, is_seen in stops:
        assert name.strip()
        assert (style, width, is_seen) == ("solid", "2px", True), name
    assert page.problems == []


def test_charts_have_axes_and_tell_their_values_to_the_arrow_keys(
    browser: Any, run_dir: Path
) -> None:
    page = open_page(browser, build_report(run_dir), width=390)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    titles = page.evaluate(
        """[...document.querySelectorAll("figure")].map((figure) =>
        [...figure.querySelectorAll("text.axis")].map((e) => e.textContent))"""
    )
    assert len(titles) == 22
    for pair in titles:
        assert len(pair) == 2
        assert all(pair)
    chart = page.locator("figure", has_text="Evaluation by level").locator("svg")
    chart.focus()
    press(page, "ArrowRight", "ArrowRight")
    tip = page.locator(".tip").inner_text()
    assert tip.startswith("iteration 10")
    assert re.search(r"L0 \d+\.\d%", tip)
    press(page, "Tab")
    assert page.locator(".tip").count() == 0


def test_tables_and_charts_are_saved_from_the_keyboard(browser: Any, run_dir: Path) -> None:
    page = open_page(browser, build_report(run_dir))

    def save(menu: str, action: str) -> bytes:
        page.get_by_label(menu, exact=True).focus()
        press(page, "Enter")
        with page.expect_download() as download:
            tab_to(page, action, 4)
            press(page, "Enter")
        press(page, "Escape")
        assert focused(page) == menu
        return Path(download.value.path()).read_bytes()

    # The numbers of a table are whole in its file.
    phases = draw_csv(phase_sheet(mean_phases(read_run(RunFolder(run_dir)).metrics)))
    table = "Copy or save the table Where the time goes 1"
    assert save(table, "Download as CSV").decode() == phases
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    press(page, "Enter")
    tab_to(page, "Copy as CSV", 2)
    press(page, "Enter")
    page.locator(".status", has_text="copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == phases

    chart = "Copy or save the chart Evaluation by level"
    picture = save(chart, "Download as PNG")
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
    drawing = save(chart, "Download as SVG").decode()
    texts = [e.text for e in ElementTree.fromstring(drawing).iter() if e.tag.endswith("}text")]
    assert {"Evaluation by level", "L0", "L2", "iteration", "games won"} <= set(texts)
    assert "var(" not in drawing
    assert "light-dark" not in drawing
    rows = list(csv.reader(io.StringIO(save(chart, "numbers as CSV").decode())))
    assert rows[0][:5] == ["iteration", "L0", "L0 low", "L0 high", "L0 n"]
    assert [row[0] for row in rows[1:]] == ["0", "10", "20"]
    assert page.problems == []
