"""A cluster's players are one `collect`, whatever becomes of a process; its servers an engine."""

import asyncio
from types import SimpleNamespace

import pytest
import torch
from builders import make_step

from declutch.cluster.play import Players, ServerEngine
from declutch.ground.errors import UserError
from declutch.records import Episode, Outcome, Request, Role, SamplingParams, TaskId
from declutch.rollout.collect import CollectParams, Play


class DiedError(Exception):
    pass


def played(play):
    step = make_step(reward=float(play.seed))
    return Episode(play.task, play.group, Role.AGENT, (step,), Outcome.FAILED, 0.0)


class Handle:
    """Stands for a Ray actor; a call gives what `get` is to unpack."""

    def __init__(self, dies=False):
        self.dies = dies
        self.play = SimpleNamespace(remote=self._play)
        self.given = 0

    def _play(self, plays, params):
        self.given = len(plays)
        return None if self.dies else [played(play) for play in plays]


def get(answer):
    if answer is None:
        raise DiedError
    return answer


def plays(count):
    task = TaskId("test", "train", 0, "game")
    return [Play(task, index // 4, index) for index in range(count)]


PARAMS = CollectParams(max_steps=3, temperature=1.0)


def test_episodes_come_back_in_the_order_of_their_plays():
    handles = [Handle() for _ in range(3)]
    asked = plays(10)
    found = Players(handles, get, (DiedError,)).collect(asked, None, None, None, PARAMS)
    assert [episode.steps[0].reward for episode in found] == [play.seed for play in asked]
    assert [handle.given for handle in handles] == [4, 3, 3]


def test_the_episodes_of_a_process_that_dies_are_counted_and_never_trained_on():
    handles = [Handle(), Handle(dies=True)]
    asked = plays(8)
    found = Players(handles, get, (DiedError,)).collect(asked, None, None, None, PARAMS)
    lost = [episode.outcome is Outcome.ENV_ERROR for episode in found]
    assert lost == [False, True] * 4
    assert all(
        not e.steps and "died" in e.error for e, gone in zip(found, lost, strict=True) if gone
    )
    assert [episode.group for episode in found] == [play.group for play in asked]


def test_more_processes_than_episodes_are_left_alone():
    handles = [Handle() for _ in range(5)]
    assert len(Players(handles, get, ()).collect(plays(2), None, None, None, PARAMS)) == 2
    assert [handle.given for handle in handles] == [1, 1, 0, 0, 0]


class Client:
    """Stands for verl's client of its servers."""

    def __init__(self, tokens, logprobs):
        self.answer = SimpleNamespace(token_ids=tokens, log_probs=logprobs, stop_reason="completed")
        self.asked = {}

    async def generate(self, **asked):
        self.asked = asked
        return self.answer


REQUEST = Request(
    torch.tensor([5, 6, 7]),
    params=SamplingParams(temperature=0.5, max_tokens=4, stop_ids=(2,)),
    seed=11,
)


@pytest.mark.parametrize(
    ("tokens", "is_truncated"), [([8, 2], False), ([8, 9, 9, 2], False), ([8, 9, 9, 9], True)]
)
def test_a_server_samples_what_the_request_says(tokens, is_truncated):
    client = Client(tokens, [-0.5] * len(tokens))
    found = asyncio.run(ServerEngine(client, 64).sample(REQUEST))
    assert found.token_ids.tolist() == tokens
    assert found.logprobs.tolist() == [-0.5] * len(tokens)
    assert found.is_truncated is is_truncated
    params = client.asked["sampling_params"]
    assert client.asked["prompt_ids"] == [5, 6, 7]
    assert (params["temperature"], params["max_tokens"], params["seed"]) == (0.5, 4, 11)
    assert params["stop_token_ids"] == [2]
    assert params["logprobs"] is True


def test_a_server_that_breaks_off_is_one_message():
    with pytest.raises(UserError, match="gave no response"):
        asyncio.run(ServerEngine(Client([], None), 64).sample(REQUEST))


def test_a_prompt_leaves_room_for_the_response():
    assert ServerEngine(None, 64).max_prompt_tokens(REQUEST.params) == 60
