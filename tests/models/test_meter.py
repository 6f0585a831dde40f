"""A meter counts the memory of tensors: once each, and not any more when they are gone."""

import torch

from declutch.models.meter import MemoryMeter


def test_what_is_made_counts_until_it_is_gone():
    with MemoryMeter() as meter:
        kept = torch.zeros(100)
        for _ in range(3):
            torch.zeros(1000)
        again = kept[10:20].view(2, 5)
    assert meter.now == 400
    assert meter.peak == 4400
    del kept
    assert meter.now == 400  # A view holds the memory.
    del again
    assert meter.now == 0


def test_what_was_there_before_is_counted_on_demand_and_once():
    tensor = torch.zeros(100)
    meter = MemoryMeter()
    meter.add([tensor, tensor[:50], tensor.detach()])
    assert (meter.now, meter.peak) == (400, 400)


def test_what_is_kept_for_a_gradient_counts():
    weight = torch.zeros(10, 10, requires_grad=True)
    with MemoryMeter() as meter:
        out = (weight * 2).exp().sum()
        assert meter.now >= 400
        out.backward()
        del out
    assert meter.now == 400  # The gradient.
