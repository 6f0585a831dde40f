"""An expert that sees only what the agent sees and can be asked at any state what it would do.

It searches plausible places, opens, takes, processes and places; `decide` is a pure function of
the belief, so that perturbed or foreign actions are recovered from by construction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from declutch.envs.alfworld.memory import (
    PROPERTY_OF,
    Belief,
    initial_belief,
    places_of,
    type_of,
    update_belief,
)
from declutch.envs.alfworld.priors import OPENABLE_TYPES, PROCESS_PLACES, chance
from declutch.envs.alfworld.thoughts import Intent, long_thought, short_thought
from declutch.envs.protocol import Observation
from declutch.records import TaskId


@dataclass(frozen=True)
class ExpertAction:
    """The action that the ALFWorld expert would play now, with its reasoning.

    Attributes:
        action: an admissible command.
        thought: one or two sentences of reasoning.
        short_thought: two or three lower-case words of a tiny vocabulary, e.g. "find mug".
    """

    action: str
    thought: str
    short_thought: str


class Expert:
    """The ALFWorld expert, who plays from the texts alone; `seed` only varies its wording."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._belief: Belief | None = None

    @property
    def belief(self) -> Belief:
        """What the expert knows of the household now.

        Raises:
            RuntimeError: asked before the first `reset`.
        """
        if self._belief is None:
            raise RuntimeError("Expert.reset(task, observation) must come first")
        return self._belief

    def reset(self, task: TaskId, observation: Observation) -> None:
        """Start from the first observation of a game, which alone says what the task is.

        Raises:
            UserError: the observation states no known task.
        """
        self._belief = initial_belief(observation)

    def act(self) -> ExpertAction:
        """What to do now; asking changes nothing."""
        belief = self.belief
        intent = decide(belief)
        return ExpertAction(
            intent.action,
            long_thought(intent, self._seed + belief.num_steps),
            short_thought(intent),
        )

    def update(self, action: str, observation: Observation) -> None:
        """Learn from an action's answer, whoever chose the action."""
        self._belief = update_belief(self.belief, action, observation)


def decide(belief: Belief) -> Intent:
    """Decide what the ALFWorld expert does, from its belief: an admissible command if any."""
    goal = belief.goal
    if belief.held and type_of(belief.held) == goal.object_type:
        intent = _light(belief) if goal.lamp_type else _process_or_deliver(belief)
    else:
        intent = _obtain(belief)
    return intent or _wander(belief)


def _light(belief: Belief) -> Intent | None:
    """Bring the held object to the lamp and turn the lamp on."""
    lamp_type = belief.goal.lamp_type
    lamps = [lamp for lamp in belief.lamps if type_of(lamp) == lamp_type]
    usable = [lamp for lamp in lamps if f"use {lamp}" in belief.admissible]
    if usable:
        lamp = min(usable, key=_number)
        return Intent("use", f"use {lamp}", lamp_type, lamp)
    if lamps:
        lamp = min(lamps, key=lambda name: (name not in belief.lit, _number(name)))
        return _approach(belief, belief.lamps[lamp], "use", lamp_type)
    return _search(belief, lamp_type)


def _process_or_deliver(belief: Belief) -> Intent | None:
    process = belief.goal.process
    held = belief.held
    if process and (held, PROPERTY_OF[process]) not in belief.properties:
        places = [r for r in belief.receptacles if type_of(r) in PROCESS_PLACES[process]]
        ready = [r for r in places if f"{process} {held} with {r}" in belief.admissible]
        if ready:
            command = f"{process} {held} with {ready[0]}"
            return Intent(process, command, type_of(held), ready[0])
        place = _nearest(belief, places)
        return None if place is None else _approach(belief, place, process, type_of(held))
    target = _target(belief)
    if target is None:
        return None
    command = f"move {held} to {target}"
    if command in belief.admissible:
        return Intent("put", command, type_of(held), target)
    return _approach(belief, target, "put", type_of(held))


def _obtain(belief: Belief) -> Intent | None:
    """Get hold of an object the goal still needs: known ones first, else search."""
    if belief.held:
        places = [r for r in belief.here if f"move {belief.held} to {r}" in belief.admissible]
        if places:
            place = min(places, key=_number)
            command = f"move {belief.held} to {place}"
            return Intent("drop", command, type_of(belief.held), place)
    wanted = _wanted(belief)
    if not wanted:
        return _search(belief, belief.goal.object_type)
    thing, place = min(wanted, key=lambda pair: (_fetch_cost(belief, *pair), _number(pair[0])))
    command = f"take {thing} from {place}"
    if command in belief.admissible:
        return Intent("take", command, type_of(thing), place)
    is_refused = (type_of(belief.held), type_of(place)) in belief.refusals
    if is_refused and (intent := _drop_elsewhere(belief)):
        return intent
    return _approach(belief, place, "take", type_of(thing))


