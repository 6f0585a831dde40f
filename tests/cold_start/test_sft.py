"""The supervised training: its loss, its schedules, and that it learns."""

import math
from dataclasses import replace

import pytest
import torch
from demonstrating import Material

from declutch.cold_start.agent_examples import build_agent_examples
from declutch.cold_start.examples import PromptStyle
from declutch.cold_start.judge_examples import build_value_examples
from declutch.cold_start.sft import (
    OPEN_ENDED_SHARE,
    SFTProgress,
    Trainee,
    _Cosine,
    _differentiate,
    _OpenEnded,
    train_sft,
)
from declutch.config.files import parse_config
from declutch.config.policy import SFTConfig
from declutch.ground.streams import stream
from declutch.learner.value_head import ValueHead, make_layer
from declutch.models.load import pad_token_id
from declutch.rollout.policy import load_policy


def test_a_label_counts_like_one_response_token(material: Material, style: PromptStyle) -> None:
    config = parse_config({"model": {"path": str(material.model)}}, "test")
    model = load_policy(material.model, config).model
    layer = make_layer(model, stream(0, "x"))
    head = ValueHead(layer, torch.optim.SGD(layer.parameters(), lr=1.0))
    spoken = build_agent_examples(material.demonstrations, style, 0.0, stream(0, "x"))[:3]
    labelled = build_value_examples(material.demonstrations, style, 2, stream(0, "x"))
    trainee = Trainee(model, pad_token_id(style.codec.tokenizer), head)
    total, count = 0.0, 0
    with torch.no_grad():
        for example in spoken:
            ids = torch.cat([example.prompt_ids, example.response_ids]).to(model.device)
            scores = torch.log_softmax(model(ids[None]).logits[0], -1)
            for place in range(len(example.prompt_ids), len(ids)):
                total -= float(scores[place - 1, ids[place]])
                count += 1
        for example in labelled:
            prompt = example.prompt_ids[None].to(model.device)
            states = model(prompt, output_hidden_states=True).hidden_states
            odds = float(layer(states[-1][0, -1]))
            total += math.log(1 + math.exp(-odds if example.label else odds))
            count += 1
    for max_tokens in (10_000, 1):  # in one pass, and in one for each example
        loss = _differentiate(trainee, [*spoken, *labelled], max_tokens)
        assert loss == pytest.approx(total / count, rel=1e-4)
    without = replace(trainee, head=None)
    assert _differentiate(trainee, spoken, 10_000) == _differentiate(without, spoken, 10_000)
    assert _differentiate(trainee, labelled, 10_000) > 0  # no token at all


def test_cosine_by_hand() -> None:
    rate = _Cosine(num_steps=10, warmup=0.2)
    assert rate(1) == pytest.approx(0.5)
    assert rate(2) == pytest.approx(1.0)
    assert rate(6) == pytest.approx(0.55)
    assert rate(10) == pytest.approx(0.1)


def test_open_ended_falls_within_a_tenth_of_the_steps_after_the_word() -> None:
    told = [False]
    rate = _OpenEnded(lambda: told[0])
    assert [rate(step) for step in range(1, 21)] == [OPEN_ENDED_SHARE] * 20
    told[0] = True
    rest = [rate(step) for step in range(21, 25)]
    assert rest[0] == OPEN_ENDED_SHARE
    assert rest[1] == pytest.approx(OPEN_ENDED_SHARE * 0.55)
    assert rest[2:] == [None, None]


def test_training_learns_and_repeats_itself(material: Material, style: PromptStyle) -> None:
    config = parse_config({"model": {"path": str(material.model)}, "threads": 1}, "test")
    examples = build_agent_examples(material.demonstrations, style, 0.0, stream(0, "x"))
    sft = SFTConfig(epochs=6, lr=1e-2, batch_tokens=1024)
    runs = []
    for _ in range(2):
        losses: list[SFTProgress] = []
        model = load_policy(material.model, config).model
        trainee = Trainee(model, pad_token_id(style.codec.tokenizer))
        last = train_sft(trainee, examples, sft, stream(0, "sft"), losses.append)
        assert last.step == last.num_steps == len(losses)
        assert losses[-1].loss < losses[0].loss / 2
        runs.append([replace(p, seconds=0.0) for p in losses])
    assert runs[0] == runs[1]
    assert losses[0].loss == pytest.approx(math.log(len(style.codec.tokenizer)), rel=0.3)


def test_an_open_ended_training_ends_when_told(material: Material, style: PromptStyle) -> None:
    config = parse_config({"model": {"path": str(material.model)}, "threads": 1}, "test")
    model = load_policy(material.model, config).model
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    calls = iter([False] * 12)
    last = train_sft(
        Trainee(model, pad_token_id(style.codec.tokenizer)),
        build_agent_examples(material.demonstrations, style, 0.0, stream(0, "x")),
        SFTConfig(epochs=1, lr=1e-3, batch_tokens=512),
        stream(0, "sft"),
        should_stop=lambda: next(calls, True),
    )
    assert last.step == 13
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert not torch.equal(before, after)
