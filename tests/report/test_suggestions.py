"""The page's section on suggestions: their texts, themes and their origin; damage; hostile text."""

import json
from pathlib import Path

from declutch.config.files import parse_config
from declutch.report.build import build_report
from declutch.report.sections import describe_method
from declutch.report.suggestions import MAX_PLACES, MAX_SENTENCES
from declutch.runs.folder import RunFolder
from declutch.runs.read import read_run


def write_version(path: Path, iteration: int, **changes: object) -> None:
    places = [{"iteration": 3, "task": "game <b>", "episode": 5, "step": n} for n in range(9)]
    sentences = [{"text": f"look <i>{n}", "count": 9, "places": places} for n in range(40)]
    theme = {"medoid": "look", "size": 360, "sentences": sentences, "source": "medoid"}
    version = {
        "iteration": iteration,
        "first_iteration": iteration - 9,
        "suggestions": [f"Hint <script> {iteration}"],
        "note": "the endpoint <slept>",
        "num_advice": 371,
        "silhouette": 0.625,
        "themes": [
            {**theme, "suggestion": f"Hint <script> {iteration}", "left_out": ""},
            {**theme, "suggestion": "Twin", "left_out": "says the same as a suggestion above"},
        ],
        **changes,
    }
    (path / "suggestions").mkdir(exist_ok=True)
    text = json.dumps(version)
    (path / "suggestions" / f"iteration_{iteration:04d}.json").write_text(text)


def test_suggestions_are_shown_with_where_they_came_from(run_dir: Path) -> None:
    write_version(run_dir, 10)
    write_version(run_dir, 20, silhouette=None, note="")
    page = build_report(run_dir).read_text()
    assert '<a href="#suggestions">Suggestions</a>' in page
    assert page.index("From iteration 21 on: 1 suggestions") < page.index("From iteration 11 on")
    assert "2 themes in 371 pieces of advice from iterations 1 to 10, silhouette 0.62" in page
    assert "the endpoint &lt;slept&gt;" in page
    assert "<li>Hint &lt;script&gt; 20</li>" in page
    assert "Twin · 360 judgments · says the same as a suggestion above" in page
    assert "iteration 3, game &lt;b&gt;, episode 5, step 1<br>" in page
    assert f"step {MAX_PLACES}<br>and {9 - MAX_PLACES} more steps" in page
    assert f"and {40 - MAX_SENTENCES} more sentences" in page
    assert "<i>0" not in page
    assert "Hint <script>" not in page


def test_without_versions_there_is_no_section(run_dir: Path) -> None:
    assert 'href="#suggestions"' not in build_report(run_dir).read_text()


def test_a_damaged_version_is_a_note(run_dir: Path) -> None:
    write_version(run_dir, 10)
    write_version(run_dir, 20, themes=[{"suggestion": "half"}])
    (run_dir / "suggestions" / "iteration_0030.json").write_text('{"iteration": ')
    data = read_run(RunFolder(run_dir))
    assert [version.iteration for version in data.suggestions] == [10]
    for number in (20, 30):
        assert f"suggestions/iteration_00{number}.json could not be read." in data.notes


def test_the_method_is_named() -> None:
    gcd = {"enabled": True, "suggestions": {"enabled": True}}
    config = parse_config({"gcd": gcd}, "test").model_dump(mode="json")
    assert "GRPO + GCD_sugg · oracle labels" in describe_method(config)
