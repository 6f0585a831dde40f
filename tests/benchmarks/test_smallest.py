"""Every benchmark runs from beginning to end at its smallest size, whatever its numbers are."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from forking import forking_context, run_forked
from served import make_served_folder, serving

from declutch.cold_start.pipeline import make_tiny
from declutch.config.files import load_config
from declutch.envs.registry import make_suite
from declutch.train import processes as shared

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
TESTED = {
    "adapters",
    "alfworld_engine",
    "async_rollout",
    "cluster_sim",
    "coupling",
    "coupling_samples",
    "coverage",
    "credit",
    "damage",
    "first_minutes",
    "gcd_share",
    "kills",
    "memory",
    "processes",
    "reuse",
    "rollout",
    "sampling",
    "scienceworld_env",
    "scienceworld_kill",
    "scienceworld_memory",
    "serve",
    "serve_load",
    "study",
    "table",
    "trackers",
    "train_step",
    "views",
    "zoo",
}

SMALL = (
    "env.households={train: 24, valid_seen: 12, valid_unseen: 12}",
    "env.max_steps=6",
    "tiny.num_layers=1",
    "sft={num_episodes: 20, epochs: 1, judge_samples: 20}",
    "train={tasks_per_iteration: 2, group_size: 4}",
)
"""Settings of a run that is as short as it can be."""


def run_benchmark(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, *options: str, **sizes: object
) -> None:
    """The script's `main` with command-line options, and with smaller constants."""
    for name, value in sizes.items():
        assert hasattr(module, name)
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *options])
    module.main()


def load(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


def test_every_benchmark_is_run_here() -> None:
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.py")} == TESTED


def test_async_rollout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rounds", "1", "--episodes", "6", "--longest", "30", "--hidden", "16"]
    run_benchmark(monkeypatch, load("async_rollout"), *options)
    told = capsys.readouterr().out
    assert "6 of 6 episodes have the same tokens both ways" in told
    assert "times as fast (cpu)" in told


def test_cluster_sim(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    module, out = load("cluster_sim"), tmp_path / "rows.json"
    options = ["--gpus", "1", "4", "--episodes", "4", "16", "--out", str(out)]
    run_benchmark(monkeypatch, module, *options)
    rows = json.loads(out.read_text("utf-8"))
    assert len(rows) == 12
    found = {(r["environment"], r["gpus"], r["episodes"]): r["outcome"] for r in rows}
    for name in module.ENVIRONMENTS:
        one, more = found[name, 1, 16], found[name, 4, 16]
        assert one["update"] > more["update"]
        assert one["whole"] == pytest.approx(one["play"] + one["judge"] + one["update"])
    # Environments of seconds are waited for, and those of microseconds are not.
    official = found["alfworld-official", 1, 16]
    assert official["play"] > found["alfworld", 1, 16]["play"]
    assert official["player_share"] > 5 * found["alfworld", 1, 16]["player_share"]
    assert "| alfworld-official | 4 | 16 |" in capsys.readouterr().out


def test_cluster_sim_against_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    games = "env.households={train: 12, valid_seen: 1, valid_unseen: 1}"
    settings = ["env.suite=households", games, f"env.cache_dir={tmp_path}", "env.max_steps=3"]
    settings += ["train.max_steps=3", "train.group_size=2", "agent.constrain_actions=false"]
    settings += ["loss.kl_coef=0", "tiny.hidden_size=16", "tiny.vocabulary_episodes=4"]
    config = load_config([], settings)
    make_tiny(config, make_suite(config.env), tmp_path / "tiny")
    options = ["--episodes", "4", "8", "--check", str(tmp_path / "tiny"), "--set", *settings]
    run_benchmark(monkeypatch, load("cluster_sim"), *options, FEW=2, MANY=4, FIXED_TOKENS=3)
    told = capsys.readouterr().out
    assert "8 episodes of 24 steps, costs from 4" in told
    assert "| play |" in told


def test_rollout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"NUM_TASKS": 2, "GROUP_SIZE": 2, "STEPS": (0, 2)}
    run_benchmark(monkeypatch, load("rollout"), "--rounds", "1", **sizes)
    lines = capsys.readouterr().out.splitlines()
    assert "8 prompts in batches of 4, 4" in lines[0]
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "model.generate (no mask)",
        "HFEngine",
        "without prefix sharing",
        "without jump-forward",
        "without both",
    ]


