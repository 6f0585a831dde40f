"""Seconds of sampling the steps of episodes, with and without keys and values of earlier steps.

    OMP_NUM_THREADS=1 python benchmarks/reuse.py [--engine vllm]

Prompts are full ones, of households that the expert plays with mistakes: 8 episodes x 6 steps, each
of a task of its own; with --group 4, of 2 tasks, whose episodes share beginnings in any case. The
model has the shape of SmolLM2-135M and random weights, which costs what trained ones cost; it
answers with a fixed number of tokens. A vocabulary of words takes the place of its tokenizer. Both
ways sample the same prompts in the same process, taking turns, and have to sample the same tokens.
vLLM, which cannot be told to keep nothing, is made to forget everything before each step; that is
not in its seconds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.rollout import HISTORY_LENGTH, play_episode
from declutch.agent.prompt import render_agent
from declutch.cold_start.tiny import init_tiny
from declutch.config.files import load_config
from declutch.config.policy import TinyConfig
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.envs.households.generate import HouseholdCounts, generate_households
from declutch.records import Completion, Request, SamplingParams, TaskId
from declutch.rollout.engine import holding
from declutch.rollout.hf.engine import HFEngine
from declutch.rollout.policy import make_engine
from declutch.rollout.vllm.engine import VLLMEngine

NUM_TASKS, GROUP_SIZE, NUM_STEPS = 8, 1, 6
SHAPE: dict[str, Any] = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
}


def play(folder: Path, size: int) -> list[list[str]]:
    """The full prompts of each step, one for each episode; nobody wins before the last step."""
    generate_households(folder, 0, HouseholdCounts(train=40, valid_seen=1, valid_unseen=1))
    suite = AlfworldSuite(folder, "households")
    episodes: list[list[str]] = []
    for task in suite.tasks("train"):
        group = [play_one(suite, task, member) for member in range(size)]
        if all(len(prompts) == NUM_STEPS for prompts in group):
            episodes += group
        if len(episodes) >= NUM_TASKS * GROUP_SIZE:
            break
    return [list(step) for step in zip(*episodes, strict=True)]


def play_one(suite: AlfworldSuite, task: TaskId, member: int) -> list[str]:
    return [
        render_agent(moment.view, "full", HISTORY_LENGTH, HOUSEHOLD)
        for moment in play_episode(suite, task, member, NUM_STEPS)
    ]


def encode(steps: list[list[str]], params: SamplingParams) -> list[list[Request]]:
    """A token for every word, each with the spaces around it."""
    words: dict[str, int] = {}

    def ids(text: str) -> torch.Tensor:
        found = text.replace("\n", " \n ").split(" ")
        return torch.tensor([words.setdefault(word, len(words)) for word in found])

    return [
        [
            Request(ids(prompt), params=params, seed=1000 * step + number)
            for number, prompt in enumerate(prompts)
        ]
        for step, prompts in enumerate(steps)
    ]


def make_model(folder: Path, num_layers: int) -> Any:
    """A model of random weights in a folder, with the tokenizer that vLLM wants to see there."""
    init_tiny(folder, ["a b"], TinyConfig(), seed=0)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**{**SHAPE, "num_hidden_layers": num_layers})
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@dataclass(frozen=True)
class Taken:
    """Seconds of all steps, by the clock and of the processor."""

    wall: float
    cpu: float


class Counter:
    """How many tokens a model is fed."""

    def __init__(self, model: Any) -> None:
        self.num_tokens = 0
        model.model.embed_tokens.register_forward_hook(self._count)

    def _count(self, module: Any, inputs: tuple[torch.Tensor], output: Any) -> None:
        self.num_tokens += inputs[0].numel()


def generate(engine: Any, requests: list[Request]) -> list[Completion]:
    """The responses to all requests, in order."""
    numbers = [engine.add(request) for request in requests]
    found: dict[int, Completion] = {}
    while len(found) < len(numbers):
        found |= dict(engine.step())
    return [found[number] for number in numbers]


def sample(
    engine: Any, model: Any, steps: list[list[Request]], is_held: bool
) -> tuple[Taken, list[Completion]]:
    """Sample step after step, as episodes do; with `is_held` on what earlier steps left."""
    wall = cpu = 0.0
    responses: list[Completion] = []
    is_vllm = isinstance(engine, VLLMEngine)
    with holding(engine) if is_held else nullcontext():
        for number, requests in enumerate(steps):
            if is_vllm and not (is_held and number):
                engine.sync(model)
            began = time.perf_counter(), time.process_time()
            responses += generate(engine, requests)
            wall += time.perf_counter() - began[0]
            cpu += time.process_time() - began[1]
    return Taken(wall, cpu), responses


def describe(steps: list[list[Request]]) -> str:
    """How long prompts are, and how much of them stands at the beginning of the one before."""
    lengths = [len(request.prompt_ids) for requests in steps for request in requests]
    begun = total = 0
    for before, after in pairwise(steps):
        for one, two in zip(before, after, strict=True):
            size = min(len(one.prompt_ids), len(two.prompt_ids))
            is_same = one.prompt_ids[:size] == two.prompt_ids[:size]
            begun += size if is_same.all() else int(is_same.int().argmin())
            total += len(two.prompt_ids)
    return f"prompts of {statistics.mean(lengths):.0f} tokens, {begun / total:.0%} as before"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--engine", default="hf", choices=("hf", "vllm"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--group", type=int, default=GROUP_SIZE, help="episodes of a task")
    parser.add_argument("--layers", type=int, default=SHAPE["num_hidden_layers"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    params = SamplingParams(1.0, options.new_tokens, ())
    with tempfile.TemporaryDirectory() as folder:
        steps = encode(play(Path(folder) / "games", options.group), params)
        model = make_model(Path(folder) / "model", options.layers)
        report(model, steps, options)


def report(model: Any, steps: list[list[Request]], options: argparse.Namespace) -> None:
    """Sample both ways in turns, and print what it took."""
    count = sum(p.numel() for p in model.parameters())
    print(
        f"{count / 1e6:.0f} M parameters, {options.threads} thread(s), {len(steps[0])} episodes x "
        f"{len(steps)} steps, {describe(steps)}, responses of {options.new_tokens}"
    )
    counter = Counter(model)
    if options.engine == "vllm":
        config = load_config(None, ["rollout.engine=vllm", "rollout.vllm.cache_gib=2"])
        engine: Any = make_engine(model, 0, config.rollout)
    else:
        engine = HFEngine(model, 0, keeps_rows=True)
    fed = {False: 0, True: 0}
    taken: dict[bool, list[Taken]] = {False: [], True: []}
    found: dict[bool, list[Completion]] = {}
    for number in range(options.rounds):
        for is_held in (False, True) if number % 2 else (True, False):
            counter.num_tokens = 0
            one, found[is_held] = sample(engine, model, steps, is_held)
            taken[is_held].append(one)
            fed[is_held] = counter.num_tokens
    same = sum(
        torch.equal(one.token_ids, two.token_ids)
        for one, two in zip(found[False], found[True], strict=True)
    )
    furthest = max(
        float((one.logprobs - two.logprobs).abs().max())
        for one, two in zip(found[False], found[True], strict=True)
        if torch.equal(one.token_ids, two.token_ids)
    )
    print(
        f"{same} of {len(found[True])} responses have the same tokens, log-probabilities within "
        f"{furthest:.1e}"
    )
    if options.engine == "hf":
        print(f"tokens computed, padding included: {fed[False]:,} anew, {fed[True]:,} held")
    for kind in ("wall", "cpu"):
        pairs = zip(taken[False], taken[True], strict=True)
        ratios = [getattr(plain, kind) / getattr(held, kind) for plain, held in pairs]
        seconds = [
            statistics.median(getattr(each, kind) for each in taken[is_held])
            for is_held in (False, True)
        ]
        print(
            f"{kind:5} seconds: {seconds[0]:.2f} anew, {seconds[1]:.2f} with what was kept, "
            f"{statistics.median(ratios):.2f} times as fast"
        )


if __name__ == "__main__":
    main()
