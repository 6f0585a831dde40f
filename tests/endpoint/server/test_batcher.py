"""What is answered together, and what becomes of failures."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest
import torch

from declutch.endpoint.server.batcher import Batcher
from declutch.endpoint.server.model import Draft, PreparedRequest, Sampling
from declutch.endpoint.server.protocol import Answer, RequestError
from declutch.ground.errors import UserError


class FakeModel:
    """Answers with the prompt's first token, again and again; keeps what it was asked together."""

    def __init__(self, error: Exception | None = None, poison: int | None = None) -> None:
        self.calls: list[list[int]] = []
        self.error = error
        self.poison = poison
        self.is_endless = False
        self.has_begun = threading.Event()

    def draft(self, prepared: PreparedRequest) -> list[Draft]:
        return [Draft(prepared, seed) for seed in prepared.seeds]

    def advance(self, drafts: Sequence[Draft], is_over: Callable[[int], bool]) -> None:
        self.calls.append([number_of(draft.request) for draft in drafts])
        self.has_begun.set()
        while self.is_endless:
            is_over(1)
        if self.error is not None:
            raise self.error
        if self.poison in self.calls[-1]:
            raise RuntimeError("poisoned")
        limit = min(draft.num_left for draft in drafts)
        for count in range(1, limit + 1):
            for draft in drafts:
                draft.tokens.append(number_of(draft.request))
            if is_over(count):
                break
        for draft in drafts:
            draft.is_finished = draft.num_left == 0

    def read(self, draft: Draft) -> Answer:
        return Answer(str(draft.tokens[0]), len(draft.tokens), False)


def number_of(request: PreparedRequest) -> int:
    return int(request.prompt_ids[0])


def ask(number: int, temperature: float = 1.0, n: int = 1, max_tokens: int = 4) -> PreparedRequest:
    sampling = Sampling(temperature, 1.0, ())
    return PreparedRequest(torch.tensor([number]), (0,) * n, sampling, max_tokens)


async def present() -> bool:
    return False


async def gone() -> bool:
    return True


def answer_all(
    model: FakeModel,
    asks: Sequence[PreparedRequest],
    max_batch: int = 8,
    leaving=(),
    turn_tokens: int = 32,
) -> list:
    """What `Batcher.answer` returns or raises for each, all asked at once."""

    async def ask_all() -> list:
        batcher = Batcher(model, max_batch, turn_tokens=turn_tokens)
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


def test_a_batch_holds_no_more_answers_than_fit_and_each_request_has_a_share() -> None:
    model = FakeModel()
    replies = answer_all(
        model, [ask(0, n=2), ask(1, n=3), ask(2), ask(3, n=9), ask(4)], max_batch=4
    )
    assert max(map(len, model.calls)) == 4
    # One answer of each in rotation; who had a turn goes behind those who had none.
    assert model.calls[0] == [0, 1, 2, 3]
    assert model.calls[1][0] == 4
    assert [len(reply) for reply in replies] == [2, 3, 1, 9, 1]
    assert sum(map(len, model.calls)) == 16


def test_a_long_answer_lets_others_have_their_turn() -> None:
    model = FakeModel()
    replies = answer_all(
        model, [ask(0, max_tokens=100), ask(1, 0.5, max_tokens=5), ask(2, 0.7)], turn_tokens=10
    )
    assert model.calls == [[0], [1], [2], [0]]
    assert [reply[0].num_tokens for reply in replies] == [100, 5, 4]


def test_a_shorter_answer_in_the_batch_does_not_cut_a_longer_one() -> None:
    model = FakeModel()
    replies = answer_all(model, [ask(0, max_tokens=9), ask(1, max_tokens=3)])
    assert model.calls == [[0, 1], [0]]
    assert [reply[0].num_tokens for reply in replies] == [9, 3]


def test_one_request_that_fails_fails_no_other() -> None:
    model = FakeModel(poison=1)
    replies = answer_all(model, [ask(number) for number in range(3)])
    assert model.calls[0] == [0, 1, 2]
    assert [getattr(reply, "status", 200) for reply in replies] == [200, 500, 200]


def test_no_more_requests_than_allowed_are_under_way() -> None:
    async def fill() -> None:
        batcher = Batcher(FakeModel(), 8, max_waiting=2)
        with batcher.admit(), batcher.admit():
            with pytest.raises(RequestError, match=r"serve\.max_waiting") as caught:
                batcher.admit().__enter__()
            assert caught.value.status == 429
            assert 1 <= caught.value.retry_seconds <= 60
        with batcher.admit():
            pass

    asyncio.run(fill())


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
