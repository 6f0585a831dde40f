"""What generated households ask for: tasks, what may go where, what can be done to things.

Weights follow how often ALFWorld's games ask for an object and for a receptacle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

SIMPLE: Final = "pick_and_place_simple"
LOOK: Final = "look_at_obj_in_light"
CLEAN: Final = "pick_clean_then_place_in_recep"
HEAT: Final = "pick_heat_then_place_in_recep"
COOL: Final = "pick_cool_then_place_in_recep"
TWO: Final = "pick_two_obj_and_place"
TASK_KINDS: Final = (SIMPLE, LOOK, CLEAN, HEAT, COOL, TWO)

SENTENCES: Final[Mapping[str, tuple[str, str]]] = {
    SIMPLE: ("put a {obj} in {recep}", "put some {obj} on {recep}"),
    LOOK: ("look at {obj} under the {recep}", "examine the {obj} with the {recep}"),
    CLEAN: ("put a clean {obj} in {recep}", "clean some {obj} and put it in {recep}"),
    HEAT: ("put a hot {obj} in {recep}", "heat some {obj} and put it in {recep}"),
    COOL: ("put a cool {obj} in {recep}", "cool some {obj} and put it in {recep}"),
    TWO: ("put two {obj} in {recep}", "find two {obj} and put them in {recep}"),
}

# task kind: (verb, receptacle type it is done with, what the object must be, what it then is)
PROCESSES: Final[Mapping[str, tuple[str, str, str, str]]] = {
    CLEAN: ("clean", "SinkBasin", "cleanable", "isClean"),
    HEAT: ("heat", "Microwave", "heatable", "isHot"),
    COOL: ("cool", "Fridge", "coolable", "isCool"),
}

# Shares of 1, 2, 3, 4 things of the wanted type.
TARGET_COUNTS: Final[Mapping[str, tuple[int, ...]]] = {
    SIMPLE: (37, 28, 21, 14),
    LOOK: (37, 26, 21, 16),
    CLEAN: (32, 30, 21, 17),
    HEAT: (27, 27, 26, 20),
    COOL: (44, 28, 19, 9),
    TWO: (0, 44, 32, 24),
}

# task kind, room kind: share of the kind's games, weights of the objects, weights of the goals
_TASKS: Final[Mapping[tuple[str, str], tuple[int, str, str]]] = {
    (SIMPLE, "bathroom"): (
        34,
        """
ToiletPaper 60 Candle 51 SoapBottle 51 SprayBottle 51 HandTowel 30 Cloth 9 SoapBar 7 TissueBox
    7 DishSponge 6
""",
        """
Toilet 91 GarbageCan 45 ToiletPaperHanger 45 CounterTop 26 Cabinet 24 Drawer 16 Cart 15
    SideTable 6 Dresser 2 Shelf 2
""",
    ),
    (SIMPLE, "bedroom"): (
        29,
        """
CellPhone 48 CD 30 KeyChain 28 Book 27 Pencil 26 AlarmClock 19 Pen 18 CreditCard 14 Mug 7
    Laptop 6 Pillow 3 RemoteControl 3 TissueBox 3 Watch 2 Statue 1
""",
        """
Desk 60 Shelf 41 SideTable 36 Dresser 28 Bed 19 ArmChair 15 Safe 14 DiningTable 12 Drawer 5
    Cabinet 3 GarbageCan 2
""",
    ),
    (SIMPLE, "living"): (
        26,
        """
RemoteControl 30 KeyChain 24 CreditCard 21 Box 18 Book 17 Newspaper 16 Statue 16 Laptop 14
    Vase 14 Watch 13 Pillow 12 TissueBox 6 Plate 3 Bowl 2
""",
        """
ArmChair 52 Sofa 50 CoffeeTable 41 Ottoman 20 SideTable 13 Dresser 12 Safe 8 Drawer 5
    GarbageCan 2 Shelf 2 DiningTable 1
""",
    ),
    (SIMPLE, "kitchen"): (
        11,
        """
PepperShaker 13 Glassbottle 10 Tomato 10 SaltShaker 9 Kettle 8 Pan 6 ButterKnife 5 Egg 4
    WineBottle 4 Bowl 3 Bread 3 DishSponge 3 Potato 3 Fork 2 Knife 2 Lettuce 2 SoapBottle 2
