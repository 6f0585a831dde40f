"""What stands in the rooms of generated households, and where things lie in them.

The figures follow what a survey of ALFWorld's games shows (rounded, in per cent), so that generated
games look like the real ones and are about as hard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

# Scene numbers: 25 known scenes a room kind, and 5 that only `valid_unseen` uses.
FIRST_SCENE: Final[Mapping[str, int]] = {
    "kitchen": 1,
    "living": 201,
    "bedroom": 301,
    "bathroom": 401,
}
NUM_KNOWN_SCENES: Final = 25
NUM_UNSEEN_SCENES: Final = 5

# receptacle type, share that can be opened, deciles of how many a room has
_RECEPTACLES: Final[Mapping[str, str]] = {
    "kitchen": """
Cabinet 81 4 8 10 10 12 13 16 20 20 26
Drawer 83 1 3 3 3 4 5 6 7 9 13
StoveBurner 0 4
CounterTop 0 1 1 2 2 2 2 3 3 3 4
SinkBasin 0 1
CoffeeMachine 0 1
Toaster 0 1
Microwave 100 1
Fridge 100 1
GarbageCan 0 1
DiningTable 0 0 0 0 0 0 1 1 1 1 2
Shelf 0 0 0 0 0 0 0 0 0 3 3
SideTable 0 0 0 0 0 0 0 0 0 0 1
Safe 100 0
""",
    "living": """
Drawer 96 0 0 1 1 2 4 4 6 7 12
Shelf 0 0 0 0 0 0 0 2 5 8 13
SideTable 0 0 0 1 1 1 1 2 2 3 3
ArmChair 0 0 1 1 1 1 1 1 2 2 2
Sofa 0 1 1 1 1 1 1 1 1 2 2
GarbageCan 0 1
CoffeeTable 0 0 0 1 1 1 1 1 1 2 2
Cabinet 94 0 0 0 0 0 0 0 0 0 4
DiningTable 0 0 0 0 0 0 1 1 1 1 2
Dresser 0 0 0 0 0 0 0 1 1 1 1
TVStand 0 0 0 0 0 0 0 1 1 1 2
Ottoman 0 0 0 0 0 0 0 0 0 0 1
Safe 100 0 0 0 0 0 0 0 0 0 1
Desk 0 0
""",
    "bedroom": """
Drawer 80 2 2 2 3 4 5 6 10 11 16
Shelf 0 0 0 0 1 1 2 5 6 7 12
Bed 0 1 1 1 1 1 1 1 1 1 2
GarbageCan 0 1
SideTable 0 0 0 0 0 1 1 1 1 2 2
Desk 0 0 0 0 1 1 1 1 1 1 2
Dresser 0 0 0 0 0 0 1 1 1 1 2
Cabinet 100 0 0 0 0 0 0 0 0 0 4
ArmChair 0 0 0 0 0 0 0 0 0 1 2
LaundryHamper 0 0 0 0 0 0 0 0 1 1 1
Safe 77 0 0 0 0 0 0 0 0 1 1
DiningTable 0 0 0 0 0 0 0 0 0 0 1
CounterTop 0 0
""",
    "bathroom": """
Drawer 87 0 0 0 0 0 2 4 4 6 8
Cabinet 98 0 0 0 0 0 3 4 4 4 5
HandTowelHolder 0 1 1 1 1 1 1 2 2 2 2
SinkBasin 0 1 1 1 1 1 2 2 2 2 2
TowelHolder 0 1 1 1 1 1 1 1 2 2 2
ToiletPaperHanger 0 1
GarbageCan 0 1
Toilet 0 1
CounterTop 0 0 1 1 1 1 1 1 1 1 2
BathtubBasin 0 0 0 0 1 1 1 1 1 1 1
Shelf 0 0 0 0 0 0 0 0 1 1 3
Cart 0 0 0 0 0 0 0 0 0 0 1
Dresser 0 0 0 0 0 0 0 0 0 0 1
SideTable 0 0 0 0 0 0 0 0 0 0 1
""",
}

# object type, share of rooms that have it, shares of 1/2/3/4 of it, pull of the receptacle types
_OBJECTS: Final[Mapping[str, str]] = {
    "kitchen": """
