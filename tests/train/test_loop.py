"""The loop: reproducible, resumable after any death, and plain GRPO where the judge weighs 0."""

import json
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from forking import start_forked
from pages import ROOT, write_modules
from safetensors.torch import load_file
from training import cold_started, metrics_without_times, run_training

from declutch.cli.main import main
from declutch.cold_start.pipeline import make_tiny
from declutch.config.files import change_config, lay_over, parse_config, read_yaml
from declutch.config.run import Config
from declutch.envs.protocol import Suite
from declutch.envs.registry import make_suite
from declutch.ground.errors import UserError
from declutch.records import Outcome
from declutch.rollout.groups import Played
from declutch.runs.folder import RunFolder
from declutch.runs.resume import go_back
from declutch.train import loop
from declutch.train.session import Session

ITERATIONS = 3


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A configuration small enough for a test, with a cold-started model behind it."""
    folder = tmp_path_factory.mktemp("base")
    data = {
        "env": {"max_steps": 6},
        "tiny": {"hidden_size": 32, "num_layers": 2, "intermediate_size": 64},
        "sft": {"num_episodes": 30, "epochs": 3, "lr": 5e-3, "judge_samples": 20},
        "train": {
            "iterations": ITERATIONS,
            "tasks_per_iteration": 2,
            "group_size": 3,
            "save_every": 1,
            "save_episodes": 2,
        },
        "optimizer": {"lr": 1e-3, "mini_batch": None, "num_mini_batches": 2},
        "gcd": {"enabled": True, "num_questions": 4, "num_judgments": 3},
        "eval": {"every": 2, "max_games": 2, "seeds": [0]},
    }
    return cold_started(data, folder)


def evaluations(path: Path) -> dict[str, list]:
    found = {}
    for file in sorted((path / "evals").glob("*.json")):
        found[file.name] = json.loads(file.read_text())["games"]
    return found


@pytest.fixture(scope="session")
def finished(base: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "finished"
    run_training(parse_config(base, "test"), path)
    return path


def test_the_same_seed_twice_is_the_same_run(base: dict, finished: Path, tmp_path: Path) -> None:
    run_training(parse_config(base, "test"), tmp_path / "again")
    assert metrics_without_times(tmp_path / "again") == metrics_without_times(finished)
    assert evaluations(tmp_path / "again") == evaluations(finished)
    assert len(metrics_without_times(finished)) == ITERATIONS


def test_another_seed_is_another_run(base: dict, finished: Path, tmp_path: Path) -> None:
    run_training(parse_config({**base, "seed": 1}, "test"), tmp_path / "other")
    assert metrics_without_times(tmp_path / "other") != metrics_without_times(finished)


def test_the_learner_agrees_with_the_sampler(finished: Path) -> None:
    for line in (finished / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row.get("update/mismatch_max", 0.0) < 1e-3
        assert row["judge/num_questions"] <= 4


def test_killed_and_resumed_is_the_same_run(base: dict, finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "killed"
    RunFolder(path).write_config(parse_config(base, "test"))
    command = ("declutch.cli.main", ["train", str(path), "--resume"])
    process = start_forked(*command)
    deadline = time.monotonic() + 120
    while not (path / "metrics.jsonl").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The line that was being written when the process died.
    with (path / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": ')
    assert start_forked(*command).wait() == 0
    assert metrics_without_times(path) == metrics_without_times(finished)
    assert evaluations(path) == evaluations(finished)


def interrupt(base: dict, path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> None:
    """Train, and stop where the run would call a method of its folder for the `at`-th time."""
    calls, method = [], getattr(RunFolder, name)

    def stop(*arguments: object) -> object:
        calls.append(name)
        if len(calls) == at:
            raise KeyboardInterrupt
        return method(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, name, stop)
        with pytest.raises(KeyboardInterrupt):
            run_training(parse_config(base, "test"), path)


def test_a_run_that_stopped_between_checkpoint_and_metrics_loses_no_row(
    base: dict, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    interrupt(base, path, monkeypatch, "append_metrics", at=2)
    assert len(metrics_without_times(path)) == 1
    assert RunFolder(path).iterations_saved() == 2
    run_training(parse_config(base, "test"), path)
    assert metrics_without_times(path) == metrics_without_times(finished)
    assert evaluations(path) == evaluations(finished)


def test_a_run_whose_games_all_broke_goes_on_where_it_was_once_they_are_mended(
    base: dict, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was learned since the last checkpoint is saved first: nothing is trained twice."""
    path, play_well = tmp_path / "run", loop.play_groups

    def break_third(config: Config, suite: Suite, policy: Any, number: int, *rest: Any) -> Played:
        played = play_well(config, suite, policy, number, *rest)
        if number < ITERATIONS - 1:
            return played
        broken = replace(played.first[0], steps=(), outcome=Outcome.ENV_ERROR, error="gone")
        return Played((broken,), (broken,))

    config = parse_config(lay_over(base, {"train": {"save_every": 10}}), "test")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "play_groups", break_third)
        with pytest.raises(UserError, match="all 1 episodes ended in an environment error"):
            run_training(config, path)
    assert RunFolder(path).iterations_saved() == ITERATIONS - 1
    run_training(config, path)
    assert metrics_without_times(path) == metrics_without_times(finished)


