"""The harness of verifiers that asks a model for one message after the other, in this process."""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import Any

import httpx
import verifiers.v1 as vf
from verifiers.v1.dialects.chat import message_to_wire


class ChatHarness(vf.Harness[vf.HarnessConfig]):
    """A harness of verifiers that asks the model from this process, with nothing to install."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def session(self, *arguments: Any, **named: Any) -> ChatSession:
        """Open a conversation, which keeps its connection."""
        return ChatSession(self, *arguments, **named)

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
        client: httpx.AsyncClient | None = None,
    ) -> vf.ProgramResult:
        """Ask the model once. `client` is the conversation's connection; None opens one."""
        if client is None:
            async with _connect() as opened:
                return await self.launch(
                    ctx, trace, runtime, endpoint, secret, mcp_urls, data, opened
                )
        system, prompt = self.resolve_prompt(data)
        written = [vf.UserMessage(content=prompt)] if isinstance(prompt, str) else prompt or []
        messages = [{"role": "system", "content": system}] if system else []
        messages += [message_to_wire(message) for message in written]
        response = await client.post(
            f"{endpoint}/chat/completions",
            headers={"Authorization": f"Bearer {secret}"},
            json={"model": ctx.model, "messages": messages},
        )
        code = 0 if response.is_success else 1
        return vf.ProgramResult(code, "", "" if response.is_success else response.text)


class ChatSession(vf.HarnessSession):
    """A conversation of verifiers' chat harness, over one connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._client = _connect()

    async def _run(self, messages: vf.Messages | None) -> vf.ProgramResult:
        data = self.data
        if messages is not None:
            branch = self.trace.branches[-1].messages if self.trace.branches else []
            said = [each for each in branch if each.role != "system" or data.system_prompt is None]
            data = data.model_copy(update={"prompt": [*said, *messages]})
        return await self.harness.launch(
            self.ctx,
            self.trace,
            self.runtime,
            self.endpoint,
            self.secret,
            self.mcp_urls,
            data,
            self._client,
        )

    async def close(self) -> None:
        """Close the connection."""
        await super().close()
        await self._client.aclose()


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """One for all connections: to make it takes longer than to play a game."""
    return ssl.create_default_context()


def _connect() -> httpx.AsyncClient:
    # The model's time is limited by verifiers, not by the connection.
    return httpx.AsyncClient(timeout=None, verify=_tls())
