"""Configuration: one clear message for whatever is wrong with it."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from declutch.config.files import (
    change_config,
    dump_config,
    first_difference,
    lay_over,
    load_config,
    parse_config,
)
from declutch.config.run import Config
from declutch.envs.scienceworld.tasks import HELD_OUT_KINDS, KINDS
from declutch.ground.errors import UserError


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("optimizer: {lr: 1.0e-3}\ngcd: {enabled: true}\n")
    config = load_config(path, ["optimizer.lr=2e-4", "eval.levels=[L0]"])
    assert (config.optimizer.lr, config.gcd.enabled, config.eval.levels) == (2e-4, True, ("L0",))


def test_a_dumped_configuration_reads_back_equal() -> None:
    config = load_config(None, ["seed=3", "gcd.enabled=true", "env.alfworld.data_dir=/x"])
    assert parse_config(yaml.safe_load(dump_config(config)), "x") == config


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("algorithm.type=gigop", ["algorithm.type='gigop'", "did you mean 'gigpo'"]),
        ("algorithm.gamma=1", ["unknown setting 'algorithm.gamma'", "group_stats"]),
        ("optimizer.lr=fast", ["optimizer.lr", "'fast'"]),
        ("train.group_size=1", ["train.group_size", "greater than or equal to 2"]),
        ("eval.levels=3", ["eval.levels", "3"]),
        ("train=3", ["train=3: this is a section", "train.KEY=VALUE"]),
        ("train.iterations.x=3", ["train.iterations"]),
        ("nonsense", ["nonsense", "section.key=value"]),
        ("tiny.num_heads=3", ["tiny.hidden_size=128", "tiny.num_heads=3"]),
        ("algorithm.type=rlvmr", ["algorithm.type=rlvmr", "agent.reasoning=think", "=meta"]),
        ("agent.reasoning=plan", ["agent.reasoning", "plan", "meta"]),
        ("gcd.task=head", ["gcd.task", "'head'", "value_head"]),
        ("eval.reflection=true", ["eval.reflection=true", "agent.prompt=full"]),
        ("env.suite=sokoban", ["env.suite", "sokoban", "alfworld"]),
    ],
)
def test_bad_settings_name_key_and_value(override: str, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        load_config(None, [override])
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("task", ["judge", "prediction"])
def test_an_answer_in_words_needs_room_for_reasoning(task: str) -> None:
    full = ["agent.prompt=full", "agent.max_response_tokens=512", "gcd.enabled=true"]
    with pytest.raises(UserError, match=r"gcd\.max_response_tokens=24 cannot hold"):
        load_config(None, [*full, f"gcd.task={task}"])
    load_config(None, [*full, f"gcd.task={task}", "gcd.max_response_tokens=256"])
    load_config(None, [*full, "gcd.task=value_head"])  # it says nothing


def test_later_files_are_laid_over_earlier_ones_and_the_command_line_over_all(
    tmp_path: Path,
) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("optimizer: {lr: 1.0, beta1: 0.5}\nseed: 3\n")
    second.write_text("optimizer: {lr: 2.0}\nseed: 4\n")
    config = load_config([first, second], ["seed=5"])
    assert (config.optimizer.lr, config.optimizer.beta1, config.seed) == (2.0, 0.5, 5)
    assert load_config([second, first]).seed == 3


def test_another_algorithm_leaves_the_settings_of_the_former_behind(tmp_path: Path) -> None:
    path = tmp_path / "base.yaml"
    path.write_text("algorithm: {type: gigpo, gamma: 0.5, mode: mean_norm, group_stats: steps}\n")
    ppo = load_config(path, ["algorithm.type=ppo"]).algorithm
    assert (ppo.type, ppo.gamma) == ("ppo", 0.5)
    assert load_config(path, ["algorithm.type=rloo"]).algorithm.group_stats == "steps"
    # What was asked for beside it, or is no setting at all, is not lost in silence.
    with pytest.raises(UserError, match=r"algorithm\.group_stats"):
        load_config(path, ["algorithm.group_stats=steps", "algorithm.type=ppo"])
    path.write_text("algorithm: {group_stat: steps}\n")
    with pytest.raises(UserError, match=r"group_stat'; did you mean 'algorithm.group_stats'"):
        load_config(path, ["algorithm.type=rloo"])


def test_a_missing_or_broken_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        load_config(tmp_path / "none.yaml")
    for text in ("a: [", "- 1", "\x00"):
        path = tmp_path / "bad.yaml"
        path.write_text(text)
        with pytest.raises(UserError, match=r"bad\.yaml"):
            load_config(path)


def test_the_first_difference_is_named_with_both_values() -> None:
    one = load_config(None, ["optimizer.lr=1", "train.iterations=2", "threads=3"])
    other = change_config(one, threads=4, train={"iterations": 5})
    assert first_difference(one, one) is None
    assert first_difference(one, other) == ("threads", 3, 4)
    assert first_difference(one, other, ignored=("threads",)) == ("train.iterations", 2, 5)
    assert (other.optimizer.lr, other.train.group_size) == (1, one.train.group_size)
    gigpo = load_config(None, ["algorithm.type=gigpo"])
    ignored = ("algorithm.type", "algorithm.std_norm", "algorithm.mode")
    assert first_difference(Config(), gigpo, ignored) == ("algorithm.gamma", None, 0.95)


KEYS = st.sampled_from(
    [
        f"{name}.{key}"
        for name, field in Config.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {"": None})
    ]
) | st.text(max_size=12)


@given(KEYS, st.text(max_size=20))
def test_any_override_is_accepted_or_refused_in_one_line(key: str, value: str) -> None:
    try:
        config = load_config(None, [f"{key}={value}"])
    except UserError as error:
        assert str(error).strip()
    else:
        assert isinstance(config, Config)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.dictionaries(KEYS, inner, max_size=3) | st.lists(inner),
    )
)
def test_any_data_is_accepted_or_refused(data: object) -> None:
    try:
        parse_config(data, "x")  # type: ignore[arg-type]
    except UserError as error:
        assert "x: " in str(error)


def test_forms_of_actions_cannot_be_masked_to() -> None:
    forms = ["env.suite=scienceworld", "env.scienceworld.actions=templates"]
    with pytest.raises(UserError, match=r"agent\.constrain_actions=false"):
        load_config(None, forms)
    load_config(None, [*forms, "agent.constrain_actions=false"])
    load_config(None, forms[1:])


def test_scienceworld_has_a_setting_and_rlvmrs_protocol_is_laid_over_it() -> None:
    configs = Path(__file__).parents[2] / "configs"
    config = load_config([configs / "scienceworld.yaml"], [])
    world = config.env.scienceworld
    held_out = set(HELD_OUT_KINDS[world.held_out])
    assert config.agent.constrain_actions
    assert world.actions == "enumerated"
    assert set(world.kinds or ()) <= set(KINDS)
    # The tasks of the setting are of all levels.
    assert set(world.kinds or ()) & held_out
    assert set(world.kinds or ()) - held_out
    theirs = load_config([configs / "scienceworld.yaml", configs / "protocols/rlvmr.yaml"], [])
    assert theirs.env.scienceworld.held_out == "none"
    assert theirs.env.scienceworld.kinds == world.kinds
    assert theirs.eval.levels == ("L0", "L1")


@pytest.mark.parametrize(
    ("gcd", "word"),
    [
        ({"llm_agree": 6}, "no majority"),
        ({"llm_asks": 4, "llm_agree": 2}, "no majority"),
        ({"enabled": True, "labels": "llm"}, r"endpoint\.model is empty"),
        ({"labels": "llm", "llm_labels": "positive_only"}, r"rule\+llm"),
    ],
)
def test_impossible_settings_of_labels_are_refused(gcd: dict, word: str) -> None:
    with pytest.raises(UserError, match=word):
        parse_config({"gcd": gcd}, "test")


def test_a_compact_prompt_has_no_words_for_texts_by_an_endpoint() -> None:
    for key in ("reasoning", "critiques"):
        with pytest.raises(UserError, match=rf"sft\.{key}=endpoint needs agent\.prompt=full"):
            parse_config({"sft": {key: "endpoint"}}, "test")


FULL = {"prompt": "full", "max_response_tokens": 512}
ASKS = {"distill": "endpoint"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gcd": {"enabled": False}}, r"gcd\.enabled=false"),
        ({"gcd": {"task": "value_head"}}, r"gcd\.task=value_head"),
        ({"gcd": {"suggestions": {"distill": "endpoint"}}}, r"distill=medoid or agent\.prompt="),
        (
            {"agent": FULL, "gcd": {"max_response_tokens": 512, "suggestions": ASKS}},
            r"endpoint\.model is empty",
        ),
        ({"gcd": {"suggestions": {"evry": 3}}}, "did you mean 'gcd.suggestions.every'"),
    ],
)
def test_suggestions_that_cannot_work_are_refused(changes: dict, message: str) -> None:
    data = {"gcd": {"enabled": True, "suggestions": {"enabled": True}}}
    parse_config(data, "test")
    with pytest.raises(UserError, match=message):
        parse_config(lay_over(data, changes), "test")
