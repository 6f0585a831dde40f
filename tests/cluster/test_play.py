"""A cluster's players are one `collect`, whatever becomes of a process; its servers an engine."""

import asyncio
from types import SimpleNamespace

import pytest
import torch
from builders import make_step

from declutch.cluster import play
from declutch.cluster.play import LostPlayerError, Players, ServerEngine, last_line
from declutch.config.run import Config
from declutch.credit.table import build_table
from declutch.envs.protocol import Observation, Transition
from declutch.ground.errors import UserError
from declutch.records import (
    Action,
    Completion,
    Episode,
    Outcome,
    Request,
    Role,
    SamplingParams,
    TaskId,
)
from declutch.rollout.collect import CollectParams, Play


def played(asked):
    step = make_step(reward=float(asked.seed))
    return Episode(asked.task, asked.group, Role.AGENT, (step,), Outcome.FAILED, 0.0)


class Handle:
    """Stands for a Ray actor; a call gives what `get` is to unpack."""

    def __init__(self, dies=False):
        self.dies = dies
        self.play = SimpleNamespace(remote=self._play)
        self.given = 0

    def _play(self, plays, params):
        self.given = len(plays)
        return None if self.dies else [played(each) for each in plays]


def get(answer):
    if answer is None:
        raise LostPlayerError("ActorDiedError")
    return answer


def plays(count):
    task = TaskId("test", "train", 0, "game")
    return [Play(task, index // 4, index) for index in range(count)]


PARAMS = CollectParams(max_steps=3, temperature=1.0)


def test_episodes_come_back_in_the_order_of_their_plays():
    handles = [Handle() for _ in range(3)]
    asked = plays(10)
    told: list = []
    found = Players(handles, get).collect(asked, None, None, None, PARAMS, told.append)
    assert [episode.steps[0].reward for episode in found] == [each.seed for each in asked]
    assert sorted(map(id, told)) == sorted(map(id, found))
    assert [handle.given for handle in handles] == [4, 3, 3]


def test_the_episodes_of_a_process_that_dies_are_counted_and_never_trained_on():
    handles = [Handle(), Handle(dies=True)]
    asked = plays(8)
    found = Players(handles, get).collect(asked, None, None, None, PARAMS)
    lost = [episode.outcome is Outcome.ENV_ERROR for episode in found]
    assert lost == [False, True] * 4
    assert all(
        not e.steps and "died" in e.error for e, gone in zip(found, lost, strict=True) if gone
    )
    assert [episode.group for episode in found] == [each.group for each in asked]


def test_more_processes_than_episodes_are_left_alone():
    handles = [Handle() for _ in range(5)]
    assert len(Players(handles, get).collect(plays(2), None, None, None, PARAMS)) == 2
    assert [handle.given for handle in handles] == [1, 1, 0, 0, 0]


class Simulators:
    """A suite of which two may live at once, whose third environment to be stepped has died."""

    max_live = 2

    def __init__(self):
        self.live = self.most = self.stepped = 0

    def make_env(self):
        self.live += 1
        self.most = max(self.most, self.live)
        return SimpleNamespace(reset=self.reset, step=self.step, close=self.close)

    def reset(self, task):
        return Observation("a room", ("wait",))

    def step(self, action):
        self.stepped += 1
        if self.stepped == 3:
            raise OSError("the simulator has died")
        return Transition(Observation("a room", ("wait",)), 0.0, False, False, 0.0)

    def close(self):
        self.live -= 1


class Waiter:
    """A speaker and an engine that wait."""

    def request(self, view):
        return Request(torch.tensor([1]))

    def sampling(self, temperature):
        return SamplingParams(temperature, 1, ())

    async def sample(self, request):
        await asyncio.sleep(0)
        return Completion(torch.tensor([1]), torch.zeros(1))

    def read(self, completion, admissible):
        return Action("wait", "", "", True, True)


def test_a_process_has_its_own_bound_of_live_environments_and_survives_a_dead_one(monkeypatch):
    suite, waiter = Simulators(), Waiter()
    fakes = {"make_suite": suite, "make_codec": None, "Agent": waiter, "ServerEngine": waiter}
    for name, fake in fakes.items():
        monkeypatch.setattr(play, name, lambda *given, fake=fake: fake)
    episodes = play.Player(Config(), None, None, 64).play(plays(6), PARAMS)
    assert suite.most == suite.max_live
    assert suite.live == 0
    broken = [episode for episode in episodes if episode.outcome is Outcome.ENV_ERROR]
    assert ["died" in episode.error for episode in broken] == [True]
    assert all(len(e.steps) == 3 for e in episodes if e is not broken[0])
    # It is counted, and no row to learn from is made of it.
    table, steps = build_table(episodes)
    assert len(steps) == 5 * 3
    assert table.num_tokens.numel() == 5 * 3


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


def test_a_server_that_dies_is_one_message():
    class Dead:
        async def generate(self, **asked):
            raise RuntimeError("a trace of another process\n  line 3\nThe actor is dead.\n")

    with pytest.raises(UserError, match=r"no response \(RuntimeError: The actor is dead") as caught:
        asyncio.run(ServerEngine(Dead(), 64).sample(REQUEST))
    assert "trace" not in str(caught.value)


def test_of_an_error_of_several_lines_its_name_is_said():
    text = (
        "a trace\nValueError: an earlier one\nlib.errors.BadError: 'x' is no number\n  key: alpha"
    )
    said = last_line(RuntimeError(text))
    assert said == "RuntimeError: lib.errors.BadError: 'x' is no number key: alpha"
    assert last_line(RuntimeError("\n")) == "RuntimeError: "


def test_what_is_raised_in_a_process_that_lives_ends_the_run():
    def fail(answer):
        raise UserError("a server of the cluster gave no response")

    with pytest.raises(UserError, match="gave no response"):
        Players([Handle()], fail).collect(plays(2), None, None, None, PARAMS)


def test_a_prompt_leaves_room_for_the_response():
    assert ServerEngine(None, 64).max_prompt_tokens(REQUEST.params) == 60
