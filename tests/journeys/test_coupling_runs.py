"""The commands of `declutch coupling` on a run: its policy plays for what they need."""

import json
from pathlib import Path

import pytest
from training import cold_started, run_training
from typer.testing import CliRunner

from declutch.cli.main import app
from declutch.config.files import parse_config
from declutch.ground.errors import UserError
from declutch.runs.folder import RunFolder
from declutch.runs.read import read_run

pytestmark = pytest.mark.slow

SETTINGS = {
    "sft": {"num_episodes": 30, "epochs": 3, "lr": 5e-3, "judge_samples": 0},
    "tiny": {"hidden_size": 32, "num_layers": 2, "intermediate_size": 64},
    "train": {"iterations": 2, "tasks_per_iteration": 2, "group_size": 2, "save_every": 1},
    "eval": {"levels": ["L0"], "max_games": 2, "seeds": [0], "every": 0},
    "env": {"max_steps": 6},
    "coupling": {"label": "oracle", "samples": 6, "max_episodes": 8},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coupling")
    run_training(parse_config(cold_started(SETTINGS, folder), "test"), folder / "run")
    return folder / "run"


def run(*arguments: object) -> str:
    words = ["coupling", *map(str, arguments)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_checkpoint_plays_and_is_measured(finished: Path, tmp_path: Path) -> None:
    run("gradients", finished, "--every-checkpoint", "--json", tmp_path / "out.json")
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["iteration"] == 2
    records = read_run(RunFolder(finished)).coupling
    assert [record.iteration for record in records] == [1, 2]
    kept = RunFolder(finished).coupling_path(2).with_suffix(".jsonl")
    again = ("gradients", finished, "--samples", kept, "--json", tmp_path / "again.json")
    run(*again, "--dtype", "float32")
    found = json.loads((tmp_path / "again.json").read_text())
    assert found["cosine"] == pytest.approx(data["cosine"], abs=1e-4)
    assert found["episodes"] == data["episodes"]


def test_samples_are_written_for_the_other_commands(finished: Path, tmp_path: Path) -> None:
    text = run("samples", finished, tmp_path / "s.jsonl", "coupling.samples=3")
    assert "in good" in " ".join(text.split())
    num_samples = len((tmp_path / "s.jsonl").read_text().splitlines())
    assert 4 <= num_samples <= 12
    out = ("--json", tmp_path / "t.json")
    run(
        "tokens",
        finished,
        "--samples",
        tmp_path / "s.jsonl",
        "--pair",
        "0",
        str(num_samples - 1),
        *out,
    )
    pair = json.loads((tmp_path / "t.json").read_text())["pair"]
    assert pair["tokens_a"][-1].strip() == "</action>"
    assert sum(pair["scores_a"]) == pytest.approx(pair["total"])


def test_behaviour_and_cases(finished: Path, tmp_path: Path) -> None:
    options = ("--consistency", "5", "--episodes", "4", "--every-checkpoint")
    run("behaviour", finished, *options, "--json", tmp_path / "b.json", "--out", tmp_path / "b")
    data = json.loads((tmp_path / "b.json").read_text())
    assert {row["iteration"] for row in data["behaviour"]} == {0, 2}
    assert {row["iteration"] for row in data["consistency"]} == {1, 2}
    start = ("--start", RunFolder(finished).last_checkpoint())
    few = ("--consistency", "2", "--episodes", "2")
    run("behaviour", finished, *few, *start, "--json", tmp_path / "s.json")
    data = json.loads((tmp_path / "s.json").read_text())
    assert {row["iteration"] for row in data["consistency"]} == {0, 2}
    with pytest.raises(UserError, match="--consistency N"):
        run("behaviour", finished, *start)
    assert (tmp_path / "b" / "figures" / "consistency.svg").exists()
    run("cases", finished, "--episodes", "4", "--json", tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text())["episodes"] == 4


def test_other_settings_play_without_touching_the_run(finished: Path, tmp_path: Path) -> None:
    before = RunFolder(finished).coupling_paths()
    run("gradients", finished, "coupling.samples=3", "--out", tmp_path / "out")
    data = json.loads((tmp_path / "out" / "gradients.json").read_text())
    assert data["n"]["in_pos"] <= 3
    assert data["suite"] == "households"
    assert (tmp_path / "out" / "samples.jsonl").exists()
    assert RunFolder(finished).coupling_paths() == before
    with pytest.raises(UserError, match="takes the settings of the run"):
        run("gradients", finished, "coupling.samples=3", "--every-checkpoint")
    kept = tmp_path / "out" / "samples.jsonl"
    with pytest.raises(UserError, match="--samples has them already"):
        run("gradients", finished, "coupling.samples=3", "--samples", kept)


def test_the_actions_of_two_states_have_an_influence(finished: Path, tmp_path: Path) -> None:
    run("states", finished, tmp_path / "s.jsonl", "--max-actions", "3", "--position", "0")
    run("influence", finished, "--samples", tmp_path / "s.jsonl", "--json", tmp_path / "i.json")
    data = json.loads((tmp_path / "i.json").read_text())
    assert data["agrees"]
    assert len(data["first_order"]) == 6
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [row["id"][:2] for row in rows] == ["A:"] * 3 + ["B:"] * 3


def test_what_is_no_run_is_told_to_give_samples(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the samples with --samples"):
        run("gradients", tmp_path)
