"""Tables of evaluations on a terminal: their numbers by hand, their headers, their width."""

from __future__ import annotations

from dataclasses import replace

from evaluations import JUDGED, JUDGMENTS, make_result, play, random_result, render, scored

from declutch.evaluation.behaviour import ActionCounts
from declutch.evaluation.exam_results import summarise_judgments
from declutch.evaluation.label_sources import LabelReport, SourceReport
from declutch.evaluation.results import EvalResult, has_partial_scores
from declutch.evaluation.summary import summarise
from declutch.records import Outcome
from declutch.report.sheet import Sheet
from declutch.report.tables import (
    behaviour_sheet,
    gain_sheet,
    judge_sheet,
    label_sheet,
    paired_sheet,
    result_sheet,
)


def behaviour(result: EvalResult) -> Sheet:
    return behaviour_sheet({result.policy: summarise(result)}, "behaviour")


def test_partial_scores_are_shown_where_there_are_any():
    games = [game for level in ("L0", "L1", "L2") for game in scored(level)]
    text = render(result_sheet(make_result(games)))
    assert "positive, %" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("L0 "))
    assert row[:3] == ["L0", "4", "25.0"]
    assert row[-4:] == ["25.0", "56.2", "50.0", "1"]
    for heading in ("positive", "score"):
        assert heading not in render(result_sheet(random_result(0)))
    # An environment error's score is no score.
    broken = replace(play("L0", "z", False), outcome=Outcome.ENV_ERROR, score=0.9)
    assert not has_partial_scores([*random_result(0).games, broken])


def test_tables_name_protocol_temperature_and_n():
    games = [*random_result(0).games, replace(play("L0", "z", False), outcome=Outcome.ENV_ERROR)]
    text = " ".join(render(result_sheet(make_result(games))).split())
    for word in (
        "protocol strict",
        "temperature 0.4",
        "120 plays, n = games",
        "env errors",
        "heat",
        "mean",
    ):
        assert word in text
    assert "env errors" not in render(result_sheet(random_result(0)))
    text = render(paired_sheet(random_result(0, 0.2), random_result(1, 0.9)))
    assert "McNemar" in text
    assert "protocol strict" in text


def test_tables_say_what_intervals_are_over() -> None:
    one, two = random_result(0, 0.2), random_result(1, 0.9)
    over_games, over_runs = (
        "[95% interval over games of this run]",
        "[95% interval over runs and games]",
    )
    assert over_games in result_sheet(one).title
    assert over_runs in result_sheet(one, two).title
    assert over_games in paired_sheet(one, two).title
    assert over_runs in paired_sheet([one, one], [two, two]).title
    (note,) = gain_sheet(one, two, one, "success").notes
    assert "over games of this run" in note
    assert "not how another run, or the method, would come out" in note
    assert "95% intervals over games of this run" in judge_sheet(JUDGED, JUDGMENTS).header


def test_behaviour_table_splits_by_outcome():
    counts = ActionCounts(steps=4, repeated=1, repeated_or_looped=1, invalid=2, response_tokens=20)
    games = [play("L0", "a", True, counts=counts), play("L0", "b", False)]
    lines = [line.split() for line in render(behaviour(make_result(games))).splitlines()]
    assert ["won", "1", "4.0", "25.0", "0.0", "50.0", "0.0", "5.0"] in lines
    assert ["not", "won", "1", "10.0", "20.0", "40.0", "0.0", "0.0", "9.0"] in lines
    assert ["L0", "2", "7.0", "50.0", "21.4", "28.6", "14.3", "0.0", "7.9"] in lines


def test_tables_fit_eighty_columns():
    games = [
        replace(game, kind="pick_clean_then_place_in_recep") for game in random_result(0).games
    ]
    one, two = make_result(games), make_result(games[1:])
    for table in (result_sheet(one), paired_sheet(one, two), behaviour(one)):
        text = render(table, width=80)
        assert "…" not in text
        assert "pick_clean_then_place_in_recep" in text or "not won" in text


def test_long_names_give_way_to_numbers():
    name = "power-component-renewable-vs-nonrenewable-energy"
    games = [replace(game, kind=name) for game in scored()[:-1]]
    text = render(result_sheet(make_result(games)), width=80)
    assert "…" not in text
    assert "nonrenewable-energy" in text
    assert "56.2" in text


def test_table_of_nothing_is_dashes():
    text = render(
        result_sheet(make_result([replace(play("L0", "z", False), outcome=Outcome.ENV_ERROR)]))
    )
    assert "nan" not in text


def test_the_judge_table_has_the_numbers() -> None:
    text = render(judge_sheet(JUDGED, JUDGMENTS), width=100)
    lines = [line.split("  ") for line in text.splitlines()]
    cells = {line[0].strip(): line[-1].strip() for line in lines}
    accuracy = summarise_judgments(JUDGMENTS)[0].accuracy
    interval = f"[{100 * accuracy.low:.1f}, {100 * accuracy.high:.1f}]"
    assert cells["accuracy, %"] == f"41.7 {interval}"
    assert cells["unreadable, %"] == "16.7"
    assert cells['bad steps called "good", %'] == "50.0"
    assert cells["a constant verdict on them, %"] == "75.0"
    other = render(judge_sheet(JUDGED, replace(JUDGMENTS, judge="you")), width=100)
    title = " ".join(other.split())
    assert "you judges the steps of me at temperature 0.4" in title


def test_gains_of_training_and_its_control_by_hand() -> None:
    def won(name: str, marks: str) -> EvalResult:
        games = [play("L0", f"g{n}", mark == "1") for n, mark in enumerate(marks)]
        return make_result(games, policy=name)

    sheet = gain_sheet(won("start", "1000"), won("trained", "1110"), won("more", "1001"), "success")
    assert [column.heading for column in sheet.columns] == [
        *("level", "n", "start, %", "trained, %", "difference, points", "more, %"),
        "difference, points",
    ]
    (row,) = sheet.rows
    texts = [cell.text for cell in row.cells]
    assert texts == ["L0", "4", "25.0", "75.0", "+50.0", "50.0", "+25.0"]
    assert [cell.tone for cell in row.cells[5:]] == ["dim", "dim"]


def test_sources_of_labels_stand_beside_each_other() -> None:
    cells = {"good/good": 1, "good/bad": 0, "bad/good": 1, "bad/bad": 1}
    sources = {
        "oracle": SourceReport(7, 3, 3, {**cells, "good/good": 3, "bad/good": 0, "bad/bad": 3}),
        "rule": SourceReport(7, 1, 2, cells),
    }
    sheet = label_sheet(LabelReport(sources, num_episodes=2, num_steps=7), "L0, seed 0")
    assert sheet.title == "7 steps of 2 episodes, L0, seed 0"
    assert [column.name for column in sheet.columns[1:]] == ["oracle", "rule"]
    found = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in sheet.rows}
    assert found["agree with it, %"] == ["100.0", "66.7"]
    assert found["labelled, %"] == ["85.7", "42.9"]
    assert found['right where it says "bad", %'] == ["100.0", "50.0"]
    assert found["says bad, the oracle good"] == ["0", "1"]
