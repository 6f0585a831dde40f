"""An environment that counts down, and a source of such ones."""

from dataclasses import dataclass

from declutch.envs.protocol import Observation, Transition
from declutch.records import TaskId


@dataclass
class CountDown:
    """Won after as many steps as the task's index; a task of index 99 breaks at its second step."""

    opened: list["CountDown"]
    left: int = 0
    task: TaskId | None = None
    closed: bool = False

    def reset(self, task: TaskId) -> Observation:
        if task.name == "no start":
            raise OSError("gone")
        self.left, self.task = task.index, task
        return Observation(f"left {self.left}", ("go",))

    def label_action(self, action: str) -> int | None:
        return 1

    def step(self, action: str) -> Transition:
        self.left -= 1
        if self.left == 97:
            raise RuntimeError("broken")
        is_won = self.left == 0
        return Transition(
            Observation(f"left {self.left}", ("go",)), float(is_won), is_won, is_won, float(is_won)
        )

    def close(self) -> None:
        self.closed = True


@dataclass
class Source:
    """Makes `CountDown`s, notes them, and allows so many at once."""

    envs: list[CountDown]
    max_live: int = 100

    def make_env(self) -> CountDown:
        self.envs.append(CountDown(self.envs))
        return self.envs[-1]
