"""Sampled actions per second: our Hugging Face engine against `model.generate` and itself.

    OMP_NUM_THREADS=1 python benchmarks/rollout.py --threads 1

The workload is that of a run on a laptop: a Qwen2 of 0.8 M parameters, 16 household tasks x 8
episodes, compact prompts, and actions masked to the admissible commands. The model is first trained
for a moment on the expert's play, so that its responses have the usual length. Beside the engine as
it is, the engine without shared prefixes and without forced tokens in one pass is measured. All
ways sample the same prompts in the same process, taking turns. On a machine that does other work as
well, go by the columns per CPU second.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from declutch.agent.codec import Codec
from declutch.agent.prompt import View, build_view, render_agent
from declutch.agent.speaker import Agent
from declutch.cold_start.examples import Example
from declutch.cold_start.sft import Trainee, train_sft
from declutch.cold_start.tiny import init_tiny
from declutch.config.policy import AgentConfig, SFTConfig, TinyConfig
from declutch.envs.alfworld.expert import Expert
from declutch.envs.alfworld.suite import AlfworldSuite
from declutch.envs.alfworld.wording import HOUSEHOLD
from declutch.envs.households.generate import HouseholdCounts, generate_households
from declutch.records import Request, SamplingParams, TaskId
from declutch.rollout.hf.engine import HFEngine

NUM_TASKS, GROUP_SIZE = 16, 8
STEPS = (0, 2, 4, 8, 12)
PERTURB = 0.3
HISTORY_LENGTH = 6


@dataclass(frozen=True)
class Moment:
    """What an agent sees at one step, and what the expert answers."""

    step: int
    view: View
    response: str


def play(suite: AlfworldSuite) -> list[Moment]:
    """What the expert sees in the episodes, perturbed so that those of a group differ."""
    return [
        moment
        for task in suite.tasks("train")[:NUM_TASKS]
        for member in range(GROUP_SIZE)
        for moment in play_episode(suite, task, member, max(STEPS) + 1)
    ]


def play_episode(suite: AlfworldSuite, task: TaskId, member: int, num_steps: int) -> list[Moment]:
    """What the expert sees in an episode, until it is over; `member` says what is perturbed."""
    rng = Random(f"{task.name}/{member}")
    env, expert = suite.make_env(), Expert()
    seen = env.reset(task)
    expert.reset(task, seen)
    moments, observations, actions = list[Moment](), [seen.text], list[str]()
    for step in range(num_steps):
        view = build_view(observations, actions, seen.inventory, seen.admissible)
        choice = expert.act()
        response = f"<think>{choice.short_thought}</think><action>{choice.action}</action>"
        moments.append(Moment(step, view, response))
        action = choice.action
        if rng.random() < PERTURB:
            action = rng.choice(seen.admissible)
        transition = env.step(action)
        if transition.is_done or transition.is_won:
            break
        seen = transition.observation
        expert.update(action, seen)
        observations.append(seen.text)
        actions.append(action)
    env.close()
    return moments


def prepare(folder: Path) -> tuple[PreTrainedModel, Codec, list[list[Request]]]:
    """A tiny model that answers in the right format, and the prompts of each measured step."""
    generate_households(folder, 0, HouseholdCounts(train=NUM_TASKS, valid_seen=1, valid_unseen=1))
    moments = play(AlfworldSuite(folder, "households"))
    texts = [
        render_agent(m.view, "compact", HISTORY_LENGTH, HOUSEHOLD) + m.response for m in moments
    ]
    commands = [" ".join(m.view.admissible) for m in moments]
    model, tokenizer = init_tiny(folder / "model", [*texts, *commands], TinyConfig(), seed=0)
    codec = Codec(tokenizer, "compact", HOUSEHOLD)
    examples = []
    for moment in moments:
        prompt = codec.encode_prompt(
            render_agent(moment.view, "compact", HISTORY_LENGTH, HOUSEHOLD)
        )
        response = codec.encode_prompt(moment.response.removeprefix("<think>"))
        examples.append(Example(prompt, response))
    sft = SFTConfig(epochs=2, lr=2e-3, batch_tokens=2048)
    trainee = Trainee(model, tokenizer.pad_token_id)
    train_sft(trainee, examples, sft, torch.Generator().manual_seed(0))
    agent = Agent(codec, AgentConfig())
    batches = [[agent.request(m.view) for m in moments if m.step == step] for step in STEPS]
    return model.eval(), codec, batches


@torch.inference_mode()
def plain_generate(
    model: PreTrainedModel, requests: Sequence[Request], params: SamplingParams, pad_id: int
) -> int:
    """Sample in the usual way, one left-padded batch without a mask; gives the response tokens."""
    prompts = [r.prompt_ids.flip(0) for r in requests]
    ids = pad_sequence(prompts, batch_first=True, padding_value=pad_id).flip(1)
    out = model.generate(
        ids,
        attention_mask=(ids != pad_id).long(),
        do_sample=True,
        temperature=params.temperature,
        top_k=0,
        max_new_tokens=params.max_tokens,
        eos_token_id=list(params.stop_ids),
        pad_token_id=pad_id,
    )
    return int((out[:, ids.shape[1] :] != pad_id).sum())


@dataclass(frozen=True)
class Timing:
    """The median seconds of a round, and the response tokens of the last one."""

    wall: float
    cpu: float
    tokens: int


def take_turns(ways: dict[str, Callable[[int], int]], rounds: int) -> dict[str, Timing]:
    """Time every way `rounds` times after one that warms up; the ways take turns."""
    samples: dict[str, list[Timing]] = {name: [] for name in ways}
    for index in range(rounds + 1):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            tokens = way(index)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            samples[name].append(Timing(wall, cpu, tokens))
    return {
        name: Timing(
            statistics.median(t.wall for t in timings[1:]),
            statistics.median(t.cpu for t in timings[1:]),
            timings[-1].tokens,
        )
        for name, timings in samples.items()
    }


def measure(
    model: PreTrainedModel, codec: Codec, batches: list[list[Request]], rounds: int
) -> dict[str, Timing]:
    """Time every way of sampling the batches, by its name."""
    params = Agent(codec, AgentConfig()).sampling(1.0)
    pad_id = codec.tokenizer.pad_token_id

    def run_engine(engine: HFEngine, seed: int) -> int:
        results = [engine.generate(batch, params, seed) for batch in batches]
        return sum(c.token_ids.numel() for batch in results for c in batch)

    def run_plain(seed: int) -> int:
        torch.manual_seed(seed)
        return sum(plain_generate(model, batch, params, pad_id) for batch in batches)

    variants = {
        "HFEngine": HFEngine(model, pad_id),
        "without prefix sharing": HFEngine(model, pad_id, share_prefixes=False),
        "without jump-forward": HFEngine(model, pad_id, jump_forward=False),
        "without both": HFEngine(model, pad_id, share_prefixes=False, jump_forward=False),
    }
    ways: dict[str, Callable[[int], int]] = {"model.generate (no mask)": run_plain}
    for name, engine in variants.items():
        ways[name] = lambda seed, engine=engine: run_engine(engine, seed)  # type: ignore[misc]
    return take_turns(ways, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        model, codec, batches = prepare(Path(folder))
    requests = [request for batch in batches for request in batch]
    lengths = [request.prompt_ids.numel() for request in requests]
    print(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, vocabulary "
        f"{model.config.vocab_size}, {options.threads} thread(s); {len(requests)} prompts in "
        f"batches of {', '.join(str(len(b)) for b in batches)} (steps {STEPS}), "
        f"{statistics.mean(lengths):.1f} tokens on average"
    )
    timings = measure(model, codec, batches, options.rounds)
    plain = timings["model.generate (no mask)"]
    print(f"{'':26}{'actions/s':>10}{'ratio':>7}{'per CPU s':>11}{'ratio':>7}{'tokens each':>13}")
    for name, timing in timings.items():
        print(
            f"{name:26}{len(requests) / timing.wall:10.0f}{plain.wall / timing.wall:7.2f}"
            f"{len(requests) / timing.cpu:11.0f}{plain.cpu / timing.cpu:7.2f}"
            f"{timing.tokens / len(requests):13.1f}"
        )


if __name__ == "__main__":
    main()
