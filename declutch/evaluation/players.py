"""Who can be evaluated: a model, the expert of a suite, or random play."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from declutch.envs.protocol import Expert, Suite, max_live, new_expert
from declutch.envs.wanderer import Wanderer
from declutch.errors import UserError
from declutch.records import Action, Episode, Outcome, Role, Step, TaskId, empty_float
from declutch.rollout.collect import CollectParams, Play, collect
from declutch.rollout.policy import Policy
from declutch.streams import stream

Player = Callable[[Sequence[TaskId], int], list[Episode]]
"""Plays tasks under an evaluation seed."""


SCRIPTED = ("expert", "random")
"""Policies that are no models."""


def model_player(
    policy: Policy,
    suite: Suite,
    max_steps: int,
    temperature: float,
    on_finished: Callable[[Episode], None] | None = None,
    reflection: bool = False,
    oracle_every: int = 0,
) -> Player:
    """A language model; suggestions never enter its prompts.

    Args:
        reflection, oracle_every: as in `CollectParams`.
    """

    def play(tasks: Sequence[TaskId], seed: int) -> list[Episode]:
        return collect(
            [Play(task, index) for index, task in enumerate(tasks)],
            suite.make_env,
            policy.agent,
            policy.engine,
            CollectParams(
                max_steps=max_steps,
                temperature=temperature,
                oracle_every=oracle_every,
                reflection=reflection,
            ),
            stream(seed, "evaluation"),
            on_finished,
            max_live=max_live(suite),
        )

    return play


def scripted_player(
    name: str,
    suite: Suite,
    max_steps: int,
    on_finished: Callable[[Episode], None] | None = None,
) -> Player:
    """The "expert", or a "random" choice among the admissible commands.

    Raises:
        UserError: another name, a suite without an expert, or one without lists of commands.
    """
    if name not in SCRIPTED:
        raise UserError(f"no scripted policy is called {name!r}; there are expert and random")

    def play(tasks: Sequence[TaskId], seed: int) -> list[Episode]:
        episodes = []
        for index, task in enumerate(tasks):
            expert = new_expert(suite, seed) if name == "expert" else Wanderer(f"{seed}/{index}")
            episodes.append(_play_scripted(task, index, suite, expert, max_steps))
            if on_finished is not None:
                on_finished(episodes[-1])
        return episodes

    return play


def _play_scripted(
    task: TaskId,
    group: int,
    suite: Suite,
    expert: Expert,
    max_steps: int,
) -> Episode:
    env = suite.make_env()
    observation = env.reset(task)
    expert.reset(task, observation)
    steps: list[Step] = []
    outcome, score = Outcome.TIMED_OUT, 0.0
    while len(steps) < max_steps:
        advice = expert.act()
        if advice is None:
            outcome = Outcome.FAILED
            break
        text = advice.action
        transition = env.step(text)
        is_admissible = text in observation.admissible or not observation.admissible
        action = Action(text, "", "", True, is_admissible)
        nothing = empty_float()
        steps.append(
            Step(
                observation=observation.text,
                inventory=observation.inventory,
                admissible=observation.admissible,
                action=action,
                prompt_ids=nothing.long(),
                response_ids=nothing.long(),
                sample_logprobs=nothing,
                reward=transition.reward,
            )
        )
        observation, score = transition.observation, transition.score
        expert.update(text, observation)
        if transition.is_won or transition.is_done:
            outcome = Outcome.WON if transition.is_won else Outcome.FAILED
            break
    env.close()
    return Episode(task, group, Role.AGENT, tuple(steps), outcome, score, observation.text)
