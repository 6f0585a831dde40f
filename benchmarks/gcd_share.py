"""Which share of an iteration's processor seconds GCD takes.

    OMP_NUM_THREADS=1 python benchmarks/gcd_share.py [--model COLD_START]

A run of the demo's settings is trained. GCD's share is what asking the judge takes, and how much
longer an update takes with the judge's samples than without them. Both kinds of update are made
three times in turns, on copies of the model and of the same samples, and their medians are taken.
Seconds are those of the processor. The first iteration warms up and is left out. Without --model
the demo's cold start is made first, which takes minutes.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from declutch.cold_start.pipeline import make_cold_start
from declutch.config.files import change_config, load_config
from declutch.config.run import Config
from declutch.envs.registry import make_suite
from declutch.learner.optimizer import build_optimizer
from declutch.learner.update import Randomness, update
from declutch.runs.folder import RunFolder
from declutch.train import learn
from declutch.train.loop import run_iteration
from declutch.train.session import Session, Silent

TURNS = 3


@dataclass
class Spent:
    """Processor seconds of an iteration, and of what GCD is of it."""

    judge: float = 0.0
    update: float = 0.0
    whole: float = 0.0

    @property
    def share(self) -> float:
        return (self.judge + self.update) / self.whole


def measure(session: Session) -> Spent:
    """Train an iteration of a session."""
    spent, between = Spent(), [0.0]

    def judge(self: Session, *arguments: Any) -> Any:
        began = time.process_time()
        found = ask(self, *arguments)
        spent.judge = time.process_time() - began
        return found

    def learn_in_turns(model: Any, optimizer: Any, agent: Any, judge: Any, *rest: Any) -> Any:
        began = time.process_time()
        taken: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(TURNS):
            for is_judged in (True, False) if turn % 2 else (False, True):
                lesson = judge if is_judged else None
                taken[is_judged].append(learn_apart(session.config, model, agent, lesson, *rest))
        spent.update = statistics.median(taken[True]) - statistics.median(taken[False])
        between[0] = time.process_time() - began
        return update(model, optimizer, agent, judge, *rest)

    ask = Session.judge
    with (
        mock.patch.object(Session, "judge", judge),
        mock.patch.object(learn, "update", learn_in_turns),
    ):
        began = time.process_time()
        run_iteration(session)
        spent.whole = time.process_time() - began - between[0]
    return spent


def learn_apart(
    config: Config, model: Any, agent: Any, judge: Any, opt: Any, gcd: Any, *_: Any
) -> float:
    """The seconds of an update of a copy of the model."""
    apart = copy.deepcopy(model)
    optimizer = build_optimizer(apart, config.optimizer)
    draws = Randomness(torch.Generator().manual_seed(0), torch.Generator().manual_seed(0))
    began = time.process_time()
    update(apart, optimizer, agent, judge, opt, gcd, draws)
    return time.process_time() - began


@contextmanager
def in_silence(name: str) -> Any:
    """Show no progress of a cold start."""
    yield lambda done, total: None


def main() -> None:
    """Print a line for each iteration, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a cold start of the demo's settings")
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("settings", nargs="*", help="KEY=VALUE, laid over the demo's settings")
    options = parser.parse_args()
    config = load_config(["demo"], options.settings)
    with tempfile.TemporaryDirectory() as folder:
        cold = options.model
        if cold is None:
            cold, _ = make_cold_start(config, make_suite(config.env), Path(folder), in_silence)
        config = change_config(
            config,
            seed=options.seed,
            model={"path": str(cold)},
            train={"iterations": options.iterations + 2, "save_every": options.iterations + 2},
        )
        run = RunFolder(Path(folder) / "run")
        run.write_config(config)
        torch.set_num_threads(1)
        session = Session.start(config, run, make_suite(config.env), Silent())
        found = [measure(session) for _ in range(options.iterations + 1)][1:]
    for number, spent in enumerate(found, start=2):
        print(
            f"iteration {number}: {spent.whole:.2f} s, judge {spent.judge:.2f}, more of the update "
            f"{spent.update:.2f}, {100 * spent.share:.1f}%"
        )
    shares = [100 * spent.share for spent in found]
    whole = sum(spent.whole for spent in found)
    total = sum(spent.judge + spent.update for spent in found)
    print(
        f"GCD's share of an iteration: {statistics.median(shares):.1f}% in the median, "
        f"{100 * total / whole:.1f}% of all together"
    )


if __name__ == "__main__":
    main()
