"""Planning by replay: on a small world worked out by hand, and on the real simulator."""

import pytest
from demonstrating import demonstrate
from tiny_world import GOLD, SHORT, TASK, TinyWorld

from declutch.cold_start.demonstrate import DemonstrationPlan
from declutch.cold_start.demonstrations import read_demonstrations
from declutch.config.env import ScienceWorldConfig
from declutch.envs.protocol import HasExpert, HasWalkthrough, Observation, Oracle
from declutch.envs.scienceworld import pool as pool_module
from declutch.envs.scienceworld.expert import GoldExpert, Planner
from declutch.envs.scienceworld.gold import GoldPath
from declutch.envs.scienceworld.simulator import Launch
from declutch.envs.scienceworld.suite import ScienceWorldSuite
from declutch.evaluation.expert import measure_expert

ACTIONS = (*SHORT, "wait1", "look around", "eat", "go to hall")
ANYTHING = Observation("", ACTIONS)


@pytest.fixture
def tiny(monkeypatch):
    pytest.importorskip("scienceworld")
    monkeypatch.setattr(pool_module, "Simulator", TinyWorld)
    monkeypatch.setattr(TinyWorld, "num_made", 0)
    return TinyWorld


@pytest.fixture
def planner(tiny):
    return Planner(Launch("java"))


@pytest.mark.parametrize(
    ("played", "plan"),
    [
        ((), SHORT),
        (SHORT[:2], SHORT[2:]),
        (SHORT, ()),
        # What changes nothing: go on as before, after a look without asking.
        (("teleport to kitchen", "wait1"), SHORT[1:]),
        (("teleport to kitchen", "look at pot"), SHORT[1:]),
        # Gone away after the journey to the kitchen: make that journey again.
        (("teleport to kitchen", "go to hall"), SHORT),
        ((*SHORT[:3], "go to hall"), SHORT[2:]),
        ((*SHORT[:3], "go to hall", "teleport to attic"), SHORT[3:]),
        (("wait1", "eat"), None),
        (("eat", "wait1"), None),
    ],
)
def test_plans_from_anywhere(planner, played, plan):
    assert planner.plan(TASK, played) == plan


@pytest.mark.parametrize(
    ("played", "action", "label"),
    [
        ((), "teleport to kitchen", 1),
        ((), "wait1", None),
        ((), "look around", None),
        ((), "eat", 0),
        (("teleport to kitchen",), "go to hall", 0),
        (("go to kitchen",), "take pot", None),
        (("go to attic",), "teleport to kitchen", 1),
        (("eat",), "teleport to kitchen", None),
    ],
)
def test_labels_say_whether_the_plan_still_wins(planner, played, action, label):
    assert planner.label_action(TASK, played, action) == label


def test_from_elsewhere_a_walk_is_made_again_by_teleportation(planner, monkeypatch):
    monkeypatch.setattr(TinyWorld, "hot_after", 5)
    walk = ("go to kitchen", "take pot", "go to hall", "go to attic", "heat")
    assert planner.plan(TASK, ()) == walk
    assert planner.plan(TASK, (*walk[:1], "teleport to attic")) == (SHORT[0], *walk[1:])


def test_replays_are_remembered_and_needed_off_the_plan_only(planner, monkeypatch):
    planner.gold(TASK)
    loads = []
    load = TinyWorld.load
    monkeypatch.setattr(TinyWorld, "load", lambda *args: (loads.append(args), load(*args))[-1])
    for played in range(len(SHORT)):
        assert planner.label_action(TASK, SHORT[:played], SHORT[played]) == 1
        assert planner.label_action(TASK, SHORT[:played], "look around") is None
    assert not loads
    for _ in range(3):
        assert planner.label_action(TASK, SHORT[:1], "go to hall") == 0
    assert len(loads) == 1
    # The plan as it is was tried by the label; one more replay finds the way back.
    assert planner.plan(TASK, (SHORT[0], "go to hall")) == SHORT
    assert len(loads) == 2


def test_the_expert_recovers_from_a_foreign_action(planner):
    expert = GoldExpert(planner)
    expert.reset(TASK, ANYTHING)
    played = []
    for foreign in (None, "go to hall", None, None, None, None):
        played.append(foreign or expert.act().action)
        expert.update(played[-1], ANYTHING)
    assert played == ["teleport to kitchen", "go to hall", *SHORT]
    assert expert.act() is None


def test_the_expert_gives_up_where_it_knows_no_way(planner):
    expert = GoldExpert(planner)
    with pytest.raises(RuntimeError, match="reset"):
        expert.update("eat", ANYTHING)
    expert.reset(TASK, ANYTHING)
    advice = expert.act()
    assert advice == expert.act()
    assert advice.short_thought == "find"
    expert.update("eat", ANYTHING)
    assert expert.act() is None
    # What is not listed is no advice.
    expert.reset(TASK, Observation("", ("take pot",)))
    assert expert.act() is None


