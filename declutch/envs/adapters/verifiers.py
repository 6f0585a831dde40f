"""ALFWorld, ScienceWorld and households as an environment of verifiers, for its evaluations.

The package `declutch_games` beside this one gives it the name by which verifiers finds it:
`vf-eval declutch-games --env.taskset.suite alfworld --env.taskset.split L0`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any, Final

from pydantic import Field

from declutch.envs.adapters.games import Game, TaskList, Turn, open_tasks
from declutch.envs.protocol import max_live, wording_of
from declutch.ground.errors import UserError
from declutch.ground.extras import install_command

try:
    import verifiers.v1 as vf
except ImportError as error:
    raise UserError(
        f"the adapter needs the package verifiers: {install_command('verifiers')}"
    ) from error

INSTRUCTION: Final = (
    "Each message shows what you see and which commands are possible. Answer with one of the "
    "possible commands, word for word, between <action> and </action>."
)
_ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL)


class GamesConfig(vf.TasksetConfig):
    """Settings of verifiers' task set of games, given as `--env.taskset.NAME VALUE`.

    Attributes:
        suite, split, max_steps, settings: as for `open_tasks`; `settings` are best written into a
            TOML file, since they are nested.
        seed: decides what chance does, in suites that have any.
        labels: whether the oracle labels every action.
    """

    suite: str = "alfworld"
    split: str = "rl-train"
    max_steps: int | None = None
    seed: int = 0
    labels: bool = False
    settings: dict[str, Any] = Field(default_factory=dict)


class GameData(vf.TaskData):
    """A row of verifiers' task set: a game by its name, with where it is from.

    Attributes:
        suite, split, kind: what is played.
        manifest: SHA-256 of the list of tasks, as evaluations record it.
    """

    suite: str
    split: str
    kind: str
    manifest: str


class GameTask(vf.Task[GameData, vf.State, vf.TaskConfig]):
    """A game as a task of verifiers, which is the same one wherever it stands in a list."""

    @property
    def key(self) -> str:
        """The suite, the split and the task's name."""
        return f"{self.data.suite}/{self.data.split}/{self.data.name}"


class GameTaskset(vf.Taskset[GameTask, GamesConfig]):
    """Verifiers' task set of the games of a split or level."""

    def __init__(self, config: GamesConfig) -> None:
        """
        Raises:
            UserError: no such suite, split or labels.
        """
        super().__init__(config)
        self.games: TaskList = open_tasks(
            config.suite, config.split, config.max_steps, config.settings
        )
        # A suite that cannot label is an error here, not in an episode.
        Game(self.games, config.labels).close()

    def load(self) -> Iterator[GameTask]:
        """All games, in the suite's fixed order."""
        games = self.games
        prompt = f"{wording_of(games.suite).scene} {INSTRUCTION}"
        for task in games.tasks:
            data = GameData(
                name=task.name,
                system_prompt=prompt,
                suite=games.suite.name,
                split=games.split,
                kind=task.kind,
                manifest=games.manifest,
            )
            yield GameTask(data, self.config.task)


class GameEnvConfig(vf.EnvConfig):
    """Settings of verifiers' environment of games: who plays it, under `--env.player`."""

    player: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class GameEnv(vf.Env[GameEnvConfig]):
    """An environment of verifiers in which the player's messages are the moves of a game.

    The reward "success" is winning and nothing else; the metrics "score" (the partial one),
    "num_steps" and "timed_out" stand beside it. An error of the environment is an error of its
    episode, which has no reward then, and of no other.
    """

    def __init__(self, config: GameEnvConfig) -> None:
        super().__init__(config)
        self._free: list[Game] = []
        self._starting = asyncio.Lock()
        self._room = asyncio.Semaphore(max_live(self.taskset.games.suite))

    async def run(self, task: GameTask, agents: vf.Agents) -> None:
        """Play one game from its beginning to its end."""
        async with self._room:
            game = self._free.pop() if self._free else None
            if game is None:
                games, labels = self.taskset.games, self.taskset.config.labels
                game = await asyncio.to_thread(Game, games, labels)
            try:
                turn = await self._play(game, task, agents)
            except BaseException:
                await asyncio.to_thread(game.close)
                raise
            if turn.error:
                await asyncio.to_thread(game.close)
                raise RuntimeError(f"the environment failed: {turn.error}")
            self._free.append(game)

    async def _play(self, game: Game, task: GameTask, agents: vf.Agents) -> Turn:
        found = game.tasks.find(task.data.name)
        # Starting a game changes what the suite keeps.
        async with self._starting:
            turn = await asyncio.to_thread(game.start, found, self.taskset.config.seed)
        labels: list[int | None] = []
        async with agents.player.interaction(task) as interaction:
            while not turn.is_over:
                segment = await interaction.turn(_write(turn))
                if segment.terminated:
                    break
                turn = await asyncio.to_thread(game.step, read_action(segment.last_reply))
                labels.append(turn.oracle_label)
        trace = interaction.trace
        if trace.ok and not turn.error:
            trace.record_reward("success", float(turn.is_won))
            trace.record_metric("score", turn.score)
            trace.record_metric("num_steps", float(turn.num_steps))
            trace.record_metric("timed_out", float(turn.is_truncated))
        if self.taskset.config.labels:
            trace.info["oracle_labels"] = labels
        return turn

    async def stop(self) -> None:
        """Free what the games hold."""
        while self._free:
            await asyncio.to_thread(self._free.pop().close)


def read_action(reply: str) -> str:
    """Read the command in a message to verifiers' games: the last between tags, else all."""
    found = _ACTION.findall(reply)
    return (found[-1] if found else reply).strip()


def _write(turn: Turn) -> str:
    listed = f"\nPossible commands: {', '.join(turn.admissible)}" if turn.admissible else ""
    return turn.text + listed