Apple 100 33/32/33/1 DiningTable 26 Fridge 25 CounterTop 24 SideTable 17 GarbageCan 13 Microwave
    13 SinkBasin 9
Book 7 61/28/11/0 CounterTop 63 DiningTable 21 Cabinet 15 Drawer 6 Shelf 4
Bowl 100 35/34/31/1 Cabinet 35 DiningTable 27 Fridge 21 CounterTop 21 Shelf 8 SideTable 4
    SinkBasin 3 Microwave 3
Bread 100 55/32/12/1 CounterTop 56 DiningTable 54 Fridge 13 SideTable 6
ButterKnife 96 36/37/26/0 CounterTop 59 DiningTable 47 SideTable 15 Drawer 8 SinkBasin 6
CellPhone 14 36/34/30/0 CounterTop 47 DiningTable 45 Drawer 37 Shelf 16
CreditCard 11 28/30/42/0 CounterTop 45 Drawer 34 Shelf 25
Cup 100 36/31/31/2 DiningTable 25 Cabinet 23 Fridge 21 CounterTop 20 SideTable 16 SinkBasin 10
    Shelf 10 Microwave 7
DishSponge 100 33/34/33/0 CounterTop 26 Cabinet 24 DiningTable 23 Drawer 21 Shelf 13 SinkBasin 8
    SideTable 6 GarbageCan 5
Egg 100 33/33/33/1 Fridge 25 CounterTop 24 DiningTable 21 SinkBasin 13 SideTable 13 GarbageCan
    13 Microwave 12
Fork 100 34/33/33/0 CounterTop 45 DiningTable 41 Drawer 23 SideTable 15 SinkBasin 9
Glassbottle 25 34/33/33/1 Cabinet 31 DiningTable 29 CounterTop 29 Shelf 12 SinkBasin 9 Fridge 8
    GarbageCan 7
Kettle 46 44/37/19/0 StoveBurner 41 CounterTop 26 Cabinet 24 DiningTable 17 SinkBasin 2 Shelf 1
Knife 100 36/34/30/0 CounterTop 50 DiningTable 44 Drawer 20 SideTable 8 SinkBasin 5
Ladle 36 32/38/29/1 CounterTop 42 DiningTable 32 Cabinet 24 Drawer 19 SinkBasin 2
Lettuce 100 42/36/22/0 DiningTable 51 CounterTop 42 Fridge 23 SideTable 14 SinkBasin 5
    GarbageCan 1
Mug 100 36/36/27/2 DiningTable 22 CoffeeMachine 20 Cabinet 19 Fridge 17 CounterTop 16
    SideTable 10 Microwave 9 Shelf 8 SinkBasin 7
Pan 100 70/26/5/0 StoveBurner 50 CounterTop 29 DiningTable 11 Cabinet 9 Fridge 6
PaperTowelRoll 36 100/0/0/0 CounterTop 55 DiningTable 41 Shelf 29 SideTable 26 GarbageCan 17
Pen 7 33/32/35/0 DiningTable 67 CounterTop 40 Drawer 20 GarbageCan 5
Pencil 7 39/42/20/0 Drawer 41 DiningTable 40 CounterTop 30 GarbageCan 8
PepperShaker 100 30/33/36/0 Cabinet 33 CounterTop 30 DiningTable 29 SideTable 22 Shelf 17 Drawer
    16
Plate 100 41/34/24/1 Cabinet 40 CounterTop 29 DiningTable 29 Fridge 10 Shelf 8 SinkBasin 2
    SideTable 2 Microwave 1
Pot 100 55/36/9/0 StoveBurner 70 CounterTop 15 DiningTable 9 Fridge 5 Cabinet 4 Shelf 2
    SinkBasin 1
Potato 100 36/32/31/1 CounterTop 28 DiningTable 28 Fridge 27 SideTable 13 SinkBasin 11 Microwave
    10 GarbageCan 7
SaltShaker 100 36/32/31/1 Cabinet 31 CounterTop 31 DiningTable 31 SideTable 23 Drawer 16 Shelf
    15
SoapBottle 100 34/34/32/0 DiningTable 36 CounterTop 32 Cabinet 31 SideTable 15 Shelf 15
    GarbageCan 11 Drawer 1