@pytest.mark.parametrize(("path", "score"), [(("heat",), 0), (("fail",), 0), (GOLD, 100)])
def test_a_failing_gold_path_is_reported(planner, monkeypatch, path, score):
    monkeypatch.setattr(TinyWorld, "gold", path)
    gold = planner.gold(TASK)
    assert (gold.score, gold.is_solved) == (score, path == GOLD)
    assert (gold.error == "no path") == (path == ("fail",))
    assert (planner.plan(TASK, ()) is None) == (path != GOLD)


def test_what_is_on_disk_is_not_searched_again(tiny, tmp_path, monkeypatch):
    assert Planner(Launch("java"), tmp_path).gold(TASK) == GoldPath(SHORT, 6, 100)
    assert tiny.num_made == 1
    later = Planner(Launch("java"), tmp_path)
    assert later.gold(TASK).actions == later.plan(TASK, ()) == SHORT
    assert tiny.num_made == 1


def test_a_failure_of_the_simulator_is_not_kept(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(TinyWorld, "gold", ("fail",))
    assert not Planner(Launch("java"), tmp_path).gold(TASK).is_solved
    monkeypatch.setattr(TinyWorld, "gold", GOLD)
    assert Planner(Launch("java"), tmp_path).gold(TASK).is_solved


@pytest.fixture(scope="module")
def suite(launch, tmp_path_factory):
    live = ScienceWorldSuite(ScienceWorldConfig(), tmp_path_factory.mktemp("gold"))
    yield live
    live.close()


def short_task(suite):
    return next(t for t in suite.tasks("train") if t.kind == "find-non-living-thing")


@pytest.mark.java
def test_the_real_expert_wins_with_admissible_actions_labelled_good(suite):
    env, expert, task = suite.make_env(), suite.make_expert(0), short_task(suite)
    assert isinstance(suite, HasExpert)
    assert isinstance(env, Oracle)
    observation = env.reset(task)
    expert.reset(task, observation)
    transition = None
    while (advice := expert.act()) is not None:
        assert advice.action in observation.admissible
        assert env.label_action(advice.action) == 1
        assert env.label_action("dance") == 0
        assert advice.thought
        assert advice.short_thought
        transition = env.step(advice.action)
        observation = transition.observation
        expert.update(advice.action, observation)
    assert transition.is_won
    assert env.label_action("look around") is None
    assert isinstance(env, HasWalkthrough)
    assert 1 <= len(env.walkthrough) <= 6
    env.close()


@pytest.mark.java
def test_a_real_detour_is_bad_and_recovered_from(suite):
    env, expert, task = suite.make_env(), suite.make_expert(0), short_task(suite)
    expert.reset(task, env.reset(task))
    is_won, num_steps = False, 0
    while not is_won and num_steps < 8:
        action = "teleport to foundry" if num_steps == 1 else expert.act().action
        if num_steps == 1:
            assert env.label_action(action) == 0
        transition = env.step(action)
        is_won, num_steps = transition.is_won, num_steps + 1
        expert.update(action, transition.observation)
    # The detour, and one step back.
    assert (is_won, num_steps) == (True, len(env.walkthrough) + 2)
    env.close()


@pytest.mark.java
def test_demonstrations_of_real_tasks(suite, tmp_path):
    class Few:
        """The first game of two short tasks."""

        name, make_env, make_expert = suite.name, suite.make_env, suite.make_expert

        def tasks(self, split):
            kinds = ("find-non-living-thing", "lifespan-longest-lived")
            return tuple(t for t in suite.tasks(split) if t.kind in kinds and t.name[-2:] == "/0")

    out = tmp_path / "demonstrations.jsonl"
    plan = DemonstrationPlan(2, "strict", suite.held_out_kinds, perturb=0.0, max_steps=3)
    header = demonstrate(Few(), out, plan)
    _, demonstrations = read_demonstrations(out)
    by_kind = {demo.task.kind: demo for demo in demonstrations}
    longer, shorter = by_kind["find-non-living-thing"], by_kind["lifespan-longest-lived"]
    # The longer needs more than three steps: kept, and counted as not won.
    assert (len(longer.steps), longer.won, shorter.won) == (3, False, True)
    assert header.num_won == 1
    for step in (*longer.steps, *shorter.steps):
        assert step.expert_action in step.admissible
        assert step.label_expert == 1
        assert step.label_other in (0, None)
    *rows, total = measure_expert(Few(), "train")
    assert [row.num_won_30 for row in rows] == [1, 1]
    assert total.median_walkthrough == total.median_steps
