"""All settings of a run in one `Config`, a section for each stage, and what does not go together.

Unknown keys, wrong types and impossible combinations are refused; `config.files` reads
configurations, and makes one message of what is wrong with them.
"""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from declutch.config.algorithm import AlgorithmConfig, GRPOConfig, LossConfig, OptimizerConfig
from declutch.config.augmentation import AugmentationConfig
from declutch.config.cluster import ClusterConfig
from declutch.config.coupling import CouplingConfig
from declutch.config.dotted import is_dotted
from declutch.config.env import EnvConfig
from declutch.config.judge import EndpointConfig, GCDConfig
from declutch.config.policy import AgentConfig, ModelConfig, RolloutConfig, SFTConfig, TinyConfig
from declutch.config.section import Section
from declutch.config.serve import ServeConfig
from declutch.config.trackers import TRACKERS, TrackersConfig
from declutch.ground.errors import nearest


class TrainConfig(Section):
    """Settings of a run's training loop: how much is played, what is rewarded, what is kept."""

    iterations: int = Field(default=150, ge=1)
    """Iterations of the run; each plays new episodes, gives credit and updates the weights."""
    tasks_per_iteration: int = Field(default=16, ge=1)
    """How many tasks an iteration draws; each of them is the task of one group of episodes."""
    group_size: int = Field(default=8, ge=2)
    """How many episodes of the same task make a group."""
    split: str = "rl-train"
    """The split that tasks are drawn from. "rl-train" holds the train games whose task types are
    not held out."""
    max_steps: int | None = Field(default=None, ge=1)
    """The most steps of a training episode; null takes env.max_steps, which evaluations always use.
    Fewer make an iteration cheaper, and count a slow success as a failure."""
    reward: str | None = Field(default=None, pattern=r"^\w+(\.\w+)*:\w+$")
    """A function of your own that computes the reward of every action in training, as
    "my_module:reward"; null takes the environment's rewards, of whatever steps."""
    success_reward: float = Field(default=1.0, gt=0)
    """What the environment's rewards are multiplied by. Most give 1 for winning and 0 otherwise, so
    that it is the return of an episode that was won."""
    length_penalty: float = Field(default=0.0, ge=0, lt=1)
    """The share of the reward that a success at the last allowed step loses; an earlier success
    loses in proportion to its steps."""
    dynamic_sampling: bool = False
    """Replace groups whose returns are all equal, which teach nothing, by groups of new tasks."""
    max_refills: int = Field(default=3, ge=1)
    """How often in an iteration dynamic sampling plays new groups for those still missing."""
    format_penalty: float = Field(default=0.1, ge=0)
    """What is taken off the advantage of a step whose response has an invalid format, after
    advantages are normalised."""
    save_every: int = Field(default=10, ge=1)
    """Iterations from one checkpoint to the next; the last iteration is saved in any case."""
    keep_checkpoints: int | None = Field(default=None, ge=1)
    """How many of the newest checkpoints are kept; null keeps all."""
    save_episodes: int = Field(default=16, ge=0)
    """How many episodes are written out in full, for the browser of the report, whenever a
    checkpoint is saved."""
    report_to: tuple[str, ...] = ()
    """Trackers that get the metrics of every iteration once they are in metrics.jsonl: tensorboard,
    wandb, mlflow, trackio, or one of your own as "package.module:Name"."""

    @field_validator("report_to", mode="before")
    @classmethod
    def _take_one_name(cls, names: object) -> object:
        return (names,) if isinstance(names, str) else names

    @field_validator("report_to")
    @classmethod
    def _check_trackers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in TRACKERS and not is_dotted(name):
                raise ValueError(
                    f"no such tracker {name!r}{nearest(name, TRACKERS)} (package.module:Name names "
                    "one of your own)"
                )
        if len(set(names)) < len(names):
            raise ValueError("a tracker is named twice; name each once")
        return names


