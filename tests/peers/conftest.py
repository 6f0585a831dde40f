"""The peers' own functions; their tests skip where they are not installed."""

import pytest

HOW = "peers: not installed (make test installs them)"


@pytest.fixture(scope="session")
def core_algos():
    """verl's advantages and losses."""
    return pytest.importorskip("verl.trainer.ppo.core_algos", reason=HOW)


@pytest.fixture(scope="session")
def grpo_trainer():
    """trl's GRPO trainer class."""
    return pytest.importorskip("trl", reason=HOW).GRPOTrainer
