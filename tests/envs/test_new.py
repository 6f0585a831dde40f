"""A new environment of the user's own is a whole one, and passes its own test and the checks."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from declutch.config.files import load_config
from declutch.envs.check import check_suite
from declutch.envs.new import class_name, render_file, write_environment
from declutch.envs.registry import make_suite
from declutch.evaluation.players import scripted_player
from declutch.ground.errors import Status, UserError

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "add-environment.md"
NAME = "tall_tower"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a new environment, in which commands are run."""
    write_environment(tmp_path / NAME)
    monkeypatch.chdir(tmp_path / NAME)
    monkeypatch.syspath_prepend(tmp_path / NAME)
    yield tmp_path / NAME
    for name in (NAME, f"{NAME}_words", f"test_{NAME}"):
        sys.modules.pop(name, None)


def test_it_passes_the_checks_and_its_own_test(folder: Path) -> None:
    config = load_config(["tiny", "config.yaml"])
    assert config.env.suite == f"{NAME}:{class_name(NAME)}" == "tall_tower:TallTower"
    suite = make_suite(config.env)
    statuses = {finding.name: finding.status for finding in check_suite(suite)}
    assert Status.PROBLEM not in statuses.values()
    assert statuses["equal tasks"] is statuses["expert"] is Status.OK
    tests = importlib.import_module(f"test_{NAME}")
    tests.test_it_keeps_the_rules()
    tests.test_the_expert_wins_every_task()


def test_random_play_wins_a_sixth_of_its_games(folder: Path) -> None:
    """So that what is learned stands out."""
    config = load_config(["tiny", "config.yaml"])
    suite = make_suite(config.env)
    player = scripted_player("random", suite, config.env.max_steps)
    won = [episode.is_won for episode in player.play(suite.tasks("train"), 0)]
    assert 0.1 < sum(won) / len(won) < 0.25


def test_what_is_there_is_not_written_over(folder: Path) -> None:
    with pytest.raises(UserError, match=r"tall_tower\.py is there already"):
        write_environment(folder)


@pytest.mark.parametrize("name", ["Tall", "tall-tower", "1tower", "json", "_", "tall tower"])
def test_a_name_that_is_no_new_modules_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"can be no module's name|there is a module"):
        write_environment(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_the_guide_shows_the_files_as_they_are_written() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for template in ("environment.txt", "words.txt", "config.txt"):
        assert render_file(template, "corridor").strip() in text, template
