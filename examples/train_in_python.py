"""An example of a whole training run in Python, on the environment of examples/treasure.py.

python examples/train_in_python.py runs/treasure
"""

import sys

from declutch import evaluate, load_config, make_cold_start, train_agent

SETTINGS = [
    "env.suite=examples.treasure:Treasure",
    "env.max_steps=8",
    "gcd.labels=rule",
    "train.iterations=5",
    "eval.max_games=30",
]


def main(out: str, *more: str) -> None:
    """Train in `out`; `more` are settings such as train.iterations=2."""
    config = load_config("tiny", [*SETTINGS, *more])
    cold = make_cold_start(config, out)
    agent = train_agent(config, f"{out}/run", model=cold)
    for policy in ("random", cold, agent):
        success = evaluate(policy, config, is_shown=False).success
        print(policy, {level: f"{share:.0%}" for level, share in success.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
