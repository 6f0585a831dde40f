"""The stages a command runs, from a configuration to files: one function each, no printing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from declutch.agent.codec import Codec
from declutch.cold_start.demonstrate import play_demonstration, write_demonstrations
from declutch.cold_start.demonstrations import (
    TEMPLATE,
    TRAIN_SPLIT,
    Demonstration,
    DemonstrationsHeader,
    read_demonstrations,
)
from declutch.cold_start.endpoint_texts import CritiqueWriter, rewrite_reasoning
from declutch.cold_start.examples import (
    agent_examples,
    future_examples,
    judge_examples,
    value_examples,
)
from declutch.cold_start.facts import COLD_START_FILE, ColdStart
from declutch.cold_start.sft import SFTProgress, train_sft
from declutch.cold_start.tiny import init_tiny, vocabulary_texts
from declutch.config.files import change_config
from declutch.config.policy import SFTConfig
from declutch.config.run import Config
from declutch.endpoint.chat import Chat
from declutch.envs.protocol import (
    Expert,
    HasExpert,
    HasGuide,
    Suite,
    held_out_kinds,
    wording_of,
)
from declutch.envs.registry import find_wording
from declutch.envs.wanderer import Wanderer
from declutch.errors import UserError
from declutch.learner.value_head import HEAD_FILE, head_optimizer, layer_bytes, start_head
from declutch.models.load import load_model, pad_token_id, set_threads
from declutch.models.save import save_model
from declutch.streams import stream

Progress = Callable[[int, int], None]
Stage = Callable[[str], AbstractContextManager[Progress]]
"""Announces a stage by name, and takes its progress."""


def make_demonstrations(
    config: Config,
    suite: Suite,
    out: Path,
    progress: Progress | None = None,
    chat: Chat | None = None,
) -> DemonstrationsHeader:
    """Write the demonstrations that `config.sft` describes.

    Args:
        chat: words the reasoning where sft.reasoning=endpoint.
    """
    sft = config.sft
    rewrite = None
    if sft.reasoning == "endpoint":
        rewrite = partial(
            rewrite_reasoning,
            chat=_needed(chat),
            config=sft,
            history_length=config.agent.history_length,
            wording=wording_of(suite),
            progress=progress,
        )
    return write_demonstrations(
        suite,
        out,
        num_episodes=sft.num_episodes,
        protocol=sft.protocol,
        held_out_kinds=held_out_kinds(suite),
        share=sft.held_out_share,
        perturb=sft.perturb,
        label_every=sft.label_every,
        max_steps=config.env.max_steps,
        seed=config.seed,
        progress=progress,
        rewrite=rewrite,
        author=_author(config, sft.reasoning),
    )


def make_tiny(config: Config, suite: Suite, out: Path, progress: Progress | None = None) -> int:
    """Make a fresh tiny model whose words are those of the suite's games; returns its size.

    Only words are taken from the plays, of all task types: a word the tokenizer lacks could never
    be read, and none of the expert's choices reaches the model. A suite with a guide is played by
    it, one without an expert at random.
    """
    plays = out.with_name(f".{out.name}.words.jsonl")
    held_out = held_out_kinds(suite)
    kinds = {task.kind for task in suite.tasks(TRAIN_SPLIT)}
    make_expert: Callable[[int], Expert] = Wanderer
    if isinstance(suite, HasGuide):
        make_expert = suite.make_guide
    elif isinstance(suite, HasExpert):
        make_expert = suite.make_expert
    try:
        write_demonstrations(
            suite,
            plays,
            num_episodes=config.tiny.vocabulary_episodes,
            protocol="declared-share",
            held_out_kinds=held_out,
            share=1 / 3 if kinds.intersection(held_out) else 0.0,
            perturb=0.3,
            max_steps=config.env.max_steps,
            seed=config.seed + 1,
            make_expert=make_expert,
            label_every=0,
            progress=progress,
        )
        _, demonstrations = read_demonstrations(plays)
    finally:
        plays.unlink(missing_ok=True)
    absent = set(held_out) - kinds
    if absent:
        demonstrations += _play_held_out(config, suite, absent, make_expert)
    reasoning = config.agent.reasoning
    texts = vocabulary_texts(demonstrations, wording_of(suite), reasoning)
    model, _ = init_tiny(out, texts, config.tiny, config.seed, reasoning)
    return sum(parameter.numel() for parameter in model.parameters())


def _play_held_out(
    config: Config, suite: Suite, kinds: Collection[str], make_expert: Callable[[int], Expert]
) -> list[Demonstration]:
    """Plays of task types that only L2 has."""
    limit = config.tiny.vocabulary_episodes // 3
    tasks = [task for task in suite.tasks("L2") if task.kind in kinds][:limit]
    draw = random.Random(f"{config.seed + 1} held out")
    env = suite.make_env()
    try:
        return [
            play_demonstration(env, make_expert(index), task, draw, 0.3, config.env.max_steps, 0)
            for index, task in enumerate(tasks)
        ]
    finally:
        env.close()


def run_sft(
    config: Config,
    demonstrations_path: Path,
    out: Path,
    on_step: Callable[[SFTProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    chat: Chat | None = None,
) -> ColdStart:
    """Train `config.model.path` on demonstrations, and on steps to judge, to foretell or to
    classify; write the model to `out`.

    Args:
        should_stop: as for `train_sft`: makes the training open-ended.
        chat: words the judge examples' answers where sft.critiques=endpoint.
    Raises:
        UserError: demonstrations that break their protocol, a model that cannot be loaded.
    """
    header, demonstrations = read_demonstrations(demonstrations_path)
    _check_demonstrations(header, demonstrations_path, config.sft)
    set_threads(config.threads)
    model, tokenizer = load_model(config.model.path, config.model)
    wording = find_wording(config.env)
    codec = Codec(tokenizer, config.agent.prompt, wording, config.agent.reasoning)
    history = config.agent.history_length
    sft = config.sft
    asked = config.gcd.judge_prompt
    critique_writer = (
        CritiqueWriter(_needed(chat), sft, asked) if sft.critiques == "endpoint" else None
    )
    examples = agent_examples(
        demonstrations, codec, history, sft.suggestion_share, stream(config.seed, "guided-examples")
    )
    judged = judge_examples(
        demonstrations,
        codec,
        history,
        sft.judge_samples,
        stream(config.seed, "judge-examples"),
        asked,
        critique_writer,
    )
    foretold = future_examples(
        demonstrations, codec, history, sft.future_samples, stream(config.seed, "future-examples")
    )
    classified = value_examples(
        demonstrations,
        codec,
        history,
        sft.value_samples,
        stream(config.seed, "value-examples"),
        asked,
    )
    head = (
        start_head(
            config.model.path,
            model,
            head_optimizer(config.optimizer, config.gcd.head_lr),
            stream(config.seed, "value-head"),
        )
        if sft.value_samples
        else None
    )
    progress = train_sft(
        model,
        [*examples, *judged, *foretold, *classified],
        sft,
        pad_token_id(tokenizer),
        stream(config.seed, "sft"),
        on_step,
        should_stop,
        head,
    )
    facts = ColdStart(
        protocol=header.protocol,
        num_episodes=len(demonstrations),
        num_examples=len(examples),
        num_judge_examples=len(judged),
        num_future_examples=len(foretold),
        num_value_examples=len(classified),
        epochs=progress.epoch,
        steps=progress.step,
        tokens=progress.tokens,
        seconds=progress.seconds,
        loss=progress.loss,
        reasoning=header.reasoning,
        reasoning_fallbacks=header.fallbacks,
        critiques=_author(config, sft.critiques),
        critique_fallbacks=critique_writer.fallbacks if critique_writer is not None else {},
    )
    facts_text = json.dumps(vars(facts), indent=1) + "\n"
    files = {COLD_START_FILE: facts_text.encode()}
    if head is not None:
        files[HEAD_FILE] = layer_bytes(head.layer)
    save_model(out, model, tokenizer, files)
    return facts


def _check_demonstrations(header: DemonstrationsHeader, path: Path, sft: SFTConfig) -> None:
    if header.protocol != sft.protocol:
        raise UserError(
            f"{path} was written under the protocol {header.protocol!r}, but "
            f"sft.protocol={sft.protocol!r}; write new demonstrations or change the setting"
        )
    if header.reasoning.split()[0] != sft.reasoning:
        raise UserError(
            f"the reasoning in {path} was worded by {header.reasoning}, but "
            f"sft.reasoning={sft.reasoning}; write new demonstrations or change the setting"
        )


def make_cold_start(config: Config, suite: Suite, out: Path, stage: Stage) -> tuple[Path, Path]:
    """A fresh tiny model, demonstrations, and the one trained on the other, all made in `out`.

    Stages that are finished are not repeated.

    Args:
        stage: opened for every stage that has something to do.
    Returns:
        The model's folder and the demonstrations.
    """
    tiny, cold = out / "tiny", out / "cold_start"
    demonstrations = config.sft.demonstrations or out / "demonstrations.jsonl"
    if not tiny.exists():
        with stage("a fresh model") as report:
            make_tiny(config, suite, tiny, report)
    if not demonstrations.exists():
        with stage("demonstrations") as report:
            make_demonstrations(config, suite, demonstrations, report)
    if not cold.exists():
        first = change_config(config, model={"path": str(tiny)})
        with stage("cold start") as report:
            run_sft(first, demonstrations, cold, lambda p: report(p.step, p.num_steps))
    return cold, demonstrations


def _author(config: Config, kind: str) -> str:
    return f"endpoint {config.endpoint.model}".strip() if kind == "endpoint" else TEMPLATE


def _needed(chat: Chat | None) -> Chat:
    if chat is None:
        raise UserError(
            "this command makes its cold start by templates alone; make one with "
            "`declutch demonstrations` and `declutch sft`, or set sft.reasoning=template and "
            "sft.critiques=template"
        )
    return chat
