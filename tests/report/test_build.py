"""The page: complete, inert, self-contained, honest about what is missing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from declutch.config.files import dump_config, parse_config
from declutch.evaluation.results import EvalResult, load_result, save_result
from declutch.evaluation.summary import paired, summarise
from declutch.ground.errors import UserError
from declutch.records import Outcome
from declutch.report.build import build_report
from declutch.report.cells import DASH
from declutch.report.sections import describe_method


class Outline(HTMLParser):
    """Elements, attributes and the text of script elements, as a browser's parser sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._is_in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
            self._is_in_script = True

    def handle_endtag(self, tag: str) -> None:
        self._is_in_script = False

    def handle_data(self, data: str) -> None:
        if self._is_in_script:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)


def read_page(path: Path) -> Outline:
    outline = Outline()
    outline.feed(path.read_text(encoding="utf-8"))
    return outline


def page_data(outline: Outline) -> dict:
    texts = [text for attributes, text in outline.scripts if attributes.get("id") == "data"]
    return json.loads(texts[0])


def unpack(outline: Outline, iteration: int) -> list[dict]:
    for attributes, text in outline.scripts:
        if attributes.get("id") == f"chunk-{iteration}":
            return json.loads(gzip.decompress(base64.b64decode(text)))
    raise AssertionError(f"no chunk for iteration {iteration}")


def notes_of(path: Path) -> str:
    match = re.search(r'<aside class="notes">(.*?)</aside>', path.read_text(), re.DOTALL)
    return unescape(match[1]) if match else ""


def test_whole_run_has_nothing_missing(run_dir: Path):
    page = build_report(run_dir)
    assert page == run_dir / "report.html"
    assert notes_of(page) == ""
    assert page.stat().st_size < 3_000_000
    assert not list(run_dir.glob("*.tmp"))


def test_page_loads_nothing(run_dir: Path):
    outline = read_page(build_report(run_dir))
    for tag, attributes in outline.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    text = (run_dir / "report.html").read_text()
    assert "url(" not in text
    assert "@import" not in text


def test_policy_allows_exactly_the_script(run_dir: Path):
    outline = read_page(build_report(run_dir))
    runnable = [text for attributes, text in outline.scripts if "type" not in attributes]
    assert len(runnable) == 1
    digest = base64.b64encode(hashlib.sha256(runnable[0].encode()).digest()).decode()
    policies = [a["content"] for t, a in outline.tags if a.get("http-equiv")]
    assert policies == [
        # Pictures of charts are made from drawings that the page itself holds as data.
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    ]


def test_hostile_text_stays_text(run_dir: Path):
    config = run_dir / "config.yaml"
    config.write_text(config.read_text().replace("models/tiny", "<b onclick=x>&"))
    page = build_report(run_dir)
    text = page.read_text()
    assert "alert('x')</script>" not in text
    assert "<b onclick" not in text
    assert "&lt;b onclick=x&gt;&amp;" in text
    outline = read_page(page)
    index = page_data(outline)["episodes"]
    assert index[0]["episodes"][0]["name"].startswith("</script><script>alert('x')")


def test_same_folder_gives_the_same_bytes(run_dir: Path):
    first = build_report(run_dir).read_bytes()
    assert build_report(run_dir).read_bytes() == first


def test_episodes_arrive_whole(run_dir: Path, episode_maker: Callable[..., dict]):
    outline = read_page(build_report(run_dir))
    episodes = unpack(outline, 20)
    assert len(episodes) == 16
    expected = episode_maker(20, 3)
    assert episodes[3]["task"] == expected["task"]
    for step, original in zip(episodes[3]["steps"], expected["steps"], strict=True):
        marks = {"is_repeated": step["is_repeated"], "is_looped": step["is_looped"]}
        assert step == {**original, **marks}
    entry = page_data(outline)["episodes"][-1]["episodes"][3]
    assert entry["steps"] == len(expected["steps"])
    assert entry["judged"] == sum(bool(step["judgments"]) for step in expected["steps"])