def test_an_evaluation_that_fails_loses_nothing_and_is_made_once_it_can_be(
    base: dict, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"

    def fail(self: Session) -> dict:
        if self.iteration < 2:
            return evaluate(self)
        raise UserError("the games of L1 cannot be read")

    evaluate = Session.evaluate
    coupling = {"every": 2, "label": "oracle", "samples": 4, "max_episodes": 12}
    changes = {"train": {"save_every": 10}, "coupling": coupling}
    config = parse_config(lay_over(base, changes), "test")
    with monkeypatch.context() as patch:
        patch.setattr(Session, "evaluate", fail)
        with pytest.raises(UserError, match="the games of L1 cannot be read"):
            run_training(config, path)
    assert RunFolder(path).iterations_saved() == 2
    run_training(config, path)
    whole = tmp_path / "whole"
    run_training(config, whole)
    rows = metrics_without_times(path)
    assert rows == metrics_without_times(whole)
    assert any(name.startswith("coupling/") for name in rows[1])
    assert evaluations(path) == evaluations(finished)


def test_a_tracker_has_the_rows_of_the_metrics_also_of_a_resumed_run(
    base: dict, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's own tracker, from the second iteration on; the first comes from the file."""
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    go_back(RunFolder(path), 2)
    write_modules((ROOT / "docs" / "guides" / "trackers.md").read_text(), tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    tracked = {**base, "train": {**base["train"], "report_to": ["csv_tracker:SuccessTable"]}}
    run_training(parse_config(tracked, "test"), path)
    table = (path / "trackers" / "csv_tracker.SuccessTable" / "success.csv").read_text()
    rows = metrics_without_times(path)
    assert table.splitlines() == [f"{row['iteration']},{row['agent/success']}" for row in rows]
    assert rows == metrics_without_times(finished)


def test_an_evaluation_of_the_last_checkpoint_that_is_gone_is_made_again(
    base: dict, finished: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    last = RunFolder(path).evaluation_path(f"iteration_{ITERATIONS:04d}")
    last.unlink()
    run_training(parse_config(base, "test"), path)
    assert evaluations(path) == evaluations(finished)


def test_checkpoints_that_a_killed_run_had_no_time_to_delete_go(
    base: dict, finished: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    shutil.copytree(finished, path)
    assert [number for number, _ in RunFolder(path).checkpoints()] == [1, 2, 3]
    train = {**base["train"], "keep_checkpoints": 1}
    run_training(parse_config({**base, "train": train}, "test"), path)
    assert [number for number, _ in RunFolder(path).checkpoints()] == [3]


def test_a_resumed_run_keeps_what_it_knows_of_its_cold_start(
    base: dict, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = tmp_path / "run", tmp_path / "model"
    shutil.copytree(base["model"]["path"], model)
    moved = {**base, "model": {"path": str(model)}, "loss": {"kl_coef": 0.0}}
    interrupt(moved, path, monkeypatch, "append_metrics", at=2)
    facts = RunFolder(path).cold_start_path.read_text()
    assert '"protocol": "strict"' in facts
    shutil.rmtree(model)
    run_training(parse_config(moved, "test"), path)
    assert RunFolder(path).cold_start_path.read_text() == facts


def test_a_renamed_checkpoint_is_refused(base: dict, finished: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished, run.path)
    shutil.rmtree(run.checkpoint_path(ITERATIONS))
    run.checkpoint_path(ITERATIONS - 1).rename(run.checkpoint_path(ITERATIONS))
    with pytest.raises(UserError, match=f"holds iteration {ITERATIONS - 1}"):
        run_training(parse_config(base, "test"), run.path)


def test_judge_weight_zero_is_plain_grpo_bit_for_bit(base: dict, tmp_path: Path) -> None:
    weights = []
    for name, gcd in (("zero", {**base["gcd"], "weight": 0.0}), ("off", {"enabled": False})):
        last = run_training(parse_config({**base, "gcd": gcd}, "test"), tmp_path / name)
        weights.append(load_file(last / "model.safetensors"))
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


CONFIGS = Path(__file__).parents[2] / "configs"
METHODS = sorted(path.stem for path in CONFIGS.glob("methods/*.yaml"))


def start_model(base: dict, name: str, folder: Path) -> str:
    """A cold-started model; RLVMR's names its reasoning and is fresh here."""
    if name != "rlvmr":
        return str(base["model"]["path"])
    config = parse_config({**base, "agent": {"reasoning": "meta"}}, "test")
    make_tiny(config, make_suite(config.env), folder / "tiny")
    return str(folder / "tiny")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_continues_where_it_stopped(
    base: dict, tmp_path: Path, name: str
) -> None:
    data = lay_over(base, read_yaml(CONFIGS / "methods" / f"{name}.yaml"))
    data["eval"] = {"every": 0, "max_games": 1, "seeds": [0]}
    data["model"] = {"path": start_model(base, name, tmp_path)}
    if name == "ppo":
        data["algorithm"]["critic_warmup"] = 1
    whole = change_config(parse_config(data, name), train={"iterations": 2})
    last = run_training(whole, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    go_back(RunFolder(tmp_path / "parts"), 1)
    again = run_training(whole, tmp_path / "parts")
    found = load_file(again / "model.safetensors")
    for key, value in load_file(last / "model.safetensors").items():
        assert torch.equal(value, found[key]), key
    rows = metrics_without_times(tmp_path / "whole")
    assert all(row["agent/num_samples"] > 0 for row in rows)
    assert rows[1]["update/grad_norm"] > 0
    assert all(("agent/refilled_groups" in row) == (name == "dapo") for row in rows)
    if name == "ppo":
        assert "update/num_steps" not in rows[0]
        assert rows[0]["critic/num_steps"] == rows[1]["update/num_steps"] == 2


def test_with_gradient_checkpointing_a_run_continues_where_it_stopped(
    base: dict, tmp_path: Path
) -> None:
    """Its reference, which is loaded anew, has to compute as the copy did that it started with."""
    changes = {
        "model": {"gradient_checkpointing": True},
        "loss": {"kl_coef": 0.05},
        "train": {"iterations": 2},
        "gcd": {"enabled": False},
        "eval": {"every": 0, "max_games": 1, "levels": ["L0"]},
    }
    config = parse_config(lay_over(base, changes), "test")
    run_training(config, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    go_back(RunFolder(tmp_path / "parts"), 1)
    run_training(config, tmp_path / "parts")
    assert metrics_without_times(tmp_path / "parts") == metrics_without_times(tmp_path / "whole")


@pytest.mark.parametrize("name", ["demo", "laptop", "scienceworld"])
def test_every_shipped_setting_trains(base: dict, tmp_path: Path, name: str) -> None:
    data = lay_over(read_yaml(CONFIGS / f"{name}.yaml"), {"env": base["env"]})
    few = {"tasks_per_iteration": 2, "group_size": 3, "iterations": 2, "max_steps": 4}
    data = lay_over(data, {"train": few, "eval": base["eval"], "model": base["model"]})
    run_training(parse_config(data, name), tmp_path / "run")
    assert len(metrics_without_times(tmp_path / "run")) == 2


def test_a_started_run_is_not_overwritten(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (finished / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(sys, "argv", ["declutch", "train", str(finished)])
    with pytest.raises(SystemExit) as status:
        main()
    assert status.value.code == 2
    assert "--resume" in capsys.readouterr().err
    assert (finished / "metrics.jsonl").read_bytes() == before


def test_resume_refuses_other_settings(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["declutch", "train", str(finished), "optimizer.lr=1", "--resume"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit):
        main()
    assert "optimizer.lr=1" in capsys.readouterr().err


def test_a_wrong_model_path_names_it(base: dict, tmp_path: Path) -> None:
    config = parse_config({**base, "model": {"path": str(tmp_path / "nothing")}}, "test")
    with pytest.raises(UserError, match="nothing"):
        run_training(config, tmp_path / "run")


def test_the_last_checkpoint_is_the_last_iteration(finished: Path) -> None:
    last = RunFolder(finished).last_checkpoint()
    assert last is not None
    assert last.name == f"iteration-{ITERATIONS:05d}"


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"kl_coef": 0.01, "recompute_old": True}},
        {"gcd": {"enabled": True, "labels": "rule", "num_questions": 4, "num_judgments": 3}},
        {"algorithm": {"std_norm": False, "group_stats": "steps"}, "gcd": {"enabled": False}},
        {"gcd": {"enabled": True, "gradient_ratio": 0.5, "num_questions": 4, "num_judgments": 3}},
    ],
    ids=["kl", "rule labels", "Dr.GRPO", "gradient ratio"],
)
def test_other_settings_train(base: dict, tmp_path: Path, changes: dict) -> None:
    train_section = {**base["train"], "iterations": 1}
    data = {**base, "train": train_section, "eval": {"every": 0, "max_games": 1}, **changes}
    run_training(parse_config(data, "test"), tmp_path / "run")
    (row,) = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert row["agent/num_samples"] > 0
    if "loss" in changes:
        # Two optimizer steps away from the reference at most, and the old policy is the sampler's.
        assert 0 <= row["update/kl"] < 0.1
        assert row["update/mismatch_max"] < 1e-3
    if "gradient_ratio" in changes.get("gcd", {}):
        assert 0 < row["update/judge_scale"] <= 10


def test_a_game_that_breaks_halfway_is_counted_and_the_run_goes_on(
    base: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FRAIL_CACHE", str(tmp_path / "cache"))
    suite = {"suite": "frail_households:FrailHouseholds"}
    settings = {"env": suite, "train": {"iterations": 2, "save_episodes": 6}, "eval": {"every": 0}}
    run = RunFolder(tmp_path / "run")
    run_training(parse_config(lay_over(base, settings), "test"), run.path)
    rows = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2]
    assert sum(row["agent/env_errors"] for row in rows) > 0
    told = capsys.readouterr().out
    assert "episodes ended in an environment error, the first: OSError: the pipe is broken" in told
    texts = [run.episodes_path(iteration).read_text() for iteration in (1, 2)]
    shown = [json.loads(line) for text in texts for line in text.splitlines()]
    broken = [each for each in shown if each["outcome"] == "env_error"]
    assert broken
    assert not any("error" in each for each in shown if each["outcome"] != "env_error")
    for episode in broken:
        assert episode["error"] == "OSError: the pipe is broken"
        assert len(episode["steps"]) == 2
        for step in episode["steps"]:
            assert (step["label_rule"], step["label_oracle"], step["advantage"]) == (None,) * 3
