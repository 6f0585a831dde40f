"""The papers' rule that labels the steps of an episode: leading back is bad, winning is good.

It needs what the agent saw and whether the game was won, and so labels sampled episodes and
demonstrations alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from declutch.agent.prompt import last_informative
from declutch.envs.wording import Wording

RuleKey = Literal["informative", "raw"]
"""What counts as the same observation, see `label_steps`."""


def label_steps(
    seen: Sequence[tuple[str, str]],
    is_won: bool,
    wording: Wording,
    key: RuleKey = "informative",
) -> tuple[int | None, ...]:
    """Label steps by the papers' rule: 0 where the state comes back, 1 where the last step won.

    Args:
        seen: the observation and the inventory that each step was taken from.
        wording: the suite's words, which know the observations that say nothing.
        key: what counts as the same observation. "raw" compares the plain text. "informative"
            compares the last observation that said something, and what is carried: an observation
            like "Nothing happens." comes back after every slip, so that under "raw" the step that
            recovers from one slip is labelled bad when another follows.
    Returns:
        for each step 1 (good), 0 (bad) or None (no label).
    Source: GC section 4.1, RM section 4. Differs: the informative key is this package's.
    """
    texts = [text for text, _ in seen]
    if key == "raw":
        keys = [(text, "") for text in texts]
    else:
        keys = [
            (last_informative(texts[: position + 1], wording), inventory)
            for position, (_, inventory) in enumerate(seen)
        ]
    last_seen = {k: position for position, k in enumerate(keys)}
    labels: list[int | None] = [
        0 if last_seen[k] > position else None for position, k in enumerate(keys)
    ]
    if is_won and labels:
        labels[-1] = 1
    return tuple(labels)
