"""An episode behind the protocol: against a scripted simulator, and against the real one."""

import random

import pytest

from declutch.config.env import ScienceWorldConfig
from declutch.envs.protocol import Observation, Oracle, TextEnv, draw_command
from declutch.envs.scienceworld.env import PLACES, ActionForms, ScienceWorldEnv, name_carried
from declutch.envs.scienceworld.gold import GoldPath
from declutch.envs.scienceworld.simulator import Reply, SimulatorError
from declutch.envs.scienceworld.suite import ScienceWorldSuite
from declutch.envs.wanderer import Wanderer
from declutch.ground.errors import UserError
from declutch.records import TaskId

TASK = TaskId("scienceworld", "dev", 0, "boil/14", "boil")


class Script:
    """A simulator that gives the replies it is told; "die" kills it."""

    def __init__(self, *replies):
        self.is_alive, self.loaded, self.played = True, [], []
        self._replies = list(replies)

    def load(self, task, variation):
        self.loaded.append((task, variation))

    def step(self, action):
        if action == "die":
            self.is_alive = False
            raise SimulatorError("the JVM died")
        self.played.append(action)
        return Reply("A room.", 0, False) if action == "look around" else self._replies.pop(0)

    def task_description(self):
        return "Task Description:\nBoil it."

    def inventory(self):
        return (
            "In your inventory, you see:\n\tan orange\n\ta metal pot (containing nothing)\n"
            "\ta substance called soap\n\ta clock, which is off. The time reads 0 ticks.\n"
        )

    def valid_actions(self):
        return ("look around", "wait")

    def templates(self):
        return ("go OBJ", "look around", "move OBJ to OBJ", "teleport OBJ")

    def objects(self):
        return ("cup", "cup in pot", "door to hall")


class ScriptPool:
    """Hands out the simulators it was given, and notes what comes back."""

    def __init__(self, *simulators):
        self.waiting, self.released = list(simulators), []

    def acquire(self):
        return self.waiting.pop(0)

    def release(self, simulator):
        self.released.append(simulator)


class ScriptPlanner:
    """Has a solution, and labels every action with what was played before it."""

    def gold(self, task):
        return GoldPath(("wait", task.name), 3, 100)

    def label_action(self, task, played, action):
        return (task.name, tuple(played), action)


def make_env(*replies, actions="enumerated", success_score=100):
    return ScienceWorldEnv(ScriptPool(Script(*replies)), ScriptPlanner(), actions, success_score)


def test_the_first_observation_is_the_surroundings_and_the_task():
    env = make_env()
    assert isinstance(env, TextEnv)
    first = env.reset(TASK)
    assert first.text == "A room.\n\nTask Description:\nBoil it."
    assert first.admissible == ("look around", "wait")
    assert first.inventory == (
        "an orange, a metal pot (containing nothing), a substance called soap, "
        "a clock, which is off. The time reads 0 ticks."
    )


@pytest.mark.parametrize(
    ("score", "is_done", "expected"),
    [
        # reward, won, done, score
        (30, False, (0.0, False, False, 0.3)),
        (100, True, (1.0, True, True, 1.0)),
        (75, True, (0.0, False, True, 0.75)),
        (100, False, (0.0, False, False, 1.0)),
        (-100, True, (0.0, False, True, 0.0)),
    ],
)
def test_what_a_score_means(score, is_done, expected):
    env = make_env(Reply("Done.", score, is_done))
    env.reset(TASK)
    after = env.step("wait")
    assert (after.reward, after.is_won, after.is_done, after.score) == expected


def test_a_lower_threshold_counts_what_finished_above_it():
    env = make_env(Reply("Half.", 50, False), Reply("Done.", 75, True), success_score=50)
    env.reset(TASK)
    assert not env.step("wait").is_won
    assert env.step("wait").is_won


def test_a_finished_task_is_not_played_on():
    pool = ScriptPool(Script(Reply("Done.", 75, True)))
    env = ScienceWorldEnv(pool, ScriptPlanner(), "enumerated", 100)
    env.reset(TASK)
    simulator = env._simulator
    done = env.step("wait")
    again = env.step("wait")
    assert simulator.played == ["look around", "wait"]
    assert (again.observation, again.score, again.is_done) == (done.observation, 0.75, True)


