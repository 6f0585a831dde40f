"""Settings of the methods of credit assignment, of the policy loss and of the optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from declutch.config.dotted import import_dotted, is_dotted
from declutch.config.section import Reasoning, Section
from declutch.ground.errors import nearest


class MethodConfig(Section):
    """Settings of one algorithm, a method of credit assignment; the base class of one of your own.

    Attributes:
        required_reasoning: what `agent.reasoning` has to be for the method; None for any.
    """

    required_reasoning: ClassVar[Reasoning | None] = None

    type: str = ""
    """The method of credit assignment; "package.module:NAME" is a `Method` of your own."""


class GroupRelative(MethodConfig):
    """Settings of every algorithm that compares an episode with the others of its group."""

    group_stats: Literal["episodes", "steps"] = "episodes"
    """What the mean and deviation of a group are taken over: its episodes, or all their steps,
    which weighs long episodes more."""


class GRPOConfig(GroupRelative):
    """Settings of the algorithm GRPO; not divided by the group's deviation it is Dr.GRPO."""

    type: Literal["grpo"] = "grpo"
    std_norm: bool = True
    """Divide by the group's standard deviation; false gives Dr.GRPO."""


class RLOOConfig(GroupRelative):
    """Settings of the algorithm RLOO: an episode against the mean of the others of its group."""

    type: Literal["rloo"] = "rloo"


class GiGPOConfig(GroupRelative):
    """Settings of the algorithm GiGPO: an episode term, and one over steps in the same state."""

    type: Literal["gigpo"] = "gigpo"
    mode: Literal["mean_norm", "mean_std_norm"] = "mean_norm"
    """Whether both terms are only centred, or divided by their standard deviation as well."""
    gamma: float = Field(default=0.95, ge=0, le=1)
    """The discount per environment step, of the returns in the step term."""
    step_weight: float = Field(default=1.0, ge=0)
    """The weight of the step term beside the episode term."""
    similarity: float = Field(default=1.0, gt=0, le=1)
    """How much alike two observations of a group have to be to count as one state, as the share of
    their characters in matching blocks; 1 asks for identity."""


class HGPOConfig(MethodConfig):
    """Settings of the algorithm HGPO: groups of steps with the same history, longer and longer."""

    type: Literal["hgpo"] = "hgpo"
    mode: Literal["mean_norm", "mean_std_norm"] = "mean_norm"
    """Whether returns are only centred, or divided by their standard deviation as well."""
    gamma: float = Field(default=0.95, ge=0, le=1)
    """The discount per environment step."""
    history_length: int = Field(default=2, ge=0)
    """How many observations before the current one the longest history has; 0 compares steps with
    the same current observation alone."""
    length_weight: float = Field(default=1.0, ge=0)
    """The power of (number of equal observations + 1) that weighs a history; 0 weighs all alike."""


class NTHRConfig(GroupRelative):
    """Settings of the algorithm NTHR, GRPO sparing tokens of failed steps like successful ones."""

    type: Literal["nthr"] = "nthr"
    std_norm: bool = True
    """Divide by the group's standard deviation; false gives Dr.GRPO."""
    beta: float = Field(default=1.0, ge=0)
    """The factor of the score above which a token of a failed step is spared."""
    match: Literal["anchor", "position"] = "anchor"
    """Which steps of a group count as answers to one prompt: "anchor" takes those with the same
    current observation, "position" those with the same index in their episode."""


class PPOConfig(MethodConfig):
    """Settings of the algorithm PPO, with a critic, and advantages per token instead of groups."""

    type: Literal["ppo"] = "ppo"
    gamma: float = Field(default=1.0, ge=0, le=1)
    """The discount per token of a response."""
    lam: float = Field(default=1.0, ge=0, le=1)
    """The lambda of generalised advantage estimation, per token."""
    whiten: bool = True
    """Give the advantages of an iteration mean 0 and deviation 1."""
    critic_lr: float | None = Field(default=None, gt=0)
    """The learning rate of the critic, a copy of the model with a scalar head; null takes ten times
    optimizer.lr, as in the papers' code base. The rest of its optimizer is as in the section
    optimizer."""
    critic_warmup: int = Field(default=0, ge=0)
    """The number of iterations at the start in which only the critic learns."""
    value_clip: float = Field(default=0.5, gt=0)
    """How far a value may move from its old one before the loss of the critic stops pulling it."""


