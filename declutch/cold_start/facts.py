"""What a cold start was made from, as recorded beside the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from declutch.cold_start.demonstrations import TEMPLATE

COLD_START_FILE = "cold_start.json"


@dataclass(frozen=True)
class ColdStart:
    """What a cold start was.

    Attributes:
        protocol: "strict" or "declared-share"; "" when the model was never cold-started.
        num_episodes, num_examples, num_judge_examples, num_future_examples, num_value_examples:
            the data.
        epochs, steps, tokens, seconds, loss: the training.
        reasoning, critiques: who worded the demonstrations' thoughts and the judge examples'
            answers: "template", or "endpoint" and the model's name.
        reasoning_fallbacks, critique_fallbacks: texts of the latter that are the template's after
            all, by reason.
    """

    protocol: str
    num_episodes: int = 0
    num_examples: int = 0
    num_judge_examples: int = 0
    epochs: int = 0
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    num_future_examples: int = 0
    num_value_examples: int = 0
    reasoning: str = TEMPLATE
    reasoning_fallbacks: Mapping[str, int] = field(default_factory=dict)
    critiques: str = TEMPLATE
    critique_fallbacks: Mapping[str, int] = field(default_factory=dict)


def read_cold_start(model_path: str | Path) -> ColdStart:
    """What the cold start of a model folder was, or of the run whose checkpoint it is; protocol ""
    where neither says.
    """
    path = Path(model_path)
    for folder in (path, path.parent.parent):
        file = folder / COLD_START_FILE
        if file.is_file():
            return ColdStart(**json.loads(file.read_text(encoding="utf-8")))
    return ColdStart(protocol="")
