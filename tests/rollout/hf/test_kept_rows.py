"""Kept rows: prompts that begin like finished rows start from them, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_model

from declutch.records import Completion, Request, SamplingParams
from declutch.rollout.engine import holding, sample_all
from declutch.rollout.hf import engine as engines
from declutch.rollout.hf.engine import HFEngine
from declutch.rollout.hf.kept_rows import KeptRows
from declutch.rollout.hf.slot_cache import Arena, SlotCache

PARAMS = SamplingParams(1.0, 5, ())
VOCABULARY = 64


class Counting:
    """How many tokens a model is fed, padding included."""

    def __init__(self, model) -> None:
        self.tokens = 0
        model.model.embed_tokens.register_forward_hook(self._count)

    def _count(self, module, inputs, output) -> None:
        self.tokens += inputs[0].numel()


def episodes(num_steps: int = 4, num_episodes: int = 3, size: int = 30) -> list[list[Request]]:
    """Each prompt is the one before with something in the place of its last 5 tokens."""
    draw = torch.Generator().manual_seed(0)
    prompts = [torch.randint(1, VOCABULARY, (size,), generator=draw) for _ in range(num_episodes)]
    steps = []
    for _ in range(num_steps):
        steps.append([Request(prompt) for prompt in prompts])
        prompts = [
            torch.cat([prompt[:-5], torch.randint(1, VOCABULARY, (12,), generator=draw)])
            for prompt in prompts
        ]
    return steps


def play(engine: HFEngine, steps, is_held: bool = True) -> list[Completion]:
    found: list[Completion] = []
    for number, requests in enumerate(steps):
        if is_held and number == 0:
            with engine.holding():
                return [
                    each
                    for place, asked in enumerate(steps)
                    for each in sample_all(engine, asked, PARAMS, place)
                ]
        found += sample_all(engine, requests, PARAMS, number)
    return found


def assert_equal(found, expected) -> None:
    for one, two in zip(found, expected, strict=True):
        assert one.token_ids.tolist() == two.token_ids.tolist()
        torch.testing.assert_close(one.logprobs, two.logprobs, atol=1e-5, rtol=0)


def make_model(name: str):
    """A model; that of "windows" sees 7 tokens back in every other layer."""
    if name != "windows":
        return tiny_model(name, VOCABULARY)
    kinds = ["sliding_attention", "full_attention"]
    return tiny_model("gemma2", VOCABULARY, sliding_window=7, layer_types=kinds)


@pytest.mark.parametrize("name", ["qwen2", "llama", "gpt2", "windows"])
@pytest.mark.parametrize("max_batch", [1, 2, 128])
def test_the_same_is_sampled(name, max_batch):
    model = make_model(name)
    steps = episodes()
    held = play(HFEngine(model, 0, max_batch, keeps_rows=True), steps)
    assert_equal(held, play(HFEngine(model, 0), steps, is_held=False))


def test_what_was_there_is_not_computed_again():
    model = tiny_model("llama", VOCABULARY)
    counting, steps = Counting(model), episodes()
    engine = HFEngine(model, 0, keeps_rows=True)
    play(engine, steps, is_held=False)
    whole, counting.tokens = counting.tokens, 0
    play(engine, steps)
    # Of each later prompt 12 new tokens, of the first one all; beside those of responses.
    assert counting.tokens <= 3 * (30 + 3 * 13 + 4 * 4) < whole


def test_equal_prompts_start_from_one_row():
    model = tiny_model("llama", VOCABULARY)
    (first,), (second,) = (step[:1] for step in episodes(num_steps=2))
    engine = HFEngine(model, 0, keeps_rows=True)
    with engine.holding():
        engine.generate([first], PARAMS)
        found = engine.generate([second, second, first], PARAMS, 1)
    assert_equal(found, HFEngine(model, 0).generate([second, second, first], PARAMS, 1))


def test_nothing_is_kept_beyond_the_weights():
    model = tiny_model("llama", VOCABULARY)
    engine, requests = HFEngine(model, 0, keeps_rows=True), episodes()[0]
    with engine.holding(), engine.holding():
        engine.generate(requests, PARAMS)
        assert engine._kept.num_slots > 0
    assert engine._kept.num_slots == 0
    with torch.no_grad():
        model.lm_head.weight.add_(0.5 * torch.randn(model.lm_head.weight.shape))
        model.model.layers[0].self_attn.k_proj.weight.mul_(3)
    with engine.holding():
        found = engine.generate(requests, PARAMS)
    assert_equal(found, HFEngine(model, 0).generate(requests, PARAMS))


def test_small_models_keep_nothing_unless_asked(monkeypatch):
    model, requests = tiny_model("llama", VOCABULARY), episodes()[0]
    for fewest, is_kept in ((engines.FEWEST_KEPT_PARAMETERS, False), (1, True)):
        monkeypatch.setattr(engines, "FEWEST_KEPT_PARAMETERS", fewest)
        engine = HFEngine(model, 0)
        with holding(engine):
            engine.generate(requests, PARAMS)
            assert (engine._kept.num_slots > 0) == is_kept


def test_what_is_kept_makes_place_for_what_is_decoded():
    model = tiny_model("llama", VOCABULARY)
    steps = episodes(num_steps=3)
    per_token = 2 * 4 * model.config.num_hidden_layers
    per_token *= model.config.num_key_value_heads * model.config.head_dim
    most = 3 * (30 + 7 * 2 + 5)
    engine = HFEngine(model, 0, max_cache_bytes=most * per_token, keeps_rows=True)
    with engine.holding():
        found = []
        for number, requests in enumerate(steps):
            found += engine.generate(requests, PARAMS, number)
            assert engine._kept.num_slots <= most
    assert_equal(found, play(HFEngine(model, 0), steps, is_held=False))


def test_rows_used_longest_ago_go_first():
    cache = SlotCache(3, 8, Arena(0))
    cache.aim(0, [0, 0, 0], [6, 6, 6])
    cache.update(torch.randn(3, 2, 6, 4), torch.randn(3, 2, 6, 4), 0)
    kept = KeptRows(16)
    kept.open()
    rows = [(1, 2, 3, 4, 5, 6), (1, 2, 9, 9, 9, 9), (7, 7, 7, 7, 7, 7)]
    kept.keep(cache, [0, 1, 2], rows, 16)
    assert kept.num_slots == 12
    found = kept.find((1, 2, 9, 9, 0))
    assert found is not None
    assert (found[0].tokens, found[1]) == (rows[1], 4)
    assert kept.find((1, 2, 3, 4, 5))[1] == 2
    assert kept.find((7,)) is None
    kept.release([found[0]])
    assert kept.find((1, 2, 9, 9, 0)) is None
    kept.close()
    assert kept.num_slots == 0
