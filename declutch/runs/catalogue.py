"""The only list of metrics: what training records, what it means, and where each is shown.

Training records metrics through `metrics`, which refuses a key that is not listed. The live view,
the report, comparisons and the reference page read the list. A new metric is one `Metric` in
`METRICS`; code outside of the package adds its own with `register`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from declutch.runs.metric import Chart, Metric

Value = TypeVar("Value", bound=float)

SECTIONS = {
    "iteration": "Which iteration the other metrics are of.",
    "agent": "How the agent played the tasks that were drawn for training.",
    "judge": "How the auxiliary task's questions were answered.",
    "labels": "Which labels the agent's steps had, and how far their sources agree.",
    "suggestions": "The suggestions in training prompts, and the advice they are made of.",
    "update": "How the policy was updated.",
    "critic": "How the critic of a method that has one was updated.",
    "endpoint": "What was asked of a language model at an endpoint.",
    "eval": "The evaluation after the iteration, where there was one.",
    "coupling": "How far gradients of good and bad steps are coupled, where it was measured.",
    "time": "Where the time went.",
}
"""What the metrics of each section are about, in the order in which sections are shown."""

SUCCESS, BEHAVIOUR, JUDGE, UPDATE = "Success", "Behaviour in training", "Judge", "Update"
CRITIC, TIME, OTHER = "Critic", "Time", "Other"

CHARTS = (
    Chart(
        "Evaluation by level",
        SUCCESS,
        "games won",
        "fixed games, 95% band over games of this run",
        0,
        1,
        kind="levels",
    ),
    Chart("Training success", SUCCESS, "episodes won", "games drawn for training", 0, 1),
    Chart("Training success by task type", SUCCESS, "episodes won", low=0, high=1),
    Chart("Repeated and looped actions", BEHAVIOUR, "share of steps"),
    Chart("Invalid, inadmissible, out of steps", BEHAVIOUR, "share"),
    Chart("Responses cut off, prompts shortened", BEHAVIOUR, "share"),
    Chart("Steps per episode", BEHAVIOUR, "steps"),
    Chart("Tokens per response", BEHAVIOUR, "tokens"),
    Chart(
        "Groups without a difference in return", BEHAVIOUR, "share of groups", "they teach nothing"
    ),
    Chart("Groups replaced", BEHAVIOUR, "groups", "dynamic sampling", 0),
    Chart("Ways of reasoning", BEHAVIOUR, "share of steps", "of steps that name one"),
    Chart("Judge accuracy", JUDGE, "accuracy", "verdict equals label", 0, 1),
    Chart("What the judge says", JUDGE, "share of judgments", low=0, high=1),
    Chart("Suggestions", JUDGE, "number", low=0),
    Chart("Labels among the steps played", JUDGE, "share of steps"),
    Chart("Precision of the rule against the oracle", JUDGE, "precision", low=0, high=1),
    Chart("Gradient norm", UPDATE, "norm, logarithmic", is_log=True),
    Chart("Cosine of agent and judge gradients", UPDATE, "cosine"),
    Chart("Gradient cosines of good and bad steps", UPDATE, "cosine", "in domain, then out of it"),
    Chart("KL to the cold-start model", UPDATE, "nats per token", low=0),
    Chart("Entropy", UPDATE, "nats per token"),
    Chart("Clipped tokens", UPDATE, "share of tokens"),
    Chart(
        "Sampler against learner",
        UPDATE,
        "nats, logarithmic",
        "difference of log-probabilities",
        is_log=True,
    ),
    Chart("Loss", UPDATE, "loss"),
    Chart("Tokens per second in the update", UPDATE, "tokens per second", low=0),
    Chart("Explained variance", CRITIC, "explained variance", "by the values before the update"),
    Chart("Value loss", CRITIC, "loss", low=0),
    Chart("Clipped values", CRITIC, "share of values"),
    Chart("Critic's gradient norm", CRITIC, "norm, logarithmic", is_log=True),
    Chart("Seconds per iteration", TIME, "seconds", "phases stacked", kind="stacked"),
)
"""The report's charts in their order; a metric may name another, which stands under "Other"."""

