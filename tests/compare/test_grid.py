"""The grid: what is asked for, and what may stand in a run's folder already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from declutch.compare.grid import (
    Arm,
    RunId,
    describe_state,
    find_runs,
    is_complete,
    make_grid,
    parse_gcd,
    plan_grid,
    read_method,
)
from declutch.config.files import change_config, dump_config
from declutch.evaluation.results import EvalResult
from declutch.ground.errors import UserError
from declutch.runs.folder import RunFolder

BASE = {"algorithm": {"group_stats": "steps", "std_norm": False}, "train": {"iterations": 2}}


def plan(methods, gcd=(), seeds=(0,), overrides=(), base=BASE):
    return plan_grid(base, methods, gcd, seeds, overrides, "out/cold_start")


def test_names_say_which_run_it_is() -> None:
    run = RunId(Arm("my_method", True), 12)
    assert str(run) == "my_method+gcd_s12"
    assert RunId.parse(str(run)) == run
    assert RunId.parse("grpo_s0") == RunId(Arm("grpo", False), 0)
    for name in ("cold_start", "logs", "grpo", "grpo_s", "grpo_s1.bak"):
        assert RunId.parse(name) is None


def test_every_method_with_and_without_gcd_for_every_seed() -> None:
    runs = plan(["grpo", "rloo"], [False, True], [3, 1])
    assert [str(run.id) for run in runs] == [
        *("grpo_s3", "grpo+gcd_s3", "rloo_s3", "rloo+gcd_s3"),
        *("grpo_s1", "grpo+gcd_s1", "rloo_s1", "rloo+gcd_s1"),
    ]
    for run in runs:
        assert run.config.seed == run.id.seed
        assert run.config.algorithm.type == run.id.arm.method
        assert run.config.gcd.enabled is run.id.arm.has_gcd
        assert run.config.threads == 1
        assert run.config.model.path == "out/cold_start"
        assert run.config.algorithm.group_stats == "steps"
    assert runs[0].config.algorithm.std_norm is False


def test_gcd_is_as_configured_where_it_is_not_asked_for() -> None:
    assert [str(r.id) for r in plan(["grpo"])] == ["grpo_s0"]
    (run,) = plan(["grpo"], overrides=["gcd.enabled=true", "threads=3", "model.path=m"])
    assert str(run.id) == "grpo+gcd_s0"
    assert (run.config.threads, run.config.model.path) == (3, "m")


def test_a_file_is_a_method_laid_over_the_base(tmp_path: Path) -> None:
    path = tmp_path / "discounted.yaml"
    path.write_text("algorithm: {type: gigpo, gamma: 0.5}\ngcd: {weight: 0.25}\n")
    name, data = read_method(str(path), {**BASE, "gcd": {"num_questions": 5}})
    assert name == "discounted"
    # std_norm is GRPO's alone.
    assert data["algorithm"] == {"group_stats": "steps", "type": "gigpo", "gamma": 0.5}
    assert data["gcd"] == {"num_questions": 5, "weight": 0.25}
    assert BASE["algorithm"] == {"group_stats": "steps", "std_norm": False}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"methods": ["grop"]}, ["grop", "did you mean 'grpo'"]),
        ({"methods": ["/none.yaml"]}, ["/none.yaml"]),
        ({"methods": ["grpo", "grpo"]}, ["grpo twice"]),
        ({"methods": ["grpo"], "overrides": ["seed=1"]}, ["seed=1", "--seeds"]),
        (
            {"methods": ["grpo"], "overrides": ["gcd.enabled=true"], "gcd": [False]},
            ["gcd.enabled=true", "--gcd"],
        ),
        ({"methods": ["rloo"], "overrides": ["algorithm.gamma=1"]}, ["method rloo", "gamma"]),
    ],
)
def test_what_no_grid_can_be_is_one_error(arguments: dict, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        plan(**arguments)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("text", ["algorithm: 3", "algorithm: {type: [1]}", "gcd: 1", "x: {y: 1}"])
def test_a_bad_method_file_is_one_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="method bad: "):
        plan([str(path)])


def test_methods_are_evaluated_alike(tmp_path: Path) -> None:
    path = tmp_path / "hot.yaml"
    path.write_text("eval: {temperature: 1.0}\n")
    with pytest.raises(UserError, match=r"eval\.temperature is 0\.4 for grpo but 1\.0 for hot"):
        plan(["grpo", str(path)])


def test_gcd_words() -> None:
    assert parse_gcd(["off", "on"]) == (False, True)
    with pytest.raises(UserError, match="'yes'"):
        parse_gcd(["yes"])


def test_a_run_of_other_settings_is_refused_by_its_first_key(
    tmp_path: Path, run_writer: Callable[..., Path]
) -> None:
    (wanted,) = plan(["grpo"])
    other = change_config(wanted.config, optimizer={"lr": 0.5}, train={"iterations": 3})
    run_writer(tmp_path / "grpo_s0", {}, (1.0,), other)
    base = {**BASE, "model": {"path": "out/cold_start"}}
    with pytest.raises(UserError) as error:
        make_grid(tmp_path, base, ["grpo"], (), [0], [])
    text = str(error.value)
    assert "optimizer.lr=0.5, but optimizer.lr=1e-06 is asked for" in text
    assert str(tmp_path / "grpo_s0") in text
    assert "iterations" not in text
    # A run that failed before anything was on record may be another one.
    (tmp_path / "grpo_s0" / "metrics.jsonl").unlink()
    (run,) = make_grid(tmp_path, base, ["grpo"], (), [0], []).waiting
    assert describe_state(run, RunFolder(tmp_path / "grpo_s0")) == "new"


def test_threads_processes_kept_checkpoints_and_another_name_of_the_model_are_no_conflict(
    tmp_path: Path, run_writer: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (wanted,) = plan(["grpo"], overrides=[f"model.path={tmp_path}/m"])
    same = change_config(
        wanted.config,
        threads=7,
        processes=3,
        train={"keep_checkpoints": 1},
        model={"path": "m"},
    )
    run_writer(tmp_path / "grpo_s0", {}, config=same)
    grid = make_grid(tmp_path, BASE, ["grpo"], (), [0], [f"model.path={tmp_path}/m"])
    assert grid.cold_start is None
    with pytest.raises(UserError, match=r'model\.path="m", but model\.path="other"'):
        make_grid(tmp_path, BASE, ["grpo"], (), [0], ["model.path=other"])


def test_complete_runs_are_not_trained_again(
    tmp_path: Path, run_writer: Callable[..., Path], evaluation: Callable[..., EvalResult]
) -> None:
    runs = plan(["grpo"], seeds=[0, 1, 2])
    result = evaluation({"L0": "1"})
    model = {"model": {"path": "out/cold_start"}}
    run_writer(tmp_path / "grpo_s0", {0: result, 2: result}, (1, 1), runs[0].config)
    run_writer(tmp_path / "grpo_s1", {0: result, 2: result}, (1,), runs[1].config)
    assert is_complete(runs[0], RunFolder(tmp_path / "grpo_s0"))
    # Its last iteration was never put on record.
    assert not is_complete(runs[1], RunFolder(tmp_path / "grpo_s1"))
    grid = make_grid(tmp_path, {**BASE, **model}, ["grpo"], (), [0, 1, 2], [])
    assert [str(run.id) for run in grid.waiting] == ["grpo_s1", "grpo_s2"]
    states = [describe_state(run, RunFolder(tmp_path / str(run.id))) for run in runs]
    assert states == ["complete", "goes on from iteration 0 of 2", "new"]
    assert not (tmp_path / "grpo_s2").exists()


def test_the_cold_start_has_the_base_settings(tmp_path: Path) -> None:
    method = tmp_path / "short.yaml"
    method.write_text("agent: {history_length: 2}\n")
    base = {**BASE, "sft": {"epochs": 7}, "seed": 4}
    overrides = ["tiny.num_layers=2", "algorithm.group_stats=episodes"]
    grid = make_grid(tmp_path / "out", base, ["grpo", str(method)], (), [0, 1], overrides)
    cold = grid.cold_start
    assert cold is not None
    assert (cold.seed, cold.sft.epochs, cold.tiny.num_layers) == (4, 7, 2)
    assert cold.agent.history_length == 6
    assert {run.config.model.path for run in grid.runs} == {str(tmp_path / "out" / "cold_start")}
    # What it does not depend on does not make it another one.
    assert "iterations: 150" in dump_config(cold)
    assert not (tmp_path / "out").exists()


def test_runs_are_found_by_name_and_selected(grid_folder: Path) -> None:
    def names(**chosen) -> list[str]:
        options = {"methods": [], "gcd": [], "seeds": [], **chosen}
        return [str(run) for run in find_runs(grid_folder, **options)]

    assert names() == ["a_s0", "a_s1", "a+gcd_s0", "b_s1"]
    assert names(methods=["b", "a"], gcd=[False]) == ["b_s1", "a_s0", "a_s1"]
    assert names(seeds=[1]) == ["a_s1", "b_s1"]
    with pytest.raises(UserError, match="METHOD_sSEED"):
        names(methods=["c"])
    with pytest.raises(UserError, match="no folder"):
        find_runs(grid_folder / "none", [], [], [])
