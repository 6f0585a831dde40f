"""Evaluations and their file: round trip, damage, what counts as a success."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from evaluations import make_result, play, random_result, render
from hypothesis import given, settings
from hypothesis import strategies as st

from declutch.evaluation.behaviour import ActionCounts
from declutch.evaluation.results import (
    Tally,
    from_json,
    game_result,
    is_finished_positive,
    load_result,
    save_result,
    to_json,
)
from declutch.ground.errors import UserError
from declutch.records import Episode, Outcome, Role, TaskId
from declutch.report.tables import result_sheet

COUNTS = ActionCounts(steps=10, repeated=2, looped=4, repeated_or_looped=5, response_tokens=90)


def test_file_round_trip(tmp_path: Path):
    result = replace(random_result(0), seconds=12.5)
    path = tmp_path / "evals" / "iteration_0010.json"
    save_result(result, path)
    assert load_result(path) == result
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    save_result(replace(result, policy="other"), path)
    assert load_result(path).policy == "other"


def test_temperature_may_be_absent():
    assert math.isnan(from_json(to_json(make_result([], temperature=math.nan))).temperature)


def test_bad_files_are_named(tmp_path: Path):
    path = tmp_path / "x.json"
    text = to_json(random_result(0, num_games=3))
    for content in (text[: len(text) // 2], "[]", "{}", text.replace('"steps"', '"stops"')):
        path.write_text(content)
        with pytest.raises(UserError, match=r"x\.json is not an evaluation"):
            load_result(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        load_result(path)
    with pytest.raises(UserError, match="cannot read"):
        load_result(tmp_path / "absent.json")
    with pytest.raises(UserError, match="cannot write"):
        save_result(random_result(0), path / "inside-a-file.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_field_is_a_value_error_or_harmless(data):
    content = json.loads(to_json(random_result(0, num_games=2)))
    holder = data.draw(st.sampled_from([content, content["games"], content["games"][0]]))
    key = data.draw(st.sampled_from(sorted(holder) if holder is content else range(len(holder))))
    holder[key] = data.draw(json_values)
    try:
        result = from_json(json.dumps(content))
    except ValueError:
        return
    render(result_sheet(result))


def test_game_result_of_an_episode():
    task = TaskId("alfworld", "valid_seen", 3, "pick-3", "pick")
    episode = Episode(task, 0, Role.AGENT, (), Outcome.ENV_ERROR, 0.0, error="lost")
    result = game_result(episode, "L0", 7)
    assert (result.level, result.name, result.kind, result.seed) == ("L0", "pick-3", "pick", 7)
    assert not result.is_won
    assert not result.is_counted


def test_finished_positive_is_neither_success_nor_a_matter_of_score_alone():
    assert is_finished_positive(Outcome.WON, 1.0)
    assert is_finished_positive(Outcome.FAILED, 0.1)
    assert not is_finished_positive(Outcome.FAILED, 0.0)
    assert not is_finished_positive(Outcome.TIMED_OUT, 0.9)
    assert not is_finished_positive(Outcome.ENV_ERROR, 0.9)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("seed", True, "games.3.seed"),
        ("seed", 1.5, "games.3.seed"),
        ("kind", None, "games.3.kind"),
        ("outcome", "lost", "games.3.outcome"),
        ("score", "1", "games.3.score"),
        ("steps", None, "games.3.counts.steps"),
    ],
)
def test_a_value_of_another_type_is_named(column, value, told):
    data = json.loads(to_json(random_result(0, num_games=4)))
    del data["sha256"]
    data["games"][3][data["columns"].index(column)] = value
    with pytest.raises(ValueError, match=told):
        from_json(json.dumps(data))


def test_columns_may_stand_in_any_order_and_scores_be_whole_numbers():
    result = random_result(0, num_games=4)
    data = json.loads(to_json(result))
    del data["sha256"]
    data["columns"].reverse()
    data["games"] = [row[::-1] for row in data["games"]]
    assert from_json(json.dumps(data)) == result
    whole = json.loads(to_json(result))
    del whole["sha256"]
    place = whole["columns"].index("score")
    for row in whole["games"]:
        row[place] = int(row[place])
    assert from_json(json.dumps(whole)) == result
    assert {type(game.score) for game in from_json(json.dumps(whole)).games} == {float}


def test_tallies_count_plays_by_game():
    plays = [
        play("L0", "a", True),
        play("L0", "a", False, seed=3),
        replace(play("L0", "b", False, kind="heat"), outcome=Outcome.ENV_ERROR),
        play("L1", "c", True, kind=""),
    ]
    tallies = make_result(plays).tallies
    assert list(tallies) == [("L0", ""), ("L0", "look"), ("L0", "heat"), ("L1", "")]
    assert tallies["L0", ""] == Tally({"a": 2, "b": 0}, {"a": 1, "b": 0}, {0, 3})
    assert tallies["L0", "heat"] == Tally({"b": 0}, {"b": 0}, {0})
    assert tallies["L1", ""] == Tally({"c": 1}, {"c": 1}, {0})
