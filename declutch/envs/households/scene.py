"""Scenes of generated households: what is fixed in a room, whatever game is played in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Final, TypeVar

from declutch.envs.households import rooms as rooms

T = TypeVar("T")

# Receptacles whose id is that of the thing around them plus their own type, as ALFWorld names them.
_BASINS: Final = {"SinkBasin": "Sink", "BathtubBasin": "Bathtub"}


@dataclass(frozen=True)
class Receptacle:
    """A place for things in the scene of a generated household, reached from its location."""

    id: str
    kind: str
    location: str
    is_openable: bool


@dataclass(frozen=True)
class Item:
    """A thing in the scene of a generated household.

    Attributes:
        id: unique in the game; the part before "_bar_" names it.
        kind: object type.
        location: from where it can be reached.
        receptacles: what it lies in or on: none (beside it, or in another thing), one, or two.
        inside: id of the dish it lies in, or "".
        is_fixed: it cannot be carried.
    """

    id: str
    kind: str
    location: str
    receptacles: tuple[str, ...]
    inside: str = ""
    is_fixed: bool = False


@dataclass(frozen=True)
class Scene:
    """The scene of generated households: a furnished room before anything loose is put into it.

    Attributes:
        number: scene number as in the folder names of the games.
        room: "kitchen", "living", "bedroom" or "bathroom".
        receptacles: at least one that needs no opening.
        fixtures: things that cannot be carried.
        object_rows: object types that every game of this scene has.
        doubles: receptacle id to the receptacle in which its contents count as lying, too.
        start: where the agent starts, away from every receptacle.
    """

    number: int
    room: str
    receptacles: tuple[Receptacle, ...]
    fixtures: tuple[Item, ...]
    object_rows: tuple[rooms.ObjectRow, ...]
    doubles: tuple[tuple[str, str], ...]
    start: str

    @cached_property
    def by_kind(self) -> dict[str, tuple[Receptacle, ...]]:
        """The receptacles of each receptacle type."""
        kinds = dict.fromkeys(r.kind for r in self.receptacles)
        return {kind: tuple(r for r in self.receptacles if r.kind == kind) for kind in kinds}

    @cached_property
    def by_id(self) -> dict[str, Receptacle]:
        """The receptacle of each id."""
        return {r.id: r for r in self.receptacles}


def chance(rng: Random, percent: float) -> bool:
    """Draw whether a household's scene has something: true in `percent` of the cases."""
    return rng.random() * 100 < percent


def pick(rng: Random, options: Sequence[T]) -> T:
    """Draw an option for a household's scene, each equally likely, alike in all Python versions."""
    return options[int(rng.random() * len(options))]


def pick_weighted(rng: Random, options: Sequence[tuple[T, int]]) -> T:
    """Draw an option for a household's scene by weight; the weights must not all be 0."""
    mark = rng.random() * sum(weight for _, weight in options)
    for option, weight in options:
        mark -= weight
        if mark < 0:
            return option
    return options[-1][0]


def _signed(value: int) -> str:
    return f"_minus_{-value}" if value < 0 else str(value)


def _coordinate(rng: Random) -> str:
    hundredths = int(rng.random() * 800) - 400
    sign = "minus" if hundredths < 0 else "plus"
    return f"_{sign}_{abs(hundredths) // 100:02d}_dot_{abs(hundredths) % 100:02d}"


def draw_id(rng: Random, kind: str, taken: set[str]) -> str:
    """Draw a new id for a thing in a household's scene, of ALFWorld's form (type, coordinates)."""
    stem = _BASINS.get(kind, kind)
    tail = f"_bar_{kind}" if kind in _BASINS else ""
    while True:
        name = f"{stem}_bar_{_coordinate(rng)}_bar_{_coordinate(rng)}{tail}"
        if name not in taken:
            taken.add(name)
            return name


