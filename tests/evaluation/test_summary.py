"""Evaluations summarised by hand: pooling, pairing, and what must not be mixed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from evaluations import make_result, play, random_result, render, scored

from declutch.evaluation.behaviour import ActionCounts
from declutch.evaluation.intervals import (
    bootstrap_mean,
    mcnemar,
    mean_of_independent,
    unpaired_difference,
    wilson,
)
from declutch.evaluation.results import EvalResult
from declutch.evaluation.summary import paired, summarise
from declutch.ground.errors import UserError
from declutch.records import Outcome
from declutch.report.tables import paired_sheet


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


def test_partial_scores_by_hand():
    row = summarise(make_result(scored()))[0]
    assert row.success.mean == 0.25
    assert row.finished_positive == 0.5
    assert row.score == (1.0 + 0.5 + 0.0 + 0.75) / 4
    nothing = summarise(make_result([replace(scored()[0], outcome=Outcome.ENV_ERROR)]))[0]
    assert math.isnan(nothing.score)
    assert math.isnan(nothing.finished_positive)


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
    assert (alone.over, both.over) == ("games of this run", "runs and games")
    mean = summarise(low, high)[-1]
    assert (mean.level, mean.success.over) == ("mean", "runs and games")
    assert mean.success.high - mean.success.low > 0.8
    assert summarise(low)[-1].success.over == "games of this run"


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


def test_paired_runs_are_told_from_chance_by_runs() -> None:
    """One pair of runs shows a difference over its games; two that disagree show none."""
    low, high = random_result(0, 0.3, 100), random_result(1, 0.6, 100)
    (alone, *_), (both, *_) = paired(low, high), paired([low, low], [high, low])
    assert alone.difference.excludes_zero
    assert alone.difference.over == "games of this run"
    assert not both.difference.excludes_zero
    assert both.difference.over == "runs and games"
    assert [row.kind for row in paired(low, high, by_kind=False)] == [""] * 4


def test_runs_of_other_seeds_are_paired_by_game_only() -> None:
    before = [random_result(seed, 0.3, 60) for seed in (0, 1)]
    after = [random_result(seed, 0.8, 60) for seed in (2, 3, 4)]
    rows = paired(before, after, is_by_seed=False)
    assert rows[-1].level == "mean"
    for row in rows:
        assert row.difference.mean == pytest.approx(row.after - row.before)
        assert row.difference.over == "runs and games"
        assert row.test is None
    strata = [
        [game_matrix(side, level) for level in ("L0", "L1", "L2")] for side in (before, after)
    ]
    assert rows[-1].difference == unpaired_difference(*strata)
    assert rows[0].difference == unpaired_difference(strata[0][:1], strata[1][:1])
    with pytest.raises(UserError, match="at least two of each"):
        paired(before[:1], after, is_by_seed=False)
    other = replace(after[-1], manifests={"L0": "bb22"})
    with pytest.raises(UserError, match="different games"):
        paired(before, [*after[:2], other], is_by_seed=False)


def game_matrix(runs: list[EvalResult], level: str) -> list[list[float]]:
    names = sorted({game.name for run in runs for game in run.games if game.level == level})
    won = [{g.name: float(g.is_won) for g in run.games if g.level == level} for run in runs]
    return [[games[name] for name in names] for games in won]


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
