"""Short training runs to test with."""

import json
from pathlib import Path

from declutch.config import Config
from declutch.progress import TrainView
from declutch.run_folder import RunFolder
from declutch.suites import make_suite
from declutch.train import train


def run_training(config: Config, path: Path) -> list[dict]:
    """The metrics of a whole run in `path`."""
    run = RunFolder(path)
    run.write_config(config)
    with TrainView(config.train.iterations, "test") as view:
        train(config, run, make_suite(config.env), view, "")
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
