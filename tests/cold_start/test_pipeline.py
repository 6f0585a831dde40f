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
from declutch.cold_start.pipeline import make_demonstrations, run_sft
from declutch.config.files import change_config, parse_config
from declutch.config.run import Config
from declutch.envs.registry import make_suite
from declutch.ground.errors import UserError


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
    model = make_served_folder(tmp_path / "tiny")
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
