"""Evaluations: file round trip, tables by hand, pooling and pairing rules."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from declutch.errors import UserError
from declutch.evaluation.behaviour import ActionCounts
from declutch.evaluation.expert import ExpertRow
from declutch.evaluation.intervals import bootstrap_mean, mcnemar, mean_of_independent, wilson
from declutch.evaluation.results import (
    EvalResult,
    GameResult,
    from_json,
    game_result,
    has_partial_scores,
    is_finished_positive,
    load_result,
    save_result,
    to_json,
)
from declutch.evaluation.summary import paired, summarise
from declutch.records import Episode, Outcome, Role, TaskId
from declutch.report.drawers.terminal import draw_terminal
from declutch.report.games import expert_sheet
from declutch.report.sheet import Sheet
from declutch.report.tables import behaviour_sheet, paired_sheet, result_sheet

COUNTS = ActionCounts(steps=10, repeated=2, looped=4, repeated_or_looped=5, response_tokens=90)


def play(level: str, name: str, won: bool, *, seed: int = 0, kind: str = "look", counts=COUNTS):
    outcome = Outcome.WON if won else Outcome.TIMED_OUT
    return GameResult(level, name, kind, seed, outcome, float(won), counts)


def make_result(games, **changes) -> EvalResult:
    plain = EvalResult("run/10", 0.4, "strict", {"L0": "aa11"}, tuple(games), "households", 30)
    return replace(plain, **changes)


def random_result(seed: int, share: float = 0.6, num_games: int = 40, seeds=(0,)) -> EvalResult:
    rng = np.random.default_rng(seed)
    return make_result(
        play(
            level,
            f"game-{index}",
            bool(rng.random() < share),
            seed=s,
            kind=("look", "heat")[index % 2],
        )
        for level in ("L0", "L1", "L2")
        for index in range(num_games)
        for s in seeds
    )


def render(sheet: Sheet, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(draw_terminal(sheet))
    return console.file.getvalue()


def behaviour(result: EvalResult) -> Sheet:
    return behaviour_sheet({result.policy: summarise(result)}, "behaviour")


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


def test_summary_by_hand():
    games = [play("L0", f"g{i}", i < 3, kind="look") for i in range(4)]
    games += [
        play("L0", f"h{i}", False, kind="heat", counts=ActionCounts(steps=30)) for i in range(2)
    ]
    games += [replace(play("L0", "broken", False), outcome=Outcome.ENV_ERROR)]
    rows = {(row.level, row.kind): row for row in summarise(make_result(games))}
    assert list(rows) == [("L0", ""), ("L0", "heat"), ("L0", "look")]
    whole = rows["L0", ""]
    assert whole.success == wilson(3, 6)
    assert (whole.num_plays, whole.num_env_errors) == (6, 1)
    assert whole.timed_out == 0.5
    assert whole.shares.num_steps == pytest.approx(100 / 6)
    assert whole.shares.repeated == pytest.approx(8 / 100)
    assert whole.shares_won.num_episodes == 3
    assert whole.shares_failed.num_steps == pytest.approx(70 / 3)
    assert rows["L0", "look"].success == wilson(3, 4)


def test_finished_positive_is_neither_success_nor_a_matter_of_score_alone():
    assert is_finished_positive(Outcome.WON, 1.0)
    assert is_finished_positive(Outcome.FAILED, 0.1)
    assert not is_finished_positive(Outcome.FAILED, 0.0)
    assert not is_finished_positive(Outcome.TIMED_OUT, 0.9)
    assert not is_finished_positive(Outcome.ENV_ERROR, 0.9)


def scored(level: str = "L0") -> list[GameResult]:
    """Five plays of different ends; 1 of the 4 that count is won, 2 are finished positive."""
    ends = {
        "won": (Outcome.WON, 1.0),
        "finished": (Outcome.FAILED, 0.5),
        "mistaken": (Outcome.FAILED, 0.0),
        "too slow": (Outcome.TIMED_OUT, 0.75),
        "broken": (Outcome.ENV_ERROR, 0.9),
    }
    return [
        replace(play(level, name, False), outcome=outcome, score=score)
        for name, (outcome, score) in ends.items()
    ]


def test_partial_scores_by_hand():
    row = summarise(make_result(scored()))[0]
    assert row.success.mean == 0.25
    assert row.finished_positive == 0.5
    assert row.score == (1.0 + 0.5 + 0.0 + 0.75) / 4
    nothing = summarise(make_result([replace(scored()[0], outcome=Outcome.ENV_ERROR)]))[0]
    assert math.isnan(nothing.score)
    assert math.isnan(nothing.finished_positive)


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


def test_mean_over_levels_is_unweighted():
    games = [play("L0", f"g{i}", True) for i in range(8)]
    games += [play("L1", f"g{i}", i < 1) for i in range(2)]
    games += [play("L2", f"g{i}", False) for i in range(4)]
    games += [play("L2-seen", "g0", True)]
    rows = summarise(make_result(games))
    assert rows[-1].level == "mean"
    assert rows[-1].success == mean_of_independent([wilson(8, 8), wilson(1, 2), wilson(0, 4)])
    assert rows[-1].success.mean == 0.5
    assert rows[-1].num_plays == 14
    assert "mean" not in {row.level for row in summarise(make_result(games[:10]))}


def test_several_seeds_are_averaged_per_game():
    games = [play("L0", f"g{i}", i + seed > 5, seed=seed) for i in range(10) for seed in (0, 1, 2)]
    row = summarise(make_result(games))[0]
    means = [sum(i + seed > 5 for seed in (0, 1, 2)) / 3 for i in sorted(range(10), key=str)]
    assert row.success == bootstrap_mean(means)
    assert (row.success.n, row.num_plays) == (10, 30)


def test_pooling_refuses_what_must_not_be_mixed():
    one = random_result(0)
    for changes, word in (
        ({"protocol": "declared-share"}, "protocols"),
        ({"temperature": 1.0}, "temperatures"),
        ({"manifests": {"L0": "bb22"}}, "different games"),
    ):
        with pytest.raises(UserError, match=word):
            summarise(one, replace(random_result(1), **changes))
    with pytest.raises(UserError, match="no evaluation"):
        summarise()


def test_training_runs_widen_the_interval():
    low, high = random_result(0, 0.2, 150), random_result(1, 0.9, 150)
    alone, both = summarise(low)[0].success, summarise(low, high)[0].success
    assert both.mean == pytest.approx((low_mean(low) + low_mean(high)) / 2)
    assert both.high - both.low > 2 * (alone.high - alone.low)
    assert summarise(low, high)[-1].level == "mean"


def low_mean(result: EvalResult) -> float:
    games = [game for game in result.games if game.level == "L0"]
    return sum(game.is_won for game in games) / len(games)


def test_paired_by_hand():
    before = make_result([play("L0", f"g{i}", i < 4) for i in range(10)])
    after = make_result([play("L0", f"g{i}", i != 0 and i < 9) for i in range(11)])
    row = paired(before, after)[0]
    assert (row.before, row.after) == (0.4, 0.8)
    assert row.difference.mean == pytest.approx(0.4)
    assert row.difference.n == 10
    assert row.test == mcnemar([i < 4 for i in range(10)], [i != 0 and i < 9 for i in range(10)])


def test_paired_drops_broken_plays_from_both_sides():
    before = make_result([play("L0", f"g{i}", True) for i in range(3)])
    broken = replace(play("L0", "g2", False), outcome=Outcome.ENV_ERROR)
    row = paired(before, make_result([play("L0", "g0", True), play("L0", "g1", False), broken]))[0]
    assert row.difference.n == 2
    assert (row.before, row.after) == (1.0, 0.5)


def test_paired_mean_and_seeds():
    before, after = random_result(0, 0.3, seeds=(0, 1)), random_result(1, 0.8, seeds=(0, 1))
    rows = paired(before, after)
    mean = rows[-1]
    assert mean.level == "mean"
    assert mean.difference.mean == pytest.approx(mean.after - mean.before)
    assert mean.difference.excludes_zero
    assert all(row.test is None for row in rows)
    assert paired([before, before], [after, after])[0].difference.n == 40


def test_paired_refuses_other_games():
    before = random_result(0)
    with pytest.raises(UserError, match="different games"):
        paired(before, replace(before, manifests={"L0": "bb22"}))
    with pytest.raises(UserError, match="share no evaluated level"):
        paired(before, make_result([play("L9", "g0", True)]))
    with pytest.raises(UserError, match="cannot pair 2 runs with 1"):
        paired([before, before], [before])


def test_paired_with_no_common_game_shows_nothing():
    one, two = make_result([play("L0", "a", True)]), make_result([play("L0", "b", True)])
    row = paired(one, two)[0]
    assert row.difference.n == 0
    assert math.isnan(row.before)
    assert "nan" not in render(paired_sheet(one, two))


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


def test_expert_table():
    rows = [ExpertRow("heat", 8, 6, 8, 9.5, 7.0), ExpertRow("all", 8, 6, 8, 9.5, math.nan)]
    lines = [line.split() for line in render(expert_sheet("train", rows)).splitlines()]
    assert ["heat", "8", "75.0", "100.0", "9.5", "7.0"] in lines
    assert ["all", "8", "75.0", "100.0", "9.5", "–"] in lines


def test_table_of_nothing_is_dashes():
    text = render(
        result_sheet(make_result([replace(play("L0", "z", False), outcome=Outcome.ENV_ERROR)]))
    )
    assert "nan" not in text
