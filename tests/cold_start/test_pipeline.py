"""The stages of a cold start: who words what, and what their files say of it."""

import json
from pathlib import Path

import pytest
from chat_server import GOOD
from fake_chat import answer_by_text
from served import make_served_folder

from declutch.cold_start.demonstrations import read_demonstrations
from declutch.cold_start.endpoint_texts import CHUNK
from declutch.cold_start.facts import read_cold_start
from declutch.cold_start.pipeline import (
    check_cold_start,
    check_demonstrations,
    make_demonstrations,
    make_tiny,
    run_sft,
)
from declutch.config.files import change_config, parse_config
from declutch.config.run import Config
from declutch.envs.registry import make_suite
from declutch.ground.errors import UserError
from examples.treasure import Treasure


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    cache = tmp_path_factory.mktemp("games")
    return parse_config(
        {
            "threads": 1,
            "env": {
                "cache_dir": str(cache),
                "households": {"train": 24, "valid_seen": 6, "valid_unseen": 6},
            },
            "agent": {"prompt": "full", "constrain_actions": False, "max_response_tokens": 64},
            "endpoint": {"model": "sage"},
            "sft": {
                "num_episodes": 6,
                "perturb": 0.4,
                "epochs": 1,
                "judge_samples": 8,
                "prediction_samples": 5,
                "reasoning": "endpoint",
                "critiques": "endpoint",
            },
        },
        "test",
    )


def test_an_endpoint_that_is_down_is_one_clear_error(config: Config, tmp_path: Path) -> None:
    chat = answer_by_text(lambda prompt: None)
    with pytest.raises(UserError, match=r"none of \d+ questions \(it is down\)"):
        make_demonstrations(
            config, make_suite(config.env), tmp_path / "demonstrations.jsonl", chat=chat
        )
    assert list(tmp_path.iterdir()) == []
    assert len(chat.asked) == CHUNK  # the first chunk is enough to know


