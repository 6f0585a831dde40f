"""Where an iteration's time goes on 1 to 512 GPUs, by a discrete-event simulation (needs simpy).

    python benchmarks/cluster_sim.py
    python benchmarks/cluster_sim.py --gpus 8 --episodes 128 --environment alfworld-official
    OMP_NUM_THREADS=1 python benchmarks/cluster_sim.py --check MODEL

Players, servers and episodes of `declutch cluster train` are processes of simpy: an episode asks a
player for its step and a server for its response, in turn, until it ends. A server decodes all the
rows that it has at once, a token of each at a time. What everything costs is in `Costs`. Seconds of
environments are measured on a core; those of GPUs are reckoned from an H100's data sheet for a
model of 1.5 B parameters, and are no measurement.

With --check, costs of this machine are measured on an iteration of few episodes, in one process:
what a player does for a response, what a decoding step takes with few rows and with many, and the
rest. An iteration of more episodes is then simulated, and played and learned from for real. All of
it is in seconds of the processor, which other work does not change much.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from typing import Any

import simpy
import torch

from declutch.config.files import load_config
from declutch.config.run import Config
from declutch.envs.protocol import Suite
from declutch.envs.registry import make_suite
from declutch.ground.streams import derive_seed
from declutch.judge.round import JudgeRound
from declutch.records import Completion, Episode, Request, SamplingParams, Step, TaskId
from declutch.report.cells import count_cell, number_cell, percent_cell
from declutch.report.drawers.markdown import draw_markdown
from declutch.report.sheet import Cell, Column, Sheet, SheetRow
from declutch.rollout.collect import CollectParams, Play, collect
from declutch.rollout.hf.engine import HFEngine
from declutch.rollout.policy import Policy
from declutch.rollout.tasks import draw_tasks
from declutch.train.learn import Learner

ENVIRONMENTS = {
    # Seconds of a step and of a reset on one core.
    "alfworld": (0.00003, 0.0002),
    "alfworld-official": (0.057, 1.27),
    "scienceworld": (0.037, 0.4),
}
"""What a step and a reset cost, measured: alfworld is this project's engine, which households have
too, and scienceworld is the simulator behind this project's client."""
LOOKED_AT = 8
"""Of many servers, as many are looked at for the one with the fewest rows."""
CHUNK = 8
"""As many tokens a server decodes in one event where nobody waits; a newcomer waits so long."""
FEW, MANY, FIXED_TOKENS = 4, 48, 16
"""Rows and tokens of the decoding that --check measures."""
REPEATS = 3
"""How often --check measures what takes seconds."""


@dataclass(frozen=True)
class Costs:
    """What the simulation reckons with.

    Attributes:
        parameters: of the model.
        step_seconds, reset_seconds: of the environment.
        handling_seconds: of a player for one response: prompt, tokens, parsing, the call to a
            server.
        decode_base, decode_row: seconds of a decoding step, and what each row of it adds.
        prefill_rate: prompt tokens a second of one GPU.
        train_flops: useful operations a second of one GPU in forward and backward passes.
        sync_seconds: handing the weights over.
        prompt_tokens, response_tokens: means of a step of the agent.
        share_cached: of a prompt's tokens, those that the server still has from the step before.
        max_steps: of an episode; how many it takes is drawn evenly up to it.
        judgments: questions times judgments of an iteration (K x N), for 128 episodes.
        max_rows: rows that a server decodes at once.
    """

    parameters: float = 1.5e9
    step_seconds: float = 0.00003
    reset_seconds: float = 0.0002
    handling_seconds: float = 0.004
    decode_base: float = 0.008
    decode_row: float = 0.00003
    prefill_rate: float = 60_000.0
    train_flops: float = 3.0e14
    sync_seconds: float = 4.0
    prompt_tokens: float = 620
    response_tokens: float = 120
    share_cached: float = 0.6
    max_steps: int = 30
    judgments: int = 240
    max_rows: int = 256


