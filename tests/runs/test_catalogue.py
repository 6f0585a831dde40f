"""The catalogue of metrics: complete in itself, and the only place that spells a key."""

import ast
import re
from pathlib import Path

import pytest

import declutch
from declutch.runs import catalogue
from declutch.runs.catalogue import (
    CHARTS,
    METRICS,
    SECTIONS,
    chart_of,
    current_key,
    find,
    key_of,
    listed,
    metrics,
    phases,
    register,
)
from declutch.runs.metric import Chart, Metric

ROOT = Path(declutch.__file__).parent


def test_every_metric_is_described() -> None:
    keys = [key for metric in METRICS for key in (metric.key, *metric.aliases)]
    assert len(keys) == len(set(keys))
    titles = {chart.title for chart in CHARTS}
    assert len(titles) == len(CHARTS)
    css = (ROOT / "report" / "static" / "report.css").read_text()
    for metric in METRICS:
        assert metric.section in SECTIONS, metric.key
        assert re.fullmatch(r"[A-Z0-9].*\.", metric.meaning), metric.key
        assert metric.label, metric.key
        assert metric.unit in ("", "%", "s", "nats", "tokens"), metric.key
        assert not metric.chart or metric.chart in titles, metric.key
        assert not metric.color or f"--{metric.color}:" in css, metric.key
    assert {metric.section for metric in METRICS} == set(SECTIONS)
    assert {metric.chart for metric in METRICS} - {""} == titles


def test_metrics_stand_in_the_order_of_their_sections() -> None:
    sections = list(dict.fromkeys(metric.section for metric in METRICS))
    assert sections == list(SECTIONS)
    assert listed() == METRICS


def test_a_key_is_of_one_metric() -> None:
    for metric in METRICS:
        example = re.sub(r"\{(\w+)\}", r"\1", metric.key)
        assert find(example) == metric
        others = [other for other in METRICS if other.match(example) is not None]
        assert others == [metric]
    kind = find("agent/success/pick_and_place_simple")
    assert kind is not None
    assert kind.match("agent/success/pick_and_place_simple") == {"kind": "pick_and_place_simple"}
    assert kind.legend("agent/success/pick_and_place_simple") == "pick_and_place_simple"
    assert kind.match("agent/success") is None
    both = find("labels/both/rule_good/oracle_bad")
    assert both is not None
    parts = {"one": "rule", "one_says": "good", "other": "oracle", "other_says": "bad"}
    assert both.match("labels/both/rule_good/oracle_bad") == parts
    for unknown in ("agent/wisdom", "agent", "success", "agent/success/", ""):
        assert find(unknown) is None, unknown


def test_what_is_not_listed_cannot_be_recorded() -> None:
    assert metrics("update", {"kl": 0.5, "num_steps": 2, "kl_judge": None}) == {
        "update/kl": 0.5,
        "update/num_steps": 2,
    }
    with pytest.raises(ValueError, match="no metric 'update/wisdom' is listed"):
        metrics("update", {"wisdom": 1.0})
    with pytest.raises(ValueError, match="no metric 'agent/kl' is listed"):
        key_of("agent", "kl")


def test_keys_of_versions_before_have_todays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert current_key("suggestions/num_rules") == "suggestions/num_shown"
    assert current_key("agent/success") == "agent/success"


def test_phases_stand_in_their_order() -> None:
    names = [phase.name for phase in phases()]
    assert names == ["play", "label", "judge", "update", "eval", "coupling", "save"]


def test_a_metric_from_outside_is_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "_listed", dict(catalogue._listed))
    toy = Metric("toy/answer", "answer", "", "What it all means.", chart="Toy")
    register(toy)
    register(toy)
    assert find("toy/answer") == toy
    assert listed()[-1] == toy
    assert metrics("toy", {"answer": 42}) == {"toy/answer": 42}
    assert chart_of(toy) == Chart("Toy", "Other")
    with pytest.raises(ValueError, match="another metric with the key 'toy/answer'"):
        register(Metric("toy/answer", "answer", "", "Something else."))


KEY = re.compile(rf"(?<![\w/.])({'|'.join(SECTIONS)})/[a-z{{$]")


def spelled_keys(path: Path) -> list[str]:
    """Texts of a Python module or a script that look like keys of metrics; docstrings are none."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".js":
        return [line for line in text.splitlines() if KEY.search(line)]
    tree = ast.parse(text)
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    found = []
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in prose and KEY.match(f"{node.value}a"):
            found.append(node.value)
    return found


def test_no_other_module_spells_a_key() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): keys
        for path in [*ROOT.rglob("*.py"), *ROOT.rglob("*.js")]
        if path != ROOT / "runs" / "catalogue.py" and (keys := spelled_keys(path))
    }
    assert found == {}
