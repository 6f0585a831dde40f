"""Collecting episodes: groups, finished episodes, errors, and the record of what was sampled."""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from counting import CountDown, Source

from declutch.agent.prompt import View
from declutch.envs.protocol import Transition
from declutch.ground.errors import UserError
from declutch.records import Action, Completion, Outcome, Request, SamplingParams, TaskId
from declutch.rollout.collect import CollectParams, Play, collect
from declutch.rollout.stepping import SynchronousEngine


class CountingEngine(SynchronousEngine):
    """Answers every request with the length of its prompt; remembers how many it was asked."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.seeds: list[int | None] = []
        super().__init__(self.answer)

    def answer(self, requests: Sequence[Request]) -> list[Completion]:
        self.batches.append(len(requests))
        self.seeds += [request.seed for request in requests]
        return [
            Completion(torch.tensor([int(r.prompt_ids.numel())]), torch.tensor([-0.5]))
            for r in requests
        ]


class Echo:
    """Prompts with as many tokens as there were steps, plus one."""

    def request(self, view: View) -> Request:
        return Request(torch.zeros(len(view.history) + 1, dtype=torch.long))

    def sampling(self, temperature: float) -> SamplingParams:
        return SamplingParams(temperature, 1, ())

    def read(self, completion: Completion, admissible: tuple[str, ...]) -> Action:
        return Action("go", "", "", True, True)


def play(
    lengths: list[int],
    max_steps: int = 5,
    max_live: int = 100,
    names: str = "",
    length_penalty: float = 0.0,
) -> tuple:
    envs: list[CountDown] = []

    engine = CountingEngine()
    plays = [
        Play(TaskId("s", "train", n, names or f"t{n}"), group, group)
        for group, n in enumerate(lengths)
    ]
    params = CollectParams(max_steps, 1.0, success_reward=10.0, length_penalty=length_penalty)
    source = Source(envs, max_live)
    episodes = collect(plays, source, Echo(), engine, params)
    return episodes, engine, envs


def test_finished_episodes_cost_nothing_more() -> None:
    episodes, engine, envs = play([1, 3, 2])
    assert engine.batches == [3, 2, 1]
    assert [len(e.steps) for e in episodes] == [1, 3, 2]
    assert [e.task.index for e in episodes] == [1, 3, 2]
    assert all(e.outcome is Outcome.WON and e.score == 1.0 for e in episodes)
    assert all(env.closed for env in envs)


def test_reward_is_paid_at_the_winning_step_only() -> None:
    episodes, *_ = play([3])
    assert [step.reward for step in episodes[0].steps] == [0.0, 0.0, 10.0]


def test_a_length_penalty_takes_more_off_a_later_success() -> None:
    episodes, *_ = play([1, 3, 5, 9], max_steps=5, length_penalty=0.4)
    assert [e.steps[-1].reward for e in episodes] == pytest.approx([10.0, 8.0, 6.0, 0.0])
    assert [e.is_won for e in episodes] == [True, True, True, False]


def test_out_of_steps_is_timed_out_and_not_won() -> None:
    episodes, *_ = play([9], max_steps=4)
    assert episodes[0].outcome is Outcome.TIMED_OUT
    assert not episodes[0].is_won
    assert len(episodes[0].steps) == 4


def test_an_environment_that_breaks_ends_its_own_episode_alone() -> None:
    episodes, *_ = play([2, 99, 2])
    assert [e.outcome for e in episodes] == [Outcome.WON, Outcome.ENV_ERROR, Outcome.WON]
    assert "broken" in episodes[1].error


def test_an_environment_that_cannot_start_is_an_error_too() -> None:
    episodes, engine, _ = play([2, 2], names="no start")
    assert [e.outcome for e in episodes] == [Outcome.ENV_ERROR] * 2
    assert "gone" in episodes[0].error
    assert engine.batches == []


def test_few_live_environments_play_many_episodes() -> None:
    episodes, engine, envs = play([2, 1, 3, 1, 2], max_live=2)
    assert len(envs) == 2
    assert max(engine.batches) == 2
    assert [len(e.steps) for e in episodes] == [2, 1, 3, 1, 2]


@pytest.mark.parametrize(("max_steps", "num_held"), [(5, 1), (1, 0)])
def test_the_engine_is_told_that_weights_stay_while_episodes_go_on(max_steps, num_held) -> None:
    told: list[str] = []

    class Holding(CountingEngine):
        @contextmanager
        def holding(self):
            told.append("held")
            yield
            told.append(f"let go after {len(self.batches)}")

    plays = [Play(TaskId("s", "train", n, f"t{n}"), n, n) for n in (1, 3)]
    collect(plays, Source([]), Echo(), Holding(), CollectParams(max_steps, 1.0))
    assert told == ["held", "let go after 3"][: 2 * num_held]


def test_a_source_may_prepare_as_many_environments_as_will_play() -> None:
    prepared: list[int] = []

    class Slow(Source):
        def prepare_envs(self, num_envs: int) -> None:
            prepared.append(num_envs)

    plays = [Play(TaskId("s", "train", 1, "t"), group, group) for group in range(3)]
    for most in (2, 100):
        collect(plays, Slow([], most), Echo(), CountingEngine(), CollectParams(2, 1.0))
    assert prepared == [2, 3]


def test_what_was_sampled_is_what_is_recorded() -> None:
    episodes, *_ = play([3])
    assert [step.prompt_ids.numel() for step in episodes[0].steps] == [1, 2, 3]
    assert [step.response_ids.tolist() for step in episodes[0].steps] == [[1], [2], [3]]
    assert [step.observation for step in episodes[0].steps] == ["left 3", "left 2", "left 1"]
    assert episodes[0].final_observation == "left 0"


class Doubter(Echo):
    """Prompts with the length of its draft beside that of the history."""

    def request(self, view: View) -> Request:
        return Request(torch.zeros(10 * len(view.draft) + len(view.history) + 1, dtype=torch.long))

    def text(self, completion: Completion) -> str:
        return "x" * int(completion.token_ids[0])


def test_reflection_asks_twice_and_plays_the_second_answer() -> None:
    engine = CountingEngine()
    episodes = collect(
        [Play(TaskId("s", "train", index, str(index)), index, index) for index in (2, 1)],
        Source([]),
        Doubter(),
        engine,
        CollectParams(max_steps=5, temperature=1.0, reflection=True),
    )
    assert engine.batches == [2, 2, 1, 1]
    # The first answer is the prompt's length, 1 and then 2; the second prompt shows it.
    assert [[step.prompt_ids.numel() for step in e.steps] for e in episodes] == [[11, 22], [11]]
    assert [[int(s.response_ids[0]) for s in e.steps] for e in episodes] == [[11, 22], [11]]


def test_the_oracle_is_asked_at_every_second_step_shifted_by_episode() -> None:
    task = TaskId("s", "train", 5, "t")
    for every, expected in (
        (0, [[None] * 5] * 2),
        (1, [[1] * 5] * 2),
        (2, [[1, None, 1, None, 1], [None, 1, None, 1, None]]),
    ):
        episodes = collect(
            [Play(task, 0, 0), Play(task, 0, 1)],
            Source([]),
            Echo(),
            CountingEngine(),
            CollectParams(max_steps=9, temperature=1.0, oracle_every=every),
        )
        assert [[step.oracle_label for step in e.steps] for e in episodes] == expected


@dataclass
class Unnumbered(CountDown):
    """Gives a reward or a score that is no number at its second step."""

    reward: float = 0.0
    score: float = 0.0

    def step(self, action: str) -> Transition:
        told = super().step(action)
        if self.task is not None and self.left == self.task.index - 2:
            return Transition(told.observation, self.reward, False, False, self.score)
        return told


@pytest.mark.parametrize(
    ("numbers", "named"),
    [
        ({"reward": float("nan")}, "reward nan"),
        ({"reward": float("inf")}, "reward inf"),
        ({"score": float("nan")}, "score nan"),
    ],
)
def test_a_reward_that_is_no_number_names_task_and_step(numbers, named):
    class Broken:
        def make_env(self):
            return Unnumbered([], **numbers)

    with pytest.raises(UserError, match=f"task 'the fifth'.*gave the {named} at step 2"):
        collect(
            [Play(TaskId("count", "train", 5, "the fifth"), 0, 0)],
            Broken(),
            Echo(),
            CountingEngine(),
            CollectParams(max_steps=9, temperature=1.0),
        )


class Odd(CountDown):
    """Gives a text for an observation, a tuple for a transition, or a word for a label."""

    def reset(self, task):
        told = super().reset(task)
        return told.text if task.name == "reset" else told

    def step(self, action):
        told = super().step(action)
        return (told.observation, 0.0) if self.task.name == "step" else told

    def label_action(self, action):
        return "good" if self.task.name == "label" else 1


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("reset", r"'left 3' by reset\(task\): it has to be a declutch.Observation"),
        ("step", r"\(Observation.* by step\(action\) at step 1: .* a declutch.Transition"),
        ("label", r"the label 'good' at step 1: it has to be 1, 0 or None"),
    ],
)
def test_what_no_environment_may_give_is_told_by_task_and_method(name: str, given: str) -> None:
    class Oddities:
        def make_env(self):
            return Odd([])

    params = CollectParams(max_steps=9, temperature=1.0, oracle_every=1)
    plays = [Play(TaskId("count", "train", 3, name), 0, 0)]
    with pytest.raises(UserError, match=f"task '{name}' .*gave {given}"):
        collect(plays, Oddities(), Echo(), CountingEngine(), params)


class Arrays(CountDown):
    """Computes with arrays, and gives their numbers as rewards, scores and labels."""

    def step(self, action):
        told = super().step(action)
        return replace(told, reward=np.float32(told.reward), score=np.float64(told.score))

    def label_action(self, action):
        return np.int64(1)


def test_numbers_of_arrays_are_numbers() -> None:
    class Computing:
        def make_env(self):
            return Arrays([])

    params = CollectParams(max_steps=9, temperature=1.0, oracle_every=1)
    plays = [Play(TaskId("count", "train", 2, "two"), 0, 0)]
    (episode,) = collect(plays, Computing(), Echo(), CountingEngine(), params)
    assert episode.outcome is Outcome.WON
    assert [step.reward for step in episode.steps] == [0.0, 1.0]
    assert [step.oracle_label for step in episode.steps] == [1, 1]


class Mortal(CountDown):
    """Once it has broken it never starts again, and cannot be closed."""

    has_broken = False

    def reset(self, task):
        if self.has_broken:
            raise OSError("still broken")
        return super().reset(task)

    def step(self, action):
        self.has_broken = self.task.index == 99
        return super().step(action)

    def close(self):
        if self.has_broken:
            raise BrokenPipeError("nobody reads")


@dataclass
class FewMade:
    """Makes no more than so many environments, one at a time."""

    left: int
    max_live: int = 1

    def make_env(self):
        self.left -= 1
        if self.left < 0:
            raise MemoryError("no room for another")
        return Mortal([])


def collect_one_by_one(lengths: list[int], num_made: int) -> list:
    plays = [Play(TaskId("s", "train", n, f"t{n}"), group, 0) for group, n in enumerate(lengths)]
    params = CollectParams(max_steps=5, temperature=1.0)
    return collect(plays, FewMade(num_made), Echo(), CountingEngine(), params)


def test_an_environment_that_broke_is_not_played_again() -> None:
    with pytest.warns(RuntimeWarning, match="BrokenPipeError: nobody reads in close()"):
        episodes = collect_one_by_one([2, 99, 1, 3], num_made=2)
    ends = [Outcome.WON, Outcome.ENV_ERROR, Outcome.WON, Outcome.WON]
    assert [episode.outcome for episode in episodes] == ends


def test_an_environment_that_cannot_be_made_ends_its_own_episode_alone() -> None:
    with pytest.warns(RuntimeWarning):
        episodes = collect_one_by_one([2, 99, 1], num_made=1)
    ends = [Outcome.WON, Outcome.ENV_ERROR, Outcome.ENV_ERROR]
    assert [episode.outcome for episode in episodes] == ends
    assert episodes[2].error == "MemoryError: no room for another"
