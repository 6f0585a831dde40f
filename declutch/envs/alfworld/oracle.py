"""Good or bad, judged from a household's true state and from what the agent has seen of it.

Once the agent has seen everything that the goal still needs, an action is good if it lowers the
shortest remaining number of steps and bad if it raises it. Before that, visiting or opening for the
first time a receptacle that could hold what is sought is good, and going back without need is bad.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from declutch.envs.alfworld.distance import first_half_steps, remaining_steps
from declutch.envs.alfworld.dynamics import (
    NOWHERE,
    Command,
    admissible_commands,
    apply_command,
    is_won,
    parse_command,
)
from declutch.envs.alfworld.world import Goal, State, World

GOOD, BAD = 1, 0
Distance = Callable[[World, State], int | None]


class OracleTracker:
    """The ALFWorld oracle: labels the actions of one episode good or bad from the true state.

    Distances count only what lies in receptacles the agent has searched, so that no label rests on
    luck: of two mugs the nearer one matters only once it has been seen. A receptacle counts as
    searched when the agent was where it stands and it was open.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen = 0
        self._visited = 0
        self._searched = 0
        self._distances: dict[tuple[Distance, State], int | None] = {}

    def observe(self, state: State) -> None:
        """Take note of what a state of the household shows the agent; due at every state."""
        for r in self._world.receptacles_at[state.location]:
            self._visited |= 1 << r
            if _is_accessible(self._world, state, r):
                self._searched |= 1 << r
                self._seen |= state.contents[r]
        if state.held != NOWHERE:
            self._seen |= 1 << state.held

    def label(
        self, state: State, action: str, admissible: Sequence[str] | None = None
    ) -> int | None:
        """Label an action in the observed state: 1 good, 0 bad, None undecided.

        Args:
            admissible: the state's admissible commands, where the caller has them; None lists them.
        """
        world = self._world
        text = action.strip()
        if text not in (admissible_commands(world, state) if admissible is None else admissible):
            return BAD
        command = parse_command(world, text)
        if command is None:
            return BAD
        if is_won(world, state):
            return None
        after = apply_command(world, state, command)
        if is_won(world, after):
            return GOOD
        if self._missing() == 0:
            return self._compare(remaining_steps, state, after)
        return self._label_search(state, command, after)

    def _compare(self, distance: Distance, before: State, after: State) -> int | None:
        """Whether fewer or more steps remain, as far as the agent knows the household."""
        return _compare(self._measure(distance, before), self._measure(distance, after))

    def _measure(self, distance: Distance, state: State) -> int | None:
        """A distance from a state's known part; the state before is often the one after it."""
        key = (distance, self._known_part(state))
        if key not in self._distances:
            self._distances[key] = distance(self._world, key[1])
        return self._distances[key]

    def _known_part(self, state: State) -> State:
        """The state without what lies where the agent has not looked."""
        searched = self._searched
        contents = tuple(
            things if searched >> r & 1 else 0 for r, things in enumerate(state.contents)
        )
        return state._replace(contents=contents)

    def _missing(self) -> int:
        """Set of objects of which the agent has yet to see one; 0 when it has seen enough."""
        goal, seen = self._world.goal, self._seen
        if goal.held is not None and not goal.held.objects & seen:
            return goal.held.objects
        if goal.lamp is not None and not goal.lamp.objects & seen:
            return goal.lamp.objects
        for wanted in goal.placed:
            if (wanted.objects & seen).bit_count() < len(goal.placed):
                return wanted.objects & ~seen
        return 0

    def _label_search(self, state: State, command: Command, after: State) -> int | None:
        known = self._compare(first_half_steps, state, after)
        if known == GOOD or self._is_discovery(state, command):
            return GOOD
        if known == BAD or self._is_needless_return(state, command):
            return BAD
        return None

    def _is_discovery(self, state: State, command: Command) -> bool:
        """Opens, or visits for the first time, a receptacle that could hold what is sought."""
        place = command.receptacle
        if command.verb == "go to":
            fresh = self._places_shown_at(place) & ~self._visited
        elif command.verb == "open":
            fresh = 1 << place & ~self._searched
        else:
            return False
        return bool(fresh & self._candidates())

    def _is_needless_return(self, state: State, command: Command) -> bool:
        """Goes to where nothing is left to find and nothing the agent holds could be left."""
        if command.verb != "go to":
            return False
        shown = self._places_shown_at(command.receptacle)
        if shown & ~self._visited or shown & ~self._searched & self._candidates():
            return False
        return not (self._holds_ballast(state) and self._accepts(state, shown))

    def _places_shown_at(self, place: int) -> int:
        location = self._world.receptacle_locations[place]
        return sum(1 << r for r in self._world.receptacles_at[location])

    def _candidates(self) -> int:
        """Set of receptacles that could hold what is missing."""
        missing = self._missing()
        bits = 0
        for r, accepted in enumerate(self._world.can_contain):
            if accepted & missing:
                bits |= 1 << r
        return bits & ~_excluded(self._world.goal)

    def _holds_ballast(self, state: State) -> bool:
        goal = self._world.goal
        wanted = [*goal.placed, *([goal.held] if goal.held is not None else [])]
        return state.held != NOWHERE and not any(each.objects >> state.held & 1 for each in wanted)

    def _accepts(self, state: State, places: int) -> bool:
        can_contain = self._world.can_contain
        return any(
            places >> r & 1 and can_contain[r] >> state.held & 1 for r in range(len(can_contain))
        )


def _is_accessible(world: World, state: State, place: int) -> bool:
    return not world.openable >> place & 1 or bool(state.opened >> place & 1)


def _excluded(goal: Goal) -> int:
    """Receptacles that cannot hold what is sought: one there would have won the game at once."""
    if len(goal.placed) != 1 or goal.placed[0].qualities:
        return 0
    return sum(1 << r for r in goal.receptacles)


def _compare(before: int | None, after: int | None) -> int | None:
    """Good when fewer steps remain, bad when more do, or no way is left."""
    if before is None or before == after:
        return None
    if after is None or after > before:
        return BAD
    return GOOD
