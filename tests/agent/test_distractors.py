"""Where distractors stand in an observation, in full and in short."""

import random

import pytest

from declutch.agent.distractors import insert_sentences, insert_words
from declutch.records import Distractor

TEXT = "You arrive. You see a mug."


def at(place: float, text: str = "A vase.", short: str = "vase") -> Distractor:
    return Distractor(text, short, place)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (0.0, "A vase. You arrive. You see a mug."),
        (0.34, "You arrive. A vase. You see a mug."),
        (0.99, "You arrive. You see a mug. A vase."),
    ],
)
def test_a_sentence_stands_between_sentences(place: float, expected: str) -> None:
    assert insert_sentences(TEXT, [at(place)]) == expected


def test_several_keep_their_order_and_none_changes_nothing() -> None:
    both = [at(0.5, "One."), at(0.1, "Two."), at(0.4, "Three.")]
    assert insert_sentences(TEXT, both) == "Two. You arrive. One. Three. You see a mug."
    assert insert_sentences(TEXT, []) == TEXT
    assert insert_sentences("", [at(0.7)]) == "A vase."


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
def test_nothing_stands_behind_the_beginning_of_the_task(place: float) -> None:
    intro = "Welcome! You see a desk 1.\n\nYour task is to: put a mug in desk."
    found = insert_sentences(intro, [at(place)], task="put a mug in desk")
    assert found.endswith("Your task is to: put a mug in desk.")
    assert found.count("A vase.") == 1
    assert insert_sentences("Solve 1 + 1. Be quick.", [at(place)], "Solve 1 + 1. Be quick.") == (
        "A vase. Solve 1 + 1. Be quick."
    )


def test_without_the_distractors_the_words_are_those_of_the_observation() -> None:
    draw = random.Random(0)
    for _ in range(300):
        pieces = [draw.choice(("Go on. ", "Why?\n\n", "a list\n", "one two ")) for _ in range(5)]
        text = "".join(pieces[: draw.randrange(6)])
        added = [at(draw.random(), f"Thing{number}!") for number in range(draw.randrange(4))]
        words = insert_sentences(text, added).split()
        assert [word for word in words if not word.startswith("Thing")] == text.split()
        assert sum(word.startswith("Thing") for word in words) == len(added)


def test_in_short_they_stand_before_and_behind() -> None:
    three = [at(0.7, short="cd 1"), at(0.2, short="vase 2"), at(0.4, short=""), at(0.9, short="x")]
    assert insert_words("at desk 1 : mug 1", three) == "vase 2 ; at desk 1 : mug 1 ; cd 1 ; x"
    assert insert_words("at desk 1", []) == "at desk 1"
