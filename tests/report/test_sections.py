"""What a report says of the run itself: where its time went."""

from declutch.report.sections import mean_phases


def test_mean_seconds_count_every_iteration() -> None:
    rows = [{}, {"time/play": 3.0}, {"time/eval": 6.0}]
    means = {phase.name: seconds for phase, seconds in mean_phases(rows).items()}
    assert means == {"play": 1.0, "eval": 2.0}
