"""Slow, obvious versions of what `declutch.credit` computes with index arithmetic."""

import math
import statistics

from declutch.records import META_TAGS


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


def rloo(episodes, group_stats="episodes"):
    """One advantage per step, by loops; `episodes` as for `grpo`."""
    advantages = []
    for index, (group, rewards) in enumerate(episodes):
        others = [
            math.fsum(other)
            for place, (name, other) in enumerate(episodes)
            if name == group and place != index
            for _ in range(len(other) if group_stats == "steps" else 1)
        ]
        own = math.fsum(rewards)
        advantages.extend([own - statistics.fmean(others) if others else 0.0] * len(rewards))
    return advantages


def gigpo(episodes, gamma=0.95, step_weight=1.0, divide=False, group_stats="episodes"):
    """One advantage per step, by loops.

    Args:
        episodes: (group, rewards of its steps, observations of its steps) in table order.
    """
    outer = grpo([(group, rewards) for group, rewards, _ in episodes], divide, group_stats)
    keys, values = [], []
    for group, rewards, observations in episodes:
        keys.extend((group, seen) for seen in observations)
        values.extend(discounted(rewards, gamma))
    anchors = segment_values(values, keys)
    advantages = []
    for base, key, value in zip(outer, keys, values, strict=True):
        inner = value - statistics.fmean(anchors[key])
        if divide:
            inner /= unbiased_std(anchors[key]) + 1e-6
        if len(set(anchors[key])) == 1:
            inner = 0.0
        advantages.append(base + step_weight * inner)
    return advantages


def hgpo(episodes, gamma=0.95, history=2, divide=False, power=1.0):
    """One advantage per step, by loops over every history that a step ends.

    Args:
        episodes: (group, rewards of its steps, observations of its steps) in table order.
    """
    members = {}
    for group, rewards, observations in episodes:
        returns = discounted(rewards, gamma)
        for place in range(len(rewards)):
            for length in range(1, min(history + 1, place + 1) + 1):
                seen = tuple(observations[place - length + 1 : place + 1])
                members.setdefault((group, seen), []).append(returns[place])
    advantages = []
    for group, rewards, observations in episodes:
        returns = discounted(rewards, gamma)
        for place, value in enumerate(returns):
            total, weights = 0.0, 0.0
            for length in range(1, min(history + 1, place + 1) + 1):
                others = members[group, tuple(observations[place - length + 1 : place + 1])]
                if len(set(others)) == 1:
                    continue
                own = value - statistics.fmean(others)
                if divide:
                    own /= statistics.pstdev(others) + 1e-6
                if abs(own) > 1e-9:
                    total += (length + 1) ** power * own
                    weights += (length + 1) ** power
            advantages.append(total / (weights + 1e-6))
    return advantages


def gae(values, rewards, gamma, lam):
    """Advantages of one sequence, from its end backwards."""
    advantages, following, gained = [], 0.0, 0.0
    for value, reward in zip(reversed(values), reversed(rewards), strict=True):
        gained = reward + gamma * following - value + gamma * lam * gained
        following = value
        advantages.append(gained)
    return advantages[::-1]


def meta_rewards(is_won, steps):
    """What each step of one episode earns by its reasoning.

    Args:
        steps: (tag, action, is_valid, is_admissible) in order of time.
    """
    earned = []
    for place, (tag, action, is_valid, _) in enumerate(steps):
        reward = 0.0
        if is_valid and tag == "planning":
            reward = float(is_won)
        elif is_valid and tag == "explore":
            taken = [done for _, done, valid, _ in steps[:place] if valid]
            reward = float(action not in taken)
        elif is_valid and tag == "reflection" and place > 0:
            _, done, valid, admissible = steps[place - 1]
            reward = float(not (valid and admissible) and action != done)
        earned.append(reward)
    return earned


def rlvmr(episodes, form="mix", alpha=0.5, step_weight=1.0, group_stats="episodes"):
    """One advantage per step, by loops.

    Args:
        episodes: (group, is_won, rewards of its steps, steps as for `meta_rewards`) in table order.
    """
    outer = grpo([(group, rewards) for group, _, rewards, _ in episodes], True, group_stats)
    keys, earned = [], []
    for group, is_won, _, steps in episodes:
        keys.extend((group, tag) for tag, *_ in steps)
        earned.extend(meta_rewards(is_won, steps))
    peers = segment_values(earned, keys)
    advantages = []
    for base, key, value in zip(outer, keys, earned, strict=True):
        inner = (value - statistics.fmean(peers[key])) / (unbiased_std(peers[key]) + 1e-6)
        if len(set(peers[key])) == 1 or key[1] not in META_TAGS:
            inner = 0.0
        advantages.append(
            base + step_weight * inner if form == "sum" else alpha * base + (1 - alpha) * inner
        )
    return advantages
