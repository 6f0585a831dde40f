"""Say aloud where a policy wins fewer games than random play of the same games does."""

from __future__ import annotations

from declutch.config.run import EvalConfig
from declutch.envs.protocol import LimitsLive, Suite
from declutch.evaluation.evaluate import evaluate
from declutch.evaluation.players import scripted_player
from declutch.evaluation.results import EvalResult
from declutch.ground.errors import UserError

NUM_GAMES, FEW_GAMES = 200, 20
"""Games of a level that random play plays, and of environments that are costly to start."""


def compare_with_random(result: EvalResult, suite: Suite, config: EvalConfig) -> str:
    """Compare an evaluation with random play, for a note where chance does as well.

    Args:
        result: of the policy.
        config: the evaluation's settings.
    Returns:
        a sentence for levels on which random play wins as many games or more, "" for none, and
        where nobody can play at random.
    """
    games = FEW_GAMES if isinstance(suite, LimitsLive) else NUM_GAMES
    limit = min(games, config.max_games or games)
    settings = config.model_copy(update={"max_games": limit, "seeds": (0,), "judge": False})
    player = scripted_player("random", suite, result.max_steps or 1)
    try:
        chance = evaluate(player, suite, settings).success
    except UserError:
        return ""
    found = [
        f"{level} {share:.1%} (random {chance[level]:.1%})"
        for level, share in result.success.items()
        if share <= chance[level] and chance[level] > 0
    ]
    if not found:
        return ""
    return (
        f"random play wins as many games or more: {', '.join(found)}. The policy has learned "
        "nothing there yet: look at the loss of the cold start, at sft.lr and optimizer.lr, and at "
        "the episodes (`declutch report`)"
    )
