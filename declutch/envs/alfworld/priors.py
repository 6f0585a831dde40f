"""Where things tend to be: how often one receptacle of a type holds an object of a type.

Percentages measured over the starting states of ALFWorld's training games whose task is about
that object; receptacles of the target type of a pick-and-place task are left out (they hold none,
or the game would start won). Entries under 1% are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

OPENABLE_TYPES: Final = frozenset({"cabinet", "drawer", "fridge", "microwave", "safe"})
"""Receptacle types whose members are mostly closed at the start (83% of cabinets and drawers)."""

PROCESS_PLACES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"clean": ("sinkbasin", "sink"), "heat": ("microwave",), "cool": ("fridge",)}
)
"""Receptacle types that clean, heat and cool."""

_MEASURED: Final = """
alarmclock: diningtable=100 desk=64 sidetable=52 dresser=42 shelf=19
apple: sidetable=57 diningtable=43 garbagecan=32 countertop=27 fridge=23 microwave=23 sinkbasin=12
book: bed=63 desk=56 coffeetable=47 dresser=44 diningtable=36 armchair=22 sofa=20 cabinet=19
  sidetable=13 drawer=3 shelf=2
bowl: desk=60 tvstand=50 diningtable=45 dresser=31 countertop=24 sidetable=19 shelf=18 fridge=15
  microwave=7 cabinet=6 sinkbasin=4
box: sofa=44 coffeetable=38 diningtable=23 tvstand=22 dresser=8 sidetable=8 armchair=4
bread: diningtable=60 countertop=40 fridge=12 garbagecan=8 microwave=2
butterknife: countertop=49 diningtable=36 sidetable=33 sinkbasin=3 drawer=3
candle: countertop=77 toilet=75 sidetable=67 dresser=50 shelf=22 cabinet=10 drawer=8
cd: diningtable=100 dresser=71 desk=62 sidetable=32 armchair=21 cabinet=20 garbagecan=11 safe=10
  drawer=6 shelf=4
cellphone: coffeetable=78 desk=54 dresser=52 diningtable=50 bed=44 armchair=36 sofa=27
  sidetable=20 safe=9 shelf=7 drawer=2
cloth: cart=100 countertop=65 bathtubbasin=62 dresser=45 cabinet=26 shelf=19 toilet=13 drawer=5
  sinkbasin=3
creditcard: desk=62 tvstand=57 dresser=55 diningtable=44 sofa=41 sidetable=40 coffeetable=36
  countertop=29 armchair=16 shelf=6 drawer=6
cup: diningtable=47 fridge=38 countertop=24 sidetable=20 sinkbasin=20 microwave=12 shelf=4
  cabinet=4
desklamp: dresser=44 sidetable=42 desk=36 coffeetable=12 shelf=4
dishsponge: diningtable=100 bathtubbasin=48 countertop=47 toilet=36 garbagecan=26 cart=25 shelf=21
  sinkbasin=8 drawer=5 cabinet=4
egg: diningtable=49 sidetable=31 countertop=27 sinkbasin=26 fridge=25 garbagecan=24 microwave=12
fork: diningtable=76 countertop=37 sidetable=25 drawer=7
glassbottle: diningtable=50 countertop=30 sinkbasin=25 garbagecan=17 shelf=11 fridge=10 cabinet=7
handtowel: handtowelholder=83 countertop=8
kettle: diningtable=36 countertop=22 stoveburner=22 cabinet=3 sinkbasin=2
keychain: coffeetable=56 diningtable=47 dresser=44 sidetable=39 desk=35 safe=27 tvstand=27
  armchair=22 ottoman=17 sofa=14 shelf=11 drawer=3 cabinet=2
knife: diningtable=46 sidetable=43 countertop=39 drawer=4
ladle: diningtable=70 countertop=40 drawer=4 cabinet=3
laptop: bed=77 sofa=56 countertop=50 diningtable=44 desk=41 coffeetable=32 dresser=15 sidetable=6
  armchair=3
lettuce: diningtable=63 sidetable=43 countertop=27 fridge=15 garbagecan=8 sinkbasin=7
mug: desk=62 coffeemachine=49 diningtable=35 dresser=33 countertop=29 sidetable=27 fridge=22
  microwave=12 sinkbasin=12 shelf=10 cabinet=3
