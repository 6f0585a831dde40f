"""Small records to test with."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from declutch.cold_start.demonstrations import DemonstrationStep
from declutch.learner.lesson import PassSettings, PolicyLesson
from declutch.learner.samples import Sample
from declutch.learner.update import update
from declutch.records import Action, Episode, Outcome, Role, Step, TaskId


def make_action(text="look", tag="think", is_valid=True, is_admissible=True):
    return Action(text, "", tag, is_valid, is_admissible)


def make_step(
    reward=0.0, observation="room", action=None, prompt=(1, 2), response=(3,), allowed=()
):
    return Step(
        observation=observation,
        inventory="",
        admissible=("look",),
        action=action or make_action(),
        prompt_ids=torch.tensor(prompt, dtype=torch.int64),
        response_ids=torch.tensor(response, dtype=torch.int64),
        sample_logprobs=torch.full((len(response),), -1.0),
        reward=reward,
        allowed_ids=allowed,
    )


def make_demonstration_step(
    short_thought="find mug", action="go to desk 1", observation="seen", **changes
):
    """A step of a demonstration; `action` is the expert's, and is played unless changed."""
    step = DemonstrationStep(
        observation=observation,
        inventory="",
        admissible=("go to desk 1", "look"),
        action=action,
        expert_action=action,
        thought=f"I want to {short_thought}.",
        short_thought=short_thought,
        other_action=None,
        is_perturbed=False,
        label_expert=None,
        label_other=None,
    )
    return replace(step, **changes)


def make_episode(group, rewards, outcome=Outcome.FAILED, steps=None):
    """An episode of plain steps with the given rewards, or of the given steps."""
    return Episode(
        task=TaskId("test", "train", group, f"game {group}"),
        group=group,
        role=Role.AGENT,
        steps=tuple(steps) if steps is not None else tuple(make_step(r) for r in rewards),
        outcome=outcome,
        score=float(outcome is Outcome.WON),
    )


def make_samples(count, vocab_size, seed=0, role=Role.AGENT, masked=True, reference=True, copies=1):
    """Random samples; the prompts of `copies` of them in a row begin alike, some are equal.

    Old log-probabilities are near a uniform policy's, so that ratios fall inside and outside of
    the clip range.
    """
    draw = torch.Generator().manual_seed(seed)

    def ints(low, high, *shape):
        return torch.randint(low, high, shape, generator=draw)

    def logprobs(length):
        return -1.5 + 0.5 * torch.randn(length, generator=draw)

    samples = []
    for index in range(count):
        if index % copies == 0:
            stem = ints(0, vocab_size, int(ints(3, 20, 1)))
        own = max(0, int(ints(-3, 5, 1))) if copies > 1 else 0
        prompt = torch.cat([stem, ints(0, vocab_size, own)])
        response = ints(0, vocab_size, int(ints(1, 7, 1)))
        allowed = tuple(
            tuple({int(token), *ints(0, vocab_size, 4).tolist()}) if place % 3 else None
            for place, token in enumerate(response)
        )
        old = logprobs(len(response))
        samples.append(
            Sample(
                step_id=index,
                role=role,
                prompt_ids=prompt,
                response_ids=response,
                allowed_ids=allowed if masked else (),
                advantage=torch.randn(1, generator=draw).expand(len(response)),
                sample_logprobs=old,
                old_logprobs=old,
                ref_logprobs=logprobs(len(response)) if reference else None,
            )
        )
    return samples


def update_on(model, optimizer, agent, judge, loss, opt, gcd, temperature, draws, **options):
    """One update on samples of both roles; `options` are further fields of `PassSettings`.

    A `Classification` may stand in the place of the judge's samples.
    """
    options = {"max_response_tokens": 24, **options}
    settings = PassSettings(loss, temperature, opt.micro_batch_tokens, 0, **options)
    if isinstance(judge, Sequence):
        judge = PolicyLesson(judge, settings) if judge else None
    return update(model, optimizer, PolicyLesson(agent, settings), judge, opt, gcd, draws)