class RLVMRConfig(GroupRelative):
    """Settings of the algorithm RLVMR, which also rewards the tags that the agent reasons in."""

    required_reasoning = "meta"

    type: Literal["rlvmr"] = "rlvmr"
    combine: Literal["mix", "sum"] = "mix"
    """How the two terms are put together: "mix" weighs the episode term by algorithm.alpha and the
    step term by the rest, as the paper does; "sum" adds algorithm.step_weight times the step term
    to the episode term, as its published code does."""
    alpha: float = Field(default=0.5, ge=0, le=1)
    """The share of the episode term in "mix"; the step term has the rest."""
    step_weight: float = Field(default=1.0, ge=0)
    """The weight of the step term in "sum"."""


METHODS: Final[Mapping[str, str]] = {
    "grpo": "declutch.credit.grpo:GRPO",
    "rloo": "declutch.credit.rloo:RLOO",
    "gigpo": "declutch.credit.gigpo:GIGPO",
    "hgpo": "declutch.credit.hgpo:HGPO",
    "nthr": "declutch.credit.nthr:NTHR",
    "ppo": "declutch.credit.ppo:PPO",
    "rlvmr": "declutch.credit.rlvmr:RLVMR",
}
"""Where the `Method` of each `algorithm.type` is: the one line by which a method is added."""

_SHIPPED: Final[Mapping[str, type[MethodConfig]]] = {
    "grpo": GRPOConfig,
    "rloo": RLOOConfig,
    "gigpo": GiGPOConfig,
    "hgpo": HGPOConfig,
    "nthr": NTHRConfig,
    "ppo": PPOConfig,
    "rlvmr": RLVMRConfig,
}
"""Settings that are known without importing their method, which takes PyTorch seconds."""


def method_config_class(name: str) -> type[MethodConfig]:
    """Find the class of settings of the method that `algorithm.type` names.

    Raises:
        ValueError: no such method, or what "package.module:NAME" names is none.
    """
    if name in _SHIPPED:
        return _SHIPPED[name]
    if name not in METHODS and not is_dotted(name):
        raise ValueError(
            f"no such method{nearest(name, tuple(METHODS))} "
            "(package.module:NAME names one of your own)"
        )
    found = getattr(import_dotted(METHODS.get(name, name)), "config", None)
    if not (isinstance(found, type) and issubclass(found, MethodConfig)):
        raise ValueError(
            f"{name} is no declutch.credit.registry.Method whose config is a class derived from "
            "declutch.config.algorithm.MethodConfig"
        )
    return found


def fields_of_method(section: Mapping[str, Any]) -> set[str]:
    """Name the settings of the method that the section `algorithm` chooses; none for no method."""
    try:
        return set(method_config_class(str(section.get("type", "grpo"))).model_fields)
    except ValueError:
        return set()


def _read_method(data: Any) -> MethodConfig:
    """Settings of the method that plain data names; GRPO's where it names none."""
    if isinstance(data, MethodConfig):
        return data
    if not isinstance(data, Mapping):
        raise ValueError(f"a section with a type is expected, found {type(data).__name__}")
    given = {"type": "grpo", **data}
    try:
        chosen = method_config_class(str(given["type"]))
    except ValueError as error:
        problem = PydanticCustomError("value_error", "{reason}", {"reason": str(error)})
        raise ValidationError.from_exception_data(
            "algorithm", [InitErrorDetails(type=problem, loc=("type",), input=given["type"])]
        ) from None
    return chosen.model_validate(given)


AlgorithmConfig = Annotated[SerializeAsAny[MethodConfig], BeforeValidator(_read_method)]
"""Settings of the chosen method, of whichever class that method has."""