""",
        """
Microwave 18 Drawer 15 DiningTable 12 Cabinet 11 CounterTop 10 Shelf 7 Fridge 6 SideTable 5
    StoveBurner 3 GarbageCan 2
""",
    ),
    (LOOK, "bedroom"): (
        85,
        """
Pillow 40 AlarmClock 39 CD 37 Book 34 Bowl 21 Pencil 21 Pen 20 Laptop 19 CellPhone 9 Mug 7
    CreditCard 6 KeyChain 6 Statue 6 TissueBox 5 Vase 3 Watch 3
""",
        """
DeskLamp 276
""",
    ),
    (LOOK, "living"): (
        15,
        """
Newspaper 13 Box 9 Pillow 8 Statue 5 TissueBox 4 Laptop 3 Watch 3 Plate 2 Vase 2
""",
        """
DeskLamp 49
""",
    ),
    (CLEAN, "kitchen"): (
        76,
        """
Kettle 44 Ladle 42 Mug 34 Lettuce 33 Pan 31 ButterKnife 29 Knife 29 Bowl 28 Spatula 28 Tomato
    27 Egg 25 Fork 25 Plate 25 Potato 24 Apple 23 Spoon 23 Cup 19 Pot 15 DishSponge 4
""",
        """
DiningTable 97 CounterTop 79 Drawer 57 Microwave 46 Fridge 40 SideTable 38 Cabinet 38
    StoveBurner 36 CoffeeMachine 34 Shelf 30 GarbageCan 13
""",
    ),
    (CLEAN, "bathroom"): (
        24,
        """
SoapBar 88 Cloth 52 DishSponge 18
""",
        """
Toilet 36 CounterTop 34 Drawer 26 Cabinet 24 GarbageCan 19 Cart 9 Shelf 9 Dresser 1
""",
    ),
    (HEAT, "kitchen"): (
        100,
        """
Mug 109 Cup 71 Egg 69 Potato 64 Tomato 61 Apple 57 Plate 39 Bread 10
""",
        """
Fridge 111 Cabinet 77 CounterTop 64 GarbageCan 63 CoffeeMachine 58 SideTable 45 DiningTable 43
    Shelf 19
""",
    ),
    (COOL, "kitchen"): (
        100,
        """
Mug 74 Pot 57 Pan 52 Bowl 51 Potato 43 Apple 42 Cup 41 Lettuce 41 Tomato 40 Bread 39 Plate 27
    Egg 24 WineBottle 19
""",
        """
Microwave 102 CounterTop 99 DiningTable 94 Cabinet 69 CoffeeMachine 47 Shelf 44 GarbageCan 43
    StoveBurner 39 SideTable 13
""",
    ),
    (TWO, "bathroom"): (
        29,
        """
SprayBottle 61 SoapBottle 44 ToiletPaper 42 Candle 30 SoapBar 23 HandTowel 14 TissueBox 9
    Cloth 6 DishSponge 6
""",
        """
Toilet 61 Drawer 42 GarbageCan 40 Cabinet 38 CounterTop 23 Cart 16 Shelf 10 Dresser 3
    SideTable 2
""",
    ),
    (TWO, "bedroom"): (
        29,
        """
CellPhone 39 Book 34 CD 28 Pen 23 Pencil 23 CreditCard 20 AlarmClock 19 KeyChain 18 Bowl 6
    Laptop 6 TissueBox 6 Watch 5 Mug 3 Pillow 2 Vase 1
""",
        """
Desk 50 Drawer 41 Dresser 31 Bed 30 SideTable 26 Shelf 22 DiningTable 11 Safe 10 GarbageCan 6
    ArmChair 5 Cabinet 1
""",
    ),
    (TWO, "living"): (
        27,
        """
RemoteControl 45 CreditCard 35 Newspaper 35 KeyChain 17 TissueBox 14 Vase 14 CellPhone 12
    Statue 9 Pillow 8 Watch 7 Box 4 Plate 4 Book 3 Bowl 3 Laptop 3 Pen 3 WateringCan 3 Pencil 1
""",
        """
ArmChair 58 Sofa 53 CoffeeTable 47 Ottoman 15 Dresser 12 Drawer 7 DiningTable 7 GarbageCan 6
    SideTable 5 Shelf 4 Safe 3 Desk 3
