"""What a process beside a training run's own is asked to do, and how it answers.

An answer is a byte that says what it is, and a pickle. Tensors are pickled as
their bare bytes, since PyTorch's own way takes as long for each of the thousands of small ones of
an iteration as copying hundreds of kilobytes.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from declutch.agent.speaker import Speaker
from declutch.config.run import Config
from declutch.envs.protocol import EnvSource, Suite
from declutch.envs.registry import make_suite
from declutch.envs.splits import manifest_hash
from declutch.ground.children import end_with_parent
from declutch.ground.errors import UserError
from declutch.judge.env import Questionnaire
from declutch.judge.questions import Question
from declutch.judge.tasks import AuxiliaryTask, SampledTask, make_task
from declutch.learner.lesson import Passes
from declutch.learner.optimizer import trained_parameters
from declutch.learner.update_stats import PartSums
from declutch.models.mode import evaluation_mode
from declutch.records import Episode
from declutch.rollout.collect import CollectParams, Play, collect
from declutch.rollout.policy import Policy, load_trainee
from declutch.rollout.reward import load_reward

PART, DONE, REFUSED, EXHAUSTED, FAILED = b"p", b"d", b"r", b"m", b"f"
"""Marks of answers: a part of a job's result; its result; an error of the user's, as text; that
memory ran out, and any other error, each as its trace."""

Tell = Callable[[object], None]


class Job(Protocol):
    """What a process is asked to do for a training run."""

    def do(self, worker: Worker, tell: Tell) -> object:
        """Do it; the result, before which parts of it may be told."""
        ...


@dataclass(frozen=True)
class Worker:
    """What a process has to do its jobs with, all of it by the run's settings."""

    config: Config
    policy: Policy
    suite: Suite
    task: AuxiliaryTask | None

    @classmethod
    def start(cls, config: Config, checkpoint: Path | None) -> Worker:
        """As the run's own process starts its learner.

        Raises:
            UserError: a model or a suite that cannot be loaded.
        """
        start = config.model.path if checkpoint is None else checkpoint
        policy = load_trainee(start, config, continues=checkpoint is not None)
        task = make_task(config, policy) if config.gcd.enabled else None
        return cls(config, policy, make_suite(config.env), task)


@dataclass(frozen=True)
class PlayJob:
    """The job of playing episodes.

    It tells each as it is finished, and results in the places, among these, of its plays in order.

    Attributes:
        params: without the function that rewards, which is the user's own and cannot be sent.
        has_reward: whether there is one.
        questions: those that the auxiliary task's answers are to; None where the suite is played.
    """

    plays: Sequence[Play]
    params: CollectParams
    has_reward: bool
    questions: Sequence[Question] | None = None

    def do(self, worker: Worker, tell: Tell) -> list[int]:
        """Play them."""
        reward = load_reward(worker.config.train.reward) if self.has_reward else None
        places: dict[int, int] = {}

        def finish(episode: Episode) -> None:
            places[id(episode)] = len(places)
            tell(episode)

        source: EnvSource = worker.suite
        speaker: Speaker = worker.policy.agent
        if self.questions is not None:
            assert isinstance(worker.task, SampledTask)
            source, speaker = Questionnaire(self.questions), worker.task.examinee()
        params = replace(self.params, reward=reward)
        played = collect(self.plays, source, speaker, worker.policy.engine, params, finish)
        return [places[id(episode)] for episode in played]


@dataclass(frozen=True)
class LearnJob:
    """The job of running passes; it results in their sums and each trained parameter's gradient."""

    passes: Passes

    def do(self, worker: Worker, tell: Tell) -> tuple[PartSums, list[Tensor | None]]:
        """Run them."""
        del tell
        model = worker.policy.model
        with evaluation_mode(model):
            sums = self.passes.run(model)
        gradient = [parameter.grad for parameter in trained_parameters(model)]
        model.zero_grad()
        return sums, gradient


def describe_suite(suite: Suite, config: Config) -> tuple[str, tuple[str, ...]]:
    """What tells a process's suite from another: its class, and a hash of each split it plays."""
    kind = type(suite)
    splits = (config.train.split, *config.eval.levels)
    hashes = tuple(manifest_hash(suite.tasks(split)) for split in splits)
    return f"{kind.__module__}.{kind.__qualname__}", hashes


def serve(pipe: Connection, config: Config, checkpoint: Path | None) -> None:
    """Do one job after the other in a process of its own, until its parent ends or lets go of it.

    The first message it sends describes its suite, or says why it cannot begin. A job comes as two
    messages: the weights that it is to be done with, and the job.
    """
    end_with_parent()
    # Ctrl-C is for the parent, which ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(config.threads or 1)
    workers: list[Worker] = []

    def start() -> object:
        workers.append(Worker.start(config, checkpoint))
        return describe_suite(workers[0].suite, config)

    def do() -> object:
        load_weights(workers[0].policy.model, weights)
        workers[0].policy.engine.sync(workers[0].policy.model)
        job: Job = pickle.loads(packed)
        return job.do(workers[0], lambda value: pipe.send_bytes(PART + dump(value)))

    try:
        pipe.send_bytes(_answer(start))
        while workers:
            weights, packed = pipe.recv_bytes(), pipe.recv_bytes()
            pipe.send_bytes(_answer(do))
    except (EOFError, OSError):
        # Nobody is at the other end any more.
        return


def _answer(work: Callable[[], object]) -> bytes:
    """What a piece of work results in, or why in nothing, as a message."""
    try:
        return DONE + dump(work())
    except UserError as error:
        return REFUSED + dump(str(error))
    except MemoryError:
        return EXHAUSTED + dump(traceback.format_exc())
    except Exception:
        return FAILED + dump(traceback.format_exc())


def read(message: bytes) -> Any:
    """Read what a process says.

    Raises:
        UserError: it says so.
        MemoryError: it had too little.
        RuntimeError: it failed otherwise; the text is its trace.
    """
    value = pickle.loads(memoryview(message)[1:])
    if message.startswith(REFUSED):
        raise UserError(value)
    if message.startswith((EXHAUSTED, FAILED)):
        kind = MemoryError if message.startswith(EXHAUSTED) else RuntimeError
        raise kind(f"a process beside this one failed:\n{value}")
    return value


def dump_weights(model: nn.Module) -> bytes:
    """Pack the weights that are trained, to be sent with a job."""
    return dump([parameter.detach() for parameter in trained_parameters(model)])


@torch.no_grad()
def load_weights(model: nn.Module, packed: bytes) -> None:
    """Give a process's model the weights that were sent with a job."""
    for parameter, value in zip(trained_parameters(model), pickle.loads(packed), strict=True):
        parameter.copy_(value)


def dump(value: object) -> bytes:
    """Pickle something with tensors on the CPU in it; `pickle.loads` reads it."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = _TABLE
    pickler.dump(value)
    return file.getvalue()


def _bare(tensor: Tensor) -> tuple[Any, ...]:
    data = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return _from_bytes, (data, tensor.dtype, tuple(tensor.shape))


def _from_bytes(data: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not data:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


_TABLE = {**copyreg.dispatch_table, Tensor: _bare}
