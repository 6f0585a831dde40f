"""The advantage functions by the `type` of their configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from declutch.credit.gigpo import gigpo
from declutch.credit.grpo import grpo
from declutch.credit.ppo import ppo, value_targets
from declutch.credit.rloo import rloo
from declutch.credit.rlvmr import rlvmr
from declutch.credit.table import spread_to_tokens
from declutch.records import Probes, StepTable

Advantage = Callable[[StepTable, Probes | None, Any], Tensor]


class Method(NamedTuple):
    """An advantage function and what it has to be given.

    Attributes:
        function: (table of S steps, probes, its configuration) -> f32[S], or f32[K] where
            `is_per_token`.
        probes: names of the optional `Probes` fields it reads; empty when it takes None.
        is_per_token: each of the K response tokens has an advantage of its own.
        value_targets: (table, probes, its configuration) -> f32[K], what a critic is to learn;
            None for a method without a critic.
    """

    function: Advantage
    probes: tuple[str, ...] = ()
    is_per_token: bool = False
    value_targets: Advantage | None = None


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "grpo": Method(grpo),
        "rloo": Method(rloo),
        "gigpo": Method(gigpo),
        "ppo": Method(ppo, ("values",), is_per_token=True, value_targets=value_targets),
        "rlvmr": Method(rlvmr),
    }
)


def agent_advantage(
    table: StepTable, probes: Probes | None, config: Any, format_penalty: float
) -> Tensor:
    """The configured method's advantage of every token, less the penalty of an invalid format.

    The penalty comes after normalisation: inside it, a group of equal returns would be blown up.

    Args:
        table: S steps with K response tokens in all.
        probes: what `METHODS[config.type].probes` names.
        config: a section of `Config.algorithm`.
        format_penalty: taken off the tokens of a step whose format was invalid.
    Returns:
        f32[K].
    """
    method = METHODS[config.type]
    advantage = method.function(table, probes, config)
    if not method.is_per_token:
        advantage = spread_to_tokens(table, advantage)
    is_valid = spread_to_tokens(table, table.is_valid)
    return torch.where(is_valid, advantage, advantage - format_penalty)
