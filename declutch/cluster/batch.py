"""A cluster's rows as verl's workers read them: one TensorDict, in the order of the ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from declutch.cluster.loss import Row


def make_batch(
    rows: Sequence[Row],
    weights: Sequence[Tensor],
    dealt: Sequence[int | None],
    temperature: float,
    calculate_entropy: bool = False,
) -> Any:
    """Make verl's TensorDict of a cluster's rows, in the order of the ranks.

    Args:
        weights: f32[T] for each row, what each token counts for.
        dealt: by `deal`; None stands for a row that fills up.
        temperature: of the sampling, which divides the logits.
    """
    from verl.utils import tensordict_utils as tu

    fill = _empty_row(any(row.ref_logprobs is not None for row in rows))
    hand = [(fill, torch.zeros(1)) if c is None else (rows[c], weights[c]) for c in dealt]

    def nested(values: Sequence[Tensor]) -> Tensor:
        return torch.nested.as_nested_tensor(list(values), layout=torch.jagged)

    whole = [torch.cat([row.prompt_ids, row.response_ids]) for row, _ in hand]
    ones = [torch.ones_like(row.response_ids) for row, _ in hand]
    roles = [torch.full_like(row.response_ids, int(row.is_judge)) for row, _ in hand]
    fields: dict[str, Any] = {
        "input_ids": nested(whole),
        "position_ids": nested([torch.arange(len(ids)) for ids in whole]),
        "prompts": nested([row.prompt_ids for row, _ in hand]),
        "responses": nested([row.response_ids for row, _ in hand]),
        "response_mask": nested(ones),
        "loss_mask": nested(ones),
        "is_judge": nested(roles),
        "advantages": nested([row.advantage.float() for row, _ in hand]),
        "old_log_probs": nested([row.old_logprobs for row, _ in hand]),
        "rollout_log_probs": nested([row.sample_logprobs for row, _ in hand]),
        "loss_weight": nested([weight for _, weight in hand]),
    }
    references = [row.ref_logprobs for row, _ in hand if row.ref_logprobs is not None]
    if len(references) == len(hand):
        fields["ref_log_prob"] = nested(references)
    batch = tu.get_tensordict(fields, {})
    tu.assign_non_tensor(batch, temperature=temperature, calculate_entropy=calculate_entropy)
    return batch


def _empty_row(has_reference: bool) -> Row:
    """What fills up a rank's share: a row of one token that counts for nothing."""
    one, nothing = torch.zeros(1, dtype=torch.int64), torch.zeros(1)
    return Row(one, one, False, nothing, nothing, nothing, nothing if has_reference else None)
