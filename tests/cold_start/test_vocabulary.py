"""The words of a tiny model: from plays of every kind of task, and of the advice it may read."""

from dataclasses import replace

from demonstrating import Material

from declutch.agent.prompt import build_view, render_agent
from declutch.cold_start.template_texts import list_advice
from declutch.cold_start.tiny import train_tokenizer
from declutch.cold_start.vocabulary import collect_texts, play_for_words
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.envs.protocol import Suite, TextEnv, held_out_kinds
from declutch.records import TaskId


class Lacking:
    """A suite whose training split lacks the kinds of task that are held out."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self.name = suite.name
        self.held_out_kinds = held_out_kinds(suite)

    def tasks(self, split: str) -> tuple[TaskId, ...]:
        kinds = self.held_out_kinds
        is_training = split == "train"
        return tuple(t for t in self._suite.tasks("train") if (t.kind in kinds) != is_training)

    def make_env(self) -> TextEnv:
        return self._suite.make_env()


def test_words_come_from_every_kind_of_task(material: Material) -> None:
    told: list[tuple[int, int]] = []
    plays = play_for_words(material.suite, 12, 8, 3, lambda done, all_: told.append((done, all_)))
    held_out = held_out_kinds(material.suite)
    assert sum(play.task.kind in held_out for play in plays) == 4
    assert told == [(number, 12) for number in range(1, 13)]
    assert all(step.label_expert is None for play in plays for step in play.steps)
    assert max(len(play.steps) for play in plays) == 8


def test_kinds_that_the_training_split_lacks_are_played_as_well(material: Material) -> None:
    # Without an expert, the games are played at random.
    suite = Lacking(material.suite)
    plays = play_for_words(suite, 6, 5, 3)
    kinds = [play.task.kind in suite.held_out_kinds for play in plays]
    assert kinds == [False] * 6 + [True] * 2
    texts = list(collect_texts(plays, HOUSEHOLD))
    assert all(command in texts for play in plays for command in play.steps[-1].admissible)


def test_suggestions_of_template_advice_are_words_a_tiny_model_knows() -> None:
    tokenizer = train_tokenizer(collect_texts([], HOUSEHOLD))
    suggestions = list_advice(HOUSEHOLD)
    intro = "You are in a room. Your task is to: put a clean mug in desk."
    view = build_view([intro], [], "", ())
    text = render_agent(replace(view, suggestions=suggestions), "compact", 6, wording=HOUSEHOLD)
    added = text[text.index(" rule ") : text.index(" did ")]
    assert added == "".join(f" rule {each}" for each in suggestions)
    ids = tokenizer.encode(added, add_special_tokens=False)
    assert len(ids) == len(added.split())
    assert tokenizer.unk_token_id not in ids
