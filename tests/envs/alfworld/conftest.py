"""A kitchen small enough to work out by hand, as the content of a game file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from declutch.envs.alfworld.game import load_world
from declutch.envs.alfworld.world import World
from declutch.envs.households.domain import DOMAIN, grammar

# Numbers descend in the order of the ids, so the first id of a type has the highest number.
_OBJECTS = {
    "Apple_bar_a": "AppleType",
    "Apple_bar_b": "AppleType",
    "Box_bar_a": "BoxType",
    "DeskLamp_bar_a": "DeskLampType",
    "Knife_bar_a": "KnifeType",
    "Mug_bar_a": "MugType",
    "Mug_bar_b": "MugType",
    "Statue_bar_a": "StatueType",
}
_RECEPTACLES = {
    "Cabinet_bar_a": ("CabinetType", "loc_bar_1"),
    "Cabinet_bar_b": ("CabinetType", "loc_bar_1"),
    "CounterTop_bar_a": ("CounterTopType", "loc_bar_2"),
    "Fridge_bar_a": ("FridgeType", "loc_bar_3"),
    "Microwave_bar_a": ("MicrowaveType", "loc_bar_4"),
    "Sink_bar_a_bar_SinkBasin": ("SinkBasinType", "loc_bar_5"),
    "StoveBurner_bar_a": ("StoveBurnerType", "loc_bar_2"),
}
_INSIDE = [
    ("Apple_bar_a", "CounterTop_bar_a"),
    ("Apple_bar_b", "Fridge_bar_a"),
    ("Box_bar_a", "CounterTop_bar_a"),
    ("DeskLamp_bar_a", "CounterTop_bar_a"),
    ("Knife_bar_a", "CounterTop_bar_a"),
    ("Mug_bar_a", "Cabinet_bar_a"),
    ("Mug_bar_b", "CounterTop_bar_a"),
    ("Mug_bar_b", "StoveBurner_bar_a"),
]
_NATURES = {
    "pickupable": ["Apple_bar_a", "Apple_bar_b", "Box_bar_a", "Knife_bar_a", "Mug_bar_a"],
    "cleanable": ["Apple_bar_a", "Apple_bar_b", "Knife_bar_a", "Mug_bar_a", "Mug_bar_b"],
    "heatable": ["Apple_bar_a", "Apple_bar_b", "Mug_bar_a", "Mug_bar_b"],
    "coolable": ["Apple_bar_a", "Apple_bar_b", "Mug_bar_a", "Mug_bar_b"],
    "sliceable": ["Apple_bar_a", "Apple_bar_b"],
    "toggleable": ["DeskLamp_bar_a"],
    "isReceptacleObject": ["Box_bar_a"],
    "isCool": ["Apple_bar_b"],
    "openable": ["Cabinet_bar_a", "Cabinet_bar_b", "Fridge_bar_a", "Microwave_bar_a"],
}
_NATURES["pickupable"].append("Mug_bar_b")

PLACE_GOAL = """(and (exists (?r - receptacle) (exists (?o - object) (and
    (inReceptacle ?o ?r) (objectType ?o AppleType) (receptacleType ?r CabinetType)))))"""


def kitchen_problem(goal: str = PLACE_GOAL, extra_facts: str = "") -> str:
    """The kitchen's PDDL problem; the agent starts in the middle of the room, at loc_bar_0."""
    otypes = sorted({*_OBJECTS.values(), "ButterKnifeType"})
    rtypes = sorted({*(kind for kind, _ in _RECEPTACLES.values()), "SinkType"})
    locations = [f"loc_bar_{n}" for n in range(6)]
    declared = (
        f"agent1 - agent {' '.join(_OBJECTS)} Curtains_bar_a - object "
        f"{' '.join(_RECEPTACLES)} - receptacle {' '.join(locations)} - location "
        f"{' '.join(otypes)} - otype {' '.join(rtypes)} - rtype"
    )
    facts = ["(atLocation agent1 loc_bar_0)", "(inReceptacleObject Apple_bar_b Box_bar_a)"]
    facts += [f"(objectType {name} {kind})" for name, kind in _OBJECTS.items()]
    for name, (kind, place) in _RECEPTACLES.items():
        facts += [f"(receptacleType {name} {kind})", f"(receptacleAtLocation {name} {place})"]
    for thing, place in _INSIDE:
        facts += [f"(inReceptacle {thing} {place})"]
        facts += [f"(objectAtLocation {thing} {_RECEPTACLES[place][1]})"]
    facts += [f"({nature} {name})" for nature, names in _NATURES.items() for name in names]
    facts += [
        f"(canContain {rtype} {otype})"
        for rtype in rtypes
        for otype in ("AppleType", "BoxType", "KnifeType", "MugType")
        if rtype != "MicrowaveType" or otype in ("AppleType", "MugType")
    ]
    return (
        f"(define (problem kitchen) (:domain alfred) (:objects {declared})\n"
        f"(:init {' '.join(facts)} {extra_facts})\n(:goal {goal}))"
    )


def kitchen_content(goal: str = PLACE_GOAL, extra_facts: str = "") -> dict[str, Any]:
    """The kitchen as a game file's content."""
    return {
        "pddl_domain": DOMAIN,
        "grammar": grammar("put some apple on cabinet"),
        "pddl_problem": kitchen_problem(goal, extra_facts),
        "solvable": True,
        "walkthrough": ["go to countertop 1", "take apple 2 from countertop 1"],
    }


@pytest.fixture
def write_kitchen(tmp_path: Path) -> Callable[..., Path]:
    """Writes the kitchen, with keys of its content replaced, and returns its path."""

    def write(goal: str = PLACE_GOAL, extra_facts: str = "", **changes: Any) -> Path:
        path = tmp_path / "game.tw-pddl"
        path.write_text(json.dumps({**kitchen_content(goal, extra_facts), **changes}))
        return path

    return write


@pytest.fixture
def kitchen(write_kitchen: Callable[..., Path]) -> World:
    """The compiled kitchen, with the goal of an apple in a cabinet."""
    return load_world(write_kitchen())
