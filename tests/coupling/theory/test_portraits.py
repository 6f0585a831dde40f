"""The figures of the theory hold the results they are about."""

import numpy as np

from declutch.coupling.theory.portraits import theory_figures


def test_figures_show_the_results():
    figures = {figure.name: figure for figure in theory_figures()}
    assert len(figures) == 5
    assert all(figure.caption and figure.command for figure in figures.values())
    printed, _, grpo, deviation, line = figures["theory_parabola"].series
    peak = [series.x[int(np.argmax(series.y))] for series in (printed, grpo, deviation, line)]
    assert abs(peak[0] - 0.5) < 0.006
    assert peak[3] < peak[2] < peak[1] < 0.5
    upper = figures["theory_basins"].series[0]
    assert min(upper.y) >= 0.5
    worst = figures["theory_three_actions"].series[1]
    assert max(worst.x) > worst.x[0]
    assert worst.x[-1] < 0.01
    flawed = figures["theory_coupled_pair"].series[3]
    assert max(flawed.y) > flawed.y[0] > flawed.y[-1]
    beyond = figures["theory_cold_start"].series[3]
    assert min(beyond.y) > 0.99
