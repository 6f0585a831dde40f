"""Every requirement is met by a good environment, and found broken in one that breaks just it."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest

from declutch.cli.main import main
from declutch.envs.check import CHECKS, check_suite
from declutch.envs.check_behaviour import check_speed
from declutch.envs.custom import CustomSuite
from declutch.envs.protocol import Observation, Transition
from declutch.envs.subject import Doubtful, Subject
from declutch.envs.wanderer import Whim
from declutch.ground.errors import Status
from declutch.records import TaskId

FIRST = {"train": 0, "L0": 10, "L1": 20, "L2": 30}


class Stairs:
    """Climb from a step drawn by the task's name to the top; going down is possible too."""

    name = "stairs"
    held_out_kinds: tuple[str, ...] = ("tower",)
    top = 4

    def tasks(self, split):
        kind = "tower" if split == "L2" else "house"
        first = FIRST.get(split)
        numbers = range(first, first + 4) if first is not None else ()
        return tuple(
            TaskId(self.name, split, index, f"{kind} {number}", kind)
            for index, number in enumerate(numbers)
        )

    def reset(self, task):
        self.at = random.Random(task.name).randrange(3)
        return self.observe(f"You are on stair {self.at} of {task.name}.")

    def step(self, action):
        if action not in self.commands():
            return Transition(self.observe("Nothing happens."), 0.0, False, False, self.score())
        self.at += 1 if action == "go up" else -1
        won = self.at == self.top
        seen = self.observe(f"You {action} to stair {self.at}.")
        return Transition(seen, float(won), won, won, self.score())

    def commands(self):
        return ("go up", "go down") if self.at > 0 else ("go up",)

    def observe(self, text):
        return Observation(text, self.commands())

    def score(self):
        return self.at / self.top

    def close(self):
        pass

    def make_expert(self, seed):
        return Climber()

    def label_action(self, action):
        return int(action == "go up")


class Climber:
    def reset(self, task, observation):
        pass

    def act(self):
        return Whim("go up", "I climb.", "go up")

    def update(self, action, observation):
        pass


class TwiceTheSameName(Stairs):
    def tasks(self, split):
        return super().tasks(split)[:1] * 2


class OtherTasksEachTime(Stairs):
    calls = 0

    def tasks(self, split):
        type(self).calls += 1
        return tuple(
            TaskId(t.suite, t.split, t.index, f"{t.name} {self.calls}", t.kind)
            for t in super().tasks(split)
        )


class TrainsOnHeldOut(Stairs):
    held_out_kinds = ("house",)


class EvaluatesTrainingTasks(Stairs):
    def tasks(self, split):
        names = super().tasks("L2" if split == "L2" else "train" if split in FIRST else split)
        return tuple(TaskId(t.suite, split, t.index, t.name, t.kind) for t in names)


class SameUnderOtherNames(Stairs):
    def reset(self, task):
        super().reset(task)
        return self.observe(f"You are on stair {self.at}.")


class FailsOnTheSecondStair(Stairs):
    def step(self, action):
        if self.at == 2 and action == "go up":
            raise ZeroDivisionError("a hole in the stair")
        return super().step(action)


class ExpertFails(Stairs):
    def make_expert(self, seed):
        expert = Climber()
        expert.act = lambda: {}["nothing"]
        return expert


class ListOfCommands(Stairs):
    def observe(self, text):
        return Observation(text, list(self.commands()))


class ScoreInPercent(Stairs):
    def score(self):
        return 100 * self.at / self.top


class StartsAnywhere(Stairs):
    def reset(self, task):
        self.at = random.randrange(3)
        return self.observe(f"You are on stair {self.at}.")


class Stumbles(Stairs):
    def step(self, action):
        return super().step("" if random.random() < 0.3 else action)


class Remembers(Stairs):
    steps = 0

    def step(self, action):
        self.steps += 1
        seen = super().step(action)
        text = f"{seen.observation.text} That was step {self.steps}."
        return Transition(self.observe(text), seen.reward, seen.is_won, seen.is_done, seen.score)


class SharesItsPlace(Stairs):
    place = 0

    @property
    def at(self):
        return SharesItsPlace.place

    @at.setter
    def at(self, value):
        SharesItsPlace.place = value


class ListsTooMuch(Stairs):
    def observe(self, text):
        return Observation(text, (*self.commands(), "fly"))


class RaisesAtNonsense(Stairs):
    def step(self, action):
        if action == "":
            raise KeyError(action)
        return super().step(action)


class WonIsNotDone(Stairs):
    def step(self, action):
        t = super().step(action)
        return Transition(t.observation, t.reward, t.is_won, False, t.score)

    def commands(self):
        return ("go up",) if self.at < self.top else ("go down",)


class LeavesNoWayOn(Stairs):
    def commands(self):
        return ("go up",) if self.at in (0, 1, 2) else ()


class TwoLineCommands(Stairs):
    def step(self, action):
        return super().step(action.replace("\n", " "))

    def observe(self, text):
        return Observation(text, tuple(c.replace(" ", "\n") for c in self.commands()))


class ExpertOutOfPlace(Stairs):
    def make_expert(self, seed):
        expert = Climber()
        expert.act = lambda: Whim("fly")
        return expert


