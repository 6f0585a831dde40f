"""A round of judging: which sources its questions come from, and what its answers are."""

import re
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from builders import make_action, make_episode, make_step

from declutch.config.files import parse_config
from declutch.config.judge import GCDConfig
from declutch.envs.wording import PLAIN
from declutch.ground.streams import stream
from declutch.judge.llm_labels import LLMLabels
from declutch.judge.questions import Question
from declutch.judge.round import JudgeRound, choose_sources, play_judge, why_no_questions
from declutch.records import Outcome

SHUFFLED = [(1, 0)]
RULE, ORACLE, LLM = [(0, None)], [(1, 1)], LLMLabels(((0, 1),), ())


@pytest.mark.parametrize(
    ("settings", "llm", "expected"),
    [
        ({"labels": "oracle"}, None, {"oracle": ORACLE}),
        ({"labels": "rule"}, None, {"rule": RULE}),
        ({"labels": "shuffled"}, None, {"shuffled": SHUFFLED}),
        ({"labels": "llm"}, LLM, {"llm": [(0, 1)]}),
        ({"labels": "rule+llm"}, LLM, {"rule": RULE, "llm": [(0, 1)]}),
        (
            {"labels": "rule+llm", "llm_labels": "positive_only"},
            LLM,
            {"rule": RULE, "llm": [(None, 1)]},
        ),
        ({"labels": "llm"}, replace(LLM, failure="away"), {}),
        ({"labels": "rule+llm"}, replace(LLM, failure="away"), {"rule": RULE}),
        (
            {"labels": "llm", "on_endpoint_failure": "fallback"},
            replace(LLM, failure="away"),
            {"rule": RULE},
        ),
        (
            {"labels": "rule+llm", "on_endpoint_failure": "fallback", "fallback_labels": "oracle"},
            replace(LLM, failure="away"),
            {"oracle": ORACLE},
        ),
    ],
)
def test_which_sources_the_questions_come_from(
    settings: dict, llm: LLMLabels | None, expected: dict
) -> None:
    known = {"rule": RULE, "oracle": ORACLE, "shuffled": SHUFFLED}
    assert choose_sources(GCDConfig(**settings), known, llm) == expected


def test_a_value_heads_answers_are_its_side_of_one_half() -> None:
    questions = tuple(Question(0, p, label, str(label), "") for p, label in enumerate((1, 0, 1)))
    judged = JudgeRound(questions, (), (), (), None, scores=(0.5, 0.6, 0.4))
    assert [text for _, text in judged.answers()] == ["1", "1", "0"]
    assert [question.is_right(text) for question, text in judged.answers()] == [True, False, False]


def test_spoken_answers_come_with_the_question_of_their_group() -> None:
    questions = tuple(Question(0, p, 1, "1", "") for p in range(3))
    said = [
        make_episode(group, [], steps=[make_step(action=make_action(text))])
        for group, text in ((2, "1"), (0, ""), (2, "0"))
    ]
    judged = JudgeRound(questions, tuple(said), (), (), None)
    expected = [(questions[2], "1"), (questions[0], ""), (questions[2], "0")]
    assert judged.answers() == expected
    assert JudgeRound.empty().answers() == []
    assert JudgeRound.empty().stats is None


class Asking:
    """An auxiliary task that asks about the first step it is shown, and keeps what it was given."""

    policy = SimpleNamespace(codec=SimpleNamespace(wording=PLAIN))

    def ask(self, played, sources, generator):
        self.played, self.sources = played, sources
        self.draw = torch.rand(3, generator=generator).tolist()
        return [Question(0, 0, 1, "1", "good?", "oracle")]

    def answer(self, questions, iteration):
        self.asked, self.iteration = questions, iteration
        return SimpleNamespace(episodes=(make_episode(0, [0.0]),), scores=(0.75,))


class Labelling:
    def label(self, played, iteration):
        self.given = (len(played), iteration)
        return LLMLabels(tuple((None,) * len(episode.steps) for episode in played), ())


