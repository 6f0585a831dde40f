"""Every check finds its problem, names it and says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluations import render
from packaging.requirements import Requirement
from tiny_models import tiny_model
from typer.testing import CliRunner

from declutch.cli.doctor import (
    GIB,
    check_cores,
    check_disk,
    check_games,
    check_gpu,
    check_memory,
    check_model,
    check_packages,
    check_python,
    diagnose,
    estimate,
)
from declutch.cli.main import app
from declutch.config.files import load_config
from declutch.envs.alfworld import spec
from declutch.envs.alfworld.spec import check_official_engine
from declutch.envs.households.generate import HouseholdCounts, ensure_households, households_folder
from declutch.ground.errors import Finding, Status, UserError, has_problem
from declutch.ground.extras import install_command
from declutch.report.findings import findings_sheet

FEW = (
    "env.households.train=12",
    "env.households.valid_seen=12",
    "env.households.valid_unseen=12",
)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    ensure_households(folder, 0, HouseholdCounts(12, 12, 12))
    return folder


def config_with(cache: Path, *overrides: str):
    return load_config(None, [f"env.cache_dir={cache}", *FEW, *overrides])


def official(folder: Path) -> tuple[str, str]:
    return "env.suite=alfworld", f"env.alfworld.data_dir={folder}"


def generated_games(config) -> Finding:
    (finding,) = [f for f in check_games(config) if f.name == "generated games"]
    return finding


def test_python_version():
    assert check_python((3, 11, 2)).status is Status.OK
    old = check_python((3, 10, 9))
    assert old.status is Status.PROBLEM
    assert "3.10.9" in old.detail
    assert "3.11" in old.remedy


def test_packages_are_judged_one_by_one():
    wanted = [Requirement(line) for line in ("torch>=2.6", "numpy>=1.26", "rich>=13", "typer>=1")]
    versions = {"torch": "2.13.0+cpu", "numpy": "1.20.0", "rich": "14.0"}
    findings = {f.name: f for f in check_packages(wanted, versions.get)}
    assert findings["torch"] == Finding("torch", Status.OK, "2.13.0+cpu")
    assert findings["numpy"].status is Status.PROBLEM
    assert "1.20.0, but >=1.26" in findings["numpy"].detail
    assert "'numpy>=1.26'" in findings["numpy"].remedy
    assert findings["typer"].detail == "not installed"
    assert findings["other packages"].detail == "rich 14.0"


def test_a_checkout_that_is_not_installed_is_a_warning():
    (finding,) = check_packages(None, lambda name: "1")
    assert finding.status is Status.WARN
    assert "pip install -e ." in finding.remedy


def test_the_official_engine_is_optional(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spec, "installed_version", lambda name: "1.0")
    assert check_official_engine().detail == "alfworld 1.0, textworld 1.0"
    monkeypatch.setattr(spec, "installed_version", lambda name: None)
    absent = check_official_engine()
    assert absent.status is Status.OK
    assert absent.remedy == install_command("textworld")


def test_the_folder_is_the_one_the_games_go_to(cache_dir: Path):
    assert households_folder(cache_dir, 0, HouseholdCounts(12, 12, 12)) == ensure_households(
        cache_dir, 0, HouseholdCounts(12, 12, 12)
    )


def test_generated_games_are_counted(cache_dir: Path):
    finding = generated_games(config_with(cache_dir))
    assert finding.status is Status.OK
    lines = [line.split() for line in finding.detail.splitlines()]
    assert ["train", "valid_seen", "valid_unseen"] in lines
    assert ["pick_two_obj_and_place", "2", "2", "2"] in lines
    assert ["all", "12", "12", "12"] in lines


def test_games_not_yet_generated_are_fine_and_are_not_made(tmp_path: Path):
    finding = generated_games(config_with(tmp_path))
    assert finding.status is Status.OK
    assert "36 games will be generated" in finding.detail
    assert list(tmp_path.iterdir()) == []


def test_damaged_games_are_a_problem(tmp_path: Path):
    folder = ensure_households(tmp_path, 0, HouseholdCounts(12, 12, 12))
    game = sorted(folder.rglob("game.tw-pddl"))[0]
    game.write_text(game.read_text()[:200])
    finding = generated_games(config_with(tmp_path))
    assert finding.status is Status.PROBLEM
    assert str(game) in finding.detail
    assert finding.remedy


def test_official_games_missing_is_a_problem_only_where_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    needed, engine = check_games(config_with(tmp_path, "env.suite=alfworld"))
    assert needed.status is Status.PROBLEM
    assert "alfworld-download" in needed.remedy
    assert engine.name == "official engine"
    assert [f.status for f in check_games(config_with(tmp_path))] == [Status.OK] * 3
    empty = tmp_path / "empty"
    empty.mkdir()
    needed, _ = check_games(config_with(tmp_path, *official(empty)))
    assert needed.status is Status.PROBLEM
    assert "no game for rl-train, L0, L1, L2" in needed.detail
    findings = check_games(config_with(tmp_path, official(empty)[1]))
    assert findings[1].status is Status.WARN


def test_real_games_are_counted(alfworld_data: Path, tmp_path: Path):
    finding, _ = check_games(config_with(tmp_path, *official(alfworld_data)))
    assert finding.status is Status.OK
    total = finding.detail.splitlines()[-1].split()
    assert total[0] == "all"
    assert all(int(count) > 50 for count in total[1:])


def test_the_simulator_and_its_java_are_looked_at(tmp_path: Path):
    pytest.importorskip("scienceworld")
    absent = "env.scienceworld.java=/absent/java"
    (finding,) = check_games(config_with(tmp_path, "env.suite=scienceworld", absent))
    assert finding.status is Status.PROBLEM
    assert "/absent/java is no executable" in finding.detail
    assert "give the path of a Java" in finding.remedy
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    own = f"env.scienceworld.java={java}"
    (finding,) = check_games(config_with(tmp_path, "env.suite=scienceworld", own))
    assert finding.status is Status.OK
    assert str(java) in finding.detail
    assert "up to 8 JVMs" in finding.detail
    assert finding.detail.splitlines()[-1].split()[0] == "all"


def test_models(tmp_path: Path):
    assert check_model("").status is Status.OK
    assert check_model("/absent/model").status is Status.PROBLEM
    assert check_model("./absent").status is Status.PROBLEM
    assert check_model("Qwen/Qwen2.5-0.5B").status is Status.WARN
    (tmp_path / "config.json").write_text("{}")
    partial = check_model(str(tmp_path))
    assert partial.status is Status.PROBLEM
    assert "lacks tokenizer_config.json, weights" in partial.detail
    (tmp_path / "tokenizer_config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert check_model(str(tmp_path)).status is Status.OK


def test_cores_and_threads():
    assert check_cores(4, None, 4).status is Status.OK
    crowded = check_cores(2, 8, 2)
    assert crowded.status is Status.WARN
    assert "threads=2" in crowded.remedy
    assert check_cores(4, None, 8, processes=4).status is Status.OK
    assert check_cores(4, 2, 8, processes=2).status is Status.OK
    for threads, processes in ((None, 5), (2, 3), (8, 2)):
        many = check_cores(4, threads, 4, processes)
        assert many.status is Status.WARN
        assert "set processes, times threads, to 4 or less" in many.remedy


@pytest.mark.parametrize(
    ("available", "status"), [(0.5, Status.PROBLEM), (1.5, Status.WARN), (8, Status.OK)]
)
def test_memory(available: float, status: Status):
    finding = check_memory(16 * GIB, int(available * GIB))
    assert finding.status is status
    assert bool(finding.remedy) == (status is not Status.OK)


@pytest.mark.parametrize(
    ("free", "status"), [(0.1, Status.PROBLEM), (1.0, Status.WARN), (50, Status.OK)]
)
def test_disk(tmp_path: Path, free: float, status: Status):
    assert check_disk(tmp_path / "not" / "yet", int(free * GIB)).status is status
    assert list(tmp_path.iterdir()) == []


def test_a_cache_folder_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert check_disk(tmp_path / "file" / "cache").status is Status.PROBLEM


def test_gpu():
    plain = load_config(None)
    cuda = load_config(None, ["model.device=cuda"])
    assert check_gpu(plain, ["H100, 79 GiB"], has_driver=True).detail == "H100, 79 GiB"
    assert check_gpu(plain, [], has_driver=False).status is Status.OK
    assert check_gpu(plain, [], has_driver=True).status is Status.WARN
    assert check_gpu(cuda, [], has_driver=False).status is Status.PROBLEM
    half = load_config(None, ["model.dtype=bfloat16"])
    assert check_gpu(half, [], has_driver=False).status is Status.WARN


def test_diagnosis_covers_everything_and_is_shown(cache_dir: Path):
    findings = diagnose(config_with(cache_dir, "model.path=/absent/model"))
    names = {finding.name for finding in findings}
    for name in ("Python", "official engine", "generated games", "official games", "model"):
        assert name in names
    assert {"cores", "memory", "cache folder", "GPU"} <= names
    assert has_problem(findings)
    assert not has_problem([f for f in findings if f.status is not Status.PROBLEM])
    text = render(findings_sheet(findings), width=100)
    assert "✗  model" in text
    assert "→ correct model.path" in text


def test_counts_fit_eighty_columns(cache_dir: Path):
    finding = generated_games(config_with(cache_dir))
    assert "pick_heat_then_place_in_recep      2          2            2" in render(
        findings_sheet([finding]), width=80
    )


def test_the_memory_of_training_a_model_is_estimated_from_its_configuration(tmp_path):
    tiny_model("llama", 400).config.save_pretrained(tmp_path)
    config = load_config(None, ["model.device=cpu", "agent.max_response_tokens=8"])
    (sheet,) = estimate(config, str(tmp_path), 1.0, 20)
    text = render(sheet)
    for word in ("weights", "optimizer", "reference", "gradients", "activations", "cache"):
        assert word in text
    assert "fits into 1 GiB" in text
    sheets = estimate(config, str(tmp_path), 1e-5, 20)
    assert "No setting was found" in render(sheets[-1])


def test_options_of_the_estimate_need_a_model(tmp_path):
    done = CliRunner().invoke(app, ["doctor", "--memory", "24"])
    assert isinstance(done.exception, UserError)
    assert "--model" in str(done.exception)
    with pytest.raises(UserError, match=r"no model's configuration"):
        estimate(load_config(None), str(tmp_path), 24, None)
