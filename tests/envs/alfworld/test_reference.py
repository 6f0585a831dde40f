"""The official engine behind our protocol."""

import sys

import pytest

from declutch.envs.alfworld.env import AlfworldEnv
from declutch.envs.alfworld.reference import ReferenceEnv
from declutch.envs.protocol import TextEnv
from declutch.ground.errors import UserError
from declutch.records import TaskId

TASK = TaskId("alfworld", "train", 0, "kitchen/trial", "pick_and_place_simple")


def test_a_missing_engine_is_one_clear_error(monkeypatch):
    for module in ("textworld", "textworld.gym"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"pip install .*alfworld==0\.4\.2 'textworld"):
        ReferenceEnv(lambda task: None)


@pytest.mark.textworld
def test_the_official_engine_plays_the_kitchen_as_ours_does(write_kitchen, kitchen, capfd):
    pytest.importorskip("textworld", reason="needs the extra textworld")
    reference, ours = ReferenceEnv(lambda task: write_kitchen()), AlfworldEnv(lambda task: kitchen)
    assert isinstance(reference, TextEnv)
    assert reference.reset(TASK) == ours.reset(TASK)
    for action in (
        *("help", "look", "inventory", "dance", "  go to countertop 1 ", "look"),
        *("take box 1 from countertop 1", "examine box 1", "open fridge 1"),
        *("move box 1 to countertop 1", "take mug 1 from stoveburner 1", "inventory"),
        *("move mug 1 to countertop 1", "take knife 1 from countertop 1"),
        *("slice apple 2 with knife 1", "move knife 1 to stoveburner 1", "look"),
        *("use desklamp 1", "use desklamp 1", "take apple 2 from countertop 1"),
        *("go to sinkbasin 1", "clean apple 2 with sinkbasin 1", "examine apple 2"),
        *("go to microwave 1", "heat apple 2 with microwave 1", "examine apple 2"),
        *("go to fridge 1", "cool apple 2 with fridge 1", "examine apple 2", "open fridge 1"),
        *("close fridge 1", "go to cabinet 2", "examine cabinet 1", "open cabinet 1"),
        "move apple 2 to cabinet 1",
    ):
        theirs, mine = reference.step(action), ours.step(action)
        assert theirs == mine, action
    assert theirs.is_won
    after = reference.step("look")
    assert (after.observation, after.is_done) == (theirs.observation, True)
    assert reference.reset(TASK) == ours.reset(TASK)
    reference.close()
    assert capfd.readouterr().out == ""


@pytest.mark.textworld
def test_the_reference_says_what_is_missing(tmp_path):
    pytest.importorskip("textworld", reason="needs the extra textworld")
    reference = ReferenceEnv(lambda task: tmp_path / "nowhere")
    with pytest.raises(RuntimeError, match="reset"):
        reference.step("look")
    with pytest.raises(UserError, match="nowhere"):
        reference.reset(TASK)