def test_numbers_are_those_of_the_evaluations(
    run_dir: Path, evaluation_maker: Callable[..., EvalResult]
):
    text = build_report(run_dir).read_text()
    before = evaluation_maker(0, "iteration_0000", seed=0)
    after = evaluation_maker(1, "iteration_0020", seed=20)
    row = summarise(after)[0]
    assert f"{100 * row.success.mean:.1f} <small>[{100 * row.success.low:.1f}," in text
    difference = paired(before, after)[0].difference
    assert f"{100 * difference.mean:+.1f} points" in text
    assert f"[{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]" in text
    assert "RL − more SFT" in text
    charts = page_data(read_page(run_dir / "report.html"))["charts"]
    assert [point[0] for point in charts["evaluations"]["L0"]] == [0, 10, 20]
    assert charts["evaluations"]["L0"][-1][1] == pytest.approx(row.success.mean, abs=1e-4)
    assert charts["iterations"] == list(range(1, 21))
    assert [entry["level"] for entry in charts["comparison"]] == ["L0", "L1", "L2", "mean"]


def test_partial_scores_stand_beside_success_where_there_are_any(run_dir: Path):
    assert "mean score" not in build_report(run_dir).read_text()
    path = run_dir / "evals" / "iteration_0020.json"
    result = load_result(path)
    games = [
        replace(game, outcome=Outcome.FAILED, score=0.5) if game.level == "L0" else game
        for game in result.games
    ]
    save_result(replace(result, games=tuple(games)), path)
    text = build_report(run_dir).read_text()
    assert "after RL, mean score, %" in text
    assert "after RL, finished positive, %" in text
    # Nothing was won there, all of it was finished with half the points.
    assert '<td class="num">50.0</td><td class="num">100.0</td>' in text
    assert "0.0 <small>[0.0," in text


def test_env_errors_are_visible(run_dir: Path):
    text = build_report(run_dir).read_text()
    assert "3 plays of these evaluations ended in an environment error" in text


def test_a_level_of_broken_games_alone_has_no_share_on_its_card(run_dir: Path):
    path = run_dir / "evals" / "iteration_0020.json"
    result = load_result(path)
    games = [
        replace(game, outcome=Outcome.ENV_ERROR) if game.level == "L1" else game
        for game in result.games
    ]
    save_result(replace(result, games=tuple(games)), path)
    text = build_report(run_dir).read_text()
    (card,) = re.findall(r'<div class="card level-L1">.*?</div>', text)
    assert f"{DASH}</p>" in card
    assert f"{DASH}%" not in text


def test_truncated_metrics_are_tolerated_and_named(run_dir: Path):
    file = run_dir / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    lines[4] = "{broken}\n"
    file.write_text("".join(lines)[:-40])
    page = build_report(run_dir)
    assert "last line of metrics.jsonl is cut off" in notes_of(page)
    assert "Line 5 of metrics.jsonl is damaged" in notes_of(page)
    iterations = page_data(read_page(page))["charts"]["iterations"]
    assert iterations == [i for i in range(1, 20) if i != 5]


def test_numbers_that_are_none_become_gaps(run_dir: Path):
    file = run_dir / "metrics.jsonl"
    row = {"iteration": 21, "update/kl": float("nan"), "agent/success": 0.5}
    with file.open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    metrics = page_data(read_page(build_report(run_dir)))["charts"]["metrics"]
    assert metrics["update/kl"][-1] is None
    assert metrics["agent/success"][-1] == 0.5
    assert metrics["judge/accuracy"][-1] is None


@pytest.mark.parametrize(
    ("missing", "note"),
    [
        ("config.yaml", "config.yaml is missing"),
        ("metrics.jsonl", "metrics.jsonl is missing"),
        ("evals", "the cold start) is missing"),
        ("evals/control.json", "more SFT for the same time) is missing"),
        ("evals/iteration_0000.json", "no comparison"),
        ("episodes", "No episodes were saved"),
    ],
)
def test_missing_parts_are_named(run_dir: Path, missing: str, note: str):
    path = run_dir / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    assert note in notes_of(build_report(run_dir))


