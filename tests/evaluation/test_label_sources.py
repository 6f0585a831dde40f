"""Sources of labels against the oracle, by hand."""

from __future__ import annotations

from dataclasses import replace

from evaluations import LABELLED

from declutch.config.judge import GCDConfig
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.evaluation.label_sources import compare_sources
from declutch.judge.llm_labels import LLMLabels, count_votes


def test_the_rule_against_the_oracle_by_hand() -> None:
    report = compare_sources(LABELLED, 7, GCDConfig(), HOUSEHOLD)
    oracle, rule = report.sources["oracle"], report.sources["rule"]
    assert (report.num_steps, report.num_episodes) == (7, 2)
    assert (oracle.good, oracle.bad, oracle.agreement) == (3, 3, 1)
    assert (rule.good, rule.bad, rule.labelled) == (1, 2, 3 / 7)
    assert rule.cells == {"good/good": 1, "good/bad": 0, "bad/good": 1, "bad/bad": 1}
    assert (rule.agreement, rule.constant) == (2 / 3, 2 / 3)
    assert (rule.precision("good"), rule.precision("bad")) == (1, 1 / 2)


def test_only_the_first_steps_count_but_the_rule_looks_beyond_them() -> None:
    report = compare_sources(LABELLED, 5, GCDConfig(), HOUSEHOLD)
    assert (report.num_steps, report.num_episodes) == (5, 2)
    # The fifth step is bad because of the seventh.
    assert report.sources["rule"].bad == 2


def test_the_endpoint_is_compared_on_the_steps_it_was_asked_about() -> None:
    gcd = GCDConfig()
    ballots = [
        replace(count_votes(e, p, [], gcd), label=label)
        for e, p, label in ((0, 0, 1), (0, 2, 1), (1, 0, 1), (1, 2, None))
    ]
    report = compare_sources(LABELLED, 7, gcd, HOUSEHOLD, LLMLabels((), tuple(ballots)))
    endpoint = report.sources["endpoint"]
    assert (endpoint.steps, endpoint.good, endpoint.num_compared) == (4, 3, 2)
    assert (endpoint.agreement, endpoint.constant) == (1 / 2, 1 / 2)