Spatula 100 34/36/30/0 CounterTop 45 DiningTable 43 Drawer 22 SinkBasin 9 SideTable 6
Spoon 100 32/34/34/0 DiningTable 38 CounterTop 38 Drawer 28 SideTable 17 SinkBasin 12
SprayBottle 7 33/42/25/0 DiningTable 42 CounterTop 33 Cabinet 32 GarbageCan 12
Statue 14 39/49/12/0 CounterTop 55 Shelf 41 DiningTable 12
Tomato 100 34/32/32/1 DiningTable 34 Fridge 33 CounterTop 31 SideTable 15 GarbageCan 9 SinkBasin
    7
Vase 14 0/52/48/0 CounterTop 33 Cabinet 33 Shelf 32 DiningTable 10
WineBottle 36 36/31/32/1 CounterTop 37 DiningTable 35 Cabinet 25 Shelf 9 GarbageCan 9 Fridge 1
    SideTable 1
""",
    "living": """
Book 25 46/31/21/2 Dresser 37 CoffeeTable 30 DiningTable 23 Sofa 17 ArmChair 10 SideTable 9
    TVStand 7 Drawer 1
Bowl 11 42/36/20/2 DiningTable 58 TVStand 31 Shelf 28 CoffeeTable 23 SideTable 13
Box 100 68/25/7/0 DiningTable 50 Desk 27 CoffeeTable 27 Cabinet 25 Sofa 24 Dresser 11 Shelf 11
    Ottoman 10 SideTable 9 TVStand 9 ArmChair 4
Candle 11 16/18/67/0 SideTable 49 CoffeeTable 26 DiningTable 20 Dresser 20 Drawer 20 TVStand 14
CellPhone 25 36/30/32/2 Dresser 25 CoffeeTable 21 Ottoman 20 TVStand 18 DiningTable 18 SideTable
    17 Shelf 16 Desk 15 Sofa 13 Drawer 12 ArmChair 10 Safe 6
CreditCard 100 28/32/36/3 DiningTable 20 TVStand 19 CoffeeTable 18 Sofa 18 Dresser 17 Drawer 17
    Shelf 16 ArmChair 14 Desk 13 SideTable 13 Ottoman 11
KeyChain 100 34/32/32/2 CoffeeTable 24 Desk 20 TVStand 20 Drawer 20 SideTable 18 DiningTable 17
    Dresser 16 Shelf 14 Sofa 12 Safe 10 Ottoman 10 ArmChair 10
Laptop 100 64/27/8/0 DiningTable 43 CoffeeTable 29 Sofa 27 Dresser 25 TVStand 15 Desk 14 Ottoman
    10 SideTable 9 ArmChair 5
Newspaper 57 35/36/25/4 DiningTable 34 Dresser 26 Shelf 25 CoffeeTable 22 Sofa 20 SideTable 14
    Ottoman 14 TVStand 11 ArmChair 8 Cabinet 5 Drawer 3
Pen 18 31/33/34/1 Dresser 35 CoffeeTable 33 Shelf 24 SideTable 22 TVStand 18 DiningTable 17
    Drawer 5 GarbageCan 4
Pencil 14 35/29/35/1 SideTable 34 Shelf 32 CoffeeTable 30 Dresser 14 TVStand 14 DiningTable 10
    Drawer 10 GarbageCan 5
Pillow 100 87/12/1/0 Sofa 78 ArmChair 23 Ottoman 3
Plate 36 45/40/14/0 DiningTable 65 Shelf 43 CoffeeTable 23 SideTable 11 TVStand 7 Dresser 2
RemoteControl 100 31/32/33/4 CoffeeTable 28 Dresser 23 DiningTable 22 TVStand 21 Sofa 20 Desk 18
    SideTable 15 Ottoman 10 ArmChair 10 Shelf 10 Drawer 5
Statue 96 24/39/32/1 Shelf 39 DiningTable 38 CoffeeTable 31 Dresser 26 SideTable 25 TVStand 25
    Desk 10 Safe 8
TissueBox 32 27/38/32/3 Cabinet 45 CoffeeTable 44 DiningTable 31 Shelf 27 TVStand 21 SideTable
    19 Dresser 16 Drawer 3 GarbageCan 2
