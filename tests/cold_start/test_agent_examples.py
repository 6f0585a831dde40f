"""Examples of acting: the expert's actions, and suggestions in some prompts."""

import torch
from demonstrating import Material

from declutch.cold_start.agent_examples import MAX_SUGGESTIONS, build_agent_examples
from declutch.cold_start.examples import PromptStyle
from declutch.cold_start.template_texts import list_advice
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.ground.streams import stream


def test_some_demonstrations_show_suggestions_and_nothing_else_changes(
    material: Material, style: PromptStyle
) -> None:
    demonstrations = material.demonstrations
    plain = build_agent_examples(demonstrations, style, 0.0, stream(0, "x"))
    for share, least, most in ((0.0, 0, 0), (0.5, 4, 16), (1.0, 20, 20)):
        examples = iter(build_agent_examples(demonstrations, style, share, stream(0, "guided")))
        rest = iter(plain)
        num_guided = 0
        for demo in demonstrations:
            shown = set()
            for _ in demo.steps:
                example, other = next(examples), next(rest)
                assert torch.equal(example.response_ids, other.response_ids)
                decode = style.codec.tokenizer.decode
                text = decode(example.prompt_ids.tolist())
                head, _, tail = text.partition(" did ")
                start, *suggestions = head.split(" rule ")
                assert f"{start} did {tail}" == style.codec.tokenizer.decode(
                    other.prompt_ids.tolist()
                )
                assert set(suggestions) <= set(list_advice(HOUSEHOLD))
                assert len(set(suggestions)) == len(suggestions) <= MAX_SUGGESTIONS
                shown.add(tuple(suggestions))
            assert len(shown) == 1
            num_guided += shown != {()}
        assert least <= num_guided <= most


def test_the_target_is_the_experts_action_whatever_was_played(
    material: Material, style: PromptStyle
) -> None:
    demonstrations = material.demonstrations
    steps = [step for demo in demonstrations for step in demo.steps]
    examples = build_agent_examples(demonstrations, style, 0.0, stream(0, "x"))
    assert len(examples) == len(steps)
    assert any(step.is_perturbed for step in steps)
    for example, step in zip(examples, steps, strict=True):
        text = style.codec.decode(example.response_ids)
        action = style.codec.tokenizer.decode(style.codec.tokenizer.encode(step.expert_action))
        assert text.endswith(f"<action> {action} </action>")
        assert style.codec.tokenizer.unk_token_id not in example.prompt_ids.tolist()
