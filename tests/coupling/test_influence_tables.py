"""The normalised heat map of influence has ones on its diagonal, whatever the rows' sizes."""

import torch

from declutch.coupling.influence import Influence, InfluenceSettings
from declutch.coupling.influence_tables import influence_figures


def figures(step: str = "sgd"):
    first = torch.tensor([[4.0, 3.0], [3.0, 9.0]], dtype=torch.float64)
    found = Influence(first, first, 0.1, 0.0, (), torch.zeros(2))
    return influence_figures(found, ["a", "b"], InfluenceSettings(step=step), "model")


def test_one_large_row_does_not_hide_the_others() -> None:
    heat, alike, agreement = figures()
    assert heat.values == [[4.0, 3.0], [3.0, 9.0]]
    assert alike.values == [[1.0, 0.5], [0.5, 1.0]]
    assert [heat.name, alike.name] == ["influence", "influence_normalised"]
    assert agreement.kind == "lines"


def test_steps_of_adamw_have_no_such_measure() -> None:
    assert [each.name for each in figures("adamw")] == ["influence", "influence_agreement"]
