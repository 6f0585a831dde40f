"""The numbers of judging, under the names they have in metrics.jsonl."""

import pytest
import torch
from builders import make_episode

from declutch.credit.table import build_table
from declutch.evaluation.behaviour import ActionCounts
from declutch.evaluation.results import EvalResult, GameResult
from declutch.judge.labels import LabelStats
from declutch.judge.questions import Question
from declutch.judge.round import JudgeRound
from declutch.records import Action, Episode, Outcome, Role, Step, TaskId
from declutch.rollout.groups import Played
from declutch.train.learn import Credited
from declutch.train.metrics import _score_values, agent_metrics, eval_metrics, judge_metrics

STATS = LabelStats(0.1, 0.2, 0.3, 0.4, None, 0.5)


def answer(question: int, text: str) -> Episode:
    nothing = torch.zeros(0)
    action = Action(text, "", "", True, True)
    response = torch.zeros(7, dtype=torch.long)
    step = Step("", "", (), action, nothing.long(), response, nothing, 0.0)
    task = TaskId("judge", "train", question, "")
    return Episode(task, question, Role.JUDGE, (step,), Outcome.WON, 0.0)


def episode(outcome: Outcome, score: float) -> Episode:
    return Episode(TaskId("s", "train", 0, "t"), 0, Role.AGENT, (), outcome, score)


def test_partial_scores_by_hand() -> None:
    played = [
        episode(Outcome.WON, 1.0),
        episode(Outcome.FAILED, 0.5),
        episode(Outcome.TIMED_OUT, 0.75),
        episode(Outcome.FAILED, 0.0),
    ]
    assert _score_values(played) == {"score": 0.5625, "finished_positive": 0.5}
    # Where the score says no more than success it is no metric.
    assert _score_values([played[0], played[3]]) == {}


def test_an_evaluation_reports_success_and_apart_from_it_what_scores_tell() -> None:
    ends = [(Outcome.WON, 1.0), (Outcome.FAILED, 0.5), (Outcome.TIMED_OUT, 0.75)]
    games = tuple(
        GameResult("L1", f"g{n}", "boil", 0, outcome, score, ActionCounts(steps=1))
        for n, (outcome, score) in enumerate(ends)
    )
    found = eval_metrics(EvalResult("p", 0.4, "strict", {"L1": "aa"}, games))
    assert found == {
        "eval/L1/success": pytest.approx(1 / 3),
        "eval/L1/score": 0.75,
        "eval/L1/finished_positive": pytest.approx(2 / 3),
    }
    plain = EvalResult("p", 0.4, "strict", {"L1": "aa"}, games[:1])
    assert eval_metrics(plain) == {"eval/L1/success": 1.0}


def test_a_level_whose_games_all_broke_has_no_success() -> None:
    games = (
        GameResult("L1", "a", "boil", 0, Outcome.FAILED, 0.5, ActionCounts(steps=1)),
        GameResult("L2", "b", "boil", 0, Outcome.ENV_ERROR, 0.0, ActionCounts()),
    )
    found = eval_metrics(EvalResult("p", 0.4, "strict", {"L1": "aa", "L2": "bb"}, games))
    assert set(found) == {f"eval/L1/{name}" for name in ("success", "score", "finished_positive")}


def test_of_drawn_tasks_that_all_broke_there_are_no_shares() -> None:
    """Dynamic sampling may still have something to train on: 0% of no games would be wrong."""
    broken = make_episode(0, [], outcome=Outcome.ENV_ERROR)
    refilled = make_episode(1, [1.0])
    table, steps = build_table([refilled])
    refills = (refilled, broken)
    played = Played((broken, broken), (refilled,), num_replaced=1, num_refilled=2, refills=refills)
    found = agent_metrics(played, Credited(table, steps, None, torch.ones(len(table))))
    assert found == {
        "agent/env_errors": 3,
        "agent/replaced_groups": 1,
        "agent/refilled_groups": 2,
        "agent/num_samples": 1,
        "agent/advantage_std": 0,
    }


def asked(*labels: int) -> tuple[Question, ...]:
    return tuple(Question(0, p, label, str(label), "") for p, label in enumerate(labels))


def test_judgments_by_hand() -> None:
    answers = [answer(0, "1"), answer(0, "0"), answer(1, "0"), answer(1, "")]
    found = judge_metrics(JudgeRound(asked(1, 0), tuple(answers), (), (), STATS))
    assert found == {
        "judge/num_questions": 2,
        "judge/accuracy": 0.5,
        "judge/accuracy_good": 0.5,
        "judge/accuracy_bad": 0.5,
        "judge/one_share": 0.25,
        "judge/unreadable_share": 0.25,
        "judge/truncated_share": 0,
        "judge/too_long": 0,
        "judge/response_tokens": 7,
        "labels/rule_good": 0.1,
        "labels/rule_bad": 0.2,
        "labels/oracle_good": 0.3,
        "labels/oracle_bad": 0.4,
        "labels/rule_precision_bad": 0.5,
    }


def test_a_class_that_nobody_judged_has_no_accuracy() -> None:
    """Its questions may all have been too long for the model."""
    found = judge_metrics(JudgeRound(asked(1, 0), (answer(1, "0"),), (), (), STATS))
    assert found["judge/accuracy_bad"] == 1
    assert found["judge/too_long"] == 1
    assert "judge/accuracy_good" not in found


def test_a_value_head_is_measured_like_a_judge_but_says_nothing() -> None:
    judged = JudgeRound(asked(1, 0, 1, 0), (), (), (), STATS, scores=(0.9, 0.1, 0.2, 0.3))
    found = judge_metrics(judged)
    assert found["judge/accuracy"] == 0.75
    assert found["judge/accuracy_good"] == 0.5
    assert found["judge/accuracy_bad"] == 1.0
    assert found["judge/one_share"] == 0.25
    assert "judge/response_tokens" not in found
    assert "judge/unreadable_share" not in found


def test_predictions_have_an_accuracy_and_no_classes() -> None:
    questions = (Question(0, 0, None, "at desk 1 : nothing", ""),)
    answers = (answer(0, "at desk 1 : nothing"), answer(0, "failed"), answer(0, ""))
    found = judge_metrics(JudgeRound(questions, answers, (), (), STATS))
    assert found["judge/accuracy"] == pytest.approx(1 / 3)
    assert found["judge/unreadable_share"] == pytest.approx(1 / 3)
    assert not {"judge/accuracy_good", "judge/one_share"} & set(found)


def test_without_questions_there_are_counts_only() -> None:
    assert judge_metrics(JudgeRound.empty()) == {}
    found = judge_metrics(JudgeRound((), (), (), (), STATS))
    assert found["judge/num_questions"] == 0
    assert "judge/accuracy" not in found
