"""A round of judging: which sources its questions come from, and what its answers are."""

from dataclasses import replace

import pytest

from declutch.config.judge import GCDConfig
from declutch.judge.llm_labels import LLMLabels
from declutch.judge.questions import Question
from declutch.judge.round import JudgeRound, choose_sources

RULE, ORACLE, LLM = [(0, None)], [(1, 1)], LLMLabels(((0, 1),), ())


@pytest.mark.parametrize(
    ("settings", "llm", "expected"),
    [
        ({"labels": "oracle"}, None, {"oracle": ORACLE}),
        ({"labels": "rule"}, None, {"rule": RULE}),
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
    assert choose_sources(GCDConfig(**settings), RULE, ORACLE, llm) == expected


def test_a_value_heads_answers_are_its_side_of_one_half() -> None:
    questions = tuple(Question(0, p, label, str(label), "") for p, label in enumerate((1, 0, 1)))
    judged = JudgeRound(questions, (), (), (), None, scores=(0.5, 0.6, 0.4))
    assert [text for _, text in judged.answers()] == ["1", "1", "0"]
    assert [question.is_right(text) for question, text in judged.answers()] == [True, False, False]