def test_the_whole_cold_start_says_who_wrote_what(config: Config, tmp_path: Path) -> None:
    suite, path = make_suite(config.env), tmp_path / "demonstrations.jsonl"
    odd = iter([True, False] * 1000)
    header = make_demonstrations(
        config, suite, path, chat=answer_by_text(lambda p: "I know why." if next(odd) else "I")
    )
    assert header.reasoning == "endpoint sage"
    assert header.fallbacks == {"unfinished": header.num_steps // 2}
    assert read_demonstrations(path)[0] == header
    assert json.loads(path.read_text().splitlines()[0])["reasoning"] == "endpoint sage"
    model = make_served_folder(tmp_path / "tiny", num_positions=4096)
    config = change_config(config, model={"path": str(model)})
    judge = answer_by_text(lambda prompt: GOOD)
    facts = run_sft(config, path, tmp_path / "cold", chat=judge)
    assert facts.num_judge_examples == len(judge.asked) == 8
    assert facts.num_prediction_examples == 5
    assert (facts.reasoning, facts.critiques) == ("endpoint sage", "endpoint sage")
    assert facts.reasoning_fallbacks == header.fallbacks
    assert facts.critique_fallbacks == {"other verdict": 4}
    assert read_cold_start(tmp_path / "cold") == facts
    plain = config.model_copy(
        update={"sft": config.sft.model_copy(update={"reasoning": "template"})}
    )
    with pytest.raises(UserError, match=r"worded by endpoint sage.*sft\.reasoning=template"):
        run_sft(plain, path, tmp_path / "none", chat=judge)
    with pytest.raises(UserError, match="templates alone"):
        run_sft(config, path, tmp_path / "none")


ISLAND = {
    "threads": 1,
    "env": {"suite": "examples.treasure:Treasure", "max_steps": 8},
    "tiny": {"hidden_size": 16, "num_layers": 1, "intermediate_size": 16},
    "sft": {"num_episodes": 12, "epochs": 1, "judge_samples": 20, "lr": 1e-3},
}


class Renamed(Treasure):
    """The island with one training task less."""

    def tasks(self, split):
        return super().tasks(split)[1:]


@pytest.fixture(scope="module")
def island(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model and demonstrations of an environment without an oracle."""
    folder = tmp_path_factory.mktemp("island")
    config = parse_config(ISLAND, "test")
    make_tiny(config, make_suite(config.env), folder / "tiny")
    make_demonstrations(config, make_suite(config.env), folder / "demonstrations.jsonl")
    return folder


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sft": {"num_episodes": 60}}, "num_episodes=12, but num_episodes=60"),
        ({"sft": {"label_every": 3}}, "label_every=1, but label_every=3"),
        ({"sft": {"protocol": "declared-share"}}, "protocol=strict, but protocol=declared-share"),
        ({"seed": 5}, "seed=0, but seed=5"),
        ({"env": {"max_steps": 9}}, "max_steps=8, but max_steps=9"),
        ({"env": {"suite": f"{__name__}:Renamed"}}, "manifest="),
    ],
)
def test_demonstrations_of_other_settings_are_refused(
    island: Path, changes: dict, named: str
) -> None:
    config = change_config(parse_config(ISLAND, "test"), **changes)
    path = island / "demonstrations.jsonl"
    with pytest.raises(UserError, match=f"is there already, with .*{named}"):
        check_demonstrations(config, make_suite(config.env), path)
    same = parse_config(ISLAND, "test")
    check_demonstrations(same, make_suite(same.env), path)


def test_the_rules_labels_serve_without_an_oracle_and_what_they_cannot_is_said(
    island: Path, tmp_path: Path
) -> None:
    config = change_config(parse_config(ISLAND, "test"), model={"path": str(island / "tiny")})
    notes: list[str] = []
    facts = run_sft(config, island / "demonstrations.jsonl", tmp_path / "cold", say=notes.append)
    assert facts.num_judge_examples > 0
    assert facts.judge_labels == "rule"
    assert not [note for note in notes if "judge_samples" in note]

    config = change_config(config, sft={"perturb": 0.0, "lr": 1e-7})
    path = tmp_path / "plain.jsonl"
    make_demonstrations(config, make_suite(config.env), path)
    began: list[int] = []

    def say(note: str) -> None:
        notes.append(f"{len(began)} steps: {note}")

    facts = run_sft(config, path, tmp_path / "colder", lambda p: began.append(p.step), say=say)
    assert (facts.num_judge_examples, facts.judge_labels) == (0, "")
    assert [note for note in notes if note.startswith("0 steps: sft.judge_samples=20, but there")]
    assert [note for note in notes if note.startswith("0 steps: ") and "--config tiny" in note]
    assert [note for note in notes if note.startswith(f"{facts.steps} steps: the loss has hardly")]


def test_a_model_without_the_words_is_refused(island: Path, tmp_path: Path) -> None:
    model = make_served_folder(tmp_path / "other")
    config = change_config(
        parse_config(ISLAND, "test"), model={"path": str(model)}, agent={"prompt": "compact"}
    )
    with pytest.raises(UserError, match=r"lacks words of \d+ of the .*declutch init-tiny"):
        run_sft(config, island / "demonstrations.jsonl", tmp_path / "cold")


def test_a_cold_start_of_other_demonstrations_is_refused(island: Path, tmp_path: Path) -> None:
    config = change_config(parse_config(ISLAND, "test"), model={"path": str(island / "tiny")})
    run_sft(config, island / "demonstrations.jsonl", tmp_path / "cold")
    check_cold_start(tmp_path / "cold", island / "demonstrations.jsonl")
    other = change_config(config, sft={"num_episodes": 3})
    make_demonstrations(other, make_suite(other.env), tmp_path / "other.jsonl")
    with pytest.raises(UserError, match=r"cold was trained on demonstrations with .* delete"):
        check_cold_start(tmp_path / "cold", tmp_path / "other.jsonl")
