"""Demonstrations to test with."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from declutch.cold_start.demonstrate import (
    DemonstrationPlan,
    describe_demonstrations,
    play_demonstrations,
)
from declutch.cold_start.demonstrations import (
    Demonstration,
    DemonstrationsHeader,
    write_demonstrations,
)
from declutch.envs.protocol import Suite


class Material(NamedTuple):
    """A suite, the folder of a tiny model, and demonstrations whose words the model knows."""

    suite: Suite
    model: Path
    demonstrations: list[Demonstration]


def demonstrate(
    suite: Suite,
    path: Path,
    plan: DemonstrationPlan,
    progress: Callable[[int, int], None] | None = None,
) -> DemonstrationsHeader:
    """Play, describe and write demonstrations; the header of their file."""
    episodes = play_demonstrations(suite, plan, progress)
    header = describe_demonstrations(suite, plan, episodes)
    return write_demonstrations(path, header, episodes)
