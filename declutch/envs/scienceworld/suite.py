"""The variations of 30 tasks as tasks, and environments that share a pool of simulators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from declutch.config.env import ScienceWorldConfig
from declutch.envs.scienceworld.env import ScienceWorldEnv
from declutch.envs.scienceworld.expert import GoldExpert, Planner
from declutch.envs.scienceworld.pool import SimulatorPool
from declutch.envs.scienceworld.simulator import Launch, check_package, find_java
from declutch.envs.scienceworld.tasks import (
    HELD_OUT_KINDS,
    KINDS,
    NUM_VARIATIONS,
    list_split,
    make_levels,
    split_variations,
)
from declutch.envs.scienceworld.tour import Tourist
from declutch.envs.scienceworld.wording import SCIENCE
from declutch.envs.splits import find_level, select_tasks
from declutch.ground.errors import UserError, nearest
from declutch.records import TaskId


class ScienceWorldSuite:
    """The ScienceWorld suite: tasks with levels; no JVM runs before the first `reset`.

    Beside the environments' JVMs there is one that plans, where an expert or an oracle is asked.
    """

    name = "scienceworld"
    wording = SCIENCE

    def __init__(self, config: ScienceWorldConfig, cache_dir: Path | None = None) -> None:
        """
        Args:
            cache_dir: folder of gold paths on disk; None for none.
        Raises:
            UserError: the package or Java is missing, or a task is named that there is not.
        """
        check_package()
        self.max_live = config.max_live
        self._kinds = _check_kinds(config.kinds)
        held_out = HELD_OUT_KINDS[config.held_out]
        self.held_out_kinds = tuple(kind for kind in held_out if kind in self._kinds)
        self._config = config
        self._levels = make_levels(config.held_out, self._kinds)
        self.launch = Launch(find_java(config.java), config.heap_mib, config.timeout_seconds)
        self._pool = SimulatorPool(self.launch, config.max_live)
        self.planner = Planner(self.launch, cache_dir)

    def tasks(self, split: str) -> tuple[TaskId, ...]:
        """List every variation of a raw split or level. Raises UserError where there is none."""
        level = find_level(self._levels, split, self.name)
        return select_tasks(list_split(self.name, level.split), level)

    def make_env(self) -> ScienceWorldEnv:
        """Make a new environment; as many as `max_live` may play at once."""
        config = self._config
        return ScienceWorldEnv(self._pool, self.planner, config.actions, config.success_score)

    def prepare_envs(self, num_envs: int) -> None:
        """Start the simulators of so many environments side by side."""
        self._pool.prepare(num_envs)

    def make_expert(self, seed: int) -> GoldExpert:
        """Make a new expert, which knows a solution of each task."""
        return GoldExpert(self.planner, seed)

    def make_guide(self, seed: int) -> Tourist:
        """Make a guide that walks through all rooms, which needs no solution of the task."""
        return Tourist(seed)

    def count_games(self) -> Mapping[str, Mapping[str, int]]:
        """Count the variations by raw split and task."""
        return {
            split: {
                kind: len(split_variations(NUM_VARIATIONS[kind])[split]) for kind in self._kinds
            }
            for split in ("train", "dev", "test")
        }

    def close(self) -> None:
        """End all simulators of the suite."""
        self._pool.close()
        self.planner.close()


def _check_kinds(kinds: Sequence[str] | None) -> tuple[str, ...]:
    """The tasks to play, in the package's order."""
    for kind in kinds or ():
        if kind not in KINDS:
            raise UserError(
                f"env.scienceworld.kinds names {kind!r}, which is no task of ScienceWorld"
                f"{nearest(kind, KINDS)}"
            )
    return tuple(kind for kind in KINDS if kinds is None or kind in kinds)
