"""What a run is unlikely to learn is said before it takes its time."""

from types import SimpleNamespace

import torch

from declutch.cold_start.facts import ColdStart
from declutch.config.files import load_config
from declutch.train.session import doubts

SMALL = SimpleNamespace(policy=SimpleNamespace(model=torch.nn.Linear(10, 10)))


def doubts_of(facts: ColdStart, *overrides: str, preset: str | None = "tiny") -> list[str]:
    return list(doubts(load_config(preset, overrides), facts, SMALL))


def test_a_judge_that_was_never_shown_how_to_answer_is_named() -> None:
    (note,) = doubts_of(ColdStart("strict", num_examples=10))
    assert "no judge samples" in note
    assert "sft.perturb" in note
    assert doubts_of(ColdStart("strict", num_examples=10, num_judge_examples=4)) == []
    assert doubts_of(ColdStart("strict", num_examples=10), "gcd.enabled=false") == []
    # A model of unknown origin may know how to judge.
    assert doubts_of(ColdStart("")) == []


def test_a_run_that_ends_with_the_critic_s_warm_up_is_named() -> None:
    judged = ColdStart("strict", num_examples=10, num_judge_examples=4)
    ppo = ("algorithm.type=ppo", "train.iterations=3")
    (note,) = doubts_of(judged, *ppo, "algorithm.critic_warmup=3")
    assert "algorithm.critic_warmup=3" in note
    assert "train.iterations=3" in note
    assert doubts_of(judged, *ppo, "algorithm.critic_warmup=2") == []


def test_a_small_model_is_not_trained_by_the_rates_of_large_ones_without_a_word() -> None:
    (note,) = doubts_of(ColdStart(""), preset=None)
    assert "optimizer.lr" in note
    assert "--config tiny" in note
