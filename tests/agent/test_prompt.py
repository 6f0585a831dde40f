"""Prompts, byte for byte, and what enters them."""

from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import pytest

from declutch.agent.parse import parse_response
from declutch.agent.prompt import (
    View,
    build_view,
    last_informative,
    observation_text,
    render_agent,
    render_judge,
    render_prediction,
    render_reasoning,
    render_reflection,
    seen_text,
    view_at,
)
from declutch.envs.alfworld.short import (
    compress_action,
    compress_observation,
    compress_room,
    compress_task,
)
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.envs.wording import task_of
from declutch.records import Distractor, Episode, Outcome, Role, Step, TaskId, empty_float

GOLDEN = Path(__file__).parents[1] / "golden"
INTRO = (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly "
    "around you, you see a desk 1, a drawer 2, a drawer 1, and a shelf 1.\n\nYour task is to: put "
    "a clean mug in desk."
)
CLOSED = "You arrive at drawer 1. The drawer 1 is closed."
OPEN = "You open the drawer 1. The drawer 1 is open. In it, you see a mug 2, and a pen 1."
NOTHING = "Nothing happens."


RESPONSES = (
    "<planning>find the\nmug</planning>\n<action>go to drawer 1</action>",
    "<explore>see what is in it</explore>\n<action>open drawer 1</action>",
    "I take the cup <action>take cup 1 from drawer 1</action>",
)


def example(*, fails: bool = False, suggestions: tuple[str, ...] = ()) -> View:
    observations = [INTRO, CLOSED, OPEN]
    actions = ["go to drawer 1", "open drawer 1"]
    if fails:
        observations.append(NOTHING)
        actions.append("take cup 1 from drawer 1")
    return build_view(
        observations,
        actions,
        "",
        ("close drawer 1", "take mug 2 from drawer 1"),
        suggestions,
        [parse_response(text, tuple(actions), "meta") for text in RESPONSES[: len(actions)]],
    )


@pytest.mark.parametrize(
    ("name", "form", "fails", "suggestions"),
    [
        ("full_agent", "full", False, ()),
        ("full_agent_guided", "full", True, ("Look in new places first.",)),
        ("compact_agent", "compact", False, ()),
        ("compact_agent_failed", "compact", True, ()),
    ],
)
def test_agent_prompt_is_golden(
    name: str, form: str, fails: bool, suggestions: tuple[str, ...]
) -> None:
    text = render_agent(example(fails=fails, suggestions=suggestions), form, 6, HOUSEHOLD)
    assert text == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["full", "compact"])
@pytest.mark.parametrize("start", [True, False])
def test_prompt_for_a_named_way_of_reasoning_is_golden(form: str, start: bool) -> None:
    view = build_view([INTRO], [], "", ("look",)) if start else example(fails=True)
    text = render_agent(view, form, 6, HOUSEHOLD, "meta")
    name = f"{form}_agent_meta_start" if start else f"{form}_agent_meta"
    assert text == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_the_latest_plan_and_three_answers_are_shown() -> None:
    texts = [
        f"<{tag}>idea {n}</{tag}><action>a{n}</action>"
        for n, tag in enumerate(
            ["planning", "monitor", "planning", "explore", "explore", "monitor"]
        )
    ]
    answers = [parse_response(text, (), "meta") for text in texts]
    view = build_view([INTRO, *["x"] * 6], [a.text for a in answers], "", ("look",), (), answers)
    assert view.plan == "idea 2"
    full = render_agent(view, "full", 0, HOUSEHOLD, "meta")
    assert [text in full for text in texts] == [False] * 3 + [True] * 3
    assert "said explore a3 , explore a4 , monitor a5 plan idea 2" in render_agent(
        view, "compact", 0, HOUSEHOLD, "meta"
    )


def test_earlier_answers_are_not_shown_where_the_agent_thinks_freely() -> None:
    for form in ("full", "compact"):
        told, untold = example(), build_view([INTRO, CLOSED, OPEN], ["a", "b"], "", ("look",))
        assert told.answers
        assert "see what is in it" not in render_agent(told, form, 6, HOUSEHOLD)
        assert render_agent(untold, form, 0, HOUSEHOLD) == render_agent(
            replace(untold, answers=told.answers), form, 0, HOUSEHOLD
        )