def test_reuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = load("reuse")
    small = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2}
    small |= {"num_attention_heads": 3, "num_key_value_heads": 3, "vocab_size": 2000}
    sizes = {"SHAPE": module.SHAPE | small, "NUM_TASKS": 1, "GROUP_SIZE": 2, "NUM_STEPS": 3}
    run_benchmark(monkeypatch, module, "--rounds", "1", "--new-tokens", "3", **sizes)
    lines = capsys.readouterr().out.splitlines()
    assert "2 episodes x 3 steps" in lines[0]
    assert lines[1].startswith("6 of 6 responses have the same tokens")


def test_credit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("verl.trainer.ppo.core_algos", reason="peers: not installed")
    sizes = {"NUM_GROUPS": 2, "GROUP_SIZE": 2, "NUM_STEPS": 3, "NUM_TOKENS": 4}
    sizes |= {"NUM_NTHR_STEPS": 2, "VOCABULARY": 50, "WIDTH": 8}
    monkeypatch.setattr(multiprocessing, "get_context", lambda name: forking_context())
    run_benchmark(monkeypatch, load("credit"), "--rounds", "1", **sizes)
    text = capsys.readouterr().out
    for name in ("grpo", "rloo", "gigpo", "rlvmr", "ppo", "nthr, one group"):
        assert name in text


def test_gcd_share(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ("--iterations", "1", *SMALL, f"env.cache_dir={tmp_path}")
    run_benchmark(monkeypatch, load("gcd_share"), *options, TURNS=1)
    first, last = capsys.readouterr().out.splitlines()
    assert re.match(r"iteration 2: .* s, judge .*%$", first)
    assert re.match(r"GCD's share of an iteration: .*% in the median", last)


def test_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(shared, "starting_context", lambda *modules: forking_context())
    options = ("--rounds", "1", "--iterations", "1", *SMALL, f"env.cache_dir={tmp_path}")
    run_benchmark(monkeypatch, load("processes"), *options)
    one, two = capsys.readouterr().out.splitlines()
    assert re.match(r"1 process: seconds play .*, eval [\d.]+$", one)
    assert re.match(r"2 processes: .*; an iteration [\d.]+ times as fast, an evaluation", two)


def test_coverage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"NUM_RESAMPLES": 20, "GAMES_PER_LEVEL": 5}
    run_benchmark(monkeypatch, load("coverage"), "--evaluations", "20", **sizes)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 4 * 3 + 4
    assert lines[2].startswith("| 0.0 | 2 | ")
    assert lines[-1].startswith("| 0.8 | 1 | –")


def test_coupling(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_benchmark(monkeypatch, load("coupling"), "--samples", "6", "--pairs", "2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("6 samples of 53 + 9 tokens on average")
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "C1 all pairs, a product a pair",
        "C1 all pairs, one matrix product",
        "C1 means alone",
        "C4 gap, a gradient a sample",
        "C4 gap, tokens of pairs",
        "C4 all pairs, tokens of pairs",
        "C3 influence of 2",
        "C5 similarity",
        "C6 layers",
    ]
    # Both ways find the same gap.
    ours, naive = lines[5].split("gaps ")[1].split()
    assert float(ours) == pytest.approx(float(naive), rel=1e-2)


def test_coupling_samples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "samples.jsonl"
    options = ("households", str(out), "--samples", "2", "--perturb", "0.3")
    run_benchmark(monkeypatch, load("coupling_samples"), *options)
    assert "'in good': 2" in capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["domain"] for row in rows} == {"in", "out"}
    assert all(row["response"].endswith("</action>") for row in rows)


def test_train_step(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("trl", reason="peers: not installed")
    sizes = {"NUM_PROMPTS": 4, "GROUP_SIZE": 2, "NUM_SAMPLES": 8, "NUM_STEPS": 2, "NEW_TOKENS": 3}
    options = ("--rounds", "1", "--threads", "1", "--micro-batch", "4")
    run_benchmark(monkeypatch, load("train_step"), *options, **sizes)
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[-4:]]
    assert rows == [["trl", "wall"], ["declutch", "wall"], ["trl", "cpu"], ["declutch", "cpu"]]


