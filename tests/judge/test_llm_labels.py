"""Labels from a language model: votes, what cannot be read, and what becomes of the sources."""

from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest
from builders import make_action, make_episode, make_step
from chat_server import BAD, GOOD
from fake_chat import FakeChat
from hypothesis import given
from hypothesis import strategies as st

from declutch.agent.parse import parse_verdict
from declutch.config.judge import GCDConfig
from declutch.config.policy import AgentConfig
from declutch.endpoint.chat import ChatReply
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.judge.llm_labels import (
    AskSettings,
    EndpointFailedError,
    Labeler,
    build_requests,
    count_ballots,
    count_votes,
    label_by_llm,
)

GOLDEN = Path(__file__).parents[1] / "golden"
GCD = GCDConfig()
LOST = ChatReply(None, "the connection failed")
NOISE = ChatReply("no idea")


def replies(word: str) -> list[ChatReply]:
    kinds = {"g": ChatReply(GOOD), "b": ChatReply(BAD), "?": NOISE, "x": LOST}
    return [kinds[letter] for letter in word]


def scripted(word: str) -> FakeChat:
    """Answers from a list, over and over."""
    endless = cycle(replies(word))
    return FakeChat(lambda request: next(endless))


@pytest.mark.parametrize(
    ("votes", "label", "unreadable", "failed"),
    [
        ("ggggg", 1, 0, 0),
        ("ggbgg", 1, 0, 0),
        ("gbgbg", None, 0, 0),
        ("bbbb?", 0, 1, 0),
        ("gggx?", None, 1, 1),
        ("bbbbx", 0, 0, 1),
        ("?????", None, 5, 0),
        ("xxxxx", None, 0, 5),
    ],
)
def test_a_label_needs_four_of_five(
    votes: str, label: int | None, unreadable: int, failed: int
) -> None:
    ballot = count_votes(3, 2, replies(votes), GCD)
    assert (ballot.label, ballot.num_unreadable, ballot.num_failed) == (label, unreadable, failed)
    assert len(ballot.verdicts) == 5 - unreadable - failed


def test_ballots_counted_by_hand() -> None:
    ballots = [
        count_votes(0, n, replies(w), GCD) for n, w in enumerate(("ggggg", "bbbb?", "gbb?x"))
    ]
    stats = count_ballots(ballots)
    assert (stats.steps, stats.kept, stats.good, stats.bad) == (3, 2, 1, 1)
    assert (stats.asks, stats.unreadable, stats.failed) == (15, 2, 1)
    assert stats.agreement == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert stats.unanimous == pytest.approx(1 / 3)
    assert count_ballots([]).agreement is None
    assert count_ballots([count_votes(0, 0, replies("?"), GCD)]).agreement is None


def labelled(count: int, group: int = 0) -> object:
    action = replace(make_action("look"), response=f"<think>{group}</think><action>look</action>")
    steps = [make_step(observation=f"room {group} {n}", action=action) for n in range(count)]
    return make_episode(group, [], steps=steps)


def small(**gcd: object) -> AskSettings:
    settings = {"enabled": True, "labels": "llm", "llm_steps": 4, **gcd}
    return AskSettings(GCDConfig(**settings), AgentConfig(), HOUSEHOLD)


def test_every_step_is_asked_about_five_times_with_the_full_prompt() -> None:
    settings = small()
    requests = build_requests([labelled(2), labelled(3, 1)], [(1, 2), (0, 0)], settings)
    assert [request.attempt for request in requests] == [0, 1, 2, 3, 4] * 2
    assert len({request.messages for request in requests}) == 2
    ((role, prompt),) = requests[0].messages
    assert role == "user"
    assert settings.agent.prompt == "compact"
    assert "You control a robot" in prompt
    assert "You now observe: room 1 2" in prompt
    assert "<think>1</think><action>look</action>" in prompt
    assert "Propose" not in prompt
    ((_, prompt),) = build_requests([labelled(1)], [(0, 0)], small(judge_prompt="rm"))[0].messages
    assert "Propose" in prompt


