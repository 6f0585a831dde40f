"""Oracle labels: exact distances against search, and the labels of hand-made situations."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from small_worlds import KINDS, exact_distances, forget_unused, make_small_world

from declutch.envs.alfworld.distance import first_half_steps, remaining_steps
from declutch.envs.alfworld.dynamics import (
    admissible_commands,
    apply_command,
    is_won,
    parse_command,
)
from declutch.envs.alfworld.expert import Expert
from declutch.envs.alfworld.oracle import OracleTracker
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.alfworld.world import Goal, State, Wanted, World
from declutch.envs.households.generate import HouseholdCounts, ensure_households
from declutch.envs.protocol import Oracle

MAX_STATES = 2500


def solvable(kind: str, count: int) -> list[tuple[World, dict[State, int | None]]]:
    """The first `count` small worlds of a kind that can be won and fully enumerated."""
    found: list[tuple[World, dict[State, int | None]]] = []
    seed = 0
    while len(found) < count:
        world = make_small_world(seed, kind)
        distances = exact_distances(world, MAX_STATES)
        if distances is not None and distances[forget_unused(world.start)]:
            found.append((world, distances))
        seed += 1
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_distance_equals_breadth_first_search_in_every_state(kind: str) -> None:
    for world, distances in solvable(kind, 4):
        for state, steps in distances.items():
            assert remaining_steps(world, state) == steps


@pytest.mark.parametrize("kind", KINDS)
def test_with_everything_seen_labels_are_the_sign_of_the_exact_difference(kind: str) -> None:
    draw = random.Random(kind)
    for world, distances in solvable(kind, 2):
        tracker = OracleTracker(world)
        for place in range(len(world.receptacles_at)):
            tracker.observe(world.start._replace(location=place, opened=world.openable))
        for state in draw.sample(sorted(distances), min(120, len(distances))):
            before = distances[state]
            if before is None or is_won(world, state):
                continue
            for text in admissible_commands(world, state):
                command = parse_command(world, text)
                assert command is not None
                after = distances[forget_unused(apply_command(world, state, command))]
                wanted = None
                if after is None or after > before:
                    wanted = 0
                elif after < before:
                    wanted = 1
                assert tracker.label(state, text) == wanted, (text, before, after)


def hand_made() -> World:
    """Five boxes in five places, 2 and 3 closed; a mug in box 2, another in box 3, a pen in box 0.

    The goal is a mug in box 4, box 1 holds pens only.
    """
    base = make_small_world(0, "place")
    num = 5
    names = tuple(f"box {r}" for r in range(num))
    mug, other, pen = 1, 2, 4
    return replace(
        base,
        object_names=("mug 0", "mug 1", "pen 2"),
        object_numbers={"mug 0": 0, "mug 1": 1, "pen 2": 2},
        receptacle_names=names,
        receptacle_types=("box",) * num,
        receptacle_numbers={name: r for r, name in enumerate(names)},
        receptacle_locations=tuple(range(num)),
        receptacles_at=(*((r,) for r in range(num)), ()),
        can_contain=(7, pen, 7, 7, 7),
        openable=0b01100,
        sinks=0,
        microwaves=0,
        fridges=0,
        pickupable=7,
        go_commands=tuple(
            tuple(f"go to {name}" for r, name in enumerate(names) if r != place)
            for place in range(num + 1)
        ),
        goal=Goal((Wanted(mug | other, ()),), (4,), None, None),
        start=base.start._replace(
            location=num,
            opened=0,
            contents=(pen, 0, mug, other, 0),
            lying=(0,) * (num + 1),
            removed=(0,) * num,
        ),
    )


class Walk:
    """Plays commands in a world, and asks for the labels of others on the way."""

    def __init__(self, world: World) -> None:
        self.world, self.state, self.tracker = world, world.start, OracleTracker(world)
        self.tracker.observe(self.state)

    def label(self, text: str) -> int | None:
        return self.tracker.label(self.state, text)

    def play(self, *texts: str) -> None:
        for text in texts:
            command = parse_command(self.world, text)
            assert command is not None
            assert text in admissible_commands(self.world, self.state)
            self.state = apply_command(self.world, self.state, command)
            self.tracker.observe(self.state)


@pytest.mark.parametrize(
    "text", ["", "dance", "open box 2", "go to box 9", "take mug 0 from box 2"]
)
def test_inadmissible_is_bad(text: str) -> None:
    assert Walk(hand_made()).label(text) == 0


def test_search_is_good_where_the_object_could_be_and_return_is_bad() -> None:
    walk = Walk(hand_made())
    assert walk.label("look") is None
    assert walk.label("go to box 0") == 1
    assert walk.label("go to box 1") is None  # Holds pens only: not bad, but no search either.
    assert walk.label("go to box 4") is None  # A mug there would have won the game.
    walk.play("go to box 0", "go to box 2")
    assert walk.label("go to box 0") == 0
    assert walk.label("open box 2") == 1
    walk.play("go to box 3")
    assert walk.label("go to box 2") is None  # Still closed: there is a reason to go back.
    walk.play("go to box 2", "open box 2", "close box 2")
    assert walk.label("go to box 0") == 0


def test_once_found_the_distance_decides() -> None:
    walk = Walk(hand_made())
    walk.play("go to box 2", "open box 2")
    assert walk.label("take mug 0 from box 2") == 1
    assert walk.label("go to box 3") == 0
    assert walk.label("close box 2") == 0
    assert walk.label("look") is None
    walk.play("take mug 0 from box 2")
    assert walk.label("close box 2") is None
    assert walk.label("move mug 0 to box 2") == 0
    assert walk.label("go to box 4") == 1
    walk.play("go to box 4")
    assert walk.label("move mug 0 to box 4") == 1
    walk.play("move mug 0 to box 4")
    assert walk.label("take mug 0 from box 4") is None  # Over: nothing left to judge.


def test_unseen_objects_do_not_count() -> None:
    walk = Walk(hand_made())
    walk.play("go to box 2", "open box 2", "take mug 0 from box 2", "go to box 3")
    # From the true state the mug in box 3 is of no use either, but neither may it decide.
    assert walk.label("open box 3") is None
    assert remaining_steps(walk.world, walk.state) == 2


def test_ballast_may_be_carried_to_where_it_fits() -> None:
    walk = Walk(hand_made())
    walk.play("go to box 0", "take pen 2 from box 0", "go to box 1")
    assert walk.label("go to box 0") is None
    walk.play("move pen 2 to box 1")
    assert walk.label("go to box 0") == 0


def test_a_dead_end_is_bad() -> None:
    world = replace(hand_made(), can_contain=(3, 3, 3, 3, 3))
    walk = Walk(world)
    walk.play("go to box 2", "open box 2", "go to box 0")
    assert walk.label("take pen 2 from box 0") == 0
    walk.play("take pen 2 from box 0")
    assert remaining_steps(world, walk.state) is None


def test_half_a_pair_is_progress() -> None:
    both = Wanted(3, ())
    world = replace(hand_made(), goal=Goal((both, both), (4,), None, None))
    walk = Walk(world)
    walk.play("go to box 2", "open box 2")
    assert first_half_steps(world, walk.state) == 3
    assert walk.label("take mug 0 from box 2") == 1
    walk.play("take mug 0 from box 2")
    assert walk.label("go to box 4") == 1
    assert walk.label("go to box 3") == 1  # To go on searching is as good.
    walk.play("go to box 4", "move mug 0 to box 4")
    assert walk.label("take mug 0 from box 4") == 0
    assert walk.label("go to box 2") == 0


@pytest.fixture(scope="module")
def households(tmp_path_factory: pytest.TempPathFactory) -> AlfworldSuite:
    counts = HouseholdCounts(train=60, valid_seen=6, valid_unseen=6)
    return AlfworldSuite(ensure_households(tmp_path_factory.mktemp("games"), 1, counts))


def test_the_environment_asks_a_tracker_that_saw_every_state(households: AlfworldSuite) -> None:
    env = households.make_env()
    assert isinstance(env, Oracle)
    draw = random.Random(0)
    for task in households.tasks("train")[:12]:
        observation = env.reset(task)
        tracker = OracleTracker(env.world)
        for number in range(20):
            tracker.observe(env.state)
            action = draw.choice(observation.admissible)
            if number % 3 == 0:  # Asked now and then only, it must catch up.
                assert env.label_action(action) == tracker.label(env.state, action)
            observation = env.step(action).observation


def count_expert_labels(suite: AlfworldSuite, split: str, num_games: int) -> Counter[int | None]:
    labels: Counter[int | None] = Counter()
    env = suite.make_env()
    draw = random.Random(split)
    for task in draw.sample(suite.tasks(split), num_games):
        observation = env.reset(task)
        expert = Expert()
        expert.reset(task, observation)
        for _ in range(40):
            advice = expert.act().action
            labels[env.label_action(advice)] += 1
            action = draw.choice(observation.admissible) if draw.random() < 0.2 else advice
            transition = env.step(action)
            observation = transition.observation
            expert.update(action, observation)
            if transition.is_won:
                break
    return labels


def check_expert_labels(labels: Counter[int | None]) -> None:
    assert labels[1] > 0.93 * labels.total()
    assert labels[0] < 0.01 * labels.total()


def test_expert_is_good_by_the_oracle_in_generated_households(households: AlfworldSuite) -> None:
    check_expert_labels(count_expert_labels(households, "train", 60))


def test_expert_is_good_by_the_oracle_in_real_games(alfworld_data: Path) -> None:
    check_expert_labels(count_expert_labels(AlfworldSuite(alfworld_data), "valid_seen", 120))


def test_walkthroughs_are_never_shorter_than_the_distance(alfworld_data: Path) -> None:
    suite = AlfworldSuite(alfworld_data)
    env = suite.make_env()
    for task in suite.tasks("valid_unseen"):
        env.reset(task)
        world, state = env.world, env.state
        steps = remaining_steps(world, state)
        assert steps is not None
        assert steps <= len(world.walkthrough)
        for left, text in zip(range(len(world.walkthrough), 0, -1), world.walkthrough, strict=True):
            now = remaining_steps(world, state)
            assert now is not None
            assert now <= left
            command = parse_command(world, text)
            assert command is not None
            state = apply_command(world, state, command)
        assert remaining_steps(world, state) == 0
