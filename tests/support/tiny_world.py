"""A simulator small enough to be worked out by hand."""

from declutch.envs.scienceworld.simulator import Choice, Reply, SimulatorError
from declutch.records import TaskId

TASK = TaskId("scienceworld", "train", 0, "boil/3", "boil")
GOLD = (
    "open door to kitchen",
    "go to kitchen",
    "take pot in cupboard",
    "go to hall",
    "go to attic",
    "heat",
)
SHORT = ("teleport to kitchen", "take pot", "teleport to attic", "heat")
POT = 1


class TinyWorld:
    """Hall, kitchen and attic: take the pot in the kitchen and heat it in the attic; no eating.

    The stove is hot after `hot_after` actions, the first look included.
    """

    gold = GOLD
    hot_after = 0
    num_made = 0

    def __init__(self, launch):
        TinyWorld.num_made += 1
        self.is_alive = True

    def load(self, task, variation, with_gold=False):
        assert (task, variation) == ("boil", 3)
        self.place, self.has_pot, self.score, self.done, self.time = "hall", False, 0, False, 0

    def gold_path(self):
        if self.gold == ("fail",):
            raise SimulatorError("no path")
        return self.gold

    def choices(self):
        places = [Choice(f"teleport to {place}", ()) for place in ("attic", "hall", "kitchen")]
        near = ("attic", "kitchen") if self.place == "hall" else ("hall",)
        found = [*places, *(Choice(f"go to {place}", ()) for place in near)]
        found += [Choice(action, ()) for action in ("wait1", "look around", "eat")]
        if self.place == "kitchen" and not self.has_pot:
            found.append(Choice("take pot", (POT,)))
        if self._can_heat():
            found.append(Choice("heat", ()))
        return tuple(found)

    def names(self):
        return {POT: {"pot", "vessel"}}

    def step(self, action):
        assert not self.done
        self.time += 1
        verb, _, place = action.partition(" to ")
        near = ("attic", "kitchen") if self.place == "hall" else ("hall",)
        if verb == "teleport" or (verb == "go" and place in near):
            self.place = place
        elif action.startswith("take "):
            self.has_pot |= self.place == "kitchen"
        elif action == "heat" and self._can_heat():
            self.score, self.done = 100, True
        elif action == "eat":
            self.score, self.done = -100, True
        return Reply("", self.score, self.done)

    def close(self):
        self.is_alive = False

    def _can_heat(self):
        return self.has_pot and self.place == "attic" and self.time >= self.hot_after
