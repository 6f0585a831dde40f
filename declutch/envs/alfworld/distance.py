"""The shortest number of actions to a household's goal, computed without search.

A plan is: free the hand where needed, fetch, treat, deliver (twice for a pair), or fetch and light.
Moving anywhere takes one step, so that a plan's length depends only on which of its stations share
a location and on which doors are closed; the minimum over the few possible stations is exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from typing import NamedTuple

from declutch.envs.alfworld.dynamics import NOWHERE, is_won
from declutch.envs.alfworld.world import Goal, State, Wanted, World, iterate_bits

_NEVER = 10**6


class _Stand(NamedTuple):
    """Where a partial plan has led: place, open doors, steps so far; `touched` helps pruning."""

    location: int
    opened: int
    cost: int


def remaining_steps(world: World, state: State) -> int | None:
    """The distance from an ALFWorld state to a win, in fewest actions; None where no plan exists.

    Goals that ask for a sliced object are beyond it: None as well.
    """
    if is_won(world, state):
        return 0
    goal = world.goal
    if goal.held is not None:
        return _or_none(_look_steps(world, state, goal))
    if len(goal.placed) == 1:
        wanted = goal.placed[0]
        return _or_none(_place_steps(world, state, wanted, goal.receptacles))
    return _or_none(_pair_steps(world, state, goal))


def first_half_steps(world: World, state: State) -> int | None:
    """The distance, in fewest actions, to the half of an ALFWorld goal that can be done first.

    For a pair it is putting one object where pairs may be, for an object under a lamp it is holding
    the object; None where there is no such part.
    """
    goal = world.goal
    if goal.held is not None:
        stands = _hold(world, state, goal.held.objects)
        return min((stand.cost for stand in stands), default=None)
    if len(goal.placed) < 2:
        return None
    wanted = goal.placed[0]
    if any(state.contents[r] & wanted.objects for r in goal.receptacles):
        return 0
    return _or_none(_place_steps(world, state, wanted, goal.receptacles))


def _or_none(steps: int) -> int | None:
    return steps if steps < _NEVER else None


def _is_closed(world: World, place: int, opened: int) -> int:
    return world.openable >> place & ~(opened >> place) & 1


def _sources(state: State, thing: int) -> list[int]:
    bit = 1 << thing
    return [place for place, things in enumerate(state.contents) if things & bit]


def _distinct(state: State, things: int) -> list[tuple[int, list[int]]]:
    """Objects with their receptacles; of those that are alike, two are enough for any plan."""
    count: dict[tuple[int, ...], int] = {}
    qualities = (state.clean, state.hot, state.cool)
    found = []
    for thing in iterate_bits(things):
        places = _sources(state, thing)
        key = (*(bits >> thing & 1 for bits in qualities), *places)
        count[key] = count.get(key, 0) + 1
        if count[key] <= 2:
            found.append((thing, places))
    return found


def _free_hand(world: World, state: State, stations: Iterable[int]) -> list[_Stand]:
    """All sensible ways to get an empty hand, on the way to receptacles in `stations`."""
    if state.held == NOWHERE:
        return [_Stand(state.location, state.opened, 0)]
    stations = set(stations)
    places = {world.receptacle_locations[r] for r in stations}
    stands, elsewhere = [], None
    for r, accepted in enumerate(world.can_contain):
        if not accepted >> state.held & 1:
            continue
        location = world.receptacle_locations[r]
        is_closed = _is_closed(world, r, state.opened)
        cost = (location != state.location) + is_closed + 1
        stand = _Stand(location, state.opened | is_closed << r, cost)
        if location in places or r in stations:
            stands.append(stand)
        elif elsewhere is None or cost < elsewhere.cost:
            elsewhere = stand
    return [*stands, elsewhere] if elsewhere is not None else stands


def _handle(world: World, stand: _Stand, place: int) -> _Stand:
    """Go to a receptacle, open it where needed, and take from it or put into it."""
    location = world.receptacle_locations[place]
    is_closed = _is_closed(world, place, stand.opened)
    cost = stand.cost + (location != stand.location) + is_closed + 1
    return _Stand(location, stand.opened | is_closed << place, cost)


def _hold(world: World, state: State, things: int) -> list[_Stand]:
    """The ways to come to hold one of `things`."""
    if state.held != NOWHERE and things >> state.held & 1:
        return [_Stand(state.location, state.opened, 0)]
    fetched = _distinct(state, things & world.pickupable)
    starts = _free_hand(world, state, [r for _, places in fetched for r in places])
    return [
        _handle(world, start, place)
        for start in starts
        for _, places in fetched
        for place in places
    ]


def _look_steps(world: World, state: State, goal: Goal) -> int:
    if goal.held is None or goal.held.qualities or goal.lamp is None:
        return _NEVER
    lamps = [
        (world.receptacle_locations[r], 1 - (state.toggled >> lamp & 1))
        for lamp in iterate_bits(goal.lamp.objects)
        for r in _sources(state, lamp)
    ]
    stands = _hold(world, state, goal.held.objects) if lamps else []
    return min(
        (
            stand.cost + (location != stand.location) + switch
            for stand in stands
            for location, switch in lamps
        ),
        default=_NEVER,
    )


def _place_steps(world: World, state: State, wanted: Wanted, targets: tuple[int, ...]) -> int:
    """One object, treated as wanted, into one of `targets`."""
    things = wanted.objects
    best = _NEVER
    if state.held != NOWHERE and things >> state.held & 1:
        here = _Stand(state.location, state.opened, 0)
        best = _treat_and_deliver(world, state, here, state.held, wanted, targets, NOWHERE)
        things &= ~(1 << state.held)
    fetched = _distinct(state, things & world.pickupable)
    if not fetched:
        return best
    starts = _free_hand(world, state, [*targets, *(r for _, places in fetched for r in places)])
    for start in starts:
        for thing, places in fetched:
            for place in places:
                stand = _handle(world, start, place)
                if stand.cost < best:
                    cost = _treat_and_deliver(world, state, stand, thing, wanted, targets, place)
                    best = min(best, cost)
    return best


def _treat_and_deliver(
    world: World,
    state: State,
    stand: _Stand,
    thing: int,
    wanted: Wanted,
    targets: tuple[int, ...],
    source: int,
) -> int:
    """Cost of a plan that holds `thing`, taken from `source`, at `stand`.

    The game leaves an object that was in several receptacles in the others when it is taken from
    one, so it may count as delivered while it is held.
    """
    bit = 1 << thing
    lacking = [quality for quality in wanted.qualities if not getattr(state, quality) & bit]
    is_there = any(state.contents[r] & bit for r in targets if r != source)
    best = _NEVER
    for order in permutations(lacking):
        costs = {stand.location: stand.cost}
        for quality in order:
            costs = _treat(world, costs, quality, bit)
        if not costs:
            continue
        nearest = min(costs.values())
        if is_there:
            best = min(best, nearest)
            continue
        for r in targets:
            if world.can_contain[r] & bit:
                at = min(costs.get(world.receptacle_locations[r], _NEVER), nearest + 1)
                best = min(best, at + _is_closed(world, r, stand.opened) + 1)
    return best


def _treat(world: World, costs: dict[int, int], quality: str, bit: int) -> dict[int, int]:
    """Cheapest cost at each appliance's location after treating the held object there."""
    treatable, appliances = {
        "clean": (world.cleanable, world.sinks),
        "hot": (world.heatable, world.microwaves),
        "cool": (world.coolable, world.fridges),
    }.get(quality, (0, 0))
    if not treatable & bit:
        return {}
    nearest = min(costs.values())
    locations = {world.receptacle_locations[r] for r in iterate_bits(appliances)}
    return {at: min(costs.get(at, _NEVER), nearest + 1) + 1 for at in locations}


