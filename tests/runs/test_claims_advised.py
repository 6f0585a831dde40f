"""What may be changed when a run goes on: what its own messages advise."""

from pathlib import Path

import pytest

from declutch.config.files import override_config, parse_config
from declutch.config.listing import list_settings
from declutch.ground.errors import UserError
from declutch.runs.claims import ADVISED, check_resumed
from declutch.runs.folder import RunFolder

CONFIG = parse_config({"algorithm": {"type": "ppo"}}, "test")


def resume(tmp_path: Path, item: str) -> None:
    check_resumed(RunFolder(tmp_path), CONFIG, override_config(CONFIG, [item], "test"))


@pytest.mark.parametrize(
    "item",
    [
        "optimizer.lr=1e-7",
        "algorithm.critic_lr=1e-6",
        "agent.history_length=2",
        "agent.max_response_tokens=12",
        "loss.max_mismatch=0.5",
        "loss.recompute_old=true",
        "model.dtype=bfloat16",
    ],
)
def test_what_a_message_advises_may_be_changed(tmp_path: Path, item: str) -> None:
    resume(tmp_path, item)


@pytest.mark.parametrize(
    "item", ["optimizer.lr=1", "agent.history_length=20", "loss.kl_coef=0", "seed=3"]
)
def test_other_changes_are_another_run(tmp_path: Path, item: str) -> None:
    with pytest.raises(UserError, match=item.partition("=")[0]):
        resume(tmp_path, item)


def test_what_is_advised_are_settings() -> None:
    keys = {setting.key for section in list_settings() for setting in section.settings}
    assert set(ADVISED) <= keys