METRICS = (
    Metric("iteration", "iteration", "", "The number of the iteration, from 1."),
    # How the agent played.
    Metric(
        *("agent/success", "success", "%", "Share of the episodes that were won."),
        chart="Training success",
        plain="success",
        is_live=True,
    ),
    Metric(
        *("agent/success/{kind}", "success by task type", "%"),
        "Share of the episodes of a type of tasks that were won.",
        chart="Training success by task type",
    ),
    Metric(
        *("agent/score", "mean score", "%"),
        "Mean of the environment's final score; recorded where scores say more than success.",
        plain="score",
        is_live=True,
    ),
    Metric(
        *("agent/finished_positive", "finished positive", "%"),
        "Share of the episodes that ended in time with a score above 0; it is not success.",
        is_live=True,
    ),
    Metric(
        *("agent/return", "return", "", "Mean sum of an episode's rewards."),
        is_live=True,
    ),
    Metric(
        *("agent/num_steps", "steps", "", "Mean number of steps of an episode."),
        chart="Steps per episode",
        plain="steps",
        is_live=True,
    ),
    Metric(
        *("agent/response_tokens", "tokens per response", "tokens"),
        "Mean number of tokens of the agent's response at a step.",
        chart="Tokens per response",
        line="agent",
        is_live=True,
    ),
    Metric(
        *("agent/invalid_share", "invalid", "%"),
        "Share of the steps whose response lacked the required format.",
        chart="Invalid, inadmissible, out of steps",
        plain="invalid",
        is_live=True,
    ),
    Metric(
        *("agent/inadmissible_share", "inadmissible", "%"),
        "Share of the steps whose action was well formed but could not be carried out.",
        chart="Invalid, inadmissible, out of steps",
        color="c2",
        is_live=True,
    ),
    Metric(
        *("agent/repeated_share", "repeated", "%"),
        "Share of the steps whose action was that of the step before.",
        chart="Repeated and looped actions",
        color="c2",
        plain="repeated",
        is_live=True,
    ),
    Metric(
        *("agent/looped_share", "looped", "%"),
        "Share of the steps inside a block of 2 to 6 actions that is repeated at once.",
        chart="Repeated and looped actions",
        color="c5",
        plain="looped",
        is_live=True,
    ),
    Metric(
        *("agent/timed_out_share", "timed out", "%"),
        "Share of the episodes that ran out of steps.",
        chart="Invalid, inadmissible, out of steps",
        color="c7",
        is_live=True,
    ),
    Metric(
        *("agent/truncated_share", "cut off", "%"),
        "Share of the agent's responses that the limit of tokens ended.",
        chart="Responses cut off, prompts shortened",
        line="agent's responses",
        color="c2",
        is_live=True,
    ),
    Metric(
        *("agent/shortened_share", "prompts shortened", "%"),
        "Share of the steps whose prompt left out the oldest history, since the model had no room "
        "for all of it.",
        chart="Responses cut off, prompts shortened",
        color="c5",
    ),
    Metric(
        *("agent/out_of_room_share", "out of room", "%"),
        "Share of the episodes that ended since the next prompt did not fit into the model at all.",
        chart="Responses cut off, prompts shortened",
        line="episodes out of room",
        color="c7",
    ),
    Metric(
        *("agent/env_errors", "environment errors", ""),
        "Number of episodes that an error of the environment ended; they count nowhere else.",
        is_live=True,
    ),
    Metric(
        *("agent/zero_variance_share", "equal-return groups", "%"),
        "Share of the groups whose episodes all had the same return.",
        chart="Groups without a difference in return",
        line="equal returns",
        color="c7",
        is_live=True,
    ),
    Metric(
        *("agent/replaced_groups", "groups dropped", ""),
        "Number of groups of equal returns that dynamic sampling left out.",
        chart="Groups replaced",
        line="dropped",
        color="c7",
    ),
    Metric(
        *("agent/refilled_groups", "groups played instead", ""),
        "Number of groups that dynamic sampling played in the place of those.",
        chart="Groups replaced",
        line="played instead",
    ),
    Metric(
        *("agent/augmented_groups", "groups with distractors", ""),
        "Number of groups whose observations had distractors; see `augmentation.enabled`.",
    ),
    Metric(
        *("agent/augmented_success", "success with distractors", "%"),
        "Share of the episodes with distractors that were won.",
        chart="Training success",
        line="with distractors",
        color="c2",
    ),
    Metric(
        *("agent/num_distractors", "distractors", ""),
        "Mean number of distractors that an observation of these episodes had.",
    ),
    Metric(
        *("agent/tag/{tag}", "ways of reasoning", "%"),
        "Of the steps that name a way of reasoning, the share that names this one.",
        chart="Ways of reasoning",
    ),
    Metric("agent/num_samples", "samples", "", "Number of steps that were trained on."),
    Metric(
        *("agent/advantage_std", "spread of advantages", ""),
        "Standard deviation of the steps' advantages, each the mean over its tokens.",
    ),
    # How the auxiliary task went.
    Metric("judge/num_questions", "questions", "", "Number of steps asked about.", is_live=True),
    Metric(
        *("judge/accuracy", "accuracy", "%"),
        "Share of the answers that are right; one that cannot be read is wrong.",
        chart="Judge accuracy",
        line="all",
        color="mean",
        plain="judge",
        is_live=True,
    ),
    Metric(
        *("judge/accuracy_good", "accuracy, good", "%"),
        "Share of the answers about good steps that are right.",
        chart="Judge accuracy",
        line="good steps",
        color="c3",
        is_live=True,
    ),
    Metric(
        *("judge/accuracy_bad", "accuracy, bad", "%"),
        "Share of the answers about bad steps that are right.",
        chart="Judge accuracy",
        line="bad steps",
        color="c2",
        is_live=True,
    ),
    Metric(
        *("judge/one_share", 'says "1"', "%", 'Share of the answers that say "1", for good.'),
        chart="What the judge says",
        line="“1” (good)",
        color="c4",
        is_live=True,
    ),
    Metric(
        *("judge/unreadable_share", "unreadable", "%"),
        "Share of the answers that cannot be read.",
        chart="What the judge says",
        color="c7",
        is_live=True,
    ),
    Metric(
        *("judge/truncated_share", "answers cut off", "%"),
        "Share of the answers that the limit of tokens ended.",
        chart="Responses cut off, prompts shortened",
        line="answers",
        color="c4",
    ),
    Metric(
        *("judge/too_long", "questions too long", ""),
        "Number of questions that did not fit into the model, and have no answer.",
    ),
    Metric(
        *("judge/response_tokens", "tokens per answer", "tokens"),
        "Mean number of tokens of an answer.",
        chart="Tokens per response",
        line="judge",
        color="c5",
    ),
    # Labels of the steps played, by source.
    Metric(
        *("labels/rule_good", "rule says good", "%"),
        "Share of all steps that the rule calls good.",
        chart="Labels among the steps played",
        line="rule good",
        color="c1",
    ),
    Metric(
        *("labels/rule_bad", "rule says bad", "%"),
        "Share of all steps that the rule calls bad.",
        chart="Labels among the steps played",
        line="rule bad",
        color="c5",
    ),
    Metric(
        *("labels/oracle_good", "oracle says good", "%"),
        "Share of all steps that the oracle calls good.",
        chart="Labels among the steps played",
        line="oracle good",
        color="c3",
    ),
    Metric(
        *("labels/oracle_bad", "oracle says bad", "%"),
        "Share of all steps that the oracle calls bad.",
        chart="Labels among the steps played",
        line="oracle bad",
        color="c2",
    ),
    Metric(
        *("labels/rule_precision_good", "rule right on good", "%"),
        "Of the steps that the rule calls good and the oracle labels, the share that is good.",
        chart="Precision of the rule against the oracle",
        line="good",
        color="c3",
    ),
    Metric(
        *("labels/rule_precision_bad", "rule right on bad", "%"),
        "Of the steps that the rule calls bad and the oracle labels, the share that is bad.",
        chart="Precision of the rule against the oracle",
        line="bad",
        color="c2",
    ),
    Metric(
        *("labels/from/{source}", "labels by source", ""),
        'Number of judged steps whose label comes from a source, or from two ("rule+oracle").',
    ),
    Metric(
        *("labels/llm_steps", "steps asked about", ""),
        "Number of steps that a language model was asked to label.",
    ),
    Metric("labels/llm_kept", "labels kept", "", "Number of these steps that it gave a label."),
    Metric("labels/llm_good", "labels good", "", "Number of its labels that say good."),
    Metric("labels/llm_bad", "labels bad", "", "Number of its labels that say bad."),
    Metric("labels/llm_asks", "asks", "", "Number of times it was asked, several for each step."),
    Metric(
        *("labels/llm_unreadable", "verdicts unreadable", ""),
        "Number of its answers without a readable verdict.",
    ),
    Metric("labels/llm_failed", "asks failed", "", "Number of asks that got no answer."),
    Metric(
        *("labels/llm_agreement", "verdicts agree", "%"),
        "Mean over steps of the share of the verdicts that are of the larger side.",
    ),
    Metric(
        *("labels/llm_unanimous", "verdicts unanimous", "%"),
        "Share of the steps asked about whose verdicts were all readable and equal.",
    ),
    Metric(
        *("labels/endpoint_failed", "endpoint away", ""),
        "1 where most asks got no answer, so that no label came from the language model.",
    ),
    Metric(
        *("labels/both/{one}_{one_says}/{other}_{other_says}", "sources agree", ""),
        "Number of steps that two sources label, by what each of them says.",
    ),
    # Suggestions.
    Metric(
        *("suggestions/num_shown", "in prompts", ""),
        "Number of suggestions that this iteration's prompts showed.",
        chart="Suggestions",
        line="in prompts",
        color="c3",
        is_live=True,
        aliases=("suggestions/num_rules",),
    ),
    Metric(
        *("suggestions/num_advice", "pieces of advice", ""),
        "Number of pieces of advice that this iteration adds to what suggestions are made of.",
        chart="Suggestions",
        color="c5",
        is_live=True,
    ),
    Metric(
        *("suggestions/num_themes", "themes", ""),
        "Number of themes that advice was sorted into, where suggestions were made anew.",
    ),
    Metric(
        *("suggestions/silhouette", "silhouette", ""),
        "How well the themes are apart, from -1 to 1.",
    ),
    Metric(
        *("suggestions/num_failures", "themes without a suggestion", ""),
        "Number of themes that the language model gave no suggestion for.",
    ),
    # The update of the policy.
    Metric(
        *("update/loss_agent", "agent's loss", ""),
        "The policy loss of the agent's samples, mean over the optimizer steps.",
        chart="Loss",
        line="agent",
    ),
    Metric(
        *("update/loss_judge", "judge's loss", ""),
        "The loss of the auxiliary task's samples, mean over the optimizer steps.",
        chart="Loss",
        line="judge",
        color="c5",
    ),
    Metric(
        *("update/kl", "KL", "nats"),
        "Divergence of the policy from the model it started as, mean over the agent's tokens.",
        chart="KL to the cold-start model",
        line="agent",
        plain="KL",
        is_live=True,
    ),
    Metric(
        *("update/kl_judge", "KL, judge", "nats"),
        "The same divergence, mean over the judge's tokens.",
        chart="KL to the cold-start model",
        line="judge",
        color="c5",
    ),
    Metric(
        *("update/clip_share", "clipped", "%"),
        "Share of the agent's tokens whose probability ratio was clipped.",
        chart="Clipped tokens",
        is_live=True,
    ),
    Metric(
        *("update/capped_share", "capped", "%"),
        "Share of the agent's tokens whose importance weight hit its cap.",
    ),
    Metric(
        *("update/entropy", "entropy", "nats"),
        "Entropy of the policy under the action mask, mean over the agent's tokens.",
        chart="Entropy",
        line="agent",
        is_live=True,
    ),
    Metric(
        *("update/entropy_judge", "entropy, judge", "nats"),
        "Entropy of the policy, mean over the judge's tokens.",
        chart="Entropy",
        line="judge",
        color="c5",
    ),
    Metric(
        *("update/grad_norm", "gradient norm", ""),
        "Norm of the whole gradient before clipping, mean over the optimizer steps.",
        chart="Gradient norm",
        line="together",
        color="c7",
        plain="grad",
        is_live=True,
    ),
    Metric(
        *("update/grad_norm_agent", "agent's gradient", ""),
        "Norm of the gradient of the agent's samples alone.",
        chart="Gradient norm",
        line="agent",
        color="c1",
        is_live=True,
    ),
    Metric(
        *("update/grad_norm_judge", "judge's gradient", ""),
        "Norm of the gradient of the auxiliary task's samples alone, before it is weighted.",
        chart="Gradient norm",
        line="judge",
        color="c5",
        is_live=True,
    ),
    Metric(
        *("update/grad_cosine", "cosine", ""),
        "Cosine between the two gradients, mean over the steps where neither is zero.",
        chart="Cosine of agent and judge gradients",
        color="c4",
        plain="cos",
        is_live=True,
    ),
    Metric(
        *("update/judge_scale", "judge's scale", ""),
        "What the gradient of the auxiliary task was multiplied by.",
    ),
    Metric(
        *("update/mismatch_mean", "mismatch", "nats"),
        "Mean difference of log-probability between the engine that sampled and the learner.",
        chart="Sampler against learner",
        line="mean |Δ log p|",
        is_live=True,
    ),
    Metric(
        *("update/mismatch_max", "largest mismatch", "nats"),
        "Largest such difference.",
        chart="Sampler against learner",
        line="max",
        color="c2",
    ),
    Metric("update/num_steps", "optimizer steps", "", "Number of optimizer steps."),
    Metric(
        *("update/skipped_share", "skipped", "%"),
        "Share of the agent's samples that cannot move the policy and were not computed.",
    ),
    Metric("update/learning_rate", "learning rate", "", "Learning rate of the policy's optimizer."),
    # The update of the critic.
    Metric("critic/num_steps", "optimizer steps", "", "Number of the critic's optimizer steps."),
    Metric(
        *("critic/loss", "loss", "", "Value loss, in squared units of the return."),
        chart="Value loss",
        is_live=True,
    ),
    Metric(
        *("critic/clip_share", "clipped", "%"),
        "Share of the tokens whose value had moved further than the clip range.",
        chart="Clipped values",
        is_live=True,
    ),
    Metric(
        *("critic/grad_norm", "gradient norm", "", "Norm of its gradient before clipping."),
        chart="Critic's gradient norm",
        is_live=True,
    ),
    Metric(
        *("critic/explained_variance", "explained variance", "%"),
        "How much of the returns' variance the values before the update explain.",
        chart="Explained variance",
        color="c1",
        is_live=True,
    ),
    Metric("critic/value_mean", "mean value", "", "Mean of the values before the update."),
    # What an endpoint was asked, and what it cost.
    Metric("endpoint/calls", "calls", "", "Number of HTTP requests that were sent."),
    Metric("endpoint/cached", "cached", "", "Number of requests answered from the cache."),
    Metric("endpoint/retries", "retries", "", "Number of calls that repeated a failed one."),
    Metric("endpoint/failed", "failed", "", "Number of requests that came back without a text."),
    Metric("endpoint/prompt_tokens", "prompt tokens", "tokens", "Tokens of the prompts sent."),
    Metric(
        *("endpoint/completion_tokens", "completion tokens", "tokens", "Tokens of the answers."),
    ),
    Metric("endpoint/cost", "cost", "", "Cost by the configured prices, in their unit."),
    Metric("endpoint/seconds", "seconds", "s", "Wall time spent asking."),
    # Evaluations.
    Metric(
        *("eval/{level}/success", "success by level", "%"),
        "Share of a level's games that were won in the evaluation.",
        chart="Evaluation by level",
    ),
    Metric(
        *("eval/{level}/score", "mean score by level", "%"),
        "Mean score in the evaluation; recorded where scores say more than success.",
    ),
    Metric(
        *("eval/{level}/finished_positive", "finished positive by level", "%"),
        "Share of a level's games that ended in time with a score above 0.",
    ),
    Metric(
        *("coupling/cosine/{pair}", "gradient cosine by pair of classes", ""),
        "Cosine between mean gradients of in-domain and out-of-domain steps; p is good, n is bad.",
        chart="Gradient cosines of good and bad steps",
    ),
    Metric(
        *("coupling/contrast", "gradient cosine within less across classes", ""),
        "Half of pp + nn - pn - np of the gradient cosines.",
    ),
    Metric(
        *("coupling/split_half", "reliability of mean gradients", ""),
        "The lowest split-half reliability behind the gradient cosines; below 0.5 they are noise.",
    ),
    # Where the time went: first the phases of an iteration, in their order.
    Metric(
        *("time/play", "play", "s", "Playing the tasks that were drawn."),
        chart="Seconds per iteration",
        color="c1",
        is_live=True,
    ),
    Metric(
        *("time/label", "label", "s", "Labelling steps and choosing those to ask about."),
        chart="Seconds per iteration",
        color="c4",
        is_live=True,
    ),
    Metric(
        *("time/judge", "judge", "s", "Answering the auxiliary task's questions."),
        chart="Seconds per iteration",
        color="c5",
        is_live=True,
    ),
    Metric(
        *("time/update", "update", "s", "Crediting the steps and updating the policy."),
        chart="Seconds per iteration",
        color="c3",
        is_live=True,
    ),
    Metric(
        *("time/eval", "evaluate", "s", "Evaluating the policy."),
        chart="Seconds per iteration",
        color="c7",
        is_live=True,
    ),
    Metric(
        *(
            "time/coupling",
            "coupling",
            "s",
            "Measuring gradient cosines, where coupling.every asks.",
        ),
        chart="Seconds per iteration",
        color="c2",
        is_live=True,
    ),
    Metric(
        *("time/save", "save", "s", "Writing a checkpoint."),
        chart="Seconds per iteration",
        color="c6",
        is_live=True,
    ),
    Metric(
        *("time/tokens_per_second", "tokens/s", ""),
        "Prompt and response tokens computed per second of the update.",
        chart="Tokens per second in the update",
        color="c3",
        plain="tok/s",
        is_live=True,
    ),
    Metric(
        *("time/iteration", "iteration", "s", "The whole iteration."),
        plain="took",
        is_live=True,
    ),
)

