"""Random households small enough to enumerate, and their exact distances by search."""

from __future__ import annotations

import random
from collections import deque

from declutch.envs.alfworld.dynamics import (
    NOWHERE,
    admissible_commands,
    apply_command,
    is_won,
    parse_command,
)
from declutch.envs.alfworld.world import Goal, State, Wanted, World

KINDS = ("place", "clean", "heat", "cool", "two", "look")
_QUALITY = {"clean": "clean", "heat": "hot", "cool": "cool"}


def make_small_world(seed: int, kind: str) -> World:
    """A random household of 3 or 4 receptacles, some sharing a place, and 3 objects."""
    draw = random.Random(f"{seed} {kind}")
    num_places, num_objects = draw.choice((3, 4)), 3
    types = ["mug", "mug", "lamp" if kind == "look" else "pen"]
    locations = [draw.randrange(num_places) for _ in range(num_places)]
    contents = [0] * num_places
    for thing in range(num_objects):
        for place in draw.sample(range(num_places), draw.choice((1, 1, 1, 1, 2))):
            contents[place] |= 1 << thing
    mugs, everything = 0b11, (1 << num_objects) - 1
    names = tuple(f"box {number}" for number in range(num_places))
    lamp = types.index("lamp") if kind == "look" else NOWHERE
    return World(
        task="Your task is to: test.",
        walkthrough=(),
        object_names=tuple(f"{each} {number}" for number, each in enumerate(types)),
        receptacle_names=names,
        object_types=tuple(types),
        receptacle_types=("box",) * num_places,
        object_numbers={f"{each} {number}": number for number, each in enumerate(types)},
        receptacle_numbers={name: number for number, name in enumerate(names)},
        receptacle_locations=tuple(locations),
        receptacles_at=tuple(
            tuple(r for r, at in enumerate(locations) if at == place)
            for place in range(num_places + 1)
        ),
        can_contain=tuple(
            everything & ~(draw.random() < 0.3) & ~(2 * (draw.random() < 0.3))
            for _ in range(num_places)
        ),
        openable=sum(1 << r for r in draw.sample(range(num_places), 2)),
        sinks=draw.getrandbits(num_places) if kind == "clean" else 0,
        microwaves=draw.getrandbits(num_places) if kind == "heat" else 0,
        fridges=draw.getrandbits(num_places) if kind == "cool" else 0,
        pickupable=everything & ~(0 if lamp == NOWHERE else 1 << lamp),
        cleanable=mugs,
        heatable=mugs,
        coolable=mugs,
        toggleable=0 if lamp == NOWHERE else 1 << lamp,
        sliceable=0,
        knives=0,
        boxes=0,
        box_contents=(0,) * num_objects,
        go_commands=tuple(
            tuple(f"go to {names[r]}" for r, at in enumerate(locations) if at != place)
            for place in range(num_places + 1)
        ),
        goal=_make_goal(draw, kind, mugs, lamp, num_places),
        start=_make_start(draw, contents, num_places),
    )


def _make_goal(draw: random.Random, kind: str, mugs: int, lamp: int, num_places: int) -> Goal:
    if kind == "look":
        return Goal((), (), Wanted(mugs, ()), Wanted(1 << lamp, ("toggled",)))
    targets = tuple(sorted(draw.sample(range(num_places), draw.choice((1, 2)))))
    if kind == "two":
        return Goal((Wanted(mugs, ()), Wanted(mugs, ())), targets, None, None)
    qualities = (_QUALITY[kind],) if kind in _QUALITY else ()
    return Goal((Wanted(mugs, qualities),), targets, None, None)


def _make_start(draw: random.Random, contents: list[int], num_places: int) -> State:
    return State(
        location=num_places,
        held=NOWHERE,
        opened=draw.getrandbits(num_places) & draw.getrandbits(num_places),
        contents=tuple(contents),
        lying=(0,) * (num_places + 1),
        removed=(0,) * num_places,
        clean=draw.choice((0, 0, 1)),
        hot=0,
        cool=0,
        toggled=0,
        sliced=0,
    )


def forget_unused(state: State) -> State:
    """The state without what neither mechanics nor goals ask about here (no knives)."""
    return state._replace(
        lying=(0,) * len(state.lying), removed=(0,) * len(state.removed), sliced=0
    )


def exact_distances(world: World, limit: int) -> dict[State, int | None] | None:
    """Steps to a win from every reachable state, None for dead ends; None if over `limit`."""
    start = forget_unused(world.start)
    parents: dict[State, list[State]] = {start: []}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        for after in _successors(world, state):
            if after not in parents:
                parents[after] = []
                queue.append(after)
                if len(parents) > limit:
                    return None
            parents[after].append(state)
    return _distances_to_wins(world, parents)


def _successors(world: World, state: State) -> list[State]:
    found = []
    for text in admissible_commands(world, state):
        command = parse_command(world, text)
        assert command is not None
        after = forget_unused(apply_command(world, state, command))
        if after != state:
            found.append(after)
    return found


def _distances_to_wins(world: World, parents: dict[State, list[State]]) -> dict[State, int | None]:
    distances: dict[State, int | None] = dict.fromkeys(parents)
    queue = deque(state for state in parents if is_won(world, state))
    distances.update(dict.fromkeys(queue, 0))
    while queue:
        state = queue.popleft()
        steps = distances[state]
        assert steps is not None
        for before in parents[state]:
            if distances[before] is None:
                distances[before] = steps + 1
                queue.append(before)
    return distances