def test_a_dead_simulator_is_replaced_at_the_next_reset():
    dying, fresh = Script(), Script(Reply("Later.", 0, False))
    pool = ScriptPool(dying, fresh)
    env = ScienceWorldEnv(pool, ScriptPlanner(), "enumerated", 100)
    env.reset(TASK)
    with pytest.raises(SimulatorError):
        env.step("die")
    env.reset(TASK)
    assert env.step("wait").observation.text == "Later."
    assert (pool.released, fresh.loaded) == ([dying], [("boil", 14)])
    env.close()
    env.close()
    assert pool.released == [dying, fresh]


def test_stepping_needs_a_reset():
    env = make_env()
    with pytest.raises(RuntimeError, match="reset"):
        env.step("wait")
    with pytest.raises(RuntimeError, match="reset"):
        env.label_action("wait")
    with pytest.raises(RuntimeError, match="reset"):
        _ = env.walkthrough


def test_labels_are_the_planners_where_an_action_is_admissible():
    env = make_env(Reply("Later.", 0, False), Reply("Done.", 75, True))
    env.reset(TASK)
    assert isinstance(env, Oracle)
    assert env.walkthrough == ("wait", TASK.name)
    assert env.label_action("dance") == 0
    assert env.label_action("wait") == (TASK.name, (), "wait")
    env.step("dance")
    assert env.label_action("wait") == (TASK.name, ("dance",), "wait")
    env.step("wait")
    assert env.label_action("wait") is None


def test_forms_hold_what_fills_their_slots_with_listed_objects():
    forms = make_env(actions="templates").reset(TASK).admissible
    assert forms[:3] == ("go to OBJ", "look around", "move OBJ to OBJ")
    assert forms[3:-1] == tuple(f"teleport to {place}" for place in PLACES)
    assert forms[-1:] == (
        "where OBJ is one of: clock; cup; cup in pot; door to hall; metal pot; orange; soap",
    )
    for action in (
        "look around",
        "move cup to cup in pot",
        "move cup in pot to door to hall",
        "go to door to hall",
        "teleport to living room",
    ):
        assert action in forms
    assert "move orange to metal pot" in forms
    for action in ("move OBJ to OBJ", "move cup", "move cup to", "move cup to cat", "", 3):
        assert action not in forms
    assert "cup" not in ActionForms(("look at OBJ",), ("cup",))


def test_what_is_drawn_is_a_form_with_every_slot_filled():
    forms = ActionForms(("wait", "move OBJ to OBJ", "mix OBJ"), ("cup", "door to hall"))
    drawn = {forms.draw(random.Random(seed)) for seed in range(100)}
    assert drawn == {"wait", "mix cup", "mix door to hall"} | {
        f"move {one} to {other}"
        for one in ("cup", "door to hall")
        for other in ("cup", "door to hall")
    }


def test_random_play_fills_forms_and_takes_other_commands_as_they_are():
    forms = ActionForms(("move OBJ to OBJ",), ("cup",))
    wanderer = Wanderer(0)
    wanderer.reset(TASK, Observation("a room", forms))
    assert wanderer.act().action == "move cup to cup"
    assert draw_command(forms, random.Random(0), besides="move cup to cup") is None
    drawn = {draw_command(("a", "b", "c"), random.Random(seed), besides="b") for seed in range(20)}
    assert drawn == {"a", "c"}
    assert draw_command(("a",), random.Random(0), besides="a") is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("In your inventory, you see:\n\tan orange\n", "an orange"),
        ("In your inventory, you see:\n", ""),
        ("In your inventory, you see:\n\ta\n\tb (containing c)\n", "a, b (containing c)"),
    ],
)
def test_names_of_what_is_carried(text, names):
    assert name_carried(text) == names


@pytest.mark.java
def test_a_wrong_java_is_one_clear_error(launch):
    with pytest.raises(UserError, match=r"env\.scienceworld\.java=/nowhere/java"):
        ScienceWorldSuite(ScienceWorldConfig(java="/nowhere/java"))


@pytest.mark.java
def test_a_real_episode_is_won_and_starts_the_same_again(launch):
    suite = ScienceWorldSuite(ScienceWorldConfig())
    env = suite.make_env()
    task = next(task for task in suite.tasks("train") if task.name == "find-non-living-thing/0")
    first = env.reset(task)
    env._simulator.load(task.kind, 0, with_gold=True)
    gold = env._simulator.gold_path()
    assert env.reset(task) == first
    transitions = [env.step(action) for action in gold]
    assert [t.is_won for t in transitions] == [False] * (len(gold) - 1) + [True]
    assert sum(t.reward for t in transitions) == transitions[-1].score == 1.0
    assert env.reset(task) == first
    suite.close()
    with pytest.raises(SimulatorError):
        env.step("look around")