_listed: dict[str, Metric] = {metric.key: metric for metric in METRICS}


def register(*metrics: Metric) -> None:
    """Add metrics of code outside of the package to the catalogue, to be recorded and shown.

    Raises:
        ValueError: the key is that of another metric.
    """
    for metric in metrics:
        known = _listed.setdefault(metric.key, metric)
        if known != metric:
            raise ValueError(f"there is another metric with the key {metric.key!r}")


def listed() -> tuple[Metric, ...]:
    """All metrics of the catalogue, by section and in the order in which they are shown."""
    order = {section: index for index, section in enumerate(SECTIONS)}
    return tuple(sorted(_listed.values(), key=lambda m: order.get(m.section, len(order))))


def find(key: str) -> Metric | None:
    """Find in the catalogue the metric that a key of `metrics.jsonl` belongs to, or None."""
    single = _listed.get(key)
    if single is not None and not single.is_family:
        return single
    return next((m for m in _listed.values() if m.is_family and m.match(key) is not None), None)


def metric_of(section: str, name: str) -> Metric:
    """The catalogue's metric of a section that code knows by its name.

    Raises:
        ValueError: it is not listed.
    """
    metric = find(f"{section}/{name}")
    if metric is None:
        raise ValueError(f"no metric '{section}/{name}' is listed in declutch/runs/catalogue.py")
    return metric


