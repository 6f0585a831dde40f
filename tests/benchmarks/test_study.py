"""The tables of the study, from packed runs whose numbers can be done by hand."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from compared import make_evaluation, write_coupling, write_run
from pages import ROOT
from training import cold_started, run_training

from benchmarks import study
from declutch.config.files import parse_config
from declutch.evaluation.intervals import Estimate
from declutch.runs.coupling import read_coupling
from declutch.runs.folder import RunFolder

START = {"L0": "1100", "L1": "1000", "L2": "1000"}
ENDS = {
    # L2 of seeds 0 and 1: GRPO 0 and 1 of 4 games, GCD 2 and 3, the placebo 1 and 1.
    "grpo_s0": {"L0": "1110", "L1": "1100", "L2": "0000"},
    "grpo_s1": {"L0": "1110", "L1": "1100", "L2": "0001"},
    "gcd+gcd_s0": {"L0": "1110", "L1": "1100", "L2": "1100"},
    "gcd+gcd_s1": {"L0": "1110", "L1": "1100", "L2": "1101"},
    "gcd_shuffled+gcd_s0": {"L0": "1110", "L1": "1100", "L2": "0010"},
}
ACROSS = {"grpo": 0.5, "gcd+gcd": 0.2, "gcd_shuffled+gcd": 0.5}


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two comparisons, a cold start each: seeds 0 and 1."""
    for name, won in ENDS.items():
        block = tmp_path / name[-1]
        folder = write_run(block / name, {0: make_evaluation(START), 2: make_evaluation(won)})
        rows = [
            {"iteration": i, "time/iteration": 2.0, "judge/accuracy": 0.5 + i / 20}
            for i in range(1, 11)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        write_coupling(folder, 2, 0.6, ACROSS[name[:-3]])
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "weights").write_text("large")
    return [tmp_path / "0", tmp_path / "1"]


@pytest.fixture
def archive(folders: list[Path], tmp_path: Path) -> Path:
    assert study.pack(tmp_path / "runs.tar.xz", folders) == 5
    return tmp_path / "runs.tar.xz"


def row_of(rows: list[list[str]], *starts: str) -> list[str]:
    (row,) = [row for row in rows if tuple(row[: len(starts)]) == starts]
    return row


def test_packing_keeps_what_tables_need_and_the_same_bytes(
    archive: Path, folders: list[Path], tmp_path: Path
) -> None:
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    assert "grpo_s0/evals/iteration_0002.json" in names
    assert not any("checkpoints" in name for name in names)
    study.pack(tmp_path / "again.tar.xz", folders[::-1])
    assert (tmp_path / "again.tar.xz").read_bytes() == archive.read_bytes()


def test_differences_are_paired_by_seed_and_leave_out_seeds_without_a_partner(
    archive: Path,
) -> None:
    _, rows = study.contrast_table(study.read_packed(archive))
    with_gcd = row_of(rows, "2", "GRPO + GCD − GRPO", "2")
    # Two of four games more on L2 in both seeds, and nothing else: a sixth in the mean.
    assert with_gcd[3].startswith("+0.0 ")
    assert with_gcd[5].startswith("+50.0 ")
    assert with_gcd[6].startswith("+16.7 ")
    # The placebo has one seed alone.
    assert not any("shuffled" in row[1] for row in rows)


def test_arms_added_later_are_compared_with_the_same_seeds(
    folders: list[Path], tmp_path: Path
) -> None:
    assert study.other_table(study.read_packed(pack_into(tmp_path, folders)))[1] == []
    for seed, won in (("0", "1000"), ("1", "1001")):
        ends = {"L0": "1110", "L1": "1100", "L2": won}
        evaluations = {0: make_evaluation(START), 2: make_evaluation(ends)}
        write_run(tmp_path / seed / f"hgpo+gcd_s{seed}", evaluations)
    _, rows = study.other_table(study.read_packed(pack_into(tmp_path, folders)))
    # L2 of GRPO 0 and 1 of 4 games, of this arm 1 and 2, of GRPO + GCD 2 and 3.
    assert row_of(rows, "hgpo+gcd", "2")[2:] == ["75.0", "50.0", "37.5", "54.2"]
    assert row_of(rows, "hgpo+gcd − GRPO", "2 pairs")[4].startswith("+25.0 ")
    assert row_of(rows, "hgpo+gcd − GRPO + GCD", "2 pairs")[4].startswith("-25.0 ")
    assert len(rows) == 3