def test_damaged_parts_are_named(run_dir: Path):
    (run_dir / "evals" / "iteration_0010.json").write_text("{")
    (run_dir / "config.yaml").write_text("a: [")
    (run_dir / "cold_start.json").write_text("not json")
    with (run_dir / "episodes" / "iteration_0010.jsonl").open("a") as file:
        file.write('{"iteration": 10, "ta')
    notes = notes_of(build_report(run_dir))
    for part in ("iteration_0010.json", "config.yaml", "cold_start.json", "Line 17 of episodes"):
        assert part in notes


def test_evaluations_on_other_games_are_not_compared(
    run_dir: Path, evaluation_maker: Callable[..., EvalResult]
):
    other = evaluation_maker(1, "iteration_0020")
    changed = EvalResult(**{**vars(other), "manifests": {"L0": "other"}})
    save_result(changed, run_dir / "evals" / "iteration_0020.json")
    text = build_report(run_dir).read_text()
    assert "No difference between cold start and after RL" in text
    assert "evaluated on different games" in text
    assert "RL − cold start" not in text


def test_a_run_that_only_just_began(run_dir: Path):
    for name in ("metrics.jsonl", "cold_start.json"):
        (run_dir / name).unlink()
    for name in ("evals", "episodes"):
        shutil.rmtree(run_dir / name)
    text = build_report(run_dir).read_text()
    assert "Nothing has been evaluated yet." in text
    assert "0 of 20" in text


def test_folders_that_are_no_runs_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no run folder"):
        build_report(tmp_path / "absent")
    with pytest.raises(UserError, match="neither config"):
        build_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 500])
def test_page_draws_in_a_browser(run_dir: Path, tmp_path: Path, width: int):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium on this machine")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},2000",
        "--virtual-time-budget=3000",
        "--dump-dom",
        build_report(run_dir).as_uri(),
    ]
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    drawn, script, _ = drawn.partition("<script")
    assert script
    assert drawn.count("<figure>") == 22
    assert drawn.count('class="item"') == 32
    assert 'class="step"' in drawn
    assert "could not unpack" not in drawn
    # Hostile text was shown, not run: no element of its markup exists.
    assert "<img" not in drawn


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "GRPO · suite"),
        ({"algorithm": {"type": "gigpo"}}, "GiGPO · suite"),
        ({"algorithm": {"type": "rloo"}, "gcd": {"enabled": True, "weight": 0.5}}, "weight 0.5,"),
        ({"gcd": {"enabled": True, "gradient_ratio": 0.5}}, "gradient 0.5 × the agent's,"),
        ({"gcd": {"enabled": True}}, "GRPO + GCD · oracle labels, weight 1.0, 30 steps × 8 judg"),
        (
            {"gcd": {"enabled": True, "task": "value_head"}},
            "GRPO + value-head classifier · oracle labels, weight 1.0, 30 steps per iteration",
        ),
        (
            {"gcd": {"enabled": True, "task": "prediction"}},
            "GRPO + prediction · weight 1.0, 30 steps × 8 predictions per iteration",
        ),
    ],
)
def test_method_in_one_line(changes: dict, expected: str):
    config = parse_config(changes, "test").model_dump(mode="json")
    assert expected in describe_method(config)


def test_training_episodes_of_other_length_and_a_falling_rate_are_shown(run_dir: Path):
    text = dump_config(
        parse_config({"train": {"max_steps": 20}, "optimizer": {"lr_schedule": "linear"}}, "test")
    )
    (run_dir / "config.yaml").write_text(text)
    page = build_report(run_dir).read_text()
    assert "30, 20 in training" in page
    assert "1e-06, falling to 0" in page
