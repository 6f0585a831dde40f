"""An example of callbacks: what a program of your own is told of a training run.

python examples/watch_a_run.py runs/cold runs/watched
"""

import sys
from collections.abc import Mapping

from declutch import Silent, load_config, train_agent


class Diary(Silent):
    """Keeps the success of every iteration, and says what an evaluation found."""

    def __init__(self) -> None:
        self.success: list[float] = []

    def update(self, metrics: Mapping[str, float]) -> None:
        self.success.append(metrics["agent/success"])

    def note(self, text: str) -> None:
        print("note:", text)

    def evaluation(self, iteration, scores) -> None:
        print(iteration, {level: round(mean, 3) for level, (mean, *_) in scores.items()})


def main(model: str, out: str, *more: str) -> list[float]:
    """Train the model in `out` on the households; `more` are settings."""
    diary = Diary()
    train_agent(load_config("tiny", more), out, model=model, watcher=diary)
    return diary.success


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
