"""Processes beside a training run's own, which play and learn a part of each iteration.

A small model leaves a machine's other cores idle, since what PyTorch computes of it at once is too
little for several threads. So whole episodes and whole passes are shared out. Each process has a
model, a suite and an engine of its own, made by the run's settings, and is sent the weights with
everything that it is asked to do, so that none can have old ones. Random draws belong to episodes,
and gradients are added up in the order of the processes: as many processes give the same bytes, and
another number of them the same but for rounding.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.util import Finalize
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import torch
from torch import nn

from declutch.agent.speaker import Speaker
from declutch.config.run import Config
from declutch.envs.protocol import EnvSource, LimitsLive, Suite
from declutch.ground.children import starting_context, without_interrupts
from declutch.ground.errors import UserError
from declutch.judge.env import Questionnaire
from declutch.learner.lesson import Passes
from declutch.learner.optimizer import trained_parameters
from declutch.learner.update_stats import PartSums
from declutch.models.load import pick_device
from declutch.records import Episode, TokenBatch
from declutch.rollout.collect import CollectParams, Play, collect, share_out
from declutch.rollout.engine import Engine
from declutch.train.jobs import (
    PART,
    Job,
    LearnJob,
    PlayJob,
    describe_suite,
    dump,
    dump_weights,
    read,
    serve,
)

GRACE_SECONDS = 5.0
"""How long a process that is not needed any more has to end."""


def check_processes(config: Config) -> None:
    """Make sure that a training run can share its work among processes.

    Raises:
        UserError: its model is not on the CPU, or is sampled by another engine than ours.
    """
    device = pick_device(config.model.device)
    if device.type != "cpu":
        raise UserError(
            f"processes={config.processes} needs a model on the CPU, and model.device="
            f"{config.model.device} puts it on {device.type}; set processes=1 or model.device=cpu"
        )
    if config.rollout.engine != "hf":
        raise UserError(
            f"processes={config.processes} needs rollout.engine=hf; rollout.engine="
            f"{config.rollout.engine} shares its work out by itself: set processes=1"
        )


class Processes:
    """The processes that a training run plays and learns in, this one first among them.

    The others end with this one, with `close`, and when nobody refers to this object any more.

    Args:
        config: the run's settings, of which `processes` says how many.
        checkpoint: that the run goes on from; None where it starts from `model.path`.
    """

    def __init__(self, config: Config, checkpoint: Path | None) -> None:
        self._others = [_Process(config, checkpoint) for _ in range(config.processes - 1)]
        # Before `multiprocessing` waits for its children at the end of this process.
        self._end = Finalize(self, _end, args=(self._others,), exitpriority=100)
        self._config = config
        self._suites: list[tuple[str, tuple[str, ...]]] | None = None

    def close(self) -> None:
        """End all of them but this one."""
        self._end()

    def collect(
        self,
        model: nn.Module,
        plays: Sequence[Play],
        source: EnvSource,
        speaker: Speaker,
        engine: Engine,
        params: CollectParams,
        on_finished: Callable[[Episode], None] | None = None,
    ) -> list[Episode]:
        """Collect episodes as `rollout.collect` does, shared out among the processes.

        A suite that limits how many of its environments live at once is played in this process
        alone, since every process would have as many; so is a source that is neither a suite nor a
        questionnaire.

        Args:
            model: the policy's, whose weights the others are sent.
            source, speaker, engine: what this process plays with. The others make their own of
                each, so these must be the run's suite, agent and engine, or a questionnaire, the
                one whom the auxiliary task asks, and the engine.
        Raises:
            UserError: as for `rollout.collect`; a process has died.
        """
        questions = source.questions if isinstance(source, Questionnaire) else None
        is_known = questions is not None or hasattr(source, "tasks")
        if isinstance(source, LimitsLive) or not is_known:
            return collect(plays, source, speaker, engine, params, on_finished)
        own, *shares = share_out(plays, len(self._others) + 1)
        with self._at_work():
            sendable, has_reward = replace(params, reward=None), params.reward is not None
            if questions is None:
                self._check_suite(source)
            jobs = [
                PlayJob(share, sendable, has_reward, questions) if share else None
                for share in shares
            ]
            inbox = _Inbox(self._ask(jobs, model), on_finished)

            def finish(episode: Episode) -> None:
                if on_finished is not None:
                    on_finished(episode)
                inbox.look()

            played = collect(own, source, speaker, engine, params, finish)
            found = dict(zip((play.number for play in own), played, strict=True))
            for share, episodes in zip(filter(None, shares), inbox.wait(), strict=True):
                found |= zip((play.number for play in share), episodes, strict=True)
        return [found[number] for number in range(len(plays))]

    def run(self, passes: Passes, model: nn.Module) -> PartSums:
        """Run a lesson's passes as `Passes.run` does, shared out among the processes.

        Raises:
            UserError: a process has died.
        """
        own, *shares = (
            replace(passes, batches=batches)
            for batches in _deal(passes.batches, len(self._others) + 1)
        )
        with self._at_work():
            jobs = [LearnJob(share) if share.batches else None for share in shares]
            asked = self._ask(jobs, model)
            sums = own.run(model)
            for process in asked:
                part, gradient = read(process.listen())
                pairs = zip(trained_parameters(model), gradient, strict=True)
                there = [(parameter, value) for parameter, value in pairs if value is not None]
                parameters, values = zip(*there, strict=True)
                # As a pass of this process adds its own: hooks of the parameters see it, too.
                torch.autograd.backward(parameters, values)
                sums = sums.plus(part)
        return sums

    def _check_suite(self, source: EnvSource) -> None:
        """Refuse a suite with other games than those that the other processes have."""
        here = describe_suite(cast("Suite", source), self._config)
        for there in self._suites or ():
            if there != here:
                what = "has other games" if here[0] == there[0] else f"is another ({here[0]})"
                raise UserError(
                    f"processes={self._config.processes}: the suite that the run was given {what} "
                    "than its settings make, by which the other processes play; set processes=1"
                )

    def _ask(self, jobs: Sequence[Job | None], model: nn.Module) -> list[_Process]:
        """Send each other process its job, if it has one; those that have."""
        pairs = zip(self._others, jobs, strict=True)
        asked = [(process, job) for process, job in pairs if job is not None]
        weights = dump_weights(model) if asked else b""
        for process, job in asked:
            process.ask(job, weights)
        return [process for process, _ in asked]

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """End the other processes at an error, since their answers would be to other questions."""
        try:
            if self._suites is None:
                self._suites = [read(process.listen()) for process in self._others]
            yield
        except BaseException:
            for process in self._others:
                process.kill()
            self.close()
            raise


class _Process:
    """Another process, and the pipe to it."""

    def __init__(self, config: Config, checkpoint: Path | None) -> None:
        context: Any = starting_context(serve.__module__)
        self.pipe, theirs = context.Pipe()
        # Not a daemon, since an environment may start processes of its own.
        self.child = context.Process(target=serve, args=(theirs, config, checkpoint), daemon=False)
        with without_interrupts():
            self.child.start()
        # Or it would stay open when the process has died.
        theirs.close()

    def ask(self, job: Job, weights: bytes) -> None:
        """Send a job, with the weights that it is to be done with."""
        try:
            self.pipe.send_bytes(weights)
            self.pipe.send_bytes(dump(job))
        except OSError as error:
            raise self._loss() from error

    def listen(self) -> bytes:
        """The next of what the process says, as `read` reads it."""
        try:
            return self.pipe.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._loss() from error

    def kill(self) -> None:
        """End the process at once, if it has not ended."""
        self.child.kill()
        self.child.join()

    def _loss(self) -> UserError:
        self.child.join()
        return UserError(
            "a process that plays and learns beside this one ended with status "
            f"{self.child.exitcode}; where memory is short, lower processes. A script of your own "
            'that trains with processes above 1 has to do so under `if __name__ == "__main__":`'
        )


class _Inbox:
    """The episodes that other processes send while this one plays itself.

    A pipe holds little, and a process that cannot write to it stands still. So threads read, and
    leave it to this one to unpack what they have read.
    """

    def __init__(
        self, processes: Sequence[_Process], on_finished: Callable[[Episode], None] | None
    ) -> None:
        self._queue: SimpleQueue[tuple[int, bytes | BaseException]] = SimpleQueue()
        self._on_finished = on_finished
        self._episodes: list[list[Episode]] = [[] for _ in processes]
        self._orders: dict[int, list[int]] = {}
        for index, process in enumerate(processes):
            threading.Thread(target=self._read_all, args=(index, process), daemon=True).start()

    def look(self) -> None:
        """Take what is there already."""
        while not self._queue.empty():
            self._take()

    def wait(self) -> list[list[Episode]]:
        """Wait until all have sent theirs; the episodes of each process in the order of its job."""
        while len(self._orders) < len(self._episodes):
            self._take()
        return [
            [episodes[place] for place in self._orders[index]]
            for index, episodes in enumerate(self._episodes)
        ]

    def _take(self) -> None:
        index, said = self._queue.get()
        if isinstance(said, BaseException):
            raise said
        value: Any = read(said)
        if not said.startswith(PART):
            self._orders[index] = value
            return
        self._episodes[index].append(value)
        if self._on_finished is not None:
            self._on_finished(value)

    def _read_all(self, index: int, process: _Process) -> None:
        try:
            while True:
                said = process.listen()
                self._queue.put((index, said))
                if not said.startswith(PART):
                    return
        # Whatever it is, the thread that waits for this one has to hear of it.
        except BaseException as error:
            self._queue.put((index, error))


def _deal(batches: Sequence[TokenBatch], num_shares: int) -> list[list[TokenBatch]]:
    """Deal batches, whose rows get shorter, to and fro: no share is to have the longer of each."""
    shares: list[list[TokenBatch]] = [[] for _ in range(num_shares)]
    for index, batch in enumerate(batches):
        turn, place = divmod(index, num_shares)
        shares[place if turn % 2 == 0 else num_shares - 1 - place].append(batch)
    return shares


def _end(others: Sequence[_Process]) -> None:
    """Let other processes end in order, and kill those that do not."""
    for process in others:
        process.pipe.close()
    for process in others:
        process.child.join(GRACE_SECONDS)
        process.kill()
