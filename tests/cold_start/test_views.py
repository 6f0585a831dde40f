"""Demonstrations as the agent sees them, and the way of reasoning each step shows."""

from dataclasses import replace

import pytest

from declutch.cold_start.demonstrations import Demonstration, DemonstrationStep
from declutch.cold_start.views import demonstration_views, meta_tags, reasoning_tags
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.records import META_TAGS, TaskId

HERE = ("go to desk 1", "look")


def step(
    thought: str, action: str = "go to desk 1", observation: str = "seen", **changes: object
) -> DemonstrationStep:
    made = DemonstrationStep(
        observation=observation,
        inventory="",
        admissible=HERE,
        action=action,
        expert_action=action,
        thought=f"I want to {thought}.",
        short_thought=thought,
        other_action=None,
        is_perturbed=False,
        label_expert=None,
        label_other=None,
    )
    return replace(made, **changes)


def test_a_demonstration_by_hand() -> None:
    steps = (
        step("find mug"),
        step("find mug"),
        step("find mug", "look", is_perturbed=True),
        step("find mug"),
        step("take mug"),
        step("clean mug"),
        step("clean mug"),
        step("put mug", "fly"),
        step("put mug"),
    )
    assert meta_tags(steps, HOUSEHOLD) == (
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
    steps = (replace(step("find mug"), **before), replace(step("find mug"), **after))
    assert meta_tags(steps, HOUSEHOLD) == ("planning", tag)


def test_no_steps_and_one() -> None:
    assert meta_tags((), HOUSEHOLD) == ()
    assert meta_tags((step("put mug"),), HOUSEHOLD) == ("planning",)


def demo() -> Demonstration:
    steps = (
        step("find mug", "go to desk 1", "intro"),
        step("find mug", "look", "desk", is_perturbed=True),
        step("take mug", "take mug 1", "again", expert_action="take mug 1"),
    )
    return Demonstration(TaskId("s", "train", 0, "t"), True, steps, "done")


@pytest.mark.parametrize(
    ("form", "idea"), [("compact", "find mug"), ("full", "I want to find mug.")]
)
def test_the_answers_are_what_leads_to_the_actions_played(form: str, idea: str) -> None:
    views = demonstration_views(demo(), form, HOUSEHOLD, "meta")
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
    assert reasoning_tags(demo(), HOUSEHOLD, "think") == ("think",) * 3
    assert set(reasoning_tags(demo(), HOUSEHOLD, "meta")) <= set(META_TAGS)
    assert {a.tag for a in demonstration_views(demo(), "full", HOUSEHOLD)[2].answers} == {"think"}
