"""Short cold starts and training runs to test with."""

import json
from contextlib import contextmanager
from pathlib import Path

from declutch.cold_start.pipeline import make_cold_start
from declutch.config.files import parse_config
from declutch.config.run import Config
from declutch.coupling.over_training import CouplingDiagnosis
from declutch.envs.registry import make_suite
from declutch.report.live import TrainWatcher
from declutch.runs.catalogue import find
from declutch.runs.folder import RunFolder
from declutch.runs.rows import CHECKSUM
from declutch.train.loop import train

SMALL_GAMES = {"train": 24, "valid_seen": 12, "valid_unseen": 12}


@contextmanager
def _in_silence(name: str):
    yield lambda done, total: None


def cold_started(data: dict, folder: Path) -> dict:
    """Settings with a tiny model made, demonstrated to and cold-started in `folder` behind them.

    Households are few and cached there unless `data` says otherwise.
    """
    env = {"suite": "households", "cache_dir": str(folder / "cache"), "households": SMALL_GAMES}
    data = {"threads": 1, **data, "env": {**env, **data.get("env", {})}}
    config = parse_config(data, "test")
    cold, _ = make_cold_start(config, make_suite(config.env), folder, _in_silence)
    return {**data, "model": {"path": str(cold)}}


def run_training(config: Config, path: Path) -> Path:
    """Train a whole run in `path`, as `declutch train` does; its last checkpoint."""
    run = RunFolder(path)
    run.write_config(config)
    suite = make_suite(config.env)
    with TrainWatcher(config.train.iterations, "test") as view:
        diagnosis = CouplingDiagnosis(config, run, suite, view.note)
        return train(config, run, suite, view, diagnosis)


def metrics_without_times(path: Path) -> list[dict]:
    """A run's metrics, all of them listed, less those that differ between two runs of one seed."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row.pop(CHECKSUM, None)
    unlisted = {key for row in rows for key in row if find(key) is None}
    assert not unlisted, unlisted
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]
