"""Where an iteration's time goes on 1 to 512 GPUs, by a discrete-event simulation.

    python benchmarks/cluster_sim.py
    python benchmarks/cluster_sim.py --gpus 8 --episodes 128 --environment alfworld-official

Episodes, servers, players and the learner of `declutch cluster train` are processes of simpy: an
episode asks a player for its step and a server for its response, in turn, until it ends. What each
costs is in `Costs`; the defaults of environments are measured on a CPU core, those of GPUs are
reckoned from an H100's data sheet and are no measurement. Needs simpy.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any

import simpy
from rich.console import Console
from rich.table import Table

ENVIRONMENTS = {
    # Seconds of a step and of a reset on one core.
    "households": (0.00003, 0.0002),
    "alfworld": (0.00003, 0.0002),
    "alfworld-official": (0.057, 1.27),
    "scienceworld": (0.037, 0.4),
}
"""What a step and a reset cost: our engines and the official ones, measured (see docs)."""


@dataclass(frozen=True)
class Costs:
    """What the simulation reckons with.

    Attributes:
        parameters: of the model.
        step_seconds, reset_seconds: of the environment.
        handling_seconds: of a player for one response: prompt, tokens, parsing, the call to a
            server.
        decode_base, decode_row: seconds of a decoding step, and what each further row adds.
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
    prompt_tokens: int = 620
    response_tokens: int = 120
    share_cached: float = 0.6
    max_steps: int = 30
    judgments: int = 240
    max_rows: int = 256


@dataclass(frozen=True)
class Shape:
    """What is simulated: GPUs, processes that play, episodes, and whether rollouts wait.

    Attributes:
        players_per_gpu: processes that play, and cores for them, to each GPU.
        is_asynchronous: the next iteration is played while this one is learned from.
    """

    gpus: int
    episodes: int
    players_per_gpu: int = 2
    is_asynchronous: bool = False


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


class _Server:
    """One GPU that decodes rows together: a token of one takes longer the more there are."""

    def __init__(self, env: simpy.Environment, costs: Costs) -> None:
        self.env, self.costs = env, costs
        self.seats = simpy.Resource(env, capacity=costs.max_rows)
        self.busy, self._since = 0.0, 0.0

    def respond(self, prompt: float, tokens: int) -> Iterator[Any]:
        costs = self.costs
        with self.seats.request() as seat:
            yield seat
            if self.seats.count == 1:
                self._since = self.env.now
            # The rows that are there now stand for those that are there while it is decoded.
            pace = costs.decode_base + costs.decode_row * self.seats.count
            yield self.env.timeout(prompt / costs.prefill_rate + tokens * pace)
            if self.seats.count == 1:
                self.busy += self.env.now - self._since


class _World:
    def __init__(self, costs: Costs, shape: Shape, seed: int) -> None:
        self.env, self.costs, self.shape = simpy.Environment(), costs, shape
        self.rng = Random(seed)
        self.servers = [_Server(self.env, costs) for _ in range(shape.gpus)]
        count = shape.gpus * shape.players_per_gpu
        self.players = [simpy.Resource(self.env) for _ in range(count)]
        self.played = 0.0
        self.num_steps = 0

    def serve(self, prompt: float, tokens: int) -> Iterator[Any]:
        """The server with the fewest rows and waiting responses."""
        server = min(self.servers, key=lambda each: each.seats.count + len(each.seats.queue))
        yield from server.respond(prompt, tokens)

    def work(self, player: simpy.Resource, seconds: float) -> Iterator[Any]:
        with player.request() as turn:
            yield turn
            yield self.env.timeout(seconds)
        self.played += seconds

    def length(self) -> int:
        """Tokens of a response: most are short, some long."""
        mean = self.costs.response_tokens
        return max(1, min(8 * mean, round(mean * self.rng.gammavariate(2.0, 0.5))))

    def episode(self, number: int) -> Iterator[Any]:
        costs, player = self.costs, self.players[number % len(self.players)]
        yield from self.work(player, costs.reset_seconds)
        for step in range(self.rng.randint(1, costs.max_steps)):
            fresh = 1.0 if step == 0 else 1 - costs.share_cached
            yield from self.work(player, costs.handling_seconds)
            yield from self.serve(costs.prompt_tokens * fresh, self.length())
            yield from self.work(player, costs.step_seconds)
            self.num_steps += 1

    def judgment(self) -> Iterator[Any]:
        yield from self.serve(self.costs.prompt_tokens * 1.6, self.length())


