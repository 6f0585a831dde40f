"""A generated household as text: the PDDL problem, and the commands that win it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from declutch.envs.households import tasks as tasks
from declutch.envs.households.game import Household
from declutch.envs.households.scene import Item, Receptacle
from declutch.envs.households.wishes import Wish

# Types the domain itself speaks of: a problem that lacks one could not be grounded.
_NEEDED_OTYPES: Final = frozenset(("Sink", "Knife", "ButterKnife"))
_NEEDED_RTYPES: Final = frozenset(("SinkBasin", "Microwave", "Fridge"))


def display_names(ids: Iterable[str]) -> dict[str, str]:
    """From a household's PDDL, what the player calls each thing: its type and number.

    Within a type the ids are numbered in descending order; a basin is named after what it is in.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in ids:
        lower = name.lower()
        stem = lower.split("_bar_", 1)[0]
        groups[stem + "basin" if "basin" in lower else stem].append(name)
    return {
        name: f"{stem} {number}"
        for stem, members in groups.items()
        for number, name in enumerate(sorted(members, key=str.lower, reverse=True), start=1)
    }


def _typed(names: Iterable[str], kind: str) -> str:
    return f"{' '.join(names)} - {kind}"


def _declarations(house: Household) -> list[str]:
    receptacles, items = house.scene.receptacles, house.items
    locations = [house.scene.start, *(r.location for r in receptacles)]
    otypes = sorted({item.kind for item in items} | _NEEDED_OTYPES)
    rtypes = sorted({r.kind for r in receptacles} | _NEEDED_RTYPES)
    return [
        "agent1 - agent",
        _typed((f"{kind}Type" for kind in otypes), "otype"),
        _typed((f"{kind}Type" for kind in rtypes), "rtype"),
        _typed((item.id for item in items), "object"),
        _typed((r.id for r in receptacles), "receptacle"),
        _typed(dict.fromkeys(locations), "location"),
    ]


def _receptacle_facts(house: Household) -> list[str]:
    facts: list[str] = []
    otypes = {item.kind for item in house.items}
    for r in house.scene.receptacles:
        facts.append(f"(receptacleType {r.id} {r.kind}Type)")
        facts.append(f"(receptacleAtLocation {r.id} {r.location})")
        if r.is_openable:
            facts.append(f"(openable {r.id})")
    for kind in sorted(house.scene.by_kind):
        inner = sorted(tasks.can_contain().get(kind, frozenset()) & otypes)
        facts += [f"(canContain {kind}Type {otype}Type)" for otype in inner]
    return facts


def _item_facts(item: Item, *, is_cold: bool) -> list[str]:
    facts = [f"(objectType {item.id} {item.kind}Type)"]
    if not item.is_fixed:
        facts.append(f"(pickupable {item.id})")
    facts += [f"({p} {item.id})" for p, kinds in tasks.properties().items() if item.kind in kinds]
    if is_cold:
        facts.append(f"(isCool {item.id})")
    facts += [f"(inReceptacle {item.id} {receptacle})" for receptacle in item.receptacles]
    if item.inside:
        facts.append(f"(inReceptacleObject {item.id} {item.inside})")
    facts.append(f"(objectAtLocation {item.id} {item.location})")
    return facts


def _place_goal(wish: Wish) -> str:
    """A thing (with the asked property) in a receptacle of the goal's type."""
    before = after = ""
    if wish.kind in tasks.PROCESSES:
        _, _, able, done = tasks.PROCESSES[wish.kind]
        before, after = f"({able} ?o) ", f"({done} ?o) "
    return (
        "(exists (?r - receptacle) (exists (?o - object) (and "
        f"{before}(objectType ?o {wish.object_kind}Type) (receptacleType ?r {wish.goal_kind}Type) "
        f"{after}(inReceptacle ?o ?r))))"
    )


def _two_goal(wish: Wish) -> str:
    def facts(name: str) -> str:
        return (
            f"(objectType {name} {wish.object_kind}Type) "
            f"(receptacleType ?r {wish.goal_kind}Type) (inReceptacle {name} ?r)"
        )

    return (
        f"(exists (?r - receptacle) (exists (?o1 - object) (and {facts('?o1')} "
        f"(exists (?o2 - object) (and (not (= ?o1 ?o2)) {facts('?o2')})))))"
    )


