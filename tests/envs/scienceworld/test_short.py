"""ScienceWorld's prompts, byte for byte, and its sentences in short."""

from pathlib import Path

import pytest
from builders import make_demonstration_step

from declutch.agent.prompt import (
    View,
    build_view,
    observation_text,
    render_agent,
    render_judge,
    render_prediction,
    render_reasoning,
    render_reflection,
)
from declutch.cold_start.template_texts import list_advice, write_critique
from declutch.cold_start.views import tag_reasoning
from declutch.config.env import EnvConfig
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.envs.registry import find_wording
from declutch.envs.scienceworld.env import ActionForms
from declutch.envs.scienceworld.short import (
    MAX_LIST_WORDS,
    MAX_WORDS,
    NOT_UNDERSTOOD,
    remember_place,
    shorten_action,
    shorten_observation,
    shorten_task,
    shorten_things,
    state_task,
)
from declutch.envs.scienceworld.thoughts import purpose_of, short_thought
from declutch.envs.scienceworld.wording import SCIENCE

GOLDEN = Path(__file__).parents[2] / "golden"
HALLWAY = (
    "This room is called the hallway. In it, you see: \n\tthe agent\n\ta substance called air\n"
    "\ta picture\nYou also see:\n\tA door to the kitchen (that is open)\n\tA door to the workshop "
    "(that is closed)"
)
TASK = (
    "Task Description:\nYour task is to boil water. For compounds without a boiling point, "
    "combusting the substance is also acceptable. First, focus on the substance. Then, take "
    "actions that will cause it to change its state of matter."
)
INTRO = f"{HALLWAY}\n\n{TASK}"
MOVED = "You move to the kitchen."
KITCHEN = (
    "This room is called the kitchen. In it, you see: \n\tthe agent\n\ta substance called air\n"
    "\ta chair. On the chair is: nothing.\n\ta counter. On the counter is: a bowl (containing a "
    "red apple, a banana), a drawer.\n\ta cupboard. The cupboard door is closed. \n\ta fridge. The "
    "fridge door is open. In the fridge is: a wood cup (containing orange juice).\n\ta glass jar "
    "(containing a substance called sodium chloride)\n\ta jug (containing nothing)\n\ta sink, "
    "which is turned on. In the sink is: nothing.\n\ta stove, which is turned off. On the stove "
    "is: nothing.\n\ta thermometer, currently reading a temperature of -10 degrees celsius\nYou "
    "also see:\n\tA door to the hallway (that is open)"
)
KITCHEN_SHORT = (
    "kitchen : chair , counter bowl red apple banana drawer , cupboard closed , fridge open wood "
    "cup orange juice , glass jar sodium chloride , jug , sink turned on , stove , thermometer "
    "minus 10 , exits hallway"
)
OUTSIDE = (
    "This outside location is called the outside. Here you see: \n\tthe agent\n\ta substance "
    "called air\n\ta parrot egg\nYou also see:\n\tA door to the foundry (that is open)"
)
CHOICE = (
    "Ambiguous request: Please enter the number for the action you intended (or blank to cancel):\n"
    "0:\tfocus on red paint (in wood cup, in art studio)\n1:\tfocus on blue paint (in wood cup, in "
    "art studio)\n"
)
FORMS = ActionForms(("look around", "move OBJ to OBJ"), ("glass jar", "stove"))


def example(admissible: tuple[str, ...], *, fails: bool = False) -> View:
    observations, actions = [INTRO, MOVED, KITCHEN], ["go to kitchen", "look around"]
    if fails:
        observations.append(NOT_UNDERSTOOD[0])
        actions.append("boil water")
    return build_view(observations, actions, "an orange, a metal pot", admissible)


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_the_full_prompt_lists_forms_of_actions_and_the_objects() -> None:
    text = render_agent(example(FORMS), "full", 6, wording=SCIENCE)
    assert text == golden("science_full_agent")
    meta = render_agent(example(FORMS), "full", 6, SCIENCE, "meta")
    assert SCIENCE.scene in meta
    assert SCIENCE.choice in meta


@pytest.mark.parametrize(
    ("name", "fails"), [("science_compact_agent", False), ("science_compact_agent_failed", True)]
)
def test_the_compact_prompt_keeps_the_place_in_sight(name: str, fails: bool) -> None:
    view = example(("look around", "open cupboard"), fails=fails)
    assert render_agent(view, "compact", 6, wording=SCIENCE) == golden(name)


def test_the_judge_is_told_of_science() -> None:
    problem = render_agent(example(FORMS), "full", 6, wording=SCIENCE)
    response = "<think>heat it</think><action>move glass jar to stove</action>"
    assert render_judge(problem, response, "full", SCIENCE) == golden("science_full_judge")


def test_no_prompt_speaks_of_households() -> None:
    problem = render_agent(example(FORMS), "full", 6, wording=SCIENCE)
    texts = [
        render_judge(problem, "x", "full", SCIENCE, "rm"),
        render_prediction(problem, "x", "full", SCIENCE),
        render_reasoning(problem, "look around", SCIENCE),
        render_reflection(problem, "x", SCIENCE),
        render_agent(example(FORMS), "full", 6, SCIENCE, "meta"),
    ]
    for text in texts:
        assert "household" not in text
        assert "robot" not in text
    assert NOT_UNDERSTOOD[0] in texts[1]
    assert "Nothing happens" not in texts[1]


def test_the_suite_chooses_the_words_and_the_advice() -> None:
    assert find_wording(EnvConfig(suite="scienceworld")) is SCIENCE
    advice = " ".join(list_advice(SCIENCE))
    assert "lamp" not in advice
    assert "lamp" in " ".join(list_advice(HOUSEHOLD))
    step = make_demonstration_step("focus seed", "focus on seed")
    text = write_critique(step, 0, "compact", SCIENCE)
    assert text.endswith("<advise>focus on nothing but what the task names</advise>")


