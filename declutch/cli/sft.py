"""`declutch sft`: the cold start, supervised training on demonstrations and on steps to judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from declutch.cli.interrupt import tell_when_interrupted
from declutch.cli.options import GivenSettings, grouped
from declutch.cli.terminal import (
    console,
    describe_fallbacks,
    held,
    open_chat,
    open_suite,
    reported,
    tell_usage,
    warn,
)

if TYPE_CHECKING:
    from declutch.config.run import Config
    from declutch.endpoint.client import Endpoint


@grouped
def sft_command(
    model: Annotated[str, typer.Argument(help="The model folder or hub name to start from.")],
    out: Annotated[Path, typer.Argument(help="The folder to write the trained model to.")],
    given: GivenSettings,
) -> None:
    """Cold start: train MODEL on demonstrations and on labelled steps to judge, into OUT."""
    settings = given.load(f"model.path={model}")

    from declutch.models.find import find_model

    find_model(model)

    from declutch.cold_start.pipeline import run_sft

    path = settings.sft.demonstrations or out.parent / f"{out.name}.demonstrations.jsonl"
    with held(out, "declutch sft"):
        chat = None
        if settings.sft.demonstrations is None:
            with held(path, "declutch sft"):
                chat = _demonstrate(settings, path)
        if chat is None and settings.sft.critiques == "endpoint":
            chat = open_chat(settings)
        with reported("cold start") as report:
            facts = run_sft(
                settings, path, out, lambda p: report(p.step, p.num_steps), chat=chat, say=warn
            )
    labels = f"labels by the {facts.judge_labels}, " if facts.judge_labels else ""
    more = {"prediction": facts.num_prediction_examples, "value-head": facts.num_value_examples}
    console.print(
        f"{facts.num_examples} agent examples (reasoning by {facts.reasoning}"
        f"{describe_fallbacks(facts.reasoning_fallbacks)}) and {facts.num_judge_examples} judge "
        f"examples ({labels}critiques by {facts.critiques}"
        f"{describe_fallbacks(facts.critique_fallbacks)}), "
        + "".join(f"{count} {name} examples, " for name, count in more.items() if count)
        + f"{facts.steps} steps in {facts.seconds:.0f} s, loss {facts.loss:.3f}; model in {out}"
    )
    tell_usage(chat)


def describe_demonstrated(path: Path) -> str:
    """`declutch sft`: what is saved of demonstrations that an interruption followed."""
    return f"the demonstrations in {path} are kept for it" if path.exists() else ""


def _demonstrate(settings: Config, path: Path) -> Endpoint | None:
    """Write the demonstrations, unless they are there already; the endpoint that worded them.

    Raises:
        UserError: those that are there were written with other settings.
    """
    from declutch.cold_start.pipeline import check_demonstrations, make_demonstrations

    suite = open_suite(settings)
    if path.exists():
        check_demonstrations(settings, suite, path)
        console.print(f"trains on {path}, which is there already", soft_wrap=True)
        return None
    asks = "endpoint" in (settings.sft.reasoning, settings.sft.critiques)
    chat = open_chat(settings) if asks else None
    tell_when_interrupted(lambda: describe_demonstrated(path))
    with reported("demonstrations") as report:
        make_demonstrations(settings, suite, path, report, chat)
    return chat
