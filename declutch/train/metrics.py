"""The numbers of one iteration, under the names they have in metrics.jsonl."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

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
from declutch.rollout.groups import Played
from declutch.train.learn import Credited

Metrics = dict[str, float]
Score = tuple[float, float, float, int]
"""Mean, lower and upper end of the 95% interval, number of games."""


def agent_metrics(play: Played, credited: Credited) -> Metrics:
    """How the agent played the tasks that were drawn, and what it was trained on.

    Episodes that ended in an environment error are only counted.
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
    return {
        "agent/success": _mean([e.is_won for e in played]),
        **{f"agent/success/{kind}": _mean(won) for kind, won in sorted(by_kind.items())},
        **_score_metrics(played),
        "agent/return": _mean([r for returns in by_group.values() for r in returns]),
        "agent/num_steps": shares.num_steps,
        "agent/response_tokens": shares.response_tokens,
        "agent/invalid_share": shares.invalid,
        "agent/inadmissible_share": shares.inadmissible,
        "agent/repeated_share": shares.repeated,
        "agent/looped_share": shares.looped,
        "agent/timed_out_share": _mean([e.outcome is Outcome.TIMED_OUT for e in played]),
        "agent/env_errors": len(episodes) - len(played),
        "agent/zero_variance_share": _mean(even),
        **_dynamic_metrics(play),
        **_tag_shares(credited.table),
        "agent/num_samples": len(credited.table),
        "agent/advantage_std": float(torch.std(credited.step_advantage, correction=0)),
    }


def _score_metrics(played: Sequence[Episode]) -> Metrics:
    """What partial scores tell beside success; {} where the environment gives none."""
    if not has_partial_scores(played):
        return {}
    finished = [is_finished_positive(episode.outcome, episode.score) for episode in played]
    return {
        "agent/score": _mean([episode.score for episode in played]),
        "agent/finished_positive": _mean(finished),
    }


def _dynamic_metrics(play: Played) -> Metrics:
    if play.num_replaced is None:
        return {}
    return {
        "agent/replaced_groups": play.num_replaced,
        "agent/refilled_groups": play.num_refilled,
    }


def _tag_shares(table: StepTable) -> Metrics:
    """Of the steps that name their way of reasoning, the share of each; {} where none does."""
    named = table.tag[table.tag >= 0]
    if not len(named):
        return {}
    counts = named.bincount(minlength=len(META_TAGS)).tolist()
    return {
        f"agent/tag/{tag}": count / len(named) for tag, count in zip(META_TAGS, counts, strict=True)
    }


def judge_metrics(judged: JudgeRound) -> Metrics:
    """How the actor judged, and what the labels were; {} without judging."""
    if judged.stats is None:
        return {}
    labels = {
        f"labels/{name}": value for name, value in vars(judged.stats).items() if value is not None
    }
    labels |= _source_metrics(judged)
    metrics = {"judge/num_questions": float(len(judged.questions))}
    answers = judged.answers()
    if not answers:
        return {**metrics, **labels}
    metrics["judge/accuracy"] = _mean([question.is_right(text) for question, text in answers])
    if judged.questions[0].label is not None:
        for value, name in ((1, "good"), (0, "bad")):
            metrics[f"judge/accuracy_{name}"] = _mean(
                [question.is_right(text) for question, text in answers if question.label == value]
            )
        metrics["judge/one_share"] = _mean([text == "1" for _, text in answers])
    if judged.episodes:
        metrics["judge/unreadable_share"] = _mean([text == "" for _, text in answers])
        metrics["judge/response_tokens"] = _mean(
            [float(e.steps[0].response_ids.numel()) for e in judged.episodes]
        )
    return {**metrics, **labels}


def _source_metrics(judged: JudgeRound) -> Metrics:
    """Where the questions' labels came from, how the sources agree, how a language model did."""
    origins = Counter(question.source for question in judged.questions if question.source)
    metrics = {f"labels/from/{source}": float(count) for source, count in sorted(origins.items())}
    sources = {"rule": judged.rule, "oracle": judged.oracle}
    if judged.llm is not None:
        sources["llm"] = judged.llm.labels
        stats = vars(count_ballots(judged.llm.ballots))
        metrics |= {f"labels/llm_{key}": value for key, value in stats.items() if value is not None}
        metrics["labels/endpoint_failed"] = float(bool(judged.llm.failure))
    for (one, other), cells in count_agreements(sources).items():
        for (a, b), count in cells.items():
            metrics[f"labels/both/{one}_{_CLASS[a]}/{other}_{_CLASS[b]}"] = float(count)
    return metrics


_CLASS: Mapping[int, str] = {1: "good", 0: "bad"}


def endpoint_metrics(usage: Usage) -> Metrics:
    """What an iteration asked of an endpoint."""
    return {f"endpoint/{name}": value for name, value in vars(usage).items()}


def update_metrics(stats: UpdateStats | None) -> Metrics:
    """How the update went; what does not apply is left out, {} where there was none."""
    if stats is None:
        return {}
    judge = stats.judge
    values = {
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
    return {f"update/{name}": value for name, value in values.items() if value is not None}


def critic_metrics(stats: CriticStats | None) -> Metrics:
    """How the critic's update went; {} without one."""
    if stats is None:
        return {}
    return {f"critic/{name}": value for name, value in vars(stats).items() if value is not None}


def eval_metrics(result: EvalResult) -> Metrics:
    """Success by level and, where the environment gives partial scores, what those tell."""
    rows = _level_rows(result)
    metrics = {f"eval/{row.level}/success": row.success.mean for row in rows}
    if has_partial_scores(result.games):
        metrics |= {f"eval/{row.level}/score": row.score for row in rows}
        metrics |= {f"eval/{row.level}/finished_positive": row.finished_positive for row in rows}
    return metrics


def eval_scores(result: EvalResult) -> dict[str, Score]:
    """Level -> success with its interval and n, over all task types."""
    return {
        row.level: (row.success.mean, row.success.low, row.success.high, row.success.n)
        for row in _level_rows(result)
    }


def _level_rows(result: EvalResult) -> list[Row]:
    return [row for row in summarise(result, by_kind=False) if row.level in result.levels]


def _mean(values: Sequence[float] | Sequence[bool]) -> float:
    return float(sum(values)) / len(values) if values else 0.0
