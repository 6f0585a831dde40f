"""Samples of two states: the same actions in both, of every verb, and what was done marked."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from builders import make_action, make_episode, make_step

from declutch.coupling.states import choose_actions, state_samples
from declutch.ground.errors import UserError

WORDS = {}


def encode(text):
    return tuple(WORDS.setdefault(word, len(WORDS)) for word in text.split())


AGENT = SimpleNamespace(
    codec=SimpleNamespace(opening=lambda: "<think>", encode_line=encode, tokenizer=None)
)


def step(action, prompt, admissible, label=None):
    made = make_step(action=make_action(action), prompt=prompt)
    return replace(made, admissible=admissible, oracle_label=label)


EPISODE = make_episode(
    0,
    (),
    steps=[
        step("look", (1,), ("look", "go to bed 1", "take mug 1")),
        step("go to bed 1", (1, 2), ("go to bed 1", "go to desk 1", "look", "take mug 1"), 1),
        step("look", (1, 2, 3), ("go to desk 1", "look", "open safe 1", "take mug 1"), 0),
    ],
)


def test_both_states_have_the_same_actions_in_the_same_order() -> None:
    samples = state_samples(AGENT, EPISODE, 1)
    assert [sample.id for sample in samples] == [
        "A: go to desk 1",
        "A: look",
        "A: take mug 1",
        "B: go to desk 1",
        "B: look (done)",
        "B: take mug 1",
    ]
    assert [sample.label for sample in samples] == [None, None, None, None, 0, None]
    assert [sample.prompt_ids.tolist() for sample in samples] == [[1, 2]] * 3 + [[1, 2, 3]] * 3
    assert samples[0].response_ids.tolist() == list(encode("</think><action>go to desk 1</action>"))
    assert samples[0].response_ids.tolist() == samples[3].response_ids.tolist()
    assert [sample.line for sample in samples] == [1, 2, 3, 4, 5, 6]


def test_few_actions_are_of_all_verbs_and_have_what_was_done() -> None:
    actions = [f"go to {n}" for n in range(5)] + ["look", "take a", "take b"]
    assert choose_actions(actions, ["take b"], 4) == ["go to 0", "look", "take a", "take b"]
    assert choose_actions(actions, ["go to 4"], 3) == ["go to 0", "go to 4", "look"]
    assert choose_actions(actions, [], 99) == sorted(actions)


def test_states_that_are_not_there_are_refused() -> None:
    for position in (-1, 2):
        with pytest.raises(UserError, match="at 0 to 1, not at"):
            state_samples(AGENT, EPISODE, position)
    alone = make_episode(0, (), steps=[step("a", (1,), ("a", "b")), step("a", (1,), ("a", "c"))])
    with pytest.raises(UserError, match="1 admissible actions in common"):
        state_samples(AGENT, alone, 0)
