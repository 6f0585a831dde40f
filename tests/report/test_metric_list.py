"""The reference page of metrics names every metric, what it means, and where it is shown."""

from declutch.report.metric_list import metrics_page, section_sheet
from declutch.runs.catalogue import METRICS, SECTIONS


def test_every_metric_is_on_the_page_once() -> None:
    rows = [row for section in SECTIONS for row in section_sheet(section).rows]
    assert [row.cells[0].text for row in rows] == [metric.key for metric in METRICS]
    page = metrics_page().replace("\\", "")
    for metric in METRICS:
        assert page.count(f"\n| {metric.key} |") == 1, metric.key
        assert metric.meaning.split(",")[0].split("(")[0] in page


def test_a_row_says_where_a_metric_is_shown_and_what_it_was_called() -> None:
    by_key = {row.cells[0].text: row for row in section_sheet("agent").rows}
    assert by_key["agent/success"].cells[-1].text == (
        "live view, line: success, report: Training success"
    )
    by_key = {row.cells[0].text: row for row in section_sheet("suggestions").rows}
    assert "suggestions/num_rules" in by_key["suggestions/num_shown"].cells[3].text
