"""Plays a cluster's episodes in several processes, which ask verl's servers for responses."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from declutch.agent.codec import Codec
from declutch.agent.speaker import Agent, Speaker
from declutch.agent.turns import Turns
from declutch.config.run import Config
from declutch.envs.protocol import EnvSource
from declutch.envs.registry import find_wording, make_suite
from declutch.ground.errors import UserError, error_reason
from declutch.models.load import load_tokenizer
from declutch.records import Completion, Episode, Outcome, Request, Role, SamplingParams
from declutch.rollout.collect import CollectParams, Play, collect
from declutch.rollout.engine import Engine
from declutch.rollout.vllm.wire import read_answer, vllm_params

_ERROR = re.compile(r"[\w.]*(Error|Exception)\b.*:")


class ServerEngine:
    """The engine of a cluster: asks verl's servers, which sample by vLLM with the latest weights.

    Args:
        client: verl's client of its servers.
        max_tokens: of a prompt with its response.
    """

    def __init__(self, client: Any, max_tokens: int) -> None:
        self._client = client
        self._max_tokens = max_tokens

    async def sample(self, request: Request) -> Completion:
        """Have one of the servers sample the response to a request."""
        assert request.params is not None
        params = {**vllm_params(request), "logprobs": True}
        try:
            # verl's own name for a session; a server is free to answer any of them.
            answer = await self._client.generate(
                request_id=uuid.uuid4().hex,
                prompt_ids=request.prompt_ids.tolist(),
                sampling_params=params,
            )
        # Ray has many types for a server that died or raised, of which this module knows none.
        except Exception as error:
            raise _no_response(last_line(error)) from error
        if not answer.token_ids or answer.log_probs is None:
            raise _no_response(f"it says {answer.stop_reason!r}")
        is_cut = len(answer.token_ids) >= request.params.max_tokens
        return read_answer(request, answer.token_ids, answer.log_probs, is_cut)

    def max_prompt_tokens(self, params: SamplingParams) -> int:
        """How long a prompt may be for such responses."""
        return self._max_tokens - params.max_tokens

    def sync(self, model: nn.Module) -> None:
        """Nothing: the servers got the weights from verl's workers when these had changed them."""
        del model


def make_codec(config: Config, generation: Any) -> Codec:
    """Make the codec of a cluster's prompts and responses, without the model's weights.

    Args:
        generation: the model's own generation settings, None where it has none.
    """
    tokenizer = load_tokenizer(config.model.path)
    turns = Turns(tokenizer, config.agent, generation)
    wording = find_wording(config.env)
    return Codec(tokenizer, config.agent.prompt, wording, config.agent.reasoning, turns)


class Player:
    """One process of a cluster that plays environments; Ray makes an actor of it.

    Args:
        config: the run's settings.
        generation: as for `make_codec`.
        client, max_tokens: as for `ServerEngine`.
    """

    def __init__(self, config: Config, generation: Any, client: Any, max_tokens: int) -> None:
        self._suite = make_suite(config.env)
        self._agent = Agent(make_codec(config, generation), config.agent)
        self._engine = ServerEngine(client, max_tokens)

    def play(self, plays: Sequence[Play], params: CollectParams) -> list[Episode]:
        """Play episodes in this process, as many at once as the environment allows."""
        return collect(plays, self._suite, self._agent, self._engine, params)


class LostPlayerError(Exception):
    """A process of the cluster that plays environments has died, with what it was asked for."""


class Players:
    """All processes of a cluster that play environments, as one `collect`.

    Args:
        players: handles of Ray actors made of `Player`.
        get: waits for what such a handle's call gives. Raises LostPlayerError where the process has
            died, and UserError where playing failed in another way.
    """

    def __init__(self, players: Sequence[Any], get: Callable[[Any], list[Episode]]) -> None:
        self._players = players
        self._get = get

    def collect(
        self,
        plays: Sequence[Play],
        source: EnvSource,
        speaker: Speaker,
        engine: Engine,
        params: CollectParams,
        on_finished: Callable[[Episode], None] | None = None,
    ) -> list[Episode]:
        """Collect episodes as `rollout.collect` does, shared out among the processes.

        Each has a suite, a speaker and an engine of its own, made by the same settings as those
        given. The episodes of a process that dies count as environment errors, which nobody trains
        on; Ray starts it anew for the next ones.
        """
        del source, speaker, engine
        shares = [plays[first :: len(self._players)] for first in range(len(self._players))]
        asked = [
            (share, player.play.remote(share, params))
            for share, player in zip(shares, self._players, strict=True)
            if share
        ]
        found: dict[int, Episode] = {}
        for share, answer in asked:
            try:
                episodes = self._get(answer)
            except LostPlayerError as error:
                episodes = [_lost_episode(play, params.role, error) for play in share]
            found |= {id(play): each for play, each in zip(share, episodes, strict=True)}
            if on_finished is not None:
                for episode in episodes:
                    on_finished(episode)
        return [found[id(play)] for play in plays]


def last_line(error: Exception) -> str:
    """What an error of the cluster's Ray says last, without the traces of other processes.

    That is the last line which begins with the name of an error, with what follows it, or else the
    last line.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return f"{type(error).__name__}: {error_reason(error)}"
    named = [place for place, line in enumerate(lines) if _ERROR.match(line)]
    return f"{type(error).__name__}: {' '.join(lines[named[-1] if named else -1 :])}"


def _no_response(reason: str) -> UserError:
    return UserError(
        f"a server of the cluster gave no response ({reason}); go on from the last checkpoint with "
        "--resume"
    )


def _lost_episode(play: Play, role: Role, error: Exception) -> Episode:
    reason = f"the process that played it died ({error})"
    return Episode(play.task, play.group, role, (), Outcome.ENV_ERROR, 0.0, error=reason)
