"""What a model's cold start was made from, as a file beside the model records it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from declutch.cold_start.demonstrations import TEMPLATE
from declutch.ground.contents import parse_json, parse_record, read_text
from declutch.ground.errors import UserError
from declutch.models.manifest import check_further_file

COLD_START_FILE = "cold_start.json"

FORMER_KEYS = {"num_future_examples": "num_prediction_examples"}
"""Keys of the file as the version before wrote it, and those of today."""


@dataclass(frozen=True)
class ColdStart:
    """The facts of a model's cold start: its demonstrations' protocol, its data, its training.

    Attributes:
        protocol: of the demonstrations, "strict" or "declared-share"; "" for a model without a
            cold start.
        num_episodes: of demonstrations.
        num_examples, num_judge_examples, num_prediction_examples, num_value_examples: steps that
            were trained on to act, to judge, to predict and to classify.
        epochs, steps, tokens, seconds: of training; steps are the optimizer's.
        loss: of the last step, in nats per token of the response.
        reasoning, critiques: who worded the demonstrations' thoughts and the judge examples'
            answers: "template", or "endpoint" and the model's name.
        judge_labels: who labelled what the judge was shown, "oracle" or "rule"; "" where it was
            shown nothing, or by the version before.
        first_loss: of the first step.
        demonstrations: SHA-256 of the demonstrations, "" where they or the version before named
            none.
        reasoning_fallbacks, critique_fallbacks: texts of an endpoint's that are the template's
            after all, by reason.
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
    num_prediction_examples: int = 0
    num_value_examples: int = 0
    reasoning: str = TEMPLATE
    reasoning_fallbacks: Mapping[str, int] = field(default_factory=dict)
    critiques: str = TEMPLATE
    critique_fallbacks: Mapping[str, int] = field(default_factory=dict)
    judge_labels: str = ""
    first_loss: float = 0.0
    demonstrations: str = ""


def read_cold_start(model_path: str | Path) -> ColdStart:
    """Read the facts of a model's cold start, from its folder or that of the run it is from.

    Returns:
        Facts with the protocol "" where neither folder says.
    Raises:
        UserError: the file is damaged.
    """
    path = Path(model_path)
    for folder in (path, path.parent.parent):
        file = folder / COLD_START_FILE
        if file.is_file():
            check_further_file(folder, COLD_START_FILE)
            try:
                facts = parse_json(read_text(file))
                if not isinstance(facts, dict):
                    raise ValueError("it is no JSON object")
                named = {FORMER_KEYS.get(key, key): facts[key] for key in facts}
                return parse_record(ColdStart, json.dumps(named))
            except ValueError as error:
                raise UserError(
                    f"{file} does not say what the model's cold start was ({error}); delete it to "
                    "go on with a model of unknown origin"
                ) from None
    return ColdStart(protocol="")
