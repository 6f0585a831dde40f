"""Labels by the rule and the oracle, and what becomes of several sources."""

from collections import Counter

import pytest
import torch

from declutch.config.judge import GCDConfig
from declutch.envs.scienceworld.wording import SCIENCE
from declutch.envs.wording import PLAIN, Wording
from declutch.ground.errors import UserError
from declutch.judge.labels import (
    check_labels,
    combine_labels,
    compare_labels,
    count_agreements,
    label_by_oracle,
    label_by_rule,
    shuffle_labels,
)
from declutch.records import Action, Episode, Outcome, Role, Step, TaskId, empty_float

NOTHING = "Nothing happens."


def make_step(
    observation: str, inventory: str = "", *, oracle: int | None = None, is_valid: bool = True
) -> Step:
    empty = empty_float()
    return Step(
        observation=observation,
        inventory=inventory,
        admissible=(),
        action=Action("a", "", "", is_valid, True),
        prompt_ids=empty.long(),
        response_ids=empty.long(),
        sample_logprobs=empty,
        reward=0.0,
        oracle_label=oracle,
    )


def make_episode(steps: list[Step], *, won: bool = False, group: int = 0) -> Episode:
    outcome = Outcome.WON if won else Outcome.TIMED_OUT
    task = TaskId("s", "train", group, f"t{group}")
    return Episode(task, group, Role.AGENT, tuple(steps), outcome, float(won))


def test_rule_marks_what_led_back_and_what_won() -> None:
    episode = make_episode([make_step(o) for o in "abacd"], won=True)
    # The first "a" comes back at the third step; "b" led back to it but never returns itself.
    assert label_by_rule(episode, PLAIN) == (0, None, None, None, 1)


def test_rule_without_success_marks_no_good_step() -> None:
    assert label_by_rule(make_episode([make_step(o) for o in "abc"]), PLAIN) == (None, None, None)


@pytest.mark.parametrize(
    ("wording", "other", "refusal"),
    [
        (PLAIN, SCIENCE, NOTHING),
        (SCIENCE, PLAIN, "No known action matches that input."),
        (Wording(refusals=("Eh?",)), PLAIN, "Eh?"),
    ],
)
def test_a_step_that_does_nothing_is_bad_and_its_recovery_is_not(
    wording: Wording, other: Wording, refusal: str
) -> None:
    steps = [make_step(text) for text in ("a", refusal, "b", refusal, "c")]
    episode = make_episode(steps, won=True)
    assert label_by_rule(episode, wording) == (0, None, 0, None, 1)
    # The plain comparison condemns the recovery from the first slip instead of the slips.
    assert label_by_rule(episode, wording, "raw") == (None, 0, None, None, 1)
    # What another suite says in this case is an observation like any other.
    assert label_by_rule(episode, other) == (None, 0, None, None, 1)


def test_the_same_place_with_something_in_hand_is_another_state() -> None:
    episode = make_episode([make_step("a"), make_step("b"), make_step("a", "mug 1")])
    assert label_by_rule(episode, PLAIN) == (None, None, None)
    assert label_by_rule(episode, PLAIN, "raw") == (0, None, None)


def test_an_invalid_format_is_bad_whatever_the_oracle_said() -> None:
    steps = [make_step("a", oracle=1), make_step("b", oracle=1, is_valid=False), make_step("c")]
    assert label_by_oracle(make_episode(steps)) == (1, 0, None)


def test_label_stats_by_hand() -> None:
    stats = compare_labels([(0, 1, None, 0)], [(0, 1, 1, 1)])
    assert (stats.rule_good, stats.rule_bad) == (0.25, 0.5)
    assert (stats.oracle_good, stats.oracle_bad) == (0.75, 0.25)
    assert (stats.rule_precision_good, stats.rule_precision_bad) == (1.0, 0.5)
    assert compare_labels([(None,)], [(0,)]).rule_precision_good is None


def test_label_stats_of_little_or_nothing() -> None:
    one = compare_labels([(1,)], [(1,)])
    assert (one.rule_good, one.rule_bad, one.oracle_good, one.oracle_bad) == (1, 0, 1, 0)
    assert (one.rule_precision_good, one.rule_precision_bad) == (1.0, None)
    none = compare_labels([], [])
    assert (none.rule_good, none.rule_bad, none.oracle_good, none.oracle_bad) == (0, 0, 0, 0)
    assert (none.rule_precision_good, none.rule_precision_bad) == (None, None)
    # What the oracle leaves open is no evidence about the rule.
    open_ended = compare_labels([(1, 1, 1)], [(None, 0, 1)])
    assert open_ended.rule_precision_good == 0.5
    assert (open_ended.rule_good, open_ended.oracle_bad) == (1.0, 1 / 3)


