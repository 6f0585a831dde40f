"""One line a suite, and everything else is asked of the suite."""

import pytest

from declutch.config.env import SUITES as NAMES
from declutch.config.env import EnvConfig
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.protocol import check_levels
from declutch.envs.registry import SUITES, find_spec, find_wording, level_meaning, make_suite
from declutch.envs.splits import USUAL_LEVELS
from declutch.ground.errors import UserError


def test_the_settings_know_the_suites_of_the_registry():
    assert sorted(SUITES) == sorted(NAMES)


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_brings_words_levels_and_checks(name: str):
    spec = SUITES[name]
    assert spec.wording is not None
    assert find_wording(EnvConfig(suite=name)) is spec.wording
    assert set(USUAL_LEVELS) <= set(spec.levels)
    assert find_spec(EnvConfig(suite=name)) is spec


def test_what_a_level_holds_is_said_by_its_own_suite_alone():
    assert level_meaning("households", "L1") == "unseen rooms, trained task types"
    assert level_meaning("scienceworld", "L1") == "test variations of trained tasks"
    # Problems of mathematics, and an environment of one's own, have no rooms.
    assert level_meaning("math", "L1") == "test problems, trained subjects"
    assert level_meaning("treasure", "L1") == level_meaning("households", "attic") == ""


def test_levels_are_looked_at_before_anything_takes_time(tmp_path):
    suite = AlfworldSuite(tmp_path)
    with pytest.raises(UserError, match=r"alfworld has no split or level 'L9'.*L0, L1, L2"):
        check_levels(suite, ("L9",))
    treasure = make_suite(EnvConfig(suite="examples.treasure:Treasure"))
    check_levels(treasure, ("L0", "L1", "L2"))
    with pytest.raises(UserError, match="no task for 'attic'"):
        check_levels(treasure, ("L0", "attic"))
