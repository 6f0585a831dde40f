"""TRL's own trainers on our environments and on our exported demonstrations, two steps each."""

from __future__ import annotations

from pathlib import Path

import pytest
from demonstrating import demonstrate
from pages import ROOT, find_blocks
from tool_model import make_tool_model

from declutch.cold_start.demonstrate import DemonstrationPlan
from declutch.cold_start.export import export_demonstrations
from declutch.config.env import EnvConfig
from declutch.envs.adapters.trl import list_rows, make_environment_factory
from declutch.envs.registry import make_suite
from declutch.envs.wording import PLAIN

pytestmark = [pytest.mark.extra, pytest.mark.slow, pytest.mark.peers]

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

TREASURE = "examples.treasure:Treasure"
COMMON = {
    "max_steps": 2,
    "report_to": [],
    "use_cpu": True,
    "bf16": False,
    "save_strategy": "no",
    "logging_steps": 1,
    "learning_rate": 1e-3,
}


def run_block(page: str, place: int, changes: dict[str, str], names: dict) -> dict:
    """Run a Python block of a guide with some words replaced; the names that it leaves."""
    text = (ROOT / "docs" / "guides" / page).read_text(encoding="utf-8")
    block = find_blocks(text, "python")[place]
    for old, new in changes.items():
        assert old in block
        block = block.replace(old, new)
    exec(block, names)
    return names


def test_grpo_plays_by_the_tool_in_two_steps(tmp_path: Path) -> None:
    model, tokenizer, others = make_tool_model(trl)
    arguments = trl.GRPOConfig(
        str(tmp_path / "out"),
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=600,
        max_tool_calling_iterations=3,
        generation_kwargs={"suppress_tokens": others},
        **COMMON,
    )
    trainer = trl.GRPOTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(list_rows(TREASURE, "L0", limit=8)),
        processing_class=tokenizer,
        environment_factory=make_environment_factory(TREASURE, "L0", 5),
    )
    assert trainer.train().global_step == 2
    logged = [row for row in trainer.state.log_history if "rewards/TextGame/mean" in row]
    assert len(logged) == 2
    assert all(row["tools/call_frequency"] > 0 for row in logged)
    assert all(row["tools/failure_frequency"] == 0 for row in logged)
    turns = [environment._game.turn for environment in trainer.environments]
    assert len({turn.task for turn in turns}) == 1
    assert max(turn.num_steps for turn in turns) > 0


def test_the_guides_code_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, tokenizer, others = make_tool_model(trl)
    changed = {
        **COMMON,
        "max_steps": 1,
        "per_device_train_batch_size": 8,
        "max_completion_length": 300,
        "generation_kwargs": {"suppress_tokens": others},
    }
    changes = {
        '"alfworld"': repr(TREASURE),
        'model="Qwen/Qwen3-0.6B"': "model=MODEL, processing_class=TOKENIZER",
        '"runs/trl", ': '"runs/trl", **CHANGED, ',
        "max_tool_calling_iterations=30": "max_tool_calling_iterations=2",
    }
    names = {"MODEL": model, "TOKENIZER": tokenizer, "CHANGED": changed}
    trainer = run_block("trl.md", 0, changes, names)["trainer"]
    assert trainer.state.global_step == 1
    assert any("rewards/TextGame/mean" in row for row in trainer.state.log_history)


def test_sft_trains_on_an_exported_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the guide's own code, with a smaller model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    suite = make_suite(EnvConfig(suite=TREASURE))
    plan = DemonstrationPlan(6, "strict", ("crown",), perturb=0.0)
    demonstrate(suite, tmp_path / "demonstrations.jsonl", plan)
    (tmp_path / "runs").mkdir()
    export_demonstrations(tmp_path / "demonstrations.jsonl", tmp_path / "runs" / "data", PLAIN)
    model, tokenizer, _ = make_tool_model(trl)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    changed = {**COMMON, "per_device_train_batch_size": 2, "max_length": 256}
    changes = {
        'model="Qwen/Qwen2.5-0.5B-Instruct"': "model=MODEL, processing_class=TOKENIZER",
        'SFTConfig("runs/sft")': 'SFTConfig("runs/sft", **CHANGED)',
    }
    names = {"MODEL": model, "TOKENIZER": tokenizer, "CHANGED": changed}
    names = run_block("trajectories.md", 0, changes, names)
    assert len(names["data"]) == 6
    result = names["trainer"].train()
    assert result.global_step == 2
    assert result.training_loss > 0
    assert any((weight != before[name]).any() for name, weight in model.named_parameters())
