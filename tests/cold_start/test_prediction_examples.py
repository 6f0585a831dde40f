"""Examples of predicting: what followed the action that was played."""

from demonstrating import Material

from declutch.agent.prompt import observation_text
from declutch.cold_start.examples import PromptStyle
from declutch.cold_start.prediction_examples import build_prediction_examples
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.ground.streams import stream


def test_prediction_examples_tell_what_followed_the_action_that_was_played(
    material: Material, style: PromptStyle
) -> None:
    demonstrations = material.demonstrations
    num_steps = sum(len(demo.steps) for demo in demonstrations)
    assert len(build_prediction_examples(demonstrations, style, 7, stream(0, "x"))) == 7
    examples = build_prediction_examples(demonstrations, style, 10_000, stream(0, "x"))
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
        prompt = style.codec.tokenizer.decode(example.prompt_ids)
        assert prompt.endswith("</action> now <think>")
        answer = style.codec.tokenizer.decode(example.response_ids)
        assert answer.endswith("</answer>")
        found.add(
            (
                prompt.split("<action>")[1].split("</action>")[0].strip(),
                answer.split("<answer>")[1].removesuffix("</answer>").strip(),
            )
        )
        assert style.codec.tokenizer.unk_token_id not in example.response_ids.tolist()
    assert found == expected