class EvalConfig(Section):
    """Settings of a run's evaluations while it trains, and of those of `declutch eval` alike."""

    every: int = Field(default=10, ge=0)
    """Iterations of training from one evaluation to the next; 0 evaluates at the end only."""
    levels: tuple[str, ...] = ("L0", "L1", "L2")
    """The levels that are played. L0 has task types that are trained on, in rooms (or variations)
    like those trained on; L1 has the same types in new ones; L2 has task types that are held out.
    L0-train has the games trained on, and L2-seen held-out types in rooms like those of L0."""
    max_games: int | None = Field(default=None, ge=1)
    """Evaluate the first n games of a level's fixed shuffled order; null takes all."""
    temperature: float = Field(default=0.4, ge=0)
    """The sampling temperature of the agent; 0 always takes the most likely token."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the sampling; every game is played once for each of them."""
    reflection: bool = False
    """Show the agent each of its answers, ask it to reflect, and play its second answer; prompting
    alone, nothing is trained. It needs agent.prompt=full."""
    judge: bool = False
    """Ask the policy to judge steps it has just played, in words, whatever gcd.task is. The labels
    it is compared with are those of gcd.labels."""
    judge_steps: int = Field(default=200, ge=2)
    """How many steps of a level are judged, half of them good; fewer where there are not as
    many."""
    judgments: int = Field(default=1, ge=1)
    """How often each of these steps is judged."""
    judge_temperature: float | None = Field(default=None, ge=0)
    """The sampling temperature of these judgments; null takes eval.temperature. Training samples
    its judge at rollout.temperature, which blurs what the judge knows."""


class Config(Section):
    """All settings of a run in one: cold start, training, evaluation."""

    seed: int = 0
    """The seed of all that is drawn at random, but for generated games and evaluations, which have
    seeds of their own."""
    threads: int | None = Field(default=None, ge=1)
    """How many threads PyTorch computes with; null is one for a model of less than 10 million
    parameters, which more would only slow down, and for each of several processes; for others it
    leaves it to PyTorch."""
    processes: int = Field(default=1, ge=1)
    """How many processes play, evaluate and learn together in a run of `declutch train` or of
    `declutch compare`, a core each, where the model is on the CPU. Random draws stay the same and
    rounding does not, so that a run repeats to the digit with as many processes as before. On Linux
    each further one takes some 0.2 GB, and more for a model of more than a few million
    parameters."""
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
    serve: ServeConfig = ServeConfig()
    train: TrainConfig = TrainConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    trackers: TrackersConfig = TrackersConfig()
    eval: EvalConfig = EvalConfig()
    coupling: CouplingConfig = CouplingConfig()
    cluster: ClusterConfig = ClusterConfig()

    @model_validator(mode="after")
    def _check_combinations(self) -> Config:
        _check_suite(self)
        _check_prompt(self)
        _check_suggestions(self)
        _check_labels(self)
        return self


def _check_suite(config: Config) -> None:
    """The suite that is played can be played by the agent as it is set."""
    conflict = config.env.section.conflict_with(config.agent)
    if conflict:
        raise ValueError(conflict)


def _check_prompt(config: Config) -> None:
    """The full prompt has room for what it asks for, the compact one is not asked for more than it
    has, and the agent reasons as its method needs."""
    agent, gcd, sft = config.agent, config.gcd, config.sft
    is_sampled = gcd.traits.answers != ""
    judged = (gcd.enabled and is_sampled) or config.eval.judge
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
    needed = config.algorithm.required_reasoning
    if needed is not None and agent.reasoning != needed:
        raise ValueError(
            f"algorithm.type={config.algorithm.type} needs agent.reasoning={needed}, but "
            f"agent.reasoning={agent.reasoning}; set agent.reasoning={needed}"
        )


def _check_suggestions(config: Config) -> None:
    """Suggestions have advice to be made of, words that the model knows, and who words them."""
    gcd = config.gcd
    if gcd.suggestions.enabled and not (gcd.enabled and gcd.traits.gives_advice):
        raise ValueError(
            "gcd.suggestions.enabled=true needs a judge that gives advice, but "
            f"gcd.enabled={str(gcd.enabled).lower()} and gcd.task={gcd.task}; set "
            "gcd.enabled=true and gcd.task=judge"
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


def _check_labels(config: Config) -> None:
    """A language model that labels is named, and an evaluation's judge is compared with none."""
    gcd = config.gcd
    if gcd.enabled and gcd.asks_endpoint and not config.endpoint.model:
        raise ValueError(
            f"gcd.labels={gcd.labels} asks an endpoint, but endpoint.model is empty; set it and "
            "endpoint.base_url, or take gcd.labels=oracle or rule"
        )
    if config.eval.judge and gcd.labels not in ("oracle", "rule"):
        raise ValueError(
            "eval.judge=true compares verdicts with labels that need no endpoint, but "
            f"gcd.labels={gcd.labels}; set gcd.labels=oracle or rule"
        )