@dataclass(frozen=True)
class Shape:
    """What is simulated: GPUs, processes that play, episodes, and what waits for what.

    Attributes:
        players_per_gpu: processes that play, and cores for them, to each GPU.
        is_asynchronous: the next iteration is played while this one is learned from.
        is_one_process: one core plays and samples, and does one thing at a time.
    """

    gpus: int
    episodes: int
    players_per_gpu: int = 2
    is_asynchronous: bool = False
    is_one_process: bool = False


@dataclass(frozen=True)
class Outcome:
    """Seconds of one iteration and how busy everybody was.

    Attributes:
        play, judge, update, whole: seconds; the first two end with their last response.
        player_share, server_share: of the time of playing that a player, or a server, was busy.
    """

    play: float
    judge: float
    update: float
    whole: float
    player_share: float
    server_share: float

    @property
    def limit(self) -> str:
        """What an iteration waits for most."""
        if self.update > self.play + self.judge:
            return "update"
        return "environments" if self.player_share > 0.6 else "sampling"


class Server:
    """One GPU that decodes the rows it has together; a token takes longer the more there are."""

    def __init__(self, env: simpy.Environment, costs: Costs, core: simpy.Resource | None) -> None:
        self.env, self.costs, self.core = env, costs, core
        self.waiting: deque[tuple[float, int, Any]] = deque()
        self.rows: list[tuple[int, int, Any]] = []
        self.busy, self.tokens, self.asked = 0.0, 0, 0
        self.woken = env.event()
        env.process(self.run())

    def respond(self, prompt: float, tokens: int) -> Any:
        """An event that happens when a response of so many tokens is there."""
        done = self.env.event()
        self.waiting.append((prompt, tokens, done))
        if not self.woken.triggered:
            self.woken.succeed()
        return done

    def run(self) -> Iterator[Any]:
        while True:
            if not self.rows and not self.waiting:
                self.woken = self.env.event()
                yield self.woken
            turn = self.core.request() if self.core is not None else None
            if turn is not None:
                yield turn
            seconds, tokens = self._begin()
            yield self.env.timeout(seconds)
            if turn is not None and self.core is not None:
                self.core.release(turn)
            self.busy += seconds
            self.tokens += tokens
            while self.rows and self.rows[0][0] <= self.tokens:
                heappop(self.rows)[2].succeed()

    def _begin(self) -> tuple[float, int]:
        """Take in who waits; seconds of the next decoding steps, and how many those are."""
        costs, prefill = self.costs, 0.0
        while self.waiting and len(self.rows) < costs.max_rows:
            prompt, tokens, done = self.waiting.popleft()
            prefill += prompt
            self.asked += 1
            heappush(self.rows, (self.tokens + tokens, self.asked, done))
        ahead = self.rows[0][0] - self.tokens
        tokens = min(ahead, CHUNK) if self.core is None else 1
        pace = costs.decode_base + costs.decode_row * len(self.rows)
        return prefill / costs.prefill_rate + tokens * pace, tokens


class World:
    """The processes of a cluster at work on one iteration."""

    def __init__(self, costs: Costs, shape: Shape, seed: int) -> None:
        self.env, self.costs = simpy.Environment(), costs
        self.rng = Random(seed)
        core = simpy.Resource(self.env) if shape.is_one_process else None
        self.servers = [Server(self.env, costs, core) for _ in range(shape.gpus)]
        count = shape.gpus * shape.players_per_gpu
        self.players = [core] if core is not None else make_players(self.env, count)
        self.played = 0.0
        self.num_steps = 0

    def serve(self, prompt: float, tokens: int) -> Any:
        """The server with the fewest rows and waiting responses."""
        servers = self.servers
        if len(servers) > LOOKED_AT:
            servers = self.rng.sample(servers, LOOKED_AT)
        server = min(servers, key=lambda each: len(each.rows) + len(each.waiting))
        return server.respond(prompt, tokens)

    def work(self, player: simpy.Resource, seconds: float) -> Iterator[Any]:
        with player.request() as turn:
            yield turn
            yield self.env.timeout(seconds)
        self.played += seconds

    def length(self) -> int:
        """Tokens of a response: most are short, some long."""
        mean = self.costs.response_tokens
        return max(1, min(round(8 * mean), round(mean * self.rng.gammavariate(2.0, 0.5))))

    def episode(self, number: int) -> Iterator[Any]:
        costs, player = self.costs, self.players[number % len(self.players)]
        before = costs.reset_seconds
        for step in range(self.rng.randint(1, costs.max_steps)):
            fresh = 1.0 if step == 0 else 1 - costs.share_cached
            yield from self.work(player, before + costs.handling_seconds)
            yield self.serve(costs.prompt_tokens * fresh, self.length())
            before = costs.step_seconds
            self.num_steps += 1
        yield from self.work(player, before)

    def judgment(self) -> Iterator[Any]:
        yield self.serve(self.costs.prompt_tokens * 1.6, self.length())


