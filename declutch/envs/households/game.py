"""One game of a generated household: a task, things put in their places, and a way to win."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from declutch.envs.households import rooms as rooms
from declutch.envs.households import tasks as tasks
from declutch.envs.households.scene import (
    Item,
    Receptacle,
    Scene,
    chance,
    draw_id,
    pick,
    pick_weighted,
)
from declutch.envs.households.wishes import Wish, pull_of

# The share of games in which all wanted things may be behind closed doors, as they rarely are in
# the official games.
_SHUT_AWAY: Final = {
    tasks.SIMPLE: 20,
    tasks.LOOK: 0,
    tasks.CLEAN: 60,
    tasks.HEAT: 45,
    tasks.COOL: 30,
    tasks.TWO: 4,
}
_INNER_PERCENT: Final = 2
_COLD_PERCENT: Final = 8


@dataclass(frozen=True)
class Household:
    """The complete game of a generated household.

    Attributes:
        scene: the room.
        wish: what is asked for.
        items: everything in the room, fixed things first.
        cold: ids of the things that are cool at the start.
        sentence: the task in words, without "Your task is to: " and the full stop.
    """

    scene: Scene
    wish: Wish
    items: tuple[Item, ...]
    cold: frozenset[str]
    sentence: str


def _how_many(rng: Random, shares: tuple[int, ...]) -> int:
    return pick_weighted(rng, list(enumerate(shares, start=1)))


def _free(places: Iterable[Receptacle], load: dict[str, int]) -> list[Receptacle]:
    return [p for p in places if load.get(p.id, 0) < rooms.CAPACITY.get(p.kind, 99)]


def _draw_place(
    rng: Random, scene: Scene, pull: list[tuple[str, int]], load: dict[str, int], *, is_open: bool
) -> Receptacle | None:
    """A receptacle with room left, among those that need no opening if `is_open`."""
    options = {
        kind: [p for p in _free(scene.by_kind[kind], load) if not (is_open and p.is_openable)]
        for kind, _ in pull
    }
    left = [(kind, weight) for kind, weight in pull if options[kind]]
    if not left:
        return None
    place = pick(rng, options[pick_weighted(rng, left)])
    load[place.id] = load.get(place.id, 0) + 1
    return place


def _place_targets(
    rng: Random, scene: Scene, row: rooms.ObjectRow, wish: Wish, load: dict[str, int]
) -> list[Receptacle]:
    """Places of the wanted things: mostly, as many as are needed can be seen without opening."""
    pull = pull_of(scene, row, wish)
    num_needed = 2 if wish.kind == tasks.TWO else 1
    num_open = 0 if chance(rng, _SHUT_AWAY[wish.kind]) else num_needed
    places: list[Receptacle] = []
    for i in range(_how_many(rng, tasks.TARGET_COUNTS[wish.kind])):
        place = _draw_place(rng, scene, pull, load, is_open=True) if i < num_open else None
        place = place or _draw_place(rng, scene, pull, load, is_open=False)
        # Where every place is taken, the wanted thing goes into a full one: the game allows it.
        places.append(place or pick(rng, scene.by_kind[pull[0][0]]))
    return places


def _strew(
    rng: Random, scene: Scene, row: rooms.ObjectRow, wish: Wish, load: dict[str, int], ids: set[str]
) -> list[Item]:
    """Things nobody asked for; what finds no place is left out."""
    items: list[Item] = []
    doubles = dict(scene.doubles)
    for _ in range(_how_many(rng, row.counts)):
        place = _draw_place(rng, scene, list(pull_of(scene, row, wish)), load, is_open=False)
        if place is None:
            continue
        twin = doubles.get(place.id)
        receptacles: tuple[str, ...] = (place.id,) if twin is None else (place.id, twin)
        if chance(rng, rooms.STRAY_SHARE.get(place.kind, 0)):
            receptacles = ()
        items.append(Item(draw_id(rng, row.kind, ids), row.kind, place.location, receptacles))
    return items


def _nest(rng: Random, items: list[Item]) -> list[Item]:
    """Lay a piece of cutlery into a dish now and then."""
    dishes = [item for item in items if item.kind in tasks.OUTER_KINDS and item.receptacles]
    nested: list[Item] = []
    for item in items:
        if dishes and item.kind in tasks.INNER_KINDS and chance(rng, _INNER_PERCENT):
            dish = pick(rng, dishes)
            item = replace(item, location=dish.location, receptacles=(), inside=dish.id)
        nested.append(item)
    return nested


def _cold(rng: Random, scene: Scene, items: list[Item], wish: Wish) -> frozenset[str]:
    """Some of what lies in the fridge is cool at once, unless that is what the game asks for."""
    if wish.kind == tasks.COOL:
        return frozenset()
    fridges = {r.id for r in scene.by_kind.get("Fridge", ())}
    coolable = tasks.properties()["coolable"]
    return frozenset(
        item.id
        for item in items
        if item.kind in coolable and fridges & set(item.receptacles) and chance(rng, _COLD_PERCENT)
    )


def make_household(scene: Scene, wish: Wish, rng: Random) -> Household:
    """Make one generated game: a household in which `wish` is open, but possible."""
    load: dict[str, int] = {}
    for fixture in scene.fixtures:
        for receptacle in fixture.receptacles:
            load[receptacle] = load.get(receptacle, 0) + 1
    ids = {item.id for item in scene.fixtures} | set(scene.by_id)
    wanted = next(row for row in scene.object_rows if row.kind == wish.object_kind)
    targets = [
        Item(draw_id(rng, wanted.kind, ids), wanted.kind, place.location, (place.id,))
        for place in _place_targets(rng, scene, wanted, wish, load)
    ]
    others: list[Item] = []
    for row in scene.object_rows:
        if row is not wanted:
            others += _strew(rng, scene, row, wish, load, ids)
    items = [*targets, *_nest(rng, others)]
    sentence = pick(rng, tasks.SENTENCES[wish.kind]).format(
        obj=wish.object_kind.lower(), recep=wish.goal_kind.lower()
    )
    return Household(
        scene=scene,
        wish=wish,
        items=(*scene.fixtures, *items),
        cold=_cold(rng, scene, items, wish),
        sentence=sentence,
    )