def key_of(section: str, name: str) -> str:
    """The catalogue's key of a metric that code knows by section and name.

    Raises:
        ValueError: it is not listed.
    """
    metric_of(section, name)
    return f"{section}/{name}"


def metrics(section: str, values: Mapping[str, Value | None]) -> dict[str, Value]:
    """Put values under the catalogue's keys of a section; None is left out.

    Args:
        values: by the key without its section.
    Raises:
        ValueError: a metric is not listed.
    """
    return {key_of(section, name): value for name, value in values.items() if value is not None}


def current_key(key: str) -> str:
    """Look up in the catalogue of metrics the key that a formerly recorded one has now."""
    return _ALIASES.get(key, key)


_ALIASES = {alias: metric.key for metric in METRICS for alias in metric.aliases}


def phases() -> tuple[Metric, ...]:
    """The phases of an iteration, as the catalogue's metrics of the time spent in each."""
    stacked = {chart.title for chart in CHARTS if chart.kind == "stacked"}
    return tuple(metric for metric in listed() if metric.chart in stacked)


def chart_of(metric: Metric) -> Chart | None:
    """The catalogue's chart that shows a metric in the report; None where no chart does."""
    if not metric.chart:
        return None
    known = {chart.title: chart for chart in CHARTS}
    return known.get(metric.chart, Chart(metric.chart, OTHER))
