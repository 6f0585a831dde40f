"""Label an episode's steps as good (1) or bad (0), by the papers' rule or by the oracle.

The rule needs nothing but the episode; the oracle read the environment's true state while the
episode was played; a third source is a language model (`llm_labels`). Every label keeps the name of
its source, and the oracle's are never mixed with those of the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch

from declutch.agent.rule import RuleKey, label_steps
from declutch.config.judge import GCDConfig
from declutch.envs.protocol import Oracle, Suite
from declutch.envs.wording import Wording
from declutch.ground.errors import UserError
from declutch.records import Episode

Labels = tuple[int | None, ...]
"""For each step of an episode 1 (good), 0 (bad) or None (no label)."""

NEEDS_ORACLE = ("oracle", "shuffled")
"""Values of `gcd.labels` whose labels are the environment's oracle's."""


def check_labels(gcd: GCDConfig, suite: Suite) -> None:
    """Make sure that the judge's labels can come from the sources that the settings name.

    Those are `gcd.labels` and, where an endpoint may fail, `gcd.fallback_labels`.

    Raises:
        UserError: the oracle is wanted, and the suite has none.
    """
    if gcd.labels in NEEDS_ORACLE:
        asked, instead = f"gcd.labels={gcd.labels}", "gcd.labels=rule"
    elif gcd.falls_back and gcd.fallback_labels in NEEDS_ORACLE:
        asked = f"gcd.fallback_labels={gcd.fallback_labels}"
        instead = "gcd.fallback_labels=rule"
    else:
        return
    env = suite.make_env()
    is_oracle = isinstance(env, Oracle)
    env.close()
    if not is_oracle:
        raise UserError(
            f"{asked}, but the suite {suite.name} has no oracle, no label_action(action) that "
            f"knows which steps are good; set {instead}, or give its environment one"
        )


def label_by_rule(episode: Episode, wording: Wording, key: RuleKey = "informative") -> Labels:
    """Make labels of an episode's steps by the papers' rule: leading back is bad, winning is good.

    A step is bad if the observation it was taken from comes back at a later step, good if it is the
    last of a successful episode, and has no label otherwise; see `agent.rule.label_steps`.

    Args:
        wording: the suite's words, which know the observations that say nothing.
        key: what counts as the same observation.
    """
    seen = [(step.observation, step.inventory) for step in episode.steps]
    return label_steps(seen, episode.is_won, wording, key)


def label_by_oracle(episode: Episode) -> Labels:
    """Make labels of an episode's steps by the oracle, which read the true state during play.

    A response in an invalid format is bad whatever its action was.
    """
    return tuple(0 if not s.action.is_valid else s.oracle_label for s in episode.steps)


def shuffle_labels(labels: Sequence[Labels], draw: torch.Generator) -> tuple[Labels, ...]:
    """Deal labels anew among the steps that have one, over all episodes: a placebo of labels.

    Args:
        labels: of each episode's steps.
        draw: the permutation is drawn from it.
    Returns:
        As many good and bad labels as before, on the same steps; steps without one stay so.
    """
    marks = [mark for each in labels for mark in each if mark is not None]
    dealt = iter([marks[place] for place in torch.randperm(len(marks), generator=draw).tolist()])
    return tuple(tuple(mark if mark is None else next(dealt) for mark in each) for each in labels)


@dataclass(frozen=True)
class LabelStats:
    """The judge's labels counted: the rule's, the oracle's, and how often the rule is right.

    The rule is right where the oracle says the same.

    Attributes:
        rule_good, rule_bad, oracle_good, oracle_bad: share of all steps that a source calls so.
        rule_precision_good, rule_precision_bad: of the steps that the rule calls so and the oracle
            labels too, the share on which they agree; None where there are no such steps.
    """

    rule_good: float
    rule_bad: float
    oracle_good: float
    oracle_bad: float
    rule_precision_good: float | None
    rule_precision_bad: float | None


def compare_labels(rule: list[Labels], oracle: list[Labels]) -> LabelStats:
    """Compare rule and oracle labels over an iteration's episodes, for the statistics of labels."""
    pairs = [
        pair
        for mine, theirs in zip(rule, oracle, strict=True)
        for pair in zip(mine, theirs, strict=True)
    ]
    total = max(len(pairs), 1)

    def precision(value: int) -> float | None:
        judged = [o for r, o in pairs if r == value and o is not None]
        return sum(o == value for o in judged) / len(judged) if judged else None

    return LabelStats(
        rule_good=sum(r == 1 for r, _ in pairs) / total,
        rule_bad=sum(r == 0 for r, _ in pairs) / total,
        oracle_good=sum(o == 1 for _, o in pairs) / total,
        oracle_bad=sum(o == 0 for _, o in pairs) / total,
        rule_precision_good=precision(1),
        rule_precision_bad=precision(0),
    )


def combine_labels(
    sources: Mapping[str, Sequence[Labels]], lengths: Sequence[int]
) -> tuple[list[Labels], list[tuple[str, ...]]]:
    """Combine the judge's labels of several sources; where they contradict, there is none.

    Args:
        sources: name -> labels by episode; an empty mapping gives no labels.
        lengths: steps of each episode.
    Returns:
        Labels by episode, and the sources of each label, joined by "+"; "" for no label.
    """
    labels: list[Labels] = []
    origins: list[tuple[str, ...]] = []
    for index, length in enumerate(lengths):
        pairs = [
            _combine({name: marks[index][p] for name, marks in sources.items()})
            for p in range(length)
        ]
        labels.append(tuple(label for label, _ in pairs))
        origins.append(tuple(origin for _, origin in pairs))
    return labels, origins


def _combine(marks: Mapping[str, int | None]) -> tuple[int | None, str]:
    said = {name: mark for name, mark in marks.items() if mark is not None}
    values = set(said.values())
    return (values.pop(), "+".join(said)) if len(values) == 1 else (None, "")


def count_agreements(
    sources: Mapping[str, Sequence[Labels]],
) -> dict[tuple[str, str], dict[tuple[int, int], int]]:
    """Count how often the judge's labels of two sources agree and disagree, for each pair.

    Returns:
        (one, other) -> (label by the one, label by the other) -> number of steps, for all four
        pairs of labels; pairs of sources without a common step are left out.
    """
    found = {}
    for one, other in combinations(sources, 2):
        pairs = Counter(
            pair
            for mine, theirs in zip(sources[one], sources[other], strict=False)
            for pair in zip(mine, theirs, strict=True)
            if None not in pair
        )
        if pairs:
            found[one, other] = {(a, b): pairs[a, b] for a in (1, 0) for b in (1, 0)}
    return found