def _drop_elsewhere(belief: Belief) -> Intent | None:
    """Free the hand where nothing open here accepts what it holds: go to a likelier place."""
    kind = type_of(belief.held)
    places = [
        r
        for r in belief.receptacles
        if (kind, type_of(r)) not in belief.refusals
        and (r not in belief.here or r in belief.closed)
    ]
    if not places:
        return None
    place = max(
        places,
        key=lambda r: (
            r == belief.origin,
            chance(kind, type_of(r)) / max(1, _reach_cost(belief, r)),
        ),
    )
    return _approach(belief, place, "drop", kind)


def _wanted(belief: Belief) -> list[tuple[str, str]]:
    """Known objects of the goal's type that are not already where they should stay, with places."""
    goal = belief.goal
    target = _target(belief) if goal.count > 1 else None
    return [
        (thing, place)
        for thing, places in places_of(belief, goal.object_type).items()
        for place in places
        if target not in places and thing not in belief.fixed
    ]


def _fetch_cost(belief: Belief, thing: str, place: str) -> int:
    process = belief.goal.process
    is_raw = bool(process) and (thing, PROPERTY_OF[process]) not in belief.properties
    return _reach_cost(belief, place) + (2 if is_raw else 0)


def _target(belief: Belief) -> str | None:
    """Where to put things: where most of them are already, then where it takes fewest steps."""
    goal = belief.goal
    places = [r for r in belief.receptacles if type_of(r) == goal.receptacle_type]
    if not places:
        return None
    placed = dict.fromkeys(places, 0)
    if goal.count > 1:
        for seen_in in places_of(belief, goal.object_type).values():
            for place in seen_in:
                placed[place] = placed.get(place, 0) + 1
    return min(places, key=lambda r: (-placed[r], _reach_cost(belief, r), _number(r)))


def _search(belief: Belief, kind: str) -> Intent | None:
    """The unsearched receptacle with the best chance per step."""
    unsearched = [r for r in belief.receptacles if r not in belief.contents]
    goal = belief.goal
    if kind == goal.object_type and goal.count == 1 and not goal.process:
        # Were one already there, the game would have been won from the start.
        unsearched = [r for r in unsearched if type_of(r) != goal.receptacle_type] or unsearched
    if not unsearched:
        return None
    place = min(
        unsearched,
        key=lambda r: (-chance(kind, type_of(r)) / _search_cost(belief, r), type_of(r), _number(r)),
    )
    return _approach(belief, place, "find", kind)


def _approach(belief: Belief, place: str, phase: str, kind: str) -> Intent | None:
    """Go to a receptacle, or open or look at it where the agent stands there already."""
    for command in (f"go to {place}", f"open {place}", f"examine {place}"):
        if command in belief.admissible:
            return Intent(phase, command, kind, place)
    return None


def _reach_cost(belief: Belief, place: str) -> int:
    """Steps until the receptacle is reached and open, as far as known."""
    walk = 0 if place in belief.here else 1
    presumed_closed = type_of(place) in OPENABLE_TYPES and place not in belief.contents
    is_closed = place in belief.closed or (presumed_closed and place not in belief.opened)
    return walk + (1 if is_closed else 0)


def _search_cost(belief: Belief, place: str) -> int:
    return max(1, _reach_cost(belief, place))


def _nearest(belief: Belief, places: Iterable[str]) -> str | None:
    return min(places, key=lambda r: (r not in belief.here, _number(r)), default=None)


def _wander(belief: Belief) -> Intent:
    """Everything known is searched, or nothing is left to try: visit the places in turn."""
    moves = sorted(command for command in belief.admissible if command.startswith("go to "))
    commands = moves or sorted(belief.admissible) or ["look"]
    command = commands[belief.num_steps % len(commands)]
    return Intent("find", command, belief.goal.object_type, command.removeprefix("go to "))


def _number(name: str) -> tuple[int, str]:
    digits = name.rsplit(" ", 1)[-1]
    return (int(digits) if digits.isdigit() else 0, name)
