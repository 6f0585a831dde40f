"""Fixtures every part of the suite shares."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Examples are a function of the test, and a busy machine is no failure.
settings.register_profile("declutch", deadline=None, derandomize=True)
settings.load_profile("declutch")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # Two workers on two cores: more threads only fight.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def alfworld_data() -> Path:
    """The folder of the official games; tests that need them skip where it is not set."""
    folder = os.environ.get("ALFWORLD_DATA", "")
    if not folder:
        pytest.skip("real games: set ALFWORLD_DATA to the folder that holds json_2.1.1")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What trains or is slow comes first, so that at the end no worker waits long for another."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    slow |= {item.path for item in items if item.path.parent.name in ("train", "journeys")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    for word, message in (
        ("real games", "tests on real games skipped: ALFWORLD_DATA is not set"),
        ("java:", "tests on ScienceWorld's simulator skipped: it or Java is not installed"),
        ("peers:", "comparisons with peers skipped: verl and trl are not installed"),
        ("extra suggestions", "tests of the sentence model skipped: it is not installed"),
        ("no chromium", "tests in a browser skipped: chromium is not installed"),
    ):
        count = sum(word in str(report.longrepr) for report in skipped)
        if count:
            terminalreporter.write_line(f"{count} {message}", yellow=True)
