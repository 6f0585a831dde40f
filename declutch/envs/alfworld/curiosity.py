"""Commands that a random walk through an ALFWorld game would hardly ever come to.

The comparison of the engines seeks them, so that a few games show every action and every way in
which one can be misspelt.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from declutch.envs.alfworld.dynamics import (
    VERBS,
    admissible_commands,
    apply_command,
    parse_command,
)
from declutch.envs.alfworld.world import State, World
from declutch.envs.protocol import Observation

# What random play hardly ever gets to do, and how often a curious walk seeks it.
RARE_VERBS = ("clean", "cool", "heat", "slice", "use")
RARE_SHARE = 0.6


def choose_curiously(
    world: World,
    state: State,
    commands: Sequence[str],
    executed: Mapping[str, int],
    rng: random.Random,
) -> str:
    """Choose an ALFWorld command curiously: a rare one, one leading to it, or the least tried verb.

    Args:
        commands: to choose among, at least one.
        executed: how often each verb was executed so far.
    """
    if rng.random() < RARE_SHARE:
        rare = [each for each in commands if each.startswith(RARE_VERBS)]
        if rare:
            return _choose_least(rare, executed, rng)
        leading = [each for each in commands if _leads_to_rare(world, state, each)]
        if leading:
            return rng.choice(leading)
    if rng.random() < 0.5:
        return rng.choice(list(commands))
    return _choose_least(commands, executed, rng)


def _leads_to_rare(world: World, state: State, text: str) -> bool:
    command = parse_command(world, text)
    if command is None or command.verb not in ("go to", "take"):
        return False
    after = admissible_commands(world, apply_command(world, state, command))
    return any(each.startswith(RARE_VERBS) for each in after)


def _choose_least(commands: Sequence[str], executed: Mapping[str, int], rng: random.Random) -> str:
    """A command of the verb executed least so far."""
    by_verb: dict[str, list[str]] = {}
    for command in commands:
        verb = next(each for each in VERBS if command == each or command.startswith(f"{each} "))
        by_verb.setdefault(verb, []).append(command)
    least = min(executed.get(verb, 0) for verb in by_verb)
    verbs = [verb for verb in by_verb if executed.get(verb, 0) == least]
    return rng.choice(by_verb[rng.choice(verbs)])


def make_nonsense(world: World, observation: Observation, rng: random.Random) -> str:
    """For curiosity, make up a malformed, impossible or odd ALFWorld command; a few work."""
    known = rng.choice(observation.admissible)
    thing = rng.choice(world.object_names) if world.object_names else "mug 1"
    place, other = rng.choice(world.receptacle_names), rng.choice(world.receptacle_names)
    return rng.choice(
        (
            "",
            "   ",
            f"  {known}\t\n",
            known.upper(),
            known.capitalize(),
            known.replace(" ", "  "),
            known[: rng.randrange(len(known))],
            f"{known}.",
            f"{known} {known}",
            "dance",
            f"eat {thing}",
            f"go to {thing}",
            f"open {thing}",
            f"go to {place}",
            f"open {place}",
            f"close {place}",
            f"examine {place}",
            f"examine {thing}",
            f"take {thing} from {place}",
            f"take {thing}",
            f"take {thing} from {place} from {other}",
            f"move {thing} to {place}",
            f"put {thing} in/on {place}",
            f"heat {thing} with {place}",
            f"cool {thing} with {place}",
            f"clean {thing} with {place}",
            f"slice {thing} with {place}",
            f"slice {thing} with {thing}",
            f"use {place}",
            f"use {thing}",
            f"take {thing.split()[0]} 99 from {place}",
            f"take {thing.split()[0]} from {place.split()[0]}",
            "look around",
            "inventory 1",
            "help me",
            "go to",
            "nehmen Sie die Tasse ☕ \u00e9\u4f60\u597d",
            "\u00a0look\u2003",
            "look " * 2000,
            "take {o} from {r}",
            "<action>look</action>",
        )
    )
