"""Play demonstrations of a suite's expert, the data that a cold start is trained on.

With some probability a random command is played in the expert's place, so that the data hold states
that the expert alone would never see. What is to be learned at every step stays the expert's own
action there.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from declutch.cold_start.demonstrations import (
    DECLARED_SHARE,
    FORMAT,
    PROTOCOLS,
    STRICT,
    TEMPLATE,
    TRAIN_SPLIT,
    Demonstration,
    DemonstrationsHeader,
    DemonstrationStep,
)
from declutch.envs.protocol import (
    Expert,
    Oracle,
    Suite,
    TextEnv,
    draw_command,
    is_deterministic,
    new_expert,
    start_env,
)
from declutch.envs.splits import manifest_hash
from declutch.ground.errors import UserError
from declutch.records import TaskId


@dataclass(frozen=True)
class DemonstrationPlan:
    """The plan to demonstrate tasks by: how many demonstrations, of which tasks, and how.

    Attributes:
        num_episodes: how many.
        protocol: "strict" (no held-out kind) or "declared-share" (`share` of the episodes).
        held_out_kinds: the kinds of task that the protocol is about.
        share: share of episodes of held-out kinds, in [0, 1]; not used under "strict".
        perturb: probability in [0, 1] of a random command in the expert's place.
        label_every: how many steps lie between one that the oracle labels and the next; 0 for no
            labels.
        max_steps: actions after which an episode is given up. It is kept, as not won; so is one
            that the expert knows no way to win any more, up to there.
        seed: of the tasks, the perturbation and the expert's wording.
        kinds: the kinds of task to demonstrate; None for all that the protocol allows.
        is_deterministic: whether chance plays no part in the environments.
    """

    num_episodes: int
    protocol: str
    held_out_kinds: tuple[str, ...]
    share: float = 0.05
    perturb: float = 0.2
    label_every: int = 1
    max_steps: int = 30
    seed: int = 0
    kinds: tuple[str, ...] | None = None
    is_deterministic: bool = True


def play_demonstrations(
    suite: Suite,
    plan: DemonstrationPlan,
    progress: Callable[[int, int], None] | None = None,
    make_expert: Callable[[int], Expert] | None = None,
) -> list[Demonstration]:
    """Demonstrate a suite's training tasks: play them as its expert would, for a cold start.

    Args:
        progress: called with (episodes done, episodes).
        make_expert: makes the expert of an episode from a seed; None takes the suite's own.
    Raises:
        UserError: a plan that makes no sense, a held-out kind asked for under "strict", no task of
            an asked kind, or no expert.
    """
    _check_plan(plan)
    plan = replace(plan, is_deterministic=is_deterministic(suite))
    drawn = _draw_tasks(_select_tasks(suite.tasks(TRAIN_SPLIT), plan), plan)
    episodes: list[Demonstration] = []
    env = suite.make_env()
    try:
        for index, task in enumerate(drawn):
            draw = random.Random(f"{plan.seed} {index} {task.name}")
            number = plan.seed + index
            expert = make_expert(number) if make_expert else new_expert(suite, number)
            episodes.append(play_demonstration(env, expert, task, plan, draw))
            if progress is not None:
                progress(index + 1, plan.num_episodes)
    finally:
        env.close()
    return episodes


def play_demonstration(
    env: TextEnv, expert: Expert, task: TaskId, plan: DemonstrationPlan, draw: random.Random
) -> Demonstration:
    """Demonstrate one task: play it as the expert would, with a random command now and then."""
    # Drawn only where there is chance, so that any other demonstrations stay the same.
    chance = None if plan.is_deterministic else draw.randrange(2**31)
    observation = start_env(env, task, chance)
    expert.reset(task, observation)
    steps: list[DemonstrationStep] = []
    won = is_done = False
    while not is_done and len(steps) < plan.max_steps:
        advice = expert.act()
        if advice is None:
            break
        other = draw_command(observation.admissible, draw, besides=advice.action)
        action = advice.action
        if other is not None and draw.random() < plan.perturb:
            action = other
        # The labelled positions are shifted from task to task, so that none is never labelled.
        every = plan.label_every
        is_labelled = every > 0 and (len(steps) + task.index) % every == 0
        oracle = env if is_labelled and isinstance(env, Oracle) else None
        steps.append(
            DemonstrationStep(
                observation=observation.text,
                inventory=observation.inventory,
                admissible=observation.admissible,
                action=action,
                expert_action=advice.action,
                other_action=other,
                thought=advice.thought,
                short_thought=advice.short_thought,
                is_perturbed=action != advice.action,
                label_expert=oracle.label_action(advice.action) if oracle else None,
                label_other=oracle.label_action(other) if oracle and other is not None else None,
            )
        )
        transition = env.step(action)
        observation, won, is_done = transition.observation, transition.is_won, transition.is_done
        expert.update(action, observation)
    return Demonstration(task, won, tuple(steps), observation.text)


def describe_demonstrations(
    suite: Suite,
    plan: DemonstrationPlan,
    episodes: Sequence[Demonstration],
    author: str = TEMPLATE,
    fallbacks: Mapping[str, int] | None = None,
) -> DemonstrationsHeader:
    """Describe how a plan's demonstrations were demonstrated, for the header of their file.

    Args:
        author: who worded the reasoning: "template", or "endpoint" and the model's name.
        fallbacks: steps of an endpoint's that kept the template's reasoning, by reason.
    """
    return DemonstrationsHeader(
        format=FORMAT,
        protocol=plan.protocol,
        suite=suite.name,
        split=TRAIN_SPLIT,
        seed=plan.seed,
        perturb=plan.perturb,
        max_steps=plan.max_steps,
        share=_held_out_share(plan),
        held_out_kinds=tuple(sorted(plan.held_out_kinds)),
        num_episodes=len(episodes),
        num_steps=sum(len(episode.steps) for episode in episodes),
        num_won=sum(episode.won for episode in episodes),
        kinds=dict(sorted(Counter(episode.task.kind for episode in episodes).items())),
        manifest=manifest_hash(suite.tasks(TRAIN_SPLIT)),
        reasoning=author,
        fallbacks=fallbacks or {},
        label_every=plan.label_every,
    )


def difference_from_plan(
    header: DemonstrationsHeader, suite: Suite, plan: DemonstrationPlan
) -> tuple[str, Any, Any] | None:
    """Where a plan to demonstrate differs first from the demonstrations that there are."""
    wanted = describe_demonstrations(suite, plan, ())
    for name in PLANNED:
        there, here = getattr(header, name), getattr(wanted, name)
        if name == "num_episodes":
            here = plan.num_episodes
        # Files of the version before do not say how often they are labelled.
        if there != here and there is not None:
            return name, there, here
    return None


PLANNED = (
    *("suite", "num_episodes", "protocol", "share", "held_out_kinds"),
    *("seed", "perturb", "max_steps", "label_every", "manifest"),
)
"""What the header of demonstrations says that the settings and the suite decide."""


def _held_out_share(plan: DemonstrationPlan) -> float:
    return plan.share if plan.protocol == DECLARED_SHARE else 0.0


def _check_plan(plan: DemonstrationPlan) -> None:
    if plan.protocol not in PROTOCOLS:
        raise UserError(f"unknown protocol {plan.protocol!r}; choose one of {', '.join(PROTOCOLS)}")
    for name, number in (("num_episodes", plan.num_episodes), ("max_steps", plan.max_steps)):
        if number < 1:
            raise UserError(f"{name} is {number}; it must be at least 1")
    for name, value in (("share", plan.share), ("perturb", plan.perturb)):
        if not 0.0 <= value <= 1.0:
            raise UserError(f"{name} is {value}; it must be between 0 and 1")


def _select_tasks(tasks: Sequence[TaskId], plan: DemonstrationPlan) -> list[TaskId]:
    """The tasks that may be demonstrated. Raises UserError for a kind that may not, or is not."""
    present = {task.kind for task in tasks}
    held_out = set(plan.held_out_kinds)
    if plan.kinds is None:
        allowed = present if plan.protocol == DECLARED_SHARE else present - held_out
        return [task for task in tasks if task.kind in allowed]
    for kind in plan.kinds:
        if kind not in present:
            raise UserError(
                f"no training task of kind {kind!r}; there are {', '.join(sorted(present))}"
            )
        if plan.protocol == STRICT and kind in held_out:
            raise UserError(
                f"protocol 'strict' allows no demonstration of {kind!r}, which is held out; leave "
                "it out, or choose the protocol 'declared-share'"
            )
    return [task for task in tasks if task.kind in plan.kinds]


def _draw_tasks(tasks: Sequence[TaskId], plan: DemonstrationPlan) -> list[TaskId]:
    """Tasks in random order, each as often as any other of its pool, give or take one."""
    draw = random.Random(f"{plan.seed} tasks")
    held_out = sorted(plan.held_out_kinds)
    num_held_out = round(_held_out_share(plan) * plan.num_episodes)
    pools = (
        ([task for task in tasks if task.kind not in held_out], plan.num_episodes - num_held_out),
        ([task for task in tasks if task.kind in held_out], num_held_out),
    )
    drawn: list[TaskId] = []
    for pool, number in pools:
        if number and not pool:
            which = "held-out" if pool is pools[1][0] else "other than held-out"
            raise UserError(
                f"{number} demonstrations of {which} kinds are asked for, but the training split "
                f"has no such task; held out are {', '.join(held_out) or 'none'}"
            )
        for start in range(0, number, max(1, len(pool))):
            drawn += draw.sample(pool, min(len(pool), number - start))
    draw.shuffle(drawn)
    return drawn
