"""What a method of credit assignment declares, and how the one that is configured is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from declutch.config.algorithm import METHODS, MethodConfig
from declutch.config.dotted import import_dotted
from declutch.credit.table import spread_to_tokens
from declutch.records import Probes, StepTable

Advantage = Callable[[StepTable, Probes | None, Any], Tensor]


@dataclass(frozen=True)
class CriticNeeds:
    """What a method in credit's registry asks of its critic: targets, rate, warm-up, clip.

    Attributes:
        targets: (table, probes, its configuration) -> f32[K], what the critic is to learn.
        learning_rate: (its configuration, the policy's learning rate) -> the critic's.
        warmup: (its configuration) -> iterations at the start in which only the critic learns.
        value_clip: (its configuration) -> how far a value may move from its old one before its
            loss stops pulling, in units of the return.
    """

    targets: Advantage
    learning_rate: Callable[[Any, float], float]
    warmup: Callable[[Any], int]
    value_clip: Callable[[Any], float]


@dataclass(frozen=True)
class Method:
    """An entry of credit's registry: a method's settings, advantage function and needs.

    Attributes:
        label: its name in titles, e.g. "GiGPO".
        config: the class of its settings, with a default `type` where the method is shipped.
        advantage: (table of S steps, probes, its configuration) -> f32[S], or f32[K] where
            `is_per_token`.
        probes: names of the optional `Probes` fields it reads; empty where it is given None.
        is_per_token: each of the K response tokens has an advantage of its own.
        similarity: (its configuration) -> how much alike two observations of a group are that
            count as one anchor, as in `build_table`; 1 asks for equal texts.
        critic: what it asks of a critic; None for a method without one.
    """

    label: str
    config: type[MethodConfig]
    advantage: Advantage
    probes: tuple[str, ...] = ()
    is_per_token: bool = False
    similarity: Callable[[Any], float] = lambda config: 1.0
    critic: CriticNeeds | None = None


@cache
def find_method(name: str) -> Method:
    """Find in credit's registry the method that `algorithm.type` names, shipped or your own.

    Raises:
        ValueError: nothing of that name, or something else than a `Method`.
    """
    found = import_dotted(METHODS.get(name, name))
    if not isinstance(found, Method):
        raise ValueError(f"{name} is no declutch.credit.registry.Method, but {found!r}")
    return found


def agent_advantage(
    table: StepTable, probes: Probes | None, config: MethodConfig, format_penalty: float
) -> Tensor:
    """Credit every token by the method found in the registry, with the penalty of bad formats.

    The penalty comes after normalisation: inside it, a group of equal returns would be blown up.

    Args:
        table: S steps with K response tokens in all.
        probes: what `find_method(config.type).probes` names.
        config: the section `algorithm` of the settings.
        format_penalty: taken off the tokens of a step whose format was invalid.
    Returns:
        f32[K].
    """
    method = find_method(config.type)
    advantage = method.advantage(table, probes, config)
    if not method.is_per_token:
        advantage = spread_to_tokens(table, advantage)
    is_valid = spread_to_tokens(table, table.is_valid)
    return torch.where(is_valid, advantage, advantage - format_penalty)