USUAL_TOKENS: Final = 8192


class LossConfig(Section):
    """Settings of the algorithm's clipped policy loss, of the agent and of the judge alike."""

    ratio: Literal["token", "sequence"] = "token"
    """What is clipped: each token's ratio of the policies, or the geometric mean of a response's
    (GSPO; its clip range is far narrower, 3e-4 and 4e-4 in the paper)."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """How far below 1 the ratio of the policies is clipped."""
    clip_high: float = Field(default=0.2, gt=0)
    """How far above 1 the ratio of the policies is clipped."""
    aggregation: Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"] = (
        "token-mean"
    )
    """What the summed loss of a mini-batch is divided by: "token-mean" takes its response tokens;
    "seq-mean-token-mean" averages over each response, then over responses;
    "seq-mean-token-sum-norm" takes its responses times their maximal length, as Dr.GRPO does."""
    kl_coef: float = Field(default=0.01, ge=0)
    """The weight of the divergence (k3, in nats per token) from the model that the run started
    with; 0 also skips the forward pass of that model."""
    importance_cap: float = Field(default=2.0, gt=0)
    """The cap of the truncated importance weight between the sampling engine and the learner."""
    recompute_old: bool | None = None
    """Whether the old log-probabilities are computed anew in the learner, rather than taken from
    the engine that sampled; null does so wherever the engine computes in other ways or in a lower
    precision than float32."""
    max_mismatch: float | None = Field(default=None, gt=0)
    """How far, in nats per token, the log-probabilities of the engine that sampled and of the
    learner may lie apart on average before the run stops (one token alone may be 20 times further
    off). Null takes 0.005 where both compute in float32, and 0.1 elsewhere."""


class OptimizerConfig(Section):
    """Settings of AdamW for any algorithm, and of how an iteration is cut into optimizer steps."""

    type: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = "adamw"
    """Which AdamW: the usual one keeps two float32 numbers for each weight; "adamw_8bit" keeps them
    in 8 bits each, and "paged_adamw_8bit" also lets them go to the CPU's memory where the GPU's
    runs out. Those of 8 bits need CUDA and the extra bitsandbytes."""
    lr: float = Field(default=1e-6, gt=0)
    """The learning rate of the policy."""
    lr_schedule: Literal["constant", "linear"] = "constant"
    """How the learning rate goes: "constant" keeps it; "linear" lets it fall to 0 over the run's
    iterations."""
    weight_decay: float = Field(default=0.0, ge=0)
    """The decoupled weight decay of AdamW."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """The decay per optimizer step of AdamW's mean of gradients."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """The decay per optimizer step of AdamW's mean of squared gradients."""
    grad_clip: float = Field(default=1.0, gt=0)
    """The norm that the gradient of an optimizer step is clipped to."""
    mini_batch: int | None = Field(default=256, ge=1)
    """How many samples (one a step of an episode) of the agent an optimizer step takes; null cuts
    the iteration into optimizer.num_mini_batches equal parts instead."""
    num_mini_batches: int = Field(default=4, ge=1)
    """How many optimizer steps a pass over the iteration's data takes, where optimizer.mini_batch
    is null."""
    shuffle: Literal["prompts", "samples"] = "prompts"
    """What is dealt to the mini-batches at random: "prompts" keeps samples of equal prompts beside
    each other, so that a group's answers to one question are learned from in one step, which
    computes the question once; "samples" deals every sample by itself."""
    epochs: int = Field(default=1, ge=1)
    """How many passes are made over the data of one iteration."""
    micro_batch_tokens: int | None = Field(default=USUAL_TOKENS, ge=1)
    """The most tokens in one forward and backward pass. It bounds the memory that learning takes,
    and changes no result but by rounding. Null takes what the free memory of a GPU has room for,
    and 8192 on a CPU."""

    @property
    def pass_tokens(self) -> int:
        """The most tokens of a pass, where nobody has looked at the memory."""
        return USUAL_TOKENS if self.micro_batch_tokens is None else self.micro_batch_tokens
