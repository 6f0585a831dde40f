"""Compute the metrics that training records of an iteration, under the keys of the catalogue.

To record another one, list it in `runs/catalogue.py` and compute it here. Code outside of the
package does the same with `add_metrics`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from declutch.endpoint.usage import Usage
from declutch.evaluation.behaviour import count_actions, shares_of
from declutch.evaluation.results import EvalResult, has_partial_scores, is_finished_positive
from declutch.evaluation.summary import Row, summarise
from declutch.judge.labels import count_agreements
from declutch.judge.llm_labels import count_ballots
from declutch.judge.round import JudgeRound
from declutch.learner.critic import CriticStats
from declutch.learner.update_stats import UpdateStats
from declutch.records import META_TAGS, Episode, Outcome, StepTable
from declutch.rollout.groups import Played, broken_games
from declutch.runs.catalogue import find, metrics, register
from declutch.runs.metric import Metric
from declutch.train.learn import Credited, Learned

Metrics = dict[str, float]
Score = tuple[float, float, float, int]
"""Mean, lower and upper end of the 95% interval, number of games."""


@dataclass(frozen=True)
class IterationResult:
    """What an iteration of training brought forth, for its training metrics to be computed from.

    Attributes:
        played: the agent's episodes.
        judged: the auxiliary task's questions about them, the answers, and all labels.
        credited: the steps that were trained on, and what their tokens are worth.
        learned: the statistics of the updates.
    """

    played: Played
    judged: JudgeRound
    credited: Credited
    learned: Learned


Source = Callable[[IterationResult], Mapping[str, float]]
"""Computes metrics of an iteration, under their keys; one that does not apply is left out."""

_added: list[Source] = []


def add_metrics(source: Source, *added: Metric) -> None:
    """Add training metrics: every iteration records what `source` computes, and readers show it.

    Args:
        source: gives values under the keys of `added`, or of other metrics that are listed.
        added: metrics that the catalogue does not list yet.
    Raises:
        ValueError: a key is that of another metric.
    """
    register(*added)
    if source not in _added:
        _added.append(source)


def iteration_metrics(result: IterationResult) -> Metrics:
    """Training metrics of an iteration that its episodes, answers and updates tell.

    Raises:
        ValueError: a source added from outside gives a key that is not listed.
    """
    found: Metrics = {
        **agent_metrics(result.played, result.credited),
        **judge_metrics(result.judged),
        **update_metrics(result.learned),
        **critic_metrics(result.learned.critic),
    }
    for source in _added:
        found |= source(result)
    unlisted = [key for key in found if find(key) is None]
    if unlisted:
        raise ValueError(f"no metric {unlisted[0]!r} is listed; give `add_metrics` its Metric")
    return found


def agent_metrics(play: Played, credited: Credited) -> Metrics:
    """Training metrics of how the agent played the drawn tasks, and what it was trained on.

    Episodes that ended in an environment error are only counted, those of refills among them.
    """
    episodes = play.first
    played = [e for e in episodes if e.outcome is not Outcome.ENV_ERROR]
    shares = shares_of(count_actions(e) for e in played)
    by_kind: dict[str, list[bool]] = defaultdict(list)
    by_group: dict[int, list[float]] = defaultdict(list)
    for episode in played:
        by_kind[episode.task.kind].append(episode.is_won)
        by_group[episode.group].append(sum(step.reward for step in episode.steps))
    even = [len(set(returns)) == 1 for returns in by_group.values()]
    values = {
        "success": _mean([e.is_won for e in played]),
        **{f"success/{kind}": _mean(won) for kind, won in sorted(by_kind.items())},
        **_score_values(played),
        "return": _mean([r for returns in by_group.values() for r in returns]),
        "num_steps": _known(shares.num_steps),
        "response_tokens": _known(shares.response_tokens),
        "invalid_share": _known(shares.invalid),
        "inadmissible_share": _known(shares.inadmissible),
        "repeated_share": _known(shares.repeated),
        "looped_share": _known(shares.looped),
        "truncated_share": _mean([s.is_truncated for e in played for s in e.steps]),
        "shortened_share": _mean([s.num_shown is not None for e in played for s in e.steps]),
        "out_of_room_share": _mean([e.outcome is Outcome.TRUNCATED for e in played]),
        "timed_out_share": _mean([e.outcome is Outcome.TIMED_OUT for e in played]),
        "env_errors": len(broken_games((*episodes, *play.refills))),
        "zero_variance_share": _mean(even),
        "replaced_groups": play.num_replaced,
        "refilled_groups": None if play.num_replaced is None else play.num_refilled,
        **_augmentation_values(play),
        **_tag_shares(credited.table),
        "num_samples": len(credited.table),
        "advantage_std": float(torch.std(credited.step_advantage, correction=0)),
    }
    return metrics("agent", values)


def _score_values(played: Sequence[Episode]) -> dict[str, float | None]:
    """What partial scores tell beside success; {} where the environment gives none."""
    if not has_partial_scores(played):
        return {}
    finished = [is_finished_positive(episode.outcome, episode.score) for episode in played]
    return {
        "score": _mean([episode.score for episode in played]),
        "finished_positive": _mean(finished),
    }


def _augmentation_values(play: Played) -> dict[str, float | None]:
    """How the drawn tasks went that were shown with distractors; {} where none are shown at all."""
    if play.num_augmented is None:
        return {}
    values: dict[str, float | None] = {"augmented_groups": play.num_augmented}
    played = [
        episode
        for episode in play.first
        if episode.outcome is not Outcome.ENV_ERROR and any(s.distractors for s in episode.steps)
    ]
    if played:
        values["augmented_success"] = _mean([episode.is_won for episode in played])
        shown = [len(step.distractors) for episode in played for step in episode.steps]
        values["num_distractors"] = _mean(shown)
    return values


def _tag_shares(table: StepTable) -> Metrics:
    """Of the steps that name their way of reasoning, the share of each; {} where none does."""
    named = table.tag[table.tag >= 0]
    if not len(named):
        return {}
    counts = named.bincount(minlength=len(META_TAGS)).tolist()
    return {f"tag/{tag}": count / len(named) for tag, count in zip(META_TAGS, counts, strict=True)}


def judge_metrics(judged: JudgeRound) -> Metrics:
    """Training metrics of how the actor judged, and of its steps' labels; {} without judging."""
    if judged.stats is None:
        return {}
    labels = {**vars(judged.stats), **_source_values(judged)}
    return {**metrics("judge", _answer_values(judged)), **metrics("labels", labels)}


