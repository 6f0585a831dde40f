"""Demonstrations of a suite's expert.

With some probability a random command is played in the expert's place, so that the data hold
states off its path; what is to be learned at every step stays the expert's own action there.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

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
    dump_episode,
    dump_header,
)
from declutch.cold_start.endpoint_texts import Rewritten
from declutch.envs.protocol import (
    Expert,
    Oracle,
    Suite,
    TextEnv,
    draw_command,
    new_expert,
)
from declutch.envs.splits import manifest_hash
from declutch.errors import UserError
from declutch.files import write_atomically
from declutch.records import TaskId


def write_demonstrations(
    suite: Suite,
    out_path: Path,
    num_episodes: int,
    protocol: str,
    held_out_kinds: Sequence[str],
    *,
    share: float = 0.05,
    perturb: float = 0.2,
    label_every: int = 1,
    max_steps: int = 30,
    seed: int = 0,
    kinds: Sequence[str] | None = None,
    make_expert: Callable[[int], Expert] | None = None,
    progress: Callable[[int, int], None] | None = None,
    rewrite: Callable[[Sequence[Demonstration]], Rewritten] | None = None,
    author: str = TEMPLATE,
) -> DemonstrationsHeader:
    """Play demonstrations on the training split and write them to `out_path`.

    The same arguments give the same bytes; the file appears only once it is complete.

    Args:
        protocol: "strict" (no held-out kind) or "declared-share" (`share` of the episodes).
        share: share of episodes of held-out kinds, in [0, 1]; ignored under "strict".
        perturb: probability in [0, 1] of a random command in the expert's place.
        label_every: steps from one that the oracle labels to the next; 0 for no labels.
        max_steps: actions after which an episode is given up. It is kept, as not won, and so is one
            that the expert knows no way to win any more, up to there.
        kinds: kinds to demonstrate; None for all that the protocol allows.
        make_expert: a new expert from a seed for its wording; None takes the suite's own.
        progress: called with (episodes done, num_episodes).
        rewrite: words the reasoning anew; None keeps the expert's.
        author: who did.
    Raises:
        UserError: an argument that makes no sense, a held-out kind asked for under "strict", no
            task of an asked kind, no expert, or a disk that refuses.
    """
    _check_arguments(num_episodes, protocol, share, perturb, max_steps)
    tasks = suite.tasks(TRAIN_SPLIT)
    held_out = tuple(sorted(held_out_kinds))
    share = share if protocol == DECLARED_SHARE else 0.0
    usable = _select_kinds(tasks, kinds, protocol, held_out)
    drawn = _draw_tasks(usable, held_out, num_episodes, share, seed)
    episodes: list[Demonstration] = []
    env = suite.make_env()
    try:
        for index, task in enumerate(drawn):
            draw = random.Random(f"{seed} {index} {task.name}")
            number = seed + index
            expert = make_expert(number) if make_expert else new_expert(suite, number)
            episodes.append(
                play_demonstration(env, expert, task, draw, perturb, max_steps, label_every)
            )
            if progress is not None:
                progress(index + 1, num_episodes)
    finally:
        env.close()
    written = rewrite(episodes) if rewrite is not None else Rewritten(tuple(episodes), {})
    header = DemonstrationsHeader(
        format=FORMAT,
        protocol=protocol,
        suite=suite.name,
        split=TRAIN_SPLIT,
        seed=seed,
        perturb=perturb,
        max_steps=max_steps,
        share=share,
        held_out_kinds=held_out,
        num_episodes=num_episodes,
        num_steps=sum(len(episode.steps) for episode in episodes),
        num_won=sum(episode.won for episode in episodes),
        kinds=dict(sorted(Counter(task.kind for task in drawn).items())),
        manifest=manifest_hash(tasks),
        reasoning=author,
        fallbacks=written.fallbacks,
    )
    lines = [dump_episode(episode) for episode in written.episodes]
    write_atomically(out_path, "\n".join([dump_header(header), *lines, ""]))
    return header


def play_demonstration(
    env: TextEnv,
    expert: Expert,
    task: TaskId,
    draw: random.Random,
    perturb: float,
    max_steps: int,
    label_every: int = 1,
) -> Demonstration:
    """Play one demonstration; see `write_demonstrations`."""
    observation = env.reset(task)
    expert.reset(task, observation)
    steps: list[DemonstrationStep] = []
    won = is_done = False
    while not is_done and len(steps) < max_steps:
        advice = expert.act()
        if advice is None:
            break
        other = draw_command(observation.admissible, draw, besides=advice.action)
        action = advice.action
        if other is not None and draw.random() < perturb:
            action = other
        # Shifted from task to task, so that no position is left out.
        is_labelled = label_every > 0 and (len(steps) + task.index) % label_every == 0
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


def _check_arguments(
    num_episodes: int, protocol: str, share: float, perturb: float, max_steps: int
) -> None:
    if protocol not in PROTOCOLS:
        raise UserError(f"unknown protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}")
    for name, number in (("num_episodes", num_episodes), ("max_steps", max_steps)):
        if number < 1:
            raise UserError(f"{name} is {number}; it must be at least 1")
    for name, value in (("share", share), ("perturb", perturb)):
        if not 0.0 <= value <= 1.0:
            raise UserError(f"{name} is {value}; it must be between 0 and 1")


def _select_kinds(
    tasks: Sequence[TaskId], kinds: Sequence[str] | None, protocol: str, held_out: Sequence[str]
) -> list[TaskId]:
    """The tasks that may be demonstrated. Raises UserError for a kind that may not or is not."""
    present = {task.kind for task in tasks}
    if kinds is None:
        allowed = present if protocol == DECLARED_SHARE else present - set(held_out)
        return [task for task in tasks if task.kind in allowed]
    for kind in kinds:
        if kind not in present:
            raise UserError(
                f"no training task of kind {kind!r}; there are {', '.join(sorted(present))}"
            )
        if protocol == STRICT and kind in held_out:
            raise UserError(
                f"protocol 'strict' allows no demonstration of {kind!r}, which is held out; leave "
                "it out, or choose the protocol 'declared-share'"
            )
    return [task for task in tasks if task.kind in kinds]


def _draw_tasks(
    tasks: Sequence[TaskId], held_out: Sequence[str], count: int, share: float, seed: int
) -> list[TaskId]:
    """`count` tasks in random order, each as often as any other of its pool, give or take one."""
    draw = random.Random(f"{seed} tasks")
    num_held_out = round(share * count)
    pools = (
        ([task for task in tasks if task.kind not in held_out], count - num_held_out),
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
