"""A language model that answers as a test says, without a network."""

from collections.abc import Callable, Sequence

from declutch.endpoint.chat import ChatReply, ChatRequest


class FakeChat:
    """Answers each request by a function of it, and keeps what it was asked."""

    def __init__(self, answer: Callable[[ChatRequest], ChatReply]) -> None:
        self._answer = answer
        self.asked: list[ChatRequest] = []

    def ask(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        self.asked += requests
        return [self._answer(request) for request in requests]


def answer_by_text(answer: Callable[[str], str | None]) -> FakeChat:
    """A chat that answers by a function of the last message; None is no answer."""

    def reply(request: ChatRequest) -> ChatReply:
        text = answer(request.messages[-1][1])
        return ChatReply(text, "" if text is not None else "it is down")

    return FakeChat(reply)
