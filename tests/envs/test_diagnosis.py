"""What suites share when they are asked what they need."""

from declutch.envs.diagnosis import count_games, empty_levels, format_counts, problem_of
from declutch.ground.errors import Finding, Status, UserError
from declutch.records import TaskId

KINDS = {"train": ("a", "b", "a"), "L0": (), "L1": ("b",)}


class Few:
    """A suite that cannot count and has levels without a task."""

    name = "few"

    def tasks(self, split):
        if split not in KINDS:
            raise UserError(f"few has no level {split}")
        return tuple(
            TaskId("few", split, index, f"{split} {index}", kind)
            for index, kind in enumerate(KINDS[split])
        )

    def make_env(self):
        raise NotImplementedError


class Counted(Few):
    def count_games(self):
        return {"train": {"a": 2, "b": 1}}


def test_levels_without_a_game_are_named_once_each():
    assert empty_levels(Few(), ("train", "L0", "L1", "L2", "L0", "nonsense")) == [
        "L0",
        "L2",
        "nonsense",
    ]


def test_a_suite_counts_its_games_itself_where_it_can():
    assert count_games(Counted()) == {"train": {"a": 2, "b": 1}}


def test_counts_are_aligned():
    assert format_counts({"train": {"long kind": 10}, "L0": {"b": 2}}).splitlines() == [
        "          train L0",
        "long kind    10  0",
        "b             0  2",
        "all          10  2",
    ]


def test_an_error_is_a_finding_with_the_remedy_it_names_or_the_one_given():
    said = problem_of("x", UserError("no games; get some"), "look")
    assert said == Finding("x", Status.PROBLEM, "no games", "get some")
    assert problem_of("x", UserError("no games"), "look").remedy == "look"
