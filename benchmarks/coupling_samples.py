"""Labelled samples of text that a suite's expert plays, for a model that cannot play by itself.

    python benchmarks/coupling_samples.py alfworld samples.jsonl --samples 8

A pretrained model of 135 M parameters wins no game, so that it has no good samples of its own. Here
the expert plays with a random command in its place now and then, within few steps; an episode that
is won within them is good and one that is not is bad, L0 is in domain and L2 out of it. In maths a
good answer is the right one and a bad one that of another problem of the subject. A response is
the action alone: the expert gives its reasons and a random command has none, so that thoughts
would tell the classes apart by themselves.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from pathlib import Path
from typing import Any

from declutch.agent.prompt import render_agent, response_prefix
from declutch.cold_start.demonstrate import DemonstrationPlan, play_demonstration
from declutch.cold_start.demonstrations import Demonstration
from declutch.cold_start.views import build_views
from declutch.config.files import override_config
from declutch.config.run import Config
from declutch.envs.protocol import Suite, new_expert
from declutch.envs.registry import find_wording, make_suite
from declutch.rollout.tasks import fixed_order

FORM = "compact"


def play(suite: Suite, level: str, plan: DemonstrationPlan, count: int, steps: int) -> list[Any]:
    """(episode, position) of `count` steps of each class, as far as 8 times as many plays go.

    A suite of few games is played several times over, with other random commands each time.
    """
    found: dict[bool, list[tuple[Demonstration, int]]] = {True: [], False: []}
    env = suite.make_env()
    tasks = itertools.cycle(fixed_order(suite.tasks(level)))
    try:
        for index, task in enumerate(itertools.islice(tasks, 8 * count)):
            draw = random.Random(f"{plan.seed} {index} {task.name}")
            demo = play_demonstration(env, new_expert(suite, plan.seed + index), task, plan, draw)
            if len(found[demo.won]) < count and demo.steps:
                chosen = draw.sample(range(len(demo.steps)), min(steps, len(demo.steps)))
                found[demo.won] += [(demo, position) for position in sorted(chosen)]
            if min(map(len, found.values())) >= count:
                break
    finally:
        env.close()
    return [each for won in (True, False) for each in found[won][:count]]


def answer(suite: Suite, level: str, count: int, seed: int) -> list[Any]:
    """Problems of maths as episodes of one step: with the right answer, and with another one."""
    plan = DemonstrationPlan(1, "strict", (), perturb=0.0, label_every=0, max_steps=1, seed=seed)
    tasks, env = fixed_order(suite.tasks(level)), suite.make_env()
    demos = []
    for index, task in enumerate(tasks[: 8 * count]):
        draw = random.Random(f"{seed} {task.name}")
        demos.append(play_demonstration(env, new_expert(suite, index), task, plan, draw))
    env.close()
    good = [(demo, 0) for demo in demos[:count]]
    bad = []
    for demo in demos[count:]:
        others = [
            each.steps[0].action
            for each in demos
            if each.task.kind == demo.task.kind and each.steps[0].action != demo.steps[0].action
        ]
        if others and len(bad) < count:
            wrong = random.Random(f"{seed} {demo.task.name} wrong").choice(others)
            bad.append((demo, 0, wrong))
    return [*good, *bad]


def make_rows(suite: Suite, wording: Any, chosen: list[Any], domain: str) -> list[dict[str, Any]]:
    rows = []
    for number, (demo, position, *wrong) in enumerate(chosen):
        step = demo.steps[position]
        action = wrong[0] if wrong else step.action
        view = build_views(demo, FORM, wording, "think")[position]
        text = f"<think></think><action>{action}</action>"
        rows.append(
            {
                "id": f"{domain}/{number} {action}",
                "prompt": render_agent(view, FORM, 6, wording, "think"),
                "response": text.removeprefix(response_prefix(FORM)),
                "label": int(demo.won and not wrong),
                "domain": domain,
                "episode": f"{domain}/{demo.task.name}",
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite")
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=8, help="of each class and domain")
    parser.add_argument("--steps-per-episode", type=int, default=2)
    parser.add_argument("--perturb", type=float, default=0.5)
    parser.add_argument("--max-steps", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], help="such as env.scienceworld.kinds=[...]")
    given = parser.parse_args()
    settings = [f"env.suite={given.suite}", *given.set]
    config = override_config(Config(), settings, "this benchmark")
    suite, wording = make_suite(config.env), find_wording(config.env)
    rows = []
    for domain, level in (("in", "L0"), ("out", "L2")):
        if given.suite == "math":
            chosen = answer(suite, level, given.samples, given.seed)
        else:
            plan = DemonstrationPlan(
                *(1, "strict", ()),
                perturb=given.perturb,
                label_every=0,
                max_steps=given.max_steps,
                seed=given.seed,
            )
            chosen = play(suite, level, plan, given.samples, given.steps_per_episode)
        rows += make_rows(suite, wording, chosen, domain)
    given.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts = {
        f"{domain} {'good' if label else 'bad'}": sum(
            row["domain"] == domain and row["label"] == label for row in rows
        )
        for domain in ("in", "out")
        for label in (1, 0)
    }
    print(given.out, counts)


if __name__ == "__main__":
    main()
