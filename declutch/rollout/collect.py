"""Play episodes with a language model: many at once, each going on by itself."""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from numbers import Real

from declutch.agent.prompt import View
from declutch.agent.speaker import Speaker
from declutch.envs.augmentation import Augmentation, AugmentedEnv
from declutch.envs.protocol import (
    EnvSource,
    Observation,
    Prepares,
    TextEnv,
    Transition,
    is_deterministic,
    max_live,
    start_env,
)
from declutch.ground.errors import UserError
from declutch.ground.streams import derive_seed
from declutch.records import (
    Completion,
    Distractor,
    Episode,
    Outcome,
    Request,
    Role,
    SamplingParams,
    Step,
    TaskId,
)
from declutch.rollout.engine import Engine, holding, max_prompt_tokens, run_here
from declutch.rollout.reward import Reward

GROUPS_PER_SHARE = 4
"""From how many groups a share on `share_out` keeps groups together; with fewer of them some shares
would take much longer than others."""


@dataclass(frozen=True)
class Play:
    """One episode that `collect` is to play: its task, the group it belongs to, and its seed.

    Attributes:
        seed: what is sampled in it is a function of this and of the model, whatever else is played
            at the time; no two episodes of a group may have the same. See `derive_seed`.
        distractor_seed: the same of its distractors, which a group's episodes share; None where it
            is played without.
        number: of the episode among all that are played, where others are played elsewhere; None
            takes its place among those given.
    """

    task: TaskId
    group: int
    seed: int
    distractor_seed: int | None = None
    number: int | None = None


@dataclass(frozen=True)
class CollectParams:
    """What `collect` is told of the episodes: steps, temperature, rewards, what prompts show.

    Attributes:
        max_steps: steps per episode at most.
        temperature: sampling temperature.
        success_reward: multiplies the environment's reward.
        length_penalty: share of a step's reward that is lost when it is the last one allowed;
            in proportion before, nothing at the first step.
        role: who plays.
        suggestions: suggestions shown in every prompt; () in evaluation.
        oracle_every: the oracle labels every n-th action of an episode, counted from another one
            in each; 0 asks it nothing.
        reward: computes the reward of each action in the environment's place, see `Reward`; None
            takes the environment's.
        reflection: show the speaker each of its responses and play the one that it gives then; the
            first one is in no record.
        augmentation: which distractors there are, for plays that have a seed of them; None outside
            of training.
    """

    max_steps: int
    temperature: float
    success_reward: float = 1.0
    length_penalty: float = 0.0
    role: Role = Role.AGENT
    suggestions: tuple[str, ...] = ()
    oracle_every: int = 0
    reflection: bool = False
    reward: Reward | None = None
    augmentation: Augmentation | None = None


