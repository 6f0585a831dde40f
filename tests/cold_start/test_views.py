"""Demonstrations as the agent sees them, and the way of reasoning each step shows."""

from dataclasses import replace

import pytest
from builders import make_demonstration_step

from declutch.cold_start.demonstrations import Demonstration
from declutch.cold_start.views import build_views, tag_reasoning
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.records import META_TAGS, TaskId


def test_a_demonstration_by_hand() -> None:
    steps = (
        make_demonstration_step("find mug"),
        make_demonstration_step("find mug"),
        make_demonstration_step("find mug", "look", is_perturbed=True),
        make_demonstration_step("find mug"),
        make_demonstration_step("take mug"),
        make_demonstration_step("clean mug"),
        make_demonstration_step("clean mug"),
        make_demonstration_step("put mug", "fly"),
        make_demonstration_step("put mug"),
    )
    assert tag_reasoning(steps, HOUSEHOLD, "meta") == (
        "planning",  # the first step
        "explore",
        "explore",
        "reflection",  # after a look around in the expert's place
        "planning",
        "planning",
        "monitor",
        "planning",
        "reflection",  # after a command that was not available
    )


@pytest.mark.parametrize(
    ("before", "after", "tag"),
    [
        ({}, {}, "explore"),
        ({"is_perturbed": True}, {}, "reflection"),
        ({"is_perturbed": True}, {"inventory": "mug 1"}, "explore"),
        ({"is_perturbed": True}, {"admissible": ("look",)}, "explore"),
        ({"action": "fly"}, {"admissible": ("look",)}, "reflection"),
        ({}, {"observation": "Nothing happens."}, "reflection"),
        ({}, {"observation": "Nothing happens.", "short_thought": "take mug"}, "reflection"),
    ],
)
def test_what_counts_as_having_done_nothing(before: dict, after: dict, tag: str) -> None:
    steps = (
        replace(make_demonstration_step("find mug"), **before),
        replace(make_demonstration_step("find mug"), **after),
    )
    assert tag_reasoning(steps, HOUSEHOLD, "meta") == ("planning", tag)


def test_no_steps_and_one() -> None:
    assert tag_reasoning((), HOUSEHOLD, "meta") == ()
    one = (make_demonstration_step("put mug"),)
    assert tag_reasoning(one, HOUSEHOLD, "meta") == ("planning",)


def demo() -> Demonstration:
    steps = (
        make_demonstration_step("find mug", "go to desk 1", "intro"),
        make_demonstration_step("find mug", "look", "desk", is_perturbed=True),
        make_demonstration_step("take mug", "take mug 1", "again", expert_action="take mug 1"),
    )
    return Demonstration(TaskId("s", "train", 0, "t"), True, steps, "done")


@pytest.mark.parametrize(
    ("form", "idea"), [("compact", "find mug"), ("full", "I want to find mug.")]
)
def test_the_answers_are_what_leads_to_the_actions_played(form: str, idea: str) -> None:
    views = build_views(demo(), form, HOUSEHOLD, "meta")
    assert [len(view.answers) for view in views] == [0, 1, 2]
    assert [(a.tag, a.thought, a.text) for a in views[2].answers] == [
        ("planning", idea, "go to desk 1"),
        ("explore", idea, "look"),
    ]
    assert all(answer.is_valid for answer in views[2].answers)
    assert [view.observation for view in views] == ["intro", "desk", "again"]
    assert views[2].history == (("intro", "go to desk 1"), ("desk", "look"))
    assert views[2].plan == idea


def test_an_agent_that_thinks_freely_names_nothing() -> None:
    assert tag_reasoning(demo().steps, HOUSEHOLD, "think") == ("think",) * 3
    assert set(tag_reasoning(demo().steps, HOUSEHOLD, "meta")) <= set(META_TAGS)
    assert {a.tag for a in build_views(demo(), "full", HOUSEHOLD)[2].answers} == {"think"}
