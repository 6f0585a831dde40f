"""Dynamic sampling: what is replaced, what is trained on, what success is measured on."""

from dataclasses import replace

import pytest
from builders import make_episode

from declutch.config.run import Config, TrainConfig
from declutch.records import Outcome, TaskId
from declutch.rollout import groups
from declutch.rollout.groups import broken_games, informative_groups, play_groups

SIZE = 2


class FakeSuite:
    def __init__(self, num_tasks):
        self._tasks = tuple(TaskId("test", "train", i, f"game {i}") for i in range(num_tasks))

    def tasks(self, split):
        return self._tasks


@pytest.fixture
def calls(monkeypatch):
    """What is played, call by call; a game teaches something if its number is in `teaching`."""
    played, teaching = [], set()

    def fake(tasks, first_group, **rest):
        played.append([task.index for task in tasks])
        found = []
        for group, task in enumerate(tasks, start=first_group):
            second = 0.0 if task.index in teaching else 1.0
            for reward in (1.0, second):
                found.append(replace(make_episode(group, [reward]), task=task))
        return found

    monkeypatch.setattr(groups, "_play", fake)
    return played, teaching


def config(dynamic, refills=3, count=3):
    return Config(
        train=TrainConfig(
            dynamic_sampling=dynamic,
            max_refills=refills,
            tasks_per_iteration=count,
            group_size=SIZE,
        )
    )


def test_groups_of_equal_returns_teach_nothing():
    episodes = [
        make_episode(0, [0.0, 1.0]),
        make_episode(0, [1.0]),
        make_episode(1, [0.0]),
        make_episode(1, [1.0]),
        make_episode(2, [1.0]),
    ]
    assert [e.group for e in informative_groups(episodes)] == [1, 1]


def test_an_environment_error_has_no_return():
    broken = make_episode(0, [], Outcome.ENV_ERROR, steps=[])
    assert informative_groups([broken, make_episode(0, [1.0])]) == []
    both = [broken, make_episode(0, [1.0]), make_episode(0, [0.0])]
    assert informative_groups(both) == both


def test_without_it_everything_is_kept(calls):
    played, _ = calls
    result = play_groups(config(dynamic=False), FakeSuite(10), None, 0)
    assert len(played) == 1
    assert result.first == result.episodes
    assert (result.num_replaced, result.num_refilled) == (None, 0)


def test_dull_groups_are_replaced_by_new_tasks(calls):
    played, teaching = calls
    suite = FakeSuite(10)
    play_groups(config(dynamic=True), suite, None, 0)
    teaching.update(range(10))
    teaching.difference_update(played[0][:2])
    played.clear()
    result = play_groups(config(dynamic=True), suite, None, 0)
    assert [len(tasks) for tasks in played] == [3, 2]
    assert not set(played[0]) & set(played[1])
    assert sorted({e.group for e in result.episodes}) == [2, 3, 4]
    assert {e.group for e in result.first} == {0, 1, 2}
    assert (result.num_replaced, result.num_refilled) == (2, 2)


def test_it_gives_up_after_some_refills_and_keeps_what_there_was(calls):
    played, _ = calls
    result = play_groups(config(dynamic=True, refills=2), FakeSuite(20), None, 0)
    assert [len(tasks) for tasks in played] == [3, 3, 3]
    assert len({index for tasks in played for index in tasks}) == 9
    assert result.episodes == result.first
    assert (result.num_replaced, result.num_refilled) == (3, 6)


def test_where_all_drawn_games_broke_what_was_played_in_their_place_is_kept(calls, monkeypatch):
    play_well = groups._play

    def break_first(tasks, first_group, **rest):
        found = play_well(tasks, first_group, **rest)
        if first_group:
            return found
        return [replace(each, outcome=Outcome.ENV_ERROR, steps=(), error="gone") for each in found]

    monkeypatch.setattr(groups, "_play", break_first)
    result = play_groups(config(dynamic=True, refills=1), FakeSuite(20), None, 0)
    assert len(result.refills) == 3 * SIZE
    assert result.episodes == result.refills
    assert broken_games(result.first) == [f"gone (task {e.task.name!r})" for e in result.first]


def test_it_ends_when_all_tasks_were_played(calls):
    played, _ = calls
    play_groups(config(dynamic=True, refills=9), FakeSuite(5), None, 0)
    assert [len(tasks) for tasks in played] == [3, 2]


def test_every_iteration_has_an_order_of_its_own(calls):
    played, _ = calls
    suite = FakeSuite(50)
    for iteration in (0, 1, 0):
        play_groups(config(dynamic=True, refills=1), suite, None, iteration)
    assert played[1] == played[5]
    assert played[1] != played[3]
