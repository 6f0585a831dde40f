"""The cold start: its examples, its schedules, and that it learns."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from declutch.agent.codec import Codec
from declutch.agent.prompt import observation_text
from declutch.cold_start.demonstrations import Demonstration, read_demonstrations
from declutch.cold_start.examples import (
    MAX_SUGGESTIONS,
    agent_examples,
    future_examples,
    judge_examples,
    value_examples,
)
from declutch.cold_start.facts import ColdStart, read_cold_start
from declutch.cold_start.pipeline import make_demonstrations, make_tiny
from declutch.cold_start.sft import (
    OPEN_ENDED_SHARE,
    SFTProgress,
    _Cosine,
    _loss,
    _OpenEnded,
    train_sft,
)
from declutch.cold_start.template_texts import critique_vocabulary
from declutch.config.env import HouseholdsConfig
from declutch.config.files import parse_config
from declutch.config.policy import SFTConfig, TinyConfig
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.envs.registry import make_suite
from declutch.learner.value_head import ValueHead, make_layer
from declutch.models.load import pad_token_id
from declutch.rollout.policy import load_policy
from declutch.runs.folder import RunFolder
from declutch.streams import stream


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Demonstration]]:
    folder = tmp_path_factory.mktemp("cold")
    config = parse_config(
        {
            "env": {
                "cache_dir": str(folder),
                "households": HouseholdsConfig(train=24, valid_seen=6, valid_unseen=6).model_dump(),
            },
            "tiny": TinyConfig(hidden_size=32, num_layers=2, intermediate_size=64).model_dump(),
            "sft": {"num_episodes": 20, "perturb": 0.4},
        },
        "test",
    )
    suite = make_suite(config.env)
    make_tiny(config, suite, folder / "tiny")
    make_demonstrations(config, suite, folder / "demonstrations.jsonl")
    return folder / "tiny", read_demonstrations(folder / "demonstrations.jsonl")[1]


@pytest.fixture(scope="module")
def codec(material: tuple[Path, list[Demonstration]]) -> Codec:
    config = parse_config({"model": {"path": str(material[0])}}, "test")
    return load_policy(material[0], config).codec


def test_some_demonstrations_show_suggestions_and_nothing_else_changes(
    material: tuple[Path, list[Demonstration]], codec: Codec
) -> None:
    demonstrations = material[1]
    plain = agent_examples(demonstrations, codec, 6)
    for share, least, most in ((0.0, 0, 0), (0.5, 4, 16), (1.0, 20, 20)):
        examples = iter(agent_examples(demonstrations, codec, 6, share, stream(0, "guided")))
        rest = iter(plain)
        num_guided = 0
        for demo in demonstrations:
            shown = set()
            for _ in demo.steps:
                example, other = next(examples), next(rest)
                assert torch.equal(example.response_ids, other.response_ids)
                text = codec.tokenizer.decode(example.prompt_ids.tolist())
                head, _, tail = text.partition(" did ")
                start, *suggestions = head.split(" rule ")
                assert f"{start} did {tail}" == codec.tokenizer.decode(other.prompt_ids.tolist())
                assert set(suggestions) <= set(critique_vocabulary(HOUSEHOLD))
                assert len(set(suggestions)) == len(suggestions) <= MAX_SUGGESTIONS
                shown.add(tuple(suggestions))
            assert len(shown) == 1
            num_guided += shown != {()}
        assert least <= num_guided <= most


def test_the_target_is_the_experts_action_whatever_was_played(
    material: tuple[Path, list[Demonstration]], codec: Codec
) -> None:
    demonstrations = material[1]
    steps = [step for demo in demonstrations for step in demo.steps]
    examples = agent_examples(demonstrations, codec, 6)
    assert len(examples) == len(steps)
    assert any(step.is_perturbed for step in steps)
    for example, step in zip(examples, steps, strict=True):
        text = codec.decode(example.response_ids)
        action = codec.tokenizer.decode(codec.tokenizer.encode(step.expert_action))
        assert text.endswith(f"<action> {action} </action>")
        assert codec.tokenizer.unk_token_id not in example.prompt_ids.tolist()


def test_judge_examples_are_balanced_and_labelled(
    material: tuple[Path, list[Demonstration]], codec: Codec
) -> None:
    examples = judge_examples(material[1], codec, 6, 10, stream(0, "x"))
    verdicts = [
        next(v for v in (0, 1) if f"\\boxed{{{v}}}" in codec.decode(e.response_ids))
        for e in examples
    ]
    assert sorted(verdicts) == [0] * 5 + [1] * 5


def test_judge_examples_stay_balanced_where_bad_ones_are_few(
    material: tuple[Path, list[Demonstration]], codec: Codec
) -> None:
    episode = next(e for e in material[1] if any(s.label_other == 0 for s in e.steps))
    num_bad = sum(step.label_other == 0 for step in episode.steps)
    num_good = sum(step.label_expert == 1 for step in episode.steps)
    examples = judge_examples([episode], codec, 6, 1000, stream(0, "x"))
    assert len(examples) == 2 * min(num_bad, num_good)


def test_future_examples_tell_what_followed_the_action_that_was_played(
    material: tuple[Path, list[Demonstration]], codec: Codec
) -> None:
    demonstrations = material[1]
    num_steps = sum(len(demo.steps) for demo in demonstrations)
    assert len(future_examples(demonstrations, codec, 6, 7, stream(0, "x"))) == 7
    examples = future_examples(demonstrations, codec, 6, 10_000, stream(0, "x"))
    assert len(examples) == num_steps
    # Every step once; its prompt ends with the action that was played, its answer with the next
    # step's observation.
    expected = set()
    for demo in demonstrations:
        told = [step.observation for step in demo.steps[1:]] + [demo.final_observation]
        for step, followed in zip(demo.steps, told, strict=True):
            expected.add((step.action, observation_text(followed, "compact", HOUSEHOLD)))
    found = set()
    for example in examples:
        prompt = codec.tokenizer.decode(example.prompt_ids)
        assert prompt.endswith("</action> now <think>")
        answer = codec.tokenizer.decode(example.response_ids)
        assert answer.endswith("</answer>")
        found.add(
            (
                prompt.split("<action>")[1].split("</action>")[0].strip(),
                answer.split("<answer>")[1].removesuffix("</answer>").strip(),
            )
        )
        assert codec.tokenizer.unk_token_id not in example.response_ids.tolist()
    assert found == expected


def test_value_examples_have_the_judges_prompts_and_no_answer(
    material: tuple[Path, list[Demonstration]], codec: Codec
) -> None:
    labelled = value_examples(material[1], codec, 6, 10, stream(0, "x"))
    judged = judge_examples(material[1], codec, 6, 10, stream(0, "x"))
    assert [e.label for e in labelled] == [1] * 5 + [0] * 5
    for one, other in zip(labelled, judged, strict=True):
        assert torch.equal(one.prompt_ids, other.prompt_ids)
        assert one.response_ids.numel() == 0


def test_a_label_counts_like_one_response_token(
    material: tuple[Path, list[Demonstration]], codec: Codec
) -> None:
    config = parse_config({"model": {"path": str(material[0])}}, "test")
    model = load_policy(material[0], config).model
    layer = make_layer(model, stream(0, "x"))
    head = ValueHead(layer, torch.optim.SGD(layer.parameters(), lr=1.0))
    spoken = agent_examples(material[1], codec, 6)[:3]
    labelled = value_examples(material[1], codec, 6, 2, stream(0, "x"))
    pad = pad_token_id(codec.tokenizer)
    total, count = 0.0, 0
    with torch.no_grad():
        for example in spoken:
            ids = torch.cat([example.prompt_ids, example.response_ids])
            scores = torch.log_softmax(model(ids[None]).logits[0], -1)
            for place in range(len(example.prompt_ids), len(ids)):
                total -= float(scores[place - 1, ids[place]])
                count += 1
        for example in labelled:
            states = model(example.prompt_ids[None], output_hidden_states=True).hidden_states
            odds = float(layer(states[-1][0, -1]))
            total += math.log(1 + math.exp(-odds if example.label else odds))
            count += 1
        loss = _loss(model, [*spoken, *labelled], pad, head)
        assert float(loss) == pytest.approx(total / count, rel=1e-4)
        assert torch.equal(_loss(model, spoken, pad, head), _loss(model, spoken, pad, None))
        assert float(_loss(model, labelled, pad, head)) > 0  # no token at all


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


def test_training_learns_and_repeats_itself(
    material: tuple[Path, list[Demonstration]], codec: Codec
) -> None:
    config = parse_config({"model": {"path": str(material[0])}, "threads": 1}, "test")
    examples = agent_examples(material[1], codec, 6)
    sft = SFTConfig(epochs=6, lr=1e-2, batch_tokens=1024)
    runs = []
    for _ in range(2):
        losses: list[SFTProgress] = []
        model = load_policy(material[0], config).model
        pad = pad_token_id(codec.tokenizer)
        last = train_sft(model, examples, sft, pad, stream(0, "sft"), losses.append)
        assert last.step == last.num_steps == len(losses)
        assert losses[-1].loss < losses[0].loss / 2
        runs.append([replace(p, seconds=0.0) for p in losses])
    assert runs[0] == runs[1]
    assert losses[0].loss == pytest.approx(math.log(len(codec.tokenizer)), rel=0.3)


def test_an_open_ended_training_ends_when_told(
    material: tuple[Path, list[Demonstration]], codec: Codec
) -> None:
    config = parse_config({"model": {"path": str(material[0])}, "threads": 1}, "test")
    model = load_policy(material[0], config).model
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    calls = iter([False] * 12)
    last = train_sft(
        model,
        agent_examples(material[1], codec, 6),
        SFTConfig(epochs=1, lr=1e-3, batch_tokens=512),
        pad_token_id(codec.tokenizer),
        stream(0, "sft"),
        should_stop=lambda: next(calls, True),
    )
    assert last.step == 13
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert not torch.equal(before, after)


def test_a_checkpoint_has_the_cold_start_of_its_run(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "iteration-00001"
    checkpoint.mkdir(parents=True)
    assert read_cold_start(checkpoint).protocol == ""
    RunFolder(tmp_path / "run").write_cold_start(vars(ColdStart("strict", 7)))
    assert read_cold_start(checkpoint) == ColdStart("strict", 7)