def _pair_steps(world: World, state: State, goal: Goal) -> int:
    """Two objects into the same one of the goal's receptacles."""
    first, second = goal.placed[0], goal.placed[-1]
    if len(goal.placed) != 2 or first != second or first.qualities:
        return _NEVER
    things = first.objects
    best = _NEVER
    for target in _distinct_targets(world, state, goal.receptacles, things):
        placed = state.contents[target] & things
        if placed:
            rest = Wanted(things & ~placed, ())
            cost = _place_steps(world, state, rest, (target,))
        else:
            cost = _two_deliveries(world, state, things, target)
        best = min(best, cost)
    return best


def _distinct_targets(
    world: World, state: State, targets: tuple[int, ...], things: int
) -> Iterable[int]:
    """Of targets that no plan can tell apart, one."""
    special = {state.location}
    special.update(
        world.receptacle_locations[r] for r, inside in enumerate(state.contents) if inside & things
    )
    held = 0 if state.held == NOWHERE else 1 << state.held
    groups: dict[tuple[int, ...], int] = {}
    for r in targets:
        location = world.receptacle_locations[r]
        key = (
            location if location in special else NOWHERE,
            _is_closed(world, r, state.opened),
            state.contents[r] & things,
            world.can_contain[r] & (things | held),
        )
        groups.setdefault(key, r)
    return groups.values()


def _two_deliveries(world: World, state: State, things: int, target: int) -> int:
    things &= world.can_contain[target]
    fetched = _distinct(state, things & world.pickupable & ~_bit(state.held))
    if state.held != NOWHERE and things >> state.held & 1:
        here = _Stand(state.location, state.opened, 0)
        return _second_delivery(world, _handle(world, here, target), fetched, NOWHERE, target)
    stations = [target, *(r for _, places in fetched for r in places)]
    best = _NEVER
    for start in _free_hand(world, state, stations):
        for thing, places in fetched:
            for place in places:
                stand = _handle(world, _handle(world, start, place), target)
                if stand.cost < best:
                    cost = _second_delivery(world, stand, fetched, thing, target)
                    best = min(best, cost)
    return best


def _second_delivery(
    world: World, stand: _Stand, fetched: list[tuple[int, list[int]]], first: int, target: int
) -> int:
    return min(
        (
            _handle(world, _handle(world, stand, place), target).cost
            for thing, places in fetched
            if thing != first
            for place in places
        ),
        default=_NEVER,
    )


def _bit(thing: int) -> int:
    return 0 if thing == NOWHERE else 1 << thing
