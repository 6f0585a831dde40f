"""The registry of methods, and a method that comes from outside the package."""

from __future__ import annotations

import pytest
from builders import make_episode
from toy_method import ToyConfig

from declutch.config.algorithm import METHODS, method_config_class
from declutch.config.files import dump_config, load_config, parse_config
from declutch.credit.registry import agent_advantage, find_method
from declutch.credit.table import build_table
from declutch.errors import UserError
from declutch.records import Outcome

TOY = "toy_method:TOY"


@pytest.mark.parametrize("name", METHODS)
def test_every_shipped_method_is_found_with_its_settings(name: str) -> None:
    method = find_method(name)
    assert method.config is method_config_class(name)
    assert method.config().type == name


def test_a_method_from_outside_is_chosen_by_its_dotted_path() -> None:
    config = parse_config({"algorithm": {"type": TOY, "win": 3}}, "here").algorithm
    assert config == ToyConfig(type=TOY, win=3.0)
    table, _ = build_table(
        [make_episode(0, [0.0, 1.0], Outcome.WON), make_episode(0, [0.0], Outcome.FAILED)]
    )
    assert agent_advantage(table, None, config, 0.1).tolist() == [3.0, 3.0, -3.0]


def test_its_settings_survive_a_file(tmp_path) -> None:
    config = load_config(None, [f"algorithm.type={TOY}", "algorithm.win=2"])
    (tmp_path / "config.yaml").write_text(dump_config(config))
    again = load_config(tmp_path / "config.yaml")
    assert again == config
    assert again.algorithm == ToyConfig(type=TOY, win=2.0)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("algorithm.type=gipo", "algorithm.type='gipo': no such method; did you mean 'gigpo'"),
        ("algorithm.type=nowhere:TOY", "'nowhere' cannot be imported"),
        ("algorithm.type=toy_method:TOI", "'toy_method' has no 'TOI'"),
        ("algorithm.type=toy_method:NO_METHOD", "is no declutch.credit.registry.Method"),
        (
            f"algorithm.type={TOY} algorithm.vin=2",
            "unknown setting 'algorithm.vin'; did you mean 'algorithm.win'?",
        ),
        (f"algorithm.type={TOY} algorithm.win=-1", "algorithm.win=-1: input should be greater"),
        ("algorithm=3", "algorithm=3: a section with a type is expected, found int"),
    ],
)
def test_what_is_no_method_is_one_clear_error(item: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(None, item.split())
    assert message in str(caught.value)


def test_a_method_leaves_the_settings_of_the_former_one_behind(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text("algorithm: {type: gigpo, gamma: 0.5}\n")
    config = load_config(tmp_path / "a.yaml", [f"algorithm.type={TOY}"])
    assert config.algorithm == ToyConfig(type=TOY)