def test_the_brief_question_comes_after_examples_of_both_classes() -> None:
    messages = build_requests([labelled(3)], [(0, 2)], small(llm_prompt="brief"))[0].messages
    assert [role for role, _ in messages] == ["user", "assistant"] * 4 + ["user"]
    verdicts = [parse_verdict(text).value for role, text in messages if role == "assistant"]
    assert sorted(verdicts) == [0, 0, 1, 1]
    text = "\n\n".join(f"[{role}]\n{content}" for role, content in messages)
    assert f"{text}\n" == (GOLDEN / "brief_judge.txt").read_text()


def test_labels_land_on_the_steps_that_were_asked_about() -> None:
    chat = scripted("gggggbbbbbgbgbg")
    found = label_by_llm([labelled(2), labelled(3, 1)], [(0, 1), (1, 0), (1, 2)], small(), chat)
    assert found.labels == ((None, 1), (0, None, None))
    assert found.failure == ""


def test_a_few_lost_asks_cost_only_their_labels_and_many_cost_all() -> None:
    few = label_by_llm([labelled(2)], [(0, 0), (0, 1)], small(), scripted("gggggxxxxx"))
    assert (few.labels, few.failure) == (((1, None),), "")
    many = label_by_llm([labelled(2)], [(0, 0), (0, 1)], small(), scripted("ggggxxxxxx"))
    assert (many.labels, many.failure) == (((None, None),), "the connection failed")


def test_the_steps_are_bounded_spread_and_drawn_anew() -> None:
    labeler = Labeler(small(), scripted("g"), 0, lambda text: None)
    episodes = [labelled(9, group) for group in range(4)]
    first, second, again = (labeler.label(episodes, n) for n in (0, 1, 0))
    for found in (first, second):
        assert sorted(ballot.episode for ballot in found.ballots) == [0, 1, 2, 3]
    assert first == again
    assert first.ballots != second.ballots


def test_an_absent_endpoint_is_said_once_until_it_is_back() -> None:
    said: list[str] = []

    # The steps of four iterations, each asked about five times.
    labeler = Labeler(small(), scripted("x" * 40 + "g" * 20 + "x" * 20), 0, said.append)
    failures = [bool(labeler.label([labelled(4)], n).failure) for n in range(4)]
    assert failures == [True, True, False, True]
    assert [text.split(":")[0] for text in said] == ["iteration 1", "iteration 4"]
    assert "without LLM labels" in said[0]


def test_stop_says_what_failed_and_how_to_go_on() -> None:
    labeler = Labeler(small(on_endpoint_failure="stop"), scripted("x"), 0, lambda text: None)
    with pytest.raises(EndpointFailedError, match=r"iteration 3.*connection failed.*--resume"):
        labeler.label([labelled(4)], 2)


PIECES = st.sampled_from(
    [
        *("<think>", "</think>", "<answer>", "</answer>", "<action>", "</action>"),
        *("<advise>", "</advise>", "\\boxed{0}", "\\boxed{1}", "\\boxed{ 1 }", "\\boxed{{1}}"),
        *("\\boxed{2}", "boxed{1}", "\\boxed{", "}", "1", "0", "good", "\n", "\x00", "é", "0 or 1"),
    ]
)


@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=14).map("".join)))
def test_nothing_a_judge_says_crashes_or_counts_as_two_verdicts(text: str) -> None:
    value = parse_verdict(text).value
    assert value in (None, 0, 1)
    if value is not None:
        assert f"{value}" in text.split("<answer>")[1].split("</answer>")[0]
        assert text.count("</answer>") >= 1
    ballot = count_votes(0, 0, [ChatReply(text)] * 5, GCD)
    assert ballot.label == value
    assert ballot.num_unreadable == (5 if value is None else 0)


@given(st.lists(PIECES, max_size=5), st.sampled_from([0, 1]), st.sampled_from([0, 1]))
def test_a_hedged_verdict_is_none(noise: list[str], first: int, second: int) -> None:
    plain = "".join(p for p in noise if "answer" not in p and "boxed" not in p)
    text = f"{plain}<answer>\\boxed{{{first}}} {plain} \\boxed{{{second}}}</answer>{plain}"
    assert parse_verdict(text).value == (first if first == second else None)
