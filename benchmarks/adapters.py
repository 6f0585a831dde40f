"""Steps per second of our ALFWorld in other people's frameworks, against the official engine there.

    python benchmarks/adapters.py --data DIR [--only gymnasium,vector,trl,openenv,verifiers]
        [--num-steps 30] [--seconds 2] [--official-games 1]

It needs the official games and the extra `textworld`, and of each framework its extra; frameworks
that are not installed are rows that say so. OpenEnv and verifiers need an environment of their own
each (docs/guides/openenv.md, docs/guides/verifiers.md).

Both engines are played by the same adapter in the same program: random admissible commands, up to
--num-steps of them in a game, with the start of each game counted. "Alone" is the engine without a
framework. Times are CPU seconds of this process with all its threads, in which servers and clients
run, too, so that other work on the machine counts less. The row's last column is what the framework
takes for a step beside our engine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from declutch.envs.adapters.games import Game, open_tasks
from declutch.envs.alfworld.reference import ReferenceEnv
from declutch.envs.alfworld.suite import AlfworldSuite

OURS, OFFICIAL = "alfworld", "benchmarks.adapters:Official"
WANTED = 100
NUM_IN_VECTOR = 16
NUM_AT_ONCE = 8


class Official:
    """The official engine as a suite of one's own, so that every adapter can play it."""

    name = "official"

    def __init__(self) -> None:
        self._games = AlfworldSuite(Path(os.environ["ALFWORLD_DATA"]))
        self._env = ReferenceEnv(self._games.path_of)
        self.reset, self.step, self.close = self._env.reset, self._env.step, self._env.close

    def tasks(self, split: str) -> Any:
        return self._games.tasks(split)


@dataclass(frozen=True)
class Plan:
    """How much is played: steps of a game, at least so many games, and at least so long."""

    num_steps: int
    games: int
    seconds: float

    def games_of(self) -> Iterator[int]:
        """Numbers of games, until it is enough."""
        started, number = time.process_time(), 0
        while number < self.games or time.process_time() - started < self.seconds:
            yield number
            number += 1


@dataclass(frozen=True)
class Result:
    """Steps, and the CPU seconds and seconds by the clock that they took."""

    steps: int
    cpu: float
    wall: float

    @property
    def rate(self) -> float:
        return self.steps / self.cpu


Play = Callable[[str, Plan], int]


def measure(play: Play, suite: str, plan: Plan) -> Result:
    cpu, wall = time.process_time(), time.perf_counter()
    steps = play(suite, plan)
    return Result(steps, time.process_time() - cpu, time.perf_counter() - wall)


def play_alone(suite: str, plan: Plan) -> int:
    """The engine by itself."""
    game, draw, steps = Game(open_tasks(suite, "L0", plan.num_steps)), random.Random(0), 0
    for number in plan.games_of():
        turn = game.start(game.tasks.tasks[number % len(game.tasks.tasks)])
        while not turn.is_over:
            turn = game.step(draw.choice(turn.admissible))
            steps += 1
    game.close()
    return steps


def play_gymnasium(suite: str, plan: Plan) -> int:
    """One environment of Gymnasium, with the wrappers of `gymnasium.make`."""
    import gymnasium

    import declutch.envs.adapters.gymnasium  # noqa: F401

    env = gymnasium.make("declutch/Text-v0", suite=suite, split="L0", max_steps=plan.num_steps)
    draw, steps = random.Random(0), 0
    for number in plan.games_of():
        _, info = env.reset(seed=number)
        is_over = False
        while not is_over:
            *_, terminated, truncated, info = env.step(draw.choice(info["admissible"]))
            is_over = terminated or truncated
            steps += 1
    env.close()
    return steps


def play_vector(suite: str, plan: Plan) -> int:
    """A vector environment of Gymnasium; the official engine can be live once in a process."""
    import gymnasium

    import declutch.envs.adapters.gymnasium  # noqa: F401

    size = 1 if suite == OFFICIAL else NUM_IN_VECTOR
    options = {"suite": suite, "split": "L0", "max_steps": plan.num_steps}
    envs = gymnasium.make_vec("declutch/Text-v0", size, "sync", **options)
    draw, steps = random.Random(0), 0
    _, infos = envs.reset(seed=0)
    for _ in plan.games_of():
        for _ in range(plan.num_steps):
            *_, infos = envs.step([draw.choice(each) for each in infos["admissible"]])
            steps += size
    envs.close()
    return steps


