"""Collect the words of a suite's games, which the tokenizer of a tiny model has to know.

Only words are taken from these plays, of all kinds of task: a word that the tokenizer lacks could
never be read, and none of the expert's choices reaches the model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from declutch.agent.prompt import render_agent
from declutch.cold_start.demonstrate import (
    DemonstrationPlan,
    play_demonstration,
    play_demonstrations,
)
from declutch.cold_start.demonstrations import DECLARED_SHARE, TRAIN_SPLIT, Demonstration
from declutch.cold_start.template_texts import list_advice
from declutch.cold_start.views import build_views
from declutch.config.section import Reasoning
from declutch.envs.protocol import Expert, HasExpert, HasGuide, Suite, held_out_kinds
from declutch.envs.wanderer import Wanderer
from declutch.envs.wording import Wording
from declutch.records import META_TAGS

HELD_OUT_SHARE = 1 / 3
"""Share of the plays whose kind of task is held out from training."""
PERTURB = 0.3
"""Probability of a random command, higher than in demonstrations, as it leads to more words."""
HISTORY_LENGTH = 6
"""Past actions in the prompts whose words are collected."""


def play_for_words(
    suite: Suite,
    num_episodes: int,
    max_steps: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Demonstration]:
    """Collect a tiny model's vocabulary: play games of every kind of task that a suite has.

    A suite with a guide is played by it, one without an expert at random.

    Args:
        num_episodes: on the training split; a third as many are added of kinds that it lacks.
        progress: called with (episodes done, num_episodes).
    """
    held_out = held_out_kinds(suite)
    kinds = {task.kind for task in suite.tasks(TRAIN_SPLIT)}
    plan = DemonstrationPlan(
        num_episodes,
        DECLARED_SHARE,
        held_out,
        share=HELD_OUT_SHARE if kinds.intersection(held_out) else 0.0,
        perturb=PERTURB,
        label_every=0,
        max_steps=max_steps,
        seed=seed,
    )
    make_expert = _choose_player(suite)
    plays = play_demonstrations(suite, plan, progress, make_expert)
    absent = set(held_out) - kinds
    if not absent:
        return plays
    tasks = [task for task in suite.tasks("L2") if task.kind in absent][: num_episodes // 3]
    draw = random.Random(f"{seed} held out")
    env = suite.make_env()
    try:
        return plays + [
            play_demonstration(env, make_expert(index), task, plan, draw)
            for index, task in enumerate(tasks)
        ]
    finally:
        env.close()


def _choose_player(suite: Suite) -> Callable[[int], Expert]:
    if isinstance(suite, HasGuide):
        return suite.make_guide
    return suite.make_expert if isinstance(suite, HasExpert) else Wanderer


def collect_texts(
    plays: Sequence[Demonstration], wording: Wording, reasoning: Reasoning = "think"
) -> Iterator[str]:
    """Collect the texts of a tiny model's vocabulary: prompts, commands, reasoning, advice.

    Args:
        plays: as `play_for_words` plays them.
        wording: the suite's words.
    """
    yield from list_advice(wording)
    yield "judge rule goal failed ; : , nothing"
    yield wording.words
    if reasoning == "meta":
        yield " ".join(META_TAGS)
    for play in plays:
        views = build_views(play, "compact", wording, reasoning)
        for view, step in zip(views, play.steps, strict=True):
            yield render_agent(view, "compact", HISTORY_LENGTH, wording, reasoning)
            yield from step.admissible
            yield step.short_thought
