import copy

import pytest
import torch
from torch import nn

from declutch.config.algorithm import OptimizerConfig
from declutch.ground.errors import UserError
from declutch.learner.optimizer import build_optimizer
from declutch.learner.restore import restore_module, restore_optimizer

CONFIG = OptimizerConfig(lr=1e-2)


def trained(width=3):
    """A small layer after one step, and its optimizer."""
    layer = nn.Linear(width, 2)
    optimizer = build_optimizer(layer, CONFIG)
    layer(torch.ones(1, width)).sum().backward()
    optimizer.step()
    return layer, optimizer


def test_what_was_saved_is_restored():
    layer, optimizer = trained()
    saved = copy.deepcopy(optimizer.state_dict())
    again = build_optimizer(layer, CONFIG)
    restore_optimizer(again, saved, "one")
    found = again.state_dict()
    assert found["param_groups"] == saved["param_groups"]
    for number, entry in saved["state"].items():
        for name, tensor in entry.items():
            assert torch.equal(found["state"][number][name], tensor)


def test_a_state_of_other_shapes_is_refused_before_it_crashes_the_process():
    _, small = trained(3)
    layer, optimizer = trained(5)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(UserError, match=r"one does not fit the model: parameter 0 has shape"):
        restore_optimizer(optimizer, small.state_dict(), "one")
    assert torch.equal(optimizer.state[layer.weight]["exp_avg"], before["state"][0]["exp_avg"])


def spoil(state, place, value):
    """A copy of a state with another value in one place."""
    state = copy.deepcopy(state)
    node = state
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return state


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("state", 0, "exp_avg"), torch.zeros(1)),
        (("state", 0, "exp_avg"), torch.zeros(2, 3, dtype=torch.int64)),
        (("state", 0, "exp_avg"), torch.zeros(2, 3).to_sparse()),
        (("state", 0, "exp_avg"), "text"),
        (("state", 0, "exp_avg_sq"), torch.full((2, 3), -1.0)),
        (("state", 0, "exp_avg_sq"), torch.full((2, 3), torch.nan)),
        (("state", 0, "step"), torch.zeros(2)),
        (("state", 0, "step"), 7),
        (("state", 0, "other"), torch.zeros(2, 3)),
        (("state", 0), None),
        (("state", 9), {}),
        (("state",), []),
        (("param_groups",), []),
        (("param_groups", 0, "lr"), "fast"),
        (("param_groups", 0, "lr"), float("nan")),
        (("param_groups", 0, "betas"), 0.9),
        (("param_groups", 0, "fused"), "yes"),
        (("param_groups", 0, "params"), [0]),
        (("param_groups", 0, "params"), torch.zeros(2)),
        (("param_groups", 0, "params"), [torch.zeros(2), 1]),
        (("param_groups", 0), 1),
    ],
)
def test_a_state_of_another_type_is_refused(place, value):
    _, optimizer = trained()
    with pytest.raises(UserError, match="one does not fit the model"):
        restore_optimizer(optimizer, spoil(optimizer.state_dict(), place, value), "one")


@pytest.mark.parametrize("state", [None, 3, {}, {"state": {}}])
def test_no_state_at_all_is_refused(state):
    _, optimizer = trained()
    with pytest.raises(UserError, match="it holds no parameters"):
        restore_optimizer(optimizer, state, "one")


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"weight": torch.zeros(2, 3)},
        {"weight": torch.zeros(2, 4), "bias": torch.zeros(2)},
        {"weight": torch.zeros(2, 3, dtype=torch.int64), "bias": torch.zeros(2)},
        {"weight": "text", "bias": torch.zeros(2)},
    ],
)
def test_weights_of_another_module_are_refused(state):
    layer, _ = trained()
    with pytest.raises(UserError, match="one does not fit the model"):
        restore_module(layer, state, "one")
    restore_module(layer, layer.state_dict(), "one")