Vase 61 17/26/32/17 Dresser 64 Shelf 52 DiningTable 26 CoffeeTable 23 SideTable 19 TVStand 17
    Cabinet 12 Safe 11 Desk 11
Watch 50 28/37/34/0 TVStand 29 Drawer 28 DiningTable 28 Safe 27 CoffeeTable 26 Dresser 24 Shelf
    23 SideTable 21
WateringCan 43 92/5/3/0 CoffeeTable 54 Shelf 39 SideTable 7
""",
    "bedroom": """
AlarmClock 100 47/33/18/2 DiningTable 57 Desk 48 Dresser 38 Shelf 32 CounterTop 30 SideTable 30
Book 100 42/33/23/2 Bed 52 Desk 26 DiningTable 20 CounterTop 17 Cabinet 15 Drawer 13 Dresser 11
    ArmChair 9 SideTable 6 Shelf 2
Bowl 46 58/29/12/1 Desk 64 DiningTable 36 Shelf 36 CounterTop 30 Dresser 27 SideTable 6
Box 43 99/1/0/0 Desk 56 Shelf 44
CD 100 32/28/37/3 DiningTable 50 Drawer 30 Desk 29 Dresser 29 SideTable 20 Cabinet 15 Shelf 10
    ArmChair 10 GarbageCan 8
CellPhone 100 32/34/32/3 Bed 29 Desk 25 DiningTable 25 Dresser 22 ArmChair 18 CounterTop 18
    Drawer 18 SideTable 14 Shelf 11 Safe 10 Cabinet 4
CreditCard 100 32/34/33/1 Drawer 31 Dresser 26 Desk 26 Shelf 26 SideTable 25 DiningTable 23
    CounterTop 18 ArmChair 16
KeyChain 100 31/35/33/2 DiningTable 35 Dresser 29 Drawer 27 Desk 25 SideTable 24 Shelf 23 Safe
    19 ArmChair 18 Cabinet 6 CounterTop 3
Laptop 100 52/36/12/0 Bed 73 Desk 26 CounterTop 25 DiningTable 16 Dresser 8 ArmChair 7
Mug 54 40/33/27/0 Desk 55 DiningTable 49 Shelf 31 SideTable 27 Dresser 25 Cabinet 22 CounterTop
    22
Pen 100 29/34/35/1 DiningTable 51 Desk 40 Dresser 32 CounterTop 27 Shelf 23 SideTable 21 Drawer
    19 GarbageCan 2
Pencil 100 33/35/31/1 DiningTable 49 Desk 34 CounterTop 32 SideTable 27 Dresser 26 Shelf 25
    Drawer 19 GarbageCan 5
Pillow 100 43/46/10/1 Bed 99 ArmChair 3
RemoteControl 11 34/34/31/0 Desk 38 Drawer 34 CounterTop 31 DiningTable 19 SideTable 15 ArmChair
    11 Dresser 10 Shelf 2
Statue 14 65/24/11/0 Desk 47 Shelf 43 Dresser 40 SideTable 28
TeddyBear 32 100/0/0/0 Bed 100
TissueBox 14 38/34/26/2 DiningTable 79 Desk 45 Drawer 26 Shelf 14 SideTable 14 Dresser 5
Vase 7 18/53/21/8 Shelf 47 Dresser 35 Desk 20 SideTable 7
Watch 7 24/48/24/4 DiningTable 41 Drawer 28 Desk 27 Shelf 21 Dresser 21 SideTable 15
""",
    "bathroom": """
Candle 100 32/32/33/2 SideTable 42 CounterTop 35 Cabinet 33 Toilet 30 Shelf 28 Drawer 23 Cart 22
    Dresser 15
Cloth 100 37/33/28/2 Cabinet 49 BathtubBasin 43 Drawer 26 CounterTop 20 Cart 17 Shelf 16 Dresser
    13 SinkBasin 8 Toilet 3 SideTable 2
DishSponge 21 26/35/31/7 Drawer 25 CounterTop 23 BathtubBasin 20 Shelf 19 Cabinet 18 Cart 13
    SinkBasin 11 Toilet 10 GarbageCan 5