def test_the_expert_reasons_in_words_that_a_tiny_model_is_made_with() -> None:
    plans = (
        ("teleport to kitchen", "pick up jug"),
        ("focus on jug",),
        ("use thermometer on jug",),
        ("connect battery anode to red wire",),
        ("wait1",),
        ("0",),
        ("dance",),
    )
    phases = {short_thought(purpose_of(plan)).split()[0] for plan in plans}
    assert phases == {"find", "focus", "use", "connect", "wait", "choose", "do"}
    assert phases <= set(SCIENCE.words.split())
    assert {"minus", "which", "exits", "look", "closed"} <= set(SCIENCE.words.split())


@pytest.mark.parametrize("refusal", [*NOT_UNDERSTOOD, f"{NOT_UNDERSTOOD[1]} "])
def test_what_is_not_understood_keeps_the_last_informative_observation(refusal: str) -> None:
    view = build_view([INTRO, MOVED, refusal], ["go to kitchen", "x"], "", ("look around",))
    assert "now failed ; move to kitchen goal" in render_agent(view, "compact", 6, wording=SCIENCE)
    assert observation_text(refusal, "compact", SCIENCE) == "failed"


def test_after_what_is_not_understood_comes_a_reflection() -> None:
    here = ("boil water", "look around")
    steps = [
        make_demonstration_step("go kitchen", action, observation, admissible=here)
        for observation, action in ((MOVED, "boil water"), (NOT_UNDERSTOOD[0], "look around"))
    ]
    assert tag_reasoning(steps, SCIENCE, "meta") == ("planning", "reflection")
    assert tag_reasoning(steps, HOUSEHOLD, "meta") == ("planning", "monitor")


@pytest.mark.parametrize(
    ("sentence", "short"),
    [
        (
            "boil water. For compounds without a boiling point, combusting the substance is also "
            "acceptable. First, focus on the substance. Then, take actions that will cause it to "
            "change its state of matter.",
            "boil water compounds without boiling point combusting also acceptable first focus "
            "then change state matter",
        ),
        (
            "measure the melting point of lead, which is located around the kitchen. First, focus "
            "on the thermometer. Next, focus on the lead. If the melting point of lead is above "
            "-10.0 degrees celsius, focus on the red box. If the melting point of lead is below "
            "-10.0 degrees celsius, focus on the green box. The boxes are located around the "
            "kitchen.",
            "measure melting point lead kitchen first focus thermometer next if above minus 10 red "
            "box below green boxes",
        ),
        (
            "find a(n) non-living thing. First, focus on the thing. Then, move it to the blue box "
            "in the workshop.",
            "find non living thing first focus then move blue box workshop",
        ),
    ],
)
def test_a_task_is_its_words_each_once(sentence: str, short: str) -> None:
    intro = f"{HALLWAY}\n\nTask Description:\nYour task is to {sentence}"
    assert shorten_task(intro) == short
    assert state_task(intro) == sentence


def test_the_place_is_where_the_agent_went_with_the_last_list_of_it() -> None:
    seen = [INTRO]
    assert remember_place(seen) == "hallway : picture , exits kitchen workshop closed"
    seen.append(MOVED)
    assert remember_place(seen) == "kitchen"
    seen.append(KITCHEN)
    assert remember_place(seen) == KITCHEN_SHORT
    seen.append("The cupboard is now open.")
    assert remember_place(seen) == KITCHEN_SHORT
    # Looked at from next door a room looks the same, without the agent.
    seen.append(OUTSIDE.replace("\tthe agent\n", ""))
    assert remember_place(seen) == KITCHEN_SHORT
    seen.append("You teleport to the outside.")
    assert remember_place(seen) == "outside : parrot egg , exits foundry"
    assert remember_place(["You wake up."]) == ""


def test_a_long_list_is_cut_thing_by_thing() -> None:
    things = [f"thing {number} with many words in its name" for number in range(20)]
    lines = "".join(f"\t{thing}\n" for thing in ["the agent", *things])
    text = f"This room is called the attic. In it, you see: \n{lines}You also see:\n"
    told = remember_place([text]).removeprefix("attic : ").split(" , ")
    assert len(told) == 20
    assert all(thing == f"thing {number} with" for number, thing in enumerate(told))
    assert sum(len(thing.split()) for thing in told) <= MAX_LIST_WORDS


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (MOVED, "move to kitchen"),
        (KITCHEN, "look kitchen"),
        ("You move the metal pot to the stove.", "move metal pot to stove"),
        ("the thermometer measures a temperature of -5 degrees celsius", "thermometer measures "
         "minus 5"),
        (CHOICE, "which 0 focus on red paint in wood cup in art studio , 1 focus on blue paint in "
         "wood cup in art studio"),
        ("a jug (containing nothing)", "jug"),
        ("", ""),
    ],
)  # fmt: skip
def test_shorten_observation(text: str, short: str) -> None:
    assert shorten_observation(text) == short


def test_an_observation_is_bounded() -> None:
    assert len(shorten_observation("word " * 500).split()) == MAX_WORDS


def test_shorten_action_and_things() -> None:
    assert shorten_action("go to kitchen") == "go kitchen"
    assert shorten_action("pour jug into flower pot 1") == "pour jug into flower pot 1"
    assert shorten_action("focus on apple seed in seed jar") == "focus apple seed seed jar"
    assert shorten_things("an orange, a metal pot (containing a substance called water, soil)") == (
        "orange , metal pot water soil"
    )
    assert shorten_things("") == ""
