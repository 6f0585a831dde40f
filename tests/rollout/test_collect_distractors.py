"""Collecting with distractors: who is shown them, what is recorded, and by whichever process."""

import pickle

import torch
from counting import CountDown, Source

from declutch.agent.prompt import View
from declutch.envs.augmentation import Augmentation
from declutch.envs.excerpts import Excerpt
from declutch.records import Action, Completion, Request, SamplingParams, TaskId
from declutch.rollout.collect import CollectParams, Play, collect
from declutch.rollout.stepping import SynchronousEngine

NAMES = ("vase", "book", "candle", "statue", "towel")
AUGMENTATION = Augmentation(
    tuple(Excerpt(f"A {name}.", name, frozenset((name,))) for name in NAMES), 2, 0.5
)
PARAMS = CollectParams(max_steps=3, temperature=1.0, augmentation=AUGMENTATION, oracle_every=1)


class Looking:
    """Keeps the views that prompts are made of."""

    def __init__(self) -> None:
        self.views: list[View] = []

    def request(self, view: View) -> Request:
        self.views.append(view)
        return Request(torch.zeros(1, dtype=torch.long))

    def sampling(self, temperature: float) -> SamplingParams:
        return SamplingParams(temperature, 1, ())

    def read(self, completion: Completion, admissible: tuple[str, ...]) -> Action:
        return Action("go", "", "", True, True)


def answer(requests) -> list[Completion]:
    return [Completion(torch.tensor([0]), torch.tensor([-0.5])) for _ in requests]


def play(seeds, params=PARAMS, lengths=None):
    envs: list[CountDown] = []
    plays = [
        Play(TaskId("s", "train", length, f"t{length}"), group, group, seed)
        for group, (seed, length) in enumerate(zip(seeds, lengths or [3] * len(seeds), strict=True))
    ]
    speaker = Looking()
    return collect(plays, Source(envs), speaker, SynchronousEngine(answer), params), speaker.views


def distractors(episode):
    return [step.distractors for step in episode.steps]


def test_episodes_with_a_seed_have_distractors_and_keep_their_observations() -> None:
    (rich, plain), views = play([7, None])
    assert [step.observation for step in rich.steps] == ["left 3", "left 2", "left 1"]
    assert all(len(each) == 2 for each in distractors(rich))
    assert distractors(plain) == [(), (), ()]
    assert [step.oracle_label for step in rich.steps] == [1, 1, 1]
    assert rich.is_won
    assert plain.is_won
    seen = [view for view in views if view.distractors]
    assert [view.distractors for view in seen] == [
        tuple(distractors(rich)[: count + 1]) for count in range(3)
    ]
    assert [view.observation for view in seen] == ["left 3", "left 2", "left 1"]
    assert len(views) == 6


def test_members_of_a_group_share_them_and_order_decides_nothing() -> None:
    (first, second, other), _ = play([7, 7, 8])
    assert distractors(first) == distractors(second) != distractors(other)
    (again,), _ = play([8])
    assert distractors(again) == distractors(other)


def test_another_process_is_told_all_that_it_needs() -> None:
    """The players of a cluster are given plays and parameters, and have a suite of their own."""
    told = pickle.loads(pickle.dumps(PARAMS))
    assert told == PARAMS
    (here, _), _ = play([7, None])
    (there, _), _ = play([7, None], told)
    assert distractors(here) == distractors(there)


def test_without_augmentation_a_seed_changes_nothing() -> None:
    params = CollectParams(max_steps=3, temperature=1.0)
    (episode,), views = play([7], params)
    assert distractors(episode) == [(), (), ()]
    assert not any(any(view.distractors) for view in views)
