"""Milliseconds for the advantages of an iteration, against verl's functions and plain loops.

    OMP_NUM_THREADS=1 python benchmarks/credit.py [--rounds 7] [--threads 1] [--seed 0]

It needs verl, which `make test` installs. An iteration has 16 groups x 8 episodes x 30 steps x 64
tokens; half of the episodes are won, and a group has 12 different observations. Every way computes
the advantage of every token in the same process, and the ways take turns. The numbers are medians
of CPU milliseconds. verl's samples are the steps, each with its episode's return, and measured are
its loop versions of GRPO and RLOO, its vectorised versions of them, and its GAE. The rows "loops"
are the versions that our tests compare with. They start from Python lists and stop at the steps'
advantages.

The cost of NTHR depends on the vocabulary and the width of the model, which are printed with it.
Its episodes have 8 steps. Its loops are measured against our function on a single matched group of
8 samples of 8 tokens. Its memory is what the peak of a process of its own grows by, without the
probes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from declutch.config.algorithm import METHODS
from declutch.credit.nthr import BLOCK_TOKENS
from declutch.credit.registry import find_method
from declutch.credit.table import spread_to_tokens
from declutch.records import META_TAGS, Probes, StepTable

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "oracles"))
import credit_oracle
import nthr_oracle

NUM_GROUPS, GROUP_SIZE, NUM_TOKENS = 16, 8, 64
NUM_STEPS, NUM_NTHR_STEPS = 30, 8
NUM_OBSERVATIONS = 12
VOCABULARY, WIDTH = 2000, 128
Work = Callable[[], object]


@dataclass(frozen=True)
class Workload:
    """An iteration: its table, what was probed, and each step's return in the form verl takes."""

    table: StepTable
    probes: Probes
    rewards: Tensor
    values: Tensor


def draw_workload(num_groups: int, num_steps: int, num_tokens: int, seed: int) -> Workload:
    """A random iteration whose episodes all have `num_steps` steps of `num_tokens` tokens."""
    draw = torch.Generator().manual_seed(seed)
    num_episodes = num_groups * GROUP_SIZE
    count = num_episodes * num_steps
    episode = torch.arange(num_episodes).repeat_interleave(num_steps)
    group = episode // GROUP_SIZE
    is_won = torch.arange(num_episodes) % 2 == 0
    position = torch.arange(num_steps).repeat(num_episodes)
    reward = (is_won[episode] & (position == num_steps - 1)).float()
    seen = torch.randint(0, NUM_OBSERVATIONS, (count,), generator=draw)
    yes = torch.ones(count, dtype=torch.bool)
    table = StepTable(
        group=group,
        episode=episode,
        position=position,
        anchor=group * NUM_OBSERVATIONS + seen,
        action=torch.randint(0, 40, (count,), generator=draw),
        tag=torch.randint(0, 4, (count,), generator=draw),
        reward=reward,
        is_valid=yes,
        is_admissible=yes,
        is_won=is_won[episode],
        num_tokens=torch.full((count,), num_tokens),
    )
    values = torch.randn(count, num_tokens, generator=draw)
    rewards = torch.zeros(count, num_tokens)
    rewards[:, -1] = is_won[episode].float()
    token_ids = torch.randint(0, VOCABULARY, (count * num_tokens,), generator=draw)
    return Workload(table, Probes(token_ids, values=values.flatten()), rewards, values)


def with_hidden(work: Workload, seed: int) -> Workload:
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(len(work.probes.token_ids), WIDTH, generator=draw)
    readout = 0.1 * torch.randn(VOCABULARY, WIDTH, generator=draw)
    return replace(work, probes=replace(work.probes, hidden=hidden, readout=readout))


def ours(name: str, work: Workload) -> Work:
    """Compute one of our methods with its default settings, for every token: f32[K]."""
    method, config = find_method(name), find_method(name).config()

    def run() -> Tensor:
        advantage = method.advantage(work.table, work.probes, config)
        return advantage if method.is_per_token else spread_to_tokens(work.table, advantage)

    return run


def verl(work: Workload) -> dict[str, dict[str, Work]]:
    """verl's functions, by our name of the method and by what the row is called."""
    # Not for the process that measures memory.
    from verl.trainer.ppo import core_algos

    mask, index = torch.ones_like(work.rewards), work.table.group.numpy()

    def outcome(name: str) -> Work:
        return lambda: core_algos.get_adv_estimator_fn(name)(work.rewards, mask, index)

    def gae() -> object:
        return core_algos.compute_gae_advantage_return(work.rewards, work.values, mask, 1.0, 1.0)

    return {
        "grpo": {"verl, loop": outcome("grpo"), "verl, vectorised": outcome("grpo_vectorized")},
        "rloo": {"verl, loop": outcome("rloo"), "verl, vectorised": outcome("rloo_vectorized")},
        "ppo": {"verl": gae},
    }


