"""Levels hold the task types they are said to hold, and a manifest's hash pins them."""

import hashlib

import pytest

from declutch.envs.alfworld.levels import KINDS, LEVELS
from declutch.envs.splits import (
    find_level,
    manifest_hash,
    select_tasks,
)
from declutch.ground.errors import UserError
from declutch.records import TaskId

TASKS = tuple(
    TaskId("alfworld", "valid_unseen", number, f"{kind}-Mug/trial_{number}", kind)
    for number, kind in enumerate(KINDS)
)


def kinds_of(level):
    return [task.kind for task in select_tasks(TASKS, LEVELS[level])]


def test_trained_and_held_out_types():
    trained = ["pick_and_place_simple", "look_at_obj_in_light"]
    trained += ["pick_clean_then_place_in_recep", "pick_heat_then_place_in_recep"]
    held_out = ["pick_cool_then_place_in_recep", "pick_two_obj_and_place"]
    for level in ("L0", "L1", "L0-train", "rl-train"):
        assert kinds_of(level) == trained
    for level in ("L2", "L2-seen"):
        assert kinds_of(level) == held_out
    for level in ("train", "valid_seen", "valid_unseen"):
        assert kinds_of(level) == trained + held_out


def test_raw_splits_of_the_levels():
    assert {name: level.split for name, level in LEVELS.items()} == {
        "train": "train",
        "valid_seen": "valid_seen",
        "valid_unseen": "valid_unseen",
        "rl-train": "train",
        "L0": "valid_seen",
        "L1": "valid_unseen",
        "L2": "valid_unseen",
        "L0-train": "train",
        "L2-seen": "valid_seen",
    }


@pytest.mark.parametrize("name", ["L3", "l0", "", "valid_train", "test"])
def test_other_names_are_refused_with_the_choices(name):
    with pytest.raises(UserError, match=rf"alfworld .*'{name}'.*train, valid_seen, .*L2-seen"):
        find_level(LEVELS, name, "alfworld")


def test_manifest_hash_is_sha256_over_the_names_in_order():
    line = "alfworld\tvalid_unseen\tpick_and_place_simple-Mug/trial_0\n"
    assert manifest_hash(TASKS[:1]) == hashlib.sha256(line.encode()).hexdigest()
    assert manifest_hash(TASKS) != manifest_hash(TASKS[::-1])
    assert manifest_hash(TASKS) != manifest_hash(TASKS[1:])
    assert manifest_hash(TASKS) == manifest_hash(list(TASKS))