class Watched:
    """An environment that knows whether it was closed, and a suite of nothing else."""

    name = "watched"

    def __init__(self) -> None:
        self.num_closed = 0

    def make_env(self):
        return self

    def close(self) -> None:
        self.num_closed += 1


class WatchedOracle(Watched):
    def label_action(self, action: str) -> int | None:
        return None


def test_labels_of_the_oracle_need_a_suite_that_has_one() -> None:
    plain, oracle = Watched(), WatchedOracle()
    with pytest.raises(UserError, match=r"the suite watched has no oracle.*gcd\.labels=rule"):
        check_labels(GCDConfig(labels="oracle"), plain)
    check_labels(GCDConfig(labels="oracle"), oracle)
    assert (plain.num_closed, oracle.num_closed) == (1, 1)
    with pytest.raises(UserError, match=r"gcd\.labels=shuffled, but the suite watched has no"):
        check_labels(GCDConfig(labels="shuffled"), plain)
    check_labels(GCDConfig(labels="rule"), plain)
    assert plain.num_closed == 2


def test_labels_that_stand_in_for_an_endpoint_need_their_source_too() -> None:
    """Found where the endpoint fails, such an iteration would have no labels, without a word."""
    stand_in = {"labels": "llm", "fallback_labels": "oracle"}
    with pytest.raises(UserError, match=r"gcd\.fallback_labels=oracle, but.*fallback_labels=rule"):
        check_labels(GCDConfig(**stand_in, on_endpoint_failure="fallback"), Watched())
    check_labels(GCDConfig(**stand_in, on_endpoint_failure="fallback"), WatchedOracle())
    check_labels(GCDConfig(**stand_in, on_endpoint_failure="skip"), Watched())


def test_a_won_episode_without_steps_has_no_labels() -> None:
    assert label_by_rule(make_episode([], won=True), PLAIN) == ()
    assert label_by_rule(make_episode([make_step("a")], won=True), PLAIN) == (1,)


def test_sources_that_contradict_each_other_give_no_label() -> None:
    rule, llm = [(0, 1, 0, None, None)], [(0, 0, None, 1, None)]
    labels, origins = combine_labels({"rule": rule, "llm": llm}, [5])
    assert labels == [(0, None, 0, 1, None)]
    assert origins == [("rule+llm", "", "rule", "llm", "")]
    assert combine_labels({}, [2, 0]) == ([(None, None), ()], [("", ""), ()])


def test_confusion_by_hand() -> None:
    found = count_agreements({"rule": [(0, 1), (0,)], "oracle": [(0, 0), (1,)], "llm": [(None, 1)]})
    assert found == {
        ("rule", "oracle"): {(1, 1): 0, (1, 0): 1, (0, 1): 1, (0, 0): 1},
        ("rule", "llm"): {(1, 1): 1, (1, 0): 0, (0, 1): 0, (0, 0): 0},
        ("oracle", "llm"): {(1, 1): 0, (1, 0): 0, (0, 1): 1, (0, 0): 0},
    }
    assert count_agreements({"rule": [(0,)], "oracle": [(None,)]}) == {}
    # A source that was asked about fewer episodes counts as far as it goes.
    shorter = count_agreements({"rule": [(1,), (0,)], "llm": [(1,)]})
    assert shorter == {("rule", "llm"): {(1, 1): 1, (1, 0): 0, (0, 1): 0, (0, 0): 0}}


def test_shuffled_labels_are_the_same_labels_dealt_anew() -> None:
    labels = [(1, None, 0), (), (None,), (1, 1, 0, 0), (0,) * 40, (1,) * 40]
    dealt = shuffle_labels(labels, torch.Generator().manual_seed(0))
    assert [len(each) for each in dealt] == [len(each) for each in labels]
    for before, after in zip(labels, dealt, strict=True):
        assert [mark is None for mark in before] == [mark is None for mark in after]
    assert Counter(sum(dealt, ())) == Counter(sum(labels, ()))
    assert 0.3 < sum(dealt[4]) / 40 < 0.7
    assert 0.3 < sum(dealt[5]) / 40 < 0.7
    assert dealt == shuffle_labels(labels, torch.Generator().manual_seed(0))
    assert shuffle_labels([], torch.Generator()) == ()