""",
    ),
    (TWO, "kitchen"): (
        15,
        """
SaltShaker 24 PepperShaker 22 Cup 15 Lettuce 10 Spatula 7 Kettle 5 Spoon 5 WineBottle 5 Egg 4
    Glassbottle 4 Ladle 4 Bread 3 Pan 3 Potato 3 Tomato 3 Knife 2 Pot 2 Apple 1
""",
        """
Drawer 28 Cabinet 23 Fridge 17 Shelf 13 CounterTop 12 Microwave 11 DiningTable 9 SideTable 6
    GarbageCan 3
""",
    ),
}

_CAN_CONTAIN: Final = """
ArmChair Book Box CellPhone Cloth CreditCard KeyChain Laptop Newspaper Pillow RemoteControl
BathtubBasin Cloth DishSponge HandTowel SoapBar
Bed BaseballBat BasketBall Book CellPhone Laptop Pillow TennisRacket
Cabinet Book Bowl Box CD Candle Cloth Cup DishSponge Glassbottle HandTowel Kettle Ladle Mug
    Newspaper Pan PepperShaker Plate Plunger Pot SaltShaker SoapBar SoapBottle SprayBottle
    TissueBox ToiletPaper Vase WateringCan WineBottle
Cart Candle Cloth DishSponge HandTowel Plunger SoapBar SoapBottle SprayBottle TissueBox
    ToiletPaper
CoffeeMachine Mug
CoffeeTable Book Bowl Box Candle CellPhone CreditCard KeyChain Laptop Newspaper Pen Pencil Plate
    RemoteControl Statue TissueBox Vase Watch WateringCan
CounterTop AlarmClock Apple Book Bowl Bread ButterKnife CD Candle CellPhone Cloth CreditCard Cup
    DishSponge Egg Fork Glassbottle HandTowel Kettle KeyChain Knife Ladle Laptop Lettuce Mug Pan
    Pen Pencil PepperShaker Plate Pot Potato RemoteControl SaltShaker SoapBar SoapBottle Spatula
    Spoon SprayBottle Statue TissueBox ToiletPaper Tomato Vase WineBottle
Desk AlarmClock BasketBall Book Bowl Box CD CellPhone Cloth CreditCard KeyChain Laptop Mug Pen
    Pencil RemoteControl Statue TennisRacket TissueBox Vase Watch WateringCan
DiningTable AlarmClock Apple BaseballBat BasketBall Book Bowl Box Bread ButterKnife CD Candle
    CellPhone Cloth CreditCard Cup DishSponge Egg Fork Glassbottle Kettle KeyChain Knife Ladle
    Laptop Lettuce Mug Newspaper Pan Pen Pencil PepperShaker Plate Pot Potato RemoteControl
    SaltShaker SoapBottle Spatula Spoon SprayBottle Statue TennisRacket TissueBox Tomato Vase
    Watch WateringCan WineBottle
Drawer Book ButterKnife CD Candle CellPhone Cloth CreditCard DishSponge Fork HandTowel KeyChain
    Knife Ladle Newspaper Pen Pencil PepperShaker RemoteControl SaltShaker SoapBar SoapBottle
    Spatula Spoon SprayBottle TissueBox ToiletPaper Watch WateringCan
Dresser AlarmClock BasketBall Book Bowl Box CD Candle CellPhone Cloth CreditCard KeyChain Laptop
    Mug Newspaper Pen Pencil Plate RemoteControl SprayBottle Statue TennisRacket TissueBox
    ToiletPaper Vase Watch WateringCan
Fridge Apple Bowl Bread Cup Egg Glassbottle Lettuce Mug Pan Plate Pot Potato Tomato WineBottle
GarbageCan Apple Bread CD Cloth DishSponge Egg HandTowel Lettuce Newspaper Pen Pencil Potato
    SoapBar SoapBottle SprayBottle TissueBox ToiletPaper Tomato WineBottle