def test_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    module = load("table")
    named = {bench.name for bench in module.BENCHES}
    assert named == TESTED - {"table", "serve", "coupling_samples", "first_minutes", "study"}
    tried = (
        module.Bench("coverage", r"^\| 0\.0 \| 2", "--evaluations 20"),
        module.Bench("rollout", "", needs=("a_package_that_nobody_has",)),
        module.Bench("memory", "", "--sizes none"),
    )
    monkeypatch.setattr(module, "BENCHES", tried)
    ended = []
    monkeypatch.setattr(sys, "exit", ended.append)

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess:
        if command[0] != sys.executable:
            return subprocess.run(command, **options)
        return run_forked(command[3], command[4:], tmp_path)

    monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=run))
    run_benchmark(monkeypatch, module, "--out", str(tmp_path / "bench"))
    assert ended == [True]
    told = (tmp_path / "bench" / "bench.md").read_text("utf-8")
    assert "not run: needs a_package_that_nobody_has" in told
    assert "FAILED (2): memory.py: error:" in told
    assert "torch" in told
    assert (tmp_path / "bench" / "coverage.txt").read_text("utf-8")
    assert "| 0.0 | 2 |" in (tmp_path / "bench" / "coverage.txt").read_text("utf-8")
    assert re.search(r"^coverage: 0\.0 \| 2", capsys.readouterr().out, flags=re.MULTILINE)


def test_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra serve")
    with serving(make_served_folder(tmp_path / "tiny")) as server:
        options = ("--requests", "2", "--at-once", "2", "--max-tokens", "2")
        run_benchmark(monkeypatch, load("serve"), server.url, *options)
    assert "2 requests, 2 at once" in capsys.readouterr().out


def test_kills(tmp_path: Path) -> None:
    """Some deaths and refusals, each made good: nothing is lost, and nothing is left over."""
    # A process of its own, since it forks, which one with threads must not.
    options = ("--cases", "5", "--only", "train;demonstrations")
    ended = run_forked(str(ROOT / "benchmarks" / "kills.py"), options, tmp_path)
    assert ended.returncode == 0, ended.stdout
    assert re.search(r"^0 of \d+ ", ended.stdout, flags=re.MULTILINE)