def _answer_values(judged: JudgeRound) -> dict[str, float | None]:
    """How the questions were answered; without answers only how many there were."""
    values: dict[str, float | None] = {"num_questions": float(len(judged.questions))}
    answers = judged.answers()
    if not answers:
        return values
    values["accuracy"] = _mean([question.is_right(text) for question, text in answers])
    if judged.questions[0].label is not None:
        for label, name in _CLASS.items():
            values[f"accuracy_{name}"] = _mean(
                [question.is_right(text) for question, text in answers if question.label == label]
            )
        values["one_share"] = _mean([text == "1" for _, text in answers])
    if judged.episodes:
        values["unreadable_share"] = _mean([text == "" for _, text in answers])
        values["truncated_share"] = _mean([e.steps[0].is_truncated for e in judged.episodes])
        asked = len({episode.group for episode in judged.episodes})
        values["too_long"] = float(len(judged.questions) - asked)
        values["response_tokens"] = _mean(
            [float(e.steps[0].response_ids.numel()) for e in judged.episodes]
        )
    return values


def _source_values(judged: JudgeRound) -> dict[str, float | None]:
    """Where the questions' labels came from, how the sources agree, how a language model did."""
    origins = Counter(question.source for question in judged.questions if question.source)
    values: dict[str, float | None] = {
        f"from/{source}": float(count) for source, count in sorted(origins.items())
    }
    sources = {"rule": judged.rule, "oracle": judged.oracle}
    if judged.llm is not None:
        sources["llm"] = judged.llm.labels
        stats = vars(count_ballots(judged.llm.ballots))
        values |= {f"llm_{name}": value for name, value in stats.items()}
        values["endpoint_failed"] = float(bool(judged.llm.failure))
    for (one, other), cells in count_agreements(sources).items():
        for (a, b), count in cells.items():
            values[f"both/{one}_{_CLASS[a]}/{other}_{_CLASS[b]}"] = float(count)
    return values


