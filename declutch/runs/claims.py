"""The settings that a run folder or the like is bound to, and whether others are asked for.

A claim is a file of settings that ends with its own SHA-256. It is written when something starts
that must not be mixed with other settings, and is compared with whatever is asked for later,
wherever that is asked for: on the command line, in `config.yaml` or in code.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from declutch.config.files import dump_config, first_difference, parse_config, read_dumped
from declutch.config.judge import EndpointConfig
from declutch.config.run import Config
from declutch.config.trackers import TrackersConfig
from declutch.envs.splits import manifest_hash
from declutch.ground.contents import parse_record, read_text
from declutch.ground.errors import UserError, error_reason
from declutch.ground.files import write_atomically
from declutch.records import TaskId
from declutch.runs.folder import RunFolder

CHANGEABLE = (
    *("threads", "processes"),
    *("train.save_every", "train.keep_checkpoints"),
    # Who reads the metrics besides changes none of them.
    "train.report_to",
    *(f"trackers.{name}" for name in TrackersConfig.model_fields),
    *("gcd.on_endpoint_failure", "gcd.fallback_labels"),
    # A server may move, a key's variable be renamed; the model it answers by is the run's.
    *(f"endpoint.{name}" for name in EndpointConfig.model_fields if name != "model"),
    # Where things lie on this machine.
    *("env.cache_dir", "env.alfworld.data_dir", "env.scienceworld.java"),
    # Which machines there are; as many GPUs as before, or a cluster's checkpoint is refused.
    *("cluster.nodes", "cluster.gpus_per_node", "cluster.tensor_parallel", "cluster.address"),
    *("cluster.players", "cluster.offload"),
)
"""Settings that may change when a run is resumed, since they change rounding at most."""
GROWING = "train.iterations"
"""The setting of a run that may grow when it is resumed, and not shrink."""


def _lower(old: Any, new: Any) -> bool:
    return new is not None and (old is None or new <= old)


def _higher(old: Any, new: Any) -> bool:
    return new is not None and (old is None or new >= old)


def _whatever(old: Any, new: Any) -> bool:
    return True


ADVISED: Mapping[str, Callable[[Any, Any], bool]] = {
    "optimizer.lr": _lower,
    "algorithm.critic_lr": _lower,
    "agent.history_length": _lower,
    "agent.max_response_tokens": _lower,
    "loss.max_mismatch": _higher,
    "loss.recompute_old": _whatever,
    "model.dtype": _whatever,
    # One that ran out of memory.
    "model.gradient_checkpointing": _whatever,
    "model.logits_mib": _lower,
    "optimizer.micro_batch_tokens": _lower,
    "rollout.max_batch": _lower,
}
"""Settings that the messages of a run that stopped advise to change, and how they may be."""

_SEAL = re.compile(r"# sha256 of the lines above: ([0-9a-f]{64})\n")


def claim(path: Path, config: Config, ignored: Collection[str] = ()) -> None:
    """Hold a run folder or the like for one configuration: write its file, or check what it says.

    It keeps two runs or grids with other settings from being mixed in one folder.

    Args:
        ignored: dotted keys that may differ.
    Raises:
        UserError: it says something else, and the message names the first key and both values; or
            it was changed since it was written.
    """
    if not path.exists():
        _write_claim(path, config)
    else:
        check_claim(path, config, ignored)


def check_claim(path: Path, config: Config, ignored: Collection[str] = ()) -> None:
    """Make sure that the claim on a run folder says the settings that are asked for now.

    Args:
        ignored: dotted keys that may differ.
    Raises:
        UserError: as for `claim`.
    """
    difference = first_difference(read_claim(path), config, ignored)
    if difference is not None:
        key, there, here = difference
        raise UserError(
            f"{path} says {key}={json.dumps(there)}, but {key}={json.dumps(here)} is asked for: "
            "give another folder, or delete this one"
        )


def read_claim(path: Path) -> Config:
    """Read the settings that a claim on a run folder says; those of former versions have no seal.

    Raises:
        UserError: it cannot be read, or was changed since it was written.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error_reason(error)}") from None
    lines, mark, rest = text.rpartition(b"# sha256 ")
    if mark and _seal(lines) != mark + rest:
        raise UserError(
            f"{path} was changed since it was written. It says what was made here with which "
            "settings, and a change of it would mix two runs in one folder: undo the change, or "
            "give another folder"
        )
    return parse_config(read_dumped(path), str(path))


def bind_run(run: RunFolder, config: Config) -> None:
    """Claim a run folder for its settings at the start, or check the claim when it is resumed.

    A run of a former version is bound to what its `config.yaml` says.

    Args:
        config: the settings to train with.
    Raises:
        UserError: the run was started with others, or would end before it was to.
    """
    found = bound_settings(run)
    if found is not None:
        check_resumed(run, found, config)
    if found != config or not run.started_path.exists():
        _write_claim(run.started_path, config)


