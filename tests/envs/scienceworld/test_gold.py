"""Gold paths said in valid actions, and kept on disk."""

import dataclasses

import pytest
from tiny_world import GOLD, SHORT, TASK, TinyWorld

from declutch.envs.scienceworld.gold import GoldCache, GoldPath, search_gold, wins
from declutch.ground.errors import UserError
from declutch.records import TaskId

PATH = GoldPath(SHORT, 6, 100)


@pytest.fixture
def world():
    return TinyWorld(None)


@pytest.mark.parametrize(
    ("hot_after", "actions"),
    [
        (0, SHORT),
        # The look and three actions come before it: just in time.
        (5, SHORT),
        (6, ("go to kitchen", "take pot", "go to hall", "go to attic", "heat")),
        (7, ("wait1", "go to kitchen", "take pot", "go to hall", "go to attic", "heat")),
    ],
)
def test_the_shortest_that_is_not_too_early(world, hot_after, actions):
    world.hot_after = hot_after - 1
    assert search_gold(world, TASK) == GoldPath(actions, len(GOLD), 100)


def test_a_path_that_fails_says_how(world):
    world.gold = GOLD[:-1]
    assert search_gold(world, TASK) == GoldPath((), 5, 0, "ends with score 0")
    world.gold = ("eat",)
    assert search_gold(world, TASK) == GoldPath((), 1, -100, "ends with score -100")
    world.gold, world.choices = GOLD, lambda: ()
    gold = search_gold(world, TASK)
    assert gold == GoldPath((), 6, 100, "not in valid actions")
    assert not gold.is_solved


def test_a_plan_has_to_be_understood(world):
    assert wins(world, TASK, (), SHORT)
    assert wins(world, TASK, SHORT[:2], SHORT[2:])
    assert not wins(world, TASK, ("eat",), SHORT)
    assert not wins(world, TASK, (), SHORT[:-1])
    step = world.step
    world.step = lambda action: dataclasses.replace(step(action), text="No known action matches")
    assert not wins(world, TASK, (), SHORT)


def test_paths_are_kept_by_task(tmp_path):
    pytest.importorskip("scienceworld")
    cache, other = GoldCache(tmp_path), dataclasses.replace(TASK, name="boil/4")
    assert cache.read(TASK) is None
    cache.write(TASK, PATH)
    failed = GoldPath((), 3, 12, "ends with score 12")
    cache.write(other, failed)
    again = GoldCache(tmp_path)
    assert again.read(TASK) == PATH
    assert again.read(other) == failed
    assert again.read(TaskId("scienceworld", "train", 0, "melt/3", "melt")) is None
    assert GoldCache(None).read(TASK) is None
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"] * 2


@pytest.mark.parametrize("text", ["", "[]", '{"actions": []}', '{"nonsense": 1, "actions": []}'])
def test_a_damaged_file_is_no_path(tmp_path, text):
    pytest.importorskip("scienceworld")
    cache = GoldCache(tmp_path)
    cache.write(TASK, PATH)
    (file,) = tmp_path.rglob("*.json")
    file.write_text(text)
    assert cache.read(TASK) is None


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    pytest.importorskip("scienceworld")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"gold paths.*env\.cache_dir"):
        GoldCache(tmp_path / "file").write(TASK, PATH)