class ExpertGivesUp(Stairs):
    def make_expert(self, seed):
        expert = Climber()
        seen = []
        expert.update = lambda action, observation: seen.append(action) or seen[1]
        return expert


class OracleMoves(Stairs):
    def label_action(self, action):
        self.at = 0


class SlowEnv(Stairs):
    def step(self, action):
        time.sleep(0.011)
        return super().step(action)


def findings_of(env):
    return {finding.name: finding for finding in check_suite(CustomSuite("test:Env", env))}


def test_a_good_environment_passes_every_check():
    findings = findings_of(Stairs)
    assert list(findings) == [check.name for check in CHECKS]
    assert {f.detail for f in findings.values() if f.status is not Status.OK} == set()


@pytest.mark.parametrize(
    ("env", "name", "words"),
    [
        (TwiceTheSameName, "tasks", "twice"),
        (OtherTasksEachTime, "tasks", "asked again"),
        (TrainsOnHeldOut, "levels", "is held out"),
        (EvaluatesTrainingTasks, "levels", "exactly like the training task"),
        (SameUnderOtherNames, "equal tasks", "plays exactly like 'house"),
        (FailsOnTheSecondStair, "steps", "('go up') raises ZeroDivisionError: a hole in the stair"),
        (FailsOnTheSecondStair, "types", "(test_check.py, line "),
        (
            ExpertFails,
            "expert",
            "act() raises KeyError: 'nothing' (test_check.py, line",
        ),
        (ListOfCommands, "types", "admissible is a list"),
        (ScoreInPercent, "score", "score="),
        (ScoreInPercent, "score", ": step)"),
        (TwiceTheSameName, "tasks", "(see test_check.py, line "),
        (StartsAnywhere, "reset", "You are on stair"),
        (Stumbles, "steps", "played twice"),
        (Remembers, "episodes apart", "played after 'house 0'"),
        (SharesItsPlace, "environments apart", "beside another environment"),
        (ListsTooMuch, "commands", "'fly' is listed"),
        (RaisesAtNonsense, "nonsense", "KeyError"),
        (WonIsNotDone, "end", "is_won without is_done"),
        (LeavesNoWayOn, "end", "no command is admissible"),
        (TwoLineCommands, "spelling", "line break"),
        (ExpertOutOfPlace, "expert", "'fly'"),
        (ExpertGivesUp, "expert", "IndexError"),
        (OracleMoves, "oracle", "labels asked for"),
    ],
)
def test_each_rule_is_found_broken(env, name, words):
    random.seed(0)
    finding = findings_of(env)[name]
    assert finding.status is Status.PROBLEM
    assert words in finding.detail
    assert finding.remedy


class NoHeldOut(Stairs):
    held_out_kinds = ()


class NoL1(Stairs):
    def tasks(self, split):
        return () if split == "L1" else super().tasks(split)


class Shouts(Stairs):
    def commands(self):
        return tuple(command.upper() for command in super().commands())

    def step(self, action):
        return super().step(action)


class NoExpert(Stairs):
    make_expert = None


class BadExpert(Stairs):
    def make_expert(self, seed):
        expert = Climber()
        expert.act = lambda: Whim("go up" if seed else "look")
        return expert

    def commands(self):
        return (*super().commands(), "look")

    def step(self, action):
        if action == "look":
            return Transition(self.observe("Stairs."), 0.0, False, False, self.score())
        return super().step(action)


@pytest.mark.parametrize(
    ("env", "name", "words"),
    [
        (NoHeldOut, "levels", "no kind is held out"),
        (NoL1, "tasks", "none for L1"),
        (Shouts, "spelling", "lower-case"),
        (NoExpert, "expert", "none"),
        (BadExpert, "expert", "wins 0 of"),
    ],
)
def test_what_holds_only_for_some_uses_is_a_warning(env, name, words):
    finding = findings_of(env)[name]
    assert finding.status is Status.WARN
    assert words in finding.detail
    assert finding.remedy


def test_a_slow_environment_is_a_warning():
    suite = CustomSuite("test:Env", SlowEnv)
    with pytest.raises(Doubtful, match="steps/s"):
        check_speed(Subject(suite, suite.tasks("train")[:1]))


def test_the_global_generators_are_left_as_they_were():
    random.seed(3)
    before = random.getstate()
    findings_of(Stairs)
    assert random.getstate() == before


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["declutch", *arguments])
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(SystemExit) as status:
        main()
    output = capsys.readouterr()
    return int(status.value.code or 0), " ".join((output.out + output.err).split())


def test_the_example_conforms(monkeypatch, capsys):
    status, text = run(monkeypatch, capsys, "envs", "check", "examples.treasure:Treasure")
    assert status == 0
    assert "! " not in text
    assert "✗" not in text
    assert "held out: crown" in text


def test_a_problem_is_status_1_with_its_remedy(monkeypatch, capsys, tmp_path):
    (tmp_path / "broken_env.py").write_text(
        "from examples.treasure import Treasure\n"
        "class Broken(Treasure):\n"
        "    def reset(self, task):\n"
        "        raise OSError('no such island')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    status, text = run(monkeypatch, capsys, "envs", "check", "broken_env:Broken")
    assert status == 1
    assert "no such island" in text
    assert "→ set every attribute anew in reset" in text
