"""Excerpts: which sentences of other tasks may distract, how they are worded, what they name."""

import pytest

from declutch.envs.excerpts import Excerpt, are_related, quote_sentences, telling_words
from declutch.envs.wording import PLAIN, Wording, lower_words


def test_telling_words_are_those_that_say_what_a_text_is_about() -> None:
    text = "You see a red Lamp 2, and nothing else on the 3 shelves."
    assert telling_words(text) == {"see", "red", "lamp", "else", "shelves"}
    assert telling_words("It is 3 + 4 = 7, and x?") == frozenset()


@pytest.mark.parametrize(
    ("one", "other", "related"),
    [
        ("apple", "apple", True),
        ("apple", "apples", True),
        ("cupboard", "cup", True),
        ("at", "atlas", False),
        ("mug", "smug", False),
        ("pen", "pan", False),
    ],
)
def test_words_are_related_where_one_begins_with_the_other(one, other, related) -> None:
    assert are_related(one, other) is related
    assert are_related(other, one) is related


def test_sentences_are_quoted_in_a_frame_and_the_task_is_not() -> None:
    first = "You are in a cave. Your task is to: find gold."
    later = 'A bat flies by. You hear "ho".\nA lake\n\nDark.'
    assert quote_sentences((first, later), lower_words) == [
        Excerpt(
            'A notice about something else reads: "A bat flies by."',
            "a bat flies by",
            frozenset(("bat", "flies")),
        ),
        # What speaks to the agent would be taken for its own observation without the frame.
        Excerpt(
            "A notice about something else reads: \"You hear 'ho'.\"",
            "",
            frozenset(("hear", "ho")),
        ),
        Excerpt('A notice about something else reads: "A lake"', "a lake", frozenset(("lake",))),
    ]


def test_a_sentence_that_names_nothing_or_is_too_long_is_none() -> None:
    assert quote_sentences(("start", "It is 3. " + "stone " * 25), lower_words) == []
    assert quote_sentences((), lower_words) == []


def test_a_wording_offers_sentences_but_refusals_or_what_it_finds_itself() -> None:
    texts = ("start", "Nothing happens.", "A bat flies by.")
    assert [each.short for each in PLAIN.find_excerpts(texts)] == ["a bat flies by"]
    own = Excerpt("An owl.", "owl", frozenset(("owl",)))
    assert Wording(excerpts=lambda seen: [own] * len(seen)).find_excerpts(texts) == [own] * 3