def test_the_view_of_a_recorded_step_holds_the_answers_before_it() -> None:
    actions = [parse_response(text, (), "meta") for text in RESPONSES]
    none = empty_float()
    steps = tuple(
        Step("seen", "", ("look",), action, none.long(), none.long(), none, 0.0)
        for action in actions
    )
    episode = Episode(TaskId("s", "train", 0, "t"), 0, Role.AGENT, steps, Outcome.FAILED, 0.0)
    assert view_at(episode, 0).answers == ()
    assert view_at(episode, 2).answers == tuple(actions[:2])
    assert view_at(episode, 2).plan == "find the\nmug"


@pytest.mark.parametrize("form", ["full", "compact"])
def test_judge_prompt_is_golden(form: str) -> None:
    problem = render_agent(example(), form, 6, HOUSEHOLD)
    response = "<think>take mug</think><action>take mug 2 from drawer 1</action>"
    text = render_judge(problem, response, form, HOUSEHOLD)
    assert text == (GOLDEN / f"{form}_judge.txt").read_text(encoding="utf-8")
    other = (GOLDEN / f"{form}_judge{'_rm' if form == 'full' else ''}.txt").read_text("utf-8")
    assert render_judge(problem, response, form, HOUSEHOLD, "rm") == other


@pytest.mark.parametrize("form", ["full", "compact"])
def test_prediction_prompt_is_golden(form: str) -> None:
    problem = render_agent(example(), form, 6, HOUSEHOLD)
    response = "<think>take mug</think><action>take mug 2 from drawer 1</action>"
    text = render_prediction(problem, response, form, HOUSEHOLD)
    assert text == (GOLDEN / f"{form}_prediction.txt").read_text(encoding="utf-8")


def test_reasoning_prompt_is_golden() -> None:
    text = render_reasoning(
        render_agent(example(), "full", 6, HOUSEHOLD), "take mug 2 from drawer 1", HOUSEHOLD
    )
    assert text == (GOLDEN / "full_reasoning.txt").read_text(encoding="utf-8")


def test_reflection_prompt_is_golden() -> None:
    problem = render_agent(example(), "full", 6, HOUSEHOLD)
    response = "<think>take mug</think><action>take mug 2 from drawer 1</action>"
    text = render_reflection(problem, response, HOUSEHOLD)
    assert text == (GOLDEN / "full_reflection.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("observation", "form", "text"),
    [
        (OPEN, "compact", "open drawer 1 : mug 2 pen 1"),
        (NOTHING, "compact", "failed"),
        (NOTHING, "full", NOTHING),
        ("On the desk 1,\n  you see a pen 1.", "full", "On the desk 1, you see a pen 1."),
    ],
)
def test_an_observation_to_predict_is_worded_as_in_the_prompt(
    observation: str, form: str, text: str
) -> None:
    assert observation_text(observation, form, HOUSEHOLD) == text


def test_history_is_cut_to_the_last_steps() -> None:
    assert "go drawer 1" not in render_agent(example(), "compact", 1, HOUSEHOLD)
    assert "open drawer 1" in render_agent(example(), "compact", 1, HOUSEHOLD)
    assert "did nothing" in render_agent(example(), "compact", 0, HOUSEHOLD)
    assert 'did "go to drawer 1"' not in render_agent(example(), "full", 1, HOUSEHOLD)


def test_nothing_happens_keeps_the_last_informative_observation() -> None:
    view = example(fails=True)
    assert view.observation == NOTHING
    assert last_informative(view.observations, HOUSEHOLD) == OPEN
    assert last_informative([NOTHING, NOTHING], HOUSEHOLD) == NOTHING


def test_braces_in_an_observation_are_text() -> None:
    view = build_view([INTRO, "a {weird} {0} text"], ["look"], "", ("look",))
    assert "{weird} {0}" in render_agent(view, "full", 6, HOUSEHOLD)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (CLOSED, "at drawer 1 : closed"),
        (OPEN, "open drawer 1 : mug 2 pen 1"),
        ("You arrive at shelf 1. On the shelf 1, you see nothing.", "at shelf 1 : nothing"),
        ("You pick up the mug 2 from the drawer 1.", "take mug 2 from drawer 1"),
        ("You move the mug 2 to the desk 1.", "move mug 2 to desk 1"),
        ("You clean the mug 2 using the sinkbasin 1.", "clean mug 2 with sinkbasin 1"),
        ("You turn on the desklamp 1.", "use desklamp 1"),
        ("You close the drawer 1.", "close drawer 1"),
        (INTRO, "start"),
        ("You are carrying: a mug 2.", "you are carrying a mug 2"),
    ],
)
def test_compress_observation(text: str, short: str) -> None:
    assert compress_observation(text) == short


