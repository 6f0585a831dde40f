"""Our client and the package's answer alike; benchmarks/scienceworld_env.py asks on all tasks."""

import random

import pytest

from declutch.envs.scienceworld.reference import PackageClient, replay, walk
from declutch.envs.scienceworld.simulator import DETERMINISM

# A task with heat, one with circuits, and one with bees, whose flight draws on the same random
# stream as the names of valid actions.
SAMPLE = [("freeze", 3), ("power-component", 1), ("grow-fruit", 2)]


@pytest.fixture(scope="module")
def package(launch):
    client = PackageClient(launch, *DETERMINISM)
    yield client
    client.close()


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.parametrize(("task", "variation"), SAMPLE)
def test_a_random_walk_is_answered_alike(package, simulator, task, variation):
    first = package.start(task, variation)
    theirs = walk(package, 8, random.Random(variation))
    simulator.load(task, variation)
    # The package's reset asks for the valid actions, too.
    ours = replay(simulator, ["look around", *(action for action, _ in theirs)], ask_all=True)
    assert ours[0].reply.text == first
    assert ours[1:] == [answer for _, answer in theirs]
    assert len(theirs) > 1
