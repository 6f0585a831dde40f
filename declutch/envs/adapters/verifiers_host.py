"""The host of verifiers' episodes: a thread that runs them and hands their questions to players.

Verifiers asks its model over HTTP, so that a server on this machine takes its questions.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache
from typing import Any

import verifiers.v1 as vf
from aiohttp import web

from declutch.envs.adapters.verifiers_chat import ChatHarness
from declutch.ground.errors import UserError

HARNESS = "declutch-games"


class Host:
    """The host of a task set of verifiers: its tasks, and the environment that plays them."""

    def __init__(self, name: str, environment: str, options: Mapping[str, Any], limit: int) -> None:
        """
        Args:
            name: of the task set.
            environment: the environment's name; "" for the task set's own.
            options: settings of the task set.
            limit: how many tasks may be listed.
        Raises:
            UserError: there is none, or it needs more than texts.
        """
        try:
            config = _resolve(name, environment, options)
            self._env = vf.load_environment(config)
            self.tasks: Sequence[Any] = tuple(self._env.taskset.take(limit))
        except UserError:
            raise
        # It is someone else's: whatever it raises is a setting that is no good.
        except Exception as error:
            raise UserError(
                f"verifiers cannot load {name!r}: {type(error).__name__}: {error}; correct "
                "env.verifiers.id and env.verifiers.options"
            ) from error
        _refuse(name, self._env, self.tasks)
        _loop().run(self._open())

    def play(self, index: int) -> Played:
        """Begin an episode of a task."""
        return Played(self._env, self.tasks[index])

    async def _open(self) -> None:
        # It lasts as long as the process.
        self._serving = self._env.serving()
        await self._serving.__aenter__()


class Played:
    """An episode on verifiers' host: its questions to the model one by one, then its result."""

    def __init__(self, env: Any, task: Any) -> None:
        self._said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reply: asyncio.Future[str] | None = None
        self._error = ""
        self._episode: Any = None
        self.reward = 0.0
        loop = _loop()
        self._key = loop.server.add(self)
        client = vf.EvalClientConfig(base_url=loop.server.url, api_key_var="")
        context = vf.ModelContext(client=client, model=self._key, sampling=vf.SamplingConfig())
        self._running: Future[Any] = loop.submit(self._run(env, task, context))

    async def _run(self, env: Any, task: Any, context: Any) -> None:
        try:
            self._episode = await env.run_episode(task, context)
        except Exception as error:
            self._error = f"{type(error).__name__}: {error}"
        finally:
            _loop().server.remove(self._key)
            self._said.put(None)

    async def ask(self, messages: Sequence[Mapping[str, Any]], tools: Any) -> str:
        """Called by the server: show what is new, and wait for the answer."""
        try:
            if tools:
                raise ValueError("it offers tools, and an answer here is a text alone")
            text = _new_text(messages)
        except ValueError as error:
            self._error = str(error)
            raise
        self._reply = asyncio.get_running_loop().create_future()
        self._said.put(text)
        return await self._reply

    def wait(self) -> str | None:
        """Wait for the next question; None at the end of the episode."""
        return self._said.get()

    def answer(self, text: str) -> str | None:
        """Answer the question, and wait for the next one; None at the end of the episode."""
        reply = self._reply
        assert reply is not None
        reply.get_loop().call_soon_threadsafe(reply.set_result, text)
        return self.wait()

    def describe(self) -> str:
        """Why the episode failed, "" where it did not."""
        if self._error or self._episode is None:
            return self._error or "it was given up"
        errors = [each for trace in self._episode.traces for each in trace.errors]
        found = [*self._episode.errors, *errors]
        if self._episode.ok:
            return ""
        return f"{found[-1].type}: {found[-1].message}" if found else "verifiers says no reason"

    def result(self) -> tuple[dict[str, float], dict[str, float]]:
        """The rewards and the metrics of the episode, each by name.

        Raises:
            RuntimeError: the episode failed.
        """
        if reason := self.describe():
            raise RuntimeError(f"verifiers could not play the task: {reason}")
        rewards: dict[str, float] = {}
        metrics: dict[str, float] = {}
        for trace in self._episode.traces:
            rewards |= {name: each.score for name, each in trace.rewards.items() if each}
            metrics |= {name: each for name, each in trace.metrics.items() if each is not None}
            self.reward += float(trace.reward)
        return rewards, metrics

    def cancel(self) -> None:
        """Give the episode up."""
        self._running.cancel()