def make_players(env: simpy.Environment, count: int) -> list[simpy.Resource]:
    return [simpy.Resource(env) for _ in range(count)]


def simulate(costs: Costs, shape: Shape, seed: int = 0) -> Outcome:
    """Simulate one iteration: episodes, judgments, log-probabilities, update, weights."""
    if shape.is_asynchronous:
        # Half of the GPUs sample while the other half learn, and the slower half is waited for.
        half = replace(shape, gpus=max(shape.gpus // 2, 1), is_asynchronous=False)
        one = simulate(costs, half, seed)
        return replace(one, whole=max(one.play + one.judge, one.update))
    world = World(costs, shape, seed)
    env = world.env
    env.run(env.all_of([env.process(world.episode(n)) for n in range(shape.episodes)]))
    play = env.now
    players = world.played / max(play * len(world.players), 1e-9)
    servers = sum(each.busy for each in world.servers) / max(play * len(world.servers), 1e-9)
    judgments = round(costs.judgments * shape.episodes / 128)
    if judgments:
        env.run(env.all_of([env.process(world.judgment()) for _ in range(judgments)]))
    judge = env.now - play
    per_row, per_judgment = (
        share * costs.prompt_tokens + costs.response_tokens for share in (1.0, 1.6)
    )
    tokens = world.num_steps * per_row + judgments * per_judgment
    # Two passes forward, of the policy and of the reference, and one forward and backward.
    operations = tokens * costs.parameters * (2 + 2 + 6)
    update = operations / (costs.train_flops * shape.gpus) + costs.sync_seconds
    return Outcome(play, judge, update, play + judge + update, players, servers)


def make_sheet(rows: Sequence[dict[str, Any]]) -> Sheet:
    """The table of what was simulated."""
    names = "GPUs", "episodes", "play", "judge", "update", "iteration"
    columns = [Column("environment", is_words=True)]
    columns += [
        Column(name, "s" if name.islower() and name != "episodes" else "") for name in names
    ]
    columns += [
        Column("players busy", "%"),
        Column("waits for", is_words=True),
        Column("ahead", "s"),
    ]
    found = []
    for row in rows:
        one = Outcome(**row["outcome"])
        cells = [Cell(row["environment"]), count_cell(row["gpus"]), count_cell(row["episodes"])]
        cells += [number_cell(x) for x in (one.play, one.judge, one.update, one.whole)]
        cells += [percent_cell(one.player_share), Cell(one.limit)]
        cells.append(number_cell(row["asynchronous"]) if row["gpus"] > 1 else Cell(""))
        found.append(SheetRow(tuple(cells)))
    note = "ahead: an iteration where half of the GPUs sample the next one meanwhile"
    return Sheet("Simulated iterations", tuple(columns), tuple(found), notes=(note,))


class Replay:
    """An engine that answers at once what was once sampled for the same prompt."""

    def __init__(self, episodes: Sequence[Episode]) -> None:
        self.known = {
            tuple(step.prompt_ids.tolist()): step for each in episodes for step in each.steps
        }

    async def sample(self, request: Request) -> Completion:
        step = self.known[tuple(request.prompt_ids.tolist())]
        return Completion(step.response_ids, step.sample_logprobs, step.is_truncated)

    def sync(self, model: torch.nn.Module) -> None:
        del model


def seconds_of(work: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Seconds of the processor that something takes, the median of several times; what it gives."""
    spent = []
    for _ in range(repeats):
        began = time.process_time()
        found = work()
        spent.append(time.process_time() - began)
    return statistics.median(spent), found


@dataclass(frozen=True)
class Machine:
    """This machine with a model on it, whose costs are measured."""

    config: Config
    learner: Learner
    suite: Suite

    @property
    def policy(self) -> Policy:
        return self.learner.policy

    def tasks(self, episodes: int, draw: int) -> Sequence[TaskId]:
        """The tasks of an iteration of so many episodes, of that number."""
        config = self.config
        tasks = self.suite.tasks(config.train.split)
        return draw_tasks(tasks, episodes // config.train.group_size, config.seed, draw)

    def reset(self, tasks: Sequence[TaskId]) -> None:
        """Begin a game of each."""
        for task in tasks:
            self.suite.make_env().reset(task)

    def play(self, episodes: int, draw: int, engine: Any = None) -> list[Episode]:
        """Play so many episodes, in groups, as an iteration of that number does."""
        config, size = self.config, self.config.train.group_size
        plays = [
            Play(task, group, derive_seed(draw, "check", 0, group, member))
            for group, task in enumerate(self.tasks(episodes, draw))
            for member in range(size)
        ]
        params = CollectParams(config.train.max_steps, config.rollout.temperature)
        agent, engine = self.policy.agent, engine or self.policy.engine
        return collect(plays, self.suite, agent, engine, params)

    def learn(self, episodes: Sequence[Episode], iteration: int) -> None:
        """One update from episodes, without a judge."""
        credited = self.learner.credit(episodes)
        self.learner.update(credited, JudgeRound.empty(), iteration)

    def decode(self, steps: Sequence[Step], tokens: int) -> float:
        """Seconds of sampling responses of so many tokens to prompts of steps."""
        params = SamplingParams(1.0, tokens, ())
        asked = [Request(step.prompt_ids, params=params, seed=i) for i, step in enumerate(steps)]
        engine = HFEngine(self.policy.model, self.policy.tokenizer.pad_token_id or 0, len(asked))
        return seconds_of(lambda: engine.generate(asked))[0]


def measure(machine: Machine, episodes: int) -> Costs:
    """Costs on this machine, from an iteration of few episodes and its parts."""
    machine.learn(machine.play(episodes, 0), 0)
    # A game is read when it begins for the first time.
    resetting, _ = seconds_of(lambda: machine.reset(machine.tasks(episodes, 1)))
    playing, played = seconds_of(lambda: machine.play(episodes, 1), REPEATS)
    steps = [step for episode in played for step in episode.steps]
    replaying, _ = seconds_of(lambda: machine.play(episodes, 1, Replay(played)))
    decoding = [
        (machine.decode(steps[:rows], FIXED_TOKENS) - machine.decode(steps[:rows], 1))
        / (FIXED_TOKENS - 1)
        for rows in (FEW, MANY)
    ]
    row = max((decoding[1] - decoding[0]) / (MANY - FEW), 0.0)
    base = max(decoding[0] - FEW * row, 1e-6)
    learning, _ = seconds_of(lambda: machine.learn(played, 1), REPEATS)
    half = played[: len(played) // 2]
    learning_half, _ = seconds_of(lambda: machine.learn(half, 1), REPEATS)
    share = sum(len(episode.steps) for episode in half) / len(steps)
    # What does not grow with the rows, such as the optimizer's steps themselves.
    fixed = min(max((learning_half - share * learning) / (1 - share), 0.0), 0.9 * learning)
    prompt = sum(step.prompt_ids.numel() for step in steps) / len(steps)
    response = sum(step.response_ids.numel() for step in steps) / len(steps)
    size = sum(parameter.numel() for parameter in machine.policy.model.parameters())
    costs = Costs(
        parameters=size,
        step_seconds=0.0,
        reset_seconds=0.0,
        handling_seconds=replaying / len(steps),
        decode_base=base,
        decode_row=row,
        prefill_rate=1e12,
        train_flops=len(steps) * (prompt + response) * size * 10 / (learning - fixed),
        sync_seconds=fixed,
        prompt_tokens=prompt,
        response_tokens=response,
        share_cached=0.0,
        max_steps=max(round(2 * len(steps) / episodes - 1), 1),
        judgments=0,
    )
    # What is left of the time is that of the prompts.
    known = simulate(costs, Shape(1, episodes, is_one_process=True)).play
    rest = max(playing - known, 1e-3 * playing)
    costs = replace(costs, prefill_rate=len(steps) * prompt / rest)
    return replace(costs, reset_seconds=resetting / episodes)


def check(config: Config, few: int, many: int) -> Sheet:
    """Predict an iteration of many episodes from one of few, and measure it."""
    machine = Machine(config, Learner.start(config, None), make_suite(config.env))
    costs = measure(machine, few)
    told = simulate(costs, Shape(1, many, is_one_process=True))
    playing, played = seconds_of(lambda: machine.play(many, 2), REPEATS)
    learning, _ = seconds_of(lambda: machine.learn(played, 2), REPEATS)
    columns = (Column("of", is_words=True), Column("simulated", "s"), Column("measured", "s"))
    pairs = (("play", told.play, playing), ("update", told.update, learning))
    rows = tuple(
        SheetRow((Cell(name), number_cell(one, 2), number_cell(other, 2)))
        for name, one, other in pairs
    )
    steps = sum(len(episode.steps) for episode in played)
    note = (
        f"{many} episodes of {steps} steps, costs from {few}: {costs.handling_seconds * 1000:.2f} "
        f"ms a response, {costs.decode_base * 1000:.2f} ms and {costs.decode_row * 1000:.3f} ms a "
        f"row for a token of each, {costs.prefill_rate:,.0f} prompt tokens a second"
    )
    return Sheet("One process, seconds of the processor", columns, rows, notes=(note,))


def sweep(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Simulate every size that was asked for."""
    rows = []
    for name in given.environment:
        step, reset = ENVIRONMENTS[name]
        costs = replace(Costs(step_seconds=step, reset_seconds=reset), **json.loads(given.costs))
        for gpus in given.gpus:
            for episodes in given.episodes:
                # More than this on one GPU nobody would wait for, the simulation included.
                if episodes > given.most_per_gpu * gpus:
                    continue
                shape = Shape(gpus, episodes, given.players_per_gpu)
                ahead = simulate(costs, replace(shape, is_asynchronous=True)).whole
                one = asdict(simulate(costs, shape))
                row = {"environment": name, "gpus": gpus, "episodes": episodes, "outcome": one}
                rows.append({**row, "asynchronous": ahead})
    return rows


def main() -> None:
    """Print a table of what was simulated, or of what was simulated and measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--episodes", type=int, nargs="+", default=[128, 1024, 8192, 65536])
    parser.add_argument("--environment", nargs="+", choices=ENVIRONMENTS, default=[*ENVIRONMENTS])
    parser.add_argument("--players-per-gpu", type=int, default=2)
    parser.add_argument("--most-per-gpu", type=int, default=256, help="Larger ones are left out.")
    parser.add_argument("--costs", default="{}", help="Costs to change, as JSON.")
    parser.add_argument("--out", type=Path, help="A file for the numbers, as JSON.")
    parser.add_argument("--check", metavar="MODEL", help="Measure one process with this model.")
    parser.add_argument("--config", type=Path, action="append", default=[], help="For --check.")
    parser.add_argument("--set", nargs="*", default=[], help="Settings KEY=VALUE for --check.")
    given = parser.parse_args()
    if given.check:
        torch.set_num_threads(1)
        # Costs are measured by learning from the same episodes again, which fit no longer then, and
        # with a divergence, so that every row is learned from, as is simulated.
        items = [f"model.path={given.check}", "loss.max_mismatch=1000", "loss.kl_coef=0.001"]
        items += given.set
        config = load_config(given.config, items)
        print(draw_markdown(check(config, min(given.episodes), max(given.episodes))))
        return
    rows = sweep(given)
    print(draw_markdown(make_sheet(rows)))
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
