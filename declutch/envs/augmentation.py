"""State information augmentation: any environment, with distractors beside its observations.

Liu et al. 2026 (arXiv:2601.18217, "Paying Less Generalization Tax: A Cross-Domain Generalization
Study of RL Training for LLM Agents") find that agents trained by reinforcement learning keep more
of their success in other domains where the states that they train in hold more information, and
that adding some is enough. In training, and not in evaluation, a short text without bearing on the
goal is put into the agent's observation; goal, actions, transitions and rewards stay those of the
original state (section 6). In ALFWorld these are made-up things at random places of the text, such
as "You notice a ... that looks ...": 16 to 25 of them an observation, in half of the trajectories
or in all (appendix C). Where little is known of a domain, observations of another one can be shown
in a frame. No code of the paper was to be found, so this is written from its text.

Taken from it are what is added and where, made-up things in households, quotations in a frame
elsewhere, and the share of one half. Decided here is:

- Where the texts come from: play in the training tasks of the suite itself, at random or by its
  guide. So every suite has some, and a model that knows no words but those of the suite can read
  them. The paper has lists for each domain, written by hand. A suite says what it offers by
  `Wording.excerpts`.
- What is irrelevant: a text that shares no telling word with the first observation, which states
  the task, with the current one, with what is carried and with the possible actions. That is about
  words: where the task asks for any animal, a rabbit passes. The paper's made-up things have
  numbers of their own, but may be of the kind that the goal asks for.
- Who shares them: a group of episodes has distractors as a whole or not at all, and the same state
  has the same ones in all of its episodes. The paper draws for each trajectory. But episodes of a
  group are compared as attempts from the same start, so that an advantage would pay for having been
  spared; and a loop should look like a loop, as it will in an evaluation.
- How many: four an observation by default, as prompts of models of a million parameters are short.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from declutch.envs.excerpts import Excerpt, are_related, telling_words
from declutch.envs.protocol import (
    Expert,
    HasGuide,
    LimitsLive,
    Observation,
    Suite,
    TextEnv,
    Transition,
    is_deterministic,
    start_env,
    wording_of,
)
from declutch.envs.wanderer import Wanderer
from declutch.ground.streams import derive_seed
from declutch.records import Distractor, TaskId

NUM_TASKS, NUM_HEAVY, NUM_STEPS = 32, 8, 10
"""How many training tasks are played for their texts, how many of a suite whose environments are so
heavy that it limits them, and for how many steps each."""


@dataclass(frozen=True)
class Augmentation:
    """What augmentation shows in an environment: which distractors, how many, and how often.

    Attributes:
        excerpts: what they are taken from.
        sentences: how many an observation gets, where there are as many that fit.
        probability: with which a group of episodes has any.
    """

    excerpts: tuple[Excerpt, ...]
    sentences: int
    probability: float

    def seed_of(self, seed: int, iteration: int, group: int) -> int | None:
        """The seed of a group's augmentation in its environments; None where it is to have none."""
        draw = random.Random(derive_seed(seed, "augmentation", iteration, group))
        if draw.random() >= self.probability:
            return None
        return derive_seed(seed, "distractors", iteration, group)

    def choose(
        self, draw: random.Random, first: frozenset[str], here: frozenset[str]
    ) -> tuple[Distractor, ...]:
        """Choose distractors for an augmentation of an environment's observation, as drawn.

        Args:
            first: the telling words of the first observation, which states the task.
            here: those of the current one, of what is carried and of what can be done.
        """
        found: list[Distractor] = []
        for excerpt in _in_drawn_order(self.excerpts, draw):
            if len(found) == self.sentences:
                break
            if _is_irrelevant(excerpt.names, first, here):
                found.append(Distractor(excerpt.text, excerpt.short, draw.random()))
        return tuple(found)


class AugmentedEnv:
    """An augmented environment: distractors beside its observations, and all else its own.

    Which ones an observation has is a function of the seed, of the first observation and of the
    observation itself, so that coming back shows the same again.

    Args:
        env: any live environment. What it has besides, such as an oracle, is passed on.
        augmentation: which distractors there are.
        seed: of what is drawn here, and of nothing else.
    """

    def __init__(self, env: TextEnv, augmentation: Augmentation, seed: int) -> None:
        self._env = env
        self._augmentation = augmentation
        self._seed = seed
        self._first: frozenset[str] = frozenset()

    def reset(self, task: TaskId, seed: int | None = None) -> Observation:
        """Start `task`; `seed` is for an environment in which chance plays a part."""
        seen = start_env(self._env, task, seed)
        self._first = telling_words(seen.text)
        return self._augment(seen)

    def step(self, action: str) -> Transition:
        """Play one action in the environment."""
        transition = self._env.step(action)
        return replace(transition, observation=self._augment(transition.observation))

    def close(self) -> None:
        """Free what the environment holds."""
        self._env.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def _augment(self, seen: Observation) -> Observation:
        identity = (seen.text, seen.inventory)
        draw = random.Random(derive_seed(self._seed, "observation", 0, *identity))
        here = telling_words(" ".join((*identity, *seen.admissible)))
        return replace(seen, distractors=self._augmentation.choose(draw, self._first, here))


def collect_excerpts(suite: Suite, split: str, seed: int) -> tuple[Excerpt, ...]:
    """Collect a suite's texts for augmentation: play for what may distract in other tasks.

    A suite with a guide is played by it, one without at random.

    Args:
        split: whose tasks are played: that of training, and no other.
        seed: the run's.
    Returns:
        no text twice; () where the suite's observations offer none.
    """
    tasks, find = suite.tasks(split), wording_of(suite).find_excerpts
    count = NUM_HEAVY if isinstance(suite, LimitsLive) else NUM_TASKS
    draw = random.Random(derive_seed(seed, "excerpts"))
    has_chance = not is_deterministic(suite)
    found: dict[str, Excerpt] = {}
    env = suite.make_env()
    try:
        for task in draw.sample(tasks, min(count, len(tasks))):
            own = derive_seed(seed, "excerpts", 0, task.name)
            player = suite.make_guide(own) if isinstance(suite, HasGuide) else Wanderer(own)
            chance = own % 2**31 if has_chance else None
            for excerpt in find(_look_about(env, task, player, chance)):
                found.setdefault(excerpt.text, excerpt)
    finally:
        env.close()
    return tuple(found.values())


def _look_about(env: TextEnv, task: TaskId, player: Expert, chance: int | None) -> tuple[str, ...]:
    """The observations of a player's first steps in a task, until it ends or offers no choice."""
    texts = []
    try:
        seen = start_env(env, task, chance)
        texts.append(seen.text)
        player.reset(task, seen)
        for _ in range(NUM_STEPS):
            advice = player.act() if seen.admissible else None
            if advice is None:
                break
            transition = env.step(advice.action)
            seen = transition.observation
            player.update(advice.action, seen)
            texts.append(seen.text)
            if transition.is_done:
                break
    # Whatever an environment raises will end an episode that is played later, and is counted then.
    except Exception:
        pass
    return tuple(texts)


def _in_drawn_order(excerpts: Sequence[Excerpt], draw: random.Random) -> Iterator[Excerpt]:
    """All of them in random order; of those that nobody asks for, the order is not drawn."""
    order = list(range(len(excerpts)))
    for place in range(len(order)):
        other = draw.randrange(place, len(order))
        order[place], order[other] = order[other], order[place]
        yield excerpts[order[place]]


def _is_irrelevant(names: frozenset[str], first: frozenset[str], here: frozenset[str]) -> bool:
    return names.isdisjoint(here) and not any(
        are_related(name, word) for name in names for word in first
    )
