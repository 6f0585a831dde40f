"""One problem of mathematics as an episode of one step, and who answers it from the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from declutch.envs.math.problems import Problem, verify_answer
from declutch.envs.protocol import Observation, Transition
from declutch.records import TaskId


class MathEnv:
    """The environment that asks one problem of mathematics; the first answer ends it."""

    def __init__(self, find: Callable[[TaskId], Problem]) -> None:
        self._find = find
        self._problem: Problem | None = None

    def reset(self, task: TaskId) -> Observation:
        """Ask the problem; no commands are listed, since the answer is free."""
        self._problem = self._find(task)
        return Observation(self._problem.text, ())

    def step(self, action: str) -> Transition:
        """Verify an answer, which ends the episode."""
        if self._problem is None:
            raise RuntimeError("step before reset")
        is_right = verify_answer(self._problem, action)
        seen = Observation("The answer is right." if is_right else "The answer is wrong.", ())
        return Transition(seen, float(is_right), is_right, True, float(is_right))

    def close(self) -> None:
        """Forget the problem."""
        self._problem = None


@dataclass(frozen=True)
class Solution:
    """What the expert of a math environment advises: the reference answer to its problem."""

    action: str
    thought: str
    short_thought: str = "solve"


class AnswerKey:
    """The expert of a math environment: it looks the problem's answer up, for supervised data."""

    def __init__(self, find: Callable[[TaskId], Problem]) -> None:
        self._find = find
        self._problem: Problem | None = None

    def reset(self, task: TaskId, observation: Observation) -> None:
        """Look up the task's problem."""
        self._problem = self._find(task)

    def act(self) -> Solution:
        """The reference answer, with its solution as the thought."""
        if self._problem is None:
            raise RuntimeError("AnswerKey.reset(task, observation) must come first")
        answer = self._problem.answer
        thought = self._problem.solution or f"Working this out gives {answer}."
        return Solution(answer, thought)

    def update(self, action: str, observation: Observation) -> None:
        """Nothing is to be learned from an answer."""