def collect(
    plays: Sequence[Play],
    source: EnvSource,
    speaker: Speaker,
    engine: Engine,
    params: CollectParams,
    on_finished: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Collect episodes of text environments: a language model plays them, many at once.

    Each episode goes on by itself as soon as its response is there, and one that has finished makes
    place for one that waits, so that no more environments exist than the source allows. An
    environment that raises ends its episode as ENV_ERROR, which callers count and never train on,
    and the next episode has a new one. A prompt that is too long for the model is shortened by its
    oldest history; where that is not enough its episode ends as TRUNCATED, or as ENV_ERROR if it
    was the first.

    Args:
        plays: what to play; equal groups must mean equal tasks.
        source: makes live environments, usually a suite.
        speaker: renders prompts and reads responses.
        engine: samples responses.
        params: see `CollectParams`.
        on_finished: told of every finished episode, for progress.
    Returns:
        Episodes in the order of `plays`.
    Raises:
        UserError: an environment gives what no environment may give; it names the task.
    """
    return run_here(collect_async(plays, source, speaker, engine, params, on_finished))


def share_out(plays: Sequence[Play], num_shares: int) -> list[list[Play]]:
    """Share episodes out among several who each `collect` a part of them.

    Where there are groups enough each stays together, since its episodes begin with the same
    prompt, which is computed once then.

    Returns:
        `num_shares` lists of plays with their numbers, some empty where there are fewer plays.
    """
    ranks: dict[int, int] = {}
    for play in plays:
        ranks.setdefault(play.group, len(ranks))
    is_by_group = len(ranks) >= GROUPS_PER_SHARE * num_shares
    shares: list[list[Play]] = [[] for _ in range(num_shares)]
    for number, play in enumerate(plays):
        rank = ranks[play.group] if is_by_group else number
        shares[rank % num_shares].append(replace(play, number=number))
    return shares


async def collect_async(
    plays: Sequence[Play],
    source: EnvSource,
    speaker: Speaker,
    engine: Engine,
    params: CollectParams,
    on_finished: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Collect episodes as `collect` does, from a coroutine."""
    asked = _Asked(speaker, engine, speaker.sampling(params.temperature))
    finished: dict[int, Episode] = {}
    waiting = iter(enumerate(plays))
    has_chance = not is_deterministic(source)

    async def play_on() -> None:
        """Play one waiting episode after the other, in one environment."""
        env: TextEnv | None = None
        try:
            for index, play in waiting:
                chance = derive_seed(play.seed, "environment") % 2**31 if has_chance else None
                made = _make_env(source) if env is None else env
                env = None if isinstance(made, Exception) else made
                started = _start(index, play, _augment(made, play, params), chance)
                episode = await _play_one(started, asked, params)
                finished[index] = episode
                if on_finished is not None:
                    on_finished(episode)
                if episode.outcome is Outcome.ENV_ERROR:
                    # What has failed once, a process that died say, would fail all that wait.
                    _close(env)
                    env = None
        finally:
            _close(env)

    seats = min(max_live(source), len(plays))
    if isinstance(source, Prepares):
        source.prepare_envs(seats)
    # An episode's next prompt begins like its last one. Episodes of one step have no next one.
    has_next = params.max_steps > 1 or params.reflection
    players = [asyncio.ensure_future(play_on()) for _ in range(seats)]
    try:
        with holding(engine) if has_next else nullcontext():
            await asyncio.gather(*players)
    finally:
        # After an error in one of them the others must not go on, and have environments to close.
        for player in players:
            player.cancel()
        await asyncio.gather(*players, return_exceptions=True)
    return [finished[index] for index in range(len(plays))]


async def _play_one(live: _Live, asked: _Asked, params: CollectParams) -> Episode:
    outcome = Outcome.ENV_ERROR if live.error else None
    while outcome is None:
        answer = await asked.answer(live, params)
        if answer is None:
            outcome = live.run_out_of_room()
        else:
            outcome = live.advance(answer, asked.speaker, params)
    return live.close(outcome, params.role)


@dataclass(frozen=True)
class _Answer:
    """A response to the request that it was sampled for.

    Attributes:
        num_shown: as `Step.num_shown`.
    """

    request: Request
    completion: Completion
    num_shown: int | None


@dataclass(frozen=True)
class _Asked:
    """Who is asked in a step, and how."""

    speaker: Speaker
    engine: Engine
    sampling: SamplingParams

    async def answer(self, live: _Live, params: CollectParams) -> _Answer | None:
        """The response to an episode's next request, a reflected one if asked; None where the
        prompt does not fit into the model."""
        view, step = live.view(params.suggestions), len(live.steps)
        if params.reflection:
            draft = await self._sample(view, derive_seed(live.play.seed, "draft", step))
            if draft is None:
                return None
            view = replace(view, draft=self.speaker.text(draft.completion))
        return await self._sample(view, derive_seed(live.play.seed, "step", step))

    async def _sample(self, view: View, seed: int) -> _Answer | None:
        found = self._fit(view)
        if found is None:
            return None
        request = replace(found[0], params=self.sampling, seed=seed)
        return _Answer(request, await self.engine.sample(request), found[1])

    def _fit(self, view: View) -> tuple[Request, int | None] | None:
        """The request for a view, with as many pairs of the history as there is room for, and how
        many those are if it should be more; None where the rest does not fit either."""
        limit = max_prompt_tokens(self.engine, self.sampling)
        request = self.speaker.request(view)
        if limit is None or len(request.prompt_ids) <= limit:
            return request, None
        for count in reversed(range(len(view.history))):
            shorter = self.speaker.request(replace(view, max_shown=count))
            if len(shorter.prompt_ids) <= limit:
                return shorter, count
        return None


@dataclass
class _Live:
    """An episode being played; without an environment where it could not begin."""

    index: int
    play: Play
    env: TextEnv | None
    intro: str
    observation: Observation
    history: list[tuple[str, str]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    score: float = 0.0
    error: str = ""

    def view(self, suggestions: tuple[str, ...]) -> View:
        return View(
            intro=self.intro,
            observation=self.observation.text,
            inventory=self.observation.inventory,
            admissible=self.observation.admissible,
            history=tuple(self.history),
            suggestions=suggestions,
            answers=tuple(step.action for step in self.steps),
            distractors=self.distractors,
        )

    @property
    def distractors(self) -> tuple[tuple[Distractor, ...], ...]:
        """Those of each observation so far; () where the episode is played without."""
        if self.play.distractor_seed is None:
            return ()
        return (*(step.distractors for step in self.steps), self.observation.distractors)

    def advance(self, answer: _Answer, speaker: Speaker, params: CollectParams) -> Outcome | None:
        """Play one response; the outcome when it was the last."""
        before, completion = self.observation, answer.completion
        action = speaker.read(completion, before.admissible)
        step = Step(
            observation=before.text,
            inventory=before.inventory,
            admissible=before.admissible,
            action=action,
            prompt_ids=answer.request.prompt_ids,
            response_ids=completion.token_ids,
            sample_logprobs=completion.logprobs,
            reward=0.0,
            allowed_ids=completion.allowed_ids,
            is_truncated=completion.is_truncated,
            num_shown=answer.num_shown,
            distractors=before.distractors,
        )
        assert self.env is not None
        try:
            label = self.ask_oracle(action.text) if self.is_asked(params.oracle_every) else None
            transition = self.env.step(action.text)
        # Anything an environment raises is its own failure; it must end one episode, not the run.
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
            return Outcome.ENV_ERROR
        self.check_step(label, transition)
        spent = len(self.steps) / max(params.max_steps - 1, 1)
        own = self.reward_of(before, action.text, transition, params.reward)
        reward = own * params.success_reward * (1 - params.length_penalty * spent)
        self.steps.append(replace(step, reward=reward, oracle_label=label))
        self.history.append((before.text, action.text))
        self.observation = transition.observation
        self.score = transition.score
        if transition.is_won:
            return Outcome.WON
        if transition.is_done:
            return Outcome.FAILED
        return Outcome.TIMED_OUT if len(self.steps) >= params.max_steps else None

    def reward_of(
        self, before: Observation, action: str, transition: Transition, reward: Reward | None
    ) -> float:
        """The reward of an action: the environment's, or by a function of the user's own.

        Raises:
            UserError: the function fails, or gives no finite number.
        """
        if reward is None:
            return transition.reward
        place = f"task {self.play.task.name!r}, step {len(self.steps) + 1} ({action[:30]!r})"
        try:
            value = reward(self.play.task, before, action, transition)
        except Exception as error:
            raise UserError(
                f"train.reward raises {type(error).__name__}: {error} ({place})"
            ) from error
        if not isinstance(value, Real) or not math.isfinite(value):
            raise UserError(f"train.reward gives {value!r}, which is no finite number ({place})")
        return float(value)

    def check_step(self, label: object, transition: Transition) -> None:
        """One reward that is no number would make all weights so, without another word.

        Raises:
            UserError: no transition, a reward or a score that is not finite, a label that is none;
                it names task and step.
        """
        place = f"at step {len(self.steps) + 1}"
        _check_kind(self.play.task, transition, Transition, f"step(action) {place}")
        _check_kind(self.play.task, transition.observation, Observation, f"step(action) {place}")
        for name in ("reward", "score"):
            value = getattr(transition, name)
            if not isinstance(value, Real) or not math.isfinite(value):
                raise _no_environment(
                    self.play.task, f"the {name} {value!r} {place}", "a finite number"
                )
        if label not in (0, 1, None):
            raise _no_environment(self.play.task, f"the label {label!r} {place}", "1, 0 or None")

    def run_out_of_room(self) -> Outcome:
        """End the episode, since the model has no room for its next prompt."""
        if self.steps:
            return Outcome.TRUNCATED
        # Nothing was played that could be a failure of the agent.
        self.error = (
            "the first prompt does not fit into the model beside a response of "
            "agent.max_response_tokens; lower that or take a longer model"
        )
        return Outcome.ENV_ERROR

    def is_asked(self, every: int) -> bool:
        """Whether the oracle is asked now; shifted from episode to episode."""
        number = self.index if self.play.number is None else self.play.number
        return every > 0 and (len(self.steps) + number) % every == 0

    def ask_oracle(self, action: str) -> int | None:
        # Asked at every step: a check of the whole protocol would take as long as the oracle.
        label: Callable[[str], int | None] | None = getattr(self.env, "label_action", None)
        return None if label is None else label(action)

    def close(self, outcome: Outcome, role: Role) -> Episode:
        return Episode(
            task=self.play.task,
            group=self.play.group,
            role=role,
            steps=tuple(self.steps),
            outcome=outcome,
            score=self.score,
            final_observation=self.observation.text,
            error=self.error,
        )


def _augment(env: TextEnv | Exception, play: Play, params: CollectParams) -> TextEnv | Exception:
    """The environment as an episode is to show it, if there is one."""
    if isinstance(env, Exception):
        return env
    if params.augmentation is None or play.distractor_seed is None:
        return env
    return AugmentedEnv(env, params.augmentation, play.distractor_seed)


def _make_env(source: EnvSource) -> TextEnv | Exception:
    """A new environment, or why there is none, which fails an episode as one that raises does."""
    try:
        return source.make_env()
    except UserError:
        raise
    except Exception as error:
        return error


def _start(index: int, play: Play, env: TextEnv | Exception, seed: int | None) -> _Live:
    try:
        if isinstance(env, Exception):
            raise env
        first = start_env(env, play.task, seed)
    except Exception as error:
        nothing = Observation("", ())
        message = f"{type(error).__name__}: {error}"
        return _Live(index, play, None, "", nothing, error=message)
    _check_kind(play.task, first, Observation, "reset(task)")
    return _Live(index, play, env, first.text, first)


def _close(env: TextEnv | None) -> None:
    """Close an environment; one that cannot be closed has still played what it played."""
    if env is None:
        return
    try:
        env.close()
    except Exception as error:
        warnings.warn(
            f"an environment raised {type(error).__name__}: {error} in close(), and may hold what "
            "it should have freed",
            RuntimeWarning,
            stacklevel=2,
        )


def _check_kind(task: TaskId, value: object, kind: type, source: str) -> None:
    """Whatever else an environment gives would be a riddle to the code that reads it."""
    if not isinstance(value, kind):
        raise _no_environment(task, f"{value!r:.60} by {source}", f"a declutch.{kind.__name__}")


def _no_environment(task: TaskId, given: str, wanted: str) -> UserError:
    return UserError(
        f"the environment of task {task.name!r} ({task.suite}, {task.split}) gave {given}: it has "
        f"to be {wanted}; mend the environment, or leave the task out (`declutch envs check` looks "
        "at all that an environment gives)"
    )