newspaper: diningtable=61 dresser=44 coffeetable=35 ottoman=33 sofa=32 armchair=24 sidetable=22
  shelf=16 tvstand=15 drawer=1
pan: stoveburner=30 countertop=22 fridge=8 diningtable=4
pen: diningtable=92 coffeetable=67 countertop=67 desk=61 dresser=50 sidetable=38 shelf=15
  garbagecan=8 drawer=3
pencil: diningtable=100 desk=60 sidetable=55 dresser=55 shelf=12 garbagecan=10 drawer=5
peppershaker: diningtable=41 countertop=39 shelf=7 cabinet=4 drawer=3
pillow: bed=100 sofa=83 armchair=22
plate: diningtable=50 tvstand=50 countertop=27 dresser=25 fridge=21 sidetable=15 coffeetable=11
  sinkbasin=9 cabinet=5 shelf=4 microwave=1
pot: stoveburner=31 diningtable=17 countertop=7 fridge=4 sinkbasin=3 shelf=1
potato: diningtable=48 sidetable=46 countertop=34 fridge=28 garbagecan=18 sinkbasin=18
  microwave=18
remotecontrol: diningtable=50 dresser=50 coffeetable=49 sofa=38 tvstand=35 countertop=33
  sidetable=18 armchair=14 shelf=2 drawer=2
saltshaker: countertop=48 diningtable=41 sidetable=38 cabinet=8 shelf=6 drawer=1
soapbar: sidetable=83 toilet=48 countertop=47 bathtubbasin=42 cart=33 garbagecan=26 shelf=14
  cabinet=11 sinkbasin=7 drawer=6
soapbottle: diningtable=100 sidetable=100 dresser=60 countertop=58 toilet=49 shelf=40
  garbagecan=20 cabinet=18
spatula: diningtable=71 countertop=42 sinkbasin=7 drawer=1
spoon: diningtable=50 countertop=40 sidetable=30 sinkbasin=7 drawer=4
spraybottle: sidetable=83 countertop=59 toilet=57 cart=40 garbagecan=23 shelf=22 cabinet=15
  dresser=11
statue: desk=100 coffeetable=64 diningtable=59 sidetable=35 dresser=30 shelf=23 tvstand=14
tissuebox: countertop=100 desk=55 diningtable=52 coffeetable=44 tvstand=33 dresser=25 toilet=18
  sidetable=13 shelf=12 garbagecan=7 drawer=6
toiletpaper: dresser=67 countertop=56 toilet=54 sidetable=38 toiletpaperhanger=33 shelf=30
  garbagecan=28 cart=25 cabinet=7 drawer=4
tomato: diningtable=51 fridge=34 sidetable=33 countertop=31 garbagecan=24 sinkbasin=11
vase: dresser=70 coffeetable=42 diningtable=42 tvstand=33 desk=29 shelf=28 sidetable=21 cabinet=12
watch: tvstand=57 diningtable=54 coffeetable=44 sidetable=31 dresser=25 desk=20 shelf=6 drawer=6
wateringcan: coffeetable=100
winebottle: diningtable=54 countertop=36 garbagecan=22 shelf=17 fridge=4 cabinet=2
"""


def _read_table(text: str) -> Mapping[str, Mapping[str, float]]:
    table = {}
    for line in text.strip().replace("\n  ", " ").splitlines():
        thing, _, entries = line.partition(": ")
        pairs = (entry.split("=") for entry in entries.split())
        table[thing] = MappingProxyType({place: int(percent) / 100 for place, percent in pairs})
    return MappingProxyType(table)


def _average(table: Mapping[str, Mapping[str, float]]) -> Mapping[str, float]:
    places = {place for row in table.values() for place in row}
    return MappingProxyType(
        {place: sum(row.get(place, 0.0) for row in table.values()) / len(table) for place in places}
    )


_TABLE: Final = _read_table(_MEASURED)
_FALLBACK: Final = _average(_TABLE)
_FLOOR: Final = 0.004


def chance(object_type: str, receptacle_type: str) -> float:
    """A prior, in (0, 1], for one ALFWorld receptacle of a type to hold an object of a type.

    Object types without measurements get the average over the measured ones.
    """
    row = _TABLE.get(object_type, _FALLBACK)
    return max(row.get(receptacle_type, 0.0), _FLOOR)
