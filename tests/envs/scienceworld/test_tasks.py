"""Which variations a level holds: METHOD section 5 and the package's own ranges."""

import pytest

from declutch.envs.scienceworld.tasks import (
    HELD_OUT_KINDS,
    KINDS,
    NEITHER_KINDS,
    NUM_VARIATIONS,
    list_split,
    make_levels,
    split_variations,
    trained_kinds,
    variation_of,
)
from declutch.envs.splits import manifest_hash, select_tasks

LEVELS = ("rl-train", "L0", "L1", "L2")


def tasks_of(level, held_out="by_name"):
    found = make_levels(held_out)[level]
    return select_tasks(list_split("scienceworld", found.split), found)


def test_thirty_tasks_of_which_ten_are_held_out_and_nineteen_trained():
    assert len(KINDS) == 30
    assert sum(NUM_VARIATIONS.values()) == 7207
    for held_out in ("by_name", "by_task_id"):
        parts = (trained_kinds(held_out), HELD_OUT_KINDS[held_out], NEITHER_KINDS)
        assert [len(part) for part in parts] == [19, 10, 1]
        assert sorted(sum(parts, ())) == sorted(KINDS)


def test_the_manifests_differ_in_two_topics():
    by_name, by_id = (set(HELD_OUT_KINDS[each]) for each in ("by_name", "by_task_id"))
    assert by_name - by_id == {"find-plant", "grow-plant"}
    assert by_id - by_name == {"find-animal", "grow-fruit"}


def test_where_none_is_held_out_all_thirty_are_trained_on():
    assert trained_kinds("none") == KINDS
    for level in ("rl-train", "L0", "L1"):
        assert {task.kind for task in tasks_of(level, "none")} == set(KINDS)
    assert tasks_of("L2", "none") == ()


def test_chosen_tasks_restrict_every_level_to_its_own_among_them():
    kinds = ("boil", "find-plant", "use-thermometer")
    levels = make_levels("by_name", kinds)
    found = {
        name: {task.kind for task in select_tasks(list_split("s", level.split), level)}
        for name, level in levels.items()
    }
    assert found["train"] == found["dev"] == found["test"] == set(kinds)
    assert found["rl-train"] == found["L0"] == found["L1"] == found["L0-train"] == {"boil"}
    assert found["L2"] == found["L2-seen"] == {"find-plant"}


@pytest.mark.parametrize(
    ("count", "train", "dev", "test"),
    [
        # Quarters of 1, 2 and 7; what exceeds five quarters is in no range, as in the package.
        (5, [0, 1], [2], [3, 4]),
        (7, [0, 1], [2], [3, 4]),
        (10, [0, 1, 2, 3], [4, 5], [6, 7, 8, 9]),
        (30, list(range(14)), list(range(14, 21)), list(range(21, 30))),
    ],
)
def test_ranges_worked_out_by_hand(count, train, dev, test):
    ranges = split_variations(count)
    assert [list(ranges[name]) for name in ("train", "dev", "test")] == [train, dev, test]


def test_too_few_variations_are_refused():
    with pytest.raises(ValueError, match="4 variations"):
        split_variations(4)


@pytest.mark.parametrize("held_out", ["by_name", "by_task_id"])
def test_no_variation_is_in_two_levels(held_out):
    names = [task.name for level in LEVELS for task in tasks_of(level, held_out)]
    assert len(names) == len(set(names))


def test_sizes_and_manifests_of_the_levels():
    sizes = {level: len(tasks_of(level)) for level in LEVELS}
    assert sizes == {"rl-train": 2242, "L0": 1121, "L1": 1135, "L2": 549}
    # A manifest that changes makes results incomparable: it must not change by accident.
    assert {level: manifest_hash(tasks_of(level))[:12] for level in LEVELS} == {
        "rl-train": "8d86a24118e1",
        "L0": "0d5e22d5c096",
        "L1": "56719d385775",
        "L2": "e2e3953e73da",
    }


def test_tasks_are_named_by_kind_and_variation():
    task = tasks_of("L1")[3]
    assert (task.suite, task.split, task.name, task.kind) == (
        "scienceworld",
        "test",
        "boil/24",
        "boil",
    )
    assert variation_of(task) == 24
    assert list_split("scienceworld", "test")[task.index] == task


@pytest.mark.java
def test_ranges_are_the_packages(simulator):
    assert {kind: simulator.variations(kind) for kind in KINDS} == NUM_VARIATIONS
    for kind in ("boil", "identify-life-stages-1", "power-component"):
        simulator.load(kind, 0)
        expected = split_variations(NUM_VARIATIONS[kind]).values()
        assert simulator.ranges() == tuple(tuple(each) for each in expected)
