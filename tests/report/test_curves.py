"""The report's charts are those of the catalogue, with a line for each key that a run has."""

from declutch.report.curves import charts_of
from declutch.runs.catalogue import CHARTS, listed

ROWS = [
    {"iteration": 1, "agent/success": 0.5, "agent/success/cook": 0.5, "update/grad_norm": 2.0},
    {"iteration": 2, "agent/success": 0.75, "agent/success/clean": 0.5, "time/play": 3.0},
    {"iteration": 3, "judge/accuracy": None, "update/grad_norm_agent": 1.0, "time/eval": 6.0},
]


def by_title(rows: list[dict]) -> dict[str, dict]:
    return {chart["title"]: chart for chart in charts_of(rows)}


def test_only_charts_with_something_to_show_are_there_and_in_order() -> None:
    titles = list(by_title(ROWS))
    assert titles == [
        "Evaluation by level",
        "Training success",
        "Training success by task type",
        "Judge accuracy",
        "Gradient norm",
        "Seconds per iteration",
    ]
    assert list(by_title([])) == ["Evaluation by level"]


def test_every_metric_with_a_chart_gets_its_line() -> None:
    keys = [metric.key for metric in listed() if not metric.is_family]
    drawn = by_title([dict.fromkeys(["iteration", *keys], 1.0)])
    lines = [line["key"] for chart in drawn.values() for line in chart["lines"]]
    families = {metric.chart for metric in listed() if metric.is_family}
    assert set(drawn) >= {chart.title for chart in CHARTS} - families
    assert set(lines) == {m.key for m in listed() if m.chart and not m.is_family}


def test_lines_have_names_and_colours() -> None:
    charts = by_title(ROWS)
    kinds = charts["Training success by task type"]
    assert [(line["name"], line["color"]) for line in kinds["lines"]] == [
        ("cook", "c1"),
        ("clean", "c2"),
    ]
    norms = charts["Gradient norm"]
    assert [line["name"] for line in norms["lines"]] == ["together", "agent"]
    assert norms["is_log"]
    assert not norms["is_share"]
    assert (kinds["low"], kinds["high"], kinds["is_share"]) == (0, 1, True)


def test_what_the_catalogue_does_not_know_has_a_chart_of_its_own() -> None:
    charts = charts_of([{"iteration": 1, "mine/depth": 2.0}])
    assert (charts[-1]["title"], charts[-1]["group"]) == ("mine/depth", "Other")
    assert charts[-1]["lines"] == [{"name": "mine/depth", "key": "mine/depth", "color": "c1"}]
