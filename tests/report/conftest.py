"""A synthetic run folder that has everything a page can show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from declutch.config.files import dump_config, parse_config
from declutch.evaluation.behaviour import ActionCounts
from declutch.evaluation.results import EvalResult, GameResult, save_result
from declutch.records import Outcome

TRAINED = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
)
HELD_OUT = ("pick_cool_then_place_in_recep", "pick_two_obj_and_place")
HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)> & \u2028 é"
LEVELS = {"L0": (TRAINED, 120, 0.55, 0.85), "L1": (TRAINED, 100, 0.5, 0.74)}
LEVELS |= {"L2": (HELD_OUT, 80, 0.42, 0.47)}


def make_evaluation(progress: float, name: str, seed: int = 0) -> EvalResult:
    """Success rises from the first to the second share of each level as `progress` goes to 1."""
    games = []
    for number, (level, (kinds, count, start, end)) in enumerate(LEVELS.items()):
        rng = np.random.default_rng(number)
        difficulty = rng.random(count)
        noise = np.random.default_rng(1000 * seed + number).normal(0, 0.12, count)
        for index in range(count):
            won = difficulty[index] + noise[index] < start + (end - start) * progress
            steps = 9 if won else 30
            counts = ActionCounts(
                steps=steps,
                repeated=0 if won else 6,
                looped=0 if won else 11,
                repeated_or_looped=0 if won else 14,
                invalid=int(index % 3 == 0),
                inadmissible=int(index % 4 == 0),
                response_tokens=9 * steps,
            )
            outcome = Outcome.WON if won else Outcome.TIMED_OUT
            if level == "L1" and index == 0:
                outcome = Outcome.ENV_ERROR
            kind = kinds[index % len(kinds)]
            games.append(GameResult(level, f"{kind}-{index}", kind, 0, outcome, float(won), counts))
    manifests = {level: f"{level}-games" for level in LEVELS}
    return EvalResult(name, 0.4, "strict", manifests, tuple(games), "households", 30, 41.0)


def make_metrics(iteration: int, total: int) -> dict[str, float]:
    rng = np.random.default_rng(iteration)
    done = iteration / total
    success = float(np.clip(0.55 + 0.3 * done + rng.normal(0, 0.06), 0, 1))
    row = {"iteration": iteration, "agent/success": success, "agent/return": success}
    row |= {f"agent/success/{kind}": success + rng.normal(0, 0.05) for kind in TRAINED}
    row |= {
        "agent/num_steps": 16 - 5 * done + rng.normal(0, 0.5),
        "agent/response_tokens": 9.2 + rng.normal(0, 0.1),
        "agent/invalid_share": 0.02 * np.exp(-3 * done) + 0.002 * rng.random(),
        "agent/inadmissible_share": 0.05 * np.exp(-2 * done) + 0.004 * rng.random(),
        "agent/repeated_share": 0.08 - 0.05 * done + 0.01 * rng.random(),
        "agent/looped_share": 0.2 - 0.12 * done + 0.03 * rng.random(),
        "agent/timed_out_share": 1 - success,
        "agent/env_errors": 0,
        "agent/zero_variance_share": 0.3 + 0.2 * done,
        "agent/num_samples": 1800,
        "judge/accuracy": 0.6 + 0.25 * done + rng.normal(0, 0.03),
        "judge/accuracy_good": 0.5 + 0.3 * done + rng.normal(0, 0.04),
        "judge/accuracy_bad": 0.7 + 0.2 * done + rng.normal(0, 0.04),
        "judge/unreadable_share": 0.01,
        "judge/one_share": 0.45 + rng.normal(0, 0.03),
        "judge/num_questions": 30,
        "labels/oracle_good": 0.42,
        "labels/oracle_bad": 0.31 - 0.1 * done,
        "labels/rule_good": 0.05,
        "labels/rule_bad": 0.24 - 0.1 * done,
        "labels/rule_precision_good": 1.0,
        "labels/rule_precision_bad": 0.8 + rng.normal(0, 0.03),
        "update/loss_agent": rng.normal(0, 0.01),
        "update/loss_judge": rng.normal(0, 0.02),
        "update/kl": 0.08 * done**0.7 + 0.002 * rng.random(),
        "update/clip_share": 0.04 + 0.01 * rng.random(),
        "update/entropy": 0.6 - 0.3 * done + 0.02 * rng.random(),
        "update/grad_norm": 0.5 + 0.1 * rng.random(),
        "update/grad_norm_agent": 0.2 + 0.05 * rng.random(),
        "update/grad_norm_judge": 1.6 - done + 0.3 * rng.random(),
        "update/grad_cosine": rng.normal(0.02, 0.05),
        "update/mismatch_mean": 1e-6 * (1 + rng.random()),
        "update/mismatch_max": 3e-5 * (1 + rng.random()),
        "time/play": 9 - 3 * done + rng.random(),
        "time/label": 0.6,
        "time/judge": 2.2 + 0.3 * rng.random(),
        "time/update": 10 - 3 * done + rng.random(),
        "time/tokens_per_second": 9000 + 500 * rng.random(),
    }
    if iteration % 10 == 0:
        row |= {"time/save": 0.4, "time/eval": 14.0}
    times = ("play", "label", "judge", "update", "save", "eval")
    row["time/iteration"] = sum(row.get(f"time/{name}", 0) for name in times)
    return {key: float(value) if key != "iteration" else value for key, value in row.items()}


def make_episode(iteration: int, index: int, *, long_prompt: int = 0) -> dict:
    rng = np.random.default_rng(100 * iteration + index)
    is_won = bool(rng.random() < 0.6)
    kind = TRAINED[index % len(TRAINED)]
    places = ["cabinet 1", "drawer 2", "fridge 1", "countertop 1"]
    steps = []
    for position in range(6 if is_won else 30):
        place = places[int(rng.integers(len(places)))] if is_won else places[position % 2]
        label = [1, 0, None][int(rng.integers(3))]
        thought = "find mug, not seen yet" if index else HOSTILE
        judgments = []
        if label is not None and rng.random() < 0.4:
            for _ in range(8):
                verdict = [0, 1, None][int(rng.choice(3, p=[0.4, 0.5, 0.1]))]
                text = f"<think>the place was searched</think><answer>\\boxed{{{verdict}}}</answer>"
                reward = float(verdict == label)
                judgments.append({"response": text, "verdict": verdict, "reward": reward})
        steps.append(
            {
                "prompt": f"task: put a clean mug on desk 1. step {position}. "
                + "x " * long_prompt,
                "response": f"<think>{thought}</think><action>go to {place}</action>",
                "action": f"go to {place}" if position != 3 else "",
                "observation": f"You arrive at {place}. On it you see a mug 1 and a plate 2.",
                "is_valid": position != 3,
                "is_admissible": position % 7 != 5 and position != 3,
                "reward": float(is_won and position == 5),
                "advantage": float(rng.normal(0.5 if is_won else -0.5, 0.05)),
                "label_rule": 0 if not is_won else None,
                "label_oracle": label,
                "judgments": judgments,
            }
        )
    return {
        "iteration": iteration,
        "task": {
            "suite": "households",
            "split": "train",
            "index": index,
            "name": f"{kind}-Mug-None-Desk-30{index}/trial_{iteration:04d}" if index else HOSTILE,
            "kind": kind,
        },
        "group": index // 8,
        "role": "agent",
        "outcome": "won" if is_won else "timed_out",
        "score": float(is_won),
        "final_observation": "You put the mug 1 on the desk 1." if is_won else HOSTILE,
        "steps": steps,
    }


def write_run(path: Path, iterations: int = 60) -> Path:
    """A finished run with a control, plus damage where `damage` is asked for by the tests."""
    path.mkdir(parents=True)
    config = parse_config(
        {
            "gcd": {"enabled": True},
            "model": {"path": "models/tiny"},
            "optimizer": {"lr": 2e-4},
            "train": {"iterations": iterations},
        },
        "synthetic",
    )
    (path / "config.yaml").write_text(dump_config(config))
    with (path / "metrics.jsonl").open("w") as file:
        for iteration in range(1, iterations + 1):
            file.write(json.dumps(make_metrics(iteration, iterations)) + "\n")
    for iteration in range(0, iterations + 1, 10):
        name = f"iteration_{iteration:04d}"
        result = make_evaluation(iteration / iterations, name, seed=iteration)
        save_result(result, path / "evals" / f"{name}.json")
    save_result(make_evaluation(0.1, "control", seed=99), path / "evals" / "control.json")
    (path / "episodes").mkdir()
    for iteration in range(10, iterations + 1, 10):
        lines = [json.dumps(make_episode(iteration, index)) + "\n" for index in range(16)]
        (path / "episodes" / f"iteration_{iteration:04d}.jsonl").write_text("".join(lines))
    facts = {"protocol": "strict", "num_episodes": 1400, "epochs": 2, "seconds": 212.4}
    (path / "cold_start.json").write_text(json.dumps(facts))
    return path


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A small finished run."""
    return write_run(tmp_path / "grpo-gcd-seed0", iterations=20)


@pytest.fixture
def episode_maker() -> Callable[..., dict]:
    return make_episode


@pytest.fixture
def evaluation_maker() -> Callable[..., EvalResult]:
    return make_evaluation
