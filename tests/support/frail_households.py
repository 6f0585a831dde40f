"""Generated households in which every task of one type breaks down at its third step."""

import os
from pathlib import Path

from declutch.config.env import EnvConfig
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.envs.households.spec import make_households

BREAKS = "pick_heat_then_place_in_recep"


class FrailHouseholds:
    """An environment of the user's own; FRAIL_CACHE names the folder of its games."""

    name = "households"
    wording = HOUSEHOLD

    def __init__(self):
        cache = Path(os.environ["FRAIL_CACHE"])
        counts = {"train": 24, "valid_seen": 12, "valid_unseen": 12}
        self._suite = make_households(EnvConfig(cache_dir=cache, households=counts))
        self._env = self._suite.make_env()
        self.held_out_kinds = self._suite.held_out_kinds

    def tasks(self, split):
        return self._suite.tasks(split)

    def reset(self, task):
        self._left = 3 if task.kind == BREAKS else 0
        return self._env.reset(task)

    def step(self, action):
        self._left -= 1
        if self._left == 0:
            raise OSError("the pipe is broken")
        return self._env.step(action)

    def label_action(self, action):
        return self._env.label_action(action)

    def close(self):
        self._env.close()
