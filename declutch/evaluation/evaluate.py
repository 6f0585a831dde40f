"""Evaluation of a player: every game of a level exactly once per seed."""

from __future__ import annotations

import time

from declutch.config.run import EvalConfig
from declutch.envs.protocol import Suite
from declutch.envs.splits import manifest_hash
from declutch.evaluation.exam import Examiner
from declutch.evaluation.exam_results import JudgedStep, LabelCounts
from declutch.evaluation.players import Player
from declutch.evaluation.results import EvalResult, GameResult, game_result
from declutch.ground.errors import UserError
from declutch.records import Episode
from declutch.rollout.tasks import fixed_order


def evaluate(
    player: Player, suite: Suite, config: EvalConfig, examiner: Examiner | None = None
) -> EvalResult:
    """Evaluate: the loop over levels and seeds that has every game played exactly once per seed.

    Args:
        player: who plays, see `model_player` and `scripted_player`.
        config: levels, seeds, and how many games of a level.
        examiner: has steps of each level judged; oracle labels need a player that asks for them.
    Raises:
        UserError: a level without games.
    """
    started = time.perf_counter()
    levels = {level: suite.tasks(level) for level in config.levels}
    games: list[GameResult] = []
    counts: dict[str, LabelCounts] = {}
    judged: list[JudgedStep] = []
    for level, tasks in levels.items():
        if not tasks:
            raise UserError(f"level {level} of suite {suite.name} has no games")
        chosen = list(tasks)
        if config.max_games is not None:
            chosen = fixed_order(tasks)[: config.max_games]
        plays: list[tuple[int, Episode]] = []
        for seed in config.seeds:
            played = player.play(chosen, seed)
            games += [game_result(episode, level, seed) for episode in played]
            if examiner is not None:
                plays += [(seed, episode) for episode in played]
        if examiner is not None:
            counts[level], steps = examiner.examine(level, plays)
            judged += steps
    return EvalResult(
        policy=player.name,
        temperature=player.temperature,
        protocol=player.protocol,
        manifests={level: manifest_hash(tasks) for level, tasks in levels.items()},
        games=tuple(games),
        suite=suite.name,
        max_steps=player.max_steps,
        seconds=time.perf_counter() - started,
        judge=examiner.result(counts, judged) if examiner is not None else None,
    )


def num_games(config: EvalConfig, suite: Suite) -> int:
    """How many episodes `evaluate` plays with these settings of an evaluation, for its bar."""
    counts = [len(suite.tasks(level)) for level in config.levels]
    if config.max_games is not None:
        counts = [min(count, config.max_games) for count in counts]
    return sum(counts) * len(config.seeds)