@pytest.mark.parametrize(
    ("sentence", "short"),
    [
        ("put some mug on desk", "put mug desk"),
        ("clean some mug and put it in cabinet", "clean mug cabinet"),
        ("put a hot egg in fridge", "heat egg fridge"),
        ("put two pen in drawer", "two pen drawer"),
        ("examine the book with the desklamp", "look book desklamp"),
        ("Water the plants", "water the plants"),
    ],
)
def test_compress_task(sentence: str, short: str) -> None:
    assert compress_task(f"You are in a room.\n\nYour task is to: {sentence}.") == short


def test_compress_room_task_and_action() -> None:
    assert compress_room(INTRO) == "desk 1 drawer 2 shelf 1"
    assert task_of(INTRO) == "put a clean mug in desk"
    assert compress_action("take pen 1 from desk 1") == "take pen 1"
    assert compress_action("go to desk 1") == "go desk 1"
    assert compress_action("inventory") == "inventory"


@pytest.mark.parametrize("reasoning", ["think", "meta"])
def test_the_next_prompt_begins_as_this_one_did_up_to_its_history(reasoning) -> None:
    """An engine that keeps what it computed then computes only what is new."""
    before = example()
    after = replace(before, history=(*before.history, (before.observation, "look")))
    first, second = (
        render_agent(view, "full", 6, HOUSEHOLD, reasoning) for view in (before, after)
    )
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    shared = "".join(one for one, _ in pairs)
    assert "Write nothing else." in shared
    assert all(f'did "{did}"' in shared for _, did in before.history)


VASE = Distractor("You notice a vase 2 that looks old.", "vase 2", 0.0)
BOOK = Distractor("You notice a book 3 that looks worn.", "book 3", 0.9)


def test_the_full_prompt_shows_distractors_in_the_observation_and_in_the_history() -> None:
    plain = example()
    view = replace(plain, distractors=((VASE,), (), (VASE, BOOK)))
    before = render_agent(plain, "full", 6, HOUSEHOLD)
    text = render_agent(view, "full", 6, HOUSEHOLD)
    shown = " ".join(OPEN.split())
    assert f"You now observe: {VASE.text} {shown} {BOOK.text}\n" in text
    assert f'saw "{VASE.text} -= Welcome' in text
    assert f'saw "{CLOSED}"' in text
    # Nothing else differs: neither the task nor what can be done.
    assert text.replace(f"{VASE.text} ", "").replace(f" {BOOK.text}", "") == before
    assert render_agent(view, "full", 1, HOUSEHOLD).count(VASE.text) == 1


def test_the_compact_prompt_shows_them_about_the_observation_alone() -> None:
    view = replace(example(fails=True), distractors=((VASE,), (), (), (VASE, BOOK)))
    before = render_agent(example(fails=True), "compact", 6, HOUSEHOLD)
    assert "now failed ; open drawer 1 : mug 2 pen 1 goal" in before
    expected = "now vase 2 ; failed ; open drawer 1 : mug 2 pen 1 ; book 3 goal"
    text = render_agent(view, "compact", 6, HOUSEHOLD)
    assert text == before.replace("now failed ; open drawer 1 : mug 2 pen 1 goal", expected)


def test_a_played_step_is_seen_again_with_its_distractors() -> None:
    """A judge is shown what the agent saw; without distractors the view is as ever."""

    def step(observation: str, distractors: tuple = ()) -> Step:
        empty = empty_float()
        action = parse_response(RESPONSES[0], (), "meta")
        return Step(
            observation, "", ("look",), action, empty, empty, empty, 0.0, distractors=distractors
        )

    task = TaskId("s", "train", 0, "t")

    def view(*steps: Step) -> View:
        episode = Episode(task, 0, Role.AGENT, steps, Outcome.FAILED, 0.0)
        return view_at(episode, len(steps) - 1)

    assert view(step(INTRO), step(CLOSED)).distractors == ()
    rich = view(step(INTRO, (VASE,)), step(CLOSED, (BOOK,)))
    assert rich.distractors == ((VASE,), (BOOK,))
    assert seen_text(rich, 1, HOUSEHOLD) == f"{CLOSED} {BOOK.text}"
    assert rich.observations == (INTRO, CLOSED)
