"""Examples of judging and of classifying: balanced, labelled, and put alike."""

import re

import pytest
import torch
from builders import make_demonstration_step
from chat_server import BAD
from demonstrating import Material
from fake_chat import answer_by_text

from declutch.agent.codec import Codec
from declutch.agent.parse import parse_verdict
from declutch.cold_start.demonstrations import Demonstration
from declutch.cold_start.endpoint_texts import CritiqueWriter
from declutch.cold_start.examples import PromptStyle
from declutch.cold_start.judge_examples import (
    build_judge_examples,
    build_value_examples,
    name_labels,
    why_no_labels,
)
from declutch.config.policy import SFTConfig
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.ground.streams import stream
from declutch.records import TaskId


def test_judge_examples_are_balanced_and_labelled(material: Material, style: PromptStyle) -> None:
    examples = build_judge_examples(material.demonstrations, style, 10, stream(0, "x"))
    verdicts = [
        next(v for v in (0, 1) if f"\\boxed{{{v}}}" in style.codec.decode(e.response_ids))
        for e in examples
    ]
    assert sorted(verdicts) == [0] * 5 + [1] * 5


def test_judge_examples_stay_balanced_where_bad_ones_are_few(
    material: Material, style: PromptStyle
) -> None:
    episode = next(e for e in material.demonstrations if any(s.label_other == 0 for s in e.steps))
    num_bad = sum(step.label_other == 0 for step in episode.steps)
    num_good = sum(step.label_expert == 1 for step in episode.steps)
    examples = build_judge_examples([episode], style, 1000, stream(0, "x"))
    assert len(examples) == 2 * min(num_bad, num_good)


def test_value_examples_have_the_judges_prompts_and_no_answer(
    material: Material, style: PromptStyle
) -> None:
    labelled = build_value_examples(material.demonstrations, style, 10, stream(0, "x"))
    judged = build_judge_examples(material.demonstrations, style, 10, stream(0, "x"))
    assert [e.label for e in labelled] == [1] * 5 + [0] * 5
    for one, other in zip(labelled, judged, strict=True):
        assert torch.equal(one.prompt_ids, other.prompt_ids)
        assert one.response_ids.numel() == 0


class _Words:
    """A tokenizer that keeps texts as they are."""

    chat_template = eos_token = pad_token = eos_token_id = None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(letter) for letter in text]


def test_critiques_are_kept_where_they_reach_the_label(demonstrations: list[Demonstration]) -> None:
    style = PromptStyle(Codec(_Words(), "full", HOUSEHOLD), history_length=6)
    critique_writer = CritiqueWriter(answer_by_text(lambda prompt: BAD), SFTConfig(), "gc")
    plain = build_judge_examples(demonstrations, style, 10, stream(0, "x"))
    written = build_judge_examples(demonstrations, style, 10, stream(0, "x"), critique_writer)
    assert critique_writer.fallbacks == {"other verdict": 5}
    texts = ["".join(map(chr, example.response_ids.tolist())) for example in written]
    for text, before, after in zip(texts, plain, written, strict=True):
        assert before.prompt_ids.tolist() == after.prompt_ids.tolist()
        template = "".join(map(chr, before.response_ids.tolist()))
        assert text == (BAD if parse_verdict(template).value == 0 else template)


def _unlabelled(won: bool, *observations: str, perturbed: tuple[int, ...] = ()) -> Demonstration:
    """A demonstration in an environment without an oracle."""
    steps = tuple(
        make_demonstration_step(
            action="open door" if number == len(observations) - 1 else "go right",
            observation=text,
            is_perturbed=number in perturbed,
        )
        for number, text in enumerate(observations)
    )
    return Demonstration(TaskId("s", "train", 0, "t"), won, steps, "end")


def _verdicts(style: PromptStyle, demonstrations: list[Demonstration]) -> list[str]:
    examples = build_judge_examples(demonstrations, style, 100, stream(0, "x"))
    return [style.codec.decode(example.response_ids) for example in examples]


def test_without_an_oracle_the_rule_labels_what_was_played(style: PromptStyle) -> None:
    demonstrations = [_unlabelled(True, "a", "b", "a", "c", perturbed=(0,))] * 3
    assert name_labels(demonstrations) == "rule"
    assert why_no_labels(demonstrations, style.codec.wording) == ""
    texts = _verdicts(style, demonstrations)
    assert [text.count("boxed{1}") for text in texts] == [1, 1, 1, 0, 0, 0]
    assert [text.count("boxed{0}") for text in texts] == [0, 0, 0, 1, 1, 1]
    labelled = build_value_examples(demonstrations, style, 4, stream(0, "x"))
    assert [example.label for example in labelled] == [1, 1, 0, 0]


def test_the_rule_does_not_condemn_what_the_expert_chose(style: PromptStyle) -> None:
    # The expert's first step is undone by the slip after it; only the slip is to blame.
    demonstrations = [_unlabelled(True, "a", "b", "a", "c", perturbed=(1,))]
    assert _verdicts(style, demonstrations) == []
    assert "sft.perturb" in why_no_labels(demonstrations, style.codec.wording)


@pytest.mark.parametrize(
    ("won", "observations", "perturbed", "remedy"),
    [
        (True, ("a", "b", "c"), (), r"no oracle.*sft\.perturb=0\.2"),
        (False, ("a", "b", "a"), (0,), r"no demonstration is won"),
    ],
)
def test_where_nothing_can_be_labelled_it_says_why(
    style: PromptStyle, won: bool, observations: tuple[str, ...], perturbed: tuple, remedy: str
) -> None:
    demonstrations = [_unlabelled(won, *observations, perturbed=perturbed)]
    assert _verdicts(style, demonstrations) == []
    assert re.search(remedy, why_no_labels(demonstrations, style.codec.wording))


def test_an_oracle_that_calls_nothing_bad_is_named(style: PromptStyle) -> None:
    step = make_demonstration_step(label_expert=1)
    demonstrations = [Demonstration(TaskId("s", "train", 0, "t"), True, (step,), "end")]
    assert name_labels(demonstrations) == "oracle"
    assert "1 steps of the demonstrations good and 0" in why_no_labels(
        demonstrations, style.codec.wording
    )
