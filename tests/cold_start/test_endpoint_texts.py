"""Texts of the cold start by a language model: what is asked, what is believed, what is counted."""

import json
from pathlib import Path

import pytest
from fake_chat import answer_by_text
from hypothesis import given
from hypothesis import strategies as st
from served import make_served_folder

from declutch.agent.codec import Codec
from declutch.agent.parse import parse_verdict
from declutch.cold_start.demonstrations import Demonstration, read_demonstrations
from declutch.cold_start.endpoint_texts import (
    CHUNK,
    CritiqueWriter,
    refuse_critique,
    refuse_reasoning,
    rewrite_reasoning,
)
from declutch.cold_start.examples import judge_examples
from declutch.cold_start.facts import read_cold_start
from declutch.cold_start.pipeline import make_demonstrations, run_sft
from declutch.cold_start.template_texts import critique_text
from declutch.config.files import change_config, parse_config
from declutch.config.policy import SFTConfig
from declutch.config.run import Config
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.envs.registry import make_suite
from declutch.errors import UserError
from declutch.streams import stream

GOOD = "<think>It has what it needs.</think><answer>\\boxed{1}</answer><advise>Go on.</advise>"
BAD = "<think>It goes astray.</think><answer>\\boxed{0}</answer><advise>Stay close.</advise>"
HERE = ("go to desk 1", "go to desk 10", "look", "take mug 1 from desk 1", "inventory")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    cache = tmp_path_factory.mktemp("games")
    return parse_config(
        {
            "threads": 1,
            "env": {
                "cache_dir": str(cache),
                "households": {"train": 24, "valid_seen": 6, "valid_unseen": 6},
            },
            "agent": {"prompt": "full", "constrain_actions": False, "max_response_tokens": 64},
            "endpoint": {"model": "sage"},
            "sft": {
                "num_episodes": 6,
                "perturb": 0.4,
                "epochs": 1,
                "judge_samples": 8,
                "future_samples": 5,
                "reasoning": "endpoint",
                "critiques": "endpoint",
            },
        },
        "test",
    )


@pytest.fixture(scope="module")
def demonstrations(config: Config, tmp_path_factory: pytest.TempPathFactory) -> list[Demonstration]:
    """As the templates word them."""
    path = tmp_path_factory.mktemp("demonstrations") / "demonstrations.jsonl"
    plain = config.model_copy(
        update={"sft": config.sft.model_copy(update={"reasoning": "template"})}
    )
    make_demonstrations(plain, make_suite(config.env), path)
    return read_demonstrations(path)[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I need the mug, so I go to desk 1.", ""),
        ("Desk 1 is not seen yet. GO TO the DESK 1!", ""),
        ("I look around: what next?", ""),  # a command of one word is a word like any other
        ('I say: "desk 1 it is."', ""),
        (None, "unanswered"),
        (" \n", "empty"),
        ("<think>I go to desk 1.</think>", "tags"),
        ("The verdict is \\boxed{1}.", "tags"),
        ("I go to", "unfinished"),
        ("I could go to desk 10.", "other action"),
        ("I take a mug 1 from the desk 1.", "other action"),
    ],
)
def test_what_is_refused_as_reasoning(text: str | None, reason: str) -> None:
    assert refuse_reasoning(text, "go to desk 1", HERE) == reason


@pytest.mark.parametrize(
    ("text", "label", "form", "reason"),
    [
        (GOOD, 1, "gc", ""),
        (BAD, 0, "gc", ""),
        (GOOD, 0, "gc", "other verdict"),
        (BAD, 1, "gc", "other verdict"),
        (None, 1, "gc", "unanswered"),
        ("", 1, "gc", "empty"),
        ("\\boxed{1}", 1, "gc", "unreadable"),
        (GOOD.replace("It has what it needs.", ""), 1, "gc", "unreadable"),
        (GOOD.replace("1", "1}\\boxed{0"), 1, "gc", "unreadable"),
        (BAD, 0, "rm", "unreadable"),
        (BAD.replace("<advise>", "<action>look</action><advise>"), 0, "rm", ""),
        (BAD.replace("<advise>", "<action>look</action><advise>"), 0, "gc", "unreadable"),
        (GOOD, 1, "rm", ""),
    ],
)
def test_what_is_refused_as_a_critique(text: str | None, label: int, form, reason: str) -> None:
    assert refuse_critique(text, label, form) == reason


@given(st.text(), st.sampled_from(HERE), st.sampled_from((0, 1)))
def test_no_text_breaks_the_checks(text: str, action: str, label: int) -> None:
    if not refuse_reasoning(text, action, HERE):
        assert text.strip()
        assert "</" not in text or "<" not in text.partition("</")[0]
    assert refuse_critique(text, label, "gc")


def test_the_thoughts_are_rewritten_and_nothing_else(demonstrations: list[Demonstration]) -> None:
    chat, told = answer_by_text(lambda prompt: " I see\nwhat to do. "), []
    done = rewrite_reasoning(
        demonstrations, chat, SFTConfig(), 6, HOUSEHOLD, lambda a, b: told.append((a, b))
    )
    steps = [step for episode in demonstrations for step in episode.steps]
    assert len(chat.asked) == len(steps) > CHUNK
    assert told == [(min(n + CHUNK, len(steps)), len(steps)) for n in range(0, len(steps), CHUNK)]
    assert not done.fallbacks
    for before, after in zip(demonstrations, done.episodes, strict=True):
        assert {step.thought for step in after.steps} == {"I see what to do."}
        for old, new in zip(before.steps, after.steps, strict=True):
            assert {**vars(new), "thought": old.thought} == vars(old)
    for step, request in zip(steps, chat.asked, strict=True):
        ((role, prompt),) = request.messages
        assert role == "user"
        assert f"Its next action: {step.expert_action}\n" in prompt
        assert " ".join(step.observation.split()) in prompt
        assert step.thought not in prompt