def simulate(costs: Costs, shape: Shape, seed: int = 0) -> Outcome:
    """Simulate one iteration: episodes, judgments, log-probabilities, update, weights."""
    world = _World(costs, shape, seed)
    env = world.env
    env.run(env.all_of([env.process(world.episode(n)) for n in range(shape.episodes)]))
    play = env.now
    players = world.played / max(play * len(world.players), 1e-9)
    servers = sum(s.busy for s in world.servers) / max(play * len(world.servers), 1e-9)
    judgments = round(costs.judgments * shape.episodes / 128)
    if judgments:
        env.run(env.all_of([env.process(world.judgment()) for _ in range(judgments)]))
    judge = env.now - play
    per_row = costs.prompt_tokens + costs.response_tokens
    tokens = world.num_steps * per_row + judgments * (1.6 * costs.prompt_tokens + per_row) / 1.6
    # Two passes forward, of the policy and of the reference, and one forward and backward.
    operations = tokens * costs.parameters * (2 + 2 + 6)
    update = operations / (costs.train_flops * shape.gpus) + costs.sync_seconds
    whole = play + judge + update
    if shape.is_asynchronous:
        # Half of the GPUs sample while the other half learn, and the slower half is waited for.
        half = replace(shape, gpus=max(shape.gpus // 2, 1), is_asynchronous=False)
        other = simulate(costs, half, seed)
        whole = max(other.play + other.judge, other.update)
        return Outcome(other.play, other.judge, other.update, whole, players, servers)
    return Outcome(play, judge, update, whole, players, servers)


def limit_of(outcome: Outcome) -> str:
    """What an iteration waits for most."""
    if outcome.update > outcome.play + outcome.judge:
        return "update"
    return "environments" if outcome.player_share > 0.6 else "sampling"


def draw(rows: list[dict[str, Any]]) -> Table:
    """The table of what was simulated."""
    table = Table()
    names = "environment", "gpus", "episodes", "play s", "judge s", "update s", "whole s"
    for name in (*names, "players busy", "limit", "async s"):
        table.add_column(name, justify="left" if name in ("environment", "limit") else "right")
    for row in rows:
        one = Outcome(**row["outcome"])
        table.add_row(
            row["environment"],
            str(row["gpus"]),
            f"{row['episodes']:,}",
            f"{one.play:.0f}",
            f"{one.judge:.0f}",
            f"{one.update:.0f}",
            f"{one.whole:.0f}",
            f"{one.player_share:.0%}",
            limit_of(one),
            f"{row['asynchronous']:.0f}" if row["gpus"] > 1 else "",
        )
    return table


def main() -> None:
    """Simulate every size that was asked for, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--episodes", type=int, nargs="+", default=[128, 1024, 8192, 65536])
    parser.add_argument("--environment", nargs="+", choices=ENVIRONMENTS, default=[*ENVIRONMENTS])
    parser.add_argument("--players-per-gpu", type=int, default=2)
    parser.add_argument("--costs", default="{}", help="Costs to change, as JSON.")
    parser.add_argument("--out", help="A file that the numbers are written to as JSON.")
    given = parser.parse_args()
    rows = []
    for name in given.environment:
        step, reset = ENVIRONMENTS[name]
        costs = Costs(step_seconds=step, reset_seconds=reset)
        costs = replace(costs, **json.loads(given.costs))
        for gpus in given.gpus:
            for episodes in given.episodes:
                # More than this on one GPU nobody would wait for, the simulation included.
                if episodes > 2048 * gpus:
                    continue
                shape = Shape(gpus, episodes, given.players_per_gpu)
                ahead = simulate(costs, replace(shape, is_asynchronous=True)).whole
                rows.append(
                    {
                        "environment": name,
                        "gpus": gpus,
                        "episodes": episodes,
                        "outcome": asdict(simulate(costs, shape)),
                        "asynchronous": ahead,
                    }
                )
    Console().print(draw(rows))
    if given.out:
        with open(given.out, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