def bound_settings(run: RunFolder) -> Config | None:
    """The settings that a run's claim holds; None where nothing is on record yet.

    Raises:
        UserError: they cannot be read, or were changed since they were written.
    """
    if not run.has_begun():
        return None
    if run.started_path.exists():
        if not _is_sealed(run.started_path):
            raise UserError(
                f"{run.started_path} does not end with its checksum any more, so that nobody can "
                "say what the run was started with: put the line back, or start anew with "
                f"`{run.restart}`"
            )
        return read_claim(run.started_path)
    return run.read_config() if run.config_path.exists() else None


def check_resumed(run: RunFolder, found: Config, config: Config) -> None:
    """Check a run's claim against settings asked for now, wherever they were changed.

    Args:
        found: the settings that the run folder is bound to.
        config: those to go on with.
    Raises:
        UserError: it would be another run; the message names the first key and both values.
    """
    remedy = f"undo the change, choose another folder, or start anew with `{run.restart}`"
    advised = [
        key for key, fits in ADVISED.items() if fits(_value(found, key), _value(config, key))
    ]
    difference = first_difference(found, config, (*CHANGEABLE, GROWING, *advised))
    if difference is not None:
        key, there, here = difference
        raise UserError(
            f"{run.path} was started with {key}={json.dumps(there)}, but {key}={json.dumps(here)} "
            f"is asked for, and the run would no longer be the same: {remedy}"
        )
    before, after = found.train.iterations, config.train.iterations
    if after < before:
        raise UserError(
            f"{run.path} is a run of {GROWING}={before}, but {GROWING}={after} is asked for, and "
            f"the number of iterations may only grow: {remedy}"
        )


def _value(config: Config, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name, None)


def bind_reference(run: RunFolder, model: str, is_start: bool) -> None:
    """Claim a run folder for the weights that its divergence is measured from.

    Args:
        model: the folder of the model; a name of the hub stands for the same weights always.
        is_start: whether the run begins now; else the weights must be those of then, where the
            folder says which these were.
    Raises:
        UserError: the weights are others now, or cannot be read.
    """
    path = run.reference_path
    if not Path(model).is_dir() or not (is_start or path.exists()):
        return
    try:
        digest = _digest(sorted(Path(model).glob("*.safetensors")))
        if not is_start and path.read_text(encoding="utf-8", errors="replace").strip() == digest:
            return
    except OSError as error:
        raise UserError(f"cannot read the weights in {model}: {error_reason(error)}") from None
    if not is_start:
        raise UserError(
            f"the weights in {model} are not those that {run.path} was started from, and its "
            "divergence (loss.kl_coef) is measured from these: put them back, or start anew with "
            f"`{run.restart}`"
        )
    write_atomically(path, digest + "\n")


def bind_tasks(run: RunFolder, tasks: Mapping[str, Sequence[TaskId]], is_start: bool) -> None:
    """Claim a run folder for the tasks that it trains on and is evaluated on, or check that claim.

    Args:
        tasks: split or level -> its list of tasks in order.
        is_start: whether the run begins now; else the tasks must be those of then, where the folder
            says which these were.
    Raises:
        UserError: the tasks are others now, or what the folder says of them cannot be read.
    """
    path = run.tasks_path
    found = {
        name: {"num_tasks": len(each), "sha256": manifest_hash(each)}
        for name, each in tasks.items()
    }
    if is_start:
        write_atomically(path, json.dumps(found, indent=1) + "\n")
        return
    if not path.exists():
        return
    try:
        stated = parse_record(dict[str, _Tasks], read_text(path))
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}): delete it, if the games are still those of the start"
        ) from None
    for name, each in found.items():
        there = stated.get(name)
        if there is not None and there.sha256 != each["sha256"]:
            raise UserError(
                f"{run.path} was started with {there.num_tasks:,} tasks of {name}, and there are "
                f"{each['num_tasks']:,} now, or others: put the games or problems of then back, or "
                f"start anew with `{run.restart}`"
            )


@dataclass(frozen=True)
class _Tasks:
    """What a run folder says of a list of tasks: how many they are, and the hash of the list."""

    num_tasks: int
    sha256: str


def _digest(files: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _write_claim(path: Path, config: Config) -> None:
    text = dump_config(config)
    write_atomically(path, text + _seal(text.encode()).decode())


def _seal(lines: bytes) -> bytes:
    return f"# sha256 of the lines above: {hashlib.sha256(lines).hexdigest()}\n".encode()


def _is_sealed(path: Path) -> bool:
    lines = path.read_bytes().splitlines(keepends=True)
    return bool(lines) and _SEAL.fullmatch(lines[-1].decode("utf-8", "replace")) is not None
