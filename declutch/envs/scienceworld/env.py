"""One live ScienceWorld episode behind the `TextEnv` protocol."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from types import MappingProxyType
from typing import Literal

from declutch.envs.protocol import Observation, Transition
from declutch.envs.scienceworld.expert import Planner
from declutch.envs.scienceworld.gold import FULL_SCORE
from declutch.envs.scienceworld.pool import SimulatorPool
from declutch.envs.scienceworld.simulator import Reply, Simulator
from declutch.envs.scienceworld.tasks import variation_of
from declutch.records import TaskId

Actions = Literal["enumerated", "templates"]
_SLOT = "OBJ"
_WORDINGS = MappingProxyType(
    {
        "go OBJ": "go to OBJ",
        "pour OBJ in OBJ": "pour OBJ into OBJ",
        "dunk OBJ in OBJ": "dunk OBJ into OBJ",
    }
)
# The rooms, which can be teleported to though they are not among the objects within reach.
PLACES = (
    "art studio",
    "bathroom",
    "bedroom",
    "foundry",
    "greenhouse",
    "hallway",
    "kitchen",
    "living room",
    "outside",
    "workshop",
)
_CARRIED = re.compile(r"^\t(?:(?:an?|the) )?(?:substance called )?([^(,\n]*[^(,\s])", re.MULTILINE)


class ScienceWorldEnv:
    """The ScienceWorld environment: a live episode, as in the package; a finished one stays so.

    It stays, since playing on could raise the score. The simulator comes from a pool and goes back
    when the environment is closed. An `Oracle` too: `label_action` judges an action by whether a
    plan gets shorter.
    """

    def __init__(
        self, pool: SimulatorPool, planner: Planner, actions: Actions, success_score: int
    ) -> None:
        """
        Args:
            pool: where simulators come from.
            planner: knows solutions, and is asked for nothing else.
            actions: what `Observation.admissible` holds: every valid action, or `ActionForms`.
            success_score: score in percent from which a finished task counts as won.
        """
        self._pool, self._planner = pool, planner
        self._actions = actions
        self._success_score = success_score
        self._simulator: Simulator | None = None
        self._last: Transition | None = None
        self._task: TaskId | None = None
        self._played: list[str] = []

    @property
    def walkthrough(self) -> tuple[str, ...]:
        """A solution of the task, () where none is known. See `Planner.gold`."""
        if self._task is None:
            raise RuntimeError("reset the environment before asking for its solution")
        return self._planner.gold(self._task).actions

    def reset(self, task: TaskId) -> Observation:
        """Start `task`; the observation is the surroundings, then the task.

        Raises:
            SimulatorError: the simulator failed; the next `reset` starts with another.
            UserError: no simulator can be had.
        """
        if self._simulator is not None and not self._simulator.is_alive:
            self.close()
        if self._simulator is None:
            self._simulator = self._pool.acquire()
        simulator, self._last = self._simulator, None
        simulator.load(task.kind, variation_of(task))
        reply = simulator.step("look around")
        text = f"{reply.text}\n\n{simulator.task_description()}"
        first = self._observe(simulator, text)
        self._last = Transition(first, 0.0, False, False, _share(reply))
        self._task, self._played = task, []
        return first

    def step(self, action: str) -> Transition:
        """Play `action`. Raises SimulatorError when the simulator fails in the middle of it."""
        if self._simulator is None or self._last is None:
            raise RuntimeError("reset the environment before stepping it")
        if self._last.is_done:
            last = self._last
            return Transition(last.observation, 0.0, last.is_won, True, last.score)
        reply = self._simulator.step(action)
        self._played.append(action)
        won = reply.is_done and reply.score >= self._success_score
        observation = self._observe(self._simulator, reply.text)
        self._last = Transition(observation, float(won), won, reply.is_done, _share(reply))
        return self._last

    def label_action(self, action: str) -> int | None:
        """1 good, 0 bad, None undecided; to be asked before `step(action)`.

        What is not admissible is bad; for the rest see `Planner.label_action`, which replays the
        episode unless the action is the plan's or only looks.

        Raises:
            SimulatorError: the planner's simulator failed.
        """
        if self._task is None or self._last is None:
            raise RuntimeError("reset the environment before asking for labels")
        if self._last.is_done:
            return None
        if action not in self._last.observation.admissible:
            return 0
        return self._planner.label_action(self._task, self._played, action)

    def close(self) -> None:
        """Give the simulator back; the environment can be reset again."""
        if self._simulator is not None:
            self._pool.release(self._simulator)
            self._simulator = self._last = None
            self._task, self._played = None, []

    def _observe(self, simulator: Simulator, text: str) -> Observation:
        inventory = simulator.inventory()
        carried = name_carried(inventory)
        if self._actions == "enumerated":
            return Observation(text, simulator.valid_actions(), carried)
        # The simulator's list of objects leaves out what is carried.
        objects = sorted({*simulator.objects(), *_objects_carried(inventory)})
        forms = (form for each in simulator.templates() for form in _worded(each))
        return Observation(text, ActionForms(forms, objects), carried)


class ActionForms(tuple[str, ...]):
    """What the ScienceWorld environment lists as actions: their forms with OBJ, then the objects.

    `action in forms` asks whether the action is one of the forms with listed objects in its slots.
    Every action that does something is, and so are many that do nothing.
    """

    _forms: tuple[str, ...]
    _objects: tuple[str, ...]

    def __new__(cls, forms: Iterable[str], objects: Iterable[str]) -> ActionForms:
        forms, objects = tuple(forms), tuple(objects)
        new = super().__new__(cls, (*forms, f"where {_SLOT} is one of: {'; '.join(objects)}"))
        new._forms, new._objects = forms, objects
        return new

    def __contains__(self, action: object) -> bool:
        return isinstance(action, str) and any(
            _fills(form, action, self._objects) for form in self._forms
        )

    def draw(self, rng: random.Random) -> str:
        """Draw one of the forms with random objects in its slots; most of these do nothing."""
        head, *tails = rng.choice(self._forms).split(_SLOT)
        return head + "".join(rng.choice(self._objects) + tail for tail in tails)


def _worded(template: str) -> tuple[str, ...]:
    """A form in the words of the actions that the simulator lists as valid."""
    if template == f"teleport {_SLOT}":
        return tuple(f"teleport to {place}" for place in PLACES)
    return (_WORDINGS.get(template, template),)


def name_carried(inventory: str) -> str:
    """Name on one line what is carried in a ScienceWorld environment, "" when nothing."""
    lines = (line.strip() for line in inventory.splitlines()[1:])
    return ", ".join(line for line in lines if line)


def _objects_carried(inventory: str) -> list[str]:
    """Names of what is carried, without article, content and state."""
    return _CARRIED.findall(inventory)


def _share(reply: Reply) -> float:
    """The score in [0, 1]; a mistake that ends the task leaves nothing."""
    return max(reply.score, 0) / FULL_SCORE


def _fills(form: str, action: str, objects: tuple[str, ...]) -> bool:
    """Whether `action` is `form` with one of the objects in each slot."""
    head, slot, tail = form.partition(_SLOT)
    if not slot:
        return action == form
    rest = action.removeprefix(head)
    return action.startswith(head) and any(
        rest.startswith(name) and _fills(tail, rest[len(name) :], objects) for name in objects
    )
