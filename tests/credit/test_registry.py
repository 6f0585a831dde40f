"""The registry of methods, and a method that comes from outside the package."""

from __future__ import annotations

import pytest
import torch
from builders import make_action, make_episode, make_step
from toy_method import NO_METHOD, ToyConfig, toy
from toy_method import TOY as TOY_METHOD

from declutch.config.algorithm import METHODS, method_config_class
from declutch.config.files import dump_config, load_config, parse_config
from declutch.credit import registry
from declutch.credit.registry import Method, agent_advantage, find_method
from declutch.credit.table import build_table
from declutch.ground.errors import UserError
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


def test_a_method_asks_for_nothing_unless_it_says_so() -> None:
    method = Method("plain", ToyConfig, toy)
    assert (method.probes, method.is_per_token, method.critic) == ((), False, None)
    assert method.similarity(ToyConfig(type=TOY)) == 1.0


def test_what_is_found_must_be_a_method() -> None:
    assert find_method(TOY) is TOY_METHOD
    with pytest.raises(ValueError, match=rf"NO_METHOD is no .*Method, but {NO_METHOD}"):
        find_method("toy_method:NO_METHOD")


@pytest.mark.parametrize("is_per_token", [False, True])
def test_credit_of_tokens_with_the_penalty_of_bad_formats_by_hand(
    is_per_token: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [
        make_step(response=(4, 5)),
        make_step(action=make_action(is_valid=False), response=(6, 7, 8)),
    ]
    table, _ = build_table([make_episode(0, [], Outcome.WON, steps)])
    values = torch.arange(5.0) if is_per_token else torch.tensor([2.0, 3.0])
    method = Method("fixed", ToyConfig, lambda *_: values, is_per_token=is_per_token)
    monkeypatch.setattr(registry, "find_method", lambda name: method)
    found = agent_advantage(table, None, ToyConfig(type=TOY), 0.5)
    expected = [0.0, 1.0, 1.5, 2.5, 3.5] if is_per_token else [2.0, 2.0, 2.5, 2.5, 2.5]
    assert found.tolist() == expected


def test_what_the_shipped_methods_declare() -> None:
    """Labels stand in titles; probes, tokens and critics decide what the learner computes."""
    found = {name: find_method(name) for name in METHODS}
    assert {name: method.label for name, method in found.items()} == {
        "grpo": "GRPO",
        "rloo": "RLOO",
        "gigpo": "GiGPO",
        "hgpo": "HGPO",
        "nthr": "NTHR",
        "ppo": "PPO",
        "rlvmr": "RLVMR",
    }
    assert {name: method.probes for name, method in found.items() if method.probes} == {
        "nthr": ("hidden", "readout"),
        "ppo": ("values",),
    }
    assert [name for name, method in found.items() if method.is_per_token] == ["nthr", "ppo"]
    assert [name for name, method in found.items() if method.critic] == ["ppo"]
    gigpo = method_config_class("gigpo")
    assert found["gigpo"].similarity(gigpo(similarity=0.9)) == 0.9
    assert found["grpo"].similarity(method_config_class("grpo")()) == 1.0


def test_what_ppo_asks_of_its_critic() -> None:
    critic, config = find_method("ppo").critic, method_config_class("ppo")
    assert critic is not None
    assert critic.learning_rate(config(), 2e-4) == pytest.approx(2e-3)
    assert critic.learning_rate(config(critic_lr=5e-5), 2e-4) == 5e-5
    assert critic.warmup(config(critic_warmup=7)) == 7
    assert critic.value_clip(config(value_clip=0.3)) == 0.3
