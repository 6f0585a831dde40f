"""What follows from which paper's question a judge is put."""

import pytest
from builders import make_demonstration_step

from declutch.agent.parse import parse_verdict
from declutch.cold_start.template_texts import write_critique
from declutch.config.policy import AgentConfig
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.judge.env import Judge


@pytest.mark.parametrize("judge_prompt", ["gc", "rm"])
@pytest.mark.parametrize("form", ["full", "compact"])
@pytest.mark.parametrize("label", [0, 1])
def test_a_critique_answers_the_question(form: str, label: int, judge_prompt: str) -> None:
    step = make_demonstration_step("find mug", "go to desk 1")
    text = write_critique(step, label, form, HOUSEHOLD, judge_prompt)
    verdict = parse_verdict(text if form == "full" else f"<think>{text}")
    assert verdict.is_valid
    assert verdict.value == label
    proposes = (form, label, judge_prompt) == ("full", 0, "rm")
    assert verdict.better_action == ("go to desk 1" if proposes else "")


class Codec:
    """A codec whose tags are all single tokens, numbered as they are asked for."""

    def __init__(self, form: str) -> None:
        self.form = form

    def single_ids(self, texts: tuple[str, ...]) -> dict[str, int]:
        self.texts = texts
        return {text: number for number, text in enumerate(texts)}

    def stop_ids(self, tag: str) -> tuple[int, ...]:
        return (99,)

    def end_test(self, tag: str) -> None:
        return None


@pytest.mark.parametrize(
    ("form", "judge_prompt", "is_forced"),
    [("compact", "gc", True), ("compact", "rm", True), ("full", "gc", True), ("full", "rm", False)],
)
def test_advice_is_forced_after_the_verdict_unless_a_proposal_may_come(
    form: str, judge_prompt: str, is_forced: bool
) -> None:
    codec = Codec(form)
    judge = Judge(codec, AgentConfig(), 24, judge_prompt)
    followers = [(codec.texts[a], codec.texts[b]) for a, b in judge.sampling(1.0).forced_after]
    assert (("</answer>", "<advise>") in followers) == is_forced
    assert ("</think>", "<answer>") in followers
