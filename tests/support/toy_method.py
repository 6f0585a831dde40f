"""A method of credit assignment that is no part of the package: one file, named by a setting."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from declutch.config.algorithm import MethodConfig
from declutch.credit.registry import Method
from declutch.records import Probes, StepTable


class ToyConfig(MethodConfig):
    win: float = Field(default=1.0, gt=0)
    """Advantage of every step of a won episode; those of others get its negative."""


def toy(table: StepTable, probes: Probes | None, config: ToyConfig) -> Tensor:
    """f32[S]: plus `win` for the steps of won episodes, minus `win` for all others."""
    return config.win * (2 * table.is_won.float() - 1)


TOY = Method("Toy", ToyConfig, toy)
NO_METHOD = 3