_CLASS: Mapping[int, str] = {1: "good", 0: "bad"}


def endpoint_metrics(usage: Usage) -> Metrics:
    """Training metrics of what an iteration asked of an endpoint."""
    return metrics("endpoint", vars(usage))


def update_metrics(learned: Learned) -> Metrics:
    """Training metrics of the policy's update; its learning rate alone where there was none."""
    values = {} if learned.policy is None else _update_values(learned.policy)
    return metrics("update", {**values, "learning_rate": learned.learning_rate})


def _update_values(stats: UpdateStats) -> dict[str, float | None]:
    judge = stats.judge
    return {
        "loss_agent": stats.agent.loss,
        "loss_judge": judge.loss if judge else None,
        "kl": stats.agent.kl,
        "kl_judge": judge.kl if judge else None,
        "clip_share": stats.agent.clip_share,
        "capped_share": stats.agent.capped_share,
        "entropy": stats.agent.entropy,
        "entropy_judge": judge.entropy if judge else None,
        "grad_norm": stats.grad_norm,
        "grad_norm_agent": stats.agent.grad_norm,
        "grad_norm_judge": judge.grad_norm if judge else None,
        "grad_cosine": stats.cosine,
        "judge_scale": stats.judge_scale,
        "mismatch_mean": stats.mismatch_mean,
        "mismatch_max": stats.mismatch_max,
        "num_steps": float(stats.num_steps),
        "skipped_share": stats.agent.num_skipped / max(stats.agent.num_samples, 1),
    }


def critic_metrics(stats: CriticStats | None) -> Metrics:
    """Training metrics of how the critic's update went; {} without one."""
    return {} if stats is None else metrics("critic", vars(stats))


def time_metrics(seconds: Mapping[str, float], whole: float, stats: UpdateStats | None) -> Metrics:
    """Training metrics of where an iteration's time went, and of how fast its update was.

    Args:
        seconds: spent in each phase.
        whole: seconds of the whole iteration.
        stats: of the update, None where there was none.
    """
    values = {**seconds, "iteration": whole}
    if stats is not None:
        parts = [stats.agent, *([stats.judge] if stats.judge else [])]
        tokens = sum(part.num_forward_tokens for part in parts)
        values["tokens_per_second"] = tokens / max(seconds["update"], 1e-9)
    return metrics("time", values)


def eval_metrics(result: EvalResult) -> Metrics:
    """Training metrics of an evaluation: success by level and, if any, partial scores.

    A level all of whose plays ended in an environment error has none.
    """
    rows = _level_rows(result)
    values = {f"{row.level}/success": _known(row.success.mean) for row in rows}
    if has_partial_scores(result.games):
        values |= {f"{row.level}/score": _known(row.score) for row in rows}
        values |= {f"{row.level}/finished_positive": _known(row.finished_positive) for row in rows}
    return metrics("eval", values)


def eval_scores(result: EvalResult) -> dict[str, Score]:
    """Training metrics' view of an evaluation: its success over all task types, by level.

    Each success comes with its interval and n.
    """
    return {
        row.level: (row.success.mean, row.success.low, row.success.high, row.success.n)
        for row in _level_rows(result)
    }


def _level_rows(result: EvalResult) -> list[Row]:
    return [row for row in summarise(result, by_kind=False) if row.level in result.levels]


def _mean(values: Sequence[float] | Sequence[bool]) -> float | None:
    """None of nothing: a share of no episodes is not 0, and is left out."""
    return float(sum(values)) / len(values) if values else None


def _known(value: float) -> float | None:
    """None where nothing was counted, for which summaries have NaN."""
    return None if math.isnan(value) else value