def play_trl(suite: str, plan: Plan) -> int:
    """What TRL calls of an environment: `reset` with a row of the data, and the tool `act`."""
    from declutch.envs.adapters.trl import list_rows, make_environment_factory

    env = make_environment_factory(suite, "L0", plan.num_steps)()
    rows, draw, steps = list_rows(suite, "L0"), random.Random(0), 0
    for number in plan.games_of():
        shown = env.reset(**rows[number % len(rows)])
        while commands := shown.partition("\nPossible commands: ")[2]:
            shown = env.act(draw.choice(commands.split(", ")))
            steps += 1
    return steps


def play_openenv(suite: str, plan: Plan) -> int:
    """OpenEnv's server and its own client, which talk over a connection of this machine."""
    import uvicorn
    from openenv.core import GenericEnvClient

    from declutch.envs.adapters.openenv import create_app

    app = create_app(suite, "L0", max_steps=plan.num_steps, max_sessions=1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        draw, steps = random.Random(0), 0
        with GenericEnvClient(base_url=url, message_timeout_s=600).sync() as env:
            for number in plan.games_of():
                result = env.reset(seed=number)
                while not result.done:
                    command = draw.choice(result.observation["admissible"])
                    result = env.step({"command": command})
                    steps += 1
        server.should_exit = True
        thread.join()
    return steps


def play_verifiers(suite: str, plan: Plan) -> int:
    """Verifiers' episodes, some at once; an endpoint answers with any possible command."""
    return asyncio.run(_play_verifiers(suite, plan))


async def _play_verifiers(suite: str, plan: Plan) -> int:
    import verifiers.v1 as vf
    from aiohttp import web

    draw, steps = random.Random(0), 0

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        commands = body["messages"][-1]["content"].rpartition("Possible commands: ")[2]
        message = {"role": "assistant", "content": draw.choice(commands.split(", "))}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        told = {"id": "1", "object": "chat.completion", "created": 0, "model": "any"}
        return web.json_response({**told, "choices": [choice]})

    app = web.Application(client_max_size=2**30)
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = vf.EvalClientConfig(
        base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/v1", api_key_var="NONE"
    )
    context = vf.ModelContext(client=client, model="any", sampling=vf.SamplingConfig())
    options = {"id": "declutch-games", "suite": suite, "split": "L0", "max_steps": plan.num_steps}
    env = vf.load_environment(vf.resolve_env_config({"taskset": options}))
    at_once = 1 if suite == OFFICIAL else NUM_AT_ONCE
    tasks = list(env.taskset.take(at_once))
    async with env.serving():
        for _ in plan.games_of():
            episodes = await asyncio.gather(*(env.run_episode(task, context) for task in tasks))
            for episode in episodes:
                assert episode.ok, episode.errors
                steps += episode.num_turns
    await runner.cleanup()
    return steps


PLAYS: dict[str, Play] = {
    "alone": play_alone,
    "gymnasium": play_gymnasium,
    "vector": play_vector,
    "trl": play_trl,
    "openenv": play_openenv,
    "verifiers": play_verifiers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="folder that holds json_2.1.1; $ALFWORLD_DATA")
    parser.add_argument("--only", default=",".join(PLAYS), help="names, separated by commas")
    parser.add_argument("--num-steps", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--official-games", type=int, default=1)
    args = parser.parse_args()
    if args.data is not None:
        os.environ["ALFWORLD_DATA"] = str(args.data)
    ours = Plan(args.num_steps, 1, args.seconds)
    official = Plan(args.num_steps, args.official_games, 0.0)
    print("| framework | ours, steps per CPU second | official | ratio | beside the engine |")
    print("|---|---|---|---|---|")
    measure(play_alone, OURS, Plan(args.num_steps, 1, 0.0))  # compiles the games
    alone = measure(play_alone, OURS, ours)
    for name in args.only.split(","):
        play = PLAYS[name]
        try:
            measure(play, OURS, Plan(args.num_steps, 1, 0.0))
            fast = alone if name == "alone" else measure(play, OURS, ours)
        except ImportError as error:
            print(f"| {name} | not measured: {error} |")
            continue
        except Exception as error:
            if type(error).__name__ != "UserError" or "needs the package" not in str(error):
                raise
            print(f"| {name} | not measured: {error} |")
            continue
        slow = measure(play, OFFICIAL, official)
        ratio = fast.rate / slow.rate
        verdict = "" if ratio >= WANTED else f" (wanted {WANTED}x)"
        beside = (1 / fast.rate - 1 / alone.rate) * 1e6
        print(
            f"| {name} | {fast.rate:,.0f} | {slow.rate:,.1f} | {ratio:,.0f}x{verdict} | "
            f"{beside:,.0f} µs |",
            flush=True,
        )


if __name__ == "__main__":
    main()