HandTowel 100 81/19/0/0 HandTowelHolder 96 CounterTop 5
PaperTowelRoll 14 100/0/0/0 CounterTop 47 Shelf 42 Toilet 32 Cart 26 GarbageCan 9
SoapBar 100 34/29/32/5 SideTable 32 Cabinet 26 CounterTop 24 Drawer 20 Cart 18 BathtubBasin 17
    Shelf 17 Toilet 16 SinkBasin 15 GarbageCan 7
SoapBottle 100 32/36/29/2 Cabinet 43 Shelf 38 CounterTop 35 Dresser 31 Toilet 24 SideTable 23
    Cart 13 GarbageCan 9 Drawer 6
SprayBottle 100 35/31/31/2 SideTable 51 Cart 41 CounterTop 37 Cabinet 36 Shelf 29 Toilet 26
    Dresser 24 GarbageCan 10
TissueBox 25 43/28/25/4 SideTable 86 Shelf 54 CounterTop 45 Drawer 25 Cart 23 Cabinet 22 Toilet
    3
ToiletPaper 100 0/68/31/1 SideTable 28 Cabinet 26 CounterTop 25 Toilet 24 Shelf 23 Cart 22
    Drawer 20 Dresser 19 ToiletPaperHanger 12 GarbageCan 9
Towel 100 87/13/0/0 TowelHolder 97 CounterTop 3
""",
}

# fixed thing, share of rooms that have it, pull of the receptacle types it stands on
_FIXTURES: Final[Mapping[str, str]] = {
    "kitchen": """
HousePlant 43 CounterTop 80 DiningTable 20
Sink 11 CounterTop 100
Window 7 CounterTop 100
""",
    "living": """
DeskLamp 25 SideTable 90 CoffeeTable 10
HousePlant 65 SideTable 52 CoffeeTable 27 Dresser 10 DiningTable 6 TVStand 5
Television 69 TVStand 50 Dresser 43 CoffeeTable 5 SideTable 2
""",
    "bedroom": """
DeskLamp 76 SideTable 53 Desk 45 Dresser 45 Shelf 14
HousePlant 24 Shelf 50 Desk 20 Cabinet 20 Dresser 10
Mirror 5 CounterTop 58 Dresser 42
Television 3 Dresser 100
Window 10 Shelf 70 Dresser 30
""",
    "bathroom": """
HousePlant 4 SideTable 100
Mirror 9 CounterTop 100
ShowerGlass 3 CounterTop 100
Sink 25 SinkBasin 58 CounterTop 42
""",
}

# fixed thing, share of rooms that have it on the floor, how many, the receptacle it lies next to
_BESIDE: Final[Mapping[str, str]] = {
    "kitchen": """
StoveKnob 16 4 StoveBurner
Sink 20 1 SinkBasin
""",
    "living": """
Chair 15 2 DiningTable
Chair 6 1 SideTable
Curtains 5 1 GarbageCan
""",
    "bedroom": """
LaundryHamperLid 74 1 LaundryHamper
TennisRacket 15 1 LaundryHamper
Chair 12 1 Desk
Chair 12 1 Drawer
Boots 4 1 Drawer
""",
    "bathroom": """