@pytest.mark.parametrize("labeler", [None, Labelling()])
def test_a_round_labels_asks_and_answers(labeler) -> None:
    phases = []

    @contextmanager
    def phase(name: str):
        phases.append(name)
        yield

    def step(observation: str, label: int | None):
        return replace(make_step(observation=observation), oracle_label=label)

    won = make_episode(0, [], Outcome.WON, [step("a", 1), step("b", 0), step("a", 1)])
    broken = make_episode(1, [], Outcome.ENV_ERROR, [step("c", 1)])
    config = parse_config({"seed": 5, "gcd": {"labels": "rule"}}, "test")
    task = Asking()
    judged = play_judge([won, broken], task, config, 3, phase, labeler)
    assert phases == ["label", "judge"]
    # What ended in an error keeps its place, and has no steps to ask about.
    assert [len(episode.steps) for episode in task.played] == [3, 0]
    assert (task.played[1].task, task.played[1].group) == (broken.task, 1)
    assert task.played[1].outcome is Outcome.ENV_ERROR
    assert judged.rule == ((0, None, 1), ())
    assert judged.oracle == ((1, 0, 1), ())
    assert task.sources == {"rule": [(0, None, 1), ()]}
    assert task.draw == torch.rand(3, generator=stream(5, "questions", 3)).tolist()
    assert (task.asked, task.iteration) == (list(judged.questions), 3)
    assert judged.stats is not None
    assert judged.stats.oracle_good == pytest.approx(2 / 3)
    assert (len(judged.episodes), judged.scores) == (1, (0.75,))
    assert (judged.llm is None) == (labeler is None)
    if labeler is not None:
        assert labeler.given == (2, 3)


def test_a_placebo_deals_the_oracles_labels_anew_in_every_iteration() -> None:
    @contextmanager
    def phase(name: str):
        yield

    marks = [1] * 20 + [0] * 20
    steps = [replace(make_step(observation="a"), oracle_label=mark) for mark in marks]
    config = parse_config({"seed": 5, "gcd": {"labels": "shuffled"}}, "test")
    dealt = []
    for iteration in (3, 3, 4):
        task = Asking()
        judged = play_judge([make_episode(0, [], steps=steps)], task, config, iteration, phase)
        assert judged.oracle == (tuple(marks),)
        assert list(task.sources) == ["shuffled"]
        assert sum(task.sources["shuffled"][0]) == 20
        assert task.draw == torch.rand(3, generator=stream(5, "questions", iteration)).tolist()
        dealt.append(task.sources["shuffled"])
    assert dealt[0] == dealt[1]
    assert dealt[0] not in (dealt[2], (tuple(marks),))


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        ("rule", "rule: 0 good, 3 bad"),
        ("oracle", "oracle: 1 good, 0 bad"),
        ("llm", "gcd.labels=llm"),
    ],
)
def test_a_round_without_questions_says_why(labels: str, counts: str) -> None:
    judged = JudgeRound((), (), ((0, 0, None), (0,)), ((None, 1, None), (None,)), None)
    reason = why_no_questions(judged, GCDConfig(labels=labels))
    assert "0 questions for the judge" in reason
    assert counts in reason


@pytest.mark.parametrize(
    ("settings", "failure", "counts"),
    [
        ({"labels": "llm"}, "", r"\(llm: 2 good, 0 bad\)"),
        ({"labels": "rule+llm"}, "away", r"\(rule: 0 good, 3 bad; the endpoint failed, .*=skip\)"),
        (
            {"labels": "llm", "on_endpoint_failure": "fallback"},
            "away",
            r"\(rule: 0 good, 3 bad; the endpoint failed, .*=fallback\)",
        ),
    ],
)
def test_a_round_without_questions_counts_the_labels_it_took(
    settings: dict, failure: str, counts: str
) -> None:
    llm = LLMLabels(((1, None, 1), (None,)), (), failure)
    judged = JudgeRound((), (), ((0, 0, None), (0,)), ((None,) * 3, (None,)), None, llm=llm)
    assert re.search(counts, why_no_questions(judged, GCDConfig(**settings)))
