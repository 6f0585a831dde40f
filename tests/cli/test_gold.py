"""`declutch games gold`: which paths are checked, and what is said of them."""

import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from declutch.cli.gold import choose_tasks, run_gold
from declutch.config.run import Config
from declutch.envs.scienceworld.gold import GoldPath
from declutch.ground.errors import UserError
from declutch.records import TaskId


def task(kind, number, split="dev"):
    return TaskId("scienceworld", split, number, f"{kind}/{number}", kind)


TASKS = {
    "L0": tuple(task(kind, number) for kind in ("boil", "melt") for number in range(3)),
    "L1": (task("boil", 0, "test"), task("grow-plant", 7, "test")),
}
SUITE = SimpleNamespace(tasks=lambda level: TASKS[level])


def test_the_first_variations_of_each_task_and_level():
    assert choose_tasks(SUITE, ["L0"], [], 2) == [*TASKS["L0"][:2], *TASKS["L0"][3:5]]
    assert choose_tasks(SUITE, ["L0", "L1"], ["boil"], 1) == [TASKS["L0"][0], TASKS["L1"][0]]
    assert choose_tasks(SUITE, ["L0", "L0"], [], 9) == list(TASKS["L0"])
    with pytest.raises(UserError, match=r"--tasks boill: L0 has no.*did you mean 'boil'"):
        choose_tasks(SUITE, ["L0"], ["boill"], 1)


def test_another_suite_has_no_gold_paths():
    with pytest.raises(UserError, match=r"env\.suite='households'.*env\.suite=scienceworld"):
        run_gold(Config(), SUITE, ["L0"], [], 1, None, Console())


def test_failures_are_named_and_paths_written(tmp_path, monkeypatch):
    pytest.importorskip("scienceworld")
    from declutch.config.env import ScienceWorldConfig
    from declutch.envs.scienceworld.suite import ScienceWorldSuite

    suite = ScienceWorldSuite(ScienceWorldConfig())
    paths = {"boil": GoldPath(("heat",), 2, 100), "melt": GoldPath((), 3, 5, "ends with score 5")}
    monkeypatch.setattr(suite.planner, "gold", lambda task: paths[task.kind])
    console = Console(file=io.StringIO(), width=100)
    out = tmp_path / "gold.json"
    run_gold(Config(), suite, ["L0"], ["melt", "boil"], 2, out, console)
    said = console.file.getvalue()
    assert "dev melt/14: ends with score 5" in said
    assert "boil/14:" not in said
    record = json.loads(out.read_text())
    assert (record["levels"], record["max_steps"]) == (["L0"], 30)
    assert [path["task"] for path in record["paths"]] == [
        "boil/14",
        "boil/15",
        "melt/14",
        "melt/15",
    ]
    assert record["paths"][0] == {
        "split": "dev",
        "task": "boil/14",
        "actions": ["heat"],
        "num_gold": 2,
        "score": 100,
        "error": "",
    }
