"""Planning by replay: on a small world worked out by hand, and on the real simulator."""

import pytest

from declutch.envs.scienceworld import expert as expert_module
from declutch.envs.scienceworld.expert import GoldExpert, GoldPath, Planner
from declutch.envs.scienceworld.simulator import Launch, Reply, SimulatorError
from declutch.records import TaskId

TASK = TaskId("scienceworld", "train", 0, "boil/3", "boil")
GOLD = ("go kitchen", "take pot", "go stove", "heat")


class TinyWorld:
    """Hall, kitchen and stove: take the pot in the kitchen and heat it at the stove; no eating."""

    gold = GOLD

    def __init__(self, launch):
        self.is_alive = True

    def load(self, task, variation, with_gold=False):
        assert (task, variation) == ("boil", 3)
        self.place, self.has_pot, self.score, self.done = "hall", False, 0, False

    def gold_path(self):
        if self.gold == ("fail",):
            raise SimulatorError("no path")
        return self.gold

    def step(self, action):
        assert not self.done
        if action.startswith("go "):
            self.place = action.removeprefix("go ")
        elif action == "take pot":
            self.has_pot |= self.place == "kitchen"
        elif action == "heat" and self.has_pot and self.place == "stove":
            self.score, self.done = 100, True
        elif action == "eat":
            self.score, self.done = -100, True
        return Reply("", self.score, self.done)

    def close(self):
        self.is_alive = False


@pytest.fixture
def planner(monkeypatch):
    monkeypatch.setattr(expert_module, "Simulator", TinyWorld)
    return Planner(Launch("java"))


@pytest.mark.parametrize(
    ("played", "plan"),
    [
        ((), GOLD),
        (GOLD[:2], GOLD[2:]),
        (GOLD, ()),
        # An action that changes nothing: go on as before.
        (("go kitchen", "wait"), GOLD[1:]),
        # Gone away after the journey to the kitchen: make that journey again.
        (("go kitchen", "go hall"), GOLD),
        (("go kitchen", "take pot", "go stove", "go hall"), GOLD[2:]),
        (("wait", "eat"), None),
    ],
)
def test_plans_from_anywhere(planner, played, plan):
    assert planner.plan(TASK, played) == plan


@pytest.mark.parametrize(
    ("played", "action", "label"),
    [
        ((), "go kitchen", 1),
        ((), "wait", None),
        ((), "eat", 0),
        (("go kitchen",), "go hall", 0),
        (("go hall",), "go kitchen", 1),
    ],
)
def test_labels_say_whether_the_plan_gets_shorter(planner, played, action, label):
    assert planner.label_action(TASK, played, action) == label


def test_the_expert_recovers_from_a_foreign_action(planner):
    expert = GoldExpert(planner, TASK)
    played = []
    for foreign in (None, "go hall", None, None, None, None):
        played.append(foreign or expert.act())
        expert.update(played[-1])
    assert played == ["go kitchen", "go hall", *GOLD]
    expert = GoldExpert(planner, TASK)
    expert.update("eat")
    assert expert.act() == "look around"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("heat",), GoldPath(("heat",), 0)),
        (("fail",), GoldPath((), 0, "no path")),
        (GOLD, GoldPath(GOLD, 100)),
    ],
)
def test_a_failing_gold_path_is_reported(planner, monkeypatch, path, found):
    monkeypatch.setattr(TinyWorld, "gold", path)
    gold = planner.play_gold(TASK)
    assert (gold, gold.is_solved) == (found, path == GOLD)
    assert (planner.plan(TASK, ()) is None) == (path != GOLD)


@pytest.mark.java
def test_a_real_detour_is_recovered_from(launch):
    planner = Planner(launch)
    task = TaskId("scienceworld", "train", 0, "find-non-living-thing/0", "find-non-living-thing")
    gold = planner.play_gold(task)
    assert gold.is_solved
    rest = planner.plan(task, (*gold.actions[:2], "teleport to outside"))
    assert rest is not None
    assert planner.label_action(task, gold.actions[:2], gold.actions[2]) == 1
    planner.close()