Sink 30 1 SinkBasin
Bathtub 20 1 BathtubBasin
Plunger 12 1 Toilet
Plunger 12 1 ToiletPaperHanger
ScrubBrush 12 1 GarbageCan
ScrubBrush 10 1 ToiletPaperHanger
ShowerGlass 10 1 TowelHolder
""",
}

# Share of a type's instances that are reached from the very spot of another receptacle.
SHARED_SPOT: Final[Mapping[str, Mapping[str, tuple[str, int]]]] = {
    "kitchen": {
        "StoveBurner": ("StoveBurner", 33),
        "Cabinet": ("Cabinet", 8),
        "Drawer": ("Drawer", 9),
        "CoffeeMachine": ("CounterTop", 25),
        "Toaster": ("CounterTop", 28),
    },
    "living": {
        "Drawer": ("Drawer", 8),
        "Shelf": ("Shelf", 5),
        "TVStand": ("Shelf", 25),
        "SideTable": ("Drawer", 3),
    },
    "bedroom": {
        "Drawer": ("Drawer", 14),
        "Shelf": ("Shelf", 9),
        "Dresser": ("Drawer", 25),
        "SideTable": ("Drawer", 8),
        "Cabinet": ("Cabinet", 12),
    },
    "bathroom": {
        "Drawer": ("Drawer", 25),
        "Cabinet": ("Cabinet", 12),
        "TowelHolder": ("HandTowelHolder", 4),
        "GarbageCan": ("Cabinet", 5),
    },
}

# Most things a receptacle holds at the start; the others hold any number.
CAPACITY: Final[Mapping[str, int]] = {
    "CoffeeMachine": 1,
    "HandTowelHolder": 1,
    "StoveBurner": 1,
    "ToiletPaperHanger": 1,
    "TowelHolder": 1,
    "Cabinet": 3,
    "Drawer": 4,
    "Shelf": 6,
}

# What is put into a basin now and then lies beside it, where it can be seen and not be taken.
STRAY_SHARE: Final[Mapping[str, int]] = {"SinkBasin": 17, "BathtubBasin": 20}

# A thing in the first counts as being in the second too, in that share of the rooms: the machine
# stands on the counter, a wide pot covers two burners.
DOUBLES: Final[Mapping[str, tuple[str, int]]] = {
    "CoffeeMachine": ("CounterTop", 40),
    "StoveBurner": ("StoveBurner", 18),
}


@dataclass(frozen=True)
class ReceptacleRow:
    """A row on rooms of generated households: how often a receptacle type stands in one."""

    kind: str
    openable: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ObjectRow:
    """A row on rooms of generated households: how often an object type is there, and where, in %.

    Attributes:
        kind: object type.
        presence: share of the rooms that have it.
        counts: shares of 1, 2, ... instances.
        pull: receptacle type and weight.
    """

    kind: str
    presence: int
    counts: tuple[int, ...]
    pull: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class BesideRow:
    """A row on rooms of generated households: a fixed thing on the floor next to a receptacle."""

    kind: str
    presence: int
    count: int
    receptacle: str


def _rows(text: str) -> list[list[str]]:
    """Words of each row; an indented line goes on with the row before it."""
    return [row.split() for row in text.strip().replace("\n ", " ").splitlines()]


def _pull(words: list[str]) -> tuple[tuple[str, int], ...]:
    return tuple(zip(words[::2], map(int, words[1::2]), strict=True))


@cache
def receptacle_rows(room: str) -> tuple[ReceptacleRow, ...]:
    """The rows on rooms of generated households that list a room kind's receptacle types."""
    return tuple(
        ReceptacleRow(kind, int(openable), tuple(map(int, counts)))
        for kind, openable, *counts in _rows(_RECEPTACLES[room])
    )


@cache
def object_rows(room: str) -> tuple[ObjectRow, ...]:
    """The rows on rooms of generated households: a room kind's object types that can be carried."""
    return tuple(
        ObjectRow(kind, int(presence), tuple(map(int, counts.split("/"))), _pull(pull))
        for kind, presence, counts, *pull in _rows(_OBJECTS[room])
    )


@cache
def fixture_rows(room: str) -> tuple[ObjectRow, ...]:
    """The rows on rooms of generated households that list fixed things on receptacles."""
    return tuple(
        ObjectRow(kind, int(presence), (100,), _pull(pull))
        for kind, presence, *pull in _rows(_FIXTURES[room])
    )


@cache
def beside_rows(room: str) -> tuple[BesideRow, ...]:
    """The rows on rooms of generated households that list fixed things next to receptacles."""
    return tuple(
        BesideRow(kind, int(presence), int(count), receptacle)
        for kind, presence, count, receptacle in _rows(_BESIDE[room])
    )


__all__ = [
    "CAPACITY",
    "DOUBLES",
    "FIRST_SCENE",
    "NUM_KNOWN_SCENES",
    "NUM_UNSEEN_SCENES",
    "SHARED_SPOT",
    "STRAY_SHARE",
    "BesideRow",
    "ObjectRow",
    "ReceptacleRow",
    "beside_rows",
    "fixture_rows",
    "object_rows",
    "receptacle_rows",
]
