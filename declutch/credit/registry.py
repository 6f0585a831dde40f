"""The advantage functions by the `type` of their configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from torch import Tensor

from declutch.credit.gigpo import gigpo
from declutch.credit.grpo import grpo
from declutch.credit.rloo import rloo
from declutch.records import Probes, StepTable


class Method(NamedTuple):
    """An advantage function and what it has to be given.

    Attributes:
        function: (table of S steps, probes, its configuration) -> f32[S].
        probes: names of the optional `Probes` fields it reads; empty when it takes None.
    """

    function: Callable[[StepTable, Probes | None, Any], Tensor]
    probes: tuple[str, ...] = ()


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {"grpo": Method(grpo), "rloo": Method(rloo), "gigpo": Method(gigpo)}
)
