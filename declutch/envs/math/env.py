"""One problem of mathematics as an episode of one step, and who answers it from the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from declutch.envs.math.problems import Problem, verify_answer
from declutch.envs.protocol import Observation, Transition
from declutch.records import TaskId


class MathEnv:
    """Asks one problem; the first answer ends it."""

    def __init__(self, find: Callable[[TaskId], Problem]) -> None:
        self._find = find
        self._problem: Problem | None = None

    def reset(self, task: TaskId) -> Observation:
        """The problem; no commands are listed, since the answer is free."""
        self._problem = self._find(task)
        return Observation(self._problem.text, ())

    def step(self, action: str) -> Transition:
        """Verify an answer."""
        if self._problem is None:
            raise RuntimeError("step before reset")
        is_right = verify_answer(self._problem, action)
        seen = Observation("The answer is right." if is_right else "The answer is wrong.", ())
        return Transition(seen, float(is_right), is_right, True, float(is_right))

    def close(self) -> None:
        self._problem = None


@dataclass(frozen=True)
class Solution:
    """A reference answer as advice."""

    action: str
    thought: str
    short_thought: str = "solve"


class AnswerKey:
    """An expert that looks the problem up: for supervised data, where solutions are known too."""

    def __init__(self, find: Callable[[TaskId], Problem]) -> None:
        self._find = find
        self._problem: Problem | None = None

    def reset(self, task: TaskId, observation: Observation) -> None:
        self._problem = self._find(task)

    def act(self) -> Solution:
        if self._problem is None:
            raise RuntimeError("AnswerKey.reset(task, observation) must come first")
        answer = self._problem.answer
        thought = self._problem.solution or f"Working this out gives {answer}."
        return Solution(answer, thought)

    def update(self, action: str, observation: Observation) -> None: ...
