"""Advice to suggestions: what is collected, what is asked, what is taken of replies."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from builders import make_demonstration_step
from fake_chat import FakeChat
from hypothesis import given
from hypothesis import strategies as st

from declutch.agent.codec import Codec
from declutch.cold_start.template_texts import list_advice, write_critique
from declutch.cold_start.tiny import train_tokenizer
from declutch.config.judge import SuggestionsConfig
from declutch.endpoint.chat import ChatReply, ChatRequest
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.ground.errors import UserError
from declutch.judge.questions import Question
from declutch.judge.round import JudgeRound
from declutch.judge.suggestions import (
    Advice,
    SuggestionsVersion,
    Theme,
    collect_advice,
    find_themes,
    make_suggestions,
    parse_suggestion,
    render_theme,
    select_advice,
)
from declutch.judge.themes import load_embedder
from declutch.records import Action, Episode, Outcome, Role, Step, TaskId, empty_float

GOLDEN = Path(__file__).parents[1] / "golden"
EMBED = load_embedder("tfidf")
SEARCH, KEEP = "search places not seen yet", "keep to places not seen yet"
OPEN, FIRST = "open what is closed", "open what is closed first"
PLACE = "bring the object to its place"
GIVEN = [SEARCH] * 4 + [KEEP] * 3 + [OPEN] * 2 + [FIRST] + [PLACE] * 5


def advise(texts: Sequence[str], verdict: int = 1, label: int = 1) -> list[Advice]:
    return [Advice(text, 3, "game", 0, step, verdict, label) for step, text in enumerate(texts)]


def suggest(
    config: SuggestionsConfig,
    chat: Callable[[ChatRequest], ChatReply] | None = None,
    texts: Sequence[str] = GIVEN,
    former: tuple[str, ...] = ("former",),
) -> SuggestionsVersion:
    asked = None if chat is None else FakeChat(chat)
    return make_suggestions(advise(texts), 10, former, config, EMBED, asked)


# What is collected


def judge_round(responses: Sequence[str], codec: Codec, label: int) -> JudgeRound:
    question = Question(1, 2, label, str(label), "prompt")
    action = Action("", "", "", True, True)
    episodes = []
    for response in responses:
        ids = codec.encode_prompt(response)
        step = Step("", "", (), action, ids, ids, empty_float(), 0.0)
        task = TaskId("judge", "train", 0, "question 0")
        episodes.append(Episode(task, 0, Role.JUDGE, (step,), Outcome.FAILED, 0.0))
    return JudgeRound((question,), tuple(episodes), (), (), None)


def test_readable_advice_is_collected_with_where_it_came_from() -> None:
    codec = Codec(train_tokenizer([*list_advice(HOUSEHOLD), "find mug go"]), "compact", HOUSEHOLD)
    step = make_demonstration_step("find mug", "go")
    good = write_critique(step, 1, "compact", HOUSEHOLD)
    responses = [
        good,
        write_critique(step, 0, "compact", HOUSEHOLD),
        "find mug",
        good.replace(KEEP, ""),
        good.replace("\\boxed{1}", "mug"),
        good.replace(KEEP, "keep \\boxed{0}"),
        good.replace(KEEP, "keep <unk> closed"),
    ]
    played = [
        Episode(TaskId("s", "train", i, name), i, Role.AGENT, (), Outcome.WON, 1.0)
        for i, name in enumerate(["one", "two"])
    ]
    found = collect_advice(judge_round(responses, codec, 1), played, codec, 7)
    place = {"iteration": 7, "task": "two", "episode": 1, "step": 2, "label": 1}
    assert found == [
        Advice(text=KEEP, verdict=1, **place),
        Advice(text=SEARCH, verdict=0, **place),
    ]
    assert [a.text for a in select_advice(found, SuggestionsConfig())] == [KEEP]
    assert select_advice(found, SuggestionsConfig(advice_from="all")) == found
    assert select_advice(found, SuggestionsConfig(advice_from="all", max_words=4)) == []


# Themes and suggestions


def test_each_theme_is_summed_up_by_its_most_given_sentence() -> None:
    made = suggest(SuggestionsConfig())
    assert [(len(t.advice), t.suggestion) for t in made.themes] == [
        (7, SEARCH),
        (5, PLACE),
        (3, OPEN),
    ]
    assert made.suggestions == (SEARCH, PLACE, OPEN)
    assert [t.source for t in made.themes] == ["medoid"] * 3
    assert made.num_advice == 15
    assert made.silhouette is not None
    assert made.note == ""
    assert [a.text for a in made.themes[2].advice] == [OPEN, OPEN, FIRST]


def test_order_of_themes_does_not_depend_on_the_order_of_advice() -> None:
    assert suggest(SuggestionsConfig(), texts=GIVEN[::-1]).suggestions == (SEARCH, PLACE, OPEN)


def test_suggestions_are_capped_and_the_rest_says_so() -> None:
    made = suggest(SuggestionsConfig(max_suggestions=2))
    assert made.suggestions == (SEARCH, PLACE)
    assert [t.left_out for t in made.themes] == ["", "", "beyond max_suggestions"]


def test_a_theme_with_next_to_no_advice_gives_no_suggestion() -> None:
    made = suggest(SuggestionsConfig(min_share=0.3))
    assert made.suggestions == (SEARCH, PLACE)
    assert [t.left_out for t in made.themes] == ["", "", "too little advice"]
    script = FakeChat(by_theme)
    ask = ASK.model_copy(update={"min_share": 0.3})
    assert len(make_suggestions(advise(GIVEN), 10, (), ask, EMBED, script).themes) == 3
    assert len(script.asked) == 2


def test_the_suggestions_stay_where_every_theme_is_too_small() -> None:
    made = suggest(SuggestionsConfig(min_share=0.9))
    assert made.suggestions == ("former",)
    assert made.note == "no theme has enough advice, and the suggestions stay"


def test_a_suggestion_that_repeats_a_larger_theme_is_left_out() -> None:
    # Two sentences are two themes; they differ by one word of many.
    texts = ["open what is closed at once"] * 2 + ["open what is closed at once now"]
    assert len(suggest(SuggestionsConfig(), texts=texts).suggestions) == 2
    made = suggest(SuggestionsConfig(max_similarity=0.6), texts=texts)
    assert made.suggestions == (texts[0],)
    assert made.themes[1].left_out == "says the same as a suggestion above"


def test_without_advice_the_suggestions_stay() -> None:
    made = suggest(SuggestionsConfig(), texts=[])
    assert made.suggestions == ("former",)
    assert "the suggestions stay" in made.note


@given(st.lists(st.sampled_from(list_advice(HOUSEHOLD)), max_size=40), st.integers(1, 4))
def test_suggestions_are_sentences_that_were_given(texts: list[str], max_suggestions: int) -> None:
    made = suggest(SuggestionsConfig(max_suggestions=max_suggestions), texts=texts, former=())
    assert len(made.suggestions) <= max_suggestions
    assert set(made.suggestions) <= set(texts)
    assert sorted(a.text for t in made.themes for a in t.advice) == sorted(texts)
    assert bool(made.suggestions) == bool(texts)


def test_the_most_frequent_sentences_are_kept_where_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("declutch.judge.suggestions.MAX_SENTENCES", 2)
    themes, _ = find_themes(advise(GIVEN), EMBED, 12)
    assert [t.medoid for t in themes] == [PLACE, SEARCH]


# The endpoint


def said(suggestion: str) -> ChatReply:
    return ChatReply(f"<think>Much alike.</think><rule>{suggestion}</rule>")


def by_theme(request: ChatRequest) -> ChatReply:
    """Suggestions that differ, and name the theme asked about."""
    text = request.messages[0][1]
    theme = next(name for name in (SEARCH, PLACE, OPEN) if f"theme: {name}\n" in text)
    return said(f"Golden: {theme}")


ASK = SuggestionsConfig(enabled=True, distill="endpoint")


def test_the_question_is_golden() -> None:
    theme = Theme(SEARCH, tuple(advise([SEARCH, SEARCH, KEEP, "Look in {new} places."])))
    text = render_theme(theme, 40)
    assert text == (GOLDEN / "sum_up_theme.txt").read_text(encoding="utf-8")


def test_each_theme_is_asked_about_once_and_its_suggestion_taken() -> None:
    script = FakeChat(by_theme)
    made = make_suggestions(advise(GIVEN), 10, (), ASK, EMBED, script)
    assert made.suggestions == tuple(f"Golden: {name}" for name in (SEARCH, PLACE, OPEN))
    assert {t.source for t in made.themes} == {"endpoint"}
    assert made.num_failures == 0
    first = script.asked[0]
    assert len(script.asked) == 3
    assert first.temperature == 0
    assert first.max_tokens == 1024
    assert f"- {SEARCH}\n- {KEEP}\n" in first.messages[0][1]


def fails_on_search(request: ChatRequest) -> ChatReply:
    reply = by_theme(request)
    return ChatReply(None, "timed out") if SEARCH in str(reply.text) else reply


def nonsense(request: ChatRequest) -> ChatReply:
    return ChatReply("I cannot help with that.")


def test_skip_leaves_out_the_themes_that_failed() -> None:
    made = suggest(ASK, fails_on_search)
    assert made.suggestions == (f"Golden: {PLACE}", f"Golden: {OPEN}")
    assert made.themes[0].left_out == "no suggestion: timed out"
    assert (
        made.note
        == "the endpoint gave no suggestion for 1 of 3 themes (timed out): they are left out"
    )
    assert made.num_failures == 1


def test_skip_keeps_the_former_suggestions_where_all_failed() -> None:
    made = suggest(ASK, nonsense)
    assert made.suggestions == ("former",)
    assert made.note.endswith("(unreadable reply): they are left out, and the suggestions stay")
    assert made.num_failures == 3


def test_fallback_takes_the_medoid_of_what_failed() -> None:
    made = suggest(ASK.model_copy(update={"on_endpoint_failure": "fallback"}), fails_on_search)
    assert made.suggestions == (SEARCH, f"Golden: {PLACE}", f"Golden: {OPEN}")
    assert [t.source for t in made.themes] == ["medoid", "endpoint", "endpoint"]
    assert made.note.endswith("their central sentences are taken")


def test_stop_stops() -> None:
    with pytest.raises(UserError, match=r"iteration 10: .*1 of 3 themes"):
        suggest(ASK.model_copy(update={"on_endpoint_failure": "stop"}), fails_on_search)


@pytest.mark.parametrize(
    ("reply", "suggestion"),
    [
        ("<think>a</think><rule>Look\n twice.</rule>", "Look twice."),
        ("<think>a <rule>one</rule></think><rule>two</rule>", ""),
        ("<rule>one</rule", ""),
        ("<rule>  </rule>", ""),
        ("<rule>say <action>go</action></rule>", ""),
        ("<rule>a b c d e</rule>", ""),
        ("<rule>123 !</rule>", ""),
        ("", ""),
    ],
)
def test_suggestions_are_read_or_not_taken(reply: str, suggestion: str) -> None:
    assert parse_suggestion(reply, 4) == suggestion


@given(st.text(alphabet=st.sampled_from("<>/rule athink\n\\{}"), max_size=60))
def test_nothing_an_endpoint_says_crashes_or_carries_markup(text: str) -> None:
    suggestion = parse_suggestion(text, 5)
    assert not set("<>\\") & set(suggestion)
    made = suggest(ASK, lambda _: ChatReply(text))
    assert made.suggestions
