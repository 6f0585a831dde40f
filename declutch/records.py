"""The frozen records that cross a stage of the training loop.

Notation: S steps, K response tokens, P prompt tokens, T response tokens, B x L batch, D hidden.
Records hold data only; nothing here knows how the data was made or what it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

import torch
from torch import Tensor

META_TAGS: Final = ("planning", "explore", "reflection", "monitor")
"""The ways of reasoning that an agent may have to name (RLVMR); `StepTable.tag` counts them so."""


@dataclass(frozen=True)
class TaskId:
    """The record that names one task (one game); equal ids start from the same state.

    Attributes:
        suite: name of the environment suite, e.g. "alfworld".
        split: raw split the task comes from, e.g. "train" or "valid_unseen".
        index: position in the split's exhaustive order.
        name: stable human-readable name, unique within (suite, split).
        kind: task type the success table is broken down by.
    """

    suite: str
    split: str
    index: int
    name: str
    kind: str = ""


class Role(IntEnum):
    """Whom a recorded episode is of: the agent itself, or the agent judging one of its steps."""

    AGENT = 0
    JUDGE = 1


class Outcome(StrEnum):
    """How a recorded episode ended: only WON is success; ENV_ERROR is counted, not trained on.

    TRUNCATED is a failure: the model had no room left for the next prompt.
    """

    WON = "won"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    TRUNCATED = "truncated"
    ENV_ERROR = "env_error"


@dataclass(frozen=True)
class Action:
    """The record of an action as parsed from a response: text, thought, valid, admissible.

    Attributes:
        text: the action's text, "" when none could be read.
        thought: the reasoning's text, "" when none could be read.
        tag: tag of the reasoning, "think" or one of `META_TAGS`; "" when none could be read.
        is_valid: the response had the required format.
        is_admissible: the action was among the admissible commands.
        response: the text it was read from, "" where there was none.
    """

    text: str
    thought: str
    tag: str
    is_valid: bool
    is_admissible: bool
    response: str = ""


@dataclass(frozen=True)
class Distractor:
    """The record of one distractor: what an observation shows that has no bearing on the goal.

    Attributes:
        text: as the full prompt shows it, a sentence.
        short: as the compact prompt shows it; "" where that cannot.
        place: in [0, 1), how far into the observation it stands.
    """

    text: str
    short: str
    place: float


@dataclass(frozen=True)
class Step:
    """The record of one step of an episode: what was seen, sampled and earned.

    A step is one training sample.

    Attributes:
        observation: what the agent saw before acting.
        inventory: what the agent carried before acting ("" when nothing).
        admissible: admissible commands before acting.
        action: what the agent did.
        prompt_ids: i64[P], exactly the tokens the engine was given.
        response_ids: i64[T], exactly the tokens that were sampled, stop token included.
        sample_logprobs: f32[T], the engine's log-probabilities of `response_ids` at the sampling
            temperature (and under the action mask, where one was used).
        reward: the environment's reward for this step.
        allowed_ids: for each response token the tokens the action mask allowed, or None where
            the token was free; () when no mask was used at all.
        oracle_label: 1 good, 0 bad, None unlabelled or not asked (from the true state).
        is_truncated: the limit of tokens ended the response, not the agent.
        num_shown: how many pairs of the history the prompt shows where there was no room for as
            many as it should; None where there was.
        distractors: what the prompt shows besides the observation, which is the environment's own
            and tells which steps were taken from the same one; () outside of training.
    """

    observation: str
    inventory: str
    admissible: tuple[str, ...]
    action: Action
    prompt_ids: Tensor
    response_ids: Tensor
    sample_logprobs: Tensor
    reward: float
    allowed_ids: tuple[tuple[int, ...] | None, ...] = ()
    oracle_label: int | None = None
    is_truncated: bool = False
    num_shown: int | None = None
    distractors: tuple[Distractor, ...] = ()


@dataclass(frozen=True)
class Episode:
    """The record of one play of one task: its steps in order, and how it ended.

    Attributes:
        task: what was played.
        group: id of the group of episodes that share the task; set by the sampler.
        role: AGENT or JUDGE.
        steps: in order of play, at least one unless the outcome is ENV_ERROR.
        outcome: how it ended.
        score: the environment's score in [0, 1]; 1 if and only if won for ALFWorld.
        final_observation: the text after the last action.
        error: what went wrong when the outcome is ENV_ERROR.
    """

    task: TaskId
    group: int
    role: Role
    steps: tuple[Step, ...]
    outcome: Outcome
    score: float
    final_observation: str = ""
    error: str = ""

    @property
    def is_won(self) -> bool:
        return self.outcome is Outcome.WON


@dataclass(frozen=True)
class StepTable:
    """A record that rooms hand on: an iteration's steps as a table with columns of integer ids.

    Its rows are sorted by (group, episode, position).

    Attributes:
        group, episode, position, anchor, action, tag: i64[S] integer ids. `anchor` numbers the
            distinct current observations, `action` the distinct action texts; `tag` is the place
            in `META_TAGS`, -1 for a step with no such tag.
        reward: f32[S], the environment's reward of the step.
        is_valid, is_admissible, is_won: bool[S]; `is_won` repeats the episode's outcome.
        num_tokens: i64[S] response tokens.
    """

    group: Tensor
    episode: Tensor
    position: Tensor
    anchor: Tensor
    action: Tensor
    tag: Tensor
    reward: Tensor
    is_valid: Tensor
    is_admissible: Tensor
    is_won: Tensor
    num_tokens: Tensor

    def __len__(self) -> int:
        return int(self.group.numel())


@dataclass(frozen=True)
class Probes:
    """A record that rooms hand on: what a no-gradient pass told of K response tokens.

    The tokens are in table order.

    Attributes:
        token_ids: i64[K].
        values: f32[K] of the critic, or None.
        hidden: f32[K, D] last hidden state that predicts each token, or None.
        readout: f32[V, D], the matrix that makes logits of `hidden`, or None.
        temperature: the logits are divided by it.
        allowed: for each token the ids its action mask allowed, or None where it was free; ()
            when no mask was used at all.
    """

    token_ids: Tensor
    values: Tensor | None = None
    hidden: Tensor | None = None
    readout: Tensor | None = None
    temperature: float = 1.0
    allowed: tuple[tuple[int, ...] | None, ...] = ()


@dataclass(frozen=True)
class TokenBatch:
    """A record that rooms hand on: a micro-batch of B rows x L tokens.

    Row b predicts `input_ids[b, t]` from what precedes it.
    Every per-token field is aligned with `input_ids`: entry (b, t) belongs to the token at t, and
    is meaningful only where `response_mask` is set.

    Attributes:
        input_ids, position_ids: i64[B, L].
        segment_ids: i64[B, L]; -1 is padding.
        response_mask: bool[B, L].
        advantage, sample_logprobs, old_logprobs, ref_logprobs: f32[B, L].
        role: i8[B, L]; step_id: i64[B, L], -1 is padding.
        allowed_mask: None, or (rows i64[M], columns i64[M], allowed bool[M, V]): the action mask
            of the M masked response tokens.
        returns, old_values: f32[B, L] for a critic, else None.
    """

    input_ids: Tensor
    position_ids: Tensor
    segment_ids: Tensor
    response_mask: Tensor
    advantage: Tensor
    sample_logprobs: Tensor
    old_logprobs: Tensor
    ref_logprobs: Tensor
    role: Tensor
    step_id: Tensor
    allowed_mask: tuple[Tensor, Tensor, Tensor] | None = None
    returns: Tensor | None = None
    old_values: Tensor | None = None

    @property
    def num_response_tokens(self) -> int:
        return int(self.response_mask.sum())


@dataclass(frozen=True)
class Completion:
    """A record that rooms hand on: one sampled response, tokens and log-probabilities.

    Attributes:
        token_ids: i64[T], stop token included.
        logprobs: f32[T] at the sampling temperature, under the mask where one was used.
        allowed_ids: per token the allowed ids or None; () when no mask was used.
        is_truncated: the length limit ended it, not a stop.
    """

    token_ids: Tensor
    logprobs: Tensor
    allowed_ids: tuple[tuple[int, ...] | None, ...] = ()
    is_truncated: bool = False


def empty_float() -> Tensor:
    """An empty tensor f32[0], for a record that has no log-probabilities."""
    return torch.zeros(0, dtype=torch.float32)


__all__ = [
    "META_TAGS",
    "Action",
    "Completion",
    "Distractor",
    "Episode",
    "Outcome",
    "Probes",
    "Role",
    "Step",
    "StepTable",
    "TaskId",
    "TokenBatch",
    "empty_float",
]


@dataclass(frozen=True)
class ActionMask:
    """A record that rooms hand on: after which trigger only some sequences of tokens may come.

    Before the trigger is sampled every token is free; after it the response must be exactly one
    of the sequences, each of which ends the response. Inside a sequence only tokens that continue
    at least one of the sequences are allowed (a trie).

    Attributes:
        trigger_id: the token that opens the action, e.g. the id of "<action>"; None where the
            tokenizer splits it and `opens` decides.
        sequences: the admissible actions' token ids, each ending with a stop token; not empty
            where there is a `trigger_id`.
        opens: told the tokens of the response after each free one, says of which sequences one must
            follow now, and None where tokens stay free. After a sequence it is asked again.
    """

    trigger_id: int | None
    sequences: tuple[tuple[int, ...], ...]
    opens: Callable[[Sequence[int]], tuple[tuple[int, ...], ...] | None] | None = None


@dataclass(frozen=True)
class Request:
    """A record that rooms hand on: one response that an engine shall sample.

    Attributes:
        prompt_ids: i64[P].
        mask: restricts the action, or None for free decoding.
        params: how it is sampled; None until whoever asks for it has said so.
        seed: what every draw of this response is derived from, 64 bits, together with the place of
            the token in the whole sequence, so that what it is sampled together with changes
            nothing but rounding; None until it is known.
    """

    prompt_ids: Tensor
    mask: ActionMask | None = None
    params: SamplingParams | None = None
    seed: int | None = None


@dataclass(frozen=True)
class SamplingParams:
    """A record that rooms hand on: at which temperature and how long an engine samples.

    Attributes:
        temperature: > 0, or 0 for the most likely token. Log-probabilities are those of the
            distribution sampled from, i.e. at this temperature (at 0: of temperature 1).
        max_tokens: response tokens at most; a mask's action always fits or is truncated.
        stop_ids: a response ends with (and includes) any of these.
        top_p: nucleus mass in (0, 1]; 1 keeps the whole distribution.
        forced_after: pairs (a, b): once token a was sampled, b must follow; such a token is
            sampled with log-probability 0 and its allowed set is {b}. The tags of an agent whose
            actions are masked use it so that the format cannot be missed.
        first_ids: what a response may begin with; such a token is sampled under that mask, which is
            its allowed set. () leaves it free.
        has_ended: told the tokens so far after each token, says whether they are a whole
            response; for closing tags that a tokenizer splits. None where `stop_ids` suffice.
        stop_texts: the texts that `has_ended` looks for, for engines that look themselves.
    """

    temperature: float
    max_tokens: int
    stop_ids: tuple[int, ...]
    top_p: float = 1.0
    forced_after: tuple[tuple[int, int], ...] = ()
    first_ids: tuple[int, ...] = ()
    has_ended: Callable[[Sequence[int]], bool] | None = None
    stop_texts: tuple[str, ...] = ()