def loops(work: Workload) -> dict[str, Work]:
    """The versions of the tests, for those methods that have one for a whole table."""
    table = work.table
    sizes = table.episode.bincount().tolist()
    rewards = [part.tolist() for part in table.reward.split(sizes)]
    seen = [part.tolist() for part in table.anchor.split(sizes)]
    groups = [int(part[0]) for part in table.group.split(sizes)]
    values, final = work.values.tolist(), work.rewards.tolist()
    plan = list(zip(groups, rewards, strict=True))
    full = list(zip(groups, rewards, seen, strict=True))
    named = zip(table.tag.tolist(), table.action.tolist(), strict=True)
    acts = iter([(META_TAGS[tag], action, True, True) for tag, action in named])
    reasoned = [(group, sum(each) > 0, each, [next(acts) for _ in each]) for group, each in plan]
    return {
        "grpo": lambda: credit_oracle.grpo(plan),
        "rloo": lambda: credit_oracle.rloo(plan),
        "gigpo": lambda: credit_oracle.gigpo(full),
        "hgpo": lambda: credit_oracle.hgpo(full),
        "rlvmr": lambda: credit_oracle.rlvmr(reasoned),
        "ppo": lambda: [
            credit_oracle.gae(v, r, 1.0, 1.0) for v, r in zip(values, final, strict=True)
        ],
    }


def nthr_loops(work: Workload) -> Work:
    """Compute NTHR in double loops over tokens, and the vocabulary-wide vectors with it."""
    probes, table = work.probes, work.table
    assert probes.hidden is not None
    assert probes.readout is not None
    hidden, readout = probes.hidden, probes.readout
    sizes = table.num_tokens.tolist()

    def run() -> object:
        states = []
        for token, state in zip(probes.token_ids.tolist(), hidden, strict=True):
            error = -torch.softmax(readout @ state, -1)
            error[token] += 1
            states.append((token, state, error))
        by_step = [[states.pop(0) for _ in range(size)] for size in sizes]
        advantage = credit_oracle.grpo([(0, [reward]) for reward in table.reward.tolist()])
        return nthr_oracle.nthr(sizes, table.is_won.tolist(), by_step, advantage, 1.0)

    return run


def take_turns(ways: Sequence[Work], rounds: int) -> list[float]:
    """Median CPU milliseconds of each way, after a round that warms up."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds + 1):
        for way, found in zip(ways, times, strict=True):
            started = time.process_time()
            way()
            found.append(1e3 * (time.process_time() - started))
    return [statistics.median(found[1:]) for found in times]


def print_methods(work: Workload, rounds: int) -> None:
    theirs, plain = verl(work), loops(work)
    print(f"{'method':<8}{'ours, ms':>10}   {'against':<18}{'ms':>10}{'ratio':>9}  wanted")
    for name in METHODS:
        if name == "nthr":
            continue
        others = dict(theirs.get(name, {}))
        if name in plain:
            others["loops"] = plain[name]
        own, *rest = take_turns([ours(name, work), *others.values()], rounds)
        if not others:
            print(f"{name:<8}{own:>10.2f}   -")
        for other, value in zip(others, rest, strict=True):
            wanted = {"verl, loop": ">= 10", "verl": ">= 1"}.get(other, "")
            print(
                f"{name:<8}{own:>10.2f}   {other:<18}{value:>10.2f}{value / own:>8.1f}x  {wanted}"
            )


def print_nthr(rounds: int, seed: int) -> None:
    shape = (NUM_GROUPS, NUM_NTHR_STEPS, NUM_TOKENS)
    work = with_hidden(draw_workload(*shape, seed), seed)
    (own,) = take_turns([ours("nthr", work)], max(1, rounds // 3))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        growth = pool.apply(measure_growth, (*shape, seed))
    num_tokens = len(work.probes.token_ids)
    block = 3 * BLOCK_TOKENS * VOCABULARY
    bound = 4 * (VOCABULARY * WIDTH + block) / 2**20
    print(
        f"nthr, vocabulary {VOCABULARY}, width {WIDTH}: {own:,.0f} ms for {num_tokens:,} tokens "
        f"({NUM_GROUPS * GROUP_SIZE} x {NUM_NTHR_STEPS} x {NUM_TOKENS}), "
        f"{1e3 * own / num_tokens:.1f} us a token; "
        f"{growth:.0f} MiB beside {4 * num_tokens * WIDTH / 2**20:.0f} MiB of hidden states "
        f"(V D numbers and three blocks: {bound:.0f} MiB)"
    )
    small = with_hidden(draw_workload(1, 1, 8, seed), seed)
    small = replace(small, table=replace(small.table, anchor=torch.zeros_like(small.table.anchor)))
    own, slow = take_turns([ours("nthr", small), nthr_loops(small)], rounds)
    print(f"nthr, one group of 64 tokens: {own:.2f} ms, loops {slow:.2f} ms, {slow / own:.1f}x")


def measure_growth(num_groups: int, num_steps: int, num_tokens: int, seed: int) -> float:
    """MiB by which the peak of this process grows while NTHR runs, beyond what its inputs need."""
    torch.set_num_threads(1)
    ours("nthr", with_hidden(draw_workload(1, 1, 8, seed), seed))()
    run = ours("nthr", with_hidden(draw_workload(num_groups, num_steps, num_tokens, seed), seed))
    before = peak_memory()
    run()
    return peak_memory() - before


def peak_memory() -> float:
    """The largest memory of this process so far, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    work = draw_workload(NUM_GROUPS, NUM_STEPS, NUM_TOKENS, args.seed)
    print(
        f"{NUM_GROUPS * GROUP_SIZE} episodes x {NUM_STEPS} steps x {NUM_TOKENS} tokens, "
        f"{args.threads} thread(s), seed {args.seed}, median of {args.rounds}, CPU milliseconds"
    )
    print_methods(work, args.rounds)
    print_nthr(args.rounds, args.seed)


if __name__ == "__main__":
    main()