def test_first_minutes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With a stand-in for Python, whose demo says at once what the real one says after minutes."""
    module = load("first_minutes")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    lines = "\n".join(f"echo 'x {text} y'" for text, _ in module.MARKS)
    python.write_text(f'#!/bin/sh\n[ "$3" = demo ] || exit 0\n{lines}\nsleep 60\n')
    python.chmod(0o755)
    run_benchmark(monkeypatch, module, "--environment", str(tmp_path), "--repeats", "1")
    told = capsys.readouterr().out.splitlines()
    assert [line.split("s  ")[1] for line in told[:-2]] == [
        "cloned",
        *(what for _, what in module.MARKS),
    ]
    assert re.match(r"declutch --help: \d+ ms, the median of 1", told[-2])
    python.write_text("#!/bin/sh\necho something broke\n")
    with pytest.raises(SystemExit, match="before its learning curve:\nsomething broke"):
        run_benchmark(monkeypatch, module, "--environment", str(tmp_path))


def test_alfworld_engine(
    alfworld_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("textworld", reason="needs the extra textworld")
    options = ("--data", str(alfworld_data), "--num-games", "1", "--num-steps", "2")
    sizes = {"MIN_SECONDS": 0.01, "NUM_LIVE": 2}
    run_benchmark(monkeypatch, load("alfworld_engine"), *options, **sizes)
    assert "0 of 2 answers differ" in capsys.readouterr().out


def test_adapters(
    alfworld_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("textworld", reason="needs the extra textworld")
    monkeypatch.setenv("ALFWORLD_DATA", str(alfworld_data))
    # Programs that are loaded: the other rows need packages of their own.
    options = ("--only", "alone,trl", "--num-steps", "2", "--seconds", "0")
    run_benchmark(monkeypatch, load("adapters"), *options)
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[2:]] == ["| alone", "| trl"]
    assert all(float(row[1].replace(",", "")) > float(row[2]) for row in rows[2:])


def test_adapters_says_which_packages_are_not_there(
    alfworld_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(alfworld_data))
    monkeypatch.setitem(sys.modules, "verifiers", None)
    run_benchmark(monkeypatch, load("adapters"), "--only", "verifiers", "--num-steps", "2")
    assert "| verifiers | not measured: " in capsys.readouterr().out


def test_trackers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    run_benchmark(monkeypatch, load("trackers"), "--pairs", "1", "--iterations", "1")
    told = capsys.readouterr().out
    assert "tensorboard: 1 pairs of 1 iterations" in told
    assert re.search(r"by itself: \d+\.\d\d ms of CPU time for a row of 37 metrics", told)


@pytest.mark.java
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("scienceworld_env", "--tasks find-plant --num-variations 1 --num-steps 2", "ratio"),
        ("scienceworld_memory", "--tasks find-plant --num-episodes 1 --num-steps 2", "median"),
        (
            "scienceworld_kill",
            "--num-envs 1 --num-episodes 2 --num-steps 2 --every-seconds 30",
            "episodes 2 of 2",
        ),
    ],
)
def test_scienceworld(
    name: str,
    options: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("scienceworld", reason="java: needs the extra scienceworld")
    module = load(name)
    # The script that kills ends with a status of its own.
    monkeypatch.setattr(sys, "exit", lambda status: None)
    run_benchmark(monkeypatch, module, *options.split())
    assert words in capsys.readouterr().out


def test_damage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ("--cases", "25", "--workers", "1", "--base", str(tmp_path))
    monkeypatch.setattr(multiprocessing, "get_context", lambda name: forking_context())
    run_benchmark(monkeypatch, load("damage"), *options)
    lines = capsys.readouterr().out.splitlines()
    (whole,) = [line for line in lines if line.startswith("| all ")]
    *_, lost, tracebacks, crashes = (int(cell) for cell in whole.strip("| ").split("|")[1:])
    assert (lost, tracebacks, crashes) == (0, 0, 0)


def test_serve_load(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with serving(make_served_folder(tmp_path / "tiny")) as server:
        # The model of the test has room for small questions alone.
        sizes = {"MIX": {"small": 60, "bad": 2, "half-open": 2}}
        options = ("--url", server.url, "--clients", "6", "--seconds", "3")
        run_benchmark(monkeypatch, load("serve_load"), *options, **sizes)
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if line[:1] == "|"]
    counts = {row[1].strip(): [cell.strip() for cell in row[2:6]] for row in rows[2:]}
    assert set(counts) == {"small", "bad", "half-open"}
    assert int(counts["small"][1]) > 0
    assert [cells[3] for cells in counts.values()] == ["0", "0", "0"]


def test_views(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--runs", "5", "--evaluations", "2", "--iterations", "10", "--rounds", "1")
    run_benchmark(monkeypatch, load("views"), *options, "--sizes", "3x2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("compare --show, 5 runs x 2 evaluations, 3 levels of 3 games x 2:")
    assert lines[1].startswith("report of 10 iterations, 3 levels of 3 games x 2:")


def test_zoo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = load("zoo")
    monkeypatch.setattr(module, "list_names", lambda: ["qwen2", "prophetnet", "blt"])
    run_benchmark(monkeypatch, module)
    page = capsys.readouterr().out
    assert "| qwen2 | Qwen2ForCausalLM | yes | yes | yes | tied and own |" in page
    assert "| prophetnet | ProphetNetForCausalLM is no causal language model" in page
    assert "| blt |" in page.split("## Not built")[1]


def test_sampling(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--tasks", "1", "--group", "2", "--steps", "2", "--new-tokens", "3", "--rounds", "1")
    run_benchmark(monkeypatch, load("sampling"), *sizes)
    out = capsys.readouterr().out
    assert "4 prompts of" in out
    assert re.search(r"hf +\d+ tokens/s .*, \d+\.\d\d times generate's", out)


def test_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4}
    tiny |= {"num_attention_heads": 2, "num_key_value_heads": 2}
    module = load("memory")
    found = module.Measured(weights=1, saved=1 << 20, peak=2 << 20, seconds=1.5)
    sizes = {"SMALL": {"10 M": tiny}, "LARGE": {"7 B": tiny}, "PROMPT": 6, "RESPONSE": 3}
    sizes |= {"BUDGET": 36, "CASES": (("7 B", "LoRA", (module.LORA,)),)}
    monkeypatch.setattr(module, "measure_apart", lambda size, settings, device: found)
    run_benchmark(monkeypatch, module, "--sizes", "10 M", **sizes)
    out = capsys.readouterr().out
    assert "| 10 M | in parts, one gradient | 1 | 2 |" in out
    assert "| 7 B | LoRA |" in out
    assert module.measure("10 M", (), "cpu").saved > 0
    # A large one is measured on CUDA alone, as it is trained there.
    assert module.measure("7 B", (module.LORA,), "cpu").peak > 0
