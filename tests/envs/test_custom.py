"""Environments of one's own: found by name, made into a suite, and refused with what is missing."""

import random

import pytest

from declutch.cold_start.demonstrate import DemonstrationPlan, play_demonstrations
from declutch.config.files import load_config
from declutch.envs.custom import CustomSuite, load_suite
from declutch.envs.protocol import (
    HasExpert,
    Observation,
    Suite,
    held_out_kinds,
    new_expert,
    wording_of,
)
from declutch.envs.wanderer import Wanderer
from declutch.envs.wording import PLAIN, Wording
from declutch.evaluation.players import scripted_player
from declutch.ground.errors import UserError
from declutch.records import TaskId

KINDS = ("coin", "gem")


class Bare:
    """As little as an environment can be."""

    name = "bare"

    def tasks(self, split):
        count = {"train": 3, "L0": 1}.get(split, 0)
        return tuple(TaskId("bare", split, i, f"{split} {i}") for i in range(count))

    def reset(self, task):
        return Observation(task.name, ())

    def step(self, action):
        raise NotImplementedError

    def close(self):
        pass


class WholeSuite:
    name = "whole"

    def tasks(self, split):
        return ()

    def make_env(self):
        return Bare()


class WordedSuite(WholeSuite):
    wording = Wording(scene="You are a whole.")


class NeedsAnArgument(Bare):
    def __init__(self, size):
        pass


class WithoutStep(Bare):
    step = None


class WithoutName(Bare):
    name = None


class NamesOnly(Bare):
    def tasks(self, split):
        return ("a", "b")


NOT_CALLABLE = 3


def test_the_example_is_a_suite_with_an_expert_and_levels():
    suite = load_suite("examples.treasure:Treasure")
    assert isinstance(suite, CustomSuite)
    assert isinstance(suite, HasExpert)
    assert held_out_kinds(suite) == ("crown",)
    assert {task.kind for task in suite.tasks("rl-train")} == set(KINDS)
    assert {task.kind for task in suite.tasks("L2")} == {"crown"}
    assert suite.count_games()["train"] == {"coin": 30, "gem": 30}
    episodes = scripted_player("expert", suite, 12).play(suite.tasks("L2")[:5], 0)
    assert all(episode.is_won for episode in episodes)


def test_levels_without_held_out_kinds_are_the_training_tasks():
    suite = CustomSuite("x:Bare", Bare)
    assert suite.tasks("rl-train") == suite.tasks("L0-train") == suite.tasks("train")
    assert suite.make_env() is not suite.make_env()
    with pytest.raises(UserError, match=r"no task for 'L1'.*eval\.levels"):
        suite.tasks("L1")


def test_a_factory_of_a_whole_suite_is_taken_as_it_is():
    suite: Suite = load_suite(f"{__name__}:WholeSuite")
    assert suite.name == "whole"
    assert not isinstance(suite, CustomSuite)
    # It need not bring words, and may.
    assert wording_of(suite) is PLAIN
    assert wording_of(load_suite(f"{__name__}:WordedSuite")).scene == "You are a whole."


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NeedsAnArgument", "without arguments"),
        ("WithoutStep", r"no method step\(\)"),
        ("WithoutName", "has no name"),
        ("Nobody", "has no 'Nobody'; it has .*Bare"),
        ("NOT_CALLABLE", "is a int, no class or function"),
    ],
)
def test_what_is_missing_is_named(name, words):
    with pytest.raises(UserError, match=words):
        load_suite(f"{__name__}:{name}")


def test_a_module_that_is_not_there_says_where_to_run():
    with pytest.raises(UserError, match="run from the folder that holds 'nowhere'"):
        load_suite("nowhere.at_all:Env")


def test_a_task_must_be_a_task_id():
    with pytest.raises(UserError, match="'a', not a declutch"):
        CustomSuite("x:NamesOnly", NamesOnly).tasks("train")


def test_without_an_expert_demonstrations_are_one_clear_error(tmp_path):
    suite = CustomSuite("x:Bare", Bare)
    assert not isinstance(suite, HasExpert)
    with pytest.raises(UserError, match=r"suite bare has no expert.*make_expert"):
        new_expert(suite, 0)
    with pytest.raises(UserError, match="bare has no expert"):
        play_demonstrations(suite, DemonstrationPlan(2, "strict", ()))
    with pytest.raises(UserError, match="bare has no expert"):
        scripted_player("expert", suite, 3).play(suite.tasks("train"), 0)
    with pytest.raises(UserError, match="answers are free"):
        scripted_player("random", suite, 3).play(suite.tasks("train"), 0)


def test_chance_draws_as_its_seed_says():
    commands = tuple("abcdef")
    wanderer, draw = Wanderer("1/2"), random.Random("1/2")
    wanderer.reset(TaskId("x", "train", 0, "y"), Observation("", commands))
    assert [wanderer.act().action for _ in range(9)] == [draw.choice(commands) for _ in range(9)]


@pytest.mark.parametrize("spec", ["a:B", "pkg.mod:Make_it"])
def test_a_name_of_ones_own_is_a_setting_with_levels_of_its_own(spec):
    config = load_config(None, [f"env.suite={spec}", "eval.levels=[dungeon]"])
    assert config.env.suite == spec


@pytest.mark.parametrize("spec", ["a:1", ":B", "a/b.py:C", "a b:C", "household"])
def test_other_names_are_refused_and_keep_their_case(spec):
    with pytest.raises(UserError) as error:
        load_config(None, [f"env.suite={spec}"])
    assert "package.module:Name" in str(error.value)