def _draw_location(rng: Random, taken: set[str]) -> str:
    while True:
        x, y = (int(rng.random() * 40) - 20 for _ in range(2))
        name = f"loc_bar_{_signed(x)}_bar_{_signed(y)}_bar_{int(rng.random() * 4)}_bar_60"
        if name not in taken:
            taken.add(name)
            return name


def _furnish(rng: Random, room: str, taken: set[str]) -> tuple[Receptacle, ...]:
    receptacles: list[Receptacle] = []
    shared = rooms.SHARED_SPOT[room]
    for row in rooms.receptacle_rows(room):
        for _ in range(pick(rng, row.counts)):
            neighbour, percent = shared.get(row.kind, ("", 0))
            spots = [r.location for r in receptacles if r.kind == neighbour]
            is_shared = chance(rng, percent) and bool(spots)
            location = spots[-1] if is_shared else _draw_location(rng, taken)
            is_openable = chance(rng, row.openable)
            name = draw_id(rng, row.kind, taken)
            receptacles.append(Receptacle(name, row.kind, location, is_openable))
    return tuple(receptacles)


def _standing_fixtures(
    rng: Random, room: str, receptacles: tuple[Receptacle, ...], taken: set[str]
) -> list[Item]:
    """Fixed things on receptacles; none where the room lacks the kind they stand on."""
    fixtures: list[Item] = []
    kinds = {r.kind for r in receptacles}
    for row in rooms.fixture_rows(room):
        pull = [(kind, weight) for kind, weight in row.pull if kind in kinds]
        if not pull or not chance(rng, row.presence):
            continue
        kind = pick_weighted(rng, pull)
        place = pick(rng, [r for r in receptacles if r.kind == kind])
        name = draw_id(rng, row.kind, taken)
        fixtures.append(Item(name, row.kind, place.location, (place.id,), is_fixed=True))
    return fixtures


def _beside_fixtures(
    rng: Random, room: str, receptacles: tuple[Receptacle, ...], taken: set[str]
) -> list[Item]:
    """Fixed things on the floor next to a receptacle."""
    fixtures: list[Item] = []
    for row in rooms.beside_rows(room):
        places = [r for r in receptacles if r.kind == row.receptacle]
        if not places or not chance(rng, row.presence):
            continue
        place = pick(rng, places)
        for _ in range(row.count):
            name = draw_id(rng, row.kind, taken)
            fixtures.append(Item(name, row.kind, place.location, (), is_fixed=True))
    return fixtures


def _doubles(rng: Random, receptacles: tuple[Receptacle, ...]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for receptacle in receptacles:
        other, percent = rooms.DOUBLES.get(receptacle.kind, ("", 0))
        others = [r.id for r in receptacles if r.kind == other and r.id != receptacle.id]
        if others and chance(rng, percent):
            pairs.append((receptacle.id, pick(rng, others)))
    return pairs


def room_of(number: int) -> str:
    """Which kind of room a scene of the households is, by the scene's number."""
    return max((first, room) for room, first in rooms.FIRST_SCENE.items() if first <= number)[1]


def build_scene(seed: int, number: int) -> Scene:
    """Build the scene of generated households of this number under this seed; always the same."""
    rng = Random(f"{seed}/scene/{number}")
    room = room_of(number)
    taken: set[str] = set()
    receptacles = _furnish(rng, room, taken)
    fixtures = _standing_fixtures(rng, room, receptacles, taken)
    fixtures += _beside_fixtures(rng, room, receptacles, taken)
    return Scene(
        number=number,
        room=room,
        receptacles=receptacles,
        fixtures=tuple(fixtures),
        object_rows=tuple(r for r in rooms.object_rows(room) if chance(rng, r.presence)),
        doubles=tuple(_doubles(rng, receptacles)),
        start=_draw_location(rng, taken),
    )


__all__ = [
    "Item",
    "Receptacle",
    "Scene",
    "build_scene",
    "chance",
    "draw_id",
    "pick",
    "pick_weighted",
    "room_of",
]
