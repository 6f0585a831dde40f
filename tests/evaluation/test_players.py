"""Scripted players: a game that fails is one error, and the others are played."""

from collections.abc import Sequence

from declutch.envs.protocol import Observation, Transition
from declutch.evaluation.players import scripted_player
from declutch.ground.errors import UserError
from declutch.records import Outcome, TaskId


class Breaking:
    """Won by the first action; the task of index 1 breaks when it begins, that of 2 when played."""

    def __init__(self, opened: list["Breaking"]) -> None:
        self.task: TaskId | None = None
        self.is_closed = False
        opened.append(self)

    def reset(self, task: TaskId) -> Observation:
        if task.index == 1:
            raise UserError("no such game")
        self.task = task
        return Observation("here", ("go", "look"))

    def step(self, action: str) -> Transition:
        assert self.task is not None
        if self.task.index == 2:
            raise RuntimeError("the engine died")
        return Transition(Observation("there", ()), 1.0, True, True, 1.0)

    def close(self) -> None:
        self.is_closed = True


class Suite:
    name = "breaking"

    def __init__(self) -> None:
        self.opened: list[Breaking] = []

    def tasks(self, split: str) -> Sequence[TaskId]:
        return [TaskId("breaking", split, n, f"game {n}") for n in range(4)]

    def make_env(self) -> Breaking:
        return Breaking(self.opened)


def test_a_game_that_fails_is_isolated() -> None:
    suite, finished = Suite(), []
    player = scripted_player("random", suite, 5, finished.append)
    episodes = player.play(suite.tasks("L0"), 0)
    wrong = Outcome.ENV_ERROR
    assert [e.outcome for e in episodes] == [Outcome.WON, wrong, wrong, Outcome.WON]
    assert [e.error for e in episodes] == [
        "",
        "UserError: no such game",
        "RuntimeError: the engine died",
        "",
    ]
    assert finished == episodes
    assert all(env.is_closed for env in suite.opened)
