"""The table of the expert's own success: every game is played once."""

import pytest

from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.households.generate import HouseholdCounts, ensure_households
from declutch.evaluation.expert import measure_expert


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> AlfworldSuite:
    counts = HouseholdCounts(train=36, valid_seen=12, valid_unseen=6)
    folder = ensure_households(tmp_path_factory.mktemp("games"), 2, counts)
    return AlfworldSuite(folder, "households")


def test_expert_table_counts_every_game_once(suite: AlfworldSuite) -> None:
    *rows, total = measure_expert(suite, "valid_seen")
    assert [row.num_games for row in rows] == [2] * 6
    assert (total.kind, total.num_games) == ("all", 12)
    assert total.num_won_30 == sum(row.num_won_30 for row in rows)
    assert 11 <= total.num_won_30 <= total.num_won_50 <= 12
    assert 3 <= total.median_walkthrough <= total.median_steps <= 12
    (short,) = {row.num_won_50 for row in measure_expert(suite, "valid_seen", max_steps=2)}
    assert short == 0