class _Server:
    """Takes verifiers' questions to its model, whose name says which episode each is of."""

    def __init__(self) -> None:
        self._played: dict[str, Played] = {}
        self._numbers = itertools.count()
        self.url = ""

    def add(self, played: Played) -> str:
        """Name the model of an episode."""
        key = f"declutch-{next(self._numbers)}"
        self._played[key] = played
        return key

    def remove(self, key: str) -> None:
        """Forget an episode."""
        self._played.pop(key, None)

    async def start(self) -> None:
        """Listen on a free port of this machine."""
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        played = self._played.get(body["model"])
        if played is None:
            return web.json_response({"error": {"message": "the episode is over"}}, status=400)
        try:
            text = await played.ask(body["messages"], body.get("tools"))
        except ValueError as error:
            return web.json_response({"error": {"message": str(error)}}, status=400)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response(
            {
                "id": body["model"],
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [choice],
            }
        )


class _Loop:
    """An event loop in a thread of its own, for all episodes of the process."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="verifiers", daemon=True).start()
        self.server = _Server()
        self.run(self.server.start())

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begin something in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something in the loop, and wait for it."""
        return self.submit(work).result()


@lru_cache(maxsize=1)
def _loop() -> _Loop:
    return _Loop()


def _resolve(name: str, environment: str, options: Mapping[str, Any]) -> Any:
    """The environment's settings, with its one agent played from here."""
    kind = vf.env_config_type(name, environment)
    agents = [
        key for key, field in kind.model_fields.items() if isinstance(field.default, vf.AgentConfig)
    ]
    if len(agents) != 1:
        raise UserError(
            f"{environment or name} is played by {len(agents)} agents ({', '.join(agents)}), and "
            "one policy is trained here: only an environment of one agent can be played"
        )
    declared = kind.model_fields[agents[0]].default
    player: dict[str, Any] = {"runtime": {"type": "subprocess"}}
    if declared.harness is None:
        player["harness"] = {"id": HARNESS}
    return vf.resolve_env_config(
        {"id": environment, "taskset": {**options, "id": name}, agents[0]: player}
    )


def _refuse(name: str, env: Any, tasks: Sequence[Any]) -> None:
    """Raises UserError where texts do not carry what a task set needs."""
    if not tasks:
        raise UserError(f"the task set {name} of verifiers is empty with these options")
    first = tasks[0]
    harness = next(iter(env._harnesses.values()))
    needs = {
        "tools": [*first.toolsets(first.config), *env.taskset.toolsets(env.taskset.config)],
        "a container": first.NEEDS_CONTAINER,
        f"the program {harness.config.id}": not isinstance(harness, ChatHarness)
        and harness.EXECUTES_CODE,
    }
    if missing := [need for need, is_needed in needs.items() if is_needed]:
        raise UserError(
            f"{name} needs {' and '.join(missing)}: only an environment whose agent does nothing "
            "but answer in text can be played here"
        )


def _new_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """What was said since the model's last answer.

    Raises:
        ValueError: there is more than text.
    """
    start = max((n + 1 for n, m in enumerate(messages) if m["role"] == "assistant"), default=0)
    texts = []
    for message in messages[start:]:
        content = message.get("content") or ""
        if isinstance(content, list):
            if any(part.get("type") != "text" for part in content):
                raise ValueError("it shows more than text")
            content = "\n".join(part["text"] for part in content)
        texts.append(content)
    return "\n\n".join(text for text in texts if text)
