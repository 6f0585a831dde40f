"""Slow, obvious versions of what `declutch.credit` computes with index arithmetic."""

import math
import statistics


def segment_values(values, ids):
    """id -> its values, in order."""
    found = {}
    for value, key in zip(values, ids, strict=True):
        found.setdefault(key, []).append(value)
    return found


def unbiased_std(values):
    return statistics.stdev(values) if len(values) > 1 else 0.0


def discounted(rewards, gamma):
    return [
        math.fsum(gamma**lag * reward for lag, reward in enumerate(rewards[start:]))
        for start in range(len(rewards))
    ]


def grpo(episodes, std_norm=True, group_stats="episodes"):
    """One advantage per step, by loops.

    Args:
        episodes: (group, rewards of its steps) in table order.
    """
    population = {}
    for group, rewards in episodes:
        copies = len(rewards) if group_stats == "steps" else 1
        population.setdefault(group, []).extend([math.fsum(rewards)] * copies)
    advantages = []
    for group, rewards in episodes:
        values = population[group]
        advantage = math.fsum(rewards) - statistics.fmean(values)
        if std_norm:
            advantage /= unbiased_std(values) + 1e-6
        if len(set(values)) == 1:
            advantage = 0.0
        advantages.extend([advantage] * len(rewards))
    return advantages
