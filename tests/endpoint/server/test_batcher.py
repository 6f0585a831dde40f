"""What is answered together, and what becomes of failures."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest
import torch

from declutch.endpoint.server.batcher import Batcher
from declutch.endpoint.server.model import PreparedRequest, Sampling
from declutch.endpoint.server.protocol import Answer, RequestError
from declutch.errors import UserError


class FakeModel:
    """Answers with the prompt's first token; keeps what it was asked together."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[list[int]] = []
        self.error = error
        self.is_endless = False
        self.has_begun = threading.Event()

    def answer(
        self, asks: Sequence[PreparedRequest], check: Callable[[], None]
    ) -> list[list[Answer]]:
        self.calls.append([int(ask.prompt_ids[0]) for ask in asks])
        self.has_begun.set()
        while self.is_endless:
            check()
        if self.error is not None:
            raise self.error
        return [[Answer(str(int(ask.prompt_ids[0])), 1, False)] for ask in asks]


def ask(number: int, temperature: float = 1.0, n: int = 1) -> PreparedRequest:
    return PreparedRequest(torch.tensor([number]), (0,) * n, Sampling(temperature, 1.0, 4, ()))


async def present() -> bool:
    return False


async def gone() -> bool:
    return True


def answer_all(
    model: FakeModel, asks: Sequence[PreparedRequest], max_batch: int = 8, leaving=()
) -> list:
    """What `Batcher.answer` returns or raises for each, all asked at once."""

    async def ask_all() -> list:
        batcher = Batcher(model, max_batch)
        task = asyncio.create_task(batcher.run())
        calls = [batcher.answer(a, gone if i in leaving else present) for i, a in enumerate(asks)]
        replies = await asyncio.gather(*calls, return_exceptions=True)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return replies

    return asyncio.run(asyncio.wait_for(ask_all(), 20))


def test_what_comes_together_is_answered_together() -> None:
    model = FakeModel()
    replies = answer_all(model, [ask(number) for number in range(5)])
    assert model.calls == [[0, 1, 2, 3, 4]]
    assert [reply[0].text for reply in replies] == list("01234")


def test_other_sampling_waits_for_its_turn() -> None:
    model = FakeModel()
    replies = answer_all(model, [ask(0), ask(1, 0.5), ask(2), ask(3, 0.5)])
    assert model.calls == [[0, 2], [1, 3]]
    assert [reply[0].text for reply in replies] == list("0123")


def test_a_batch_holds_no_more_answers_than_fit() -> None:
    model = FakeModel()
    answer_all(model, [ask(0, n=2), ask(1, n=3), ask(2), ask(3, n=9), ask(4)], max_batch=4)
    assert model.calls == [[0, 2, 4], [1], [3]]


def test_nothing_is_sampled_for_those_who_left() -> None:
    model = FakeModel()
    replies = answer_all(model, [ask(0), ask(1), ask(2)], leaving=[0, 2])
    assert model.calls == [[1]]
    assert [getattr(reply, "status", 200) for reply in replies] == [499, 200, 499]


@pytest.mark.parametrize("error", [UserError("diverged"), RuntimeError("odd")])
def test_a_failing_model_is_a_server_error_and_no_end(error: Exception) -> None:
    model = FakeModel(error)
    first, second = answer_all(model, [ask(0), ask(1, 0.5)])
    for reply in (first, second):
        assert isinstance(reply, RequestError)
        assert reply.status == 500
        assert str(error) in str(reply)
    assert model.calls == [[0], [1]]


def test_stopping_gives_up_what_is_being_sampled_and_what_waits() -> None:
    async def stop_amidst() -> list:
        model = FakeModel()
        model.is_endless = True
        batcher = Batcher(model, 8)
        task = asyncio.create_task(batcher.run())
        replies = [asyncio.create_task(batcher.answer(ask(0), present))]
        await asyncio.to_thread(model.has_begun.wait)
        replies.append(asyncio.create_task(batcher.answer(ask(1), present)))
        await asyncio.sleep(0)
        task.cancel()
        done = await asyncio.gather(task, *replies, return_exceptions=True)
        assert model.calls == [[0]]
        return done

    task, *replies = asyncio.run(asyncio.wait_for(stop_amidst(), 20))
    assert isinstance(task, asyncio.CancelledError)
    assert [reply.status for reply in replies] == [503, 503]