def _look_goal(wish: Wish) -> str:
    return (
        "(exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and "
        f"(objectType ?ot {wish.goal_kind}Type) (toggleable ?ot) (isToggled ?ot) "
        "(receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))\n"
        "(exists (?o - object ?a - agent) (and "
        f"(objectType ?o {wish.object_kind}Type) (holds ?a ?o)))"
    )


def _goal(wish: Wish) -> str:
    if wish.kind == tasks.LOOK:
        return _look_goal(wish)
    return _two_goal(wish) if wish.kind == tasks.TWO else _place_goal(wish)


def render_problem(house: Household, trial: str) -> str:
    """Write a generated household as a PDDL problem, named after the trial."""
    facts = [f"(atLocation agent1 {house.scene.start})", *_receptacle_facts(house)]
    for item in house.items:
        facts += _item_facts(item, is_cold=item.id in house.cold)
    lines = [
        f"(define (problem plan_{trial})",
        "(:domain alfred)",
        "(:objects",
        *_declarations(house),
        ")",
        "(:init",
        *facts,
        ")",
        f"(:goal (and {_goal(house.wish)}))",
        ")",
    ]
    return "\n".join(lines) + "\n"


class _Walker:
    """Writes down commands, leaving out the walks and openings that are not needed."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._location = ""
        self._open: set[str] = set()
        self.commands: list[str] = []

    def go(self, place: Receptacle) -> None:
        if place.location != self._location:
            self._location = place.location
            self.commands.append(f"go to {self._names[place.id]}")

    def reach_into(self, place: Receptacle) -> None:
        self.go(place)
        if place.is_openable and place.id not in self._open:
            self._open.add(place.id)
            self.commands.append(f"open {self._names[place.id]}")

    def take(self, item: Item, place: Receptacle) -> None:
        self.reach_into(place)
        self.commands.append(f"take {self._names[item.id]} from {self._names[place.id]}")

    def move(self, item: Item, place: Receptacle) -> None:
        self.reach_into(place)
        self.commands.append(f"move {self._names[item.id]} to {self._names[place.id]}")

    def process(self, verb: str, item: Item, place: Receptacle) -> None:
        self.go(place)
        self.commands.append(f"{verb} {self._names[item.id]} with {self._names[place.id]}")

    def use(self, lamp: Item, place: Receptacle) -> None:
        self.go(place)
        self.commands.append(f"use {self._names[lamp.id]}")


def _easiest(places: Sequence[Receptacle], near: str = "") -> Receptacle:
    return min(places, key=lambda place: (place.is_openable, place.location != near))


def walkthrough(house: Household) -> tuple[str, ...]:
    """Read off a household's PDDL the commands that win its game.

    None of the commands is superfluous.
    """
    scene, wish = house.scene, house.wish
    walker = _Walker(display_names([*scene.by_id, *(item.id for item in house.items)]))
    lamps = [i for i in house.items if i.kind == wish.goal_kind and i.is_fixed and i.receptacles]
    near = lamps[0].location if wish.kind == tasks.LOOK else ""
    targets = sorted(
        (
            (item, scene.by_id[item.receptacles[0]])
            for item in house.items
            if item.kind == wish.object_kind and item.receptacles and not item.is_fixed
        ),
        key=lambda pair: (pair[1].is_openable, pair[1].location != near),
    )
    if wish.kind == tasks.LOOK:
        walker.take(*targets[0])
        walker.use(lamps[0], scene.by_id[lamps[0].receptacles[0]])
        return tuple(walker.commands)
    goals = scene.by_kind[wish.goal_kind]
    goal = _easiest(goals)
    for item, place in targets[: 2 if wish.kind == tasks.TWO else 1]:
        walker.take(item, place)
        if wish.kind in tasks.PROCESSES:
            verb, tool_kind, _, _ = tasks.PROCESSES[wish.kind]
            tool = _easiest(scene.by_kind[tool_kind], near=place.location)
            walker.process(verb, item, tool)
            goal = _easiest(goals, near=tool.location)
        walker.move(item, goal)
    return tuple(walker.commands)


__all__ = ["display_names", "render_problem", "walkthrough"]
