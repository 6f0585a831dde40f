"""GRPO that spares the tokens of failed samples which share most with successful ones (NTHR)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from declutch.config.algorithm import GRPOConfig, NTHRConfig
from declutch.credit.grpo import grpo
from declutch.credit.registry import Method
from declutch.credit.segments import find_segments, segment_mean, segment_sum
from declutch.credit.table import spread_to_tokens, step_of_token
from declutch.records import Probes, StepTable

BLOCK_TOKENS = 256
"""Tokens whose vocabulary-wide vectors are held at once."""


def nthr(table: StepTable, probes: Probes | None, config: NTHRConfig) -> Tensor:
    """NTHR's advantage: GRPO that spares failed tokens which resemble successful ones.

    A step is a sample, positive if its episode was won. Samples are compared within their matched
    group: the steps of a group with the same current observation, or with the same index. With
    `e_k = onehot(y_k) - pi_k` over the vocabulary and h_k the hidden state that predicts token k,

        s_k' = sum over the tokens k of the matched group's positives of <e_k, e_k'> <h_k, h_k'>

    is how much a step of gradient ascent on the positives raises the log-probability of token k',
    through the read-out alone. A negative's token with `s > tau` gets
    `eta = 2 |1/2 - p|` times its advantage if that is negative: tau is beta times the least, over
    the positives, of the mean score of a positive's tokens; p is the matched group's share of
    positives. A matched group without positives or without negatives is plain GRPO.

    Cost: about 4 V D operations a token for the scores and 4 V D a positive token for their sum,
    in matched groups that have both; linear in K. Memory beside the probes: V D numbers and three
    blocks of 256 V. On the device and in the precision of `probes.hidden`.

    Args:
        table: S steps sorted by (group, episode, position), K response tokens in all.
        probes: `hidden` and `readout`; `temperature` and `allowed` where they are not trivial.
            The logits have to be `hidden @ readout.T / temperature`.
        config: `beta` >= 0; `match` of the samples; `std_norm`, `group_stats` as for GRPO.
    Returns:
        f32[K], unitless, in table order.
    Raises:
        ValueError: no hidden states, no read-out, or not one entry for each response token.
    Source: Deng et al. 2025 (arXiv:2505.18830). Differs: samples are steps, and those
        of one matched group take the place of those of one prompt.
    """
    step = step_of_token(table)
    _check(probes, len(step))
    assert probes is not None
    base = GRPOConfig(std_norm=config.std_norm, group_stats=config.group_stats)
    advantage = spread_to_tokens(table, grpo(table, None, base))
    match = _match_ids(table, config)
    is_won = spread_to_tokens(table, table.is_won)
    order = match[step].argsort(stable=True)
    groups = find_segments(match[step][order])
    num_won = segment_sum(is_won[order], groups)
    is_mixed = (num_won > 0) & (num_won < groups.size)
    is_spared = torch.zeros_like(is_won)
    for start, size in zip(
        groups.start[is_mixed].tolist(), groups.size[is_mixed].tolist(), strict=True
    ):
        tokens = order[start : start + size]
        positives = tokens[is_won[tokens]]
        score = score_tokens(probes, tokens, positives)
        mean_score = segment_mean(score[is_won[tokens]], find_segments(step[positives]))
        is_spared[tokens] = ~is_won[tokens] & (score > config.beta * mean_score.min())
    eta = 2 * (0.5 - _success_rate(table, match)).abs()[step]
    return torch.where(is_spared & (advantage < 0), eta * advantage, advantage).float()


def score_tokens(probes: Probes, tokens: Tensor, positives: Tensor) -> Tensor:
    """NTHR's score of failed tokens, f64[n]: how far a step on the successful ones raises them.

    With the V x D matrix `M = sum over positives of e_k h_k^T` the double sum is `e_k'^T M h_k'`.

    Args:
        tokens, positives: i64[n], i64[m], places among the K tokens.
    """
    assert probes.hidden is not None
    assert probes.readout is not None
    total = torch.zeros_like(probes.readout)
    for block in positives.split(BLOCK_TOKENS):
        total.addmm_(_errors(probes, block).T, probes.hidden[block])
    scores = [
        ((_errors(probes, block) @ total) * probes.hidden[block]).sum(-1)
        for block in tokens.split(BLOCK_TOKENS)
    ]
    return torch.cat(scores).double().cpu()


def _errors(probes: Probes, tokens: Tensor) -> Tensor:
    """[b, V]: `onehot(y) - pi` of each token."""
    assert probes.hidden is not None
    assert probes.readout is not None
    logits = probes.hidden[tokens] @ probes.readout.T / probes.temperature
    if probes.allowed:
        disallowed = _disallowed([probes.allowed[token] for token in tokens.tolist()], logits)
        logits = logits.masked_fill(disallowed, float("-inf"))
    errors = -logits.softmax(-1)
    errors[torch.arange(len(tokens)), probes.token_ids[tokens]] += 1
    return errors


def _disallowed(allowed: Sequence[tuple[int, ...] | None], logits: Tensor) -> Tensor:
    """bool[b, V], true where a token's action mask forbids another token in its place."""
    row = [row for row, ids in enumerate(allowed) for _ in ids or ()]
    column = [token for ids in allowed for token in ids or ()]
    disallowed = torch.zeros_like(logits, dtype=torch.bool)
    disallowed[[ids is not None for ids in allowed]] = True
    disallowed[row, column] = False
    return disallowed


def _match_ids(table: StepTable, config: NTHRConfig) -> Tensor:
    """i64[S], equal for steps that count as answers to one prompt."""
    if config.match == "anchor":
        return table.anchor
    return torch.stack([table.group, table.position]).unique(dim=1, return_inverse=True)[1]


def _success_rate(table: StepTable, match: Tensor) -> Tensor:
    """f64[S], share of positives among the steps matched with each."""
    order = match.argsort(stable=True)
    groups = find_segments(match[order])
    rate = torch.empty(len(match), dtype=torch.float64)
    rate[order] = segment_mean(table.is_won[order], groups)[groups.index]
    return rate


def _check(probes: Probes | None, num_tokens: int) -> None:
    if probes is None or probes.hidden is None or probes.readout is None:
        raise ValueError("nthr needs the probes `hidden` and `readout`")
    if not len(probes.hidden) == len(probes.token_ids) == num_tokens:
        raise ValueError(
            f"{len(probes.hidden)} hidden states and {len(probes.token_ids)} token ids for "
            f"{num_tokens} response tokens"
        )


NTHR = Method("NTHR", NTHRConfig, nthr, probes=("hidden", "readout"), is_per_token=True)
