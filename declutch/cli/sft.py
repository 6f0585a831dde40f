"""`declutch sft`: the cold start, supervised training on demonstrations and on steps to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import (
    console,
    describe_fallbacks,
    open_chat,
    open_suite,
    reported,
    tell_usage,
)


@grouped
def sft_command(
    model: Annotated[str, typer.Argument(help="The model folder or hub name to start from.")],
    out: Annotated[Path, typer.Argument(help="The folder to write the trained model to.")],
    given: GivenSettings,
) -> None:
    """Cold start: train MODEL on demonstrations and on labelled steps to judge, into OUT."""
    settings = given.load(f"model.path={model}")

    from declutch.cold_start.pipeline import make_demonstrations, run_sft

    section = settings.sft
    path = section.demonstrations or out.parent / f"{out.name}.demonstrations.jsonl"
    is_to_make = section.demonstrations is None and not path.exists()
    asks = section.critiques == "endpoint" or (is_to_make and section.reasoning == "endpoint")
    chat = open_chat(settings) if asks else None
    if is_to_make:
        suite = open_suite(settings)
        with reported("demonstrations") as report:
            make_demonstrations(settings, suite, path, report, chat)
    with reported("cold start") as report:
        facts = run_sft(settings, path, out, lambda p: report(p.step, p.num_steps), chat=chat)
    more = {"prediction": facts.num_prediction_examples, "value-head": facts.num_value_examples}
    console.print(
        f"{facts.num_examples} agent examples (reasoning by {facts.reasoning}"
        f"{describe_fallbacks(facts.reasoning_fallbacks)}) and {facts.num_judge_examples} judge "
        f"examples (critiques by {facts.critiques}{describe_fallbacks(facts.critique_fallbacks)}), "
        + "".join(f"{count} {name} examples, " for name, count in more.items() if count)
        + f"{facts.steps} steps in {facts.seconds:.0f} s, loss {facts.loss:.3f}; model in {out}"
    )
    tell_usage(chat)
