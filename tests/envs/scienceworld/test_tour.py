"""A walk through the rooms: each once, whoever chooses an action in between."""

from declutch.envs.protocol import Observation
from declutch.envs.scienceworld.tour import Tourist
from declutch.records import TaskId

TASK = TaskId("scienceworld", "train", 0, "boil/0", "boil")
ROOMS = ("kitchen", "outside", "workshop")
ADMISSIBLE = ("look around", "open door", *(f"teleport to {room}" for room in ROOMS))


def walk(seed: int, disturb_at: int | None = None) -> list[str]:
    guide, seen = Tourist(seed), Observation("here", ADMISSIBLE)
    guide.reset(TASK, seen)
    actions: list[str] = []
    while (advice := guide.act()) is not None:
        assert guide.act() == advice
        actions.append("open door" if len(actions) == disturb_at else advice.action)
        guide.update(actions[-1], seen)
    return actions


def test_every_room_is_looked_at_once() -> None:
    actions = walk(0)
    assert actions[1::2] == ["look around"] * 3
    assert sorted(actions[::2]) == sorted(ADMISSIBLE[2:])
    assert len({tuple(walk(seed)) for seed in range(20)}) > 1
    assert walk(0) == actions


def test_another_action_in_between_leaves_no_room_out() -> None:
    assert set(ADMISSIBLE[2:]) <= set(walk(0, disturb_at=0))


def test_where_no_room_is_listed_there_is_no_walk() -> None:
    guide = Tourist(0)
    guide.reset(TASK, Observation("here", ("teleport OBJ",)))
    assert guide.act() is None
