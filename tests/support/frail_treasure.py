"""The example environment with a fault: the second step raises wherever the thing is a gem."""

from examples.treasure import Treasure


class Frail(Treasure):
    name = "frail"

    def reset(self, task):
        self.steps = 0
        return super().reset(task)

    def step(self, action):
        self.steps += 1
        if self.thing == "gem" and self.steps == 2:
            raise OSError("the pipe is broken")
        return super().step(action)
