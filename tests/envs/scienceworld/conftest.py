"""Live simulators, shared by the tests because a JVM takes seconds to start."""

from collections.abc import Iterator

import pytest

from declutch.envs.scienceworld.simulator import Launch, Simulator, find_java
from declutch.ground.errors import UserError


@pytest.fixture(scope="session")
def launch() -> Launch:
    """How simulators are started; tests that need one skip where it is not installed."""
    pytest.importorskip("scienceworld", reason="java: needs the extra scienceworld")
    try:
        return Launch(find_java())
    except UserError as error:
        pytest.skip(f"java: {error}")


@pytest.fixture(scope="session")
def simulator(launch: Launch) -> Iterator[Simulator]:
    """A simulator that every test loads anew."""
    live = Simulator(launch)
    yield live
    live.close()