def test_the_page_of_arms_compares_each_with_what_differs_from_it_by_one_thing(
    folders: list[Path], tmp_path: Path
) -> None:
    for name in ("hgpo", "hgpo+gcd"):
        for seed, won in (("0", "1000"), ("1", "1001")):
            ends = {"L0": "1110", "L1": "1100", "L2": won}
            evaluations = {0: make_evaluation(START), 2: make_evaluation(ends)}
            write_run(tmp_path / seed / f"{name}_s{seed}", evaluations)
    _, rows = study.exploratory_table(study.read_packed(pack_into(tmp_path, folders)))
    assert [row[0] for row in rows if row[0].startswith("hgpo")] == [
        "hgpo",
        "hgpo − GRPO",
        "hgpo+gcd",
        "hgpo+gcd − GRPO",
        "hgpo+gcd − GRPO + GCD",
    ]
    assert [row[0] for row in rows[:3]] == ["GRPO", "GRPO + GCD", "GRPO + GCD − GRPO"]
    assert row_of(rows, "GRPO + GCD − GRPO")[4].startswith("+50.0 ")


def test_without_grpo_the_arms_without_a_second_task_are_what_others_are_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, won in (("prediction_grpo", "1000"), ("gcd_prediction+gcd", "1110")):
        for seed in range(2):
            ends = {"L0": "1110", "L1": "1100", "L2": won}
            evaluations = {0: make_evaluation(START), 2: make_evaluation(ends)}
            write_run(tmp_path / "runs" / f"{name}_s{seed}", evaluations)
    archive = tmp_path / "prediction_of_observations.tar.xz"
    study.pack(archive, [tmp_path / "runs"])
    out = tmp_path / "page" / "arms.md"
    monkeypatch.setattr("sys.argv", ["study.py", "arms", str(archive), "--out", str(out)])
    study.main()
    text = out.read_text("utf-8")
    assert "## Prediction of observations" in text
    (line,) = [line for line in text.splitlines() if "−" in line]
    assert line.startswith("| gcd_prediction+gcd − prediction_grpo | 2 pairs | +0.0 ")
    assert "| +50.0 [" in line


def pack_into(folder: Path, folders: list[Path]) -> Path:
    study.pack(folder / "packed.tar.xz", folders)
    return folder / "packed.tar.xz"


def test_the_mechanism_is_compared_seed_by_seed(archive: Path) -> None:
    _, rows = study.coupling_table(study.read_packed(archive))
    difference = row_of(rows, "2", "GRPO + GCD − GRPO", "2")
    # Across classes .2 in the place of .5; half of pp + nn - pn - np is .3 more.
    assert [cell.split(" ")[0] for cell in difference[4:]] == [
        "+0.000",
        "-0.300",
        "-0.300",
        "+0.000",
        "+0.300",
    ]


def test_the_judge_is_told_at_both_ends(archive: Path) -> None:
    _, rows = study.judge_table(study.read_packed(archive))
    # Right answers go from 55 to 100% in steps of 5 over the only ten iterations.
    assert row_of(rows, "GRPO + GCD", "1 to 10")[3].startswith("77.5")


