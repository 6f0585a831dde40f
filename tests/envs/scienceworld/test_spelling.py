"""The words of gold paths against the words of valid actions."""

import pytest

from declutch.envs.scienceworld.simulator import Choice
from declutch.envs.scienceworld.spelling import spell_action

NAMES = {
    1: {"thermometer"},
    2: {"water", "substance"},
    3: {"metal pot", "pot"},
    4: {"yellow wire terminal 1", "terminal 1"},
    5: {"battery anode", "anode"},
    6: {"apple tree in the seedling stage", "apple tree"},
    7: {"apple tree in the adult stage", "apple tree"},
    8: {"bee"},
    9: {"bee"},
    10: {"bowl"},
    11: {"kitchen"},
    12: {"inventory"},
}
CHOICES = tuple(
    Choice(action, objects)
    for action, objects in (
        ("look at substance in metal pot", (2,)),
        ("look in metal pot", (3,)),
        ("use thermometer on substance in metal pot", (1, 2)),
        ("use thermometer on metal pot", (1, 3)),
        ("put down thermometer", (1,)),
        ("connect anode in battery to terminal 1 in yellow wire", (5, 4)),
        ("connect terminal 1 in yellow wire to anode in battery", (4, 5)),
        ("focus on apple tree in flower pot 2", (6,)),
        ("focus on apple tree in flower pot 3", (7,)),
        ("focus on bee in greenhouse", (8,)),
        ("focus on bee in hive", (9,)),
        ("pour metal pot into bowl", (3, 10)),
        ("pour metal pot into kitchen", (3, 11)),
        ("use thermometer on bowl", (1, 10)),
        ("use thermometer on inventory", (1, 12)),
        ("look around", ()),
        ("0", ()),
    )
)


@pytest.mark.parametrize(
    ("action", "valid"),
    [
        ("look around", "look around"),
        ("0", "0"),
        ("examine substance in metal pot", "look at substance in metal pot"),
        ("examine water", "look at substance in metal pot"),
        ("drop thermometer in inventory", "put down thermometer"),
        (
            "use thermometer in inventory on substance in metal pot",
            "use thermometer on substance in metal pot",
        ),
        ("use Thermometer on pot", "use thermometer on metal pot"),
        (
            "connect battery anode to yellow wire terminal 1",
            "connect anode in battery to terminal 1 in yellow wire",
        ),
        # The whole name counts before the place that is told after it.
        (
            "focus on apple tree in the adult stage in flower pot 2",
            "focus on apple tree in flower pot 3",
        ),
        ("focus on bee in hive", "focus on bee in hive"),
        ("focus on bee in the hive", "focus on bee in hive"),
        ("pour metal pot in bowl", "pour metal pot into bowl"),
        ("pour metal pot in kitchen in bowl", "pour metal pot into bowl"),
        ("use thermometer in inventory on bowl", "use thermometer on bowl"),
        # Nothing of the kind would do anything.
        ("open door to kitchen", None),
        ("look at thermometer", None),
        ("pour bowl into metal pot", None),
        ("1", None),
        ("", None),
    ],
)
def test_what_is_meant(action, valid):
    assert spell_action(action, CHOICES, NAMES) == valid