def test_what_does_not_fit_falls_back_and_is_counted(demonstrations: list[Demonstration]) -> None:
    replies = [None, "", "<action>look</action>", "Half of", "I see."]
    given = iter(replies * 1000)
    done = rewrite_reasoning(
        demonstrations, answer_by_text(lambda prompt: next(given)), SFTConfig(), 6, HOUSEHOLD
    )
    steps = [step for episode in demonstrations for step in episode.steps]
    rewritten = [step for episode in done.episodes for step in episode.steps]
    for index, (old, new) in enumerate(zip(steps, rewritten, strict=True)):
        assert new.thought == ("I see." if index % 5 == 4 else old.thought)
    counts = [len(range(first, len(steps), 5)) for first in range(4)]
    assert done.fallbacks == dict(
        zip(("unanswered", "empty", "tags", "unfinished"), counts, strict=True)
    )


def test_an_endpoint_that_is_down_is_one_clear_error(
    config: Config, demonstrations: list[Demonstration], tmp_path: Path
) -> None:
    chat = answer_by_text(lambda prompt: None)
    with pytest.raises(UserError, match=r"none of \d+ questions \(it is down\)"):
        make_demonstrations(
            config, make_suite(config.env), tmp_path / "demonstrations.jsonl", chat=chat
        )
    assert list(tmp_path.iterdir()) == []
    assert len(chat.asked) == CHUNK  # the first chunk is enough to know


def test_the_whole_cold_start_says_who_wrote_what(config: Config, tmp_path: Path) -> None:
    suite, path = make_suite(config.env), tmp_path / "demonstrations.jsonl"
    odd = iter([True, False] * 1000)
    header = make_demonstrations(
        config, suite, path, chat=answer_by_text(lambda p: "I know why." if next(odd) else "I")
    )
    assert header.reasoning == "endpoint sage"
    assert header.fallbacks == {"unfinished": header.num_steps // 2}
    assert read_demonstrations(path)[0] == header
    assert json.loads(path.read_text().splitlines()[0])["reasoning"] == "endpoint sage"
    model = make_served_folder(tmp_path / "tiny")
    config = change_config(config, model={"path": str(model)})
    judge = answer_by_text(lambda prompt: GOOD)
    facts = run_sft(config, path, tmp_path / "cold", chat=judge)
    assert facts.num_judge_examples == len(judge.asked) == 8
    assert facts.num_future_examples == 5
    assert (facts.reasoning, facts.critiques) == ("endpoint sage", "endpoint sage")
    assert facts.reasoning_fallbacks == header.fallbacks
    assert facts.critique_fallbacks == {"other verdict": 4}
    assert read_cold_start(tmp_path / "cold") == facts
    plain = config.model_copy(
        update={"sft": config.sft.model_copy(update={"reasoning": "template"})}
    )
    with pytest.raises(UserError, match=r"worded by endpoint sage.*sft\.reasoning=template"):
        run_sft(plain, path, tmp_path / "none", chat=judge)
    with pytest.raises(UserError, match="templates alone"):
        run_sft(config, path, tmp_path / "none")


class _Words:
    """A tokenizer that keeps texts as they are."""

    chat_template = eos_token = pad_token = eos_token_id = None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(letter) for letter in text]


def test_critiques_are_kept_where_they_reach_the_label(demonstrations: list[Demonstration]) -> None:
    codec = Codec(_Words(), "full", HOUSEHOLD)
    critique_writer = CritiqueWriter(answer_by_text(lambda prompt: BAD), SFTConfig(), "gc")
    plain = judge_examples(demonstrations, codec, 6, 10, stream(0, "x"))
    written = judge_examples(
        demonstrations, codec, 6, 10, stream(0, "x"), critique_writer=critique_writer
    )
    assert critique_writer.fallbacks == {"other verdict": 5}
    texts = ["".join(map(chr, example.response_ids.tolist())) for example in written]
    for text, before, after in zip(texts, plain, written, strict=True):
        assert before.prompt_ids.tolist() == after.prompt_ids.tolist()
        template = "".join(map(chr, before.response_ids.tolist()))
        assert text == (BAD if parse_verdict(template).value == 0 else template)


def test_the_templates_pass_their_own_checks(demonstrations: list[Demonstration]) -> None:
    for episode in demonstrations:
        for step in episode.steps:
            assert not refuse_reasoning(step.thought, step.expert_action, step.admissible)
            for label in (0, 1):
                words = (step.short_thought, step.expert_action, step.thought)
                for form in ("gc", "rm"):
                    text = critique_text("full", label, *words, HOUSEHOLD, form)
                    assert not refuse_critique(text, label, form)


def test_a_compact_prompt_has_no_words_for_it() -> None:
    for key in ("reasoning", "critiques"):
        with pytest.raises(UserError, match=rf"sft\.{key}=endpoint needs agent\.prompt=full"):
            parse_config({"sft": {key: "endpoint"}}, "test")