HandTowelHolder HandTowel
LaundryHamper Cloth
Microwave Apple Bowl Bread Cup Egg Glassbottle Mug Plate Potato Tomato
Ottoman Book Box CellPhone CreditCard KeyChain Laptop Newspaper Pillow RemoteControl
Safe CD CellPhone CreditCard KeyChain Statue Vase Watch
Shelf AlarmClock Book Bowl Box CD Candle CellPhone Cloth CreditCard Cup DishSponge Glassbottle
    HandTowel Kettle KeyChain Mug Newspaper Pen Pencil PepperShaker Plate Pot RemoteControl
    SaltShaker SoapBar SoapBottle SprayBottle Statue TissueBox ToiletPaper Vase Watch
    WateringCan WineBottle
SideTable AlarmClock Apple BaseballBat BasketBall Book Bowl Box Bread ButterKnife CD Candle
    CellPhone Cloth CreditCard Cup DishSponge Egg Fork HandTowel Kettle KeyChain Knife Laptop
    Lettuce Mug Newspaper Pan Pen Pencil PepperShaker Plate Pot Potato RemoteControl SaltShaker
    SoapBar SoapBottle Spatula Spoon SprayBottle Statue TennisRacket TissueBox ToiletPaper
    Tomato Vase Watch WateringCan WineBottle
SinkBasin Apple Bowl ButterKnife Cloth Cup DishSponge Egg Fork Glassbottle HandTowel Kettle
    Knife Ladle Lettuce Mug Pan Plate Pot Potato SoapBar Spatula Spoon Tomato
Sofa Book Box CellPhone CreditCard KeyChain Laptop Newspaper Pillow RemoteControl
StoveBurner Kettle Pan Pot
TVStand TissueBox
Toilet Candle Cloth DishSponge HandTowel SoapBar SoapBottle SprayBottle TissueBox ToiletPaper
ToiletPaperHanger ToiletPaper
TowelHolder Towel
"""

_PROPERTIES: Final = """
cleanable Apple Bowl ButterKnife Cloth Cup DishSponge Egg Fork Kettle Knife Ladle Lettuce Mug Pan
    Plate Pot Potato SoapBar Spatula Spoon Tomato
heatable Apple Bread Cup Egg Mug Plate Potato Tomato
coolable Apple Bowl Bread Cup Egg Lettuce Mug Pan Plate Pot Potato Tomato WineBottle
sliceable Apple Bread Egg Lettuce Potato Tomato
isReceptacleObject Bowl Box Cup Mug Pan Plate Pot
toggleable DeskLamp
"""

# Cutlery that may lie inside a dish, and the dishes.
INNER_KINDS: Final = frozenset(("ButterKnife", "Fork", "Knife", "Spatula", "Spoon"))
OUTER_KINDS: Final = frozenset(("Bowl", "Cup", "Mug", "Pan", "Plate", "Pot"))


@dataclass(frozen=True)
class TaskRow:
    """A row on tasks of generated households: what is asked for in a room kind, with weights."""

    room: str
    share: int
    objects: tuple[tuple[str, int], ...]
    goals: tuple[tuple[str, int], ...]


def _weights(text: str) -> tuple[tuple[str, int], ...]:
    words = text.split()
    return tuple(zip(words[::2], map(int, words[1::2]), strict=True))


def _sets(text: str) -> dict[str, frozenset[str]]:
    rows = [row.split() for row in text.strip().replace("\n ", " ").splitlines()]
    return {name: frozenset(members) for name, *members in rows}


@cache
def task_rows(kind: str) -> tuple[TaskRow, ...]:
    """The rows on tasks of generated households: the room kinds that a task kind is played in."""
    return tuple(
        TaskRow(room, share, _weights(objects), _weights(goals))
        for (name, room), (share, objects, goals) in _TASKS.items()
        if name == kind
    )


@cache
def can_contain() -> Mapping[str, frozenset[str]]:
    """List for the tasks of generated households which object types fit into which receptacle."""
    return _sets(_CAN_CONTAIN)


@cache
def properties() -> Mapping[str, frozenset[str]]:
    """What a task of the households needs of things: which types can be heated, cut or such."""
    return _sets(_PROPERTIES)


__all__ = [
    "CLEAN",
    "COOL",
    "HEAT",
    "INNER_KINDS",
    "LOOK",
    "OUTER_KINDS",
    "PROCESSES",
    "SENTENCES",
    "SIMPLE",
    "TARGET_COUNTS",
    "TASK_KINDS",
    "TWO",
    "TaskRow",
    "can_contain",
    "properties",
    "task_rows",
]
