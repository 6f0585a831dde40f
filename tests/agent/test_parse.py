"""The parser: strict about the format, and nothing a model can emit crashes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declutch.agent.parse import parse_prediction, parse_response, parse_verdict
from declutch.records import META_TAGS

ADMISSIBLE = ("go to desk 1", "look")

TAGS = [
    f"<{slash}{name}>" for name in ("think", "action", "answer", "advise") for slash in ("", "/")
]
OTHERS = ["\\boxed{0}", "\\boxed{1}", "\\boxed{", "}", "look", "go to desk 1", "\n", " ", "</", "<"]
META = [f"<{slash}{name}>" for name in META_TAGS for slash in ("", "/")]
PIECES = st.sampled_from([*TAGS, *META, *OTHERS, "\x00", "é", "𝔘"])
TEXTS = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=14).map("".join))


def test_well_formed_and_admissible() -> None:
    action = parse_response("<think>a b</think>\n<action> go  to desk 1 </action>\n", ADMISSIBLE)
    assert (action.text, action.thought, action.tag) == ("go to desk 1", "a b", "think")
    assert action.is_valid
    assert action.is_admissible


def test_validity_and_admissibility_are_two_things() -> None:
    wrong_action = parse_response("<think>a</think><action>fly</action>", ADMISSIBLE)
    assert (wrong_action.is_valid, wrong_action.is_admissible) == (True, False)
    wrong_form = parse_response("so: <action>look</action>", ADMISSIBLE)
    assert (wrong_form.text, wrong_form.is_valid, wrong_form.is_admissible) == ("look", False, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "look",
        "<think>a</think>",
        "<action>look</action><think>a</think>",
        "<think>a</think><action>look</action> done",
        "<think>a</think><action>look</action><action>look</action>",
        "<think>a<think>b</think><action>look</action>",
        "<think>a</think><action><action>look</action>",
        "<think>a</think><action>  </action>",
        "<think>a</think><action>look",
        "<THINK>a</THINK><ACTION>look</ACTION>",
    ],
)
def test_bad_forms_are_invalid(text: str) -> None:
    assert not parse_response(text, ADMISSIBLE).is_valid


@pytest.mark.parametrize("tag", META_TAGS)
def test_a_named_way_of_reasoning_is_read(tag: str) -> None:
    text = f"<{tag}> a b </{tag}>\n<action>look</action>"
    action = parse_response(text, ADMISSIBLE, "meta")
    assert (action.tag, action.thought, action.text) == (tag, "a b", "look")
    assert action.is_valid
    assert action.response == text


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("<think>a</think><action>look</action>", ""),
        ("<action>look</action>", ""),
        ("<explore>a<action>look</action>", ""),
        ("<explore>a</planning><action>look</action>", ""),
        ("<explore>a</explore><planning>b</planning><action>look</action>", "explore"),
        ("<explore>a</explore><explore>b</explore><action>look</action>", "explore"),
        ("<explore>a<planning></explore><action>look</action>", "explore"),
        ("<explore>a</explore><think>b</think><action>look</action>", "explore"),
        ("<explore>a</explore> so <action>look</action>", "explore"),
        ("<action>look</action><explore>a</explore>", "explore"),
        ("<explore>a</explore><action>look</action> done", "explore"),
        ("<EXPLORE>a</EXPLORE><action>look</action>", ""),
    ],
)
def test_anything_but_one_named_way_and_an_action_is_invalid(text: str, tag: str) -> None:
    action = parse_response(text, ADMISSIBLE, "meta")
    assert (action.tag, action.text, action.is_valid) == (tag, "look", False)


def test_a_named_way_is_no_reasoning_where_none_is_asked_for() -> None:
    text = "<explore>a</explore><action>look</action>"
    action = parse_response(text, ADMISSIBLE)
    assert (action.tag, action.thought, action.is_valid) == ("", "", False)


def test_two_actions_are_none() -> None:
    text = "<think>a</think><action>look</action><action>go to desk 1</action>"
    assert parse_response(text, ADMISSIBLE).text == ""


@given(TEXTS, st.sampled_from(["think", "meta"]))
def test_any_text_is_read(text: str, reasoning: str) -> None:
    action = parse_response(text, ADMISSIBLE, reasoning)
    assert action.is_admissible == (action.text in ADMISSIBLE)
    assert not action.is_valid or (action.text and action.tag)
    assert action.tag in ("", *(META_TAGS if reasoning == "meta" else ("think",)))
    verdict = parse_verdict(text)
    assert verdict.value in (None, 0, 1)
    assert not verdict.is_valid or verdict.value is not None
    prediction = parse_prediction(text)
    assert not prediction.is_valid or prediction.text


@given(st.text(alphabet=st.characters(blacklist_characters="<>"), max_size=50))
def test_any_thought_is_allowed(thought: str) -> None:
    action = parse_response(f"<think>{thought}</think><action>look</action>", ADMISSIBLE)
    assert action.is_valid
    assert action.thought == thought.strip()


def test_verdicts() -> None:
    good = "<think>t</think><answer>\\boxed{1}</answer><advise>go on</advise>"
    verdict = parse_verdict(good)
    assert (verdict.value, verdict.advice, verdict.is_valid) == (1, "go on", True)
    bad = "<think>t</think><answer> \\boxed{ 0 } </answer><action>look</action><advise>a</advise>"
    verdict = parse_verdict(bad)
    assert (verdict.value, verdict.better_action, verdict.is_valid) == (0, "look", True)


@pytest.mark.parametrize(
    "text",
    [
        "<think>t</think><answer>1</answer><advise>a</advise>",
        "<think>t</think><answer>\\boxed{2}</answer><advise>a</advise>",
        "<think>t</think><answer>\\boxed{0} or \\boxed{1}</answer><advise>a</advise>",
        "<answer>\\boxed{0}</answer><answer>\\boxed{0}</answer>",
        "\\boxed{1}",
    ],
)
def test_unreadable_verdicts(text: str) -> None:
    assert parse_verdict(text).value is None


def test_a_verdict_is_read_from_a_bad_form_but_the_form_is_bad() -> None:
    verdict = parse_verdict("well <answer>\\boxed{1}</answer>")
    assert (verdict.value, verdict.is_valid) == (1, False)


@pytest.mark.parametrize(
    ("text", "answer", "is_valid"),
    [
        ("<think>t</think><answer> at  desk 1\n: nothing </answer>", "at desk 1 : nothing", True),
        ("well <answer>closed</answer>", "closed", False),
        ("<think>t</think><answer>closed</answer> done", "closed", False),
        ("<think>t</think><answer>a</answer><answer>b</answer>", "", False),
        ("<think>t</think><answer> </answer>", "", False),
        ("<think>t</think><answer>cut off", "", False),
        ("", "", False),
    ],
)
def test_predictions(text: str, answer: str, is_valid: bool) -> None:
    prediction = parse_prediction(text)
    assert (prediction.text, prediction.is_valid) == (answer, is_valid)
