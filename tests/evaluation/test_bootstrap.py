"""The fast bootstrap gives the ends of the plain one, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from declutch.evaluation import bootstrap
from declutch.evaluation.bootstrap import percentile_interval


def plain_interval(values, tail, num_resamples, seed):
    games = np.random.default_rng(seed).integers(0, len(values), (num_resamples, len(values)))
    return tuple(np.quantile(values[games].sum(axis=1) / len(values), [tail, 1 - tail]))


@pytest.mark.parametrize("num_games", [1, 2, 7, 40, 256, 257])
@pytest.mark.parametrize("num_seeds", [1, 2, 3, 5, 7])
def test_the_ends_are_those_of_all_resampled_means(num_games, num_seeds):
    draw = np.random.default_rng(num_games)
    for number in range(3):
        values = draw.integers(0, num_seeds + 1, num_games) / num_seeds
        values = values - draw.integers(0, 2, num_games) if number == 2 else values
        for tail, num_resamples in ((0.025, 400), (0.05, 41), (0.25, 3)):
            found = percentile_interval(values, tail, num_resamples, number)
            assert found == plain_interval(values, tail, num_resamples, number)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_any_values(scale):
    draw = np.random.default_rng(0)
    for values in (draw.normal(size=60), draw.exponential(size=60) ** 4, np.full(60, 1 / 3)):
        found = percentile_interval(scale * values, 0.025, 1000, 1)
        assert found == plain_interval(scale * values, 0.025, 1000, 1)


def test_games_are_drawn_once_for_their_number(monkeypatch):
    bootstrap._draw.cache_clear()
    for seed in (0, 0, 1):
        percentile_interval(np.eye(30)[0], 0.025, 100, seed)
    assert bootstrap._draw.cache_info().misses == 2


def test_the_ends_do_not_depend_on_the_chunk_size(monkeypatch):
    values = np.random.default_rng(0).random(300)
    whole = percentile_interval(values, 0.025, 507, 0)
    monkeypatch.setattr(bootstrap, "CELLS_PER_CHUNK", 1000)
    assert percentile_interval(values, 0.025, 507, 0) == whole
