"""Texts of the cold start by a language model: what is asked, what is believed, what is counted."""

import pytest
from fake_chat import answer_by_text
from hypothesis import given
from hypothesis import strategies as st

from declutch.cold_start.demonstrations import Demonstration
from declutch.cold_start.endpoint_texts import (
    CHUNK,
    refuse_critique,
    refuse_reasoning,
    rewrite_reasoning,
)
from declutch.cold_start.template_texts import write_critique
from declutch.config.policy import SFTConfig
from declutch.envs.alfworld.wording import HOUSEHOLD

GOOD = "<think>It has what it needs.</think><answer>\\boxed{1}</answer><advise>Go on.</advise>"
BAD = "<think>It goes astray.</think><answer>\\boxed{0}</answer><advise>Stay close.</advise>"
HERE = ("go to desk 1", "go to desk 10", "look", "take mug 1 from desk 1", "inventory")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I need the mug, so I go to desk 1.", ""),
        ("Desk 1 is not seen yet. GO TO the DESK 1!", ""),
        ("I look around: what next?", ""),  # a command of one word is a word like any other
        ('I say: "desk 1 it is."', ""),
        (None, "unanswered"),
        (" \n", "empty"),
        ("<think>I go to desk 1.</think>", "tags"),
        ("The verdict is \\boxed{1}.", "tags"),
        ("I go to", "unfinished"),
        ("I could go to desk 10.", "other action"),
        ("I take a mug 1 from the desk 1.", "other action"),
    ],
)
def test_what_is_refused_as_reasoning(text: str | None, reason: str) -> None:
    assert refuse_reasoning(text, "go to desk 1", HERE) == reason


@pytest.mark.parametrize(
    ("text", "label", "form", "reason"),
    [
        (GOOD, 1, "gc", ""),
        (BAD, 0, "gc", ""),
        (GOOD, 0, "gc", "other verdict"),
        (BAD, 1, "gc", "other verdict"),
        (None, 1, "gc", "unanswered"),
        ("", 1, "gc", "empty"),
        ("\\boxed{1}", 1, "gc", "unreadable"),
        (GOOD.replace("It has what it needs.", ""), 1, "gc", "unreadable"),
        (GOOD.replace("1", "1}\\boxed{0"), 1, "gc", "unreadable"),
        (BAD, 0, "rm", "unreadable"),
        (BAD.replace("<advise>", "<action>look</action><advise>"), 0, "rm", ""),
        (BAD.replace("<advise>", "<action>look</action><advise>"), 0, "gc", "unreadable"),
        (GOOD, 1, "rm", ""),
    ],
)
def test_what_is_refused_as_a_critique(text: str | None, label: int, form, reason: str) -> None:
    assert refuse_critique(text, label, form) == reason


@given(st.text(), st.sampled_from(HERE), st.sampled_from((0, 1)))
def test_no_text_breaks_the_checks(text: str, action: str, label: int) -> None:
    if not refuse_reasoning(text, action, HERE):
        assert text.strip()
        assert "</" not in text or "<" not in text.partition("</")[0]
    assert refuse_critique(text, label, "gc")


def test_the_thoughts_are_rewritten_and_nothing_else(demonstrations: list[Demonstration]) -> None:
    chat, told = answer_by_text(lambda prompt: " I see\nwhat to do. "), []
    done = rewrite_reasoning(
        demonstrations, chat, SFTConfig(), 6, HOUSEHOLD, lambda a, b: told.append((a, b))
    )
    steps = [step for episode in demonstrations for step in episode.steps]
    assert len(chat.asked) == len(steps) > CHUNK
    assert told == [(min(n + CHUNK, len(steps)), len(steps)) for n in range(0, len(steps), CHUNK)]
    assert not done.fallbacks
    for before, after in zip(demonstrations, done.episodes, strict=True):
        assert {step.thought for step in after.steps} == {"I see what to do."}
        for old, new in zip(before.steps, after.steps, strict=True):
            assert {**vars(new), "thought": old.thought} == vars(old)
    for step, request in zip(steps, chat.asked, strict=True):
        ((role, prompt),) = request.messages
        assert role == "user"
        assert f"Its next action: {step.expert_action}\n" in prompt
        assert " ".join(step.observation.split()) in prompt
        assert step.thought not in prompt


def test_what_does_not_fit_falls_back_and_is_counted(demonstrations: list[Demonstration]) -> None:
    replies = [None, "", "<action>look</action>", "Half of", "I see."]
    given = iter(replies * 1000)
    done = rewrite_reasoning(
        demonstrations, answer_by_text(lambda prompt: next(given)), SFTConfig(), 6, HOUSEHOLD
    )
    steps = [step for episode in demonstrations for step in episode.steps]
    rewritten = [step for episode in done.episodes for step in episode.steps]
    for index, (old, new) in enumerate(zip(steps, rewritten, strict=True)):
        assert new.thought == ("I see." if index % 5 == 4 else old.thought)
    counts = [len(range(first, len(steps), 5)) for first in range(4)]
    assert done.fallbacks == dict(
        zip(("unanswered", "empty", "tags", "unfinished"), counts, strict=True)
    )


def test_the_templates_pass_their_own_checks(demonstrations: list[Demonstration]) -> None:
    for episode in demonstrations:
        for step in episode.steps:
            assert not refuse_reasoning(step.thought, step.expert_action, step.admissible)
            for label in (0, 1):
                for form in ("gc", "rm"):
                    text = write_critique(step, label, "full", HOUSEHOLD, form)
                    assert not refuse_critique(text, label, form)
