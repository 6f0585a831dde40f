"""An example of an environment of your own: find a thing on an island and bring it to the boat.

    declutch envs check examples.treasure:Treasure
    declutch eval expert env.suite=examples.treasure:Treasure

docs/guides/add-environment.md explains what each member is for.
"""

import random

from declutch.envs.protocol import Observation, Transition
from declutch.envs.wanderer import Whim
from declutch.records import TaskId

HIDING_PLACES = (
    *("cave", "hut", "tree", "well", "rock", "pool"),
    *("hill", "nest", "dune", "wreck", "spring", "cliff"),
)
SEEN = ("coin", "gem")
KINDS = {"train": SEEN, "L0": SEEN, "L1": SEEN, "L2": ("crown",)}


class Treasure:
    """A castaway looks for a thing in four places, takes it to the boat and loads it."""

    name = "treasure"
    held_out_kinds = ("crown",)

    def tasks(self, split):
        kinds = [kind for kind in KINDS.get(split, ()) for _ in range(30)]
        return tuple(
            TaskId("treasure", split, index, f"{split} {kind} {index}", kind)
            for index, kind in enumerate(kinds)
        )

    def reset(self, task):
        draw = random.Random(task.name)
        hiding_places = draw.sample(HIDING_PLACES, 4)
        self.places = ("beach", "boat", *hiding_places)
        self.thing, self.place = task.kind, draw.choice(hiding_places)
        self.here, self.held, self.is_won = "beach", False, False
        return self.observe(f"You wash up on a beach. Your task is to: ship the {self.thing}.")

    def step(self, action):
        text = "Nothing happens."
        if action in self.commands():
            verb, *_, noun = action.split()
            self.here = noun if verb == "go" else self.here
            self.held = verb == "take" or (self.held and verb == "go")
            self.is_won = verb == "load"
            is_here = self.here == self.place and not self.held
            text = f"You {action}. You see {self.thing if is_here else 'nothing'}."
        won = float(self.is_won)
        return Transition(self.observe(text), won, self.is_won, self.is_won, won)

    def commands(self):
        moves = tuple(f"go to {place}" for place in self.places if place != self.here)
        if self.held:
            return (*moves, f"load {self.thing}") if self.here == "boat" else moves
        return (*moves, f"take {self.thing}") if self.here == self.place else moves

    def observe(self, text):
        return Observation(text, self.commands(), self.thing if self.held else "")

    def close(self):
        pass

    def make_expert(self, seed):
        return Searcher()


class Searcher:
    """An expert who sees what the agent sees: it uses what it can and else looks in all places."""

    def reset(self, task, observation):
        self.seen, self.observation = {"beach", "boat"}, observation
        self.places = [each.removeprefix("go to ") for each in observation.admissible]

    def act(self):
        for command in self.observation.admissible:
            if not command.startswith("go to "):
                return Whim(command, "I can use this now.", command)
        unseen = [place for place in self.places if place not in self.seen]
        place = "boat" if self.observation.inventory else unseen[0]
        return Whim(f"go to {place}", f"Next I try the {place}.", f"find {place}")

    def update(self, action, observation):
        self.seen.add(action.removeprefix("go to "))
        if self.seen.issuperset(self.places):
            self.seen = {"beach", "boat", action.removeprefix("go to ")}
        self.observation = observation
