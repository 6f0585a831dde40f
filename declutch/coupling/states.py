"""Samples for influence: the actions that are admissible in two consecutive states of a game.

Row (state A, action a) against column (state B, action b): what a step of learning on an action in
one state does to the actions of the next. A response is an action alone, without a thought, so that
nothing but the action differs between the samples of a state.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from declutch.agent.speaker import Agent
from declutch.coupling.samples import LabelledSample
from declutch.ground.errors import UserError
from declutch.records import Episode, Step


def state_samples(
    agent: Agent, episode: Episode, position: int, max_actions: int = 16
) -> tuple[LabelledSample, ...]:
    """Make samples of two consecutive states of an episode: all actions admissible in both.

    Args:
        position: of the first state, 0 is the episode's start; the second follows it.
        max_actions: where more are admissible in both, so many are taken, of all verbs in turn;
            what was done in the two states is among them if it is admissible in both.
    Returns:
        The samples of the first state, then those of the second, in the same order of actions:
        by verb, so that alike ones are neighbours. Good (1) is what was done, where the oracle
        labelled that good; no other sample has a label.
    Raises:
        UserError: no such states, or fewer than two common actions.
    """
    if not 0 <= position < len(episode.steps) - 1:
        raise UserError(
            f"the episode of {episode.task.name} has {len(episode.steps)} steps, so that the first "
            f"of two states is at 0 to {len(episode.steps) - 2}, not at {position}"
        )
    states = episode.steps[position : position + 2]
    common = sorted(set(states[0].admissible) & set(states[1].admissible))
    if len(common) < 2:
        raise UserError(
            f"the states at {position} and {position + 1} have {len(common)} admissible actions in "
            "common; an influence needs two"
        )
    done = [step.action.text for step in states]
    actions = choose_actions(common, [text for text in done if text in common], max_actions)
    return tuple(
        _sample(agent, step, action, place, index * len(actions) + number + 1)
        for index, (step, place) in enumerate(zip(states, ("A", "B"), strict=True))
        for number, action in enumerate(actions)
    )


def choose_actions(actions: Sequence[str], kept: Sequence[str], most: int) -> list[str]:
    """Choose actions whose influence is looked at: some of every verb, sorted.

    Args:
        kept: these are chosen in any case.
        most: how many are chosen, at most, unless more have to be kept.
    """
    by_verb: dict[str, list[str]] = {}
    for action in sorted(actions):
        by_verb.setdefault(action.partition(" ")[0], []).append(action)
    chosen = dict.fromkeys(kept)
    queues = [list(each) for each in by_verb.values()]
    while len(chosen) < most and any(queues):
        for queue in queues:
            if queue and len(chosen) < most:
                chosen[queue.pop(0)] = None
    return sorted(chosen)


def _sample(agent: Agent, step: Step, action: str, state: str, line: int) -> LabelledSample:
    codec = agent.codec
    opening = codec.opening()
    closing = opening.replace("<", "</") if opening.endswith(">") else ""
    ids = codec.encode_line(f"{closing}<action>{action}</action>")
    is_done = action == step.action.text
    return LabelledSample(
        line=line,
        prompt_ids=step.prompt_ids,
        response_ids=torch.tensor(ids),
        label=step.oracle_label if is_done else None,
        episode=f"episode state {state}",
        id=f"{state}: {action}" + (" (done)" if is_done else ""),
    )