def test_tables_and_figures_are_written(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    out = tmp_path / "out"
    options = ["tables", str(archive), "--out", str(out), "--setting", "two games"]
    monkeypatch.setattr("sys.argv", ["study.py", *options])
    study.main()
    text = (out / "results.md").read_text("utf-8")
    assert text in capsys.readouterr().out
    assert text.startswith("# The study's results: two games")
    assert "Runs: GRPO 2, GRPO + GCD 2, GRPO + GCD, labels shuffled 1." in text
    assert {path.stem for path in out.glob("*.csv")} == {"every_seed", "curves"}


@pytest.mark.parametrize(
    ("name", "setting"), [("", "generated households"), ("alfworld", "real ALFWorld games")]
)
def test_the_pages_in_docs_are_what_the_archives_give(name: str, setting: str) -> None:
    folder = ROOT / "docs" / "results" / "study" / name
    page = (folder / "results.md").read_text("utf-8")
    assert study.render(study.read_packed(folder / "runs.tar.xz"), setting) == page


def test_the_page_of_arms_in_docs_is_what_its_archives_give() -> None:
    folder = ROOT / "docs" / "results" / "study" / "arms"
    page = (folder / "results.md").read_text("utf-8")
    assert study.render_arms(sorted(folder.glob("*.tar.xz"))) == page


def test_coupling_is_measured_in_the_order_of_the_plan(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    monkeypatch.setattr(
        study,
        "measure_coupling",
        lambda run, iteration: measured.append((run.path.name, iteration)),
    )
    monkeypatch.setattr(study, "equal_time", lambda runs, last: 0)
    study.measure(folders)
    main = ["gcd+gcd_s0", "grpo_s0", "gcd+gcd_s1", "grpo_s1"]
    order = [(name, at) for at in (2, 1) for name in (*main, "gcd_shuffled+gcd_s0")]
    assert sorted(measured) == sorted(order)
    assert [at for _, at in measured] == [2] * 5 + [1] * 5
    assert [name[-1] for name, _ in measured[:5]] == ["0", "0", "1", "1", "0"]


def test_settings_are_pooled_by_their_precision(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Half-widths of 1 and 2 weigh 4 to 1: (4 * 2 - 3) / 5, and a half-width of 1 / sqrt(1.25).
    found = study.pool_estimates([Estimate(2.0, 1.0, 3.0, 9), Estimate(-3.0, -5.0, -1.0, 9)])
    assert found.mean == pytest.approx(1.0)
    assert found.high - found.mean == pytest.approx(0.8944, abs=1e-4)
    monkeypatch.setattr("sys.argv", ["study.py", "pool", str(archive), str(archive)])
    monkeypatch.setattr(study, "CONTRASTS", ((study.GRPO, study.GCD),))
    study.main()
    (row,) = capsys.readouterr().out.splitlines()[2:]
    assert row.startswith("| GRPO + GCD − GRPO | +0.0")


def test_power_is_that_of_the_t_test() -> None:
    # Cohen's tables: 16 pairs tell an effect of 0.75 standard deviations with a power of 80%.
    assert study.detectable(1.0, 16) == pytest.approx(0.749, abs=2e-3)
    assert study.detectable(2.0, 16) == pytest.approx(2 * study.detectable(1.0, 16))


def test_coverage_is_simulated_for_the_runs_asked_for() -> None:
    lines = list(study.coverage(20, 3, 0, (70, 70, 70)))
    few = list(study.coverage(20, 3, 0, (4, 5, 6)))
    assert [line.split(" | ")[1] for line in lines[2:6]] == ["3"] * 4
    # Half-widths without a spread between runs are those of games alone.
    half, half_of_few = (float(each[2].split("±")[1].rstrip(" |")) for each in (lines, few))
    assert half_of_few > 2 * half


def test_equal_time_is_the_last_kept_checkpoint_within_the_other_methods_time(
    folders: list[Path], tmp_path: Path
) -> None:
    """GCD takes 2.5 s for an iteration and GRPO 2: 16 of its iterations take what 20 do."""
    for folder in folders:
        for path in folder.glob("gcd+gcd_*"):
            text = (path / "metrics.jsonl").read_text()
            (path / "metrics.jsonl").write_text(text.replace("2.0", "2.5"))
    study.pack(tmp_path / "slow.tar.xz", folders)
    runs = study.read_packed(tmp_path / "slow.tar.xz").runs
    assert study.equal_time(runs, 20) == 15
    assert study.equal_time(runs, 6) == 0  # before the first checkpoint
    without = [run for run in runs if run.id.arm != study.GRPO]
    assert study.equal_time(without, 20) == 0


@pytest.mark.long
def test_kept_checkpoints_are_measured_and_evaluated_after_training(tmp_path: Path) -> None:
    data = {
        "env": {"max_steps": 6},
        "tiny": {"hidden_size": 32, "num_layers": 1, "intermediate_size": 64},
        "sft": {"num_episodes": 30, "epochs": 3, "lr": 5e-3},
        "train": {"iterations": 2, "tasks_per_iteration": 2, "group_size": 3, "save_every": 1},
        "eval": {"every": 1, "max_games": 2, "seeds": [0]},
        "coupling": {"label": "oracle"},
    }
    data = cold_started(data, tmp_path)
    run = RunFolder(tmp_path / "runs" / "grpo_s0")
    run_training(parse_config(data, "test"), run.path)
    study.measure_coupling(run, 2)
    record = read_coupling(run, [])[0]
    assert record.iteration == 2
    assert record.n >= 2
    before = run.evaluation_path("iteration_0001").read_text()
    run.evaluation_path("iteration_0001").unlink()
    study.evaluate_at(run, 1, 2)
    first, again = (
        json.loads(text) for text in (before, (run.evaluation_path("iteration_0001")).read_text())
    )
    assert first["games"] == again["games"]
