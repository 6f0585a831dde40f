"""Draws one token per row from next-token scores, all rows at once.

Notation: N rows, V vocabulary, C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sample_tokens(
    logits: Tensor,
    allowed: Sequence[tuple[int, ...] | None],
    uniforms: Tensor,
    temperature: float,
    top_p: float = 1.0,
) -> tuple[list[int], list[float]]:
    """Sampling in the HF engine: one token per row from masked scores, with its log-probability.

    The order is: restrict to the allowed ids, divide by the temperature, cut to the nucleus.

    Args:
        logits: [N, V], any floating type.
        allowed: per row the ids that may be drawn, or None for all.
        uniforms: f64[N] in [0, 1), the only source of chance.
        temperature: > 0; 0 takes the most likely token, its log-probability being that of
            temperature 1 without the nucleus.
        top_p: nucleus mass in (0, 1].
    Returns:
        (ids, log-probabilities), N each.
    """
    free = [row for row, ids in enumerate(allowed) if ids is None]
    if len(free) == len(allowed):
        ids, logprobs = draw(logits.float(), uniforms, temperature, top_p)
        return ids.tolist(), logprobs.tolist()
    masked = [row for row, ids in enumerate(allowed) if ids is not None]
    ids, logprobs = _draw_masked(
        logits, masked, [allowed[row] or () for row in masked], uniforms, temperature, top_p
    )
    if free:
        rows = torch.tensor(free, device=logits.device)
        free_ids, free_logprobs = draw(logits[rows].float(), uniforms[rows], temperature, top_p)
        ids, logprobs = torch.cat([ids, free_ids]), torch.cat([logprobs, free_logprobs])
    back = torch.tensor(masked + free, device=logits.device).argsort()
    return ids[back].tolist(), logprobs[back].tolist()


def _draw_masked(
    logits: Tensor,
    rows: list[int],
    allowed: list[tuple[int, ...]],
    uniforms: Tensor,
    temperature: float,
    top_p: float,
) -> tuple[Tensor, Tensor]:
    width = max(map(len, allowed))
    candidates = torch.tensor(
        [ids + (-1,) * (width - len(ids)) for ids in allowed], device=logits.device
    )  # i64[M, C]
    index = torch.tensor(rows, device=logits.device)
    scores = logits[index[:, None], candidates.clamp(min=0)].float()
    scores.masked_fill_(candidates < 0, -torch.inf)
    choice, logprobs = draw(scores, uniforms[index], temperature, top_p)
    return candidates.gather(1, choice[:, None])[:, 0], logprobs


def draw(
    scores: Tensor, uniforms: Tensor, temperature: float, top_p: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Sampling by inverse CDF: a token per row from softmax(scores / temperature), in the nucleus.

    Args:
        scores: f32[N, C]; -inf is never drawn.
        uniforms: f64[N] in [0, 1).
    Returns:
        (column i64[N], log-probability f32[N]).
    """
    if temperature == 0:
        logprobs, columns = scores.log_softmax(-1).max(-1)
        return columns, logprobs
    logprobs = (scores / temperature).log_softmax(-1)
    if top_p < 1:
        logprobs = keep_nucleus(logprobs, top_p)
    mass = logprobs.exp().cumsum(-1, dtype=torch.float64)
    total = mass[:, -1:]
    # Rounding may lift u * total to the total itself, beyond the last possible token.
    target = torch.minimum(uniforms[:, None] * total, torch.nextafter(total, -total))
    # Scores that are not a number find no column; the caller sees their log-probability.
    columns = torch.searchsorted(mass, target, right=True).clamp_(max=scores.shape[1] - 1)
    return columns[:, 0], logprobs.gather(1, columns)[:, 0]


def keep_nucleus(logprobs: Tensor, top_p: float) -> Tensor:
    """Nucleus sampling: cut to the smallest most likely set that reaches `top_p`.

    The log-probabilities are renormalised over that set.

    Args:
        logprobs: f32[N, C], normalised.
    Returns:
        f32[N, C]; -inf outside the nucleus, which always holds the most likely entry.
    Source: Holtzman et al. 2020 (arXiv:1904.09751), section 3.1.
    """
    ranked, order = logprobs.sort(dim=-1, descending=True, stable=True)
    mass = ranked.exp().cumsum(-1)
    outside = mass - ranked.exp() >= top_p
    outside[:, 0] = False
    cut = ranked.masked_fill(outside, -torch.inf).log_softmax(-1)
    return torch.empty_like(logprobs).scatter_(1, order, cut)
